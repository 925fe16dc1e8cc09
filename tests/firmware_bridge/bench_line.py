"""A bus joined to slaves by a wire with byte times, on virtual time: the other end for tests of the bus.

The slaves are as plain as can be: registers and coils in dicts, a turnaround, and faults by number of request.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from firmware_bridge import modbus
from firmware_bridge.bus import Bus
from firmware_bridge.event import (
    BusEffect,
    Finished,
    LinkUp,
    Outcome,
    Read,
    Received,
    Reopen,
    Request,
    Send,
    Submit,
    Table,
    Transaction,
    Write,
)
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import Woken


@dataclass
class Slave:
    turnaround_us: int = 5_000
    dead: bool = False
    words: dict[int, int] = field(default_factory=dict)
    requests: list[tuple[int, Request]] = field(default_factory=list)

    def answer(self, request: Request) -> bytes | None:
        match request:
            case Read(table, address, n):
                top = 1 if table in (Table.COIL, Table.DISCRETE) else 0xFFFF
                return modbus.reply_pdu(request, tuple(self.words.get(address + i, 0) & top for i in range(n)))
            case Write(_, address, values):
                self.words.update({address + i: v for i, v in enumerate(values)})
                return modbus.reply_pdu(request)


CHAR_US = 1e6 * 10 / 9600
SILENCE_US = round(3.5 * 11e6 / 9600)
TEN = Read(Table.HOLDING, 0, 10)
ON = Write(Table.COIL, 3, (1,))
OFF = Write(Table.COIL, 3, (0,))

Mangle = Callable[[int, bytes], list[tuple[int, bytes]]]
"""The n-th answer frame as what comes of it: (extra delay, octets) pieces."""


class Wire:
    """Runs one bus against slaves. `now_us` jumps from event to event."""

    def __init__(self, bus: Bus, slaves: dict[int, Slave], char_us: float, mangle: Mangle | None = None) -> None:
        self.bus = bus
        self.slaves = slaves
        self.char_us = char_us
        self.mangle = mangle or (lambda n, frame: [(0, frame)])
        self.now_us = 1_000_000
        self.finished: list[tuple[int, Finished]] = []
        self.reopened = 0
        self.sends: list[tuple[int, bytes]] = []
        self.busy_until_us = 0
        self.collisions = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._n = count()
        self._answers = count()
        self._prepared: object = None
        self._ids = count(1)
        self.hear(LinkUp(bus.id))
        # The line was listened to.
        self.now_us += 400_000

    def at(self, t_us: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (t_us, next(self._n), what))

    def submit(self, unit: int, request: Request, priority: int, **terms: object) -> Transaction:
        from firmware_bridge.event import Priority

        txn = Transaction("test", next(self._ids), unit, request, Priority(priority), **terms)  # type: ignore[arg-type]
        self.hear(Submit(self.bus.id, txn))
        return txn

    def hear(self, event: object) -> None:
        effects: list[BusEffect] = self.bus.handle(self.now_us, event)  # type: ignore[arg-type]
        for effect in effects:
            match effect:
                case Send(_, data, at_us):
                    mark = self._prepared = object()
                    if not data:
                        continue
                    if at_us is None:
                        self._leave(data)
                    else:
                        self.at(at_us, lambda d=data, m=mark: self._leave(d) if self._prepared is m else None)
                case Finished():
                    self.finished.append((self.now_us, effect))
                case Reopen():
                    self.reopened += 1

    def _leave(self, data: bytes) -> None:
        self._prepared = None
        self.sends.append((self.now_us, data))
        if self.now_us < self.busy_until_us:
            self.collisions += 1
        end_us = self.now_us + round(len(data) * self.char_us)
        self.busy_until_us = end_us
        if self.char_us:
            found = modbus.rtu_split(data)
            assert found is not None, "the master sent no frame"
            unit, pdu, _ = found
            tid = 0
        else:
            cut = modbus.mbap_split(data)
            assert cut is not None
            tid, unit, pdu, _ = cut
        slave = self.slaves.get(unit)
        if slave is None:
            return
        request = modbus.parse_request(pdu)
        slave.requests.append((self.now_us, request))
        reply = None if slave.dead else slave.answer(request)
        if reply is None:
            return
        frame = modbus.rtu_frame(unit, reply) if self.char_us else modbus.mbap_frame(tid, unit, reply)
        for extra_us, octets in self.mangle(next(self._answers), frame):
            start_us = end_us + slave.turnaround_us + extra_us
            arrive_us = start_us + round(len(octets) * self.char_us)
            self.at(start_us, lambda a=arrive_us: setattr(self, "busy_until_us", max(self.busy_until_us, a)))
            self.at(arrive_us, lambda o=octets: self.hear(Received(self.bus.id, o)))

    def run(self, until_us: int) -> None:
        """Let time pass; the bus is woken when it asked to be."""
        while True:
            wake_us = self.bus.deadline
            head_us = self._heap[0][0] if self._heap else None
            nexts = [t for t in (wake_us, head_us) if t is not None and t <= until_us]
            if not nexts:
                self.now_us = max(self.now_us, until_us)
                return
            t_us = min(nexts)
            assert t_us >= self.now_us, "the bus asked to be woken in the past"
            self.now_us = t_us
            if head_us is not None and head_us <= t_us:
                heapq.heappop(self._heap)[2]()
            else:
                self.hear(Woken())
                assert self.bus.deadline is None or self.bus.deadline > t_us, "the bus would spin"


def line(mangle: Mangle | None = None, *, broadcast: bool = False, **slaves: Slave) -> Wire:
    """A 9600-baud RTU line with slaves `u1`, `u2` ..."""
    units = {int(name[1:]): slave for name, slave in slaves.items()}
    return Wire(Bus("line", Rtu(9600), broadcast=broadcast), units, CHAR_US, mangle)


def outcomes(wire: Wire) -> list[Outcome]:
    return [f.outcome for _, f in wire.finished]
