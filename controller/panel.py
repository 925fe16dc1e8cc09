"""The panel: what each siren and device shows, and which of it is news to the hub.

Report by exception: a change is told at once but at most once a second an id, the newest wins, and what does not
change is told again now and then, so that a hub can tell unchanged from unheard. It knows no topic and no connection.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from controller.event import Changed
from firmware_bridge.machine import S, earliest

GAP_US = 1 * S
"""At most one telling a second an id: a chattering contact must not fill a mobile line."""
REPEAT_US = 15 * 60 * S
"""How long an unchanged state goes untold."""
DEADBAND = 0.01
"""A number is news when it moved by this share of the greatest magnitude it has shown."""


@dataclass(slots=True)
class _Shown:
    """One id: its newest state and since when, and what was told last and when."""

    newest: Changed
    since_us: int
    told: Changed | None = None
    told_us: int | None = None
    news: bool = True


class Panel:
    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}
        self._greatest: dict[str, dict[str, float]] = {}
        """Id -> point -> the greatest magnitude it has shown."""

    @property
    def deadline(self) -> int | None:
        """When something is to be told again; what was never told is told by the next `due`."""
        return earliest(*[shown.told_us + (GAP_US if shown.news else REPEAT_US)
                          for shown in self._shown.values() if shown.told_us is not None])

    def change(self, now_us: int, changed: Changed) -> None:
        shown = self._shown.get(changed.id)
        if shown is None:
            self._shown[changed.id] = _Shown(changed, now_us)
        else:
            # A change back to what was told is no news, even when the one between was never told.
            shown.news = shown.told is None or self._differs(shown.told, changed)
            shown.newest, shown.since_us = changed, now_us
        if not changed.points:
            return
        greatest = self._greatest.setdefault(changed.id, {})
        for name, value in changed.points.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                greatest[name] = max(greatest.get(name, 0.0), abs(value))

    def due(self, now_us: int) -> Iterator[tuple[Changed, int]]:
        """What to tell now, each with the instant it is true since; it counts as told."""
        for shown in self._shown.values():
            if shown.told_us is None or shown.told_us + (GAP_US if shown.news else REPEAT_US) <= now_us:
                shown.told, shown.told_us, shown.news = shown.newest, now_us, False
                yield shown.newest, shown.since_us

    def forget_told(self) -> None:
        """Everything is news again: a new connection, perhaps to a broker that remembers nothing."""
        for shown in self._shown.values():
            shown.told = shown.told_us = None

    def _differs(self, told: Changed, new: Changed) -> bool:
        if (told.state, told.why, told.activation, told.mode) != (new.state, new.why, new.activation, new.mode):
            return True
        old_points, new_points = told.points or {}, new.points or {}
        if (told.bad or {}) != (new.bad or {}):
            return True
        if old_points == new_points:
            return False
        if old_points.keys() != new_points.keys():
            return True
        greatest = self._greatest.get(new.id, {})
        for name, value in new_points.items():
            old = old_points[name]
            if isinstance(value, bool | str | None) or isinstance(old, bool | str | None):
                if old != value:
                    return True
            elif abs(value - old) > DEADBAND * max(abs(value), greatest.get(name, 0.0)):
                return True
        return False
