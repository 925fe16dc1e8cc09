"""Wakes a machine at its deadline, on the event loop.

A machine that is busy moves its deadline at every event, nearly always to a later instant: a time-out begins anew with
each request. The loop's timer is left as it is then, and is set anew when it comes too early, which is seldom; setting
it each time would cost as much as the machine. It refuses to know the machine.
"""

import asyncio
from collections.abc import Callable

from firmware_bridge.link import now_us


class Waker:
    """Calls `wake` when the instant that was set last has come, never before it. Lives on the running loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._at_us: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0

    def set(self, at_us: int | None) -> None:
        """The deadline, each time it may have moved; None: there is none."""
        self._at_us = at_us
        if at_us is not None and (self._timer is None or at_us < self._timer_us):
            self._start(at_us)

    def stop(self) -> None:
        """Wake no more."""
        self._at_us = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, at_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_us = self._loop.call_at(at_us / 1e6, self._rung), at_us

    def _rung(self) -> None:
        self._timer = None
        if self._at_us is not None and now_us() < self._at_us:
            self._start(self._at_us)
        elif self._at_us is not None:
            self._at_us = None
            self._wake()
