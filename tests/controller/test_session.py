"""The session against a hub of a few lines: what it is told, what it is owed, and what a restart may not change."""

import random

import pytest

from controller import strictjson, wire
from controller.event import Arrived, BrokerDown, BrokerUp, Changed, Confirmed, Notice, Record, Say, SayAgain
from controller.outbox import LINES_LIMIT, WINDOW, Line, Outbox, Stand
from controller.session import REWRITE_US
from controller.wire import Again, Event, Receipt, Stage, Status
from firmware_bridge.machine import S
from tests.controller.bench_session import ORDER, ROOT, Gateway, receipt


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
