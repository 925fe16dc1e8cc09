"""Notices on their way to becoming numbered events: the first at once, repeats held, a flood bounded.

Each event costs a write to the disk and a message, for good; so a chattering contact, or somebody who sends us
rubbish, must not be able to write at will. Nothing is dropped unsaid: a held notice is told at the end of its hold
(the newest, with how many there were), or later where a flood takes the room, and what a flood cost is told as a
number. It knows no journal.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from controller.event import Notice
from firmware_bridge.machine import S, earliest

HOLD_US = 20 * S
"""The same notice of the same subject once in this time; under the 30 s within which a fault must be known."""
HOLD_LIMIT = 512
"""Subjects held at once; beyond it notices are told unheld, and the bucket bounds them."""
BUCKET = 120
"""Notices at once that are not urgent; one a second comes back."""


@dataclass(slots=True)
class _Held:
    """What came of a notice since it was told."""

    since_us: int
    until_us: int
    newest: Notice | None = None
    count: int = 0


class Notices:
    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, str], _Held] = OrderedDict()
        self._room = float(BUCKET)
        self._filled_us = 0
        self._muted = 0

    @property
    def deadline(self) -> int | None:
        first = next(iter(self._held.values())).until_us if self._held else None
        return earliest(first, self._filled_us + S if self._muted else None)

    def take(self, now_us: int, notice: Notice) -> Notice | None:
        """The notice, if it is to be told now."""
        key = notice.what, notice.subject, notice.part
        held = self._held.get(key)
        if held is not None:
            held.newest, held.count = notice, held.count + 1
            return None
        if not notice.urgent and not self._has_room(now_us):
            self._muted += 1
            return None
        if len(self._held) < HOLD_LIMIT:
            self._held[key] = _Held(now_us, now_us + HOLD_US)
        return notice

    def due(self, now_us: int) -> list[Notice]:
        """What the ends of holds, and of a flood, bring."""
        out = []
        while self._held and next(iter(self._held.values())).until_us <= now_us:
            key, held = self._held.popitem(last=False)
            if held.newest is None:
                continue
            if not held.newest.urgent and not self._has_room(now_us):
                # Held on: who sends the same few hundred things again and again is told no faster than a flood.
                held.until_us = now_us + HOLD_US
                self._held[key] = held
                continue
            times = f"{held.count} in {(now_us - held.since_us) // S} s" if held.count > 1 else ""
            out.append(replace(held.newest, detail="; ".join(t for t in (held.newest.detail, times) if t)))
            self._held[key] = _Held(now_us, now_us + HOLD_US)
        if self._muted and now_us - self._filled_us >= S and self._has_room(now_us):
            out.append(Notice("muted", detail=f"{self._muted} notices were too many to keep"))
            self._muted = 0
        return out

    def _has_room(self, now_us: int) -> bool:
        self._room = min(BUCKET, self._room + (now_us - self._filled_us) / S)
        self._filled_us = now_us
        if self._room < 1:
            return False
        self._room -= 1
        return True
