"""Numbered lines and the disk: nothing leaves before it is written; one that refuses or hangs silences nothing."""

from controller import wire
from controller.event import Append, BrokerUp, Durable
from controller.session import DISK_PATIENCE_US, REWRITE_MANY, REWRITE_US
from controller.wire import Stage, Status
from firmware_bridge.machine import MS, S
from tests.controller.bench_session import Gateway, receipt


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
