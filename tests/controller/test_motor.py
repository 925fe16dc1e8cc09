"""A motor siren: its contactor, its three phases, and how it growls."""

from typing import Any

import pytest

from controller.conduct import State
from controller.event import QuietTest, Rank
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile, ProfileSpec
from firmware_bridge.reading import Value
from tests.controller.bench_siren import BOARD, COILS, HEAD, HORN, T0, Field, beat

PHASES = ["legs.current_1", "legs.current_2", "legs.current_3"]


class Cabinet:
    """Contactor and supply of one motor."""

    def __init__(self) -> None:
        self.jammed = False
        """The contactor does not close."""
        self.welded = False
        self.wire = True
        """To the auxiliary contact."""
        self.lost: set[int] = set()
        self.dark: set[int] = set()
        """Meters of these phases do not answer."""

    def closed(self, f: Field) -> bool:
        return self.welded or f.welded or (f.out.on and not self.jammed)

    def contact(self, f: Field) -> Value | None:
        return self.closed(f) if self.wire else None

    def amps(self, n: int, f: Field) -> Value | None:
        runs = self.closed(f) and not f.second.on and n not in self.lost
        return None if n in self.dark else 8.2 if runs else 0.0


def motor(cabinet: Cabinet, contactor: bool = True, phases: bool = False, drive: Profile = BOARD,
          second: bool = False, **more: Any) -> Field:
    section: dict[str, Any] = more.pop("section", {})
    points: dict[str, Any] = {}
    if contactor:
        section |= {"contactor": "legs.contact", "contactor_ms": 800}
        points["legs.contact"] = cabinet.contact
    if phases:
        section |= {"phase_currents": PHASES, "phase_above": 2.0, "phase_loss_s": 2.0}
        points |= {ref: lambda f, n=n: cabinet.amps(n, f) for n, ref in enumerate(PHASES, 1)}
    if second:
        section |= {"second_off": "cutter.1"}
    return Field(drive, section=section, points=points, **more).run(T0)


# The contactor.


def test_a_sound_motor_has_nothing_to_tell() -> None:
    f = motor(Cabinet(), phases=True)
    assert f.shown[-1].why == ""
    f.order("air-raid")
    f.run(T0 + 200 * S)
    assert (f.end().stage, f.troubles(), f.notices, f.state()) == (Stage.FINISHED, [], [], State.IDLE)


def test_a_contactor_that_does_not_close_is_told_within_its_time() -> None:
    cabinet = Cabinet()
    cabinet.jammed = True
    f = motor(cabinet, mute=True)
    f.live("air-raid")
    f.run(T0 + 700 * MS)
    assert f.troubles() == []
    f.run(T0 + 1500 * MS)
    assert f.troubles() == ["contactor did not close"]
    f.run(T0 + 200 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "not sensed: 15 of 15")


def test_without_feedback_a_contactor_that_stayed_open_is_no_finish() -> None:
    cabinet = Cabinet()
    cabinet.jammed = True
    f = motor(cabinet, feedback=False)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "contactor did not close: 3 of 3")


def test_a_closed_contactor_is_no_sound() -> None:
    f = motor(Cabinet(), feedback=False)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (f.end().stage, e.commanded, e.sensed, e.independent, e.sounded) == (Stage.FINISHED, 3, 0, False, False)


def test_a_contactor_that_falls_open_is_told() -> None:
    cabinet = Cabinet()
    f = motor(cabinet)
    f.order("all-clear")
    f.later(T0 + 60 * S, lambda: setattr(cabinet, "jammed", True))
    f.run(T0 + 62 * S)
    assert f.troubles() == ["contactor fell open"]


def test_a_contactor_that_cannot_be_read_is_told_and_is_not_open() -> None:
    cabinet = Cabinet()
    f = motor(cabinet)
    cabinet.wire = False
    f.run(T0 + S)
    assert f.shown[-1].why == "not read: legs.contact"
    f.order("air-raid")
    f.run(T0 + 10 * S)
    assert f.troubles() == ["not read in an on-phase: legs.contact"]
    f.run(T0 + 200 * S)
    assert f.end().stage is Stage.FINISHED


@pytest.mark.parametrize("drive", [BOARD, COILS, HORN], ids=["B", "C", "B' level"])
def test_a_welded_contactor_is_cut_by_the_second_path_and_held(drive: Profile) -> None:
    """It stays closed when its power is taken ahead of it, and that is no failure of the second path."""
    cabinet = Cabinet()
    f = motor(cabinet, drive=drive, feedback=False, second=True)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(cabinet, "welded", True))
    f.run(T0 + 9 * S)
    assert f.state() is State.FAULT, "at once after the last phase, and not when its timetable ends"
    assert f.cut()
    f.run(T0 + 120 * S)
    assert [(n.what, n.detail) for _, n in f.notices] == [
        ("still-on", "contactor did not open"), ("held-off", "contactor did not open")]
    assert f.shown[-1].why == "contactor did not open, held off by the second path"
    assert f.cut()
    offs = [b for t, b in f.begins if b.device == "board" and b.action == "cancel"]
    assert len(offs) <= 4, "what is cut is not turned off for ever"
    f.order(beat(6, 4), id="o-2")
    assert f.end("o-2").stage is Stage.REJECTED
    f.live(beat(6, 4), id="o-3")
    f.run(T0 + 123 * S)
    assert not f.cut()
    f.run(T0 + 140 * S)
    assert f.cut()


def test_a_welded_contactor_between_two_phases_ends_a_drill() -> None:
    cabinet = Cabinet()
    f = motor(cabinet, second=True)
    f.order("pre-alert")
    f.later(T0 + 30 * S, lambda: setattr(cabinet, "welded", True))
    f.run(T0 + 41 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "contactor did not open")
    assert (f.state(), f.cut()) == (State.FAULT, True)


def test_a_welded_contactor_between_two_phases_of_a_warning_is_told() -> None:
    cabinet = Cabinet()
    f = motor(cabinet, second=True)
    f.live("air-raid")
    f.later(T0 + 3 * S, lambda: setattr(cabinet, "welded", True))
    f.run(T0 + 12 * S)
    assert "contactor did not open" in f.troubles()
    assert f.state() is not State.FAULT, "a warning has phases to come"


def test_a_welded_contactor_without_a_second_path_is_a_fault_until_it_opens() -> None:
    cabinet = Cabinet()
    f = motor(cabinet)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(cabinet, "welded", True))
    f.later(T0 + 40 * S, lambda: setattr(cabinet, "welded", False))
    f.run(T0 + 39 * S)
    assert f.state() is State.FAULT
    assert len(f.notice("still-on")) == 1
    f.run(T0 + 45 * S)
    assert f.state() is State.IDLE
    assert len(f.notice("silent-after-all")) == 1


def test_a_contactor_closed_by_hand_is_told_and_not_cut() -> None:
    cabinet = Cabinet()
    f = motor(cabinet, second=True)
    f.order(beat(2, 2))
    f.run(T0 + 60 * S)
    offs = len(f.begins)
    cabinet.welded = True
    f.run(T0 + 63 * S)
    assert [n.detail for _, n in f.notices if n.what == "sounding-without-order"] == ["legs.contact"]
    assert (f.state(), f.shown[-1].why) == (State.SOUNDING, "not ours")
    f.run(T0 + 120 * S)
    assert (len(f.begins), f.cut()) == (offs, False)
    f.stop()
    f.run(T0 + 130 * S)
    assert (f.state(), f.cut()) == (State.FAULT, True)


def test_a_quiet_test_looks_at_the_contactor() -> None:
    cabinet = Cabinet()
    f = motor(cabinet)
    for n, (welded, wire, reason) in enumerate([(False, True, "read only: no quiet test action"),
                                                (False, False, "contactor not read"),
                                                (True, True, "busy")]):
        cabinet.welded, cabinet.wire = welded, wire
        f.run(f.now + 2 * S)
        f.siren_told(QuietTest("s-1", f"q-{n}/s-1", f"q-{n}", "the technician"))
        assert f.end(f"q-{n}").reason == reason


# The three phases.


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_drill_on_two_phases_is_ended(lost: int) -> None:
    cabinet = Cabinet()
    cabinet.lost = {lost}
    f = motor(cabinet, contactor=False, phases=True)
    f.order("all-clear")
    f.run(T0 + 1900 * MS)
    assert f.out.on
    f.run(T0 + 10 * S)
    assert not f.out.on
    (on, off), = f.ons()
    assert 2 * S <= off - on <= 3500 * MS
    why = f"phase loss: L{lost} (legs.current_{lost})"
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, why)
    assert f.troubles() == [why]
    assert [(n.what, n.detail, n.urgent) for _, n in f.notices] == [("phase-loss", why, True)]
    assert f.shown[-1].why == why


def test_a_warning_on_two_phases_goes_on_and_says_so() -> None:
    cabinet = Cabinet()
    f = motor(cabinet, phases=True)
    f.live("air-raid")
    f.later(T0 + 30 * S, lambda: cabinet.lost.add(2))
    f.run(T0 + 200 * S)
    assert f.troubles() == ["phase loss: L2 (legs.current_2); goes on"]
    assert len(f.notice("phase-loss")) == 1
    assert (len(f.ons()), f.end().stage, f.evidence().commanded) == (15, Stage.FINISHED, 15)
    cabinet.lost.clear()
    f.live("demo-air-raid", id="o-2", mode=Mode.LIVE)
    f.run(T0 + 300 * S)
    assert f.shown[-1].why == ""


def test_a_meter_that_does_not_answer_is_no_lost_phase() -> None:
    cabinet = Cabinet()
    cabinet.dark = {2}
    f = motor(cabinet, contactor=False, phases=True)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert f.end().stage is Stage.FINISHED
    assert f.troubles() == ["not read in an on-phase: legs.current_2"]
    assert f.notices == []
    cabinet.lost = {3}
    f.order("pre-alert", id="o-2")
    f.run(T0 + 300 * S)
    assert f.end("o-2").reason == "phase loss: L3 (legs.current_3)", "two meters are enough to know it"


@pytest.mark.parametrize("cause", ["all", "short"])
def test_what_is_no_phase_loss(cause: str) -> None:
    """All three gone is a motor without power, and a dip is a dip."""
    cabinet = Cabinet()
    f = motor(cabinet, contactor=False, phases=True)
    f.order("all-clear")
    f.later(T0 + 10 * S, lambda: cabinet.lost.update({1, 2, 3} if cause == "all" else {1}))
    f.later(T0 + 11500 * MS, lambda: cabinet.lost.clear() if cause == "short" else None)
    f.run(T0 + 100 * S)
    assert f.notice("phase-loss") == []
    assert f.out.on


# Growls.


def test_a_growl_is_a_pulse_and_its_late_feedback_counts() -> None:
    f = Field(section={"spool_up_s": 1.5, "spool_down_s": 4}, lag_us=900 * MS).run(T0)
    f.order(beat(1), growl=True, rank=Rank.TECHNICIAN)
    f.run(T0 + 20 * S)
    assert f.ons() == [(T0, T0 + 1 * S)]
    assert (f.end().stage, f.evidence().sensed, f.notices) == (Stage.FINISHED, 1, [])


def test_a_growl_that_nothing_showed_has_failed() -> None:
    f = Field(mute=True, section={"spool_up_s": 1.5}).run(T0)
    f.order(beat(1), growl=True, rank=Rank.TECHNICIAN)
    f.run(T0 + 20 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "not sensed: 1 of 1")


def test_a_head_growls_by_its_own_action_and_not_twice() -> None:
    data = HEAD.spec.model_dump(by_alias=True, exclude_unset=True)
    data["actions"]["growl"] = [{"set": "tone", "to": "aux", "edge": True}]
    head = Profile("head", "head.toml", ProfileSpec.model_validate(data))
    f = Field(head).run(T0)
    f.order(beat(3), growl=True, rank=Rank.TECHNICIAN)
    f.run(T0 + 10 * S)
    assert [b.action for _, b in f.begins] == ["growl", "cancel"]
    assert f.ons() == [(T0, T0 + 3 * S)]
    f.order(beat(3), id="o-2")
    f.run(T0 + 20 * S)
    assert [b.action for _, b in f.begins][2:] == ["activate", "cancel"]
    f.lost = lambda b: b.action == "growl"
    f.order(beat(3), id="o-3", growl=True, rank=Rank.TECHNICIAN)
    f.run(T0 + 30 * S)
    assert sum(b.action == "growl" for _, b in f.begins) == 2


def test_a_growl_is_refused_while_isolated_and_ended_by_a_stop() -> None:
    f = Field().run(T0)
    f.order(beat(3), growl=True, rank=Rank.TECHNICIAN)
    f.run(T0 + 1 * S)
    f.stop()
    f.run(T0 + 5 * S)
    assert (f.end().stage, f.out.on) == (Stage.STOPPED, False)
    f.isolated = True
    f.run(T0 + 7 * S)
    f.order(beat(3), id="o-2", growl=True, rank=Rank.TECHNICIAN)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "isolated")


def test_growls_count_as_starts() -> None:
    f = Field(section={"starts_per_hour": 2}).run(T0)
    for n in range(3):
        f.order(beat(1.5), id=f"o-{n}", growl=True, rank=Rank.TECHNICIAN)
        f.run(f.now + 10 * S)
    assert [f.end(f"o-{n}").stage for n in range(3)] == [Stage.FINISHED, Stage.FINISHED, Stage.REJECTED]


def test_a_motor_is_not_started_too_often_for_a_drill() -> None:
    f = Field(section={"starts_per_hour": 20}).run(T0)
    f.clock()
    f.order("air-raid", id="o-1")
    f.run(T0 + 200 * S)
    f.order("air-raid", id="o-2")
    assert f.end("o-2").stage is Stage.REJECTED
    assert "starts per hour" in f.end("o-2").reason
    f.order("air-raid", id="o-3", start_us=T0 + 3700 * S)
    f.live("air-raid", id="o-4")
    assert len(f.notice("starts-per-hour")) == 1
    f.run(T0 + 4000 * S)
    assert f.end("o-4").stage is Stage.FINISHED
    assert (f.end("o-3").stage, "starts per hour" in f.end("o-3").reason) == (Stage.FAILED, True)
