"""Orders and the disk: what waits for it, what goes on without it, and what a lost journal means."""

from typing import Any

import pytest

from controller import pulse, wire
from controller.event import Activate, Append, AppendFailed, Degraded, Durable, Notice, SayAgain, Stop, Trust
from controller.ledger import Ledger
from controller.orders import DRILL_PATIENCE_US, LIVE_PATIENCE_US
from controller.wire import Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import MINUTE, WALL, Desk, drill, live, name, of, refused, said, stop


def test_a_live_order_goes_on_without_the_disk() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    assert desk.orders.deadline == desk.now + LIVE_PATIENCE_US
    assert of(Activate, desk.do(Woken(), after_s=0.199)) == []
    out = desk.do(Woken(), after_s=0.001)
    assert Degraded("NO-JOURNAL", True, "no answer from the journal") in out
    assert len(of(Activate, out)) == 2
    late = desk.do(Durable(append.token), after_s=1)
    assert late == [Degraded("NO-JOURNAL", False)]


def test_a_disk_that_refuses_is_not_waited_for() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    out = desk.do(AppendFailed(append.token, "disk full"))
    assert Degraded("NO-JOURNAL", True, "disk full") in out
    assert len(of(Activate, out)) == 2


def test_no_journal_ends_by_itself_when_the_disk_takes_records_again() -> None:
    """No other order need come: the pulse tries the disk."""
    desk = Desk()
    (append,) = of(Append, desk.arrives(drill()))
    desk.do(AppendFailed(append.token, "disk full"))
    for _ in range(2):
        (beat,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
        assert beat.record.kind == "alive"
        assert of(Degraded, desk.do(AppendFailed(beat.token, "disk full"))) == []
    (beat,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
    assert of(Degraded, desk.do(Durable(beat.token))) == [Degraded("NO-JOURNAL", False)]


@pytest.mark.parametrize("clock", [True, False])
def test_a_disk_that_takes_records_again_is_found_with_no_order_to_write(clock: bool) -> None:
    """Found by a full disk: NO-JOURNAL stayed on until the next order, though there was room for hours."""
    desk = Desk(sirens=("s-1",))
    out = desk.arrives(drill())
    (begun,) = of(Degraded, desk.do(AppendFailed(of(Append, out)[0].token, "disk full")))
    assert begun.on
    if not clock:
        desk.tick(1, level=Trust.UNTRUSTED)
    asked = 0
    for n in range(3):
        (again,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
        assert again.record.kind == "alive"
        assert ("at" in again.record.body) is clock
        asked += 1
        if n < 2:
            assert of(Degraded, desk.do(AppendFailed(again.token, "disk full"))) == []
    (ended,) = of(Degraded, desk.do(Durable(again.token)))
    assert (ended.mode, ended.on, asked) == ("NO-JOURNAL", False, 3)
    assert of(Append, desk.do(Woken(), after_s=100)) == []
    Ledger().restore(desk.records)


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_drill_needs_the_disk(how: str) -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(drill()))
    if how == "refused":
        out = desk.do(AppendFailed(append.token, "disk full"))
    else:
        out = desk.do(Woken(), after_s=DRILL_PATIENCE_US / S)
    assert said(out) == [("s-1", Stage.REJECTED, "no-journal"), ("s-2", Stage.REJECTED, "no-journal")]
    assert of(Activate, out + desk.do(Durable(append.token))) == []


def test_one_word_of_the_disk_is_for_all_before_it() -> None:
    desk = Desk()
    desk.arrives(live(1, sirens=["s-1"]))
    (second,) = of(Append, desk.arrives(live(2, sirens=["s-2"])))
    assert [a.order for a in of(Activate, desk.do(Durable(second.token)))] == [name(1), name(2)]


def armed(**changes: Any) -> dict[str, Any]:
    """Signed ten minutes ago for a start that is to come."""
    return {"issued_s": -600, "not_before": wire.to_text(WALL), "expires_at": wire.to_text(WALL + 5 * MINUTE)} | changes


def test_without_the_disk_an_old_order_is_not_carried_out() -> None:
    # What has a start of its own sounds by that, however often it comes.
    for data, goes in ((live(issued_s=-119), True), (live(issued_s=-122), False), (live(**armed(start_s=5)), True)):
        desk = Desk()
        out = [e for a in of(Append, desk.arrives(data)) for e in desk.do(AppendFailed(a.token, "disk full"))]
        assert len(of(Activate, out)) == (2 if goes else 0)
        ends = [] if goes else [(s, Stage.REJECTED, "no-journal") for s in ("s-1", "s-2")]
        assert [s for s in said(out) if s[1] is Stage.REJECTED] == ends
        assert of(Degraded, out) == [Degraded("NO-JOURNAL", True, "disk full")]


def test_a_lost_journal_is_told_and_what_was_issued_before_is_refused() -> None:
    desk = Desk(clock=False)
    desk.orders.restore([], forgot=True)
    (notice,) = of(Notice, desk.tick(0))
    assert (notice.what, notice.urgent) == ("journal-lost", True)
    assert refused(desk.arrives(live(1, issued_s=-1))) == "no-journal"
    assert of(SayAgain, desk.arrives(live(1, issued_s=-1))) == [SayAgain(name(1))]
    assert len(of(Activate, desk.written(desk.arrives(live(2))))) == 2
    assert len(of(Activate, desk.written(desk.arrives(drill(3, **armed(start_s=250)))))) == 2
    assert of(Stop, desk.arrives(stop(issued_s=-1)))
    assert of(Notice, desk.tick(1)) == []


def test_who_comes_after_the_one_that_lost_the_journal_knows_it_too() -> None:
    lost = Desk(clock=False)
    lost.orders.restore([], forgot=True)
    lost.tick(0)
    after = Desk(records=lost.records, boot="two", wall_s=2)
    assert of(Notice, after.first) == [], "it was told"
    assert refused(after.arrives(live(1, issued_s=-1))) == "no-journal"
    assert len(of(Activate, after.written(after.arrives(live(2))))) == 2
    third = Desk(records=after.records, boot="three", wall_s=3)
    assert refused(third.arrives(drill(3, issued_s=-1))) == "no-journal"


def test_who_lost_the_journal_and_never_knew_the_time_tells_the_next() -> None:
    lost = Desk(clock=False)
    lost.orders.restore([], forgot=True)
    lost.tick(0, level=Trust.UNTRUSTED)
    after = Desk(records=lost.records, boot="two", wall_s=1)
    assert [n.what for n in of(Notice, after.first)] == ["journal-lost"]
    assert refused(after.arrives(live(1))) == "no-journal"


def test_a_journal_that_was_lost_by_a_clock_of_years_to_come_refuses_no_warning_for_years() -> None:
    lost = Desk(clock=False)
    lost.orders.restore([], forgot=True)
    lost.tick(10 * 365 * 86_400)
    after = Desk(records=lost.records, boot="two", wall_s=1)
    assert refused(after.arrives(live(1))) == "no-journal"
    assert len(of(Activate, after.written(after.arrives(live(2, issued_s=1))))) == 2
