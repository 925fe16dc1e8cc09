"""Draws `docs/states.md` from the transition tables at the top of the machines: `python3 tools/dev.py states`.

A table is any dict at the top of a module from (state, event) to state, where the states are one Enum. The words
for a state are taken from where its author put them: a paragraph `NAME: ...` in the Enum's docstring, the string
under its member, or an indented line `NAME   ...` in the module's docstring.
It refuses to know any machine by name: a new table is drawn because it is there.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "states.md"
PACKAGES = ("firmware_bridge", "controller", "simulators", "hub")

HEAD = """\
# The states

Drawn from the tables in the code by `python3 tools/dev.py states`; a test holds this page to them. Arrows from a state
to itself stand in the table only. Every event that a state has no arrow for is named below the table: it *changes
nothing* there, or it *cannot come*, and a machine that meets it ends with an error, which the swarm calls a breach.
"""


NO_WORDS = "(its file does not say what it is; `tests/test_house.py` asks for it)"


@dataclass(frozen=True)
class Table:
    """One machine's states: `cells` maps (state, event) to the next state."""

    module: ModuleType
    states: type[Enum]
    cells: Mapping[tuple[Enum, object], Enum]

    @property
    def file(self) -> str:
        return self.module.__name__.replace(".", "/") + ".py"

    @property
    def title(self) -> str:
        thing = self.module.__name__.rpartition(".")[2].capitalize()
        name = self.states.__name__
        return f"{thing}" if name in {"State", "Phase"} else f"{thing}: {name}"


def tables() -> list[Table]:
    """Every transition table of the packages, in the order of the house."""
    found: list[Table] = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem != "__main__" and _may_hold_one(path):
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                found.extend(_in_module(importlib.import_module(name)))
    return found


def _may_hold_one(path: Path) -> bool:
    """Only files that mention an Enum are imported: a shell may open things, or want a package that is not here."""
    return re.search(r"^(from enum|import enum)", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def _in_module(module: ModuleType) -> Iterator[Table]:
    for value in vars(module).values():
        if not isinstance(value, Mapping) or not value:
            continue
        if not all(isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Enum) for key in value):
            continue
        states = type(next(iter(value))[0])
        if states.__module__ != module.__name__:
            continue
        if all(type(key[0]) is states and type(to) is states for key, to in value.items()):
            yield Table(module, states, value)


def words(table: Table) -> dict[str, str]:
    """What its author says of each state, by its name."""
    said: dict[str, str] = {}
    names = "|".join(state.name for state in table.states)
    for line in re.finditer(rf"(?m)^ +({names})\s{{2,}}(.+(?:\n {{8,}}\S.*)*)", table.module.__doc__ or ""):
        said[line[1]] = _one_line(line[2])
    source = inspect.getsource(table.states)
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    for paragraph in (ast.get_docstring(body) or "").split("\n\n"):
        if found := re.match(rf"({names})\s*:\s*(.+)", paragraph, re.DOTALL):
            said[found[1]] = _one_line(found[2])
    for member, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(member.targets[0], ast.Name)
            said[member.targets[0].id] = _one_line(str(text.value.value))
    return said


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def event_name(event: object) -> str:
    """An event as the table's reader should see it: a class by its name, a word as it stands."""
    if isinstance(event, type):
        return event.__name__
    if isinstance(event, Enum):
        return event.name.replace("_", " ").lower()
    return str(event)


def event_words(event: object) -> str:
    """An event with the meaning that its Enum gives it."""
    name = event_name(event)
    if isinstance(event, Enum) and isinstance(event.value, str) and event.value.replace("_", " ") != name:
        return f"{name} ({event.value})"
    return name


def absent(table: Table) -> dict[str, list[str]]:
    """The events for which a state has no arrow, by its name."""
    events = dict.fromkeys(event for _, event in table.cells)
    out = {s.name: [event_name(e) for e in events if (s, e) not in table.cells] for s in table.states}
    return {state: names for state, names in out.items() if names}


def forgives(table: Table) -> bool:
    """Whether the machine asks its table so that what is not in it changes nothing."""
    name = next(name for name, value in vars(table.module).items() if value is table.cells)
    return f"{name}.get(" in inspect.getsource(table.module)


def draw(table: Table) -> str:
    """The section of one table: what the file says it is, the picture, each state, each arrow."""
    lines = [f"## {table.title}", "", f"[`{table.file}`](../{table.file})", ""]
    lines += [_one_line((table.module.__doc__ or "").split("\n\n")[0]), "", "```mermaid", "stateDiagram-v2"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), to in table.cells.items():
        if state is not to:
            arrows.setdefault((state.name, to.name), []).append(event_name(event).replace(":", " "))
    reached = {to for _, to in arrows}
    starts = [state.name for state in table.states if state.name not in reached]
    lines += [f"    [*] --> {name}" for name in starts or [next(iter(table.states)).name]]
    lines += [f"    {a} --> {b}: {' / '.join(events)}" for (a, b), events in arrows.items()]
    lines += ["```", ""]
    said = words(table)
    for state in table.states:
        lines += [f"**{state.name}** {said.get(state.name, NO_WORDS)}", ""]
    lines += ["| in | at | goes to |", "|---|---|---|"]
    lines += [f"| {s.name} | {event_words(e)} | {to.name if to is not s else '(stays)'} |"
              for (s, e), to in table.cells.items()]
    if missing := absent(table):
        lines += ["", "Changes nothing: " if forgives(table) else "Cannot come: "]
        lines[-1] += "; ".join(f"in {state} {', '.join(names)}" for state, names in missing.items()) + "."
    return "\n".join(lines) + "\n"


def page() -> str:
    return HEAD + "".join("\n" + draw(table) for table in tables())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
    print(f"drew {PAGE.relative_to(ROOT)}")
