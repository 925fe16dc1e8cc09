"""The bus against slaves on a wire with byte times."""

import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import modbus
from firmware_bridge.bus import LEAD_US, PROBE_SHARE, TRANSITIONS, Bus, State
from firmware_bridge.event import (
    Expired,
    Foreign,
    LinkDown,
    LinkLost,
    LinkUp,
    Priority,
    Read,
    Received,
    Refused,
    Reply,
    Request,
    Silent,
    Skipped,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Withdrawn,
    Write,
    WrittenLate,
)
from firmware_bridge.framing import Rtu, Tcp
from firmware_bridge.machine import MS, S
from firmware_bridge.unit import Standing

sys.path.insert(0, str(Path(__file__).parent))
from bench_line import Slave, Wire

CHAR_US = 1e6 * 10 / 9600
SILENCE_US = round(3.5 * 11e6 / 9600)
TEN = Read(Table.HOLDING, 0, 10)
ON = Write(Table.COIL, 3, (1,))
OFF = Write(Table.COIL, 3, (0,))
HIGH = Write(Table.COIL, 9, (1,))


def line(mangle=None, **slaves: Slave) -> Wire:
    """A 9600-baud RTU line with slaves `u1`, `u2` ..."""
    units = {int(name[1:]): slave for name, slave in slaves.items()}
    return Wire(Bus("line", Rtu(9600)), units, CHAR_US, mangle)


def outcomes(wire: Wire) -> list[object]:
    return [f.outcome for _, f in wire.finished]


def test_a_read_takes_its_wire_time_and_its_turnaround() -> None:
    wire = line(u1=Slave(words={0: 7, 9: 8}))
    wire.submit(1, TEN, Priority.POLL)
    wire.run(5 * S)
    ((at_us, finished),) = wire.finished
    assert finished.outcome == Reply((7, 0, 0, 0, 0, 0, 0, 0, 0, 8))
    assert finished.sent_us is not None
    assert at_us - finished.sent_us == round(8 * CHAR_US) + 5 * MS + round(25 * CHAR_US)


def test_frames_are_apart_by_three_and_a_half_characters() -> None:
    # Three units: an answer of one shape is not asked for again while the unit may still say the last one twice.
    wire = line(u1=Slave(), u2=Slave(), u3=Slave())
    for n in range(20):
        wire.submit(1 + n % 3, Read(Table.HOLDING, n, 10), Priority.POLL)
    wire.run(5 * S)
    assert wire.collisions == 0
    assert len(wire.sends) == 20
    ends = [at for at, _ in wire.finished]
    starts = [at for at, _ in wire.sends]
    assert all(start - end >= SILENCE_US for start, end in zip(starts[1:], ends, strict=False))
    # And no more than that is lost between them.
    busy = 20 * (33 * CHAR_US + 5 * MS + SILENCE_US)
    assert busy / (ends[-1] - starts[0] + SILENCE_US) > 0.999


def test_stop_before_order_before_read_back_before_poll() -> None:
    wire = line(u1=Slave())
    wire.submit(1, TEN, Priority.READ_BACK)
    for priority in (Priority.POLL, Priority.READ_BACK, Priority.ORDER, Priority.STOP):
        wire.submit(1, TEN, priority)
    wire.run(5 * S)
    order = [f.transaction.priority for _, f in wire.finished]
    assert order == [Priority.READ_BACK, Priority.STOP, Priority.ORDER, Priority.READ_BACK, Priority.POLL]


def test_an_order_does_not_wait_for_a_dead_unit() -> None:
    wire = line(u1=Slave(), u9=Slave(dead=True))
    wire.submit(9, TEN, Priority.POLL, timeout_us=1 * S)
    wire.run(wire.now_us + 20 * MS)
    asked_us = wire.now_us
    wire.submit(1, ON, Priority.ORDER)
    wire.run(5 * S)
    poll, order = wire.finished
    assert poll[1].outcome == Withdrawn()
    assert order[1].outcome == Reply((1,))
    assert order[1].sent_us is not None
    # Its profile says the dead unit usually takes 50 ms, and the answer would take 26.
    assert order[1].sent_us - asked_us < 100 * MS


@pytest.mark.parametrize("late_ms", range(0, 50, 2))
def test_an_order_never_leaves_into_an_answer(late_ms: int) -> None:
    """Whenever it comes: the driver hands an answer over as a whole, so a quiet line may be a busy one."""
    wire = line(u1=Slave(), u2=Slave())
    wire.submit(1, TEN, Priority.POLL, turnaround_us=5 * MS)
    wire.run(wire.now_us + late_ms * MS)
    asked_us = wire.now_us
    wire.submit(2, ON, Priority.ORDER)
    wire.run(wire.now_us + 5 * S)
    assert wire.collisions == 0
    assert [type(o) for o in outcomes(wire)] == [Reply, Reply]
    (first_us, _), = wire.slaves[2].requests
    assert first_us - asked_us < 50 * MS


def test_an_answer_that_has_begun_is_not_cut() -> None:
    wire = line(mangle=lambda n, frame: [(0, frame[:4]), (round(4 * CHAR_US), frame[4:])], u1=Slave())
    wire.submit(1, TEN, Priority.POLL, turnaround_us=1 * MS)
    wire.run(wire.now_us + round(8 * CHAR_US) + 5 * MS + round(6 * CHAR_US))
    wire.submit(1, ON, Priority.ORDER)
    wire.run(5 * S)
    assert outcomes(wire) == [Reply((0,) * 10), Reply((1,))]


def test_the_answer_of_a_poll_that_gave_way_is_nobody_elses() -> None:
    """The very failure measured on pymodbus: the old answer comes while a new question is out."""
    late = {0: 200 * MS}
    wire = line(mangle=lambda n, frame: [(late.get(n, 0), frame)], u1=Slave(words={0: 111, 50: 555}), u2=Slave())
    wire.submit(1, Read(Table.HOLDING, 0, 1), Priority.POLL, turnaround_us=5 * MS)
    wire.run(wire.now_us + 12 * MS)
    wire.submit(2, ON, Priority.ORDER)
    wire.submit(1, Read(Table.HOLDING, 50, 1), Priority.POLL, turnaround_us=5 * MS)
    wire.run(10 * S)
    assert outcomes(wire) == [Withdrawn(), Reply((1,)), Reply((555,))]
    assert wire.bus.counters.late == 1


def test_a_dead_unit_is_demoted_and_costs_at_most_its_share() -> None:
    wire = line(u1=Slave(), u9=Slave(dead=True))
    start_us = wire.now_us
    dead_us = 0
    for second in range(60):
        wire.submit(1, TEN, Priority.POLL)
        wire.submit(9, TEN, Priority.POLL, timeout_us=300 * MS)
        wire.run(start_us + (second + 1) * S)
    asked = [at for at, _ in wire.slaves[9].requests]
    got = Counter(f.transaction.unit for _, f in wire.finished if isinstance(f.outcome, Reply))
    assert got[1] == 60
    assert wire.bus.units[9].standing is Standing.DEMOTED
    dead_us = len(asked[3:]) * (300 * MS + round(33 * CHAR_US))
    assert dead_us <= 60 * S / PROBE_SHARE
    assert any(isinstance(f.outcome, Skipped) for _, f in wire.finished)
    # It comes back by itself.
    wire.slaves[9].dead = False
    for second in range(60, 75):
        wire.submit(9, TEN, Priority.POLL)
        wire.run(start_us + (second + 1) * S)
    assert wire.bus.units[9].standing is Standing.GOOD


@dataclass
class Behind(Slave):
    """Behind a gateway, which speaks for it when it is `lost`."""

    lost: bool = True

    def answer(self, request: Request) -> bytes | None:
        assert isinstance(request, Read)
        return bytes([modbus.function_of(request) | 0x80, 11]) if self.lost else super().answer(request)


def test_units_for_which_a_gateway_speaks_cost_no_more_than_that_share() -> None:
    lost = [Behind(500 * MS) for _ in range(10)]
    wire = Wire(Bus("net", Tcp()), {1: Slave(), **dict(enumerate(lost, 2))}, 0.0)
    start_us = wire.now_us

    def poll(seconds: range) -> None:
        for second in seconds:
            for unit in wire.slaves:
                wire.submit(unit, TEN, Priority.POLL, timeout_us=800 * MS)
            wire.run(start_us + (second + 1) * S)

    poll(range(120))
    asked = [at for one in lost for at, _ in one.requests if at > start_us + 60 * S]
    assert 0 < len(asked) * 500 * MS <= 60 * S / PROBE_SHARE
    assert wire.reopened == 0, "the gateway answers: the link is well"
    # They come back by themselves.
    for one in lost:
        one.lost, one.turnaround_us = False, 20 * MS
    poll(range(120, 150))
    assert {unit.standing for unit in wire.bus.units.values()} == {Standing.GOOD}


def test_an_order_to_a_demoted_unit_is_tried() -> None:
    wire = line(u9=Slave(dead=True))
    for _ in range(4):
        wire.submit(9, TEN, Priority.POLL)
        wire.run(wire.now_us + 2 * S)
    wire.slaves[9].dead = False
    wire.submit(9, ON, Priority.ORDER)
    wire.run(wire.now_us + S)
    assert wire.finished[-1][1].outcome == Reply((1,))


def test_an_edge_leaves_at_its_instant_and_nothing_crowds_it() -> None:
    wire = line(u1=Slave(), u2=Slave(), u9=Slave(dead=True))
    instant_us = wire.now_us + 3 * S
    wire.submit(1, ON, Priority.ORDER, at_us=instant_us)
    for n in range(100):
        wire.submit(2, TEN, Priority.POLL)
        wire.submit(9, TEN, Priority.POLL, timeout_us=400 * MS)
        wire.run(wire.now_us + 37 * MS)
        assert n < 100
    wire.run(10 * S)
    (edge,) = [f for _, f in wire.finished if f.transaction.request == ON]
    assert edge.sent_us == instant_us
    assert edge.outcome == Reply((1,))
    assert wire.collisions == 0


def test_edges_of_one_instant_follow_each_other_directly() -> None:
    wire = line(u1=Slave(), u2=Slave())
    instant_us = wire.now_us + S
    for channel in range(4):
        wire.submit(1, Write(Table.COIL, channel, (1,)), Priority.ORDER, at_us=instant_us)
    wire.submit(2, TEN, Priority.POLL)
    wire.run(wire.now_us + 950 * MS)
    wire.submit(2, TEN, Priority.POLL)
    wire.run(5 * S)
    sent = [f.sent_us for _, f in wire.finished if isinstance(f.transaction.request, Write)]
    assert sent[0] == instant_us
    one_us = round(16 * CHAR_US) + 5 * MS + SILENCE_US
    assert [s - instant_us for s in sent if s is not None] == pytest.approx([0, one_us, 2 * one_us, 3 * one_us], abs=99)


def test_of_edges_of_one_instant_a_unit_that_was_just_silent_has_the_last() -> None:
    wire = line(u1=Slave(dead=True), u2=Slave())
    wire.submit(1, TEN, Priority.POLL)
    wire.run(wire.now_us + S)
    assert wire.bus.units[1].standing is not Standing.DEMOTED
    instant_us = wire.now_us + 2 * S
    for unit in (1, 1, 2):
        wire.submit(unit, ON, Priority.ORDER, at_us=instant_us)
    wire.run(instant_us + 2 * S)
    edges = sorted((f.sent_us, f.transaction.unit) for _, f in wire.finished if f.transaction.request == ON)
    assert edges[0] == (instant_us, 2)
    assert [unit for _, unit in edges] == [2, 1, 1]


def test_of_orders_a_unit_that_was_just_silent_has_the_last() -> None:
    wire = line(u1=Slave(dead=True), u2=Slave())
    wire.submit(1, TEN, Priority.POLL)
    wire.run(wire.now_us + S)
    wire.submit(2, TEN, Priority.POLL)
    for unit in (1, 2):
        wire.submit(unit, ON, Priority.ORDER)
    wire.run(wire.now_us + 2 * S)
    assert [f.transaction.unit for _, f in wire.finished if f.transaction.request == ON] == [2, 1]


@pytest.mark.parametrize("instant", [True, False])
def test_who_did_not_answer_what_gave_way_has_the_last_edge_or_order(instant: bool) -> None:
    """Seed 71364: a poll cut short was no silence, and the dead unit's edge cost the other its half second."""
    wire = line(u1=Slave(), u2=Slave())
    for unit in (1, 2):
        wire.submit(unit, TEN, Priority.POLL)
    wire.run(wire.now_us + S)
    wire.slaves[1].dead = True
    edge_us = wire.now_us + 300 * MS
    if instant:
        for unit in (1, 2):
            wire.submit(unit, ON, Priority.ORDER, at_us=edge_us)
    wire.run(edge_us - 150 * MS)
    wire.submit(1, TEN, Priority.POLL)
    wire.run(edge_us - 90 * MS)
    if not instant:
        for unit in (1, 2):
            wire.submit(unit, ON, Priority.ORDER)
    wire.run(edge_us + 3 * S)
    assert wire.bus.counters.preempted == 1
    edges = sorted((f.sent_us, f.transaction.unit) for _, f in wire.finished if f.transaction.request == ON)
    assert [unit for _, unit in edges] == [2, 1]


class TwoSteps(Wire):
    """Whose order's first write has ended is told, and submits the second in the same instant, as a device does."""

    def hear(self, event: object) -> None:
        before = len(self.finished)
        super().hear(event)
        if any(f.transaction.request == ON for _, f in self.finished[before:]):
            self.submit(1, OFF, Priority.ORDER)


@pytest.mark.parametrize("tcp", [True, False])
@pytest.mark.parametrize(("other", "priority"), [(TEN, Priority.READ_BACK), (HIGH, Priority.ORDER)])
def test_what_may_cost_a_time_out_does_not_go_between_two_steps_of_an_order(
        tcp: bool, other: Read | Write, priority: Priority) -> None:
    """Seed 6454: the read-back of a board that did not answer went between a head's arming and its tone."""
    units = {1: Slave(), 2: Slave(dead=True)}
    wire = TwoSteps(Bus("net", Tcp()), units, 0.0) if tcp else TwoSteps(Bus("line", Rtu(9600)), units, CHAR_US)
    wire.submit(2, Read(Table.COIL, 0, 8), Priority.POLL)
    wire.run(wire.now_us + 2 * S)
    units[2].requests.clear()
    wire.submit(1, ON, Priority.ORDER)
    wire.submit(2, other, priority)
    wire.run(wire.now_us + 2 * S)
    assert [request for _, request in units[1].requests] == [ON, OFF]
    assert [request for _, request in units[2].requests] == [other]
    assert units[1].requests[-1][0] < units[2].requests[0][0]


def test_a_withdrawn_edge_never_leaves() -> None:
    wire = line(u1=Slave())
    instant_us = wire.now_us + S
    txn = wire.submit(1, ON, Priority.ORDER, at_us=instant_us)
    wire.run(instant_us - LEAD_US // 2)
    assert wire.bus.state is State.PREPARED
    wire.hear(Withdraw("line", txn.owner, txn.id))
    wire.run(5 * S)
    assert outcomes(wire) == [Withdrawn()]
    assert wire.sends == []


def test_a_stop_recalls_a_prepared_edge_and_goes_first() -> None:
    wire = line(u1=Slave())
    instant_us = wire.now_us + S
    wire.submit(1, ON, Priority.ORDER, at_us=instant_us)
    wire.run(instant_us - LEAD_US // 2)
    wire.submit(1, Write(Table.COIL, 5, (0,)), Priority.STOP)
    wire.run(5 * S)
    assert [f.transaction.priority for _, f in wire.finished] == [Priority.STOP, Priority.ORDER]
    assert wire.finished[1][1].sent_us is not None
    assert instant_us <= wire.finished[1][1].sent_us < instant_us + 50 * MS


def test_a_trigger_is_on_the_wire_once() -> None:
    wire = line(u1=Slave(dead=True))
    wire.submit(1, ON, Priority.ORDER, repeatable=False)
    wire.run(10 * S)
    assert outcomes(wire) == [Silent("no answer")]
    assert len(wire.slaves[1].requests) == 1


def test_what_expires_while_it_waits_is_not_sent() -> None:
    wire = line(u1=Slave())
    wire.submit(1, TEN, Priority.POLL)
    wire.submit(1, ON, Priority.READ_BACK, expires_us=wire.now_us + 5 * MS)
    wire.run(5 * S)
    assert Expired() in outcomes(wire)
    assert [r for _, r in wire.slaves[1].requests] == [TEN]


def test_an_exception_is_an_answer() -> None:
    class Strict(Slave):
        def answer(self, request):
            return modbus.refusal_pdu(modbus.function_of(request), 2)

    wire = line(u1=Strict())
    wire.submit(1, TEN, Priority.POLL)
    wire.run(5 * S)
    assert outcomes(wire) == [Refused(2)]


def test_a_garbled_answer_does_not_cost_the_whole_timeout() -> None:
    wire = line(mangle=lambda n, f: [(0, f[:-1] + bytes([f[-1] ^ 1]))], u1=Slave())
    wire.submit(1, TEN, Priority.POLL, timeout_us=1 * S)
    wire.run(5 * S)
    ((at_us, finished),) = wire.finished
    assert finished.outcome == Silent("garbled")
    assert finished.sent_us is not None
    assert at_us - finished.sent_us < 120 * MS


def test_the_link_goes_and_everything_ends() -> None:
    wire = line(u1=Slave())
    wire.submit(1, TEN, Priority.POLL)
    wire.submit(1, ON, Priority.ORDER, at_us=wire.now_us + S)
    wire.submit(1, TEN, Priority.POLL)
    wire.hear(LinkDown("line", "unplugged"))
    assert outcomes(wire) == [LinkLost("unplugged")] * 3
    wire.submit(1, TEN, Priority.POLL)
    assert outcomes(wire)[-1] == LinkLost("link down")
    wire.hear(LinkUp("line"))
    wire.run(wire.now_us + 2 * S)
    wire.submit(1, TEN, Priority.POLL)
    wire.run(wire.now_us + S)
    assert isinstance(outcomes(wire)[-1], Reply)


def test_the_link_is_opened_anew_only_when_all_are_silent() -> None:
    wire = line(u1=Slave(dead=True), u2=Slave(dead=True))
    for _ in range(100):
        wire.submit(1, TEN, Priority.POLL)
        wire.submit(2, TEN, Priority.POLL)
        wire.run(wire.now_us + S)
    assert 2 <= wire.reopened <= 4
    one_alive = line(u1=Slave(dead=True), u2=Slave())
    for _ in range(100):
        one_alive.submit(1, TEN, Priority.POLL)
        one_alive.submit(2, TEN, Priority.POLL)
        one_alive.run(one_alive.now_us + S)
    assert one_alive.reopened == 0


def test_tcp_has_several_out_and_matches_by_id() -> None:
    delays = {0: 50 * MS, 1: 10 * MS, 2: 30 * MS}
    bus = Bus("net", Tcp(), 3)
    wire = Wire(bus, {1: Slave(words={n: n for n in range(10)})}, 0.0, lambda n, f: [(delays.get(n, 0), f)])
    for n in range(3):
        wire.submit(1, Read(Table.HOLDING, n, 1), Priority.POLL)
    wire.run(5 * S)
    assert [f.outcome for _, f in wire.finished] == [Reply((1,)), Reply((2,)), Reply((0,))]


def test_an_answer_over_tcp_may_come_in_the_microsecond_of_its_request() -> None:
    """Seed 7243: it was nobody's, and whoever came next waited out a time-out that nothing was to end."""
    wire = Wire(Bus("net", Tcp()), {1: Slave(0), 2: Slave(0)}, 0.0)
    begun_us = wire.now_us
    wire.submit(1, ON, Priority.ORDER)
    wire.submit(2, ON, Priority.ORDER)
    wire.run(begun_us + 5 * S)
    assert [(at, f.outcome) for at, f in wire.finished] == [(begun_us, Reply((1,)))] * 2
    assert wire.bus.counters.foreign == 0


def test_a_tcp_stream_that_lost_its_place_is_opened_anew() -> None:
    wire = Wire(Bus("net", Tcp()), {1: Slave()}, 0.0, lambda n, f: [(0, b"HTTP/1.1 400 Bad Request")])
    wire.submit(1, TEN, Priority.POLL)
    wire.run(5 * S)
    assert wire.reopened == 1
    assert outcomes(wire) == [Silent("no answer")]


def test_queues_are_bounded_but_not_for_a_stop() -> None:
    wire = line(u1=Slave())
    for n in range(300):
        wire.submit(1, Read(Table.HOLDING, n, 1), Priority.POLL)
    assert Skipped("queue full") in outcomes(wire)
    wire.submit(1, OFF, Priority.STOP)
    wire.run(wire.now_us + S)
    assert any(f.transaction.request == OFF and f.outcome == Reply((0,)) for _, f in wire.finished)


def test_another_master_is_heard_before_the_line_is_taken() -> None:
    wire = line(u1=Slave())
    start_us = wire.now_us
    wire.hear(LinkUp("line"))
    wire.submit(1, TEN, Priority.POLL)
    request = modbus.rtu_frame(4, modbus.request_pdu(Read(Table.HOLDING, 0, 2)))
    heard = wire.bus.handle(wire.now_us + 10 * MS, Received("line", request))
    assert heard == [Foreign("line", 4)]
    wire.run(wire.now_us + S)
    assert wire.sends[0][0] - start_us >= 300 * MS
    # And while it is ours: an echo of our own is none, a reply to another master's question neither.
    last = wire.sends[-1][1]
    assert wire.bus.handle(wire.now_us, Received("line", last)) == []
    reply = modbus.rtu_frame(4, modbus.reply_pdu(Read(Table.HOLDING, 0, 2), (1, 2)))
    assert wire.bus.handle(wire.now_us, Received("line", reply)) == []
    assert wire.bus.handle(wire.now_us, Received("line", request)) == [Foreign("line", 4)]


def test_equal_polls_wait_once() -> None:
    wire = line(u1=Slave())
    for _ in range(5):
        wire.submit(1, TEN, Priority.POLL)
    wire.run(wire.now_us + S)
    # One was on the wire, one waited; the rest said so.
    assert Counter(outcomes(wire)) == {Reply((0,) * 10): 2, Skipped("an equal poll waits"): 3}


def test_a_technician_sees_what_was_on_the_line() -> None:
    wire = line(u1=Slave(turnaround_us=15 * MS), u9=Slave(dead=True))
    wire.submit(1, TEN, Priority.POLL)
    wire.submit(9, ON, Priority.ORDER)
    wire.run(wire.now_us + S)
    monitor = wire.bus.monitor
    assert [monitor.words(seen) for seen in monitor.frames] == [
        "unit 1: reads holding 0, 10 of them", "unit 1: answers function 03", "unit 9: writes coil 3 = 1"]
    assert monitor.turnarounds == {1: [0, 0, 0, 1, 0, 0, 0, 0, 0]}


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


def test_the_table_names_every_state() -> None:
    assert {a for a, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(State)


def test_submit_while_down_is_told_at_once() -> None:
    bus = Bus("line", Rtu(9600))
    txn = Transaction("test", 1, 1, TEN, Priority.POLL)
    (finished,) = bus.handle(5, Submit("line", txn))
    assert finished.outcome == LinkLost("link down")  # type: ignore[union-attr]
    assert bus.deadline is None


def test_what_is_reported_is_when_the_frame_left() -> None:
    """The host was busy: the link wrote the edge 12 ms after its instant, and says so."""
    wire = line(u1=Slave(turnaround_us=30 * MS))
    instant_us = wire.now_us + S
    wire.submit(1, ON, Priority.ORDER, at_us=instant_us)
    wire.run(instant_us + 12 * MS)
    wire.hear(WrittenLate("line", instant_us + 12 * MS))
    wire.run(wire.now_us + S)
    ((_, finished),) = wire.finished
    assert finished.sent_us == instant_us + 12 * MS
    # A word that comes after the answer concerns nobody.
    wire.submit(1, TEN, Priority.POLL)
    sent_us = wire.now_us
    wire.hear(WrittenLate("line", sent_us - MS))
    wire.run(wire.now_us + S)
    assert wire.finished[-1][1].sent_us == sent_us
