"""Orders to stop: what they end and what they leave, whose they must be, and how they are answered."""

import pytest

from controller.dating import Dating
from controller.event import Activate, Alarmed, Append, Clock, Durable, Offered, Say, SayAgain, Stop, Trust
from controller.ledger import STOP_KEEP_US, STOPS_LIMIT, Ledger
from controller.orders import STOP_PATIENCE_US
from controller.wall import Wall
from controller.wire import Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import LI, SIGNALS, WALL, WANG, Desk, drill, live, name, of, said, stop


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


# Stops that come while the time is not known.

FORBIDDEN = ("s-1", Stage.REJECTED, "stopped")


def stopped_without_the_time() -> Desk:
    """Its stop was issued at 5 s; the clock tells something of thirty years later, and is not believed."""
    desk = Desk(sirens=("s-1",), clock=False)
    desk.tick(10**9, level=Trust.UNTRUSTED)
    assert said(desk.arrives(stop(issued_s=5)))[-1] == ("s-1", Stage.FINISHED, "nothing sounded")
    return desk


def test_a_stop_that_came_without_the_time_forbids_once_it_is_known() -> None:
    """Seed 23483: a drill that had been issued before it came later, and sounded."""
    desk = stopped_without_the_time()
    assert said(desk.tick(20, after_s=14)) == []
    assert said(desk.arrives(drill(1, issued_s=4)))[-1] == FORBIDDEN
    assert desk.arrives(stop(issued_s=5)) == [SayAgain(name(99))]
    assert len(of(Activate, desk.written(desk.arrives(live(2, issued_s=6))))) == 1
    # A replay of it does nothing to that.
    assert desk.arrives(stop(issued_s=5)) == [SayAgain(name(99))]


def test_what_it_forbids_then_it_forbids_after_a_restart_too() -> None:
    desk = stopped_without_the_time()
    desk.tick(20, after_s=14)
    (dated,) = [r for r in desk.records if r.kind == "dated"]
    rest = [r for r in desk.records if r is not dated]
    for records in (desk.records, [dated, *rest]):
        # Long after its own time, but not after that of the drill.
        after = Desk(sirens=("s-1",), records=records, wall_s=250 * 60, boot="two")
        late = drill(1, issued_s=4, expires_at="2026-09-18T10:00:00.000Z")
        assert said(after.arrives(late))[-1] == FORBIDDEN
        assert [r for r in after.records if r.kind == "dated"] == [dated], "dated once"


def test_a_restart_before_the_time_is_known_takes_nothing_from_it() -> None:
    desk = stopped_without_the_time()
    after = Desk(sirens=("s-1",), records=desk.records, clock=False, boot="two")
    after.do(Woken(), after_s=1)
    after.tick(3600 + 20, after_s=3600)
    late = drill(1, issued_s=4, expires_at="2026-09-18T10:00:00.000Z")
    assert said(after.arrives(late))[-1] == FORBIDDEN


@pytest.mark.parametrize("wall_s", [400, 305.1, 2.9, -60, 10**8])
def test_a_stop_that_the_clock_does_not_bear_out_forbids_nothing(wall_s: float) -> None:
    """It had expired when it came, or was issued later than it came: held back, or dated by a wrong clock."""
    desk = stopped_without_the_time()
    desk.tick(wall_s)
    assert "dated" not in {r.kind for r in desk.records}
    # It may have been that clock which was wrong.
    desk.tick(20)
    assert [r.body["order"] for r in desk.records if r.kind == "dated"] == [name(99)]


def test_a_stop_that_is_dated_ends_what_was_issued_before_it_and_nothing_else() -> None:
    desk = Desk(clock=False)
    (first,) = of(Offered, desk.tick(10**9, level=Trust.UNTRUSTED))
    desk.arrives(stop(issued_s=5))
    out = desk.arrives(live(1, issued_s=4, sirens=["s-1"], nonce=first.nonce))
    (second,) = of(Offered, out)
    assert len(of(Activate, desk.written(out))) == 1
    desk.sounds(live(2, issued_s=6, sirens=["s-2"], nonce=second.nonce))
    out = desk.tick(20, after_s=14)
    assert of(Stop, out) == [Stop("s-1", "Zhang Min", "stop")]
    assert said(out) == [], "the stop has had its last word"


def test_what_a_lone_operator_may_not_stop_he_may_not_stop_by_a_date() -> None:
    desk = Desk(sirens=("s-1",), clock=False)
    desk.tick(10**9, level=Trust.UNTRUSTED)
    desk.arrives(stop(issued_s=5, who=(LI,)))
    desk.tick(20, after_s=14)
    assert len(of(Activate, desk.written(desk.arrives(live(1, issued_s=4))))) == 1
    assert said(desk.arrives(drill(2, issued_s=4)))[-1] == FORBIDDEN


FLOOD = Alarmed("f" * 32, "spot-1", ("s-1",), "air-raid", SIGNALS.digest("air-raid"), 180, "the rule", ("A", "B"))


def test_what_is_asked_for_here_came_after_every_stop_that_came() -> None:
    """A clock that is behind and not believed dates a flood of now before the stop of before the power cut."""
    before = Desk(sirens=("s-1",))
    before.asks("stop", siren="all")
    after = Desk(sirens=("s-1",), records=before.records, clock=False, boot="two")
    after.tick(-600, level=Trust.UNTRUSTED)
    assert of(Activate, after.written(after.do(FLOOD)))


def test_a_stop_ends_what_is_dated_by_a_clock_that_is_ahead_and_not_believed() -> None:
    desk = Desk(sirens=("s-1",), clock=False)
    desk.tick(3600, level=Trust.UNTRUSTED)
    (one,) = of(Activate, desk.written(desk.do(FLOOD)))
    desk.progress(one, Stage.STARTED)
    out = desk.arrives(stop(issued_s=10), after_s=10)
    assert [(s.siren, s.order) for s in of(Stop, out)] == [("s-1", None)]
    assert said(desk.progress(one, Stage.STOPPED))[-1] == ("s-1", Stage.FINISHED, "")


def test_a_stop_that_is_dated_later_spares_what_began_after_it_came() -> None:
    desk = Desk(sirens=("s-1",), clock=False)
    desk.tick(-60, level=Trust.UNTRUSTED)
    desk.arrives(stop(issued_s=1))
    (one,) = of(Activate, desk.written(desk.do(FLOOD, after_s=5)))
    desk.progress(one, Stage.STARTED)
    assert of(Stop, desk.tick(12, after_s=5)) == []


def test_a_stop_whose_off_nothing_confirmed_says_so() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(live()))
    desk.arrives(stop(issued_s=5), after_s=5)
    out = desk.progress(one, Stage.STOPPED, reason="by Zhang: stop; unconfirmed")
    assert said(out)[-1] == ("s-1", Stage.FAILED, "by Zhang: stop; unconfirmed")


def test_stops_that_wait_for_a_date_are_bounded() -> None:
    desk = stopped_without_the_time()
    ledger = Ledger()
    ledger.restore(desk.records)
    (one,) = ledger.stops()
    dating, wall = Dating(), Wall()
    for n in range(200):
        dating.wait(n, one.model_copy(update={"order": name(n)}))
    dating.wait(200, one.model_copy(update={"keys": ()}))
    dating.wait(200, one.model_copy(update={"forbids": True}))
    wall.now_us = 10 * S
    wall.take(Clock(WALL - 3600 * S, 0, Trust.TRUSTED))
    assert dating.borne_out(wall) == []
    wall.take(Clock(WALL + 20 * S, 0, Trust.TRUSTED))
    assert [stop.order for stop in dating.borne_out(wall)] == [name(n) for n in range(200 - STOPS_LIMIT, 200)]
    dating.wait(wall.now_us, one)
    wall.now_us += STOP_KEEP_US
    wall.take(Clock(WALL - 3600 * S, 0, Trust.TRUSTED))
    assert dating.borne_out(wall) == []
    wall.take(Clock(WALL + 20 * S + STOP_KEEP_US, 0, Trust.TRUSTED))
    assert dating.borne_out(wall) == [], "what it would forbid is over"
