"""The fuzzer for a moment, against every parser; and that it would have seen a parser that is wrong."""

import json
import time
from pathlib import Path

import pytest

from bench import fuzz
from bench.fuzz import BATCH, PARSERS, run_batch
from bench.parsers_line import Feed, Parser
from firmware_bridge.errors import TOLD, BadDocument, Malformed, Problem

CASES = 3_000
COSTLY = {"journal restored": 200, "files left": 500, "tape": 700, "trust list": 700, "hub inbox": 700}
SEED = 7


@pytest.mark.parametrize("name", PARSERS)
def test_every_parser_says_no_in_its_own_words(name: str) -> None:
    # A machine whose neighbours work measures too much: what a case may take is the long run's to judge.
    found = run_batch(name, 0, SEED, COSTLY.get(name, CASES))
    assert [story for story in found.stories if " ms: " not in story] == []
    assert len(found.outcomes) > 1 or not PARSERS[name].named


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A parser of nothing; what it does is put into the list: raised, slept for, or given back."""
    does: list[object] = []

    def fresh() -> Feed:
        def feed(case: object) -> object:
            what = does[0]
            if isinstance(what, Exception):
                raise what
            if isinstance(what, float):
                end = time.thread_time() + what
                while time.thread_time() < end:
                    pass
            return what

        return feed

    monkeypatch.setitem(PARSERS, "wrong", Parser("wrong", lambda mutator: mutator.octets(b"abc"), fresh))
    return does


@pytest.mark.parametrize(("does", "said"), [
    (KeyError("x"), "KeyError"),
    (RecursionError("deep"), "RecursionError"),
    (0.06, "took"),
    ("x" * 300_000, "a result of"),
])
def test_a_parser_that_breaks_its_promise_is_found(wrong: list[object], does: object, said: str) -> None:
    wrong.append(does)
    found = run_batch("wrong", 0, SEED, 2)
    assert found.findings > 0
    assert f"wrong:0, case 0: {said}" in found.stories[0]


def test_a_parser_that_says_too_much_is_found(wrong: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong.append(Malformed("x" * 10_000))
    assert run_batch("wrong", 0, SEED, 2).findings == 0, "Malformed itself is brief"
    long = Malformed("x")
    long.args = ("x" * 10_000,)
    wrong[0] = long
    assert run_batch("wrong", 0, SEED, 2).findings == 2
    monkeypatch.setitem(PARSERS, "wrong", fuzz.Parser("wrong", PARSERS["wrong"].case, PARSERS["wrong"].fresh,
                                                      (BadDocument,)))
    wrong[0] = BadDocument(Problem("f", "k" * 9999, "v" * 9999, "r" * 9999) for _ in range(500))
    assert run_batch("wrong", 0, SEED, 2).findings == 0, "a person is told so much and no more"
    assert len(wrong[0].problems) == TOLD + 1  # type: ignore[attr-defined]


def test_a_batch_is_made_again_to_the_octet() -> None:
    one, two = (run_batch("modbus tcp", 3, SEED, 200) for _ in range(2))
    assert one.outcomes == two.outcomes != run_batch("modbus tcp", 4, SEED, 200).outcomes


def test_who_stops_goes_on_from_the_ledger(tmp_path: Path) -> None:
    ledger, names = tmp_path / "ledger.jsonl", ["modbus pdu"]
    first = fuzz.run(names, BATCH + 100, SEED, 1, ledger)
    assert [(b.batch, b.cases) for b in first] == [(0, BATCH), (1, 100)]
    with ledger.open("a") as file:
        file.write(json.dumps({"parser": "modbus pdu"}) + "\n" + '{"cut off')
    told = fuzz.table(fuzz.run(names, BATCH + 100, SEED, 1, ledger))
    assert told["modbus pdu"]["cases"] == BATCH + 100
    assert len(ledger.read_text().splitlines()) == 4, "nothing was done twice"
    other = fuzz.table(fuzz.run(names, 100, SEED + 1, 1, ledger))
    assert other["modbus pdu"]["cases"] == 100, "another seed is other work"


def test_the_command_ends_with_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz", "--cases", "150", "--only", "rtu slave", "--workers", "1"])
    with pytest.raises(SystemExit) as ended:
        fuzz.main()
    assert ended.value.code == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["parsers"]["rtu slave"]["cases"] == 150
    assert last["reached"] == {"findings = 0": True, "each case <= 50 ms": True, "cases of each parser >= 150": True}
