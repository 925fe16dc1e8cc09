"""Hostile device behaviour never ends a bus task, once more: a real bus on the simulators' field, which suffers every
fault at once. It raises nothing, every transaction ends once and within a bound, and no wrong value is believed.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest

from firmware_bridge.bus import Bus, State
from firmware_bridge.event import (
    BusEvent,
    Finished,
    LinkDown,
    LinkUp,
    Priority,
    Read,
    Received,
    Reopen,
    Reply,
    Request,
    Send,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Write,
)
from firmware_bridge.framing import Rtu, Tcp
from firmware_bridge.machine import MS, S, Woken, earliest
from simulators import site
from simulators.faults import TABLE, Fault, On
from simulators.field import Field, Inject, Plug, ToLine, ToMaster

BAUD = 9600
LOADED_US = 15 * S
"""A transaction that may be begun within 5 s ends within this: more urgent ones go first, and that it has expired is
found out when its turn comes."""
PROFILE = """
make = "x"
model = "x"
kind = "relay"
source = "test"
channels = 4
[output]
class = "C"
state = "relay"
[points]
relay = { at = "coil:0", channels = 4, write = "level" }
""" + "".join(f'level_{n + 1} = {{ at = "input:{n}" }}\n' for n in range(32)) + """
[actions]
activate = [{ set = "relay", to = true, edge = true }]
cancel = [{ set = "relay", to = false, edge = true }]
"""
NUMBERS = (10, 20, 30, 40)
"""An answer under a wrong address bears the next one, which is nobody's: it could not be told from that unit's own."""
UNITS = "".join(f'''
[[unit]]
id = "u{n}"
line = "a"
unit = {n}
profile = "x"
boot_ms = 400
initial = {{ {", ".join(f"level_{i + 1} = {1000 * n + i}" for i in range(32))} }}
''' for n in NUMBERS)
WHERE = {"rtu": 'kind = "rtu"\npath = "run/a"\nchunks = 4\nerror_rate = 0.0001', "tcp": 'kind = "tcp"\nport = 0'}
SHARE = 0.04
"""Of requests or answers, for each fault that has one: about every third exchange is hurt, some by several."""
WANT_MS = 900
"""The most between two transactions. A silent unit costs 0.4 s, so more would only wait."""
EPISODE_US = 600 * S


class Storm:
    """A bus on a field that suffers everything the simulators know, on virtual time; all of it from one seed."""

    def __init__(self, kind: str, seed: int, folder: Path) -> None:
        (folder / "profiles").mkdir()
        (folder / "profiles/x.toml").write_text(PROFILE)
        (folder / "site.toml").write_text(
            f'[site]\nid = "s"\nprofiles = "profiles"\n[[line]]\nid = "a"\nseed = {seed}\n{WHERE[kind]}\n{UNITS}')
        self.rng = Random(seed)
        self.kind = kind
        self.field = Field(site.load(folder / "site.toml"), Random)
        self.bus = Bus("line", Rtu(BAUD, 11) if kind == "rtu" else Tcp(), 1 if kind == "rtu" else 4)
        self.now_us = S
        self.begun: dict[int, int] = {}
        self.ended: dict[int, tuple[int, Finished]] = {}
        self.faults: Counter[str] = Counter()
        self._n = count(1)
        self._connection = 1
        self._prepared: tuple[int, bytes] | None = None
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self.tell(LinkUp("line"))

    def tell(self, event: BusEvent) -> None:
        for effect in self.bus.handle(self.now_us, event):
            match effect:
                case Send(_, data, at_us):
                    self._prepared = (max(at_us or 0, self.now_us), data) if data else None
                case Finished(_, txn):
                    assert txn.id not in self.ended, "one transaction, one outcome"
                    self.ended[txn.id] = self.now_us, effect
                case Reopen():
                    self._connection += 1
                    self.tell(LinkDown("line", "closed to be opened again"))
                    self.tell(LinkUp("line"))
        assert self.bus.deadline is None or self.bus.deadline > self.now_us

    def play(self, event: ToLine | Inject | Woken) -> None:
        for effect in self.field.handle(self.now_us, event):
            match effect:
                case ToMaster(_, data, connection) if connection in (0, self._connection):
                    self.tell(Received("line", data))
                case Plug(_, on):
                    self.tell(LinkUp("line") if on else LinkDown("line", "unplugged"))

    def fault(self, target: str, fault: Fault, share: float = 1.0) -> None:
        self.faults[fault] += share > 0
        self.play(Inject(target, fault, share))

    def after(self, most_ms: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_us + self.rng.randint(1, most_ms) * MS, next(self._n), what))

    def run(self, until_us: int) -> None:
        while True:
            due_us = earliest(self._prepared and self._prepared[0], self.field.deadline, self.bus.deadline,
                              self._heap[0][0] if self._heap else None)
            if due_us is None or due_us > until_us:
                self.now_us = until_us
                return
            self.now_us = due_us
            if self._prepared is not None and self._prepared[0] == due_us:
                (_, frame), self._prepared = self._prepared, None
                self.play(ToLine("a", frame, 0 if self.kind == "rtu" else self._connection))
            elif self.field.deadline == due_us:
                self.play(Woken())
            elif self._heap and self._heap[0][0] == due_us:
                heapq.heappop(self._heap)[2]()
            else:
                self.tell(Woken())

    # What a gateway wants.

    def submit(self, unit: int, request: Request, priority: Priority, repeatable: bool = True,
               at_us: int | None = None) -> int:
        id = next(self._n)
        self.begun[id] = self.now_us
        self.tell(Submit("line", Transaction("storm", id, unit, request, priority, repeatable, at_us,
                                             self.now_us + 5 * S)))
        return id

    def want(self) -> None:
        """One transaction of any sort, now and then withdrawn; and the next one soon."""
        unit, draw = self.rng.choice((*NUMBERS, 77)), self.rng.random()
        first = self.rng.randrange(32)
        read = Read(Table.INPUT, first, self.rng.randint(1, min(8, 32 - first)))
        at_us = self.now_us + self.rng.randint(80, 400) * MS if self.rng.random() < 0.3 else None
        if draw < 0.7:
            id = self.submit(unit, read, self.rng.choice((Priority.POLL, Priority.READ_BACK)))
        elif draw < 0.9:
            write = Write(Table.COIL, self.rng.randrange(4), (self.rng.randrange(2),))
            id = self.submit(unit, write, Priority.ORDER, self.rng.random() < 0.7, at_us)
        else:
            id = self.submit(unit, Write(Table.COIL, 0, (0,)), Priority.STOP)
        if self.rng.random() < 0.05:
            self.after(300, lambda: self.tell(Withdraw("line", "storm", id)))
        self.after(WANT_MS, self.want)

    # What the field does to it.

    def begin(self) -> None:
        """Every fault with a share is on all the time; the others come and go."""
        kinds = {On.LINE} if self.kind == "rtu" else {On.TCP}
        for fault, entry in TABLE.items():
            if entry.number.startswith("share") and kinds & set(entry.on):
                self.fault("a", fault, SHARE / 2 if fault is Fault.BABBLE else SHARE)
        rest = [fault for fault, entry in TABLE.items() if not entry.number.startswith("share")]
        for fault in rest:
            if kinds & set(TABLE[fault].on):
                self.spell("a", fault, often_ms=60_000, long_ms=4_000)
            elif {On.UNIT, On.OUTPUT} & set(TABLE[fault].on):
                self.spell("u", fault, often_ms=20_000, long_ms=8_000)

    def spell(self, target: str, fault: Fault, often_ms: int, long_ms: int) -> None:
        """A fault for a while, over and over, of one line or of any unit."""
        def on() -> None:
            place = target if target == "a" else f"u{self.rng.choice(NUMBERS)}"
            self.fault(place, fault)
            self.after(long_ms, lambda: self.fault(place, fault, 0))
            self.after(often_ms, on)

        self.after(often_ms, on)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("kind", WHERE)
def test_every_fault_at_once(kind: str, seed: int, tmp_path: Path,
                             record_property: Callable[[str, object], None]) -> None:
    storm = Storm(kind, seed, tmp_path)
    storm.begin()
    storm.want()
    if kind == "tcp":
        storm.want()
    storm.run(EPISODE_US)
    storm._heap.clear()
    storm.run(EPISODE_US + 2 * LOADED_US)
    assert set(storm.ended) == set(storm.begun)
    worst = max(at - storm.begun[id] for id, (at, _) in storm.ended.items())
    assert worst <= LOADED_US
    assert storm.bus.state in (State.IDLE, State.DOWN)
    assert len(storm.bus.queue) == 0
    here = {On.LINE, On.UNIT, On.OUTPUT} if kind == "rtu" else {On.TCP, On.TCP_UNIT, On.OUTPUT}
    assert set(storm.faults) == {fault for fault, entry in TABLE.items() if here & set(entry.on)}
    told = Counter(type(f.outcome).__name__ for _, f in storm.ended.values())
    believed, stale, collided = judged(storm)
    record_property("believed", believed)
    record_property("collided", collided)
    print(kind, seed, dict(told), "believed", believed, "collided", collided, "stale", stale)
    assert believed > 300
    assert {"Reply", "Refused", "Silent", "LinkLost"} <= set(told)
    assert stale == 0, "a value that a unit said to another question"
    assert collided <= 3


def judged(storm: Storm) -> tuple[int, int, int]:
    """(values believed, values of another question, values that no unit has)."""
    believed = stale = collided = 0
    for _, finished in storm.ended.values():
        request = finished.transaction.request
        if isinstance(finished.outcome, Reply) and isinstance(request, Read):
            right = range(1000 * finished.transaction.unit + request.address, 2**16)[: request.count]
            values = finished.outcome.values
            believed += 1
            if values != tuple(right):
                said = any(values == tuple(range(1000 * n, 1000 * n + 32))[a : a + len(values)]
                           for n in NUMBERS for a in range(32))
                stale += said
                collided += not said
    return believed, stale, collided
