"""Writes with an ordered instant: nothing crowds them, and until just before it they can be taken back."""

import pytest

from firmware_bridge.bus import LEAD_US, State
from firmware_bridge.event import Priority, Reply, Table, Withdraw, Withdrawn, Write, WrittenLate
from firmware_bridge.machine import MS, S
from tests.firmware_bridge.bench_line import CHAR_US, ON, SILENCE_US, TEN, Slave, line, outcomes


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
