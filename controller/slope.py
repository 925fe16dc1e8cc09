"""How fast a level rises, by the slope of a straight line through the last minutes, and how far it went in them.

Both are kept as the samples come, so that one costs the same however many there are. Times are counted from a sample of
not long ago, so that the sums stay exact. It refuses to know whether a sample may be believed.
"""

from collections import deque

from firmware_bridge.machine import S

SAMPLES_LIMIT = 3000
"""Of one slope: five minutes at ten a second, the fastest poll there is."""
FRESH_S = 10_000.0
"""The sums are made anew when their beginning is so long ago: squares of large times swallow centimetres."""
FEWEST = 3
"""Samples that make a slope."""


class Slope:
    """Over `window_us`."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._samples: deque[tuple[int, float]] = deque()
        self._begin_us = 0
        self._t = self._tt = self._c = self._tc = 0.0

    def clear(self) -> None:
        self._samples.clear()
        self._t = self._tt = self._c = self._tc = 0.0

    def add(self, at_us: int, cm: float) -> None:
        if not self._samples or (at_us - self._begin_us) / S > FRESH_S:
            kept = list(self._samples)
            self.clear()
            self._begin_us = kept[0][0] if kept else at_us
            for sample in kept:
                self._count(*sample, 1)
            self._samples.extend(kept)
        self._samples.append((at_us, cm))
        self._count(at_us, cm, 1)
        if len(self._samples) > SAMPLES_LIMIT:
            self._count(*self._samples.popleft(), -1)

    def rise(self, now_us: int) -> float | None:
        """How much it rises in the window; None while not half of that is known. `now_us` never goes back."""
        while self._samples and self._samples[0][0] < now_us - self._window_us:
            self._count(*self._samples.popleft(), -1)
        n = len(self._samples)
        if n < FEWEST or self._samples[-1][0] - self._samples[0][0] < self._window_us // 2:
            return None
        over = self._tt - self._t * self._t / n
        return (self._tc - self._t * self._c / n) / over * self._window_us / S

    def _count(self, at_us: int, cm: float, sign: int) -> None:
        t = (at_us - self._begin_us) / S
        self._t += sign * t
        self._tt += sign * t * t
        self._c += sign * cm
        self._tc += sign * t * cm


class Span:
    """The distance from the lowest to the highest of a window."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._lows: deque[tuple[int, float]] = deque()
        """Samples from which on none was lower, oldest first; `_highs`: higher."""
        self._highs: deque[tuple[int, float]] = deque()

    def clear(self) -> None:
        self._lows.clear()
        self._highs.clear()

    def add(self, at_us: int, cm: float) -> None:
        while self._lows and self._lows[-1][1] >= cm:
            self._lows.pop()
        while self._highs and self._highs[-1][1] <= cm:
            self._highs.pop()
        self._lows.append((at_us, cm))
        self._highs.append((at_us, cm))
        self._leave(at_us)

    def width(self, now_us: int) -> float:
        """0 of nothing. `now_us` never goes back."""
        self._leave(now_us)
        return self._highs[0][1] - self._lows[0][1] if self._lows else 0.0

    def _leave(self, now_us: int) -> None:
        for ends in (self._lows, self._highs):
            while ends and ends[0][0] < now_us - self._window_us:
                ends.popleft()
