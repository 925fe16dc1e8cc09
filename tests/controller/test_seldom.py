"""Ways through the core that ordinary days do not take, and numbers at their edges, each by its own door."""

import base64
import json

import pytest

from controller import ledger, nonce, signers, trust, wire
from controller.agenda import Agenda
from controller.event import Record
from controller.intake import Intake, untimely
from controller.ledger import STOP_KEEP_US, Ledger, State
from controller.orders import Orders
from controller.signal import Cell, Signal, Signals, Timeline
from controller.site import Target
from controller.trust import DETAIL_LIMIT, Reason, Rejected
from controller.wall import Wall
from controller.wire import MAX_ORDER_BYTES, Action, Layer, Mode, Stage
from firmware_bridge.machine import MS, S
from tests.ceremony import LI, ZHANG, entry, plain
from tests.controller.bench_siren import T0, Field, beat
from tests.controller.test_orders import HERE, TRUST, WALL, Desk, drill, live, name, said, stop


def accepted(desk: Desk, kind: str = "accept") -> list[ledger.Accept]:
    return [wire.validate(ledger.Accept, dict(r.body)) for r in desk.records if r.kind == kind]


def test_a_timeline_without_sound_is_no_sounding() -> None:
    f = Field().run(T0)
    f.order(Timeline(beat(5).segments, ()))
    assert (f.end().stage, f.end().reason) == (Stage.REJECTED, "nothing in it sounds")


def test_an_edge_that_is_told_when_nothing_sounds_any_more_counts_as_a_start() -> None:
    agenda = Agenda(1)
    assert list(agenda.edge(0, 5 * S)) == []
    assert len(agenda.strain._edges) == 1


def test_a_signal_beyond_45_minutes_is_refused_by_whoever_has_it() -> None:
    def answer(seconds: int) -> list[tuple[str, Stage, str]]:
        long = Signal(zh="长", en="long", family="test", cells=(Cell(on_s=seconds),), repeats=5, source="made up")
        signals = Signals({"long": long}, {})
        desk = Desk()
        desk.orders = Orders("gw-1", "demo", [Target("s-1", HERE, Layer.SURFACE)], signals, TRUST, {}, "one")
        desk.tick(0)
        return said(desk.arrives(live(sound="long", digest=signals.digest("long"))))

    assert answer(540) == [("", Stage.RECEIVED, "")]
    assert answer(541) == [("", Stage.REJECTED, "too-long")]


def test_a_record_that_stands_twice_in_the_journal_is_one_order() -> None:
    desk = Desk()
    desk.sounds(live())
    (record,) = [r for r in desk.records if r.kind == "accept"]
    book = Ledger()
    book.restore([*desk.records, record])
    entry = book.get(name(1))
    assert entry is not None
    assert {p.stage for p in entry.parts.values()} == {Stage.STARTED}, "what is known of it stays"
    assert len(book.open()) == 1


def test_a_stop_is_forgotten_a_day_after_it_was_issued() -> None:
    desk = Desk()
    desk.arrives(stop(n=50))
    desk.arrives(drill(n=51))
    (first, *_), (late, *_) = accepted(desk), accepted(desk, "refuse")
    book = Ledger()
    book.remember_stop(first)
    assert book.stopped(late, "s-1")
    for later_us, forgotten in ((STOP_KEEP_US, False), (STOP_KEEP_US + 1, True)):
        book.remember_stop(first.model_copy(update={
            "issued_wall_us": first.issued_wall_us + later_us, "sirens": ("s-9",)}))
        assert book.stopped(late, "s-1") is not forgotten


def test_what_ended_a_day_ago_is_over_although_its_last_receipt_is_lost() -> None:
    desk = Desk()
    desk.sounds(live())
    (accept,) = accepted(desk)
    over_us = accept.expires_wall_us + accept.limit_us + ledger.OVER_US
    for alive_us, is_open in ((over_us, True), (over_us + 1000, False)):
        book = Ledger()
        book.restore([*desk.records, Record("alive", {"at": wire.to_text(alive_us)})])
        entry = book.get(name(1))
        assert entry is not None
        assert (entry.open, len(book.open())) == (is_open, int(is_open))
        assert {p.state for p in entry.parts.values()} == {State.CUT if is_open else State.DONE}


def test_a_wall_clock_that_nobody_has_told_the_time_shows_the_time_since_boot_exactly() -> None:
    wall = Wall()
    assert wall.us == 0
    wall.now_us = 7 * S
    assert (wall.us, wall.error_us, wall.believed_us) == (7 * S, 0, None)
    assert (wall.text, wall.exact(7 * S)) == (wire.BLANK_INSTANT, None)


# Numbers at their edges.


def peeked(data: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        trust.peek(data)
    return caught.value


def test_an_order_of_just_the_size_is_looked_at() -> None:
    assert peeked(b" " * MAX_ORDER_BYTES).reason is Reason.MALFORMED
    assert peeked(b" " * (MAX_ORDER_BYTES + 1)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("id", ["F" * 32, "f" * 31, 7, None, ["f" * 32]])
def test_what_is_no_id_is_not_told_as_one(id: object) -> None:
    outer = json.loads(live())
    inner = json.dumps({"id": id}).encode()
    outer["payload"] = base64.urlsafe_b64encode(inner).rstrip(b"=").decode()
    rejected = peeked(json.dumps(outer).encode())
    assert (rejected.reason, rejected.order) == (Reason.MALFORMED, None)


def test_a_rejection_says_why_in_bounded_words() -> None:
    assert str(Rejected(Reason.EXPIRED)) == "expired"
    assert str(Rejected(Reason.EXPIRED, None, "late")) == "expired: late"
    assert DETAIL_LIMIT == 200
    assert len(Rejected(Reason.EXPIRED, None, "x" * 999).detail) == 200


def test_whose_ceiling_is_silent_orders_no_drill_and_whose_is_drill_no_warning() -> None:
    def may(ceiling: Mode, mode: Mode, action: Action = Action.SOUND) -> Reason | None:
        able = [s.model_copy(update={"mode": ceiling}) for s in TRUST.keys.values()]
        return trust.permits(able, "41/1", action, mode)

    assert may(Mode.SILENT, Mode.DRILL) is Reason.WRONG_MODE
    assert may(Mode.SILENT, Mode.SILENT, Action.QUIET_TEST) is None
    assert may(Mode.DRILL, Mode.DRILL) is None
    assert may(Mode.DRILL, Mode.LIVE) is Reason.WRONG_MODE
    assert may(Mode.LIVE, Mode.LIVE) is None


def test_whatever_waits_alone_is_looked_at_in_time() -> None:
    for data in (live(), stop()):
        intake = Intake("demo")
        assert intake.deadline is None
        assert intake.put(0, trust.peek(data), None, wire.to_wall_us("2026-09-18T02:00:00.000Z"), 0) is None
        assert intake.deadline == 10 * MS
        assert len(list(intake.take(0))) == 1


def test_a_fresh_intake_has_all_its_signatures() -> None:
    intake, wall_us = Intake("demo"), wire.to_wall_us("2026-09-18T02:00:00.000Z")
    for n in range(1, 6):
        assert intake.put(0, trust.peek(live(n)), None, wall_us, 0) is None
    assert len(list(intake.take(0))) == 4, "of two each"


def test_an_order_may_be_issued_at_the_last_instant_at_which_it_may_begin() -> None:
    at = wire.to_text(WALL)
    last = trust.peek(live(issued_at=at, not_before=at, expires_at=at))
    assert untimely(last, WALL, 0) is None
    assert untimely(trust.peek(live(expires_at=at, issued_s=0.001, not_before=at)), WALL, 0) is Reason.BAD_WINDOW


def test_a_nonce_that_was_not_shown_is_not_worth_a_signature() -> None:
    refusal = Intake("demo", "chance").put(0, trust.peek(live(nonce="0" * 32)), None, WALL, 0)
    assert refusal is not None
    assert (refusal.reason, refusal.detail) == (Reason.STALE_NONCE, "0" * 32)


def test_how_long_a_nonce_lives() -> None:
    assert (nonce.LIFE_US, nonce.EVERY_US) == (300 * S, 60 * S)


def test_a_key_of_no_time_at_all_is_none() -> None:
    at = "2026-09-18T02:00:00.000Z"
    with pytest.raises(signers.BadDocument) as bad:
        signers.parse(json.dumps(plain(keys={"k": entry(LI, "operator") | {"not_before": at, "not_after": at}})), "f")
    assert "not after not_before" in str(bad.value)


def test_a_list_without_a_commander_is_warned_of_and_one_with_him_is_not() -> None:
    def told(*roles: str) -> list[str]:
        keys = {k["kid"]: entry(k, role) for k, role in zip((LI, ZHANG), roles, strict=True)}
        return [w for w in signers.warnings(signers.parse(json.dumps(plain(keys=keys)), "f")) if "commander" in w]

    assert told("operator", "commander") == told("commander", "commander") == []
    assert told("operator", "operator") == ["名单中没有指挥员 / no commander in it: nobody can order a live warning"]
