"""What a bus has learned of one unit: how fast it answers, whether it may be believed, whether it is there.

RTU has no transaction id. A reply that comes after we gave up looks like the answer to whatever we ask next, and
that is how a siren is reported sounding that is not. So a unit that owes us an answer is held apart, alone: the
others carry their own address and are served at once.

It refuses to know the queue and the wire; the bus asks it, and tells it what happened.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeGuard

from firmware_bridge import modbus
from firmware_bridge.event import Ask, Priority, Read, Request, Transaction
from firmware_bridge.machine import MS, S

QUARANTINE_MAX_US = 1 * S
"""No unit of the field answers later than this; the standard's usual response time-out (Serial Line V1.02, 2.4.1)."""
SILENT_LIMIT = 3
"""Unanswered transactions in a row that demote a unit: one may be noise, two a collision."""
PROBE_FIRST_US = 500 * MS
PROBE_LAST_US = 10 * S
"""A demoted unit is asked after 0.5 s, then half as often each time, at least each 10 s."""
MARGIN_US = 5 * MS
"""What our own scheduling may add to a turnaround."""
KNOWN_LIMIT = 4
"""Reads remembered as good, from which a sentinel is made."""
AGAIN_US = 50 * MS
"""A second copy of an answer, from a repeater or a radio modem, has begun by now."""
SAID_LIMIT = 8
"""Answers remembered of which a copy may come; in that time a line carries no more."""
OWED_LIMIT = 8
"""Unanswered requests remembered; older ones are long lost on the line."""


class Standing(StrEnum):
    """Whether a unit is believed.

    GOOD: it owes nothing; what it answers is what was asked.

    QUARANTINED: it owes an answer that may still come. Nothing is asked of it until the answer came or its
    worst turnaround has passed, except a level write of an order, whose echo cannot be mistaken.

    SUSPECT: the owed answer never came. A sentinel read, of another shape than what is owed, must be answered
    before anything else is believed: a unit answers in order, so behind the sentinel nothing old is left. (And
    for one second nothing of the shape that is owed is asked at all.)

    DEMOTED: it was silent three times in a row. Polls are not sent but for a probe now and then; orders are.
    """

    GOOD = "good"
    QUARANTINED = "quarantined"
    SUSPECT = "suspect"
    DEMOTED = "demoted"


GOOD, QUARANTINED, SUSPECT, DEMOTED = Standing
"""By their bare names: to look a member up in its Enum takes as long as a line of this file."""

TRANSITIONS: dict[tuple[Standing, str], Standing] = {
    (GOOD, "unanswered"): QUARANTINED,
    (QUARANTINED, "unanswered"): QUARANTINED,
    (QUARANTINED, "debt paid"): GOOD,
    (QUARANTINED, "time passed"): SUSPECT,
    (QUARANTINED, "silent thrice"): DEMOTED,
    (SUSPECT, "unanswered"): QUARANTINED,
    (SUSPECT, "answered"): GOOD,
    (SUSPECT, "debt paid"): GOOD,
    (DEMOTED, "unanswered"): DEMOTED,
    (DEMOTED, "answered"): GOOD,
    (DEMOTED, "debt paid"): GOOD,
}


def shape(request: Request) -> tuple[int | str, ...]:
    """What tells the answer of one request from that of another: function and length, a write's whole echo.

    Of an Ask its message: whether the forms of two answers differ is left to the profile.
    """
    if isinstance(request, Ask):
        return (request.message,)
    function = modbus.function_of(request)
    if isinstance(request, Read):
        return (function, modbus.reply_length(request))
    return (function, *modbus.request_pdu(request)[1:5])


def _reads(request: Request) -> TypeGuard[Read | Ask]:
    """Whether asking again changes nothing."""
    return isinstance(request, Read) or (isinstance(request, Ask) and request.reads)


class Debt(NamedTuple):
    """A request that was not answered in time, and when it had left the wire."""

    request: Request
    asked_us: int


class Said(NamedTuple):
    """An answer that was believed, and until when a second copy of it may come."""

    request: Request
    pdu: bytes
    refused: bool
    until_us: int


@dataclass(slots=True)
class Unit:
    """The bus's memory of one unit address."""

    turnaround_us: int
    """Worst delay seen lately between the end of a request and the first octet of the answer."""
    standing: Standing = GOOD
    until_us: int = 0
    """End of the quarantine, or the instant of the next probe."""
    free_us: int = 0
    """Before this the unit wants silence (its profile's gap)."""
    silent: int = 0
    spoken_for: bool = False
    """A gateway has told that it is silent, and will again."""
    heard_us: int | None = None
    owed: list[Debt] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    copies_us: int = 0
    """From then on no second copy comes of anything it said."""
    known: list[Read | Ask] = field(default_factory=list)
    _probe_us: int = PROBE_FIRST_US

    def patience_us(self, timeout_us: int) -> int:
        """How long to wait for this unit when something urgent waits behind it."""
        return min(timeout_us, self.turnaround_us + self.turnaround_us // 4 + MARGIN_US)

    def timeout_us(self, asked_us: int) -> int:
        """How long to wait when nothing does: what its profile says, or longer if it was seen to be slower.

        One that was silent thrice gets its usual turnaround and no more: others wait. Where a gateway speaks for it
        they would wait for the gateway, which is not ready before it has spoken.
        """
        if self.standing is DEMOTED and not self.spoken_for:
            return self.patience_us(asked_us)
        return max(asked_us, min(QUARANTINE_MAX_US, self.turnaround_us + self.turnaround_us // 4 + MARGIN_US))

    def settle(self, now_us: int) -> None:
        """Let time pass: a quarantine ends."""
        if self.standing is QUARANTINED and now_us >= self.until_us:
            self._go("time passed")

    def answered(self, now_us: int, request: Request, turnaround_us: int, pdu: bytes, refused: bool,
                 again_us: int) -> None:
        """The unit answered in time; on this wire a second copy may come until `again_us`."""
        if refused and not isinstance(request, Ask) and pdu[1] in modbus.ON_BEHALF:
            # The link is well. The unit is as silent as it would be on a line, and costs the others as much.
            self.spoken_for = True
            self.unanswered(now_us, request, now_us, counts=True, indebted=False)
            self.heard_us = now_us
            return
        self._heard(now_us, turnaround_us)
        if now_us < again_us:
            self.said.append(Said(request, pdu, refused, again_us))
            del self.said[:-SAID_LIMIT]
            self.copies_us = max(self.copies_us, again_us)
        if self.standing in (SUSPECT, DEMOTED):
            # Young debts are kept: a modem on the line may still hold one back.
            self.owed = [debt for debt in self.owed if now_us < debt.asked_us + QUARANTINE_MAX_US]
            self._go("answered")
        if _reads(request) and not refused and request not in self.known:
            self.known.insert(0, request)
            del self.known[KNOWN_LIMIT:]

    def paid(self, now_us: int, debt: Debt, turnaround_us: int) -> None:
        """The answer to an old request came late: nobody gets it, but it says how slow the unit is."""
        self.owed.remove(debt)
        self._heard(now_us, turnaround_us)
        if not self.owed and self.standing is not GOOD:
            self._go("debt paid")

    def unanswered(self, now_us: int, request: Request, asked_us: int, counts: bool, indebted: bool) -> None:
        """No answer came. `counts`: it had its full time. `indebted`: a late answer could be taken for another."""
        if indebted:
            self.owed.append(Debt(request, asked_us))
            del self.owed[:-OWED_LIMIT]
        if counts:
            self.silent += 1
        demoted = self.standing is DEMOTED
        self._go("unanswered")
        if demoted or self.silent >= SILENT_LIMIT:
            if not demoted:
                self._go("silent thrice")
            self.until_us = now_us + self._probe_us
            self._probe_us = min(PROBE_LAST_US, 2 * self._probe_us)
        elif indebted:
            wait = self.turnaround_us + MARGIN_US if self.heard_us is not None else QUARANTINE_MAX_US
            self.until_us = asked_us + min(wait, QUARANTINE_MAX_US)
        else:
            self.until_us = now_us

    def mistakable_until_us(self, request: Request) -> int:
        """Until when the answer to something older, late or a second time, could be taken for the answer to `request`.

        0: never.
        """
        ours = shape(request)
        late_us = (d.asked_us + QUARANTINE_MAX_US for d in self.owed if shape(d.request) == ours)
        # A refusal repeats no more than the function, so behind one nothing of that function is asked at once.
        twice_us = (said.until_us for said in self.said
                    if shape(said.request) == ours or (said.refused and shape(said.request)[0] == ours[0]))
        return max((*late_us, *twice_us), default=0)

    def no_to_older(self, now_us: int, request: Request, pdu: bytes) -> bool:
        """Whether a refusal may be that of something older than `request`: it repeats no more than the function."""
        function = shape(request)[0]
        owed = (d for d in self.owed if now_us < d.asked_us + QUARANTINE_MAX_US)
        return any(shape(d.request)[0] == function for d in owed) or any(
            said.pdu == pdu and now_us < said.until_us for said in self.said)

    def ready_us(self, now_us: int, txn: Transaction) -> int:
        """When this may be asked of it."""
        if self.standing is GOOD and not self.owed and now_us >= self.copies_us:
            return self.free_us
        self.settle(now_us)
        urgent = txn.priority <= Priority.ORDER and txn.repeatable and not _reads(txn.request)
        if self.standing is QUARANTINED and not urgent:
            return max(self.until_us, self.free_us)
        if urgent or self.sentinel(txn) is not None:
            return self.free_us
        return max(self.free_us, self.mistakable_until_us(txn.request))

    def sentinel(self, txn: Transaction) -> Read | Ask | None:
        """What must be asked before the answer to `txn` is believed: a read of another shape than what is owed.

        None when nothing is owed, when no such read is known, and for a write, whose echo tells it apart.
        """
        doubted = self.owed and self.standing in (SUSPECT, DEMOTED)
        if not doubted or not _reads(txn.request):
            return None
        owed = {shape(debt.request) for debt in self.owed}
        for read in self.known:
            if isinstance(read, Ask):
                if shape(read) not in owed:
                    return read
                continue
            for count in range(read.count, 0, -1):
                shorter = Read(read.table, read.address, count)
                if shape(shorter) not in owed:
                    return shorter
        return None

    def _heard(self, now_us: int, turnaround_us: int) -> None:
        """It is there, and this fast: what counts is the worst seen, less a sixteenth at each better answer."""
        worst_us = max(turnaround_us, self.turnaround_us - self.turnaround_us // 16)
        self.turnaround_us = min(worst_us, QUARANTINE_MAX_US)
        self.heard_us = now_us
        self.silent = 0
        self._probe_us = PROBE_FIRST_US

    def _go(self, what: str) -> None:
        self.standing = TRANSITIONS[self.standing, what]


def silent_since_us(units: Collection[Unit]) -> int | None:
    """Since when nobody on the line answers; None while somebody does, or nobody was asked."""
    if not units or any(unit.standing is not DEMOTED for unit in units):
        return None
    return max(unit.heard_us or 0 for unit in units)
