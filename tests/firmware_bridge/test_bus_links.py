"""The bus where its link comes anew unasked, and where several requests are out at once: arrows that no world takes.

The made-up world tells of no link twice, and no profile of the library takes two requests at a time.
"""

from firmware_bridge.bus import LEAD_US, Bus, State
from firmware_bridge.event import LinkLost, LinkUp, Priority, Read, Reply, Table
from firmware_bridge.framing import Tcp
from firmware_bridge.machine import MS, S
from tests.firmware_bridge.bench_line import OFF, ON, Slave, Wire, line

ONE = Read(Table.HOLDING, 0, 1)


def test_a_link_that_comes_anew_ends_what_was_prepared_and_it_was_never_sent() -> None:
    wire = line(u1=Slave())
    instant_us = wire.now_us + S
    wire.submit(1, ON, Priority.ORDER, at_us=instant_us)
    wire.run(instant_us - LEAD_US // 2)
    assert wire.bus.state is State.PREPARED
    wire.hear(LinkUp("line"))
    ((_, lost),) = wire.finished
    assert (lost.outcome, lost.sent_us) == (LinkLost("link opened anew"), None)
    assert wire.bus.state is State.IDLE


def test_a_link_that_comes_anew_ends_what_was_out_and_its_answer_is_nobodys() -> None:
    wire = line(u1=Slave(turnaround_us=50 * MS, words={0: 7}))
    sent_us = wire.now_us
    wire.submit(1, ONE, Priority.POLL)
    wire.run(sent_us + 20 * MS)
    assert wire.bus.state is State.AWAITING
    wire.hear(LinkUp("line"))
    ((_, lost),) = wire.finished
    assert (lost.outcome, lost.sent_us) == (LinkLost("link opened anew"), sent_us)
    assert wire.bus.state is State.IDLE
    wire.run(sent_us + 200 * MS)
    assert len(wire.finished) == 1, "nobody asked for what came then"


def test_a_stop_goes_before_a_prepared_edge_while_a_slow_unit_is_still_to_answer() -> None:
    bus = Bus("net", Tcp(), 3)
    slow, fast = Slave(turnaround_us=250 * MS, words={0: 7}), Slave()
    wire = Wire(bus, {1: fast, 2: slow}, 0.0)
    edge_us = wire.now_us + 100 * MS
    wire.submit(1, ON, Priority.ORDER, at_us=edge_us)
    wire.submit(2, ONE, Priority.ORDER, timeout_us=500 * MS)
    wire.run(edge_us - LEAD_US + MS)
    assert bus.state is State.PREPARED, "the edge lies ready, and the read is out"
    wire.submit(1, OFF, Priority.STOP)
    assert fast.requests == [(wire.now_us, OFF)], "the edge was taken back, and the stop is out"
    wire.run(wire.now_us + S)
    assert [request for _, request in fast.requests] == [OFF, ON]
    assert fast.requests[1][0] >= edge_us
    assert {f.transaction.request: f.outcome for _, f in wire.finished} == {
        OFF: Reply((0,)), ON: Reply((1,)), ONE: Reply((7,))}
