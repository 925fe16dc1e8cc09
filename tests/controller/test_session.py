"""The session against a hub of a few lines: what it is told, what it is owed, and what a restart may not change."""

import random
from collections import deque

import pytest

from controller import strictjson, wire
from controller.chain import Head
from controller.event import (
    Append,
    AppendFailed,
    Arrived,
    Beat,
    BrokerDown,
    BrokerUp,
    Changed,
    Clock,
    Confirmed,
    Degraded,
    Durable,
    Notice,
    Publish,
    Record,
    Say,
    SayAgain,
    Trust,
)
from controller.notices import HOLD_US
from controller.outbox import LINES_LIMIT, WINDOW, Line, Outbox, Stand
from controller.panel import REPEAT_US
from controller.session import (
    BEAT_US,
    DISK_PATIENCE_US,
    REWRITE_MANY,
    REWRITE_US,
    Session,
    SessionEffect,
    SessionEvent,
)
from controller.wire import Again, Birth, Event, Health, JournalHead, Mode, Receipt, Stage, State, Status
from firmware_bridge.machine import MS, S, Woken

ROOT = "siren/1/s/32/5/8/1/2/gw-7"
WALL = wire.to_wall_us("2026-09-18T02:00:00.000Z")
ORDER = "a" * 32


def birth(session: str = "boot-1") -> Birth:
    return Birth(gateway="gw-7", session=session, at=wire.BLANK_INSTANT, version="0.1", area="32/5/8/1/2",
                 deployment="test", sirens=(), devices=(), signals={}, trust_version=1)


def receipt(stage: Stage = Stage.RECEIVED, order: str = ORDER, siren: str = "s-1") -> Say:
    return Say(Receipt(seq=0, gateway="gw-7", order=order, siren=siren, stage=stage, mode=Mode.DRILL,
                       at=wire.BLANK_INSTANT))


class Gateway:
    """A session with its disk and its broker: both answer at once, unless told to be down."""

    def __init__(self, records: list[Record] | None = None, session: str = "boot-1") -> None:
        self.session = Session(birth(session))
        self.session.restore(records or [])
        self.now_us = 5 * S
        self.journal: list[Record] = list(records or [])
        self.disk = True
        self.answering = True
        self.broker = False
        self.confirming = True
        self.published: list[Publish] = []
        self.do(Clock(WALL, 0, Trust.TRUSTED))

    def do(self, event: SessionEvent) -> list[SessionEffect]:
        """Hand it over, and let disk and broker answer; the effects of the event itself are returned."""
        first: list[SessionEffect] | None = None
        waiting: deque[SessionEvent] = deque([event])
        while waiting:
            event = waiting.popleft()
            if isinstance(event, BrokerUp | BrokerDown):
                self.broker = isinstance(event, BrokerUp)
            effects = self.session.handle(self.now_us, event)
            first = effects if first is None else first
            for effect in effects:
                match effect:
                    case Append(token, record) if self.answering:
                        if self.disk:
                            self.journal.append(record)
                        waiting.append(Durable(token) if self.disk else AppendFailed(token, "disk full"))
                    case Publish(token=token):
                        assert self.broker, effect
                        self.published.append(effect)
                        if token is not None and self.confirming:
                            waiting.append(Confirmed(token))
        assert first is not None
        return first

    def run(self, us: int) -> None:
        """Let time pass, waking the machine exactly when it asks."""
        end_us = self.now_us + us
        while (deadline := self.session.deadline) is not None and deadline <= end_us:
            self.now_us = deadline
            self.do(Woken())
        self.now_us = end_us

    def take(self, tail: str) -> list[bytes]:
        """What was published to topics that end so, since last asked."""
        found = [p.payload for p in self.published if p.topic.endswith(tail)]
        self.published = [p for p in self.published if not p.topic.endswith(tail)]
        return found

    def lines(self) -> list[Receipt | Event]:
        """Receipts and events published, in their order."""
        out: list[Receipt | Event] = []
        for p in self.published:
            if p.topic == f"{ROOT}/receipt":
                out.append(wire.decode(Receipt, p.payload))
            elif p.topic == f"{ROOT}/event":
                out.append(wire.decode(Event, p.payload))
        self.published = [p for p in self.published if not p.topic.endswith(("/receipt", "/event"))]
        return out


def test_connect_tells_who_then_how_then_what_waited() -> None:
    gw = Gateway()
    gw.do(Changed("s-1", "IDLE"))
    gw.do(receipt())
    assert gw.published == []
    gw.do(BrokerUp())
    assert [p.topic.removeprefix(ROOT + "/") for p in gw.published] == [
        "status", "health", "birth", "s-1/state", "receipt"]
    assert [(p.retain, p.qos) for p in gw.published] == [(True, 1), (True, 0), (True, 1), (True, 1), (False, 1)]
    status = wire.decode(Status, gw.take("/status")[0])
    assert (status.state, status.session, status.last_seq, status.modes) == ("online", "boot-1", 1, ())
    told = gw.lines()[0]
    assert (told.seq, told.at) == (1, "2026-09-18T02:00:00.000Z")


def test_an_instant_that_the_message_has_is_kept() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    at = "2026-09-18T01:59:59.500Z"
    gw.do(Say(Receipt(seq=0, gateway="gw-7", order=ORDER, stage=Stage.STARTED, at=at)))
    assert gw.lines()[0].at == at


def test_nothing_leaves_before_the_disk_has_it() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.answering = False
    appended = [e for e in gw.do(receipt()) if isinstance(e, Append)]
    assert gw.lines() == []
    gw.do(Durable(appended[0].token))
    assert [m.seq for m in gw.lines()] == [1]
    # What the broker has confirmed is marked, so that a restart does not tell it again.
    assert gw.session.outbox == 0


def test_a_later_line_never_overtakes_one_that_is_being_written() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.answering = False
    first, second = (next(e for e in gw.do(receipt(s)) if isinstance(e, Append))
                     for s in (Stage.RECEIVED, Stage.ACCEPTED))
    gw.do(Durable(second.token))
    assert gw.lines() == []
    gw.do(Durable(first.token))
    assert [m.seq for m in gw.lines()] == [1, 2]


def test_a_full_disk_is_told_and_silences_nothing() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.disk = False
    gw.run(2 * S)
    gw.take("/status")
    gw.do(receipt())
    assert [m.seq for m in gw.lines()] == [1]
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ("NO-JOURNAL",)
    # When the disk takes lines again, the one it refused is written after all: no number is ever given out twice.
    gw.disk = True
    gw.run(REWRITE_US + 2 * S)
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ()
    assert [(r.kind, r.body["seq"]) for r in gw.journal] == [("receipt", 1), ("delivered", 1)]
    assert gw.lines() == []


def test_every_refused_line_is_written_when_the_disk_is_back() -> None:
    gw = Gateway()
    gw.disk = False
    for _ in range(50):
        gw.do(receipt())
    gw.disk = True
    gw.run(REWRITE_US + S)
    assert sorted(r.body["seq"] for r in gw.journal if r.kind == "receipt") == list(range(1, 51))


def test_a_refused_line_is_written_with_the_next_that_the_disk_takes() -> None:
    """Seed 1498: killed before it was tried again, and the hub missed its number for ever."""
    gw = Gateway()
    gw.disk = False
    for _ in range(REWRITE_MANY + 5):
        gw.do(receipt())
    gw.disk = True
    gw.do(receipt())
    gw.run(10 * MS)
    written = [r.body["seq"] for r in gw.journal if r.kind == "receipt"]
    assert sorted(written) == list(range(1, REWRITE_MANY + 7)), "each, and once"


def test_a_line_that_the_disk_passed_over_is_given_to_it_again_at_once() -> None:
    """Seed 55444: a disk that had answered nothing took later lines; killed within two seconds, the hub missed it."""
    gw = Gateway()
    gw.do(BrokerUp())
    gw.answering = False
    for stage in (Stage.RECEIVED, Stage.ACCEPTED, Stage.STARTED, Stage.SENSED):
        gw.do(receipt(stage))
    again = [e for e in gw.do(Durable(3)) if isinstance(e, Append)]
    assert [(e.token, e.record.body["seq"]) for e in again] == [(1, 1), (2, 2)]
    assert gw.do(Durable(4)) == [], "each once"
    gw.do(Durable(1))
    assert [m.seq for m in gw.lines()] == [1]
    gw.do(Durable(2))
    assert [m.seq for m in gw.lines()] == [2, 3, 4]


def test_a_disk_that_hangs_does_not_silence_a_receipt() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.answering = False
    gw.do(receipt())
    gw.run(DISK_PATIENCE_US - MS)
    assert gw.lines() == []
    gw.run(2 * MS)
    assert [m.seq for m in gw.lines()] == [1]
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ("NO-JOURNAL",)
    gw.do(Durable(1))
    gw.run(S)
    assert wire.decode(Status, gw.take("/status")[-1]).modes == ()


def test_the_window_and_the_order_hold_over_a_cut() -> None:
    gw = Gateway()
    gw.confirming = False
    gw.do(BrokerUp())
    for _ in range(40):
        gw.do(receipt())
    assert [m.seq for m in gw.lines()] == list(range(1, WINDOW + 1))
    for seq in (1, 3, 2):
        gw.do(Confirmed(seq))
    assert [m.seq for m in gw.lines()] == [WINDOW + 1, WINDOW + 2, WINDOW + 3]
    gw.do(BrokerDown("cut"))
    gw.do(Confirmed(4))  # the broker's word, read late
    gw.confirming = True
    gw.do(BrokerUp())
    assert [m.seq for m in gw.lines()] == list(range(5, 41))
    assert gw.session.outbox == 0


def test_a_restart_goes_on_where_the_journal_stands() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.do(receipt(Stage.RECEIVED))
    gw.confirming = False
    gw.do(receipt(Stage.ACCEPTED))
    gw.do(Notice("link-down", "line-1", urgent=True))
    sent = [p.payload for p in gw.published if p.topic.endswith(("/receipt", "/event"))]

    again = Gateway(gw.journal, session="boot-2")
    again.do(receipt(Stage.STARTED))
    again.do(BrokerUp())
    again_sent = [p.payload for p in again.published if p.topic.endswith(("/receipt", "/event"))]
    assert again_sent[:2] == sent[1:]
    assert [m.seq for m in again.lines()] == [2, 3, 4]


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


def test_records_of_another_version_keep_their_number_used() -> None:
    gw = Gateway([Record("event", {"seq": 9, "shape": "unknown"}), Record("delivered", {"seq": 9})])
    gw.do(BrokerUp())
    gw.do(receipt())
    assert [m.seq for m in gw.lines()] == [10]


def test_the_same_order_gets_the_same_answer_once_a_second() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for stage in (Stage.RECEIVED, Stage.ACCEPTED, Stage.FINISHED):
        gw.do(receipt(stage))
    gw.do(receipt(Stage.RECEIVED, order="b" * 32))
    first = gw.take("/receipt")
    written = len(gw.journal)
    gw.do(SayAgain(ORDER))
    gw.do(SayAgain(ORDER))
    assert gw.take("/receipt") == first[:3]
    gw.run(S)
    gw.do(SayAgain(ORDER))
    assert gw.take("/receipt") == first[:3]
    assert len(gw.journal) == written

    restarted = Gateway(gw.journal)
    restarted.do(BrokerUp())
    assert restarted.take("/receipt") == []
    restarted.do(SayAgain(ORDER))
    assert restarted.take("/receipt") == first[:3]


def test_an_order_whose_receipts_are_forgotten_is_not_met_with_silence() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    gw.do(SayAgain("c" * 32))
    told = gw.lines()
    assert [(m.what, m.subject) for m in told if isinstance(m, Event)] == [("answer-forgotten", "c" * 32)]


def test_a_hub_that_misses_numbers_gets_them() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for _ in range(100):
        gw.do(receipt())
    gw.lines()
    topic = wire.again_topic("gw-7")
    gw.do(Arrived(topic, Again(first=20, last=60).encode()))
    assert [m.seq for m in gw.lines()] == list(range(20, 61))
    gw.do(Arrived(topic, Again(first=1, last=2**53 - 1).encode()))
    assert [m.seq for m in gw.lines()] == list(range(1, 101))
    for noise in (b"", b"[]", b'{"v":1,"first":0,"last":3}', b'{"v":1,"first":9,"last":3}', b"\xff" * 40_000):
        gw.do(Arrived(topic, noise))
    assert gw.lines() == []


def test_repeats_are_windowed_and_a_first_telling_goes_before_them() -> None:
    gw = Gateway()
    gw.do(BrokerUp())
    for _ in range(100):
        gw.do(receipt())
    gw.lines()
    gw.confirming = False
    gw.do(Arrived(wire.again_topic("gw-7"), Again(first=1, last=100).encode()))
    assert [m.seq for m in gw.lines()] == list(range(1, WINDOW + 1))
    gw.do(receipt())
    gw.do(Confirmed(-1))
    assert [m.seq for m in gw.lines()] == [101]


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


def test_memory_is_bounded_and_receipts_and_urgent_events_stay_longest() -> None:
    gw = Gateway()
    gw.do(receipt())
    gw.do(Notice("unexpected-on", "s-1", urgent=True))
    for n in range(LINES_LIMIT + 500):
        gw.do(Say(Event(seq=0, gateway="gw-7", at=wire.BLANK_INSTANT, what="link-up", subject=f"line-{n}")))
    assert gw.session.outbox == LINES_LIMIT
    assert gw.session.modes == ("OUTBOX-FULL",)
    gw.do(BrokerUp())
    told = gw.lines()
    assert [m.seq for m in told[:3]] == [1, 2, 505]
    assert told[-2].seq == LINES_LIMIT + 502
    last = told[-1]
    assert isinstance(last, Event)
    assert (last.what, last.detail) == (
        "outbox-overflow", "of the messages 3 to 504, those not delivered are only in the journal")
    assert gw.session.modes == ()
    # A restart does not take up again what was given up.
    assert Gateway(gw.journal).session.outbox == 0


def test_the_outbox_gives_up_the_oldest_when_nothing_is_plain() -> None:
    box = Outbox()
    for seq in range(1, LINES_LIMIT + 1):
        assert box.add(Line(seq, "receipt", b"", order="o", stand=Stand.READY)) is None
    gone = box.add(Line(LINES_LIMIT + 1, "receipt", b"", order="o"))
    assert gone is not None
    assert gone.seq == 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_breaks_the_hub_ends_with_every_number_once_and_the_same(seed: int) -> None:
    """Cuts, lost confirmations, hanging and full disks, restarts; then all heals, and the hub has every line."""
    rng = random.Random(seed)
    gw = Gateway()
    hub: dict[int, bytes] = {}

    def collect() -> None:
        for p in gw.published:
            if p.topic.endswith(("/receipt", "/event")):
                seq = strictjson.load(p.payload, wire.MAX_ORDER_BYTES)["seq"]
                assert hub.setdefault(seq, p.payload) == p.payload, f"seed {seed}: two messages have number {seq}"
        gw.published = []

    for _ in range(400):
        match rng.randrange(9):
            case 0:
                gw.do(BrokerUp())
            case 1:
                gw.do(BrokerDown("cut"))
            case 2:
                gw.confirming = rng.random() < 0.7
            case 3:
                gw.disk = rng.random() < 0.7
            case 4 if gw.disk and not gw.session.modes:
                collect()
                gw = Gateway(gw.journal, session=f"boot-{rng.random()}")
            case 5:
                gw.run(rng.randrange(20 * S))
            case 6:
                gw.do(SayAgain(ORDER))
            case _:
                plain = Notice("link-up", f"line-{rng.random()}")
                gw.do(receipt(rng.choice(list(Stage))) if rng.random() < 0.7 else plain)
        collect()
    gw.disk = gw.confirming = True
    gw.run(2 * REWRITE_US)
    gw.do(BrokerDown("heal"))
    gw.do(BrokerUp())
    gw.run(60 * S)
    collect()
    assert gw.session.outbox == 0
    assert sorted(hub) == list(range(1, max(hub) + 1)), f"seed {seed}: a hole"
    assert sorted({r.body["seq"] for r in gw.journal if r.kind in ("receipt", "event")}) == sorted(hub)
