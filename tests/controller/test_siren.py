"""The siren machine against a field of made-up devices on virtual time: no clock, no bus, the real profiles."""

from itertools import count, pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.conduct import State
from controller.event import Clock, Lock, QuietTest, Rank, Record, Trust
from controller.fault import held
from controller.signal import Phase, Segment, Timeline
from controller.wire import Mode, Stage
from firmware_bridge.event import Presence, Priority
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile, ProfileSpec
from firmware_bridge.reading import Quality, Reading, Took
from tests.controller.bench_siren import BOARD, COILS, HEAD, HORN, SIGNALS, T0, WALL, Field, beat, phases

# Golden edges.


@pytest.mark.parametrize("name", ["pre-alert", "air-raid", "all-clear"])
@pytest.mark.parametrize("drive", [BOARD, COILS, HEAD, HORN], ids=["B", "C", "B' trigger", "B' level"])
def test_the_national_three_have_their_published_edges(drive: Profile, name: str) -> None:
    f = Field(drive).run(T0)
    f.clock()
    f.order(name, start_us=T0 + 20 * S)
    f.run(T0 + 240 * S)
    assert f.ons() == phases(name, T0 + 20 * S)
    end = f.end()
    assert (end.stage, end.reason) == (Stage.FINISHED, "")
    assert f.evidence().sounded
    n = len(SIGNALS.timeline(name).phases)
    assert (f.evidence().phases, f.evidence().commanded, f.evidence().sensed) == (n, n, n)
    assert f.stages() == ["started", "sensed", "finished"]
    assert end.first_edge_us == end.ordered_us == T0 + 20 * S
    assert f.notices == []


def test_every_edge_is_handed_over_ahead_with_its_instant() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 + 20 * S)
    f.run(T0 + 240 * S)
    edges = [b for _, b in f.begins if b.action != "renew"]
    ordered = [us for pair in phases("air-raid", T0 + 20 * S) for us in pair]
    assert [b.at_us for b in edges] == ordered
    assert all(t <= (b.at_us or 0) - 1400 * MS for t, b in f.begins if b.action != "renew")
    assert all(b.expires_us is not None for b in edges if b.action == "activate")
    assert len({b.token for _, b in f.begins}) == len(f.begins)


@pytest.mark.parametrize("name", ["pre-alert", "air-raid", "all-clear", "disaster-chongqing", "disaster-qingdao"])
def test_a_lease_is_min_5_s_and_the_rest_of_the_phase(name: str) -> None:
    f = Field().run(T0)
    f.order(name)
    f.run(T0 + 250 * S)
    on = phases(name, T0)
    leases = [(max(t, b.at_us or 0), b.args) for t, b in f.begins if b.args]
    assert leases
    for us, args in leases:
        off = next(end for start, end in on if start <= us < end)
        assert args["lease_s"] == pytest.approx(min(5.0, (off - us) / S))
        assert args["rest_s"] == ceil((off - us) / S)
    assert f.ons() == on


def test_with_the_gateway_dead_the_board_ends_the_phase() -> None:
    f = Field().run(T0)
    f.order("all-clear")
    f.run(T0 + 61 * S)
    f.later(f.now, lambda: setattr(f, "dead", True))
    f.run(T0 + 80 * S)
    assert f.ons()[0][1] <= T0 + 61 * S + 5 * S


def test_an_order_for_now_sounds_at_once() -> None:
    f = Field().run(T0)
    f.live()
    f.run(T0 + 10 * S)
    assert f.ons()[0] == (T0, T0 + 6 * S)


def test_a_head_gets_its_tone_and_the_deviation_is_told() -> None:
    timeline = Timeline((Segment("x", 0, 10 * S),), (Phase(0, 4 * S, "wail"), Phase(6 * S, 9 * S, "hilo")))
    f = Field(HEAD).run(T0)
    f.order(timeline)
    f.run(T0 + 15 * S)
    assert [b.args["tone"] for _, b in f.begins if b.args] == ["wail", "steady"]
    assert f.end().deviations == ("tone hilo sounded as steady",)


def test_phases_that_touch_are_not_parted_by_an_off() -> None:
    timeline = Timeline((Segment("x", 0, 10 * S),), (Phase(0, 4 * S, "wail"), Phase(4 * S, 8 * S, "steady")))
    f = Field(HEAD).run(T0)
    f.order(timeline)
    f.run(T0 + 15 * S)
    assert f.ons() == [(T0, T0 + 8 * S)]
    assert f.evidence().commanded == 2


# Evidence.


def test_without_feedback_finished_claims_nothing() -> None:
    f = Field(feedback=False).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert f.end().stage is Stage.FINISHED
    assert (e.commanded, e.sensed, e.independent, e.sounded) == (3, 0, False, False)


def test_a_relay_that_reads_as_closed_is_no_proof_of_sound() -> None:
    f = Field(mute=True, section={"feedback": [{"point": "board.relay_3"}]}).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert not e.independent
    assert e.sensed == 0


def test_the_head_own_bit_counts_and_is_not_believed_twice() -> None:
    f = Field(HEAD, section={"feedback": [{"point": "board.activation"}]}).run(T0)
    f.order("air-raid")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.sensed, e.sounded) == (15, True)


def test_a_bit_that_is_never_seen_clear_proves_one_phase() -> None:
    f = Field(HEAD, section={"feedback": [{"point": "board.activation"}]}).run(T0)
    f.out.sticky = True
    f.order("air-raid")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.commanded, e.sensed) == (15, 1)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "not sensed: 14 of 15")


def test_a_siren_that_is_driven_and_does_not_sound_is_told_of_and_fails() -> None:
    f = Field(mute=True).run(T0)
    f.order("air-raid")
    f.run(T0 + 30 * S)
    assert [p.reason for p in f.told if p.stage is Stage.TROUBLE] == ["no feedback in an on-phase"]
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.commanded, e.sensed, e.independent) == (15, 0, True)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "not sensed: 15 of 15")


@pytest.mark.parametrize("wrong", ["silent sensor", "doubtful sensor", "late sensor"])
def test_no_reading_no_proof(wrong: str) -> None:
    f = Field(sensor=wrong != "silent sensor", fresh=wrong != "doubtful sensor",
              lag_us=7 * S if wrong == "late sensor" else 0).run(T0)
    f.order(beat(6, 10, 6, 10, 6, 10))
    f.run(T0 + 200 * S)
    assert f.evidence().sensed == 0
    # What could not be read denies nothing: it ends as a siren without feedback does, and says so.
    unread = (Stage.FINISHED, "no feedback in 3 of 3", False)
    read = (Stage.FAILED, "not sensed: 3 of 3", True)
    assert (f.end().stage, f.end().reason, f.evidence().independent) == (read if wrong == "late sensor" else unread)
    assert not f.evidence().sounded


def test_four_of_five_phases_prove_a_sounding_and_fewer_do_not() -> None:
    for good, stage in ((12, Stage.FINISHED), (11, Stage.FAILED)):
        f = Field().run(T0)
        f.order("air-raid")
        f.later(T0 + good * 12 * S - S, lambda f=f: setattr(f, "mute", True))  # type: ignore[misc]
        f.run(T0 + 200 * S)
        assert (f.evidence().sensed, f.end().stage) == (good, stage)


def test_a_motor_that_spools_up_is_not_missed() -> None:
    f = Field(section={"spool_up_s": 3, "spool_down_s": 4}, lag_us=2500 * MS).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert (f.end().stage, f.evidence().sensed) == (Stage.FINISHED, 3)
    assert "trouble" not in f.stages()


def test_a_sensor_stuck_before_the_order_proves_nothing() -> None:
    f = Field(panel=True, mute=True).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert (f.evidence().sensed, f.end().stage) == (0, Stage.FAILED)


def test_sound_whose_command_was_never_answered_still_counts() -> None:
    f = Field(COILS, lost=lambda b: b.action == "activate").run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert (f.evidence().commanded, f.evidence().sensed, f.end().stage) == (0, 3, Stage.FINISHED)
    assert f.end().reason == "commanded 0 of 3: no answer"
    assert f.stages()[:2] == ["trouble", "sensed"]


# What goes wrong on the way.


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


def test_a_welded_relay_is_cut_by_the_second_path_and_held_until_an_order() -> None:
    f = Field(section={"second_off": "cutter.1"}).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.run(T0 + 14 * S)
    assert f.state() == State.FAULT
    assert len(f.notice("still-on")) == 1
    assert "feedback shows sound after the off" in [p.reason for p in f.told]
    f.run(T0 + 60 * S)
    assert f.cut()
    assert not f.audible()
    assert "held off" in f.shown[-1].why
    f.order("demo-air-raid", id="o-2")
    assert f.end("o-2").stage is Stage.REJECTED
    f.live("demo-air-raid", id="o-3")
    f.run(T0 + 63 * S)
    assert f.audible()
    assert not f.cut()
    f.run(T0 + 110 * S)
    assert f.end("o-3").stage is Stage.FINISHED
    assert f.cut()
    assert not f.audible()


def held_off() -> Field:
    f = Field(section={"second_off": "cutter.1"}, isolated=False).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    return f.run(T0 + 60 * S)


def test_a_siren_that_was_held_off_is_held_off_after_a_restart() -> None:
    before = held_off()
    said = [Record("event", {"what": n.what, "subject": n.subject, "detail": n.detail}) for _, n in before.notices]
    assert held(said) == {"s-1": "feedback shows sound after the off"}
    f = Field(section={"second_off": "cutter.1"}, welded=True)
    f.siren.restore((), held(said).get("s-1"))
    f.run(T0)
    assert f.cut()
    assert not f.audible()
    assert (f.state(), "held off" in f.shown[-1].why) == (State.FAULT, True)
    assert f.notice("sounding-without-order") == []
    f.live("demo-air-raid")
    f.run(T0 + 5 * S)
    assert f.audible()
    assert held([*said, *(Record("event", {"what": n.what, "subject": n.subject}) for _, n in f.notices)]) == {}


def test_a_siren_without_a_second_path_any_more_is_not_held_by_it() -> None:
    f = Field()
    f.siren.restore((), "feedback shows sound after the off")
    f.run(T0)
    assert f.state() == State.IDLE


def test_a_siren_that_was_mended_under_lock_out_is_let_go() -> None:
    f = held_off()
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.welded = False
    f.run(f.now + 5 * S)
    assert f.cut(), "while the tag hangs"
    f.siren_told(Lock("s-1", ""))
    f.run(f.now + 5 * S)
    assert (f.cut(), f.state()) == (False, State.IDLE)
    assert [n.detail for _, n in f.notices if n.what == "let-go"] == ["freed by who locked it out"]


def test_a_siren_that_was_freed_and_not_mended_is_told_and_silenced_by_a_stop() -> None:
    f = held_off()
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(f.now + 5 * S)
    f.siren_told(Lock("s-1", ""))
    f.run(f.now + 5 * S)
    assert f.audible()
    assert f.notice("sounding-without-order")
    f.stop()
    f.run(f.now + 10 * S)
    assert (f.cut(), f.audible()) == (True, False)


def test_sound_in_a_silence_is_told_and_the_next_phase_comes() -> None:
    f = Field().run(T0)
    f.order("pre-alert")
    f.later(T0 + 30 * S, lambda: setattr(f, "welded", True))
    f.later(T0 + 50 * S, lambda: setattr(f, "welded", False))
    f.run(T0 + 200 * S)
    assert f.troubles() == ["sound in a silence"]
    assert (f.end().stage, f.notices) == (Stage.FINISHED, [])


def test_a_second_path_that_does_not_cut_is_told() -> None:
    f = Field(section={"second_off": "cutter.1"}, dead_second=True).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.run(T0 + 60 * S)
    assert len(f.notice("second-off-failed")) == 1


def test_a_fault_without_a_second_path_ends_when_it_is_silent() -> None:
    f = Field().run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.later(T0 + 40 * S, lambda: setattr(f, "welded", False))
    f.run(T0 + 39 * S)
    assert f.state() == State.FAULT
    f.run(T0 + 45 * S)
    assert f.state() == State.IDLE
    assert len(f.notice("silent-after-all")) == 1


# Stop.


@pytest.mark.parametrize("drive", [BOARD, COILS, HEAD, HORN], ids=["B", "C", "B' trigger", "B' level"])
@pytest.mark.parametrize("after_ms", [0, 10, 40, 2500, 3000, 4600, 4999, 5000, 5010, 5030, 5100, 8000, 9900, 10999,
                                      11020, 13000, 15600, 16999])
def test_stop_at_any_time(drive: Profile, after_ms: int) -> None:
    f = Field(drive).run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 + 5 * S)
    f.run(T0 + after_ms * MS)
    before = len(f.begins)
    f.stop()
    (us, cancel), = f.begins[before:]
    assert (us, cancel.action, cancel.priority, cancel.at_us) == (f.now, "cancel", Priority.STOP, None)
    f.run(f.now + 2 * S)
    assert not f.out.on
    assert (f.end().stage, f.end().reason) == (Stage.STOPPED, "by the officer")
    assert f.state() == State.IDLE
    f.run(T0 + 240 * S)
    assert not any(b.action in ("activate", "renew") for _, b in f.begins[before:])
    assert f.notices == []


def test_stop_when_idle_writes_the_off_all_the_same() -> None:
    f = Field().run(T0)
    f.stop()
    f.run(T0 + S)
    assert [b.action for _, b in f.begins] == ["cancel"]
    assert f.state() == State.IDLE


def test_a_stop_of_another_order_touches_only_that_one() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", id="o-1")
    f.order("air-raid", id="o-2", start_us=T0 + 1000 * S)
    f.run(T0 + 5 * S)
    f.stop(order="o-2")
    f.run(T0 + 250 * S)
    assert f.end("o-2").stage is Stage.STOPPED
    assert f.end("o-1").stage is Stage.FINISHED
    assert f.ons() == phases("air-raid", T0)


def test_a_stop_that_nobody_confirms_is_told_and_repeated_until_it_is() -> None:
    f = Field(COILS, section={"second_off": "cutter.1"}).run(T0)
    f.order("all-clear")
    f.run(T0 + 10 * S)
    f.dead = True
    f.stop()
    f.run(T0 + 15 * S)
    assert f.end().stage is Stage.STOPPED
    assert f.end().reason.endswith("; unconfirmed")
    assert f.notice("stop-unconfirmed")[0] == T0 + 12 * S
    assert f.notice("still-on")[0] == T0 + 11 * S
    assert f.state() == State.FAULT
    assert not f.audible()
    f.run(T0 + 600 * S)
    offs = [t for t, b in f.begins if b.action == "cancel" and b.device == "board"]
    assert max(b - a for a, b in pairwise(offs)) <= 6 * S
    f.dead = False
    f.siren_told(Presence("board", True))
    f.run(f.now + S)
    assert not f.out.on
    assert not f.cut()
    assert f.state() == State.IDLE


def test_a_device_that_never_says_how_an_off_ended_does_not_stop_the_stop() -> None:
    f = Field(silence_us=10**12).run(T0)
    f.order("all-clear")
    f.run(T0 + 10 * S)
    f.dead = True
    f.stop()
    f.run(T0 + 30 * S)
    assert sum(b.action == "cancel" for _, b in f.begins) >= 4
    assert f.end().stage is Stage.STOPPED


def test_the_limit_ends_it() -> None:
    f = Field().run(T0)
    f.order("all-clear", limit_us=20 * S)
    f.run(T0 + 30 * S)
    assert f.ons() == [(T0, T0 + 20 * S)]
    assert (f.end().stage, f.end().reason) == (Stage.STOPPED, "limit")


# Isolation.


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


# Restart and clock.


def test_a_resumed_warning_sounds_the_rest_of_its_phase() -> None:
    f = Field().run(T0)
    f.clock()
    f.live("pre-alert", start_us=T0 - 20 * S, resumed=True)
    f.run(T0 + 200 * S)
    assert f.ons() == [(T0, T0 + 16 * S), *phases("pre-alert", T0 - 20 * S)[1:]]
    assert f.end().stage is Stage.FINISHED


def test_a_resumed_drill_goes_on_with_its_next_signal() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("jiangsu-918", start_us=T0 - 100 * S, resumed=True)
    f.run(T0 + 1100 * S)
    assert f.ons() == phases("jiangsu-918", T0 - 100 * S)[3:]
    assert (f.evidence().phases, f.evidence().commanded) == (19, 16)
    # 16 of 19 are proved, which is four of five; what was cut is said.
    assert (f.end().stage, f.end().reason) == (Stage.FINISHED, "commanded 16 of 19: cut by restart")


def test_a_drill_of_which_nothing_is_left_fails() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 - 20 * S, resumed=True)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "cut by restart")
    f.live("air-raid", id="o-2", start_us=T0 - 500 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.FAILED, "its time is past")


def test_an_order_that_comes_late_stays_in_step_with_the_city() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 - 3 * S)
    f.run(T0 + 200 * S)
    assert f.ons() == [(T0, T0 + 3 * S), *phases("air-raid", T0 - 3 * S)[1:]]


@pytest.mark.parametrize("step_s", [-3600, -7, 7, 30])
def test_a_clock_step_before_the_first_edge_moves_the_start(step_s: int) -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + 10 * S)
    f.clock(step_s * S)
    f.run(T0 + 4000 * S)
    assert f.ons() == phases("demo-air-raid", T0 + (60 - step_s) * S)


def test_a_clock_step_over_the_start_fails_it() -> None:
    f = Field().run(T0)
    f.clock()
    f.order(start_us=T0 + 60 * S)
    f.clock(3600 * S)
    f.run(T0 + S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "its time is past")


@pytest.mark.parametrize("after_ms", [58_600, 59_900, 65_000, 67_500])
def test_from_the_first_edge_on_no_clock_step_moves_anything(after_ms: int) -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + after_ms * MS)
    f.clock(-1800 * S)
    f.run(f.now + S)
    f.clock(+1800 * S)
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)


def test_a_clock_that_is_not_trusted_does_not_move_what_a_trusted_one_placed() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.clock(+50 * S, Trust.UNTRUSTED)
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)


def test_without_a_clock_an_armed_activation_waits() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + 30 * S)
    assert f.state() == State.ARMED
    f.clock()
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)


# Several activations.


def test_a_drill_of_next_week_blocks_nothing() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", id="week", start_us=T0 + 7 * 86400 * S)
    f.live("demo-air-raid", id="now")
    assert (f.shown[-1].state, f.shown[-1].activation) == ("STARTING", "now/s-1")
    f.run(T0 + 60 * S)
    assert f.end("now").stage is Stage.FINISHED
    assert (f.state(), f.shown[-1].activation, f.shown[-1].mode) == (State.ARMED, "week/s-1", Mode.DRILL)
    f.poll_us = 10**12
    f.run(T0 + 7 * 86400 * S + 60 * S)
    assert f.ons()[3:] == phases("demo-air-raid", T0 + 7 * 86400 * S)


def test_one_after_the_other_without_a_gap() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-all-clear", id="o-1", start_us=T0 + 10 * S)
    f.order("demo-air-raid", id="o-2", start_us=T0 + 190 * S)
    f.run(T0 + 300 * S)
    assert f.end("o-1").stage is Stage.FINISHED
    assert f.end("o-2").stage is Stage.FINISHED
    assert len(f.ons()) == 4
    assert f.ons()[0] == (T0 + 10 * S, T0 + 190 * S)
    assert f.ons()[1][0] <= T0 + 190 * S + 300 * MS


def test_only_so_many_wait() -> None:
    f = Field().run(T0)
    f.clock()
    for n in range(17):
        f.order(id=f"o-{n}", start_us=T0 + (1000 + n * 1000) * S)
    assert f.end("o-16").stage is Stage.REJECTED
    assert all(f.stages(f"o-{n}") == [] for n in range(16))


def test_the_same_activation_again_is_no_second_one() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid")
    f.run(T0 + 3 * S)
    f.order("demo-air-raid")
    f.run(T0 + 100 * S)
    assert f.ons() == phases("demo-air-raid", T0)
    assert f.stages() == ["started", "sensed", "finished"]


@pytest.mark.parametrize(("rank", "reason"), [(Rank.AIR_RAID, "outranked"), (Rank.DISASTER, "superseded")])
def test_what_outranks_takes_the_siren(rank: Rank, reason: str) -> None:
    f = Field().run(T0)
    f.live("all-clear", id="o-1", rank=Rank.DISASTER)
    f.run(T0 + 10 * S)
    f.live("demo-air-raid", id="o-2", rank=rank)
    f.run(T0 + 100 * S)
    assert (f.end("o-1").stage, f.end("o-1").reason) == (Stage.STOPPED, reason)
    assert f.end("o-2").stage is Stage.FINISHED
    assert f.ons()[0] == (T0, T0 + 10 * S)
    assert f.ons()[1][0] <= T0 + 10 * S + 500 * MS
    # The lease is counted in tenths, rounded down.
    assert T0 + 15_900 * MS <= f.ons()[1][1] <= T0 + 16 * S


def test_what_outranks_takes_the_siren_of_a_dead_line_too() -> None:
    f = Field().run(T0)
    f.order("all-clear", id="o-1")
    f.run(T0 + 10 * S)
    f.deaf = lambda b: b.action == "cancel"
    f.live("demo-air-raid", id="o-2")
    f.run(T0 + 13 * S)
    assert [t for t, b in f.writes if b.action == "activate"][-1] <= T0 + 11 * S
    assert f.end("o-1").stage is Stage.STOPPED


def test_what_is_lower_is_refused_now_and_fails_later() -> None:
    f = Field().run(T0)
    f.clock()
    f.live("all-clear", id="o-1")
    f.order("demo-air-raid", id="o-2")
    f.order("demo-air-raid", id="o-3", start_us=T0 + 60 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "outranked")
    assert f.stages("o-3") == []
    f.run(T0 + 61 * S)
    assert (f.end("o-3").stage, f.end("o-3").reason) == (Stage.FAILED, "outranked")
    f.run(T0 + 200 * S)
    assert f.ons() == phases("all-clear", T0)


def test_two_drills_at_once_are_one() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid", id="o-1")
    f.run(T0 + S)
    f.order("demo-air-raid", id="o-2")
    assert f.end("o-2").reason == "outranked"


def test_a_programme_that_outranks_ends_the_drill_just_before_its_first_edge() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("all-clear", id="o-1")
    f.live("demo-air-raid", id="o-2", start_us=T0 + 60 * S)
    f.run(T0 + 100 * S)
    assert f.ons() == [(T0, T0 + 59_500 * MS), *phases("demo-air-raid", T0 + 60 * S)]


# What sounds without our order.


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


def test_an_output_that_does_not_obey_is_cut_by_the_second_path() -> None:
    f = Field(COILS, section={"second_off": "cutter.1"}).run(T0)
    f.deaf_output = True
    f.out.on = True
    f.run(T0 + 10 * S)
    assert f.state() == State.FAULT
    assert not f.audible()
    assert len(f.notice("still-on")) == 1


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


# Motor and quiet test.


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


def test_a_quiet_test_by_the_head_itself() -> None:
    f = Field(HEAD).run(T0)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    f.run(T0 + S)
    assert [b.action for _, b in f.begins] == ["quiet_test"]
    assert (f.end("q").stage, f.end("q").mode, f.evidence("q").phases) == (Stage.FINISHED, Mode.SILENT, 0)
    f.deaf = lambda b: True
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    f.run(T0 + 3 * S)
    assert (f.end("r").stage, f.end("r").reason) == (Stage.FAILED, "no answer")
    assert f.edges == []


def test_a_quiet_test_of_a_board_only_reads() -> None:
    f = Field(BOARD).run(T0)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    assert (f.end("q").stage, f.end("q").reason) == (Stage.FINISHED, "read only: no quiet test action")
    f.dead = True
    f.run(T0 + 20 * S)
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    assert f.end("r").stage is Stage.FAILED
    assert f.begins == []


def test_a_quiet_test_gives_way() -> None:
    f = Field(HEAD).run(T0)
    f.order("demo-air-raid", id="o-1")
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    assert (f.end("q").stage, f.end("q").reason) == (Stage.REJECTED, "busy")
    f.run(T0 + 100 * S)
    f.deaf = lambda b: b.action == "quiet_test"
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    f.live("demo-air-raid", id="o-2")
    f.run(T0 + 103 * S)
    assert (f.end("r").stage, f.end("r").reason) == (Stage.FAILED, "a sounding comes first")
    assert f.out.on
    f.stop()
    f.run(T0 + 110 * S)
    f.siren_told(QuietTest("s-1", "t/s-1", "t", "the technician"))
    f.stop()
    assert f.end("t").stage is Stage.STOPPED
    f.isolated = True
    f.run(T0 + 111 * S)
    f.siren_told(QuietTest("s-1", "u/s-1", "u", "the technician"))
    assert (f.end("u").stage, f.end("u").reason) == (Stage.REJECTED, "isolated")


def test_a_board_with_a_watchdog_is_fed_through_the_phase() -> None:
    data = COILS.spec.model_dump(by_alias=True, exclude_unset=True)
    data["output"] = {"class": "A", "state": "relay", "watchdog_s": 5}
    data["actions"]["renew"] = [{"set": "relay", "to": True}]
    f = Field(Profile("board", "board.toml", ProfileSpec.model_validate(data))).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert f.ons() == phases("pre-alert", T0)
    fed = [t for t, b in f.begins if b.action in ("activate", "renew") and t < T0 + 36 * S]
    assert max(b - a for a, b in pairwise([*fed, T0 + 36 * S])) < 5 * S


# Whatever happens.


@st.composite
def troubles(draw: st.DrawFn) -> tuple[Any, ...]:
    drive = draw(st.sampled_from([BOARD, COILS, HEAD, HORN]))
    cells = draw(st.lists(st.integers(2, 90), min_size=2, max_size=12))
    fails = draw(st.sets(st.integers(0, 40), max_size=25))
    losses = draw(st.sets(st.integers(0, 40), max_size=10))
    events = draw(st.lists(st.tuples(
        st.integers(0, 60_000),
        st.sampled_from(["stop", "stop-1", "order", "live", "late", "clock", "isolate", "free", "dead", "alive", "weld",
                         "unweld", "panel", "quiet", "off", "on", "jam"])), max_size=10))
    return drive, [c / 10 for c in cells], fails, losses, sorted(events), draw(st.booleans()), draw(st.booleans())


def wired(jammed: list[bool]) -> dict[str, Any]:
    """A contactor, three phases and an ear; while `jammed` holds True the contactor stays open and its leg is dark."""
    def closed(f: Field) -> bool:
        return f.welded or (f.out.on and not jammed[-1])

    points = {"legs.contact": closed, "ear.level": lambda f: 104.0 if f.loud else 50.0,
              "legs.a": lambda f: 8.0 * closed(f), "legs.b": lambda f: 8.0 * (f.out.on and not jammed[-1]),
              "legs.c": lambda f: None if jammed[-1] else 8.0 * closed(f)}
    section = {"contactor": "legs.contact", "phase_currents": ["legs.a", "legs.b", "legs.c"], "phase_above": 2.0,
               "feedback": [{"point": "meter.current", "above": 2.0},
                            {"point": "ear.level", "above": 85, "proves": "heard"}]}
    return {"section": section, "points": points}


def stays_silent(f: Field, since: int | None) -> None:
    """A stop of everything is the last word until somebody asks again."""
    begun = [] if since is None else f.begins[since:]
    assert [b for _, b in begun if b.device == "board" and b.action in ("activate", "renew")] == []


@settings(max_examples=150, deadline=None)
@given(troubles())
def test_whatever_happens(case: tuple[Any, ...]) -> None:
    drive, cells, fails, losses, events, second, motor = case
    seen = count()
    heard = count()
    jammed = [False]
    wires = wired(jammed) if motor else {"section": {}}
    wires["section"] |= {"second_off": "cutter.1"} if second else {}
    f = Field(drive, deaf=lambda b: next(heard) in fails, lost=lambda b: next(seen) in losses, **wires).run(T0)
    f.clock()
    timeline = beat(*cells)
    f.order(timeline, id="o-0", start_us=T0 + 3 * S)
    asked = {"o-0"}
    silent_from: int | None = None
    for n, (after_ms, what) in enumerate(events, 1):
        f.run(max(f.now, T0 + after_ms * MS))
        match what:
            case "stop" | "stop-1":
                if what == "stop" and silent_from is None:
                    silent_from = len(f.begins)
                f.stop(None if what == "stop" else "o-1")
            case "order" | "live" | "late":
                asked.add(f"o-{n}")
                stays_silent(f, silent_from)
                silent_from = None
                start = f.now + {"order": 4 * S, "live": 0, "late": -S}[what]
                f.order(timeline, id=f"o-{n}", mode=Mode.LIVE if what == "live" else Mode.DRILL,
                        rank=Rank.FLOOD if what == "live" else Rank.DRILL, start_us=start)
            case "clock":
                f.clock((after_ms % 7 - 3) * S)
            case "isolate" | "free":
                f.isolated = what == "isolate"
            case "dead" | "alive":
                f.dead = what == "dead"
            case "weld" | "unweld":
                f.welded = what == "weld"
            case "panel":
                f.panel = not f.panel
            case "off" | "on":
                f.out.on = what == "on"
            case "jam":
                jammed.append(not jammed[-1])
            case "quiet":
                asked.add(f"q-{n}")
                f.siren_told(QuietTest("s-1", f"q-{n}/s-1", f"q-{n}", "the technician"))
    f.run(f.now + 300 * S)
    # ANSWERED: one end each.
    for id in asked:
        assert sum(p.stage.terminal for p in f.told if p.order == id) == 1, (id, f.told)
        assert f.stages(id)[-1] == f.end(id).stage.value
    stays_silent(f, silent_from)
    # BOUNDED-ON: no lease is longer than its phase, and none than five seconds.
    spans = [c * S for c in cells[::2]]
    for _, b in f.begins:
        if b.args and b.device == "board":
            lease, rest = float(b.args["lease_s"]), float(b.args["rest_s"])
            assert 0 < lease <= min(5.0, rest) + 1e-9
            assert rest <= ceil(max(spans) / S)
    # HONEST: nothing is called sounded that did not sound in our phases.
    for p in f.told:
        if p.stage is Stage.FINISHED and p.evidence is not None and p.evidence.phases:
            assert p.evidence.sounded or p.evidence.commanded == p.evidence.phases
