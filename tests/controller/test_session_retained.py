"""What a session tells without a number, the newest wins: status, health, and the state of sirens and devices."""

from controller import wire
from controller.chain import Head
from controller.event import Beat, BrokerUp, Changed, Degraded
from controller.panel import REPEAT_US
from controller.session import BEAT_US
from controller.wire import Health, JournalHead, Mode, State, Status
from firmware_bridge.machine import MS, S
from tests.controller.bench_session import ORDER, ROOT, Gateway


def test_every_heartbeat_carries_the_head_of_the_journal() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    assert wire.decode(Status, gw.take("/status")[-1]).journal is None
    gw.do(Head(0, b""))
    for n in (7, 9):
        gw.do(Head(n, bytes([n]) * 32))
        gw.run(BEAT_US)
        (beat,) = gw.take("/status")
        assert wire.decode(Status, beat).journal == JournalHead(n=n, hash=f"{n:02x}" * 32)
    assert wire.decode(Status, gw.session.farewell().payload).journal == JournalHead(n=9, hash="09" * 32)


def test_state_is_told_at_once_then_at_most_once_a_second_and_the_newest_wins() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.do(Changed("s-1", "IDLE"))
    assert len(gw.take("/state")) == 1
    for state in ("ARMED", "STARTING", "SOUNDING"):
        gw.now_us += 100 * MS
        gw.do(Changed("s-1", state, activation=f"{ORDER}/s-1", mode=Mode.LIVE))
    assert gw.take("/state") == []
    gw.run(S)
    states = [wire.decode(State, p) for p in gw.take("/s-1/state")]
    assert [(s.state, s.mode) for s in states] == [("SOUNDING", Mode.LIVE)]
    # A change that went back to what was told is no news.
    gw.run(S)
    gw.do(Changed("s-1", "FAULT"))
    gw.take("/state")
    gw.now_us += 100 * MS
    gw.do(Changed("s-1", "IDLE"))
    gw.do(Changed("s-1", "FAULT"))
    gw.run(10 * S)
    assert gw.take("/state") == []
    gw.run(REPEAT_US)
    assert len(gw.take("/state")) == 1


def test_numbers_are_told_when_they_moved_by_more_than_the_deadband() -> None:
    gw = Gateway()
    gw.do(BrokerUp())

    def told(points: dict[str, float | bool | None], bad: dict[str, str] | None = None) -> int:
        gw.do(Changed("meter-1", "online", points=points, bad=bad))
        gw.run(2 * S)
        return len(gw.take("/state"))

    assert told({"amps": 20.0, "on": True}) == 1
    assert told({"amps": 20.1, "on": True}) == 0
    assert told({"amps": 20.15, "on": True}) == 0  # against what was told, not against the last
    assert told({"amps": 20.3, "on": True}) == 1  # small steps add up
    assert told({"amps": 0.02, "on": True}) == 1
    assert told({"amps": 0.05, "on": True}) == 0  # noise about zero of a meter that shows 20
    assert told({"amps": 0.05, "on": False}) == 1
    assert told({"amps": None, "on": False}, {"amps": "unit silent"}) == 1
    assert told({"amps": None, "on": False}, {"amps": "link down"}) == 1
    gw.do(BrokerUp())
    state = wire.decode(State, gw.take("/meter-1/state")[-1])
    assert state.points == {"amps": None, "on": False}
    assert state.bad == {"amps": "link down"}


def test_status_and_health_beat_and_modes_are_told_at_once() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.take("/status"), gw.take("/health")
    gw.do(Beat({"line-1": {"polls": 12, "silent": 0}}))
    gw.run(3 * BEAT_US)
    assert len(gw.take("/status")) == 3
    assert wire.decode(Health, gw.take("/health")[-1]).buses == {"line-1": {"polls": 12, "silent": 0}}
    gw.run(2 * S)
    gw.do(Degraded("NO-TIME", True, "clock unsynchronised"))
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ("NO-TIME",)
    gw.do(Degraded("NO-TIME", False))
    gw.run(S)
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ()


def test_will_and_farewell_carry_this_session() -> None:
    gw = Gateway()
    topic, payload = gw.session.will()
    will = wire.decode(Status, payload)
    assert (topic, will.state, will.session) == (f"{ROOT}/status", "lost", "boot-1")
    last = gw.session.farewell()
    assert last.retain
    assert wire.decode(Status, last.payload).state == "offline"
