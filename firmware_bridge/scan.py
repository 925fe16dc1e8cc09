"""Finds whole valid RTU frames in whatever comes on a line, and looks at each octet once.

A line that babbles must not take the processor from the other lines. So what a frame may be is decided by its first
three octets, and its check sum is not added up: over a linear CRC the sum of any stretch follows from the running
sums at its two ends. It refuses to know time, and which frame was waited for.
"""

import re
from array import array
from collections.abc import Iterator
from functools import cache
from heapq import heappop, heappush

from firmware_bridge.modbus import CRC_TABLE, crc16, rtu_length_of_reply

KEPT = 512
"""Octets kept of a line that says nothing valid: two of the longest frames."""
LONGEST = 256
"""Octets of the longest frame (Serial Line V1.02, 2.5.1)."""
READ_OCTETS = 8
"""Octets of a read request."""
_FUNCTION = re.compile(rb"[\x01-\x06\x0f\x10\x81-\x90]")
"""Octets that may be the function code of an answer, or of its refusal."""

Stretch = tuple[int, int]
"""Where octets begin and end, counted from the beginning of time."""


@cache
def carried() -> "list[tuple[array[int], array[int]]]":
    """For each n up to LONGEST: what a running sum becomes over n octets of zero, by its high and its low octet."""
    high, low = array("H", (v << 8 for v in range(256))), array("H", range(256))
    tables = [(high, low)]
    for _ in range(LONGEST):
        high = array("H", (v >> 8 ^ CRC_TABLE[v & 0xFF] for v in high))
        low = array("H", (v >> 8 ^ CRC_TABLE[v & 0xFF] for v in low))
        tables.append((high, low))
    return tables


def is_reply(frame: bytes) -> bool:
    """Whether a whole valid frame is an answer; else it is a read request: of another master, or our own echoed."""
    return len(frame) == rtu_length_of_reply(frame)


def is_one_reply(data: bytes) -> bool:
    """Whether these octets are one whole valid answer and nothing else, as nearly always."""
    return 5 <= len(data) <= LONGEST and is_reply(data) and crc16(data) == 0


def replies(data: bytes) -> list[tuple[int, bytes]]:
    """Every whole valid answer in `data`, as (unit, pdu)."""
    return [(frame[0], frame[1:-2]) for frame in Scanner().feed(data) if is_reply(frame)]


class Scanner:
    """What has come on a line and is not yet a frame.

    A stretch that may be an answer is tried as one first, and then as somebody else's read: an answer that ends in 00
    is valid without that octet too, and its first eight octets would pass for a read.
    """

    def __init__(self) -> None:
        self._octets = bytearray()
        self._sums = [0]
        """The running sum before each octet kept, and after the last."""
        self._base = 0
        """How many octets came before those kept."""
        self._looked = 0
        """Up to where function codes were looked for, from the beginning of time."""
        self._carried = carried()
        self._open: list[tuple[int, int]] = []
        """Stretches that may be a frame, by their end: (end, start)."""

    def __len__(self) -> int:
        """Octets that are no frame yet, or never will be."""
        return len(self._octets)

    def clear(self) -> None:
        if self._octets:
            self._drop(self._base + len(self._octets))

    def feed(self, data: bytes) -> list[bytes]:
        """The whole valid frames that these octets complete, with address and check sum, in their order.

        A valid frame is taken whole, so nothing inside it is mistaken for another; other octets are noise.
        """
        octets, sums = self._octets, self._sums
        octets += data
        running = sums[-1]
        for octet in data:
            running = running >> 8 ^ CRC_TABLE[(running ^ octet) & 0xFF]
            sums.append(running)
        frames: list[bytes] = []
        for start, stop in sorted([*self._begun(), *self._ended()]):
            if start >= self._base:
                frames.append(bytes(octets[start - self._base : stop - self._base]))
                self._drop(stop)
        if len(octets) > 2 * KEPT:
            self._drop(self._base + len(octets) - KEPT)
        return frames

    def _begun(self) -> Iterator[Stretch]:
        """The frames that begin in what has come since the last look, and are whole. What may yet be one is noted.

        Noise may hold such a stretch at every octet, so its check sum is looked at in place: calling `_holds` for each
        would double what a babbler costs.
        """
        octets, sums, base, carried = self._octets, self._sums, self._base, self._carried
        size = len(octets)
        for found in _FUNCTION.finditer(octets, max(1, self._looked - base), max(1, size - 1)):
            at = found.start()
            function = octets[at]
            # A refusal has 5 octets, a write's answer 8; a read's answer says it, and somebody else's read has 8.
            answer = 5 if function & 0x80 else 8 if function > 4 else 5 + octets[at + 1]
            before = sums[at - 1] ^ 0xFFFF
            for length in (answer, READ_OCTETS) if function <= 4 else (answer,):
                stop = at - 1 + length
                if stop > size:
                    heappush(self._open, (base + stop, base + at - 1))
                    break
                if length <= LONGEST:
                    high, low = carried[length]
                    if high[before >> 8] ^ low[before & 0xFF] == sums[stop]:
                        yield base + at - 1, base + stop
                        break
        self._looked = max(self._looked, base + size - 1)

    def _ended(self) -> Iterator[Stretch]:
        """The frames among the stretches that were noted and have come whole by now."""
        end = self._base + len(self._octets)
        while self._open and self._open[0][0] <= end:
            stop, start = heappop(self._open)
            if start < self._base:
                continue
            if self._holds(start, stop):
                yield start, stop
            elif self._octets[start + 1 - self._base] <= 4 and stop != (read := start + READ_OCTETS):
                if read > end:
                    heappush(self._open, (read, start))
                elif self._holds(start, read):
                    yield start, read

    def _holds(self, start: int, stop: int) -> bool:
        """Whether the check sum at the end of a stretch is right: over both the sum comes to zero."""
        if stop - start > LONGEST:
            return False
        high, low = self._carried[stop - start]
        before = self._sums[start - self._base] ^ 0xFFFF
        return high[before >> 8] ^ low[before & 0xFF] == self._sums[stop - self._base]

    def _drop(self, until: int) -> None:
        """Forget all octets before this one."""
        del self._octets[: until - self._base]
        del self._sums[: until - self._base]
        self._base = until
