"""What a siren claims of its sounding: which readings prove a phase, and which prove nothing."""

import pytest

from controller.wire import Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile
from tests.controller.bench_siren import COILS, HEAD, T0, Field, beat


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


@pytest.mark.parametrize(("drive", "feedback"), [(HEAD, "board.activation"), (COILS, "meter.current")])
@pytest.mark.parametrize("until_s", [5, 20], ids=["it ended", "it was superseded"])
def test_the_sound_of_the_next_warning_proves_nothing_of_one_that_was_never_heard(
        drive: Profile, feedback: str, until_s: int) -> None:
    """A head's latched bit rose for the second, and the first had finished, and sounded; a current within the time that
    the first would still have had proved that one as well."""
    above = {"above": 2.0} if feedback == "meter.current" else {}
    f = Field(drive, deaf=lambda b: f.now < T0 + 5400 * MS,
              section={"feedback": [{"point": feedback, **above}]}).run(T0)
    f.clock()
    f.live(beat(until_s), id="o-1")
    f.live(beat(5), id="o-2", start_us=T0 + 5500 * MS)
    f.run(T0 + 60 * S)
    assert (f.evidence("o-1").commanded, f.evidence("o-1").sensed) == (0, 0)
    assert not f.evidence("o-1").sounded
    assert (f.evidence("o-2").sounded, f.end("o-2").stage) == (True, Stage.FINISHED)
