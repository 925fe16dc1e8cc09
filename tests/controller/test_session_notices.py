"""A session and notices that chatter or come in a flood: they are held and counted, and the newest is told."""

from controller.event import BrokerUp, Notice
from controller.notices import HOLD_US
from controller.wire import Event
from firmware_bridge.machine import MS, S
from tests.controller.bench_session import Gateway


def test_a_chattering_notice_is_held_and_its_newest_is_not_lost() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for n in range(30):
        gw.do(Notice("device-silent", "meter-1", f"poll {n}"))
        gw.now_us += 100 * MS
    gw.do(Notice("device-silent", "meter-2"))
    gw.run(HOLD_US)
    told = [(m.subject, m.detail) for m in gw.lines() if isinstance(m, Event)]
    assert told == [("meter-1", "poll 0"), ("meter-2", ""), ("meter-1", "poll 29; 29 in 20 s")]


def test_of_unlike_alarms_of_one_spot_each_is_told_when_it_turns() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for colour in ("orange", "red", "red"):
        gw.do(Notice("flood-confirmed", "nongye", colour, urgent=True, part=colour))
        gw.now_us += 2 * S
    assert [m.detail for m in gw.lines() if isinstance(m, Event)] == ["orange", "red"]


def test_a_flood_of_notices_is_bounded_and_says_so() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for n in range(20_000):
        gw.do(Notice("order-refused", f"id-{n}"))
    gw.do(Notice("unexpected-on", "s-1", urgent=True))
    gw.run(5 * S)
    told = [m for m in gw.lines() if isinstance(m, Event)]
    assert len(told) < 200
    assert [m.what for m in told][-2:] == ["unexpected-on", "muted"]
    assert "19880" in told[-1].detail
