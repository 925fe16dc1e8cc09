"""What receipts say of one siren, merged so that the order of their coming makes no difference.

Receipts may come late, twice and in any order. Each piece of what is known is a minimum, a maximum or a union over
them, so any sequence of the same receipts ends in the same picture. It refuses to know of time and of sending.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from controller.trust import Reason
from controller.wire import Evidence, Receipt, Stage

MAX_REASONS = 16
"""Troubles remembered of one siren."""
PASSING = frozenset({Reason.NO_TIME, Reason.NOT_YET, Reason.BUSY})
"""Refusals of a whole order that another attempt may undo: a gateway that has just booted gets the time."""

ON_THE_WAY = (Stage.RECEIVED, Stage.ACCEPTED, Stage.STARTED, Stage.SENSED, Stage.HEARD)


class Ending(StrEnum):
    """How it stands with one siren in the end; `pending` until then."""

    PENDING = "pending"
    FINISHED = "finished"
    REJECTED = "rejected"
    FAILED = "failed"
    STOPPED = "stopped"
    EXPIRED = "expired"
    NO_ANSWER = "no answer"


@dataclass(slots=True)
class Track:
    """What receipts said of one siren, or, for the siren "", of the order at one gateway."""

    way: int = -1
    """Index in ON_THE_WAY of the furthest stage told."""
    last: Receipt | None = None
    """The terminal receipt; of several see `_weight`."""
    evidence: tuple[int, Evidence] | None = None
    """The newest, with its sequence number."""
    edge: tuple[int, str] | None = None
    """The first edge as told first, with its sequence number."""
    late: tuple[int, float] | None = None
    troubles: dict[int, str] = field(default_factory=dict)
    deviations: set[str] = field(default_factory=set)

    def take(self, receipt: Receipt) -> None:
        if receipt.stage in ON_THE_WAY:
            self.way = max(self.way, ON_THE_WAY.index(receipt.stage))
        elif receipt.stage is Stage.TROUBLE:
            self.trouble(receipt.seq, receipt.reason or "no reason given")
        elif self.last is None or _weight(receipt) < _weight(self.last):
            self.last = receipt
        if receipt.evidence and (self.evidence is None or receipt.seq > self.evidence[0]):
            self.evidence = (receipt.seq, receipt.evidence)
        if receipt.first_edge and (self.edge is None or receipt.seq < self.edge[0]):
            self.edge = (receipt.seq, receipt.first_edge)
        if receipt.late_ms is not None and (self.late is None or receipt.seq < self.late[0]):
            self.late = (receipt.seq, receipt.late_ms)
        self.deviations = set(sorted(self.deviations | set(receipt.deviations))[:MAX_REASONS])

    def trouble(self, seq: int, text: str) -> None:
        self.troubles[seq] = text
        if len(self.troubles) > MAX_REASONS:
            del self.troubles[max(self.troubles)]


def _weight(terminal: Receipt) -> tuple[bool, int]:
    """Of two last words the smaller holds: one that no other attempt can undo, then the one said first."""
    return terminal.reason in PASSING, terminal.seq


@dataclass(frozen=True, slots=True)
class SirenResult:
    """How it stands with one siren."""

    gateway: str
    siren: str
    expected: bool
    """False: it answered although the fleet did not know it."""
    ending: Ending
    stage: str
    """The furthest that was told, for the screen: a stage, or `sent`."""
    reason: str = ""
    evidence: Evidence | None = None
    first_edge: str | None = None
    late_ms: float | None = None
    troubles: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()

    @property
    def sounded(self) -> bool:
        """By evidence alone; what the siren is said to have done counts for nothing."""
        return self.evidence is not None and self.evidence.sounded
