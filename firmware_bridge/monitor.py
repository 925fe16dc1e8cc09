"""What a technician may know of a line: its last frames, and how long each unit takes to answer.

The bus tells it what it hears and sends, and it decides nothing. A frame is kept as it was on the wire; what it
says in words is worked out only when somebody asks.
"""

from bisect import bisect_left
from collections import deque
from typing import NamedTuple

from firmware_bridge import modbus, scan
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Read, Table
from firmware_bridge.framing import Framing, Plain, Tcp
from firmware_bridge.machine import MS

FRAMES_LIMIT = 64
"""Frames kept of a line: a few seconds at 9600 baud, enough to see one exchange and what was around it."""
BUCKETS_MS = (2, 5, 10, 20, 50, 100, 200, 500)
"""Upper ends of the turnaround histogram's buckets; one more holds what took longer."""
BUCKETS_US = tuple(ms * MS for ms in BUCKETS_MS)


class Seen(NamedTuple):
    """Octets that left (`ours`) or came, and when. `at_us` of what left is its ordered instant where it has one."""

    at_us: int
    ours: bool
    data: bytes


class Monitor:
    """Looks on at one bus."""

    def __init__(self, framing: Framing) -> None:
        self.frames: deque[Seen] = deque(maxlen=FRAMES_LIMIT)
        self.turnarounds: dict[int, list[int]] = {}
        """Unit -> how many answers fell into each bucket of BUCKETS_MS and beyond."""
        self._framing = framing

    def came(self, now_us: int, data: bytes) -> None:
        """Octets came."""
        self.frames.append(Seen(now_us, False, data))

    def sent(self, at_us: int, data: bytes) -> None:
        """A frame leaves at this instant."""
        self.frames.append(Seen(at_us, True, data))

    def answered(self, unit: int, turnaround_us: int) -> None:
        """A unit answered in time."""
        counts = self.turnarounds.get(unit)
        if counts is None:
            counts = self.turnarounds[unit] = [0] * (len(BUCKETS_MS) + 1)
        counts[bisect_left(BUCKETS_US, turnaround_us)] += 1

    def words(self, seen: Seen) -> str:
        """One frame for people."""
        if isinstance(self._framing, Plain):
            text = seen.data.decode("ascii", "replace").strip()
            return repr(text) if text.isprintable() and text.isascii() else "no Modbus"
        tcp = isinstance(self._framing, Tcp)
        try:
            if seen.ours:
                cut = modbus.mbap_split(seen.data) if tcp else None
                unit, pdu = (cut[1], cut[2]) if cut else (seen.data[0], seen.data[1:-2])
                return f"unit {unit}: {said(modbus.parse_request(pdu))}"
            frames = Tcp().feed(seen.data) if tcp else [(0, u, p) for u, p in scan.replies(seen.data)]
        except (Malformed, IndexError):
            frames = []
        answers = []
        for _, unit, pdu in frames:
            if pdu[0] & 0x80:
                answers.append(f"unit {unit}: refuses, {modbus.EXCEPTIONS.get(pdu[1], 'exception')} ({pdu[1]})")
            else:
                answers.append(f"unit {unit}: answers function {pdu[0]:02d}")
        return "; ".join(answers) or "part of a frame, or noise"


def said(request: modbus.Request) -> str:
    """`reads holding 256, 2 of them`"""
    if isinstance(request, Read):
        return f"reads {request.table} {request.address}, {request.count} of them"
    what = "pulse of" if request.table is Table.PULSE else "writes"
    return f"{what} {request.table} {request.address} = {', '.join(map(str, request.values))}"
