"""The allowance: how long one siren may still sound, of sixty minutes in any 24 hours.

Whatever asks for it counts: orders, rules, technicians. Two persons' order that was signed just now begins the count
anew; nothing else does. A drill that would exceed what is left does not begin; a warning begins while anything is left
and is ended where that is used up. What counts is how long the output was commanded on, to the end of the sounding.

The journal carries the count over a restart: a `sounded` record at the end of each sounding, and, where a crash left
none, all the time since it had started. It refuses to know orders, devices and what sounds now.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from controller import wire
from controller.event import Clock, Record, Trust
from controller.signal import ACTIVATION_MARGIN_S, PROGRAMME_LIMIT_S, Phase
from controller.wire import Instant, Message, Mode, Receipt, Stage
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S

ALLOWED_US = 60 * 60 * S
"""Of sound, on one siren ..."""
DAY_US = 24 * 3600 * S
"""... in any stretch of this length: heads overheat, batteries empty, and a siren that never ends warns nobody."""
SOUNDINGS_LIMIT = 256
"""Soundings remembered one by one; beyond that the two oldest become one, as old as the younger."""
LONGEST_US = (PROGRAMME_LIMIT_S + ACTIVATION_MARGIN_S) * S
"""What is counted of a sounding whose end and limit nobody knows."""

BEGUN = frozenset({Stage.STARTED, Stage.SENSED, Stage.HEARD})
"""A sounding whose edge was never acknowledged may be sensed all the same."""

REASON = "daily-limit"

T = TypeVar("T")


class Sounded(Message):
    """The body of a `sounded` record: one sounding is over, on one siren."""

    order: str
    siren: str
    us: Annotated[int, Field(ge=0)]
    """How long its output was commanded on."""
    at: Instant | None = None
    """When it ended; None: the clock was not to be believed."""
    starts: Annotated[int, Field(ge=0, le=10_000)] = 1
    """How often it was turned on (`strain.py`); an older version did not say."""


@dataclass(frozen=True, slots=True)
class Before:
    """A sounding of before the restart, and when it ended; None: nobody knows, so it counts as just now.

    Where a crash cut it, `since_wall_us` is its start, and `us` the most that it can have been.
    """

    us: int
    at_wall_us: int | None = None
    since_wall_us: int | None = None


class Undated(Generic[T]):
    """What the journal tells of before the restart: it has no age until a clock is heard that may be believed."""

    def __init__(self) -> None:
        self.waiting: tuple[T, ...] = ()

    def restore(self, before: Sequence[T]) -> None:
        self.waiting = tuple(before)

    def placed(self, clock: Clock) -> tuple[T, ...]:
        """The clock was heard: what has an age from now on."""
        if clock.trust is Trust.UNTRUSTED:
            return ()
        placed, self.waiting = self.waiting, ()
        return placed


class Allowance:
    """Of one siren. Instants are this run's; what was before lies as far back as a believed clock says."""

    def __init__(self) -> None:
        self._spent: deque[tuple[int, int]] = deque()
        """(when it ended, how long it was), oldest first."""
        self.before: Undated[Before] = Undated()
        """Counts in full."""

    def place(self, now_us: int, clock: Clock) -> None:
        placed: list[tuple[int, int]] = []
        for one in self.before.placed(clock):
            ended_us, us = now_us, one.us
            # What is dated in the future was dated by a clock that was wrong: then nothing is known of its age.
            if one.at_wall_us is not None:
                ended_us -= max(0, clock.wall_us - one.at_wall_us)
            elif one.since_wall_us is not None and clock.wall_us > one.since_wall_us:
                us = min(us, clock.wall_us - one.since_wall_us)
            placed.append((ended_us, us))
        if placed:
            self._spent = deque(sorted([*placed, *self._spent]))

    def left_us(self, now_us: int) -> int:
        """Of the allowance; never below zero."""
        while self._spent and self._spent[0][0] <= now_us - DAY_US:
            self._spent.popleft()
        spent_us = sum(us for _, us in self._spent) + sum(one.us for one in self.before.waiting)
        return max(0, ALLOWED_US - spent_us)

    def spend(self, now_us: int, us: int) -> None:
        """A sounding is over."""
        self._spent.append((now_us, us))
        if len(self._spent) > SOUNDINGS_LIMIT:
            (_, first), (later_us, second) = self._spent.popleft(), self._spent.popleft()
            self._spent.appendleft((later_us, first + second))

    def renew(self) -> None:
        """Two persons have just signed that it shall sound."""
        self._spent.clear()
        self.before.restore(())


def refuses(mode: Mode, phases: Iterable[Phase], left_us: int) -> bool:
    """Whether it does not begin, with so much left."""
    if mode is Mode.LIVE:
        return left_us == 0
    return sum(p.off_us - p.on_us for p in phases) > left_us


def exhausted_us(phases: Iterable[Phase], left_us: int) -> int | None:
    """The offset at which a sounding of these phases has used up what is left; None: something remains of it."""
    for phase in phases:
        if phase.off_us - phase.on_us > left_us:
            return phase.on_us + left_us
        left_us -= phase.off_us - phase.on_us
    return None


def restored(records: Iterable[Record]) -> Mapping[str, Sequence[Before]]:
    """What the journal tells of each siren's soundings, oldest record first; some orders it took only afterwards."""
    book: dict[str, list[Before]] = {}
    limits: dict[str, int] = {}
    fresh: set[str] = set()
    running: dict[tuple[str, str], int] = {}
    ended: dict[tuple[str, str], Before] = {}
    """What was counted by its last receipt, because nothing else told of its end."""

    def cut(order: str, siren: str, until_us: int) -> Before:
        """It was running when something else was heard of it: all the time since counts."""
        since_us, limit_us = running.pop((order, siren)), limits.get(order, LONGEST_US)
        lasted_us = until_us - since_us
        us, dated = lasted_us if 0 <= lasted_us <= limit_us else limit_us, until_us > wire.UNDATED_US
        book.setdefault(siren, []).append(Before(us, until_us if dated else None))
        return book[siren][-1]

    records = list(records)
    for body in (record.body for record in records if record.kind == "accept"):
        order, limit_us = str(body.get("order")), body.get("limit_us")
        if isinstance(limit_us, int):
            limits[order] = limit_us
        if body.get("fresh") is True:
            fresh.add(order)
    for record in records:
        try:
            match record.kind:
                case "sounded":
                    over = wire.validate(Sounded, dict(record.body))
                    running.pop((over.order, over.siren), None)
                    counted = ended.pop((over.order, over.siren), None)
                    if counted is not None and counted in book.get(over.siren, ()):
                        book[over.siren].remove(counted)
                    at_wall_us = None if over.at is None else wire.to_wall_us(over.at)
                    book.setdefault(over.siren, []).append(Before(over.us, at_wall_us))
                case "receipt":
                    said = wire.validate(Receipt, dict(record.body))
                    key, at_us = (said.order, said.siren), wire.to_wall_us(said.at)
                    again = key in running
                    if again and (said.stage is Stage.STARTED or said.stage.terminal):
                        counted = cut(*key, at_us)
                        if said.stage.terminal:
                            ended[key] = counted
                    if said.stage in BEGUN and key not in running:
                        if said.order in fresh and not again:
                            book.pop(said.siren, None)
                        running[key] = at_us
        except Malformed:
            # Written by another version: the ledger passes over it too.
            continue
    for (order, siren), since_us in running.items():
        book.setdefault(siren, []).append(Before(limits.get(order, LONGEST_US), None, since_us))
    return book
