"""An order that comes again, and another or a false one under the same name."""

from controller.event import Activate, Append, Arrived, Durable, Notice, Say, SayAgain
from controller.intake import WINDOW_US
from controller.wire import Stage
from firmware_bridge.machine import S, Woken
from hub import keys
from tests.controller.bench_orders import LI, WANG, ZHANG, Desk, drill, live, name, of, order, refused, said, stop


def test_the_same_order_again_gets_the_same_answer_and_no_second_action() -> None:
    desk = Desk()
    desk.sounds(live())
    for _ in range(3):
        assert desk.arrives(live(), after_s=1) == [SayAgain(name(1))]
    # More signatures under the same content are the same order.
    assert desk.arrives(order(LI, WANG, ZHANG)) == [SayAgain(name(1))]


def test_the_same_order_twice_before_its_signatures_are_checked() -> None:
    desk = Desk()
    out = [e for _ in range(20) for e in desk.arrives(live())]
    out += desk.do(Woken(), after_s=WINDOW_US / S)
    assert len(of(Append, out)) == 1
    assert len(of(SayAgain, out)) == 19


def test_another_order_under_a_known_id() -> None:
    desk = Desk()
    desk.sounds(live())
    out = desk.arrives(live(area="41"))
    assert out == [Notice("order-refused", name(1), "duplicate-id-other-content")]


def test_a_false_copy_blocks_no_true_order() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, keys.new_key("x")))) == "unknown-key"
    assert len(of(Activate, desk.written(desk.arrives(live())))) == 2


def test_a_false_copy_of_a_believed_order_gets_no_second_last_word() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    desk.do(Durable(append.token))
    copy = live().replace(b'"signatures":[', b'"signatures":[{},')
    out = desk.do(Arrived("siren/1/o/41/1/order", copy))
    assert of(Say, out) == []
    assert [n.what for n in of(Notice, out)] == ["order-refused"]


def test_what_was_believed_and_refused_stays_refused() -> None:
    desk = Desk()
    desk.sounds(drill(1))
    assert said(desk.arrives(drill(2)))[1:] == [(s, Stage.REJECTED, "outranked") for s in ("s-1", "s-2")]
    desk.arrives(stop(who=(LI,)))
    assert desk.arrives(drill(2)) == [SayAgain(name(2))]
