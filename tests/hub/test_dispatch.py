"""An order on its way, with made-up receipts: what is re-sent, what is known in the end, and when it is over."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import wire
from controller.wire import Action, Evidence, Mode, OrderBody, Receipt, Stage, Status
from firmware_bridge.machine import S, Woken
from hub import dispatch, report
from hub.dispatch import Dispatch
from hub.event import Clock, Publish, Told
from hub.track import Ending

WALL = 1_800_000_000 * S
LENGTH = 36 * S
ID = "a" * 32
EXPECTED = {"gw-1": ("s-1", "s-2"), "gw-2": ("s-3",)}


def order(action: Action = Action.SOUND, mode: Mode = Mode.DRILL, start_s: float | None = None,
          expires_s: float = 300) -> OrderBody:
    start = None if start_s is None else wire.to_text(WALL + round(start_s * S))
    sound = wire.Sound(name="air-raid", digest="0" * 32, start_at=start) if action is Action.SOUND else None
    return OrderBody(
        v=1, id=ID, deployment="demo", issuer="hub", issued_at=wire.to_text(WALL), not_before=wire.to_text(WALL),
        expires_at=wire.to_text(WALL + round(expires_s * S)), area="41/01", action=action, mode=mode, sound=sound,
        sequence=1, trust_version=1)


def receipt(gateway: str, siren: str, stage: Stage, seq: int, reason: str = "", sensed: int | None = None,
            mode: Mode | None = Mode.DRILL) -> Told:
    evidence = None if sensed is None else Evidence(phases=5, commanded=5, sensed=sensed, independent=True)
    message = Receipt(seq=seq, gateway=gateway, order=ID, siren=siren, stage=stage, reason=reason, mode=mode,
                      at=wire.to_text(WALL), evidence=evidence,
                      first_edge=wire.to_text(WALL + seq * 1000, 6) if stage is Stage.STARTED else None)
    return Told(gateway, "receipt", message, False, WALL)


def run(machine: Dispatch, until_us: int, now_us: int = 0) -> list[tuple[int, Publish]]:
    """Wake it at its deadlines up to `until_us`."""
    sent = []
    while (deadline := machine.deadline) is not None and deadline <= until_us:
        assert deadline > now_us
        now_us = deadline
        sent += [(now_us, p) for p in machine.handle(now_us, Woken())]
    return sent


def begun(body: OrderBody | None = None, expected: dict[str, tuple[str, ...]] | None = None) -> Dispatch:
    machine = Dispatch(body or order(), b"bytes", EXPECTED if expected is None else expected, LENGTH)
    first = machine.handle(0, Clock(WALL))
    assert first == [Publish(wire.order_topic("41/01", machine.order.action is Action.STOP), b"bytes")]
    return machine


def endings(machine: Dispatch) -> dict[str, Ending]:
    return {s.siren: s.ending for s in machine.sirens()}


def test_it_is_sent_again_to_whom_owes_an_answer_and_to_nobody_else() -> None:
    machine = begun()
    assert [(t, p.topic) for t, p in run(machine, 2 * S)] == [
        (2 * S, wire.gateway_topic("gw-1", False)), (2 * S, wire.gateway_topic("gw-2", False))]
    machine.handle(3 * S, receipt("gw-1", "", Stage.RECEIVED, 1))
    later = run(machine, 300 * S, 3 * S)
    assert {p.topic for _, p in later} == {wire.gateway_topic("gw-2", False)}
    assert {p.payload for _, p in later} == {b"bytes"}
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(later)]
    assert gaps == sorted(gaps)
    assert set(gaps) == {dispatch.RESEND_US, dispatch.RESEND_SLOW_US}
    assert later[-1][0] < 300 * S


def test_nothing_is_sent_once_everybody_has_answered() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-1", "", Stage.RECEIVED, 1))
    machine.handle(S, receipt("gw-2", "", Stage.REJECTED, 1, "unknown-signal"))
    assert run(machine, 3600 * S, S) == []
    assert endings(machine) == {"s-1": Ending.NO_ANSWER, "s-2": Ending.NO_ANSWER, "s-3": Ending.REJECTED}


@pytest.mark.parametrize(("mode", "cutoff_s"), [(Mode.DRILL, 120), (Mode.LIVE, 240)])
def test_a_drill_is_sent_until_its_start_and_a_warning_as_long_as_it_may_begin(mode: Mode, cutoff_s: int) -> None:
    machine = begun(order(mode=mode, start_s=120, expires_s=240))
    last_us = run(machine, 3600 * S)[-1][0]
    assert (cutoff_s - 5) * S <= last_us < cutoff_s * S


def test_a_programme_weeks_ahead_is_not_shouted_but_a_gateway_that_comes_back_has_it_at_once() -> None:
    machine = begun(order(start_s=86_400, expires_s=86_700))
    assert len(run(machine, 3600 * S)) < 2 * (15 + 60)
    back = Told("gw-2", "status", Status(gateway="gw-2", session="x", state="online", at=wire.to_text(WALL)), False, 0)
    assert machine.handle(3600 * S + 1, back) == [Publish(wire.gateway_topic("gw-2", False), b"bytes")]


def test_a_clock_step_moves_the_ordered_start_until_it_has_begun() -> None:
    machine = begun(order(start_s=100, expires_s=400))
    machine.handle(S, receipt("gw-1", "", Stage.RECEIVED, 1))
    machine.handle(S, receipt("gw-2", "", Stage.RECEIVED, 1))
    machine.handle(10 * S, Clock(WALL + 60 * S))
    assert machine.deadline == (50 * S) + LENGTH + dispatch.AFTER_US
    machine.handle(60 * S, Clock(WALL))
    assert machine.deadline == (50 * S) + LENGTH + dispatch.AFTER_US


def test_a_stop_goes_by_the_stop_topic_and_also_where_nobody_is_known() -> None:
    machine = begun(order(Action.STOP), expected={})
    assert [p.topic for _, p in run(machine, 60 * S)] == [wire.order_topic("41/01", True)] * 2
    assert not machine.settled
    run(machine, 600 * S, 60 * S)
    assert machine.over
    assert machine.sirens() == []


def test_it_settles_when_each_siren_has_its_last_word() -> None:
    machine = begun()
    for n, (gateway, siren) in enumerate([("gw-1", "s-1"), ("gw-1", "s-2"), ("gw-2", "s-3")]):
        assert not machine.settled
        machine.handle(40 * S + n, receipt(gateway, siren, Stage.FINISHED, 9, sensed=5))
    assert machine.over
    assert machine.deadline is None
    assert all(s.sounded for s in machine.sirens())


def test_a_gateway_that_answered_late_is_given_its_own_time() -> None:
    machine = begun(order(mode=Mode.LIVE))
    machine.handle(80 * S, receipt("gw-1", "", Stage.RECEIVED, 1))
    run(machine, 150 * S, 80 * S)
    assert not machine.settled
    machine.handle(150 * S, receipt("gw-1", "s-1", Stage.FINISHED, 2, sensed=5))
    run(machine, 400 * S, 150 * S)
    assert endings(machine) == {"s-1": Ending.FINISHED, "s-2": Ending.NO_ANSWER, "s-3": Ending.NO_ANSWER}


def test_a_gateway_of_the_signed_list_that_the_fleet_does_not_know_is_meant() -> None:
    body = order().model_copy(update={"prepared": {"gw-1": "A" * 11, "gw-9": "B" * 11}})
    machine = begun(body, {"gw-1": ("s-1",)})
    machine.handle(S, receipt("gw-1", "s-1", Stage.FINISHED, 1, sensed=5))
    assert machine.gateways() == {"gw-1": "answered", "gw-9": "waiting"}
    assert {p.topic for _, p in run(machine, 60 * S, S)} == {wire.gateway_topic("gw-9", False)}
    assert (machine.settled, machine.silent) == (False, ("gw-9",))
    made = report.of(body, machine.sirens(), silent=machine.silent)
    assert not made.good
    assert "gw-9" in made.text()
    assert made.as_json()["silent"] == ["gw-9"]
    # It was there after all, and its sirens are counted.
    machine.handle(61 * S, receipt("gw-9", "s-9", Stage.FINISHED, 1, sensed=5))
    assert (machine.settled, machine.silent) == (True, ())
    assert report.of(body, machine.sirens(), silent=machine.silent).total.ordered == 2


def test_a_gateway_that_refused_for_a_while_is_given_its_own_time() -> None:
    machine = begun(order(mode=Mode.LIVE))
    machine.handle(S, receipt("gw-1", "", Stage.REJECTED, 1, "no-time"))
    machine.handle(S, receipt("gw-2", "", Stage.RECEIVED, 1))
    machine.handle(40 * S, receipt("gw-2", "s-3", Stage.FINISHED, 2, sensed=5))
    run(machine, 80 * S, 40 * S)
    for seq, siren, stage in ((2, "", Stage.RECEIVED), (3, "s-1", Stage.STARTED), (4, "s-2", Stage.STARTED)):
        machine.handle(80 * S + seq, receipt("gw-1", siren, stage, seq))
    run(machine, 120 * S, 80 * S + 4)
    assert endings(machine) == {"s-1": Ending.PENDING, "s-2": Ending.PENDING, "s-3": Ending.FINISHED}
    for seq, siren in ((5, "s-1"), (6, "s-2")):
        machine.handle(120 * S + seq, receipt("gw-1", siren, Stage.FINISHED, seq, sensed=5))
    assert machine.over
    assert all(s.sounded for s in machine.sirens())


def test_a_late_receipt_is_taken_in_after_it_is_over() -> None:
    machine = begun()
    run(machine, 3600 * S)
    assert machine.over
    machine.handle(3601 * S, receipt("gw-2", "s-3", Stage.FINISHED, 4, sensed=5))
    assert endings(machine)["s-3"] is Ending.FINISHED
    assert machine.over


def test_a_passing_refusal_is_tried_again_and_undone_by_acceptance() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-1", "", Stage.RECEIVED, 1))
    machine.handle(S, receipt("gw-2", "", Stage.REJECTED, 1, "no-time"))
    assert [p.topic for _, p in run(machine, 3 * S, S)] == [wire.gateway_topic("gw-2", False)]
    machine.handle(4 * S, receipt("gw-2", "", Stage.RECEIVED, 2))
    assert run(machine, 40 * S, 4 * S) == []
    machine.handle(41 * S, receipt("gw-2", "s-3", Stage.FINISHED, 3, sensed=5))
    assert endings(machine)["s-3"] is Ending.FINISHED


def test_a_passing_refusal_that_nothing_undid_is_the_last_word() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-2", "", Stage.REJECTED, 1, "no-time"))
    run(machine, 3600 * S, S)
    assert [(s.ending, s.reason) for s in machine.sirens()][-1] == (Ending.REJECTED, "no-time")


def test_a_siren_that_the_fleet_did_not_know_is_followed_too() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-9", "s-9", Stage.STARTED, 3))
    found = next(s for s in machine.sirens() if s.siren == "s-9")
    assert (found.expected, found.ending) == (False, Ending.PENDING)


def test_a_gateway_that_is_not_meant_and_says_so_is_no_news() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-9", "", Stage.REJECTED, 3, "no-target"))
    machine.handle(S, receipt("gw-8", "", Stage.REJECTED, 3, "unknown-key"))
    assert machine.gateways() == {"gw-1": "waiting", "gw-2": "waiting", "gw-8": "rejected(unknown-key)"}


def test_a_receipt_in_another_mode_is_trouble() -> None:
    machine = begun()
    machine.handle(S, receipt("gw-2", "s-3", Stage.STARTED, 3, mode=Mode.LIVE))
    assert machine.sirens()[-1].troubles == ("says mode live, ordered drill",)


# Any order and any repetition of receipts gives the same picture.

_SIRENS = [(g, s) for g, sirens in EXPECTED.items() for s in ("", *sirens)]
_RECEIPTS = st.lists(
    st.tuples(st.sampled_from(_SIRENS), st.sampled_from(list(Stage)), st.sampled_from(["", "no-time", "hot"]),
              st.one_of(st.none(), st.integers(0, 5))),
    min_size=1, max_size=14)


def told(drawn: Sequence[tuple[tuple[str, str], Stage, str, int | None]]) -> list[Told]:
    return [receipt(g, s, stage, n + 1, reason, sensed) for n, ((g, s), stage, reason, sensed) in enumerate(drawn)]


@given(_RECEIPTS, st.integers(0, 2**32))
def test_the_end_is_the_same_in_any_order_and_with_repeats(
    drawn: list[tuple[tuple[str, str], Stage, str, int | None]], seed: int,
) -> None:
    straight, shuffled = begun(), begun()
    events = told(drawn)
    for event in events:
        straight.handle(S, event)
    mixed = [*events, *events[::2]]
    random.Random(seed).shuffle(mixed)
    for event in mixed:
        shuffled.handle(S, event)
    run(straight, 7200 * S, S)
    run(shuffled, 7200 * S, S)
    assert straight.over
    assert shuffled.over
    assert straight.sirens() == shuffled.sirens()
    assert straight.gateways() == shuffled.gateways()


@given(_RECEIPTS)
def test_what_has_ended_stays_ended_and_silence_never_sounded(
    drawn: list[tuple[tuple[str, str], Stage, str, int | None]],
) -> None:
    machine, ended = begun(), {}
    for n, event in enumerate(told(drawn)):
        machine.handle(n + 1, event)
        own = {s for (_, s), stage, reason, _ in drawn[: n + 1] if s and stage.terminal and reason != "no-time"}
        for siren, ending in endings(machine).items():
            if siren in own:
                assert ending not in {Ending.PENDING, Ending.NO_ANSWER}
                assert ended.setdefault(siren, ending) is ending
    run(machine, 7200 * S, len(drawn) + 1)
    proved = {s for (_, s), _, _, sensed in drawn if sensed is not None and sensed >= 4}
    for siren in machine.sirens():
        assert siren.ending is not Ending.PENDING
        assert not siren.sounded or siren.siren in proved
