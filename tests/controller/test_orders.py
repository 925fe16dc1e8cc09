"""The orders machine on an ordinary day: first the journal, then the sirens and the receipts; and who outranks whom."""

import json

import pytest

from controller import wire
from controller.event import Activate, Append, Durable, QuietTest, Rank, Say
from controller.wire import Evidence, Layer, Mode, Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import LI, MINUTE, SIGNALS, WALL, Desk, drill, live, name, of, order, said

# The main path.


def test_journal_first_then_the_sirens() -> None:
    desk = Desk()
    out = desk.arrives(live())
    assert said(out) == [("", Stage.RECEIVED, "")]
    assert of(Activate, out) == []
    (append,) = of(Append, out)
    assert append.record.kind == "accept"
    assert append.record.body["persons"] == ["Li Wei", "Zhang Min"]
    assert append.record.body["sirens"] == ["s-1", "s-2"]
    assert json.loads(append.record.body["raw"]) == json.loads(live())
    out = desk.do(Durable(append.token), after_s=0.1)
    assert said(out) == [("s-1", Stage.ACCEPTED, ""), ("s-2", Stage.ACCEPTED, "")]
    first = of(Activate, out)[0]
    assert first == Activate(
        "s-1", f"{name(1)}/s-1", name(1), Mode.LIVE, Rank.AIR_RAID, SIGNALS.timeline("air-raid"), None, 190 * S,
        "Li Wei, Zhang Min", False, WALL + 5 * MINUTE, fresh=True)


def test_receipts_carry_the_proof() -> None:
    desk = Desk()
    (one, _) = of(Activate, desk.written(desk.arrives(live())))
    edge_us = desk.now + 123_456
    (receipt,) = of(Say, desk.progress(one, Stage.STARTED, first_edge_us=edge_us, ordered_us=edge_us - 1_500))
    assert receipt.message.first_edge == "2026-09-18T02:00:00.123456Z"
    assert receipt.message.late_ms == 1.5
    evidence = Evidence(phases=15, commanded=15, sensed=15, independent=True)
    (receipt,) = of(Say, desk.progress(one, Stage.FINISHED, evidence=evidence, deviations=("cut",)))
    assert receipt.message.evidence == evidence
    assert receipt.message.mode is Mode.LIVE
    assert receipt.message.deviations == ("cut",)


def test_after_the_last_word_nothing_more_is_said() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.arrives(live())))
    assert said(desk.progress(one, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]
    for stage in (Stage.FAILED, Stage.STOPPED, Stage.SENSED, Stage.TROUBLE, Stage.FINISHED):
        assert desk.progress(one, stage) == []


def test_a_programme_is_armed_ahead_with_its_start() -> None:
    desk = Desk()
    out = desk.written(desk.arrives(drill(sound="henan-918", start_s=3600, not_before=wire.to_text(WALL + 3500 * S),
                                          expires_at=wire.to_text(WALL + 4000 * S), max_duration_s=600)))
    assert {a.start_wall_us for a in of(Activate, out)} == {WALL + 3600 * S}
    assert {a.limit_us for a in of(Activate, out)} == {600 * S}
    assert {a.rank for a in of(Activate, out)} == {Rank.DRILL}


def test_only_the_sirens_that_are_meant() -> None:
    desk = Desk(layers={"s-2": Layer.UNDERGROUND})
    assert [a.siren for a in of(Activate, desk.written(desk.arrives(live(1, layer="underground"))))] == ["s-2"]
    assert [a.siren for a in of(Activate, desk.written(desk.arrives(live(2, sirens=["s-1", "other"]))))] == ["s-1"]


def test_a_quiet_test_tests_quietly() -> None:
    desk = Desk(sirens=("s-1",))
    (test,) = of(QuietTest, desk.written(desk.arrives(order(LI, action="quiet-test", mode="silent", sound=None))))
    assert said(desk.progress(test, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]


# Rank.


@pytest.mark.parametrize(("running", "new", "outranked"), [
    (drill(1), drill(2), True),
    (drill(1), live(2), False),
    (live(1), drill(2), True),
    (live(1), order(LI, n=2, action="quiet-test", mode="silent", sound=None), True),
    (live(1), live(2), False),
    (live(1), live(2, issued_s=-1), True),
    (live(1, sound="disaster-gansu"), live(2), False),
    (live(1), live(2, sound="disaster-gansu"), True),
    (live(1), live(2, sound="all-clear"), False),
    (live(1, sound="disaster-gansu"), live(2, sound="demo-air-raid"), True),
    (live(1), drill(2, sound="demo-918", start_s=60), False),
    (drill(1, sound="demo-918", start_s=60), drill(2), False),
])
def test_what_may_start_while_something_sounds(running: bytes, new: bytes, outranked: bool) -> None:
    desk = Desk(sirens=("s-1",))
    for a in of(Activate, desk.written(desk.arrives(running))):
        if a.start_wall_us is None:
            desk.progress(a, Stage.STARTED)
    out = desk.arrives(new)
    assert (("s-1", Stage.REJECTED, "outranked") in said(out)) is outranked
    assert bool(of(Activate, desk.written(out)) + of(QuietTest, out)) is (not outranked)


def test_two_drills_in_one_instant() -> None:
    desk = Desk(sirens=("s-1",))
    out = desk.arrives(drill(1)) + desk.arrives(drill(2))
    assert said(out)[1:] == [("", Stage.RECEIVED, ""), ("s-1", Stage.REJECTED, "outranked")]


def test_when_it_has_ended_the_next_may_start() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(drill(1)))
    desk.progress(one, Stage.FINISHED)
    assert len(of(Activate, desk.written(desk.arrives(drill(2))))) == 1
