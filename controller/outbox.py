"""The outbox: receipts and events from the moment they have a number until the broker has them, and a while after.

A *line* is one numbered message. It is

    WRITING     given to the journal, which has not answered; it may not leave, nor may any line after it
    READY       on the disk (or given up waiting for the disk); leaves when the window has room
    SENT        published, and the broker has not confirmed
    DELIVERED   the broker has it; kept for a hub that asks again, until the room is needed

Lines leave in the order of their numbers. When the connection goes, what was SENT is READY again: the broker may
see a line twice, never not at all. It knows no time, topic or connection; `session.py` tells it what happened.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum, auto

LINES_LIMIT = 10_000
"""Lines held in memory, about 10 MB: a week offline at an event a minute."""
WINDOW = 16
"""Lines on their way to the broker at once: enough for 160 a second over a mobile network's 100 ms."""
AGAIN_LIMIT = 1_024
"""Repeats that wait at once; a hub that misses more asks again."""


class Stand(Enum):
    WRITING = auto()
    READY = auto()
    SENT = auto()
    DELIVERED = auto()


class Did(Enum):
    """What can happen to a line."""

    WRITTEN = auto()
    PUBLISHED = auto()
    CONFIRMED = auto()
    CUT = auto()


TABLE = {
    (Stand.WRITING, Did.WRITTEN): Stand.READY,
    (Stand.READY, Did.PUBLISHED): Stand.SENT,
    (Stand.SENT, Did.CONFIRMED): Stand.DELIVERED,
    (Stand.SENT, Did.CUT): Stand.READY,
    # The broker's word for a line may still come when the connection that carried it is already known to be gone.
    (Stand.READY, Did.CONFIRMED): Stand.DELIVERED,
}


@dataclass(slots=True)
class Line:
    """One numbered message, as bytes. `plain` ones (events that are not urgent) give way when there is no room."""

    seq: int
    kind: str
    payload: bytes
    order: str = ""
    plain: bool = False
    stand: Stand = Stand.WRITING


class Outbox:
    """Lines by number, in order, within `LINES_LIMIT`."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._queue: OrderedDict[int, Line] = OrderedDict()
        self._sent: OrderedDict[int, Line] = OrderedDict()
        self._delivered: OrderedDict[int, Line] = OrderedDict()
        self._plain: OrderedDict[int, Line] = OrderedDict()
        self._by_order: dict[str, list[int]] = {}
        self._again: deque[Line] = deque()
        self._again_sent: set[int] = set()
        self.last_seq = 0

    def __len__(self) -> int:
        """Lines that the broker has not yet confirmed."""
        return len(self._queue) + len(self._sent)

    def get(self, seq: int) -> Line | None:
        return self._lines.get(seq)

    def add(self, line: Line) -> Line | None:
        """Take a new line; answers with the undelivered one that had to give way to it, if any."""
        assert line.seq > self.last_seq, (line.seq, self.last_seq)
        self.last_seq = line.seq
        self._lines[line.seq] = line
        if line.order:
            self._by_order.setdefault(line.order, []).append(line.seq)
        if line.stand is Stand.DELIVERED:
            self._delivered[line.seq] = line
        else:
            self._queue[line.seq] = line
            if line.plain:
                self._plain[line.seq] = line
        return self._make_room() if len(self._lines) > LINES_LIMIT else None

    def _make_room(self) -> Line | None:
        """Delivered lines go first, then the oldest plain event, then the oldest line of all."""
        if self._delivered:
            self._forget(self._delivered.popitem(last=False)[1])
            return None
        if self._plain:
            _, line = self._plain.popitem(last=False)
            del self._queue[line.seq]
        else:
            _, line = self._queue.popitem(last=False)
        self._forget(line)
        return line

    def _forget(self, line: Line) -> None:
        del self._lines[line.seq]
        if line.order:
            seqs = self._by_order[line.order]
            seqs.remove(line.seq)
            if not seqs:
                del self._by_order[line.order]

    def written(self, seq: int) -> None:
        line = self._queue.get(seq)
        if line is not None and line.stand is Stand.WRITING:
            line.stand = TABLE[line.stand, Did.WRITTEN]

    def next(self) -> Line | None:
        """The line to publish now: the oldest that waits, when it is READY and the window has room."""
        if len(self._sent) + len(self._again_sent) >= WINDOW or not self._queue:
            return None
        seq, line = next(iter(self._queue.items()))
        if line.stand is not Stand.READY:
            return None
        del self._queue[seq]
        self._plain.pop(seq, None)
        self._sent[seq] = line
        line.stand = TABLE[line.stand, Did.PUBLISHED]
        return line

    def confirmed(self, seq: int) -> bool:
        """The broker has this line; False when that is no news."""
        line = self._sent.pop(seq, None)
        if line is None:
            line = self._queue.get(seq)
            if line is None or line.stand is not Stand.READY:
                return False
            del self._queue[seq]
            self._plain.pop(seq, None)
        line.stand = TABLE[line.stand, Did.CONFIRMED]
        self._delivered[seq] = line
        return True

    def cut(self) -> None:
        """The connection is gone: what was SENT waits again, before all else. Repeats are not: the hub asks again."""
        for seq, line in reversed(self._sent.items()):
            line.stand = TABLE[line.stand, Did.CUT]
            self._queue[seq] = line
            self._queue.move_to_end(seq, last=False)
            if line.plain:
                self._plain[seq] = line
                self._plain.move_to_end(seq, last=False)
        self._sent.clear()
        self._again.clear()
        self._again_sent.clear()

    # Repeats.

    def repeat_order(self, order: str) -> bool:
        """Queue what was said of an order once more; False when nothing of it is remembered."""
        seqs = self._by_order.get(order, [])
        self._repeat(seqs)
        return bool(seqs)

    def repeat_range(self, first: int, last: int) -> None:
        self._repeat(range(max(first, next(iter(self._lines), 1)), min(last, self.last_seq) + 1))

    def _repeat(self, seqs: list[int] | range) -> None:
        waiting = {line.seq for line in self._again} | self._again_sent
        for seq in seqs:
            line = self._lines.get(seq)
            if len(self._again) >= AGAIN_LIMIT:
                return
            # What is not delivered comes by itself.
            if line is not None and line.stand is Stand.DELIVERED and seq not in waiting:
                self._again.append(line)

    def next_repeat(self) -> Line | None:
        """The repeat to publish now: only when no first telling could go instead."""
        if len(self._sent) + len(self._again_sent) >= WINDOW or not self._again:
            return None
        line = self._again.popleft()
        self._again_sent.add(line.seq)
        return line

    def repeat_confirmed(self, seq: int) -> None:
        self._again_sent.discard(seq)
