"""A unit that is silent: what that costs the others, and that it is heard again."""

from collections import Counter
from dataclasses import dataclass

import pytest

from firmware_bridge import modbus
from firmware_bridge.bus import PROBE_SHARE, Bus
from firmware_bridge.event import Priority, Read, Reply, Request, Skipped, Table, Withdrawn, Write
from firmware_bridge.framing import Rtu, Tcp
from firmware_bridge.machine import MS, S
from firmware_bridge.unit import Standing
from tests.firmware_bridge.bench_line import CHAR_US, OFF, ON, TEN, Slave, Wire, line

HIGH = Write(Table.COIL, 9, (1,))


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


def test_what_orders_to_a_dead_unit_cost_does_not_put_its_next_probe_off_for_minutes() -> None:
    wire = line(u9=Slave(dead=True))
    for _ in range(100):
        wire.submit(9, ON, Priority.ORDER, timeout_us=1 * S)
        wire.run(wire.now_us + 200 * MS)
    wire.slaves[9].dead = False
    back_us = wire.now_us
    while wire.bus.units[9].standing is not Standing.GOOD:
        assert wire.now_us < back_us + 11 * S
        wire.submit(9, TEN, Priority.POLL)
        wire.run(wire.now_us + S)


def test_an_order_to_a_demoted_unit_is_tried() -> None:
    wire = line(u9=Slave(dead=True))
    for _ in range(4):
        wire.submit(9, TEN, Priority.POLL)
        wire.run(wire.now_us + 2 * S)
    wire.slaves[9].dead = False
    wire.submit(9, ON, Priority.ORDER)
    wire.run(wire.now_us + S)
    assert wire.finished[-1][1].outcome == Reply((1,))


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
