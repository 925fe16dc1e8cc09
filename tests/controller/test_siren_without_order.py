"""What sounds without our order: cut where it is our output, told and left alone where a hand did it."""

from controller.conduct import State
from firmware_bridge.event import Priority
from firmware_bridge.machine import S
from tests.controller.bench_siren import COILS, HORN, T0, Field, beat


def test_an_output_that_is_on_without_a_cause_is_cut_and_told() -> None:
    f = Field(COILS).run(T0)
    f.out.on = True
    f.run(T0 + S)
    assert not f.out.on
    assert f.begins[0][1].priority is Priority.STOP
    f.run(T0 + 60 * S)
    assert len(f.notice("unexpected-on")) == 1
    assert f.state() == State.IDLE
    assert f.notice("still-on") == []


def test_an_output_that_is_on_at_start_up_is_cut() -> None:
    for drive in (COILS, HORN):
        f = Field(drive)
        f.out.on = True
        f.run(2 * S)
        assert not f.out.on
        assert len(f.notice("unexpected-on")) == 1


def test_a_siren_sounded_by_hand_is_told_and_not_cut() -> None:
    f = Field().run(T0)
    f.panel = True
    f.run(T0 + 3 * S)
    assert len(f.notice("sounding-without-order")) == 1
    assert (f.state(), f.shown[-1].why) == (State.SOUNDING, "not ours")
    f.run(T0 + 300 * S)
    assert f.begins == []
    f.panel = False
    f.run(T0 + 303 * S)
    assert len(f.notice("sounding-ended")) == 1
    assert (f.state(), f.shown[-1].why) == (State.IDLE, "")


def test_a_head_sounded_at_its_panel_is_told_and_not_cut() -> None:
    f = Field(HORN, feedback=False).run(T0)
    f.out.on = True
    f.run(T0 + 100 * S)
    assert f.begins == []
    assert len(f.notice("sounding-without-order")) == 1
    assert f.state() == State.SOUNDING


def test_a_stop_ends_what_was_sounded_by_hand_where_it_can() -> None:
    f = Field(section={"second_off": "cutter.1"}).run(T0)
    f.welded = True
    f.run(T0 + 5 * S)
    assert f.state() == State.SOUNDING
    f.stop()
    f.run(T0 + 15 * S)
    assert f.cut()
    assert not f.audible()


def test_a_warning_sounds_over_what_was_sounded_by_hand() -> None:
    f = Field().run(T0)
    f.panel = True
    f.run(T0 + 5 * S)
    f.live("demo-air-raid")
    f.run(T0 + 8 * S)
    assert f.out.on
    f.run(T0 + 60 * S)
    assert (f.state(), "not ours" in f.shown[-1].why) == (State.SOUNDING, True)
    assert f.evidence().sensed == 0


def test_a_motor_that_runs_down_is_ours() -> None:
    f = Field(section={"spool_down_s": 8}, lag_us=6 * S).run(T0)
    f.order(beat(10, 1))
    f.run(T0 + 60 * S)
    assert f.notices == []
