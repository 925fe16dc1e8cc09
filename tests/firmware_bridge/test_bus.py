"""The bus against slaves on a wire with byte times: whose turn it is, and how what was asked ends."""

from collections import Counter

import pytest

from firmware_bridge import modbus
from firmware_bridge.bus import TRANSITIONS, Bus, State
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
    Silent,
    Skipped,
    Submit,
    Table,
    Transaction,
    Withdrawn,
)
from firmware_bridge.framing import Rtu, Tcp
from firmware_bridge.machine import MS, S
from tests.firmware_bridge.bench_line import CHAR_US, OFF, ON, SILENCE_US, TEN, Slave, Wire, line, outcomes


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


def test_the_table_names_every_state() -> None:
    assert {a for a, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(State)


def test_submit_while_down_is_told_at_once() -> None:
    bus = Bus("line", Rtu(9600))
    txn = Transaction("test", 1, 1, TEN, Priority.POLL)
    (finished,) = bus.handle(5, Submit("line", txn))
    assert finished.outcome == LinkLost("link down")  # type: ignore[union-attr]
    assert bus.deadline is None
