"""What one output does electrically: the contact, what bounds it, and what a fault does to it.

An output is *commanded* by its device, for a time or until told otherwise. A welded contact stays whatever the
command; a hard-wired timer relay cuts what was closed too long; a panel sounds a head without any command.
It refuses to know of points and requests: why it was commanded comes with the command.
"""

from dataclasses import dataclass
from enum import StrEnum

from firmware_bridge.machine import earliest


class Cause(StrEnum):
    """Why an output changed."""

    WRITE = "write"
    LEASE_END = "lease-end"
    WATCHDOG = "watchdog"
    SELF_LIMIT = "self-limit"
    HARD_LIMIT = "hard-limit"
    POWER = "power"
    FAULT = "fault"
    PANEL = "panel"


@dataclass(frozen=True, slots=True)
class Switched:
    """An output began or ended to sound (electrically)."""

    t_us: int
    channel: int | None
    on: bool
    cause: Cause


class Output:
    """One channel. Call `settle` after any change: it says what became of it."""

    def __init__(self, channel: int | None, hard_limit_us: int | None) -> None:
        self.channel = channel
        self.commanded = False
        self.until_us: int | None = None
        """When the command ends by itself."""
        self.ends = Cause.LEASE_END
        self.stuck: bool | None = None
        self.panel = False
        self.on = False
        self._hard_limit_us = hard_limit_us
        self._closed_us: int | None = None
        self._cut = False

    @property
    def at_rest(self) -> bool:
        """Nothing happens to it by itself."""
        return self.until_us is None and self._closed_us is None

    @property
    def deadline(self) -> int | None:
        return earliest(self.until_us, self._cut_us)

    @property
    def _cut_us(self) -> int | None:
        """When the timer relay will open; it is ready again only when the contact has opened."""
        if self._hard_limit_us is None or self._closed_us is None or self._cut:
            return None
        return self._closed_us + self._hard_limit_us

    def command(self, on: bool, until_us: int | None = None, ends: Cause = Cause.LEASE_END) -> None:
        self.commanded = on
        self.until_us = until_us
        self.ends = ends

    def settle(self, now_us: int, cause: Cause) -> Switched | None:
        """Bring contact and timer relay in line with command and faults; tell it if that changed the sound."""
        closed = self.commanded if self.stuck is None else self.stuck
        if not closed:
            self._closed_us, self._cut = None, False
        elif self._closed_us is None:
            self._closed_us = now_us
        if self._cut_us is not None and now_us >= self._cut_us:
            self._cut, cause = True, Cause.HARD_LIMIT
        on = (closed and not self._cut) or self.panel
        if on == self.on:
            return None
        self.on = on
        return Switched(now_us, self.channel, on, cause)
