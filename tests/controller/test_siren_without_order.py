"""What sounds without our order: cut where it is our output, told and left alone where a hand did it."""

import pytest

from controller.conduct import State
from controller.wire import Stage
from firmware_bridge.event import Priority
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality, Reading, Took
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


@pytest.mark.parametrize("silence_us", [500 * MS, 900 * MS, 1700 * MS, 2300 * MS])
@pytest.mark.parametrize("drive", [COILS, HORN])
def test_what_is_on_from_before_the_start_is_off_before_the_next_phase(drive: Profile, silence_us: int) -> None:
    """A process that died in a phase and came back in the silence after it, or in that before the next."""
    warning = beat(3, 3, 3)
    f = Field(drive, polled=False)
    f.out.on = True
    f.look()
    f.clock()
    f.siren_told(Took("panel", (Reading("panel", "locked", False, Quality.GOOD, 0),)))
    f.live(warning, start_us=silence_us - 6 * S, resumed=True)
    for n in range(24):
        f.later(200 * MS + n * 500 * MS, f.poll)
    f.run(12 * S)
    (began, ended), (on_us, off_us) = f.ons()
    assert began == 0
    assert ended <= 300 * MS, "cut as soon as it was read"
    assert on_us == pytest.approx(silence_us, abs=60 * MS)
    assert off_us == pytest.approx(silence_us + 3 * S, abs=100 * MS)
    assert f.end().stage in (Stage.FINISHED, Stage.FAILED)
