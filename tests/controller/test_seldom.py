"""Ways through orders and agenda that ordinary days do not take, each by its own door."""

from controller import ledger, wire
from controller.agenda import Agenda
from controller.event import Record
from controller.ledger import STOP_KEEP_US, Ledger, State
from controller.orders import Orders
from controller.signal import Cell, Signal, Signals, Timeline
from controller.site import Target
from controller.wire import Layer, Stage
from firmware_bridge.machine import S
from tests.controller.bench_siren import T0, Field, beat
from tests.controller.test_orders import HERE, TRUST, Desk, drill, live, name, said, stop


def accepted(desk: Desk, kind: str = "accept") -> list[ledger.Accept]:
    return [wire.validate(ledger.Accept, dict(r.body)) for r in desk.records if r.kind == kind]


def test_a_timeline_without_sound_is_no_sounding() -> None:
    f = Field().run(T0)
    f.order(Timeline(beat(5).segments, ()))
    assert (f.end().stage, f.end().reason) == (Stage.REJECTED, "nothing in it sounds")


def test_an_edge_that_is_told_when_nothing_sounds_any_more_counts_as_a_start() -> None:
    agenda = Agenda(1)
    assert list(agenda.edge(0, 5 * S)) == []
    assert len(agenda._starts) == 1


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
