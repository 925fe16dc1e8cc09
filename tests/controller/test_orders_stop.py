"""Orders to stop: what they end and what they leave, whose they must be, and how they are answered."""


from controller.event import Activate, Append, Durable, Say, Stop
from controller.orders import STOP_PATIENCE_US
from controller.wire import Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import LI, WANG, Desk, drill, live, name, of, said, stop


def test_a_stop_waits_for_nothing() -> None:
    desk = Desk()
    given = of(Activate, desk.sounds(live()))
    out = desk.arrives(stop(), after_s=5)
    assert out[:2] == [Stop("s-1", "Zhang Min", "stop"), Stop("s-2", "Zhang Min", "stop")]
    assert said(out) == [("", Stage.RECEIVED, ""), ("s-1", Stage.ACCEPTED, ""), ("s-2", Stage.ACCEPTED, "")]
    out = desk.progress(given[0], Stage.STOPPED, reason="Zhang Min")
    assert [(e.message.order, e.message.stage) for e in of(Say, out)] == [
        (name(1), Stage.STOPPED), (name(99), Stage.FINISHED)]


def test_a_stop_of_silence_is_finished_at_once() -> None:
    out = Desk().arrives(stop())
    assert len(of(Stop, out)) == 2
    assert said(out)[-1] == ("s-2", Stage.FINISHED, "nothing sounded")


def test_a_stop_takes_what_waits_for_the_disk() -> None:
    desk = Desk(sirens=("s-1",))
    (append,) = of(Append, desk.arrives(live()))
    out = desk.arrives(stop())
    assert ("s-1", Stage.STOPPED, "Zhang Min") in said(out)
    assert ("s-1", Stage.FINISHED, "") in said(out)
    assert of(Activate, desk.do(Durable(append.token)) + desk.do(Woken(), after_s=1)) == []


def test_a_stop_ends_what_is_armed() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.arrives(drill(sound="demo-918", start_s=200))))
    desk.arrives(stop(who=(LI,)))
    assert ("s-1", Stage.FINISHED, "") in said(desk.progress(one, Stage.STOPPED))


def test_a_stop_ends_only_what_was_issued_before_it() -> None:
    desk = Desk(sirens=("s-1",))
    desk.tick(20)
    desk.sounds(live(issued_s=10))
    out = desk.arrives(stop(issued_s=5))
    assert of(Stop, out) == []
    # It is not told as finished: the siren sounds on.
    assert said(out)[-1] == ("s-1", Stage.REJECTED, "issued-later")
    assert of(Stop, desk.arrives(stop(98, issued_s=10))) == [Stop("s-1", "Zhang Min", "stop")]


def test_a_stop_of_one_order_leaves_the_others() -> None:
    desk = Desk(sirens=("s-1",))
    desk.written(desk.arrives(drill(1, sound="demo-918", start_s=200)))
    desk.sounds(drill(2))
    out = desk.arrives(stop(who=(LI,), stops=name(1)))
    assert of(Stop, out) == [Stop("s-1", "Li Wei", "stop", name(1))]


def test_a_lone_operator_cannot_silence_a_warning() -> None:
    desk = Desk()
    desk.sounds(live(1, sirens=["s-1"]))
    desk.sounds(drill(2, sirens=["s-2"]))
    out = desk.arrives(stop(who=(LI,)))
    assert of(Stop, out) == [Stop("s-2", "Li Wei", "stop")]
    assert ("s-1", Stage.REJECTED, "too-few-persons") in said(out)
    # Nor one that is still to come.
    assert len(of(Activate, desk.written(desk.arrives(live(3))))) == 2
    (told,) = of(Stop, desk.arrives(stop(98, who=(LI, WANG), sirens=["s-1"])))
    assert told == Stop("s-1", "Li Wei, Wang Fang", "stop")


def test_what_was_issued_before_a_stop_does_not_start_after_it() -> None:
    desk = Desk(sirens=("s-1",))
    desk.tick(10)
    desk.arrives(stop(issued_s=5))
    assert said(desk.arrives(live(1, issued_s=4)))[-1] == ("s-1", Stage.REJECTED, "stopped")
    assert len(of(Activate, desk.written(desk.arrives(live(2, issued_s=6))))) == 1


def test_a_siren_that_never_says_off() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(live()))
    desk.arrives(stop())
    out = desk.do(Woken(), after_s=STOP_PATIENCE_US / S)
    assert said(out) == [("s-1", Stage.FAILED, "the siren did not say that it is off")]
    assert said(desk.progress(one, Stage.FAILED)) == [("s-1", Stage.FAILED, "")]


def test_a_stop_whose_siren_failed_says_so() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(live()))
    desk.arrives(stop())
    out = desk.progress(one, Stage.FAILED, reason="still sounding")
    assert said(out) == [("s-1", Stage.FAILED, "still sounding"), ("s-1", Stage.FAILED, "still sounding")]
