"""Whatever becomes of answers on their way: no wrong value is believed, and every transaction ends once."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import modbus
from firmware_bridge.bus import Bus, State
from firmware_bridge.event import LinkDown, LinkUp, Priority, Read, Reply, Table, Transaction, Withdraw
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import MS, S
from tests.firmware_bridge.bench_line import CHAR_US, OFF, ON, TEN, Slave, Wire, line

KINDS = ("dropped", "garbled", "short", "late", "doubled", "foreign", "noise", "misplaced")


class Mangler:
    """Spoils about `share` of the answers in one way, and counts: how many, and how many by chance look right."""

    def __init__(self, kind: str, rng: random.Random, share: float) -> None:
        self.kind, self.rng, self.share = kind, rng, share
        self.spoiled = self.collisions = 0

    def __call__(self, n: int, frame: bytes) -> list[tuple[int, bytes]]:
        rng = self.rng
        if rng.random() > self.share:
            return [(0, frame)]
        self.spoiled += 1
        match self.kind:
            case "dropped":
                return []
            case "garbled":
                # One to four bits of one to three octets; four or more bits may pass a CRC-16.
                bad = bytearray(frame)
                for _ in range(rng.randrange(1, 4)):
                    bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
                self.collisions += modbus.crc16(bytes(bad)) == 0 and bytes(bad) != frame
                return [(0, bytes(bad))]
            case "short":
                return [(0, frame[: rng.randrange(1, len(frame))])]
            case "late":
                return [(rng.randrange(900) * MS, frame)]
            case "doubled":
                return [(0, frame), (round(len(frame) * CHAR_US) + rng.randrange(3) * MS, frame)]
            case "foreign":
                other = modbus.rtu_frame(7, frame[1:-2])
                return [(0, other), (round(len(other) * CHAR_US), frame)]
            case "noise":
                return [(0, rng.randbytes(rng.randrange(1, 9)) + frame)]
            case _:
                # The unit answers with what it had to say to an earlier question, of another length.
                return [(0, modbus.rtu_frame(frame[0], modbus.reply_pdu(Read(Table.HOLDING, 0, 3), (1, 2, 3))))]


@pytest.mark.parametrize("kind", KINDS)
def test_no_wrong_value_is_believed(kind: str, record_property: Callable[[str, object], None]) -> None:
    """10^4 spoiled answers of each kind: every value believed is the right one.

    Registers hold their own address and unit, so a value tells which question it answers. Only an answer whose CRC
    collides can be wrong, and no more values are than there were collisions (1.5e-5 of garbage; printed).
    """
    rng = random.Random(f"bus {kind}")
    slaves = {u: Slave(words={a: 1000 * u + a for a in range(100)}, turnaround_us=3 * MS * u) for u in (1, 2, 3)}
    mangle = Mangler(kind, rng, 0.4)
    wire = Wire(Bus("line", Rtu(9600)), slaves, CHAR_US, mangle)
    believed = wrong = asked = 0
    while mangle.spoiled < 10_000:
        asked += 1
        unit, address, count = rng.choice((1, 2, 3)), rng.randrange(90), rng.choice((1, 1, 2, 4))
        wire.submit(unit, Read(Table.HOLDING, address, count), Priority.POLL, timeout_us=100 * MS)
        wire.run(wire.now_us + rng.randrange(80) * MS)
        if asked % 50 == 0:
            wire.run(wire.now_us + 2 * S)
    wire.run(wire.now_us + 900 * S)
    assert len(wire.finished) == asked
    for _, f in wire.finished:
        if isinstance(f.outcome, Reply):
            read = f.transaction.request
            assert isinstance(read, Read)
            right = tuple(1000 * f.transaction.unit + read.address + i for i in range(read.count))
            believed += 1
            wrong += f.outcome.values != right
    print(f"{kind}: {mangle.spoiled} spoiled of {asked}, {believed} believed, {wrong} wrong,"
          f" {mangle.collisions} collided")
    record_property("collisions", mangle.collisions)
    assert wrong <= mangle.collisions
    assert believed > 5_000


operations = st.lists(
    st.tuples(st.sampled_from(["poll", "order", "stop", "edge", "withdraw", "wait", "down"]), st.integers(0, 200)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(operations, st.integers(0, 2**32))
def test_every_transaction_ends_once(steps: list[tuple[str, int]], seed: int) -> None:
    rng = random.Random(seed)
    wire = line(mangle=Mangler(rng.choice(KINDS), rng, 0.3), u1=Slave(), u2=Slave(dead=True), u3=Slave(40 * MS))
    sent: list[Transaction] = []
    for what, n in steps:
        unit = 1 + n % 3
        match what:
            case "poll":
                sent.append(wire.submit(unit, TEN, Priority.POLL))
            case "order":
                sent.append(wire.submit(unit, ON, Priority.ORDER, repeatable=False))
            case "stop":
                sent.append(wire.submit(unit, OFF, Priority.STOP))
            case "edge":
                sent.append(wire.submit(unit, ON, Priority.ORDER, at_us=wire.now_us + n * MS, repeatable=False))
            case "withdraw" if sent:
                txn = sent[n % len(sent)]
                wire.hear(Withdraw("line", txn.owner, txn.id))
            case "wait":
                wire.run(wire.now_us + n * MS)
            case "down":
                wire.hear(LinkDown("line", "pulled"))
                wire.hear(LinkUp("line"))
    wire.run(wire.now_us + 60 * S)
    assert sorted(f.transaction.id for _, f in wire.finished) == sorted(t.id for t in sent)
    triggers = [t for t in sent if t.request == ON]
    assert sum(r == ON for s in wire.slaves.values() for _, r in s.requests) <= len(triggers)
    assert len(wire.bus.queue) == 0
    assert wire.bus.state is State.IDLE
