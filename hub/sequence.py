"""Which of a gateway's receipts and events have come, kept as the ranges that have not.

A gateway numbers them durably and without holes, so a hole here is something the centre has not seen. What lay
before our first contact is no hole of ours. It refuses to know what the messages say.
"""

MAX_HOLES = 256
"""Remembered ranges of one gateway; the oldest go first."""


class Sequence:
    """The numbers of one gateway."""

    def __init__(self) -> None:
        self.last: int | None = None
        """The highest number that came or was announced; None before the first contact."""
        self.holes: list[tuple[int, int]] = []
        """First and last of every missing range, ascending."""
        self._before: list[tuple[int, int]] = []
        """Ranges of what was given out before the first contact and has not come. It is not missed, and new when it
        comes: what waits for us at the broker is overtaken by the status that is the first contact."""
        self._last_at = ""
        """When, by the gateway's own word, it had come to `last`."""

    def announced(self, last: int, at: str) -> None:
        """The gateway says at that instant that it has given out every number up to `last`."""
        if self.last is None or last > self.last:
            if self.last is None:
                self._before = [(1, last)]
            else:
                self.holes.append((self.last + 1, last))
                del self.holes[:-MAX_HOLES]
            self.last, self._last_at = last, at

    def ends(self, last: int, at: str) -> None:
        """The gateway says at that instant that it has given out no number above `last`. What had come above it earlier
        than that was counted by a journal that is lost, and was overtaken by the new one's first word."""
        if self.last is not None and last < self.last and at > self._last_at:
            self.holes = [(a, min(b, last)) for a, b in self.holes if a <= last]
            self.last = last

    def came(self, seq: int, at: str) -> bool:
        """One came, given out at that instant, in whatever order; False when it had come before, or may have."""
        if self.last is None or seq > self.last:
            self.announced(seq - 1, at)
            self.last, self._last_at = seq, at
            return True
        for ranges in (self.holes, self._before):
            for n, (first, last) in enumerate(ranges):
                if first <= seq <= last:
                    ranges[n : n + 1] = [r for r in ((first, seq - 1), (seq + 1, last)) if r[0] <= r[1]]
                    del ranges[:-MAX_HOLES]
                    return True
        return False
