"""One line or TCP endpoint, and its one master: which request goes next, and what came of it.

Stop before order before read-back before poll. A poll that waits for its answer gives way to an order as soon as
its unit has had the time it usually takes. An edge, a write with an ordered instant, has the line to itself:
nothing begins that could not end before it, and the prepared frame is handed to the link ahead of time. A
transaction ends in exactly one outcome. A trigger write is on the wire at most once.

On RTU one request is out at a time and answers are matched by unit, function, length, echo and CRC, and by the
time the octets must have taken; on TCP several may be out, matched by transaction id as well. What is known of
each unit is in `unit.py`. It refuses to know what a point, a device or a siren is.
"""

from enum import StrEnum

from firmware_bridge.errors import Malformed
from firmware_bridge.event import (
    BROADCAST,
    BusEffect,
    BusEvent,
    Expired,
    Finished,
    Foreign,
    LinkDown,
    LinkLost,
    LinkUp,
    Outcome,
    Priority,
    Received,
    Refused,
    Reopen,
    Send,
    Sent,
    Silent,
    Skipped,
    Submit,
    Transaction,
    Withdraw,
    Withdrawn,
    Write,
    WrittenLate,
)
from firmware_bridge.flight import Counters, Flight, written_late
from firmware_bridge.framing import Framing, Tcp
from firmware_bridge.machine import MS, S, earliest
from firmware_bridge.monitor import Monitor
from firmware_bridge.queue import Queue
from firmware_bridge.unit import AGAIN_US, DEMOTED, GOOD, Unit, silent_since_us

LEAD_US = 60 * MS
"""An edge's frame is with the link this long before its instant: more than our loop is ever late."""
RECALL_READ_US = 1 * MS
RECALL_WRITE_US = 20 * MS
"""A prepared frame nearer than this to its instant may be on its way by the time the link hears of it, and is not
recalled. A read that goes out twice costs time; a write must not."""
GARBLED_US = 50 * MS
"""After as many octets as the answer has, and this much silence, no answer is in them (USB adapters chunk by 16 ms)."""
PROBE_SHARE = 10
"""Probes of demoted units take at most one part in this many of the line's time."""
REOPEN_AFTER_US = 5 * S
REOPEN_EVERY_US = 30 * S
"""The link is opened anew when every unit has been silent this long, and not more often than this."""


class State(StrEnum):
    """What the line is doing.

    DOWN: the link is not open; whatever is submitted ends as LinkLost at once.

    IDLE: nothing is out. The line may still be in the silence that must follow a frame (3.5 characters).

    PREPARED: a frame is with the link and its instant has not come. It can be recalled until just before.

    AWAITING: at least one request is on the wire and its answer, or its time-out, is to come.
    """

    DOWN = "down"
    IDLE = "idle"
    PREPARED = "prepared"
    AWAITING = "awaiting"


DOWN, IDLE, PREPARED, AWAITING = State
"""By their bare names: to look a member up in its Enum takes as long as a line of this file."""

TRANSITIONS: dict[tuple[State, str], State] = {
    (DOWN, "link up"): IDLE,
    (IDLE, "link up"): IDLE,
    (PREPARED, "link up"): IDLE,
    (AWAITING, "link up"): IDLE,
    (DOWN, "link down"): DOWN,
    (IDLE, "link down"): DOWN,
    (PREPARED, "link down"): DOWN,
    (AWAITING, "link down"): DOWN,
    (IDLE, "send"): AWAITING,
    (AWAITING, "send"): AWAITING,
    (IDLE, "prepare"): PREPARED,
    (AWAITING, "prepare"): PREPARED,
    (PREPARED, "instant"): AWAITING,
    (PREPARED, "recall, none out"): IDLE,
    (PREPARED, "recall, some out"): AWAITING,
    (AWAITING, "last ended"): IDLE,
}


class Bus:
    """The machine of one bus.

    `framing` is its own. `in_flight` is how many requests a TCP endpoint takes at once. `broadcast`: writes to unit 0
    may go out, once each; nobody answers them, and the line rests until every unit has done them.
    """

    def __init__(self, id: str, framing: Framing, in_flight: int = 1, *, broadcast: bool = False) -> None:
        assert in_flight == 1 or isinstance(framing, Tcp), "a line has one request out at a time"
        self.id = id
        self.state = DOWN
        self.counters = Counters()
        self.units: dict[int, Unit] = {}
        self._framing = framing
        self.monitor = Monitor(framing)
        self._in_flight = in_flight
        self._broadcast = broadcast
        self._everyone = Unit(0)
        """Stands for all units where a broadcast is sent; nothing is learned of it."""
        self.queue = Queue()
        self._flights: dict[int, Flight] = {}
        self._free_us = 0
        self._leaves_us = 0
        """When the prepared frame leaves."""
        self._wake_us: int | None = None
        self._probe_us = 0
        self._up_us = 0
        self._out: list[BusEffect] = []

    @property
    def deadline(self) -> int | None:
        deadline_us = self._wake_us
        for flight in self._flights.values():
            if deadline_us is None or flight.give_up_us < deadline_us:
                deadline_us = flight.give_up_us
        return deadline_us

    def handle(self, now_us: int, event: BusEvent) -> list[BusEffect]:
        self._out = []
        if self.state is PREPARED and now_us >= self._leaves_us:
            # The link has written the prepared frame.
            self._go("instant")
            self._framing.left()
        match event:
            case Received(_, data):
                self._received(now_us, data)
            case Submit(_, transaction):
                self._submit(now_us, transaction)
            case Withdraw(_, owner, id):
                self._withdraw(now_us, owner, id)
            case WrittenLate(_, at_us):
                written_late(self._flights.values(), at_us)
            case LinkUp():
                self._lose_all(now_us, "link opened anew")
                self._go("link up")
                self._up_us = now_us
                self._free_us = now_us + self._framing.listen_us
            case LinkDown(_, why):
                self._lose_all(now_us, why)
                self._go("link down")
        if self.state is not DOWN:
            if self._flights:
                self._give_up(now_us)
            self._pump(now_us)
        return self._out

    # What comes in.

    def _submit(self, now_us: int, txn: Transaction) -> None:
        if self.state is DOWN:
            self._finish(txn, LinkLost("link down"))
        elif txn.unit == BROADCAST and not (self._broadcast and isinstance(txn.request, Write)):
            self._finish(txn, Skipped("no broadcast on this bus"))
        elif (why := self.queue.refuses(txn)) is not None:
            self._finish(txn, Skipped(why))
        elif not self.queue.put(now_us, txn) and txn.priority <= Priority.ORDER:
            self._make_way(now_us, txn.priority)

    def _withdraw(self, now_us: int, owner: str, id: int) -> None:
        txn = self.queue.withdraw(owner, id)
        if txn is not None:
            self._finish(txn, Withdrawn())
            return
        for flight in self._flights.values():
            if (flight.transaction.owner, flight.transaction.id) == (owner, id) and self._recall(now_us, flight):
                self._finish(flight.transaction, Withdrawn())
                return

    def _received(self, now_us: int, data: bytes) -> None:
        self.monitor.came(now_us, data)
        # Whoever talks, the line is not silent.
        self._free_us = max(self._free_us, now_us + self._framing.silence_us)
        try:
            frames = self._framing.feed(data)
        except Malformed:
            self.counters.garbled += 1
            self._framing.clear()
            self._out.append(Reopen(self.id))
            return
        for tid, unit, pdu in frames:
            self._frame(now_us, unit, pdu, tid)
        if self._framing.foreign is not None:
            self._out.append(Foreign(self.id, self._framing.foreign))
        if self._flights and self._framing.begun:
            for flight in self._flights.values():
                if now_us > flight.sent_us and self._framing.garbled(flight.transaction.request):
                    flight.give_up_us = min(flight.give_up_us, now_us + GARBLED_US)

    def _frame(self, now_us: int, number: int, pdu: bytes, tid: int) -> None:
        """A whole frame with a right check sum: an answer, a late answer, or somebody else's."""
        wire_us = self._framing.pdu_us(pdu)
        flight = self._flights.get(tid)
        if flight is not None and flight.transaction.unit == number and now_us >= flight.sent_us:
            answer = self._framing.answer(flight.transaction.request, pdu)
            if answer is not None and flight.too_early(now_us, wire_us):
                self.counters.early += 1
                return
            doubt = self._framing.mistakable and isinstance(answer, Refused)
            if answer is not None and not (doubt and flight.unit.no_to_older(now_us, flight.transaction.request, pdu)):
                self._answered(now_us, tid, answer, pdu, wire_us)
                return
        unit = self.units.get(number)
        for debt in unit.owed if unit else ():
            if unit is not None and self._framing.answer(debt.request, pdu) is not None:
                self.counters.late += 1
                unit.paid(now_us, debt, max(0, now_us - debt.asked_us - wire_us))
                return
        self.counters.foreign += 1

    def _answered(self, now_us: int, tid: int, answer: Outcome, pdu: bytes, wire_us: int) -> None:
        unit, flight = self._landed(now_us, tid)
        txn, refused = flight.transaction, isinstance(answer, Refused)
        turnaround_us = max(0, now_us - flight.asked_us - wire_us)
        again_us = now_us + AGAIN_US + wire_us if self._framing.mistakable else 0
        unit.answered(now_us, txn.request, turnaround_us, pdu, refused, again_us)
        self._charge(now_us, unit, flight)
        self.counters.answer(refused)
        self.monitor.answered(txn.unit, turnaround_us)
        if flight.behind is None:
            self._finish(txn, answer, flight.sent_us)

    # Time.

    def _give_up(self, now_us: int) -> None:
        """End the flights whose time is over."""
        for tid in [tid for tid, flight in self._flights.items() if now_us >= flight.give_up_us]:
            unit, flight = self._landed(now_us, tid)
            txn = flight.transaction
            if flight.span.rest_us is not None:
                self._finish(txn, Sent(), flight.sent_us)
                continue
            garbled = self._framing.garbled(txn.request)
            # Also after as many octets as the answer has: they may be somebody else's. TCP tells by its id.
            unit.unanswered(now_us, txn.request, flight.asked_us, not flight.preempted, self._framing.mistakable)
            self._charge(now_us, unit, flight)
            self.counters.preempted += flight.preempted
            self.counters.silent += not flight.preempted
            self.counters.garbled += garbled
            why = "garbled" if garbled else "short" if self._framing.begun else "no answer"
            if flight.behind is None:
                self._finish(txn, Withdrawn() if flight.preempted else Silent(why), flight.sent_us)
            elif not flight.preempted and self.queue.withdraw(flight.behind.owner, flight.behind.id):
                self._finish(flight.behind, Silent(why))

    def _charge(self, now_us: int, unit: Unit, flight: Flight) -> None:
        """The time a silence cost, or a gateway's word for one, is paid for by not probing for nine times as long."""
        if unit.standing is DEMOTED:
            self._probe_us = max(self._probe_us, now_us + (PROBE_SHARE - 1) * (now_us - flight.sent_us))
            self._reopen_if_all_silent(now_us)

    def _landed(self, now_us: int, tid: int) -> tuple[Unit, Flight]:
        """A flight is over, whatever came of it: line and unit rest."""
        flight = self._flights.pop(tid)
        unit = flight.unit
        unit.free_us = now_us + flight.transaction.gap_us
        self.counters.busy_us += now_us - flight.sent_us
        self._free_us = max(self._free_us, now_us + self._framing.silence_us)
        if not self._flights and self.state is AWAITING:
            self._go("last ended")
        return unit, flight

    def _make_way(self, now_us: int, priority: Priority) -> None:
        """Something urgent waits: what is out gives way as soon as its unit has had its usual time."""
        if len(self._flights) < self._in_flight and self.state is not PREPARED:
            return
        for flight in list(self._flights.values()):
            txn = flight.transaction
            if txn.priority is not Priority.POLL and priority is not Priority.STOP:
                # A slow unit gets as long as its profile says, and not what it was seen to take.
                said_us = flight.asked_us + txn.timeout_us + flight.span.reply_us
                flight.give_up_us = min(flight.give_up_us, max(now_us + 1, said_us))
                continue
            # A trigger that is recalled may yet have left; it is not sent again.
            if txn.repeatable and self._recall(now_us, flight):
                if flight.behind is None:
                    self.queue.put_back(now_us, txn)
            elif txn.priority >= Priority.READ_BACK and not self._framing.begun:
                give_up = max(now_us + 1, flight.asked_us + self._usual_us(txn))
                if give_up < flight.give_up_us:
                    flight.give_up_us = give_up
                    flight.preempted = True

    def _recall(self, now_us: int, flight: Flight) -> bool:
        """Take back a prepared frame whose instant is not too near."""
        guard_us = RECALL_WRITE_US if isinstance(flight.transaction.request, Write) else RECALL_READ_US
        if self.state is not PREPARED or now_us >= flight.sent_us - guard_us:
            return False
        self._flights = {tid: f for tid, f in self._flights.items() if f is not flight}
        self._go("recall, some out" if self._flights else "recall, none out")
        self._out.append(Send(self.id, b""))
        self.counters.sent -= 1
        return True

    def _pump(self, now_us: int) -> None:
        """Begin whatever may begin now."""
        self._wake_us = None
        for late in self.queue.expired(now_us):
            self._finish(late, Expired())
        self._look_again(self.queue.late_us)
        while self.queue and self.state is not PREPARED:
            if len(self._flights) >= self._in_flight:
                edge_us = self.queue.edge_us
                if edge_us is not None and now_us < edge_us - LEAD_US:
                    self._look_again(edge_us - LEAD_US)
                elif edge_us is not None:
                    # An edge is near and the line is not free: what is out gives way to it as to an order.
                    self._make_way(now_us, Priority.ORDER)
                return
            txn = self._choose(now_us)
            if txn is None:
                return
            unit = self._unit(txn)
            sentinel = unit.sentinel(txn)
            if sentinel is None:
                self.queue.take(txn)
                self._begin(now_us, unit, txn)
            else:
                self._begin(now_us, unit, txn._replace(owner="", request=sentinel), behind=txn)

    def _choose(self, now_us: int) -> Transaction | None:
        """What goes next, or None; then `_wake_us` says when to look again."""
        # A stop waits for no edge.
        edge_us = None if self.queue.stopping else self.queue.edge_us
        if edge_us is not None and now_us >= edge_us - LEAD_US:
            return min(self.queue.edges(), key=self._silences)
        if edge_us is not None:
            self._look_again(edge_us - LEAD_US)
        # A step of an order has just ended, and its next may be about to come: what can wait, or cost, goes after it.
        ended = any(isinstance(one, Finished) and one.transaction.priority <= Priority.ORDER for one in self._out)
        absent: Transaction | None = None
        for txn in self.queue.waiting():
            if (absent and txn.priority is not absent.priority) or (ended and txn.priority > Priority.ORDER):
                break
            unit = self._unit(txn)
            demoted = unit.standing is DEMOTED
            if demoted and txn.priority is Priority.POLL and now_us < max(unit.until_us, self._probe_us):
                # It is silent, and this is no time for a probe.
                self.queue.take(txn)
                self._finish(txn, Skipped("unit silent"))
                self._reopen_if_all_silent(now_us)
                continue
            ready_us = unit.ready_us(now_us, txn)
            crowds = edge_us is not None and max(now_us, self._free_us) + self._cost_us(txn) > edge_us
            if ready_us <= now_us and not crowds:
                # Of equally urgent ones, those that will be answered go first.
                if not (unit.standing is not GOOD if txn.priority <= Priority.ORDER else demoted):
                    return txn
                absent = absent or txn
            if ready_us > now_us:
                self._look_again(ready_us)
        self._look_again(now_us + 1 if ended else None)
        return None if ended else absent

    def _silences(self, txn: Transaction) -> tuple[int, bool]:
        """How often in a row its unit did not answer, which cost its whole time-out; or did not and had to give way."""
        unit = self._unit(txn)
        return unit.silent, unit.standing is not GOOD

    def _begin(self, now_us: int, unit: Unit, txn: Transaction, behind: Transaction | None = None) -> None:
        tid, frame = self._framing.frame(txn.unit, txn.request)
        start_us = max(now_us, self._free_us, txn.at_us or 0)
        span = self._framing.span(txn.unit, txn.request)
        wait_us = unit.timeout_us(txn.timeout_us) + span.reply_us if span.rest_us is None else span.rest_us
        self._flights[tid] = Flight(txn, unit, span, start_us, start_us + span.request_us + wait_us, behind)
        self.counters.sent += 1
        if behind is not None:
            self.counters.sentinels += 1
        if unit.standing is DEMOTED and txn.priority is Priority.POLL:
            self.counters.probes += 1
        if start_us > now_us:
            self._go("prepare")
            self._leaves_us = start_us
            self._out.append(Send(self.id, frame, start_us))
        else:
            self._go("send")
            self._framing.left()
            self._out.append(Send(self.id, frame))
        self.monitor.sent(start_us, frame)

    def _unit(self, txn: Transaction) -> Unit:
        unit = self.units.get(txn.unit)
        if unit is not None:
            return unit
        return self._everyone if txn.unit == BROADCAST else self.units.setdefault(txn.unit, Unit(txn.turnaround_us))

    def _usual_us(self, txn: Transaction) -> int:
        """From the end of the request to the end of the answer, when its unit is as slow as it ever was.

        The answer may be on the wire long before it is handed to us as a whole: what goes out meanwhile hits it.
        """
        span = self._framing.span(txn.unit, txn.request)
        patience_us = self._unit(txn).patience_us(txn.timeout_us)
        return patience_us + span.reply_us if span.rest_us is None else span.rest_us

    def _cost_us(self, txn: Transaction) -> int:
        """How long the line is then taken."""
        request_us = self._framing.span(txn.unit, txn.request).request_us
        return request_us + self._usual_us(txn) + 2 * self._framing.silence_us

    def _look_again(self, at_us: int | None) -> None:
        self._wake_us = earliest(self._wake_us, at_us)

    def _lose_all(self, now_us: int, why: str) -> None:
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            if flight.behind is None:
                self._finish(flight.transaction, LinkLost(why), flight.sent_us if now_us >= flight.sent_us else None)
        for txn in self.queue.drain():
            self._finish(txn, LinkLost(why))
        self._framing.clear()
        self._wake_us = None
        self._free_us = now_us

    def _reopen_if_all_silent(self, now_us: int) -> None:
        """Only when nobody at all answers is the link to blame."""
        since_us = silent_since_us(self.units.values())
        long = since_us is not None and now_us - since_us > REOPEN_AFTER_US
        if long and now_us - self._up_us > REOPEN_EVERY_US:
            self._up_us = now_us
            self._out.append(Reopen(self.id))

    def _finish(self, txn: Transaction, outcome: Outcome, sent_us: int | None = None) -> None:
        self._out.append(Finished(self.id, txn, outcome, sent_us))

    def _go(self, what: str) -> None:
        self.state = TRANSITIONS[self.state, what]
