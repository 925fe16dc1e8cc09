"""docs/reasons.md: every reason stands there once, and is told where the page says that it is told."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import office
from bench.office import LI, MALLORY, NARROW, OLD, STOPS, VERSION, WANG, ZHANG, Order, b64, dump, unb64
from controller import wire
from controller.event import Arrived, Clock, Poisonous, Record, Trust
from controller.intake import QUEUE_LIMIT
from controller.trust import Reason
from firmware_bridge.machine import S
from tests.attacks.ground import ANY_TOPIC, Ground

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"
EVENTS = {"targets-mismatch", "order-refused", "local-refused", "order-withdrawn", "trust-behind", "event-refused"}
NAMED_BY_THE_EVENT = {Reason.STALE_TRUST, Reason.KEY_WITHDRAWN, Reason.CRASHED, Reason.TARGETS_MISMATCH}
"""Told by an event of their own, which need not bear the code."""


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield cells


TOLD = {cells[0].strip("`"): set(cells[5].split(", ")) for cells in rows()}


def test_every_reason_stands_on_the_page_once_in_two_languages() -> None:
    found = [cells[0].strip("`") for cells in rows()]
    assert sorted(found) == sorted(Reason)
    for code, chinese, english, when, remedy, told in rows():
        assert all(part for part in (code, english, when, remedy)), code
        assert any("\u4e00" <= c <= "\u9fff" for c in chinese), code
        assert any("\u4e00" <= c <= "\u9fff" for c in remedy), code
        assert set(told.split(", ")) <= {"receipt", "event"}, code


def test_every_reason_is_provoked_here() -> None:
    assert sorted(PROVOKED) == sorted(Reason)


def with_body(order: Order, **changes: object) -> bytes:
    body = json.loads(order.body.encode()) | changes
    return dump(office.enveloped(dump(body), (LI, ZHANG)))


def malformed(g: Ground) -> None:
    g.send(with_body(g.desk.live(g.now), priority=9))


def bad_signature(g: Ground) -> None:
    outer = json.loads(g.desk.live(g.now).data)
    g.send(dump(outer | {"payload": b64(unb64(outer["payload"]).replace(b"live", b"drill"))}))


def expired(g: Ground) -> None:
    order = g.desk.live(g.now, life_s=5)
    g.wait(6)
    g.send(order)


def duplicate(g: Ground) -> None:
    first = g.desk.live(g.now)
    g.send(first)
    g.send(g.desk.live(g.now, id=first.body.id))


def outranked(g: Ground) -> None:
    g.send(g.desk.live(g.now))
    g.send(g.desk.drill(g.now))


def daily_limit(g: Ground) -> None:
    long = Record("sounded", {"order": "1", "siren": "s-301", "us": 3600 * S, "at": wire.to_text(g.now)})
    g.station.records.append((0, long))
    g.restart()
    g.send(g.desk.drill(g.now))


def stopped(g: Ground) -> None:
    late = g.desk.live(g.now)
    g.wait(1)
    g.send(g.desk.stop(g.now))
    g.send(late)


def issued_later(g: Ground) -> None:
    stop = g.desk.stop(g.now)
    g.wait(1)
    g.send(g.desk.live(g.now))
    g.send(stop)


def no_time(g: Ground) -> None:
    g.world.tell(g.station, Clock(g.now, 0, Trust.UNTRUSTED))
    g.send(g.desk.live(g.now), 0.5)


def stale_nonce(g: Ground) -> None:
    g.send(g.desk.live(g.now, nonce="0" * 32))


def no_journal(g: Ground) -> None:
    g.station.disk_us = 0
    g.send(g.desk.drill(g.now), 8)


def busy(g: Ground) -> None:
    for _ in range(QUEUE_LIMIT + 10):
        g.world.tell(g.station, Arrived(ANY_TOPIC, g.desk.drill(g.now, area="41/01/05").data))
    g.wait(2)


def key_withdrawn(g: Ground) -> None:
    g.send(g.desk.order(g.now, WANG, ZHANG, in_s=30))
    keys = {kid: one for kid, one in office.SIGNERS.items() if kid != WANG["kid"]}
    g.send(office.listed(version=VERSION + 1, keys=keys), 2, wire.trust_topic("41"))


def safe_min(g: Ground) -> None:
    g.world.safe_min = "3 crashes in 300 s"
    g.restart()
    g.send(g.desk.drill(g.now))


def crashed(g: Ground) -> None:
    g.world.tell(g.station, Poisonous(ANY_TOPIC, "2 crashes on it", order=g.desk.live(g.now).body.id))
    g.wait(1)


def not_permitted(g: Ground) -> None:
    g.ask("guest", "activate", siren="s-301")


def sends(make: Callable[[Ground], Order]) -> Callable[[Ground], object]:
    return lambda g: g.send(make(g))


PROVOKED: dict[Reason, Callable[[Ground], object]] = {
    Reason.MALFORMED: malformed,
    Reason.TOO_LARGE: lambda g: g.send(b" " * 20_000),
    Reason.UNKNOWN_KEY: sends(lambda g: g.desk.order(g.now, LI, MALLORY)),
    Reason.KEY_NOT_VALID: sends(lambda g: g.desk.order(g.now, LI, OLD)),
    Reason.BAD_SIGNATURE: bad_signature,
    Reason.TOO_FEW_PERSONS: sends(lambda g: g.desk.order(g.now, ZHANG)),
    Reason.WRONG_AREA: sends(lambda g: g.desk.order(g.now, LI, NARROW)),
    Reason.WRONG_ACTION: sends(lambda g: g.desk.order(g.now, LI, STOPS)),
    Reason.WRONG_MODE: sends(lambda g: g.desk.order(g.now, LI, office.DRILLS)),
    Reason.WRONG_DEPLOYMENT: sends(lambda g: g.desk.live(g.now, deployment="city")),
    Reason.EXPIRED: expired,
    Reason.NOT_YET: sends(lambda g: g.desk.live(g.now + 60 * S)),
    Reason.BAD_WINDOW: sends(lambda g: g.desk.live(g.now, in_s=250)),
    Reason.TOO_LONG: sends(lambda g: g.desk.live(g.now, life_s=301)),
    Reason.RETAINED: lambda g: g.send(g.desk.live(g.now), retained=True),
    Reason.DUPLICATE: duplicate,
    Reason.UNKNOWN_SIGNAL: lambda g: g.send(with_body(g.desk.live(g.now), sound={"name": "none", "digest": "0" * 32})),
    Reason.SIGNAL_MISMATCH: sends(lambda g: g.desk.live(g.now, digest="0" * 32)),
    Reason.NO_TARGET: sends(lambda g: g.desk.live(g.now, area="41/01/05")),
    Reason.NOT_PREPARED: sends(lambda g: g.desk.drill(g.now, prepared=None)),
    Reason.TARGETS_MISMATCH: sends(lambda g: g.desk.drill(g.now, prepared={})),
    Reason.OUTRANKED: outranked,
    Reason.DAILY_LIMIT: daily_limit,
    Reason.STOPPED: stopped,
    Reason.ISSUED_LATER: issued_later,
    Reason.NO_TIME: no_time,
    Reason.STALE_NONCE: stale_nonce,
    Reason.NO_JOURNAL: no_journal,
    Reason.STALE_TRUST: sends(lambda g: g.desk.drill(g.now, trust_version=VERSION + 1)),
    Reason.NOT_PERMITTED: not_permitted,
    Reason.KEY_WITHDRAWN: key_withdrawn,
    Reason.BUSY: busy,
    Reason.SAFE_MIN: safe_min,
    Reason.CRASHED: crashed,
}


@pytest.mark.parametrize("reason", sorted(PROVOKED))
def test_a_reason_is_told_where_the_page_says(reason: Reason) -> None:
    ground = Ground()
    PROVOKED[reason](ground)
    told = set()
    if any(r.reason == reason and r.stage.terminal for r in ground.receipts()):
        told.add("receipt")
    for event in ground.events():
        if event.what in EVENTS and (reason in event.detail or reason in NAMED_BY_THE_EVENT):
            told.add("event")
    assert told == TOLD[reason]
