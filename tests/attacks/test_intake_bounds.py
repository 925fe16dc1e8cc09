"""The intake's numbers, held at their edges: how long, how many, how often, and what is forgotten first."""

import dataclasses

import pytest

from bench.attack import DEMO
from bench.office import LI, Desk
from controller import config, trust, wire
from controller.event import Record
from controller.intake import Intake, untimely
from controller.trust import Reason, Unverified
from firmware_bridge.machine import MS, S
from hub.draft import EARLY_US

SIGNALS = config.load(DEMO / "gateway-3.toml").signals
NOW = wire.to_wall_us("2026-09-18T02:00:00.000Z")
DAY_S = 24 * 3600


def peeked(kind: str, **more: object) -> Unverified:
    return trust.peek(getattr(Desk(SIGNALS), kind)(NOW, **more).data)


@pytest.mark.parametrize(("kind", "life_s", "changes"), [
    ("live", 300, {}), ("drill", DAY_S, {}), ("quiet", DAY_S, {}), ("stop", 600, {}), ("stop", 600, {"mode": "drill"}),
])
def test_an_order_may_begin_for_so_long_and_no_longer(kind: str, life_s: int, changes: dict[str, str]) -> None:
    assert untimely(peeked(kind, life_s=life_s, **changes), NOW, 0) is None
    assert untimely(peeked(kind, life_s=life_s + 0.001, **changes), NOW, 0) is Reason.TOO_LONG


def test_it_is_signed_for_sixty_days_and_no_longer() -> None:
    order = peeked("live", in_s=100)
    ahead = dataclasses.replace(order, issued_us=order.expires_us - 60 * DAY_S * S)
    assert untimely(ahead, NOW, 0) is None
    assert untimely(dataclasses.replace(ahead, issued_us=ahead.issued_us - 1), NOW, 0) is Reason.TOO_LONG


def test_the_edges_of_time_belong_to_the_order() -> None:
    order = peeked("live", life_s=240)
    last = order.expires_us
    assert untimely(order, last, 0) is None
    assert untimely(order, last + 1, 0) is Reason.EXPIRED
    assert untimely(order, last + 10 * MS, 10 * MS) is None
    assert untimely(order, last + 10 * MS + 1, 10 * MS) is Reason.EXPIRED
    early = dataclasses.replace(order, not_before_us=NOW - 5 * S)
    assert untimely(early, NOW - 2 * S, 0) is None
    assert untimely(early, NOW - 2 * S - 1, 0) is Reason.NOT_YET
    first = dataclasses.replace(order, not_before_us=NOW)
    assert untimely(first, NOW, 0) is None
    assert untimely(first, NOW - 1, 0) is Reason.NOT_YET
    assert untimely(first, NOW - 1, 1) is None


@pytest.mark.parametrize("kind", ["live", "drill", "quiet", "stop"])
def test_what_the_office_orders_for_now_may_come_to_a_clock_as_slow_as_the_hub_thinks_of(kind: str) -> None:
    assert untimely(peeked(kind), NOW - EARLY_US, 0) is None
    assert untimely(peeked(kind), NOW - EARLY_US - 1, 0) is Reason.NOT_YET


@pytest.mark.parametrize(("changes", "reason"), [
    ({"start_us": NOW}, None), ({"start_us": NOW - 1}, Reason.BAD_WINDOW), ({"start_us": NOW + 240 * S}, None),
    ({"start_us": NOW + 240 * S + 1}, Reason.BAD_WINDOW), ({"not_before_us": NOW + 241 * S}, Reason.BAD_WINDOW),
    ({"issued_us": NOW + 240 * S + 1}, Reason.BAD_WINDOW),
])
def test_the_edges_of_the_window_belong_to_it(changes: dict[str, int], reason: Reason | None) -> None:
    order = dataclasses.replace(peeked("live"), not_before_us=NOW, expires_us=NOW + 240 * S)
    assert untimely(dataclasses.replace(order, **changes), NOW, 0) is reason


def taken(intake: Intake, now_us: int) -> list[str]:
    return [str(order.body.action) for order, _ in intake.take(now_us)]


def test_eight_signatures_a_window_and_half_of_them_for_stops_while_orders_wait() -> None:
    intake, desk = Intake("demo"), Desk(SIGNALS)
    for _ in range(9):
        assert intake.put(0, trust.peek(desk.stop(NOW).data), None, NOW, 0) is None
        assert intake.put(0, trust.peek(desk.drill(NOW).data), None, NOW, 0) is None
    assert taken(intake, S) == ["stop"] * 4 + ["sound"] * 4
    assert intake.deadline == S + 10 * MS
    assert taken(intake, S + 10 * MS - 1) == []
    assert taken(intake, S + 10 * MS) == ["stop"] * 4 + ["sound"] * 4
    # One of each is left; without orders the stops have all of it.
    assert taken(intake, S + 20 * MS) == ["stop", "sound"]
    assert intake.deadline is None
    for _ in range(9):
        intake.put(0, trust.peek(desk.stop(NOW).data), None, NOW, 0)
    assert taken(intake, 2 * S) == ["stop"] * 8


def test_an_order_of_two_signatures_takes_two_of_them() -> None:
    intake, desk = Intake("demo"), Desk(SIGNALS)
    for order in (desk.order(NOW, LI, mode="drill"), *(desk.live(NOW) for _ in range(4))):
        intake.put(0, trust.peek(order.data), None, NOW, 0)
    assert len(taken(intake, S)) == 4
    assert len(taken(intake, 2 * S)) == 1


def test_so_many_wait_and_the_rest_is_told_to_come_again() -> None:
    intake = Intake("demo")
    one = trust.peek(Desk(SIGNALS).drill(NOW).data)
    said = [intake.put(0, one, None, NOW, 0) for _ in range(257)]
    assert said[:256] == [None] * 256
    last = said[256]
    assert last is not None
    assert (last.reason, last.answer) == (Reason.BUSY, False)
    # Stops have a queue of their own.
    assert intake.put(0, trust.peek(Desk(SIGNALS).stop(NOW).data), None, NOW, 0) is None


def test_answers_are_counted_and_come_back_one_a_second() -> None:
    intake = Intake("demo")
    assert sum(intake.may_answer(S, f"{n}") for n in range(300)) == 256
    assert [intake.may_answer(S + 999 * MS, "x"), intake.may_answer(2 * S, "x"), intake.may_answer(2 * S, "y")] == [
        False, True, False]
    assert sum(intake.may_answer(1000 * S, f"{n}") for n in range(300)) == 256


def test_the_oldest_answer_is_forgotten_first() -> None:
    intake = Intake("demo")
    for n in range(256):
        assert intake.may_answer(S, str(n))
    assert all(intake.answered(str(n)) for n in range(256))
    assert intake.may_answer(1000 * S, "more")
    assert [n for n in range(256) if not intake.answered(str(n))] == [0]
    assert intake.answered("more")


def test_after_a_restart_only_refusals_of_whole_orders_are_remembered() -> None:
    intake = Intake("demo")
    rejected = {"stage": "rejected", "siren": ""}
    intake.restore([
        Record("receipt", rejected | {"order": "whole"}),
        Record("receipt", rejected | {"order": "one", "siren": "s-1"}),
        Record("receipt", {"order": "taken", "stage": "received", "siren": ""}),
        Record("event", rejected | {"order": "event"}), Record("refuse", rejected | {"order": "believed"}),
    ])
    assert [name for name in ("whole", "one", "taken", "event", "believed") if intake.answered(name)] == ["whole"]
