"""One bus on one bad line for some thousand transactions, on virtual time, and a judge beside it.

Five simulated units, whose every reading is another one, so that an answer which is stale, doubled or somebody else's
says something wrong. Polls of few shapes, which are easily mistaken for each other; orders, some with an instant, some
withdrawn; triggers; stops. Requests and answers meet every fault of a serial line that `simulators/faults.py` gives a
share, in equal shares and several at once; somebody babbles; requests get lost; units fall silent for seconds. All of
it follows from a seed. It refuses to know what is right: `judge.py` does.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from bench.judge import Judge
from firmware_bridge import modbus, profile
from firmware_bridge.bus import Bus
from firmware_bridge.event import (
    BusEffect,
    BusEvent,
    Finished,
    LinkDown,
    LinkUp,
    Priority,
    Read,
    Received,
    Reopen,
    Request,
    Send,
    Silent,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Write,
)
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import MS, Machine, S, Woken, earliest
from simulators.answers import SHARED, Answers
from simulators.device import SimDevice
from simulators.faults import TABLE, Fault, On
from simulators.line import BITS_A_CHARACTER, Answer, Heard, Line, Put, Seen

PROFILE = profile.load(Path(__file__).with_name("profiles") / "bench_mixed.toml")
TRIGGER = PROFILE.points["trigger"].address
TURNAROUND_MS = {10: (2, 8), 20: (5, 30), 30: (20, 60), 40: (1, 250), 50: (80, 140)}
"""Unit -> the least and the most it takes. Unit 40 is a bad one: anything up to a quarter of a second. An answer under
a wrong address bears the next one, and must not be that of another unit here: nobody could tell it from that one's."""
POLLS = (Read(Table.INPUT, 0, 2), Read(Table.INPUT, 0, 8), Read(Table.HOLDING, 0, 4), Read(Table.COIL, 0, 8),
         Read(Table.DISCRETE, 0, 16), Read(Table.DISCRETE, 3, 1), Read(Table.INPUT, 200, 2))
"""The last one the unit refuses."""
POLLERS = 6
PAUSE_MS = (0, 30)
"""Between the end of a poll and the next of the same poller: the line is nearly always taken."""
ORDER_MS = (20, 300)
KINDS = tuple(fault for fault in TABLE if fault in SHARED and On.UNIT in TABLE[fault].on)
LOST_REQUESTS, BABBLE = 0.1, 0.02
"""Of requests that are not understood, and of the time in which somebody babbles; times the share of faults."""
LATEST_US = 950 * MS
"""No answer begins later, whatever faults meet it: no unit of the field takes longer than 1 s (`unit.py`)."""
DEAD_EVERY_MS, DEAD_MS = (20_000, 60_000), (500, 8_000)

BusLike = Machine[BusEvent, BusEffect]
Make = Callable[[str, int], BusLike]


def our_bus(id: str, baud: int) -> BusLike:
    return Bus(id, Rtu(baud, BITS_A_CHARACTER))


@dataclass(frozen=True)
class Plan:
    """What an episode is: `share` is that of all faults together, each kind has its part."""

    seed: int
    baud: int
    share: float
    transactions: int


@dataclass
class Result:
    """What came of it. `longest_run`: wrong readings of one bool point in a row."""

    plan: Plan
    found: Counter[str]
    stories: list[str]
    longest_run: int
    virtual_s: float


class Episode:
    """Plays a plan. `now_us` jumps from event to event."""

    def __init__(self, plan: Plan, make: Make = our_bus) -> None:
        self._plan = plan
        self._chance = Random(plan.seed)
        self._judge = Judge(TRIGGER)
        self._bus = make("line", plan.baud)
        self._answers = Answers(Random(plan.seed + 1))
        for kind in KINDS:
            self._answers.change(kind, plan.share / len(KINDS))
        self._line = Line(plan.baud, self._ask, Random(plan.seed + 2), chunks=3)
        self._units = {n: SimDevice(f"unit-{n}", n, PROFILE, plan.seed) for n in TURNAROUND_MS}
        self._prepared: tuple[int, bytes] | None = None
        self._now_us = S
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._n = count(1)
        self._value = count(1)

    def run(self) -> Result:
        began_us = self._now_us
        self._tell(LinkUp("line"))
        for _ in range(POLLERS):
            self._after(PAUSE_MS, self._poll)
        self._after(ORDER_MS, self._order)
        if self._plan.share:
            self._after(DEAD_EVERY_MS, self._die)
            self._line.babble(self._now_us, "somebody", BABBLE * self._plan.share)
        while self._judge.found["transactions"] < self._plan.transactions:
            self._step()
        found = self._judge.found + Counter({f"fault {kind}": n for kind, n in self._answers.happened.items()})
        return Result(self._plan, found, self._judge.stories, self._judge.longest_run, (self._now_us - began_us) / S)

    def _step(self) -> None:
        """The next thing that happens: a prepared frame leaves, then octets, then what we do, then the bus wakes."""
        prepared_us = self._prepared[0] if self._prepared else None
        line_us, bus_us = self._line.deadline, self._bus.deadline
        due_us = earliest(prepared_us, line_us, bus_us, self._heap[0][0])
        assert due_us is not None, "orders never end"
        assert due_us >= self._now_us, "time went back"
        self._now_us = due_us
        if self._prepared is not None and prepared_us == due_us:
            self._leave(self._prepared[1])
        elif line_us == due_us:
            self._hear(self._line.handle(due_us, Woken()))
        elif self._heap[0][0] == due_us:
            heapq.heappop(self._heap)[2]()
        else:
            self._tell(Woken())

    def _after(self, between_ms: tuple[int, int], what: Callable[[], None]) -> None:
        at_us = self._now_us + self._chance.randint(between_ms[0] * MS, between_ms[1] * MS)
        heapq.heappush(self._heap, (at_us, next(self._n), what))

    # The master's side.

    def _tell(self, event: BusEvent) -> None:
        for effect in self._bus.handle(self._now_us, event):
            match effect:
                case Send(_, data, at_us):
                    self._prepared = None
                    if at_us is not None and at_us > self._now_us:
                        self._prepared = (at_us, data)
                    elif data:
                        self._leave(data)
                case Finished():
                    self._judge.finished(self._now_us, effect)
                    self._follow(effect)
                case Reopen():
                    self._line.reset()
                    self._tell(LinkDown("line", "closed to be opened again"))
                    self._tell(LinkUp("line"))

    def _leave(self, data: bytes) -> None:
        self._prepared = None
        self._judge.sent(self._now_us, data)
        if self._chance.random() < LOST_REQUESTS * self._plan.share:
            place = self._chance.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ self._chance.randint(1, 255)]) + data[place + 1 :]
        self._hear(self._line.handle(self._now_us, Put(data)))

    def _submit(self, owner: str, unit: int, request: Request, priority: Priority, *, repeatable: bool = True,
                at_us: int | None = None) -> Transaction:
        expires_us = self._now_us + 5 * S if owner != "poll" else None
        txn = Transaction(owner, next(self._n), unit, request, priority, repeatable, at_us, expires_us)
        self._tell(Submit("line", txn))
        return txn

    def _poll(self) -> None:
        self._submit("poll", self._unit(), self._chance.choice(POLLS), Priority.POLL)

    def _follow(self, end: Finished) -> None:
        """What an owner does when a transaction of its own has ended."""
        txn = end.transaction
        if txn.owner == "poll":
            self._after(PAUSE_MS, self._poll)
        elif txn.repeatable and isinstance(end.outcome, Silent) and self._chance.random() < 0.5:
            self._after(PAUSE_MS, lambda: self._again(txn))

    def _again(self, txn: Transaction) -> None:
        """A level write that was not acknowledged is written again."""
        self._submit("again", txn.unit, txn.request, txn.priority)

    def _order(self) -> None:
        self._after(ORDER_MS, self._order)
        unit, value, draw = self._unit(), next(self._value) & 0xFFFF, self._chance.random()
        at_us = self._now_us + self._chance.randint(100, 600) * MS if self._chance.random() < 0.3 else None
        if draw < 0.3:
            self._judge.found["triggers ordered"] += 1
            txn = self._submit("order", unit, Write(Table.HOLDING, TRIGGER, (value,)), Priority.ORDER,
                               repeatable=False, at_us=at_us)
        elif draw < 0.55:
            level = Write(Table.HOLDING, self._chance.randrange(4), (value,))
            txn = self._submit("order", unit, level, Priority.ORDER, at_us=at_us)
        elif draw < 0.75:
            relay = Write(Table.COIL, self._chance.randrange(8), (self._chance.randrange(2),))
            txn = self._submit("order", unit, relay, Priority.ORDER, at_us=at_us)
        elif draw < 0.85:
            txn = self._submit("order", unit, Write(Table.COIL, self._chance.randrange(8), (0,)), Priority.STOP)
        else:
            txn = self._submit("order", unit, self._chance.choice(POLLS), Priority.READ_BACK)
        if self._chance.random() < 0.1:
            self._after((0, 400), lambda: self._tell(Withdraw("line", txn.owner, txn.id)))

    # The units' side.

    def _unit(self) -> int:
        return self._chance.choice(list(TURNAROUND_MS))

    def _ask(self, now_us: int, seen: Seen) -> list[Answer]:
        """The unit answers, with readings that were never shown before; the judge is told, also of faults."""
        device = self._units.get(seen.unit)
        if device is None:
            self._judge.did(seen.first_byte_us, seen.unit, seen.pdu, None)
            return []
        before = Counter(self._answers.happened)
        self._renew(now_us, device, seen.pdu)
        code = None if device.silent else self._answers.refused()
        pdu = device.handle(now_us, seen.pdu) if code is None else modbus.refusal_pdu(seen.pdu[0], code)
        self._judge.did(seen.first_byte_us, seen.unit, seen.pdu, pdu)
        if pdu is None:
            return []
        low, high = TURNAROUND_MS[seen.unit]
        answer = Answer(self._chance.randint(low * MS, high * MS), seen.unit, pdu)
        hurt = self._answers.hurt(answer)
        faults = ", ".join(self._answers.happened - before) or "as it was"
        for one in {(said.unit, said.pdu) for said in (answer, hurt) if said is not None}:
            self._judge.made(now_us, modbus.rtu_frame(*one), faults)
        if hurt is None:
            return []
        delay_us = min(hurt.turnaround_us, LATEST_US)
        return [hurt._replace(turnaround_us=delay_us, wear=lambda frame: self._worn(frame, hurt))]

    def _worn(self, frame: bytes, answer: Answer) -> bytes:
        worn = answer.wear(frame) if answer.wear else frame
        if worn != frame and len(worn) == len(frame):
            self._judge.garbled(worn)
        return worn

    def _renew(self, now_us: int, device: SimDevice, pdu: bytes) -> None:
        fresh = self._chance.getrandbits
        match pdu[0]:
            case 4:
                for n in range(1, 5):
                    device.set_point(now_us, f"count_{n}", fresh(32))
            case 3:
                for n in range(1, 5):
                    device.set_point(now_us, f"level_{n}", fresh(16))
            case 2:
                for n in range(1, 17):
                    device.set_point(now_us, f"contact_{n}", bool(fresh(1)))
            case 1:
                for n in range(1, 9):
                    device.set_point(now_us, f"relay_{n}", bool(fresh(1)))

    def _die(self) -> None:
        """A unit is silent for a while."""
        device = self._units[self._unit()]
        device.inject(self._now_us, Fault.DEAD, True)
        self._after(DEAD_MS, lambda: device.inject(self._now_us, Fault.DEAD, False))
        self._after(DEAD_EVERY_MS, self._die)

    def _hear(self, effects: list[Heard | Seen]) -> None:
        for effect in effects:
            if isinstance(effect, Heard):
                self._judge.heard(self._now_us, effect.data)
                self._tell(Received("line", effect.data))
