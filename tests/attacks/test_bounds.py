"""Who floods a gateway with false orders fills neither its disk nor its uplink, and learns nothing twice."""

import json
from pathlib import Path
from threading import Event

import pytest

from bench import office
from bench.office import Order, b64, dump
from controller.event import Arrived, Record
from controller.intake import ANSWERS
from controller.journal import Journal
from controller.notices import BUCKET
from tests.attacks.ground import ANY_TOPIC, Ground

SLACK = 10


DISK_OCTETS = 600_000
"""Of a minute's flood: some 360 answers and 180 events, each with a row for its delivery, and an index."""


@pytest.fixture
def ground() -> Ground:
    return Ground()


def false(order: Order) -> bytes:
    outer = json.loads(order.data)
    outer["signatures"][0]["signature"] = b64(bytes(64))
    return dump(outer)


def flood(ground: Ground, orders: list[bytes], seconds: float) -> tuple[int, int, int]:
    """New receipts, new events and rows of the journal that come of it."""
    ground.wait(0)
    rows = len(ground.station.records)
    for one in orders:
        ground.world.tell(ground.station, Arrived(ANY_TOPIC, one))
        ground.world.run(seconds / len(orders))
    said = ground.wait(0)
    return len(said.receipts), len(said.events), len(ground.station.records) - rows


def test_false_orders_under_ever_new_ids_are_answered_within_bounds(ground: Ground) -> None:
    orders = [false(ground.desk.drill(ground.now, life_s=3600)) for _ in range(6_000)]
    receipts, events, rows = flood(ground, orders, 60)
    assert ANSWERS <= receipts <= ANSWERS + 60 + SLACK
    assert BUCKET <= events <= BUCKET + 60 + SLACK
    # Each is a row, and a second one when the broker has it.
    assert rows <= 2 * (receipts + events) + SLACK
    # What was too much is told as a number, when there is room again.
    assert next(int(e.detail.split()[0]) for e in ground.wait(25).events if e.what == "muted") > 5_500


def test_false_orders_under_the_same_ids_again_and_again_are_told_within_bounds(ground: Ground) -> None:
    """Each id is refused once in ten seconds: the end of each hold tells of the refusals since the last."""
    orders = [false(ground.desk.drill(ground.now, life_s=3600)) for _ in range(150)]
    flood(ground, orders * 9, 90)
    _, events, _ = flood(ground, orders * 6, 60)
    assert events <= 60 + SLACK


def test_a_flood_of_false_orders_fills_no_disk(ground: Ground, tmp_path: Path) -> None:
    """What the gateway writes of six thousand false orders, in a real journal file."""
    journal = Journal(tmp_path / "journal.db")
    journal.open()
    began = len(ground.station.records)
    flood(ground, [false(ground.desk.drill(ground.now, life_s=3600)) for _ in range(6_000)], 60)
    answers: list[str | None] = []
    done = Event()
    records = [record for _, record in ground.station.records[began:]]
    for record in records:
        journal.append(record, answers.append)
    journal.append(Record("alive", {}), lambda why: done.set())
    assert done.wait(30)
    journal.close()
    assert answers == [None] * len(records)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= DISK_OCTETS


def test_the_same_false_order_again_and_again_is_answered_once(ground: Ground) -> None:
    order = ground.desk.live(ground.now)
    said = [ground.send(false(order), 0.01) for _ in range(1_000)]
    new = {r.seq for s in said for r in s.receipts}
    assert len(new) == 1
    # The answer is repeated for who did not hear it, once a second and no more.
    assert sum(len(s.receipts) for s in said) <= 12
    assert len(ground.events()) <= 3


def test_a_known_order_again_and_again_is_repeated_once_a_second(ground: Ground) -> None:
    order = ground.desk.drill(ground.now)
    ground.send(order, 60)
    mine = len(ground.receipts())
    rows = len(ground.station.records)
    before = len(ground.station.published)
    for _ in range(1_000):
        ground.world.tell(ground.station, Arrived(ANY_TOPIC, order.data))
        ground.world.run(0.01)
    repeated = [p for _, p in ground.station.published[before:] if p.topic.endswith("/receipt")]
    assert mine <= len(repeated) <= 12 * mine
    assert [r.kind for _, r in ground.station.records[rows:] if r.kind == "receipt"] == []


def test_a_sender_of_rubbish_gets_none_of_it_back_whole(ground: Ground) -> None:
    """What he sends does not stand in an event at length, whatever it is."""
    for rubbish in (b"\xff" * 16_000, b'{"payload":"' + b"A" * 16_000 + b'"}', b'{"' + b"x" * 15_000 + b'":1}',
                    dump({"payload": b64(b'{"id":"' + b"y" * 9_000 + b'"}'), "signatures": [
                        {"protected": b64(dump(office.protected(office.LI))), "signature": b64(bytes(64))}]})):
        ground.send(rubbish, 21)
    told = [e for e in ground.events() if e.what == "order-refused"]
    assert len(told) == 4
    assert all(len(e.detail) < 400 for e in told)
