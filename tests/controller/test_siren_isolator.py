"""A siren and its isolator: locked out, let in again only by a good reading, and not to be read."""

from controller.event import Clock, Trust
from controller.wire import Stage
from firmware_bridge.event import Priority
from firmware_bridge.machine import S
from firmware_bridge.reading import Quality, Reading, Took
from tests.controller.bench_siren import T0, WALL, Field


def test_a_locked_out_siren_refuses_and_stops() -> None:
    f = Field(isolated=True).run(T0)
    f.live()
    assert (f.end().stage, f.end().reason) == (Stage.REJECTED, "isolated")
    f.isolated = False
    f.run(T0 + S)
    f.live("all-clear", id="o-2")
    f.run(T0 + 5 * S)
    f.isolated = True
    f.run(T0 + 6 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.FAILED, "isolated")
    assert not f.out.on
    f.stop()
    f.run(T0 + 7 * S)
    assert f.begins[-1][1].priority is Priority.STOP
    assert [n.what for _, n in f.notices] == ["isolated", "released", "isolated"]


def test_what_a_restart_cut_fails_at_a_locked_out_siren() -> None:
    f = Field(isolated=True).run(T0)
    f.clock()
    f.live(start_us=T0 - 5 * S, resumed=True)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    assert f.begins == []


def test_what_was_armed_fails_at_its_start_while_locked_out() -> None:
    f = Field().run(T0)
    f.clock()
    f.order(start_us=T0 + 60 * S)
    f.isolated = True
    f.run(T0 + 58 * S)
    assert f.stages() == ["trouble"]
    f.run(T0 + 70 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    assert f.begins == []


def test_a_lock_out_ends_only_by_a_good_reading() -> None:
    f = Field(isolated=True).run(T0)
    f.isolated = None
    f.run(T0 + 600 * S)
    f.live()
    assert f.end().reason == "isolated"
    assert "isolator unreadable" in f.shown[-1].why
    f.siren_told(Took("panel", (Reading("panel", "locked", False, Quality.UNCERTAIN, f.now),)))
    f.live(id="o-2")
    assert f.end("o-2").reason == "isolated"


def test_after_a_restart_nothing_starts_before_the_isolator_was_looked_at() -> None:
    f = Field(isolated=True)
    f.siren_told(Clock(WALL, 0, Trust.TRUSTED))
    f.live(start_us=-5 * S, resumed=True)
    f.run(T0)
    assert f.writes == []
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")


def test_an_isolator_that_cannot_be_read_does_not_silence_a_warning_and_is_said() -> None:
    f = Field(polled=False)
    f.live()
    f.run(S)
    assert f.begins == []
    f.run(4 * S)
    assert f.out.on
    assert "isolator not read yet" in f.shown[-1].why
    f.isolated = None
    f.poll()
    assert [n.what for _, n in f.notices] == ["isolator-unreadable"]
