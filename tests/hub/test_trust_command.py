"""`siren-hub trust` as a ceremony: files on a table, no network, every slip told by file, key and remedy."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from controller import admission, signers
from controller.roots import Roots
from hub import __main__ as command
from hub import listing
from tests.ceremony import LI, PERSONS, entry, listed, plain, signed

DEMO = Path(__file__).resolve().parents[2] / "configs/demo"
Capsys = pytest.CaptureFixture[str]


class Table:
    """A ceremony's table: three root holders, two persons, and what lies on it."""

    def __init__(self, folder: Path, capsys: Capsys) -> None:
        self.folder, self.capsys = folder, capsys
        self.roots = []
        for n in (1, 2, 3):
            self.run("key", "new", f"Root {n}", "--root", "--out", self.at(f"r{n}.jwk"))
            self.roots.append(self.out.strip())
        for name, role in (("li", "operator"), ("zhang", "commander")):
            self.run("key", "new", name, "--out", self.at(f"{name}.jwk"))
            person = json.loads(self.out)
            for one in person.values():
                one |= {"roles": [role], "mode": "live"}
            (folder / f"{name}.json").write_text(json.dumps(person))

    def at(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, *args: str) -> int:
        self.rc = command.main(args)
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.err
        return self.rc

    def draft(self, out: str, *args: str) -> int:
        return self.run("trust", "draft", *args, "--out", self.at(out))

    def first(self) -> "Table":
        """The first list, signed by two."""
        named = [part for x in self.roots for part in ("--root", x)]
        people = [part for name in ("li", "zhang") for part in ("--add", self.at(f"{name}.json"))]
        assert self.draft("d1.json", "--deployment", "city", "--threshold", "2", *named, *people) == 0
        assert self.sign("d1.json", 1, out="t1.json") == 0
        assert self.sign("t1.json", 2) == 0
        return self

    def sign(self, name: str, *who: int, out: str | None = None) -> int:
        keys = [part for n in who for part in ("--key", self.at(f"r{n}.jwk"))]
        return self.run("trust", "sign", self.at(name), *keys, *(["--out", self.at(out)] if out else []))


@pytest.fixture
def table(tmp_path: Path, capsys: Capsys) -> Table:
    return Table(tmp_path, capsys)


def test_from_nothing_to_a_list_that_gateways_let_in(table: Table) -> None:
    table.first()
    pins = Roots(keys=tuple(table.roots), threshold=2)
    found = admission.load(table.folder / "t1.json", pins, "city")
    assert (found.version, {s.person for s in found.list.keys.values()}) == (1, {"li", "zhang"})
    assert "signed by 2 of its 3 roots, 2 needed" in table.out
    assert table.run("trust", "verify", table.at("t1.json")) == 0
    assert all(x in table.out for x in table.roots)
    assert stat.S_IMODE((table.folder / "r1.jwk").stat().st_mode) == 0o600


def test_a_list_is_not_whole_before_enough_have_signed(table: Table) -> None:
    table.first()
    assert table.sign("d1.json", 3, out="t.json") == 0
    assert table.run("trust", "verify", table.at("t.json")) == 2
    assert "signatures = '1 of 2'" in table.err
    assert table.sign("t.json", 3) == 0, "a second time by the same is once"
    assert len(admission.peek((table.folder / "t.json").read_bytes()).kids) == 1


def test_a_revocation(table: Table) -> None:
    table.first()
    assert table.draft("d2.json", table.at("t1.json"), "--remove", "zhang") == 0
    assert "version 2, 1 keys" in table.out
    assert table.sign("d2.json", 1, 3, out="t2.json") == 0
    assert "no commander" in table.out
    assert table.run("trust", "verify", table.at("t2.json"), "--after", table.at("t1.json")) == 0
    assert "- 删除 removed: zhang" in table.out
    assert table.run("trust", "verify", table.at("t1.json"), "--after", table.at("t2.json")) == 2
    assert "version 2 was accepted before" in table.err
    assert table.run("trust", "verify", table.at("t2.json"), "--after", table.at("t2.json")) == 0
    assert "同一份" in table.out
    assert "no change" in table.out


def test_a_rotation(table: Table) -> None:
    table.first()
    for n in (4, 5):
        table.run("key", "new", f"Root {n}", "--root", "--out", table.at(f"r{n}.jwk"))
        table.roots.append(table.out.strip())
    named = [part for x in table.roots[3:] for part in ("--root", x)]
    assert table.draft("d2.json", table.at("t1.json"), *named) == 0
    assert table.sign("d2.json", 1, 2, out="t2.json") == 0
    assert "no root of this list" in table.out
    assert table.run("trust", "verify", table.at("t2.json"), "--after", table.at("t1.json")) == 2
    assert table.sign("t2.json", 4, 5) == 0
    assert "+ " in table.out
    assert table.run("trust", "verify", table.at("t2.json"), "--after", table.at("t1.json")) == 0
    assert "roots: 2 of 3 -> 2 of 2" in table.out


def test_a_draft_is_edited_by_hand_and_a_slip_of_the_pen_is_told(table: Table) -> None:
    table.first()
    draft = json.loads((table.folder / "d1.json").read_text())
    for one in draft["keys"].values():
        one["roles"] = ["operater"]
    (table.folder / "d1.json").write_text(json.dumps(draft))
    assert table.sign("d1.json", 1, out="t.json") == 2
    assert table.err.count("roles[0] = 'operater'") == 2
    assert not (table.folder / "t.json").exists()


@pytest.mark.parametrize(("args", "key"), [
    (("draft", "--out", "{q.json}"), "--deployment"), (("draft", "--out", "{q.json}"), "--threshold"),
    (("draft", "{t1.json}", "--out", "{q.json}", "--remove", "nobody"), "--remove"),
    (("draft", "{t1.json}", "--out", "{t1.json}"), "--out"),
    (("draft", "{t1.json}", "--out", "{none/q.json}"), "--out"),
    (("draft", "{t1.json}", "--out", "{q.json}", "--deployment", "x"), "--deployment"),
    (("draft", "{t1.json}", "--out", "{q.json}", "--add", "{t1.txt}"), "file"),
    (("draft", "{none.json}", "--out", "{q.json}"), "file"),
    (("sign", "{d1.json}", "--key", "{r1.jwk}"), "--out"),
    (("sign", "{d1.json}", "--key", "{li.jwk}", "--out", "{q.json}"), "use"),
    (("sign", "{d1.json}", "--key", "{none.jwk}", "--out", "{q.json}"), "file"),
    (("sign", "{r1.jwk}", "--key", "{r1.jwk}", "--out", "{q.json}"), "version"),
    (("verify", "{d1.json}"), "signatures"), (("verify", "{none.json}"), "file"),
    (("verify", "{t1.json}", "--after", "{d1.json}"), "signatures"),
    (("show", "{t1.txt}"), "file"),
    (("send", "{t1.json}", "--config", str(DEMO / "hub.toml")), "deployment"),
])
def test_what_goes_wrong_on_the_table(table: Table, args: tuple[str, ...], key: str) -> None:
    table.first()
    (table.folder / "t1.txt").write_text("no JSON")
    named = [table.at(a[1:-1]) if a.startswith("{") else a for a in args]
    assert table.run("trust", *named) == 2
    assert f": {key} = " in table.err
    assert not (table.folder / "q.json").exists()


def test_a_list_on_the_page(table: Table) -> None:
    table.first()
    assert table.run("trust", "show", table.at("t1.json")) == 0
    for part in ("city", "version 1", "li", "zhang", "commander", "41/01", "✓", "-"):
        assert part in table.out
    assert table.run("trust", "show", table.at("d1.json")) == 0
    assert "signed by 0 of its 3" in table.out
    assert table.run("trust", "show", "--json", table.at("t1.json")) == 0
    shown = json.loads(table.out)
    assert (shown["version"], len(shown["signed_by"]), len(shown["keys"])) == (1, 2, 2)


def page(wall: str, **changes: Any) -> str:
    trust = signers.parse(json.dumps(plain(7, keys={LI["kid"]: entry(LI, "operator", **changes)} | {
        k: e for k, e in PERSONS.items() if k != LI["kid"]})), "x")
    return listing.page(trust, (), signers.wire.to_wall_us(wall))


def test_keys_that_end_are_marked() -> None:
    assert "li: 已过期 ended 2027-01-01" in page("2027-01-02T00:00:00.000Z", not_after="2027-01-01T00:00:00.000Z")
    assert "li: 将到期 ends 2027-01-01" in page("2026-12-01T00:00:00.000Z", not_after="2027-01-01T00:00:00.000Z")
    assert "li: " not in page("2026-06-01T00:00:00.000Z", not_after="2027-01-01T00:00:00.000Z")


def test_what_changes_between_two_lists() -> None:
    wider = PERSONS | {LI["kid"]: entry(LI, "commander", areas=["41", "42"])}
    after = admission.admit(signed(plain(8, keys=wider)), None, None).list
    assert listing.news(listed(7), after) == [f"~ 变更 changed: li {LI['kid']}: roles, areas"]
