"""Orders on days that are none of the ordinary: SAFE-MIN and its end, a rule that asks twice, a client's last line."""

import pytest

from controller import ledger, pulse
from controller.event import Activate, Alarmed, Append, AppendFailed, Durable, Full, SayAgain, Stop
from controller.orders import Orders
from controller.site import Target
from controller.wire import Layer, Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import HERE, SIGNALS, TRUST, Desk, drill, lines, live, name, of, said, stop


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


# The disk.


def test_what_one_record_is_told_of_speaks_of_no_order_behind_it() -> None:
    desk = Desk(sirens=("s-1",))
    (first,) = of(Append, desk.arrives(drill()))
    (second,) = of(Append, desk.arrives(drill(2, start_s=100)))
    assert [a.order for a in of(Activate, desk.do(Durable(first.token)))] == [name(1)]
    assert [a.order for a in of(Activate, desk.do(Durable(second.token)))] == [name(2)]
    desk = Desk(sirens=("s-1",))
    (first,) = of(Append, desk.arrives(drill()))
    (second,) = of(Append, desk.arrives(drill(2, start_s=100)))
    assert said(desk.do(AppendFailed(first.token, "no"))) == [("s-1", Stage.REJECTED, "no-journal")]
    assert [a.order for a in of(Activate, desk.do(Durable(second.token)))] == [name(2)]


def test_how_long_a_drill_waits_for_the_disk_and_a_stop_for_its_sirens() -> None:
    desk = Desk(sirens=("s-1",))
    desk.arrives(drill())
    assert desk.orders.deadline == desk.now + 5 * S
    desk = Desk(sirens=("s-1",))
    desk.sounds(drill(2))
    desk.written(desk.arrives(stop()))
    assert desk.orders.deadline == desk.now + 90 * S


def test_a_record_says_by_which_door_it_came_and_holds_nothing_empty() -> None:
    for door, out in (("mqtt", Desk().arrives(live())), ("local", Desk().asks("order", text=live().decode()))):
        (append,) = of(Append, out)
        assert append.record.body["door"] == door
        assert None not in append.record.body.values()


def test_the_order_as_it_came_is_on_the_disk_and_not_kept_in_memory() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    entry = desk.orders._ledger.get(name(1))
    assert entry is not None
    assert (entry.accept.raw, append.record.body["raw"]) == (None, live().decode())


def test_a_stop_is_known_by_its_id_where_drills_have_no_room_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 1)
    desk = Desk()
    desk.arrives(drill())
    assert of(Stop, desk.arrives(stop()))
    assert desk.arrives(stop()) == [SayAgain(name(99))]


def test_the_journal_is_told_that_we_are_here_while_a_warning_goes_on_after_a_restart() -> None:
    desk = Desk()
    desk.sounds(live())
    again = Desk(records=desk.records, boot="two", wall_s=20)
    assert of(Activate, again.first)
    assert again.orders.deadline == again.now + pulse.EVERY_US
