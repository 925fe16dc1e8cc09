"""Signatures cost time: a few are checked at once, stops first, and what waits for it is bounded."""

from controller.event import Append, Notice, Stop
from controller.intake import QUEUE_LIMIT, WINDOW_US
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import WANG, Desk, drill, live, of, order, stop


def test_signatures_are_checked_a_few_at_a_time_and_stops_first() -> None:
    desk = Desk(sirens=("s-1",))
    out = [e for n in range(1, 21) for e in desk.arrives(drill(n, sirens=["s-1"]))]
    assert len(of(Append, out)) == 8
    out = desk.arrives(stop())
    assert out == []
    assert desk.orders.deadline == desk.born + WINDOW_US
    out = desk.do(Woken(), after_s=WINDOW_US / S)
    assert isinstance(out[0], Stop)
    assert len(of(Append, out)) == 8
    assert len(of(Append, desk.do(Woken(), after_s=WINDOW_US / S))) == 5
    assert desk.orders.deadline is None


def test_a_flood_of_stops_leaves_room_for_a_warning() -> None:
    desk = Desk(sirens=("s-1",))
    for n in range(100, 200):
        desk.arrives(order(WANG, n=n, action="stop", sound=None, area="42"))
    out = desk.arrives(live(1))
    assert of(Append, out) == []
    assert len(of(Append, desk.do(Woken(), after_s=WINDOW_US / S))) == 1


def test_the_queue_is_bounded() -> None:
    desk = Desk(sirens=("s-1",))
    data = [drill(n, area="42") for n in range(QUEUE_LIMIT + 20)]
    out = [e for d in data for e in desk.arrives(d)]
    assert sum("busy" in n.detail for n in of(Notice, out)) == 20 - 8
