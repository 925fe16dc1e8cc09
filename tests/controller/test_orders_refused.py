"""Orders that are refused: for which reason, told how often, and what is not refused though it is odd."""

import pytest

from controller import wire
from controller.event import Activate, Clock, Degraded, Notice, Offered, Record, SayAgain, Trust
from controller.intake import ANSWERS
from controller.trust import Reason
from controller.wire import Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import LI, WALL, WANG, ZHANG, Desk, drill, live, name, of, order, refused, said, stop


@pytest.mark.parametrize(("data", "reason"), [
    (b"{}", None),
    (b"x" * 20_000, None),
    (order(LI, ZHANG, deployment="city"), Reason.WRONG_DEPLOYMENT),
    (order(LI, WANG), Reason.TOO_FEW_PERSONS),
    (order(LI), Reason.TOO_FEW_PERSONS),
    (order(LI, ZHANG, area="42"), Reason.WRONG_AREA),
    (live(issued_s=-301), Reason.EXPIRED),
    (live(issued_s=60), Reason.NOT_YET),
    (live(not_before=wire.to_text(WALL + 60 * S)), Reason.NOT_YET),
    (live(expires_at=wire.to_text(WALL + 301 * S)), Reason.TOO_LONG),
    (drill(expires_at=wire.to_text(WALL + 100_000 * S)), Reason.TOO_LONG),
    (live(expires_at=wire.to_text(WALL - 1 * S)), Reason.BAD_WINDOW),
    (live(start_s=-1), Reason.BAD_WINDOW),
    (live(start_s=301), Reason.BAD_WINDOW),
    (live(sound="no-such"), Reason.UNKNOWN_SIGNAL),
    (live(digest="0" * 32), Reason.SIGNAL_MISMATCH),
    (live(area="41/2"), Reason.NO_TARGET),
    (live(sirens=["s-9"]), Reason.NO_TARGET),
    (live(layer="underground"), Reason.NO_TARGET),
    (drill(trust_version=2), Reason.STALE_TRUST),
])
def test_an_order_that_is_refused_as_a_whole(data: bytes, reason: Reason | None) -> None:
    desk = Desk()
    out = desk.arrives(data)
    assert of(Activate, out + desk.written(out)) == []
    if reason is None:
        assert said(out) == []
        assert [n.what for n in of(Notice, out)] == ["order-refused"]
    else:
        assert refused(out) == reason


def test_a_retained_order_is_refused_and_reported() -> None:
    out = Desk().arrives(live(), retained=True)
    assert [(n.what, n.subject) for n in of(Notice, out)] == [("order-refused", name(1))]
    assert said(out) == []
    assert Desk().arrives(b"") == []


def test_a_warning_under_a_newer_trust_list_sounds() -> None:
    desk = Desk()
    out = desk.arrives(live(trust_version=2))
    assert [n.what for n in of(Notice, out)] == ["trust-behind"]
    assert len(of(Activate, desk.written(out))) == 2


def test_the_error_of_our_clock_is_the_orders_benefit() -> None:
    desk = Desk()
    desk.do(Clock(WALL, 3 * S, Trust.TRUSTED))
    assert said(desk.arrives(live(1, issued_s=-302)))[0][1] is Stage.RECEIVED
    assert said(desk.arrives(live(2, issued_s=4)))[0][1] is Stage.RECEIVED
    assert refused(desk.arrives(live(3, issued_s=-304))) == "expired"
    assert refused(desk.arrives(live(4, issued_s=6))) == "not-yet"


def test_without_a_believable_clock_only_stops() -> None:
    desk = Desk(clock=False)
    out = desk.arrives(live(1))
    assert refused(out) == "no-time"
    assert desk.tick(0, level=Trust.UNTRUSTED)[0] == Degraded("NO-TIME", True, "the clock is not to be believed")
    assert refused(desk.arrives(drill(2))) == "no-time"
    assert said(desk.arrives(stop()))[0] == ("", Stage.RECEIVED, "")
    lifted, dated, offered = desk.tick(0, level=Trust.ASSUMED)
    assert (lifted, offered) == (Degraded("NO-TIME", False), Offered(None))
    assert dated.record == Record("dated", {"order": name(99)})
    assert len(of(Activate, desk.written(desk.arrives(live(3, issued_s=1))))) == 2


def test_a_refusal_is_said_once_and_then_again() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, WANG))) == "too-few-persons"
    assert of(SayAgain, desk.arrives(order(LI, WANG), after_s=0.1)) == [SayAgain(name(1))]


def test_a_refusal_is_said_once_through_a_restart() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, WANG))) == "too-few-persons"
    after = Desk(records=desk.records, boot="two")
    assert of(SayAgain, out := after.arrives(order(LI, WANG))) == [SayAgain(name(1))]
    assert said(out) == []


def test_a_flood_of_refusals_is_not_answered_for_ever() -> None:
    desk = Desk()
    out = [e for n in range(ANSWERS + 100) for e in desk.arrives(live(n, deployment="city"))]
    assert len(said(out)) == ANSWERS
