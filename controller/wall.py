"""The wall clock as it was last told, carried on by the monotonic one. It refuses to know how it was read."""

from controller import wire
from controller.event import Clock, Trust
from controller.wire import BLANK_INSTANT, Instant


class Wall:
    """Before the first Clock it shows the time since boot, and is not believed. Its owner sets `now_us`."""

    def __init__(self) -> None:
        self.now_us = 0
        self._clock: Clock | None = None
        self._offset_us = 0

    def take(self, clock: Clock) -> None:
        self._clock, self._offset_us = clock, clock.wall_us - self.now_us

    @property
    def us(self) -> int:
        return self.now_us + self._offset_us

    @property
    def error_us(self) -> int:
        return self._clock.error_us if self._clock else 0

    @property
    def believed_us(self) -> int | None:
        """What it shows, where that may be believed."""
        return None if self._clock is None or self._clock.trust is Trust.UNTRUSTED else self.us

    @property
    def text(self) -> Instant:
        """The same for the wire; a blank, which the session fills, before the first Clock."""
        return BLANK_INSTANT if self._clock is None else wire.to_text(self.us)

    def exact(self, at_us: int) -> Instant | None:
        """What it showed at a monotonic instant, to the microsecond."""
        return None if self._clock is None else wire.to_text(at_us + self._offset_us, 6)
