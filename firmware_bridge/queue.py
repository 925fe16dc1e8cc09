"""What waits on one bus: stop before order before read-back before poll, and edges by their instants.

It refuses to know units and lines: whether something may go now is asked of it by the bus.
"""

from bisect import insort_left, insort_right
from operator import attrgetter

from firmware_bridge.event import Priority, Transaction
from firmware_bridge.machine import earliest

LIMIT = 256
"""Transactions waiting on one bus. A gateway has tens of points; more waiting means nobody is served."""

_priority = attrgetter("priority")


class Queue:
    """Transactions in the order in which a bus should try them."""

    def __init__(self) -> None:
        self._waiting: list[Transaction] = []
        """What waits for no instant, most urgent first, oldest first."""
        self._edges: list[Transaction] = []
        self.late_us: int | None = None
        """Nothing that waits is too late before this."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._edges)

    def refuses(self, txn: Transaction) -> str | None:
        """Why one more cannot wait; None when it can. A stop always can."""
        if len(self._waiting) + len(self._edges) >= LIMIT and txn.priority is not Priority.STOP:
            return "queue full"
        if txn.priority is Priority.POLL:
            for other in self._waiting:
                same = (other.owner, other.unit, other.request) == (txn.owner, txn.unit, txn.request)
                if same and other.priority is Priority.POLL:
                    return "an equal poll waits"
        return None

    @property
    def stopping(self) -> bool:
        """Whether a stop waits."""
        return bool(self._waiting) and self._waiting[0].priority is Priority.STOP

    @property
    def edge_us(self) -> int | None:
        """The next ordered instant."""
        return self._edges[0].at_us if self._edges else None

    def edges(self) -> list[Transaction]:
        """The writes of the next ordered instant."""
        return [edge for edge in self._edges if edge.at_us == self._edges[0].at_us]

    def waiting(self) -> list[Transaction]:
        """What waits for no instant, most urgent first, oldest first; the queue may be changed meanwhile."""
        return self._waiting.copy()

    def put(self, now_us: int, txn: Transaction) -> bool:
        """Add one; True when it waits for an instant."""
        self._expire(txn)
        if txn.at_us is None or txn.at_us <= now_us:
            insort_right(self._waiting, txn, key=_priority)
            return False
        self._edges.append(txn)
        self._edges.sort(key=lambda edge: (edge.at_us or 0, edge.priority))
        return True

    def put_back(self, now_us: int, txn: Transaction) -> None:
        """Return one that was recalled to where it came from."""
        self._expire(txn)
        if txn.at_us is not None and txn.at_us > now_us:
            self._edges.insert(0, txn)
        else:
            insort_left(self._waiting, txn, key=_priority)

    def expired(self, now_us: int) -> list[Transaction]:
        """Remove those whose last instant has passed."""
        if self.late_us is None or now_us < self.late_us:
            return []
        gone = [txn for txn in self._all() if txn.expires_us is not None and now_us > txn.expires_us]
        for txn in gone:
            self.take(txn)
        self.late_us = None
        for txn in self._all():
            self._expire(txn)
        return gone

    def take(self, txn: Transaction) -> None:
        """Remove one."""
        if self._edges and txn in self._edges:
            self._edges.remove(txn)
        else:
            self._waiting.remove(txn)

    def withdraw(self, owner: str, id: int) -> Transaction | None:
        """Remove one by its name."""
        for txn in self._all():
            if txn.owner == owner and txn.id == id:
                self.take(txn)
                return txn
        return None

    def drain(self) -> list[Transaction]:
        """Remove all."""
        drained = self._all()
        self._edges.clear()
        self._waiting.clear()
        return drained

    def _all(self) -> list[Transaction]:
        return [*self._edges, *self._waiting]

    def _expire(self, txn: Transaction) -> None:
        if txn.expires_us is not None:
            self.late_us = earliest(self.late_us, txn.expires_us + 1)
