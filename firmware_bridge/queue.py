"""What waits on one bus: stop before order before read-back before poll, and edges by their instants.

It refuses to know units and lines: whether something may go now is asked of it by the bus.
"""

from collections import deque
from collections.abc import Iterator

from firmware_bridge.event import Priority, Transaction
from firmware_bridge.machine import earliest

LIMIT = 256
"""Transactions waiting on one bus. A gateway has tens of points; more waiting means nobody is served."""


class Queue:
    """Transactions in the order in which a bus should try them."""

    def __init__(self) -> None:
        self._lanes: dict[Priority, deque[Transaction]] = {priority: deque() for priority in Priority}
        self._edges: list[Transaction] = []
        self.expires_us: int | None = None
        """No last instant of what waits lies before this."""

    def __len__(self) -> int:
        return len(self._edges) + sum(map(len, self._lanes.values()))

    def refuses(self, txn: Transaction) -> str | None:
        """Why one more cannot wait; None when it can. A stop always can."""
        if len(self) >= LIMIT and txn.priority is not Priority.STOP:
            return "queue full"
        polls = self._lanes[Priority.POLL] if txn.priority is Priority.POLL else ()
        if any((p.owner, p.unit, p.request) == (txn.owner, txn.unit, txn.request) for p in polls):
            return "an equal poll waits"
        return None

    @property
    def stopping(self) -> bool:
        """Whether a stop waits."""
        return bool(self._lanes[Priority.STOP])

    @property
    def edge_us(self) -> int | None:
        """The next ordered instant."""
        return self._edges[0].at_us if self._edges else None

    def edges(self) -> Iterator[Transaction]:
        """The writes of the next ordered instant; the queue may be changed meanwhile."""
        yield from [edge for edge in self._edges if edge.at_us == self._edges[0].at_us]

    def lanes(self) -> Iterator[Transaction]:
        """What waits for no instant, most urgent first, oldest first; the queue may be changed meanwhile."""
        for lane in self._lanes.values():
            yield from tuple(lane)

    def put(self, now_us: int, txn: Transaction) -> bool:
        """Add one; True when it waits for an instant."""
        self.expires_us = earliest(self.expires_us, txn.expires_us)
        if txn.at_us is None or txn.at_us <= now_us:
            self._lanes[txn.priority].append(txn)
            return False
        self._edges.append(txn)
        self._edges.sort(key=lambda edge: (edge.at_us or 0, edge.priority))
        return True

    def put_back(self, now_us: int, txn: Transaction) -> None:
        """Return one that was recalled to where it came from."""
        self.expires_us = earliest(self.expires_us, txn.expires_us)
        if txn.at_us is not None and txn.at_us > now_us:
            self._edges.insert(0, txn)
        else:
            self._lanes[txn.priority].appendleft(txn)

    def expired(self, now_us: int) -> list[Transaction]:
        """Remove those whose last instant has passed."""
        if self.expires_us is None or now_us <= self.expires_us:
            return []
        gone = [txn for txn in (*self._edges, *self.lanes()) if txn.expires_us is not None and now_us > txn.expires_us]
        for txn in gone:
            self.take(txn)
        self.expires_us = earliest(*(txn.expires_us for txn in (*self._edges, *self.lanes())))
        return gone

    def take(self, txn: Transaction) -> None:
        """Remove one."""
        if self._edges and txn in self._edges:
            self._edges.remove(txn)
        else:
            self._lanes[txn.priority].remove(txn)

    def withdraw(self, owner: str, id: int) -> Transaction | None:
        """Remove one by its name."""
        for txn in (*self._edges, *self.lanes()):
            if txn.owner == owner and txn.id == id:
                self.take(txn)
                return txn
        return None

    def drain(self) -> list[Transaction]:
        """Remove all."""
        waiting = [*self._edges, *self.lanes()]
        self._edges.clear()
        for lane in self._lanes.values():
            lane.clear()
        return waiting
