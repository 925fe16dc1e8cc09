"""Which arrows of the machines' transition tables were taken: each table in a dict's place that counts who asks it.

Only for the swarm: a table that counts is a little slower. It finds the tables as `tools/states.py` does, and refuses
to know any machine by name.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any


class Counting(dict[Any, Any]):
    """A transition table; `seen` holds the pairs that were asked of it, and are in it."""

    def __init__(self, table: Mapping[Any, Any]) -> None:
        super().__init__(table)
        self.seen: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.seen.add(key)
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        if key in self:
            self.seen.add(key)
        return super().get(key, default)

    def arrows(self) -> Iterator[str]:
        """What was taken, as `file STATE EVENT`: in words that another process understands."""
        for state, event in self.seen:
            yield f"{type(state).__module__.replace('.', '/')}.py {state.name} {word(event)}"


def word(event: object) -> str:
    if isinstance(event, Enum):
        return event.name
    return event.__name__ if isinstance(event, type) else str(event)


def count(modules: list[ModuleType]) -> list[Counting]:
    """Put a counting table in the place of each in these modules. One that another module imports stays one."""
    places = [(module, name, value) for module in modules for name, value in vars(module).items()
              if isinstance(value, dict) and not isinstance(value, Counting) and value and _is_table(value)]
    found: dict[int, Counting] = {}
    for module, name, value in places:
        setattr(module, name, found.setdefault(id(value), Counting(value)))
    return list(found.values())


def _is_table(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Enum) and type(to) is type(key[0])
               for key, to in value.items())
