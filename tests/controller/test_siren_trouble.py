"""A siren's trouble on the way: what is lost, late, dead or not read, and how the next phase sounds all the same."""

from controller.wire import Stage
from firmware_bridge.event import Presence, Priority
from firmware_bridge.machine import MS, S
from tests.controller.bench_siren import COILS, HEAD, T0, Field, phases


def test_a_dead_drive_is_told_at_once_and_every_phase_is_tried() -> None:
    f = Field(dead=True).run(T0)
    f.live("air-raid")
    f.run(T0 + 3 * S)
    assert f.stages() == ["trouble"]
    f.run(T0 + 200 * S)
    assert (f.end().stage, f.end().reason[:30]) == (Stage.FAILED, "commanded 0 of 15: no answer; ")
    tried = {(b.at_us or t) for t, b in f.begins if b.action == "activate"}
    assert {on for on, _ in phases("air-raid", T0)} <= tried


def test_a_lost_activate_is_tried_again_within_the_phase_with_its_rest() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("all-clear", start_us=T0 + 5 * S)
    f.deaf = lambda b: b.action == "activate" and b.at_us is not None
    f.run(T0 + 200 * S)
    ons = [(t, b) for t, b in f.begins if b.action == "activate"]
    assert len(ons) == 2
    again, begin = ons[1]
    assert again == T0 + 5 * S + f.silence_us
    assert begin.args is not None
    assert (begin.args["lease_s"], begin.args["rest_s"]) == (5.0, 180)
    (on, off), = f.ons()
    assert on == again
    assert T0 + 184_900 * MS <= off <= T0 + 185 * S
    assert [p.reason for p in f.told if p.stage is Stage.TROUBLE] == ["no answer"]
    assert f.end().stage is Stage.FINISHED


def test_a_unit_that_comes_back_in_a_long_phase_sounds_the_rest_of_it() -> None:
    f = Field(dead=True).run(T0)
    f.live("all-clear")
    f.later(T0 + 40 * S, lambda: setattr(f, "dead", False))
    f.run(T0 + 200 * S)
    (on, off), = f.ons()
    assert T0 + 40 * S <= on <= T0 + 44 * S
    assert off == T0 + 180 * S


def test_one_lost_renewal_is_not_heard() -> None:
    lost = iter([True])
    f = Field(deaf=lambda b: b.action == "renew" and next(lost, False)).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert f.ons() == phases("pre-alert", T0)


def test_a_trigger_whose_answer_was_lost_is_not_sent_again_blindly() -> None:
    f = Field(HEAD, lost=lambda b: b.action == "activate").run(T0)
    f.order("air-raid")
    f.run(T0 + 200 * S)
    assert sum(b.action == "activate" for _, b in f.writes) == 15
    assert f.ons() == phases("air-raid", T0)


def test_a_trigger_that_was_not_heard_is_sent_again_after_a_read_back() -> None:
    first = iter([True])
    f = Field(HEAD, deaf=lambda b: b.action == "activate" and next(first, False)).run(T0)
    f.order("all-clear")
    f.run(T0 + 200 * S)
    on, off = f.ons()[0]
    assert T0 + f.silence_us < on <= T0 + f.silence_us + f.poll_us
    assert off == T0 + 180 * S


def test_a_latching_board_that_reboots_is_switched_on_again() -> None:
    f = Field(COILS).run(T0)
    f.order("all-clear")
    f.later(T0 + 60 * S, lambda: setattr(f.out, "on", False))
    f.run(T0 + 200 * S)
    assert [p.reason for p in f.told if p.stage is Stage.TROUBLE] == ["the output fell back"]
    assert f.ons()[1][0] <= T0 + 63 * S
    assert f.ons()[1][1] == T0 + 180 * S


def test_an_off_that_fails_between_phases_is_repeated_as_a_stop_and_the_next_phase_sounds() -> None:
    f = Field(COILS, deaf=lambda b: b.action == "cancel" and b.priority is Priority.ORDER).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert [on for on, _ in f.ons()] == [on for on, _ in phases("pre-alert", T0)]
    assert all(off <= end + 1500 * MS for (_, off), (_, end) in zip(f.ons(), phases("pre-alert", T0), strict=True))
    assert "off: no answer" in [p.reason for p in f.told]


def test_sound_in_a_silence_is_told_and_the_next_phase_comes() -> None:
    f = Field().run(T0)
    f.order("pre-alert")
    f.later(T0 + 30 * S, lambda: setattr(f, "welded", True))
    f.later(T0 + 50 * S, lambda: setattr(f, "welded", False))
    f.run(T0 + 200 * S)
    assert f.troubles() == ["sound in a silence"]
    assert (f.end().stage, f.notices) == (Stage.FINISHED, [])


def test_until_it_is_read_a_siren_says_so() -> None:
    f = Field(dead=True, polled=False)
    assert (f.shown[-1].state, f.known()) == ("UNKNOWN", False)
    assert "not read yet" in f.shown[-1].why
    f.poll()
    assert not f.known()
    f.poll()
    assert f.known()
    assert "unreadable" in f.shown[-1].why
    f = Field(polled=False)
    f.poll()
    assert f.known()
    f = Field(dead=True, polled=False)
    f.siren_told(Presence("board", False))
    assert f.known()
    assert "drive silent" in f.shown[-1].why
