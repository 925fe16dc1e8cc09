"""Orders on days that are none of the ordinary: SAFE-MIN and its end, a rule that asks twice, a client's last line."""

from controller.event import Activate, Alarmed, Full
from controller.orders import Orders
from controller.site import Target
from controller.wire import Layer, Stage
from tests.controller.test_orders import HERE, SIGNALS, TRUST, Desk, drill, lines, live, of, said


def bare(before: Desk | None = None) -> Desk:
    """A gateway that has crashed too often: it is in SAFE-MIN. `before`: with that one's journal."""
    desk = Desk(clock=False, boot="two", records=[] if before is None else before.records)
    targets = [Target(s, HERE, Layer.SURFACE) for s in desk.sirens]
    desk.orders = Orders("gw-1", "demo", targets, SIGNALS, TRUST, {}, "two", safe_min=True)
    desk.orders.restore(desk.records)
    return desk


def test_a_drill_is_refused_in_safe_min_and_taken_when_that_is_over() -> None:
    desk = bare()
    desk.tick(0)
    assert said(desk.arrives(drill()))[-1] == ("", Stage.REJECTED, "safe-min")
    assert desk.do(Full()) == []
    assert len(of(Activate, desk.written(desk.arrives(drill(2))))) == 2


def test_a_drill_that_waited_for_its_time_goes_on_at_the_end_of_safe_min() -> None:
    first = Desk()
    first.written(first.arrives(drill(start_s=120)))
    desk = bare(first)
    assert of(Activate, desk.tick(1)) == []
    assert {a.siren for a in of(Activate, desk.do(Full()))} == {"s-1", "s-2"}
    assert desk.do(Full()) == []


def test_what_a_rule_asked_for_is_done_once_however_often_it_asks() -> None:
    desk = Desk()
    flood = Alarmed("flood-1", "s", ("s-1",), "air-raid", SIGNALS.digest("air-raid"), 60, "rule", ("Li Wei",))
    assert [a.siren for a in of(Activate, desk.written(desk.do(flood)))] == ["s-1"]
    assert desk.do(flood) == []


def test_a_local_clients_last_line_is_the_last_word_on_the_last_siren() -> None:
    desk = Desk()
    one, other = of(Activate, desk.written(desk.asks("order", text=live().decode())))
    started = desk.progress(one, Stage.STARTED)
    assert [line["last"] for a in (one, other) for line in lines(started + desk.progress(a, Stage.FINISHED))] == [
        False, False, False, True]
