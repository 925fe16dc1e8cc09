"""Answers that are not what was asked: said twice, late behind noise, refusals of something older; and broadcasts."""

import pytest

from firmware_bridge import modbus
from firmware_bridge.bus import Bus
from firmware_bridge.event import BROADCAST, Priority, Read, Refused, Reply, Sent, Silent, Skipped, Table
from firmware_bridge.framing import BROADCAST_REST_US, Tcp
from firmware_bridge.machine import MS, S
from firmware_bridge.modbus import refusal_pdu, rtu_frame
from firmware_bridge.unit import AGAIN_US
from tests.firmware_bridge.bench_line import CHAR_US, OFF, Slave, Wire, line

LOW = Read(Table.HOLDING, 0, 4)
HIGH = Read(Table.HOLDING, 100, 4)
WORDS = {0: 1, 1: 2, 2: 3, 3: 4, 100: 5, 101: 6, 102: 7, 103: 8}


@pytest.mark.parametrize("later_ms", [1, 5, 20, 49])
def test_an_answer_that_is_said_twice_is_not_taken_for_the_next(later_ms: int) -> None:
    wire = line(lambda n, frame: [(0, frame), (later_ms * MS, frame)] if n == 0 else [(0, frame)],
                u1=Slave(words=dict(WORDS)), u2=Slave(words={0: 9}))
    for unit, read in ((1, LOW), (1, HIGH), (2, LOW)):
        wire.submit(unit, read, Priority.POLL)
    wire.run(3 * S)
    said = {(f.transaction.unit, f.transaction.request.address): f.outcome for _, f in wire.finished}
    assert said[1, 0] == Reply((1, 2, 3, 4))
    assert said[1, 100] in (Reply((5, 6, 7, 8)), Silent("garbled")), "hurt by the copy, perhaps, but never the copy"
    assert said[2, 0] == Reply((9, 0, 0, 0)), "another unit is asked meanwhile"


def test_only_the_same_shape_waits_and_an_order_never_does() -> None:
    wire = line(u1=Slave(words=dict(WORDS)))
    wire.submit(1, LOW, Priority.POLL)
    wire.submit(1, Read(Table.HOLDING, 100, 3), Priority.POLL)
    wire.submit(1, OFF, Priority.POLL)
    wire.submit(1, HIGH, Priority.POLL)
    wire.run(3 * S)
    starts = [at for at, _ in wire.sends]
    ends = [at for at, _ in wire.finished]
    assert all(starts[n + 1] - ends[n] < 5 * MS for n in range(2))
    assert starts[3] - ends[0] >= AGAIN_US


def test_noise_as_long_as_the_answer_pays_no_debt() -> None:
    """Somebody babbles as many octets as the answer has; the answer itself comes later, to the next question."""
    noise = bytes(range(1, 14))
    wire = line(lambda n, frame: [(0, noise), (400 * MS, frame)] if n == 0 else [(0, frame)],
                u1=Slave(words=dict(WORDS)))
    wire.submit(1, LOW, Priority.POLL)
    wire.submit(1, HIGH, Priority.POLL, timeout_us=600 * MS)
    wire.run(5 * S)
    assert [f.outcome for _, f in wire.finished] == [Silent("garbled"), Reply((5, 6, 7, 8))]


def test_a_refusal_of_something_older_is_not_taken_for_one_of_the_next() -> None:
    no = rtu_frame(1, refusal_pdu(3, 6))
    wire = line(lambda n, frame: [(350 * MS, no)] if n == 0 else [(0, frame)], u1=Slave(words=dict(WORDS)))
    wire.submit(1, LOW, Priority.POLL, timeout_us=200 * MS)
    wire.submit(1, Read(Table.HOLDING, 100, 3), Priority.POLL, timeout_us=500 * MS)
    wire.run(5 * S)
    assert [f.outcome for _, f in wire.finished][-1] == Reply((5, 6, 7))
    assert Refused(6) not in [f.outcome for _, f in wire.finished]


def test_a_broadcast_goes_out_once_and_the_line_rests() -> None:
    wire = line(broadcast=True, u1=Slave(), u2=Slave())
    wire.submit(BROADCAST, OFF, Priority.STOP)
    wire.submit(1, LOW, Priority.POLL)
    wire.run(3 * S)
    (_, sent), (_, read) = wire.finished
    assert (sent.outcome, type(read.outcome)) == (Sent(), Reply)
    assert wire.sends[0][1] == rtu_frame(0, modbus.request_pdu(OFF))
    assert wire.sends[1][0] - wire.sends[0][0] >= round(8 * CHAR_US) + BROADCAST_REST_US
    assert len(wire.sends) == 2
    assert set(wire.bus.units) == {1}, "nobody is learned of"
    assert wire.bus.counters.silent == 0


def test_a_broadcast_is_refused_where_it_is_not_asked_for_and_as_a_read() -> None:
    wire = line(u1=Slave())
    wire.submit(BROADCAST, OFF, Priority.STOP)
    assert wire.finished[-1][1].outcome == Skipped("no broadcast on this bus")
    asked = line(broadcast=True, u1=Slave())
    asked.submit(BROADCAST, LOW, Priority.POLL)
    assert asked.finished[-1][1].outcome == Skipped("no broadcast on this bus")
    assert wire.sends == asked.sends == []


def test_over_tcp_an_id_tells_and_nothing_waits() -> None:
    wire = Wire(Bus("net", Tcp()), {1: Slave(words=dict(WORDS))}, 0.0)
    wire.submit(1, LOW, Priority.POLL)
    wire.submit(1, HIGH, Priority.POLL)
    wire.run(3 * S)
    ends = [at for at, _ in wire.finished]
    assert ends[1] - ends[0] < AGAIN_US
