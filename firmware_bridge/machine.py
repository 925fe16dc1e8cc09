"""The one shape: everything that lives in time is a machine.

A machine is told the time and one event, and answers with effects. It has no clock, no I/O, no randomness
and no log. `deadline` says when it wants to be woken (integer microseconds, monotonic), or None. A shell
that reaches the deadline hands it `Woken`; after any `handle(now_us, ...)` the deadline lies after `now_us`,
or the caller would spin.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

EventT = TypeVar("EventT", contravariant=True)
EffectT = TypeVar("EffectT")

MS = 1_000
"""Microseconds in a millisecond."""
S = 1_000_000
"""Microseconds in a second."""


@dataclass(frozen=True, slots=True)
class Woken:
    """The deadline a machine asked for has come."""


class Machine(Protocol[EventT, EffectT]):
    """What every part of the gateway, the hub and the simulated world looks like from outside."""

    @property
    def deadline(self) -> int | None: ...

    def handle(self, now_us: int, event: EventT, /) -> list[EffectT]: ...


def earliest(*deadlines: int | None) -> int | None:
    """The first of several deadlines; None stands for never."""
    first = None
    for one in deadlines:
        # A plain loop: this is asked several times for every event, and a generator would cost three times as much.
        if one is not None and (first is None or one < first):
            first = one
    return first
