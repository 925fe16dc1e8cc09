"""The rules of the house as tests: who imports whom is in `pyproject.toml` and import-linter's; the rest is here."""

import ast
import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench import mutants
from simulators import visits
from tests.conftest import LONGEST_FIRST
from tools import states

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("firmware_bridge", "controller", "hub", "simulators")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {c["id"]: c for c in PROJECT["tool"]["importlinter"]["contracts"]}
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tools").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
LIVES = ROOT / "tests" / "seeds" / "arrows"
MAX_LINES = 450
"""Files are meant to have 100 to 300; what is longer holds a second thing that wants its own name."""
NAMELESS = {"util", "utils", "helper", "helpers", "manager", "common", "misc", "base", "shared", "lib"}
"""A file called so holds something whose name has not been found yet."""


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def committed() -> tuple[Path, ...]:
    """Every file that git knows; a copy without its history cannot be asked."""
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if asked.returncode != 0:
        pytest.skip(f"no git history here: {asked.stderr.strip()}")
    return tuple(p for name in asked.stdout.split("\0") if name and (p := ROOT / name).is_file())


# Files.


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_file_is_short_and_says_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{lines} lines: look for the second noun"
    assert ast.get_docstring(tree(path)), "no docstring: say what it is and what it refuses to know"


def test_a_file_is_named_for_the_thing_in_it() -> None:
    for path in committed():
        words = set(re.split(r"[_.\-]", path.name.lower())) if path.suffix == ".py" else set()
        assert not words & NAMELESS, f"{shown(path)}: the thing in it has not been found yet"


def test_every_file_has_its_floor() -> None:
    named = {
        name.strip("() \n")
        for contract in ("floors", "hub-floors", "simulator-floors")
        for layer in CONTRACTS[contract]["layers"]
        for name in layer.split("|")
    }
    homes = {dotted(p.parent) if p.parent.name not in PACKAGES else dotted(p) for p in MODULES} - set(PACKAGES)
    assert sorted(homes - named) == [], "give it a floor in pyproject.toml"
    assert sorted(named - homes) == [], "a floor in pyproject.toml is given to a file that is not there"


# Purity. The imports are import-linter's; these are the ways round it.


SHELLS = {
    line.split(" ")[0].removesuffix(".**") for line in CONTRACTS["pure"]["ignore_imports"] if line.endswith(" -> *")
}
PURE = [p for p in MODULES if not any(dotted(p) == s or dotted(p).startswith(s + ".") for s in SHELLS)]
OUTSIDE_WORLD = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
OUTSIDE_CALLS = {
    "now", "utcnow", "today", "write_text", "write_bytes", "unlink", "mkdir", "rename", "touch", "home",
    "import_module", "urandom", "uuid1", "uuid4", "monotonic", "monotonic_ns", "time_ns", "sleep", "getenv",
}
"""Attributes that reach a clock, a disk or chance through a module which may itself be imported."""


@pytest.mark.parametrize("path", PURE, ids=shown)
def test_a_pure_file_reaches_no_clock_disk_or_chance(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in OUTSIDE_WORLD, f"line {node.lineno}: {called.id}()"
            if isinstance(called, ast.Attribute):
                assert called.attr not in OUTSIDE_CALLS, f"line {node.lineno}: .{called.attr}()"
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            assert [name.name for name in node.names] == ["Random"], "chance is handed in as a seeded Random"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Random":
            assert node.args, f"line {node.lineno}: Random() without a seed"
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert node.col_offset == 0, f"line {node.lineno}: an import inside a function hides what a file needs"


def test_purity_is_judged_of_the_machines() -> None:
    judged = {dotted(p) for p in PURE}
    assert {"firmware_bridge.machine", "firmware_bridge.profile", "controller.wire", "controller.signal"} <= judged
    assert not {"firmware_bridge.link", "controller.daemon", "controller.ctl"} & judged


# The lock.


def test_the_lock_has_hashes_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[a-z0-9])", text)
    assert entries[0].strip() == "", "something stands before the first package"
    for entry in entries[1:]:
        name = entry.split()[0]
        assert re.match(r"[a-z0-9.\-]+(\[[a-z0-9,\-]+\])?==[0-9][0-9a-z.+\-]*(\s|$)", entry), f"{name}: not pinned"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{name}: no hash"
    assert "://" not in text
    assert not re.search(r"(?m)^\s*(-e|-i|-f|--(?!hash=)\S+)", text), "an option in the lock"
    assert " @ " not in text


def test_the_lock_holds_what_the_project_asks_for() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {re.split(r"[=\[]", line)[0] for line in lock.splitlines() if line[:1].isalnum()}
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {re.split(r"[<>=!~\[; ]", w)[0].lower().replace("_", "-") for w in wanted}
    assert sorted(names - locked) == [], "run: python3 tools/dev.py lock"


# What is committed.


HOSTS = [a + b for a, b in (
    ("pypi.", "org"), ("python", "hosted.org"), ("npm", "js.org"), ("npm", "mirror.com"), ("yarnpkg", ".com"),
    ("proxy.golang", ".org"), ("crates", ".io"), ("tuna.", "tsinghua"), ("mirrors.", "aliyun"), ("deb.", "debian.org"),
)]
PLACES = [a + b for a, b in (("/wo", "rk/"), ("/ro", "ot/"), ("/opt/", "pypi"), ("/opt/", "wheels"), ("/tm", "p/"))]
"""Written in halves, so that this file does not break the rule it holds."""


def test_nothing_committed_names_a_registry_or_a_place_on_one_machine() -> None:
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(p)}" for p in PLACES) + "|" + "|".join(map(re.escape, HOSTS)))
    found = []
    for path in committed():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{shown(path)}: {hit[0]}" for hit in pattern.finditer(text)]
    assert found == []


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = []
    for path in committed():
        if path.suffix == ".md":
            for target in LINK.findall(path.read_text(encoding="utf-8")):
                if "://" not in target and not (path.parent / target).exists():
                    dead.append(f"{shown(path)}: {target}")
    assert dead == []


def test_both_readmes_tell_the_same() -> None:
    """The commands in the two languages are the same lines, in the same order."""
    english, chinese = (
        re.findall(r"(?ms)^```sh\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"))
        for name in ("README.md", "README.zh-CN.md")
    )
    without_words = [re.sub(r"\s*#.*", "", block) for block in english]
    assert without_words == [re.sub(r"\s*#.*", "", block) for block in chinese]
    assert without_words, "a README without a command"


def test_every_file_is_on_the_map() -> None:
    told = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:\w+/)?(\w+)\.py`|`(\w+)/`", told))
    names = {a or b for a, b in named}
    homes = {p.parent.name if p.parent.name not in PACKAGES else p.stem for p in MODULES}
    assert sorted(homes - names - {"__init__"}) == [], "say in docs/ARCHITECTURE.md what it is"


# The states.


@cache
def tables() -> tuple[states.Table, ...]:
    return tuple(states.tables())


def test_what_is_tried_first_is_there() -> None:
    assert [name for name in LONGEST_FIRST if not (ROOT / "tests" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize("module", mutants.TESTS)
def test_the_tests_that_mutants_are_to_fail_are_there(module: str) -> None:
    assert mutants.files(module)


def test_the_machines_have_tables() -> None:
    drawn = {table.module.__name__ for table in tables()}
    assert {"firmware_bridge.bus", "controller.session", "hub.dispatch"} <= drawn


def test_each_state_is_in_its_table_and_has_its_words() -> None:
    for table in tables():
        told = states.words(table)
        used = {state.name for state, _ in table.cells} | {to.name for to in table.cells.values()}
        assert [s.name for s in table.states if s.name not in told] == [], f"{table.file}: states without words"
        assert [s.name for s in table.states if s.name not in used] == [], f"{table.file}: states not in the table"


def test_every_event_in_every_state_is_an_arrow_or_is_named_as_none() -> None:
    for table in tables():
        told, missing = states.draw(table), states.absent(table)
        arrows, events = len(table.cells), len({event for _, event in table.cells})
        assert arrows + sum(map(len, missing.values())) == events * len(list(table.states)), table.file
        assert all(f"in {state} {', '.join(names)}" in told for state, names in missing.items()), table.file


def test_every_arrow_was_drawn_or_made_or_is_left_with_a_reason() -> None:
    """The table of docs/assurance.md has each arrow of docs/states.md once: drawn (counted), made, or left (named)."""
    page = (ROOT / "docs" / "assurance.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([\w/]+\.py)` \| (\d+) \| (.*?) ?\| (\d+) \| (.*?) ?\|$", page)
    told = {file: (int(drawn), named(made), int(of), named(left)) for file, drawn, made, of, left in rows}
    assert sorted(table.file for table in tables()) == sorted(file for file, *_ in rows)
    reasons = left_with_a_reason(page)
    claimed = [json.loads(path.read_text(encoding="utf-8"))["takes"] for path in LIVES.glob("*.json")]
    for table in tables():
        drawn, made, of, left = told[table.file]
        arrows = {f"{state.name} {visits.word(event)}" for state, event in table.cells}
        assert of == len(arrows), f"{table.file}: run the swarm again, it has other arrows now"
        assert set(made + left) <= arrows, f"{table.file}: an arrow that is none"
        assert len({*made, *left}) == len(made + left) == of - drawn, f"{table.file}: each arrow stands in one place"
        taken = {arrow for one in claimed for arrow in one.get(table.file, ())}
        assert set(made) <= taken <= arrows, f"{table.file}: no life in {shown(LIVES)} says that it takes it"
        assert sorted(left) == sorted(reasons.get(table.file, ())), f"{table.file}: say why it is left"


def test_what_every_seed_found_is_told() -> None:
    page = (ROOT / "docs" / "found.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w-]+\.json)`", page))
    assert told == {path.name for path in LIVES.parent.glob("*.json")}


def named(cell: str) -> list[str]:
    return cell.split("; ") if cell else []


def left_with_a_reason(page: str) -> dict[str, list[str]]:
    """The arrows that the list below the table names, by file; each with a reason and with a test that is there."""
    found: dict[str, list[str]] = {}
    form = re.compile(r"- `([\w/]+\.py)` ([^:`]+): \S.*\(`(tests/[\w/]+\.py)::(\w+)`\)")
    for item in re.findall(r"(?ms)^- `[\w/]+\.py` .*?(?=^- |^$)", page):
        said = form.fullmatch(" ".join(item.split()))
        assert said, f"{item}: say `file` ARROW; ARROW: why (`tests/file.py::test`)"
        assert f"def {said[4]}(" in (ROOT / said[3]).read_text(encoding="utf-8"), f"{said[3]} has no {said[4]}"
        found.setdefault(said[1], []).extend(named(said[2]))
    return found


def test_the_drawn_states_are_current() -> None:
    assert states.PAGE.read_text(encoding="utf-8") == states.page(), "run: python3 tools/dev.py states"
