"""The swarm: seeded worlds keep every promise, the same seed lives the same life, and what fails can be made short."""

import json
from pathlib import Path

import pytest

from simulators import hamlet, live, scenario, swarm
from simulators.account import Account
from simulators.scenario import Scenario

SEED_FILES = sorted((Path(__file__).parents[1] / "seeds").glob("*.json"))
SEEDS = 200
"""In every run of all tests; `make swarm` lives as many as one likes."""


@pytest.mark.parametrize("first", range(0, SEEDS, 8))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, first + 8):
        assert live.live(scenario.draw(seed)).breaches == {}, f"python3 tools/dev.py swarm --seed {seed} --trace"


def test_no_promise_is_broken_in_an_hour() -> None:
    lived = live.live(scenario.draw(scenario.HOURS + 3))
    assert lived.breaches == {}
    assert lived.counts["seconds"] > 3000
    assert Scenario.decode(scenario.draw(scenario.HOURS + 3).encode()).busy_s == 3060.0


@pytest.mark.parametrize("file", SEED_FILES, ids=lambda file: file.stem)
def test_what_was_found_once_stays_mended(file: Path) -> None:
    assert json.loads(file.read_text(encoding="utf-8"))["found"].endswith(".")
    assert live.live(Scenario.decode(file.read_text(encoding="utf-8"))).breaches == {}


def test_one_seed_lives_one_life() -> None:
    one, two = (live.live(scenario.draw(3)) for _ in range(2))
    assert one.hash == two.hash
    assert one.counts == two.counts
    assert one.hash != live.live(scenario.draw(4)).hash


def test_every_place_is_one_that_a_gateway_accepts() -> None:
    for seed in range(60):
        assert hamlet.problems(scenario.draw(seed).place) == []


def test_a_scenario_outlives_a_file() -> None:
    drawn = scenario.draw(5)
    again = Scenario.decode(drawn.encode())
    assert again.encode() == drawn.encode()
    assert live.live(again).hash == live.live(drawn).hash


def test_runs_add_up_and_none_is_run_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--ledger", str(tmp_path), "--jobs", "1"]
    swarm.main(["--first", "0", "--seeds", "1", *words])
    swarm.main(["--first", "0", "--seeds", "2", *words])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("swarm: first seed 0, 1 seeds, commit ")
    last = json.loads(out[-1])
    assert (last["seeds"], last["lived_now"]) == (2, 1)
    assert last["bound_per_scenario"] == 1.5
    assert Account(tmp_path, "another core").sum()["seeds"] == 0


def test_what_two_runs_at_once_have_both_lived_counts_once(tmp_path: Path) -> None:
    one, two = Account(tmp_path, "core"), Account(tmp_path, "core")
    for account, first in ((one, 0), (two, 0), (two, 5)):
        account.add({"first": first, "seeds": 5, "counts": {"seconds": 3600}, "breaches": [], "arrows": []})
    assert Account(tmp_path, "core").sum()["hours"] == 2
    assert Account(tmp_path, "core").missing(range(11)) == [10]


def test_what_the_account_tells_is_lived_again_and_compared(tmp_path: Path) -> None:
    words = ["--ledger", str(tmp_path), "--jobs", "1"]
    swarm.main(["--first", "3", "--seeds", "1", *words])
    assert swarm.main(["--again", "5", *words]) == 0
    (file,) = tmp_path.glob("*.jsonl")
    file.write_text(file.read_text(encoding="utf-8").replace('"first": 3', '"first": 4'), encoding="utf-8")
    assert swarm.main(["--again", "5", *words]) == 1


def test_what_is_lived_again_is_of_the_whole_account() -> None:
    kept = Account(None, "a core")
    for n in range(19):
        kept.add({"first": 5 * n, "seeds": 5})
    assert [line["first"] // 5 for line in kept.some(10)] == [0, 1, 3, 5, 7, 9, 11, 13, 15, 17]
    assert (len(kept.some(0)), len(kept.some(19)), len(kept.some(50))) == (0, 19, 19)
