"""Ways through the core that ordinary days do not take, and numbers at their edges, each by its own door."""

import base64
import json

import pytest

from controller import ledger, nonce, signers, trust, wire
from controller.agenda import Agenda
from controller.event import Record
from controller.intake import Intake, untimely
from controller.ledger import Entry, Ledger, State
from controller.orders import Orders
from controller.signal import Cell, Signal, Signals, Timeline
from controller.site import Target
from controller.trust import DETAIL_LIMIT, Reason, Rejected
from controller.wall import Wall
from controller.wire import MAX_ORDER_BYTES, Action, Layer, Mode, Stage
from firmware_bridge.machine import MS, S
from tests.ceremony import LI, ZHANG, entry, plain
from tests.controller.bench_orders import HERE, TRUST, WALL, Desk, drill, live, name, said, stop
from tests.controller.bench_siren import T0, Field, beat


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
    for later_us, forgotten in ((24 * 3600 * S, False), (24 * 3600 * S + 1, True)):
        book.remember_stop(first.model_copy(update={
            "issued_wall_us": first.issued_wall_us + later_us, "sirens": ("s-9",)}))
        assert book.stopped(late, "s-1") is not forgotten


def test_what_ended_a_day_ago_is_over_although_its_last_receipt_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "GIVEN_BACK", 0)
    desk = Desk()
    desk.sounds(live())
    (accept,) = accepted(desk)
    over_us = accept.expires_wall_us + accept.limit_us + 24 * 3600 * S
    left = [r for r in desk.records if r.kind != "receipt"]
    for alive_us, is_open in ((over_us, True), (over_us + 1000, False)):
        book = Ledger()
        book.restore([*left, Record("alive", {"at": wire.to_text(alive_us)})])
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


def entered(accept: ledger.Accept, state: State, n: int, **changes: object) -> Entry:
    return Entry.new(accept.model_copy(update={"order": name(n), **changes}), accept.sirens, state)


def believed(data: bytes) -> ledger.Accept:
    """As the gateway understood it."""
    desk = Desk()
    desk.arrives(data)
    (accept,) = accepted(desk)
    return accept


def test_a_full_ledger_forgets_what_is_over_and_can_come_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 3)
    monkeypatch.setattr(ledger, "LIVE_RESERVE", 1)
    book, one = Ledger(), believed(drill())
    expires_us = one.expires_wall_us
    book.add(entered(one, State.GIVEN, 1))
    book.add(entered(one, State.DONE, 2))
    assert book.make_room(False, expires_us + 1)
    book.add(entered(one, State.DONE, 3, expires_wall_us=expires_us + S))
    assert not book.make_room(False, expires_us), "it may come once more"
    assert book.make_room(True, expires_us), "a warning has room yet"
    assert book.make_room(False, expires_us + 1)
    assert [book.get(name(n)) is not None for n in (1, 2, 3)] == [True, False, True], "what is open stays"


def test_a_restart_finds_no_more_orders_than_may_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 2)
    monkeypatch.setattr(ledger, "LIVE_RESERVE", 1)
    one, book = believed(drill()), Ledger()
    late = {"expires_wall_us": 0, "sirens": (), "reason": "", "raw": None}
    book.restore(Record("refuse", one.model_copy(update={"order": name(n), **late}).model_dump(mode="json"))
                 for n in range(9))
    assert len(book) == 3
    assert book.get(name(8)) is not None


def test_what_a_record_of_an_older_version_does_not_say_it_did_not_mean() -> None:
    said_all = believed(stop()).model_dump(mode="json", exclude_none=True)
    unsaid = ("limit_us", "fresh", "stops_live", "everything", "forbids", "growl", "keys", "area")
    old = wire.validate(ledger.Accept, {k: v for k, v in said_all.items() if k not in unsaid})
    assert [getattr(old, k) for k in unsaid] == [0, False, False, False, False, False, (), ""]


def test_the_journal_tells_when_we_were_last_here_by_any_record() -> None:
    desk = Desk()
    desk.sounds(live())
    (accept,) = accepted(desk)
    book = Ledger()
    book.restore(r for r in desk.records if r.kind == "accept")
    assert book.alive_wall_us == wire.to_wall_us(accept.at) == WALL
    said_later = Record("receipt", {"seq": 1, "gateway": "gw-1", "order": name(1), "siren": "s-1", "stage": "sensed",
                                    "at": wire.to_text(WALL + S)})
    book.restore([said_later])
    assert book.alive_wall_us == WALL + S


def test_what_warns_is_live_sounds_and_has_begun() -> None:
    def warns(data: bytes, later_us: int = 0) -> bool:
        book = Ledger()
        book.add(Entry.new(believed(data), ("s-1",), State.GIVEN))
        return book.warns(WALL + later_us)

    assert warns(live())
    assert not warns(drill())
    assert not warns(stop())
    assert not warns(live(start_s=60), 60 * S - 1)
    assert warns(live(start_s=60), 60 * S)


def test_what_is_armed_is_armed_until_its_instant_and_outranked_by_nothing_until_then() -> None:
    one = believed(live(start_s=60))
    assert [one.armed(WALL + 60 * S + us) for us in (-1, 0)] == [True, False]
    book = Ledger()
    book.add(entered(believed(live(n=2)), State.SOUNDING, 2, issued_wall_us=WALL + S))
    assert [book.outranked(one, "s-1", WALL + 60 * S + us) for us in (-1, 0)] == [False, True]


def test_sixty_four_stops_are_remembered_and_drills_give_way_first() -> None:
    one, late = believed(stop()), believed(live())
    book = Ledger()
    for n in range(64):
        book.remember_stop(one.model_copy(update={"sirens": (f"s-{n}",), "stops_live": n > 0}))
    assert all(book.stopped(late, f"s-{n}") for n in range(1, 64))
    test = believed(drill(n=3))
    assert book.stopped(test, "s-0")
    book.remember_stop(one.model_copy(update={"sirens": ("s-64",)}))
    assert not book.stopped(test, "s-0")
    assert all(book.stopped(late, f"s-{n}") for n in range(1, 65))


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
