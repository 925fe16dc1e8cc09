"""Orders through the local door: a technician's growl, anybody's stop, a signed order from a file."""

from typing import Any

import pytest

from controller.event import Activate, Append, Gone, Notice, Publish, Rank, Stop, Trust
from controller.wire import Mode, Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import LI, Desk, drill, lines, live, name, of, order, said


def test_a_technician_growls() -> None:
    desk = Desk()
    out = desk.asks("activate", siren="s-1", seconds=2.5)
    (one,) = of(Activate, desk.written(out))
    assert (one.mode, one.rank, one.by) == (Mode.DRILL, Rank.TECHNICIAN, "Zhao Tech")
    # The timeline is the bound; the limit behind it must not come first, or the end would be told as a stop.
    assert one.timeline.end_us == 2_500_000 < one.limit_us <= 2_500_000 + 10 * S
    out = desk.progress(one, Stage.STARTED) + desk.progress(one, Stage.FINISHED)
    assert [(x["stage"], x["last"]) for x in lines(out)] == [("started", False), ("finished", True)]
    assert desk.asks("activate", siren="s-1", seconds=1) != []


@pytest.mark.parametrize(("args", "reason"), [
    ({"siren": "s-1", "seconds": 2, "user": "guest"}, "not-permitted"),
    ({"siren": "s-1", "seconds": 3.1}, "too-long"),
    ({"siren": "s-1", "seconds": 15.1, "maintenance": True}, "too-long"),
    ({"siren": "s-1", "seconds": 10, "maintenance": "yes"}, "too-long"),
    ({"siren": "s-1", "seconds": 0}, "too-long"),
    ({"siren": "s-1", "seconds": float("nan")}, "too-long"),
    ({"siren": "s-1", "seconds": True}, "too-long"),
    ({"siren": "s-1"}, "too-long"),
    ({"siren": "s-9", "seconds": 1}, "no-target"),
    ({"siren": ["s-1"], "seconds": 1}, "no-target"),
    ({"seconds": 1}, "no-target"),
])
def test_what_a_local_user_may_not(args: dict[str, Any], reason: str) -> None:
    desk = Desk()
    out = desk.asks("activate", **args)
    (answer,) = lines(out)
    assert (answer["reason"], answer["last"]) == (reason, True)
    assert " / " in answer["text"]
    assert of(Append, out) == []


def test_under_maintenance_fifteen_seconds() -> None:
    desk = Desk()
    assert len(of(Activate, desk.written(desk.asks("activate", siren="s-1", seconds=15, maintenance=True)))) == 1


def test_a_technician_does_not_disturb_what_sounds() -> None:
    desk = Desk()
    desk.sounds(drill())
    out = desk.asks("activate", siren="s-1", seconds=1)
    assert ("s-1", Stage.REJECTED, "outranked") in said(out)
    assert lines(out)[-1]["last"] is True


@pytest.mark.parametrize("siren", ["s-1", "all", None])
def test_anybody_may_stop_here_and_at_once(siren: str | None) -> None:
    desk = Desk()
    given = of(Activate, desk.sounds(live(issued_s=1)))
    out = desk.asks("stop", user="guest", **({} if siren is None else {"siren": siren}))
    told = [s.siren for s in of(Stop, out)]
    assert told == (["s-1"] if siren == "s-1" else ["s-1", "s-2"])
    assert isinstance(out[1], Stop)
    assert of(Notice, out)[0].urgent
    ends = [e for a in given if a.siren in told for e in desk.progress(a, Stage.STOPPED)]
    assert lines(ends)[-1] == lines(ends)[-1] | {"stage": "finished", "last": True}


def test_a_local_stop_needs_no_clock_and_forbids_nothing_by_a_wrong_one() -> None:
    desk = Desk(sirens=("s-1",))
    desk.sounds(live())
    desk.tick(10**9, level=Trust.UNTRUSTED)
    assert of(Stop, desk.asks("stop", user="guest")) == [Stop("s-1", "guest", "stop")]
    again = Desk(sirens=("s-1",), records=desk.records, wall_s=30)
    assert len(of(Activate, again.written(again.arrives(live(2, issued_s=1))))) == 1


def test_a_signed_order_from_a_file() -> None:
    desk = Desk(sirens=("s-1",))
    out = desk.asks("order", text=live().decode())
    (one,) = of(Activate, given := desk.written(out))
    assert [x["stage"] for x in lines(out + given)] == ["received", "accepted"]
    assert lines(desk.asks("order", client=8, text=live().decode()))[-1]["stage"] == "accepted"
    both = of(Publish, desk.progress(one, Stage.FINISHED))
    assert {p.client for p in both} == {7, 8}
    assert lines(desk.asks("order", client=9, text=live().decode()))[-1] == {
        "order": name(1), "siren": "s-1", "stage": "finished", "last": True}
    for bad in ("", "{}", "\ud800", order(LI, n=2).decode()):
        answer = lines(desk.asks("order", text=bad))[-1]
        assert (answer["stage"], answer["last"]) == ("rejected", True)


def test_a_client_that_hung_up_is_not_told() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.asks("activate", siren="s-1", seconds=1)))
    desk.do(Gone(7))
    assert of(Publish, desk.progress(one, Stage.FINISHED)) == []
