"""The ledger is bounded: what it may forget, and what stays."""

import pytest

from controller import ledger, wire
from controller.event import Activate, Rank, Stop
from controller.ledger import Accept, Ledger
from controller.wire import Mode, Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import WALL, Desk, drill, live, name, of, refused, said, stop


def test_the_ledger_forgets_only_what_cannot_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 3)
    monkeypatch.setattr(ledger, "LIVE_RESERVE", 1)
    desk = Desk(sirens=("s-1",))
    for n in range(1, 4):
        (one,) = of(Activate, desk.sounds(drill(n)))
        desk.progress(one, Stage.FINISHED)
    assert refused(desk.arrives(drill(4), after_s=1)) == "busy"
    assert len(of(Activate, desk.written(desk.arrives(live(5))))) == 1
    assert refused(desk.arrives(live(6), after_s=1)) == "busy"
    assert of(Stop, desk.arrives(stop()))
    # Five minutes later the first drills have expired: their ids may go, for they cannot be believed again.
    desk.tick(301, after_s=301)
    assert said(desk.arrives(drill(7, expires_at=wire.to_text(WALL + 400 * S))))[0] == ("", Stage.RECEIVED, "")


def test_stops_are_bounded_and_the_graver_ones_stay() -> None:
    book = Ledger()

    def one(n: int, grave: bool) -> Accept:
        return Accept(order=name(n), digest=name(n), action=wire.Action.STOP, mode=Mode.LIVE, rank=Rank.DRILL, by="x",
                      persons=("x",), keys=("k",), door="mqtt", at=wire.to_text(WALL), issued_wall_us=WALL + n,
                      scheduled=False, expires_wall_us=WALL, start_wall_us=WALL, sirens=("s-1",),
                      stops=name(n), stops_live=grave)

    book.remember_stop(one(0, True))
    for n in range(1, 200):
        book.remember_stop(one(n, False))
    warning = one(0, False).model_copy(update={"mode": Mode.LIVE, "issued_wall_us": WALL})
    assert book.stopped(warning, "s-1")
    assert not book.stopped(warning.model_copy(update={"order": name(1)}), "s-1")
    assert len(book._stops) <= ledger.STOPS_LIMIT
