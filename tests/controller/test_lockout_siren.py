"""A siren that is locked out by tag or key: what ends, what is refused, what waits, and that a stop still works."""

from controller.agenda import LOCKED
from controller.conduct import State as Conduct
from controller.event import Lock, Stop
from controller.wire import Stage
from firmware_bridge.machine import S
from firmware_bridge.reading import NoValue, Quality, Reading, Took
from tests.controller.bench_siren import T0, Field


def test_a_tag_ends_what_sounds_and_refuses_what_comes_and_stop_still_works() -> None:
    f = Field().run(T0)
    f.live("all-clear")
    f.run(T0 + 5 * S)
    assert f.out.on
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(T0 + 6 * S)
    assert not f.out.on
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    f.live(id="o-2")
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "isolated")
    assert "isolated; tagged by Li Ming" in f.shown[-1].why
    writes = len(f.writes)
    f.stop()
    f.run(T0 + 8 * S)
    assert [b.action for _, b in f.writes[writes:]] == ["cancel"]
    f.siren_told(Lock("s-1", ""))
    f.live(id="o-3")
    f.run(T0 + 10 * S)
    assert f.out.on


def test_what_was_armed_is_answered_at_its_time_and_not_before() -> None:
    f = Field().run(T0)
    f.clock()
    f.live(start_us=T0 + 60 * S)
    f.live(start_us=T0 + 120 * S, id="o-2")
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(T0 + 50 * S)
    assert f.stages() == f.stages("o-2") == ["trouble"]
    assert f.told[-1].reason == LOCKED
    f.run(T0 + 70 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    assert f.writes == []
    f.siren_told(Lock("s-1", ""))
    f.run(T0 + 125 * S)
    assert f.out.on, "the next one sounds, once the tag is off"


def test_what_comes_for_later_waits_for_its_instant_and_is_looked_at_then() -> None:
    """It was refused at once, though the key was back long before."""
    f = Field(isolated=True).run(T0)
    f.clock()
    f.live(start_us=T0 + 60 * S)
    f.live(start_us=T0 + 300 * S, id="o-2")
    f.live(start_us=T0 + 600 * S, id="o-3")
    f.order(start_us=T0 + 900 * S, id="o-4")
    assert [(p.stage, p.reason) for p in f.told] == [(Stage.TROUBLE, LOCKED)] * 4
    assert f.shown[-1].state == Conduct.ARMED
    f.siren_told(Stop("s-1", "Zhang Min", "stop", "o-3"))
    assert f.end("o-3").stage is Stage.STOPPED
    f.run(T0 + 100 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    f.isolated = False
    f.run(T0 + 305 * S)
    assert f.out.on
    f.run(T0 + 500 * S)
    f.isolated = True
    f.run(T0 + 600 * S)
    assert f.stages("o-4") == ["trouble"], "it is told once"
    f.siren_told(Stop("s-1", "Zhang Min", "stop"))
    assert f.end("o-4").stage is Stage.STOPPED
    f.live(id="o-5")
    assert (f.end("o-5").stage, f.end("o-5").reason) == (Stage.REJECTED, "isolated"), "what is for now is refused now"


def test_the_key_and_the_tag_are_two_locks() -> None:
    f = Field(isolated=True).run(T0)
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.isolated = False
    f.run(T0 + S)
    f.live()
    assert f.end().reason == "isolated"
    f.isolated = True
    f.run(T0 + 2 * S)
    f.siren_told(Lock("s-1", ""))
    f.live(id="o-2")
    assert f.end("o-2").reason == "isolated"


def test_a_key_that_was_locked_before_a_restart_and_cannot_be_read_holds() -> None:
    f = Field(polled=False)
    f.siren.isolator.restore("", True)
    f.live()
    assert f.end().reason == "isolated"
    f.siren_told(Took("panel", (Reading("panel", "locked", None, Quality.BAD, f.now, NoValue.SILENT),)))
    f.live(id="o-2")
    assert f.end("o-2").reason == "isolated"
    f.siren_told(Took("panel", (Reading("panel", "locked", False, Quality.GOOD, f.now),)))
    f.live(id="o-3")
    f.run(f.now + 2 * S)
    assert f.out.on
