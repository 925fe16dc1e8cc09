"""The lock-out in whole gateways against simulated hardware: no order and no restart sounds a tagged siren."""

import json
from typing import Any

import pytest

from controller import wire
from controller.agenda import LOCKED
from controller.conduct import State as Conduct
from controller.event import Ask
from controller.wire import Action, Event, Mode, Receipt, Stage
from simulators import site
from simulators.world import Station, World
from tests.controller.bench_lockout import people
from tests.controller.test_gateway import CONFIGS, DEMO, TRUST, City


@pytest.fixture
def city() -> City:
    out = City()
    out.world = World(site.load(DEMO / "site.toml"), [people(c) for c in CONFIGS], TRUST)
    out.world.run(8)
    return out


def ask(city: City, verb: str, user: str = "li", siren: str = "s-102", **more: object) -> list[dict[str, Any]]:
    station = city.station("gw-jinshui")
    before = len(station.published)
    city.world.tell(station, Ask(7, 1000, user, verb, {"siren": siren, "reason": "horn"} | more))
    city.world.run(0.5)
    return [json.loads(p.payload) for _, p in station.published[before:] if p.client == 7]


def sounds(city: City) -> bool:
    return bool(city.world.field.sounding()["relay-1", 2])


def state(station: Station, siren: str) -> wire.State:
    said = [p.payload for _, p in station.published if p.topic.endswith(f"/{siren}/state")]
    return wire.decode(wire.State, said[-1])


def live(city: City, area: str = "41/01/05") -> Any:
    return city.order(area=area, name="all-clear", mode=Mode.LIVE, signers=("operator-1", "commander"))


def test_no_order_and_no_restart_sounds_a_tagged_siren(city: City) -> None:
    (answer,) = ask(city, "tag")
    assert "error" not in answer
    order = live(city)
    city.world.run(5)
    assert city.ends(order)["s-102"] == (Stage.REJECTED, "isolated")
    assert city.world.field.sounding()["relay-1", 1], "its neighbour sounds"
    assert state(city.station("gw-jinshui"), "s-102").why.startswith("isolated; tagged by Li Ming since ")
    for _ in range(2):
        city.world.restart("gw-jinshui", away_s=1)
        city.world.run(10)
        order = live(city)
        city.world.run(3)
        assert city.ends(order)["s-102"] == (Stage.REJECTED, "isolated")
        assert not sounds(city)
    (answer,) = ask(city, "untag")
    assert answer["sirens"]["s-102"]["tags"] == []
    live(city)
    city.world.run(3)
    assert sounds(city)


def test_a_warning_for_later_sounds_if_the_tag_is_off_by_then(city: City) -> None:
    ask(city, "tag")
    one, two = (city.order(area="41/01/05", name="all-clear", mode=Mode.LIVE, start_in_s=start_s,
                           signers=("operator-1", "commander")) for start_s in (30, 250))
    city.world.run(2)
    for order in (one, two):
        said = [(r.stage, r.reason) for r in city.receipts() if (r.order, r.siren) == (order.body.id, "s-102")]
        assert said == [(Stage.ACCEPTED, ""), (Stage.TROUBLE, LOCKED)]
    city.world.run(40)
    assert not sounds(city)
    assert city.ends(one)["s-102"] == (Stage.FAILED, "isolated")
    ask(city, "untag")
    city.world.run(215)
    assert sounds(city)
    city.world.run(200)
    assert city.ends(two)["s-102"][0] is Stage.FINISHED
    assert city.breaches() == {}


def test_a_tag_ends_a_warning_that_sounds_and_it_does_not_come_back_with_a_restart(city: City) -> None:
    order = live(city)
    city.world.run(5)
    assert sounds(city)
    ask(city, "tag")
    city.world.run(2)
    assert not sounds(city)
    city.world.restart("gw-jinshui", away_s=1)
    city.world.run(20)
    assert not sounds(city)
    city.world.run(180)
    assert city.ends(order)["s-102"] == (Stage.FAILED, "isolated")
    assert city.ends(order)["s-101"][0] is Stage.FINISHED


def test_what_is_shown_and_told_of_it(city: City) -> None:
    ask(city, "tag")
    status = ask(city, "status")[-1]
    locks = status["sirens"]["s-102"]["locks"]
    assert locks["key"] is False
    assert [(t["person"], t["reason"]) for t in locks["tags"]] == [("Li Ming", "horn")]
    assert locks["tags"][0]["since"].startswith("2026-09-18T")
    ask(city, "untag")
    told = [(e.what, e.subject, e.detail) for e in city.events("gw-jinshui") if "tag" in e.what]
    assert told == [("tagged", "s-102", "Li Ming: horn"), ("untagged", "s-102", "Li Ming: horn")]


def test_a_stop_of_a_tagged_siren_is_done_and_answered(city: City) -> None:
    live(city)
    city.world.run(5)
    ask(city, "tag")
    stop = city.order(Action.STOP, None, area="41/01/05", signers=("commander",), mode=Mode.LIVE)
    city.world.run(5)
    assert city.ends(stop)["s-102"][0] is Stage.FINISHED
    assert ask(city, "stop", "nobody", siren="all")[-1]["last"] is True


def test_only_a_local_word_reaches_it(city: City) -> None:
    ask(city, "tag")
    record = next(r for _, r in reversed(city.station("gw-jinshui").records) if r.kind == "lock")
    assert record.body["tags"][0]["person"] == "Li Ming"
    for topic in (wire.gateway_topic("gw-jinshui", False), wire.gateway_topic("gw-jinshui", True),
                  wire.again_topic("gw-jinshui")):
        city.world.order(json.dumps({"verb": "untag", "siren": "s-102"}).encode(), topic)
    city.world.run(2)
    assert city.station("gw-jinshui").gateway.sirens["s-102"].isolator.locked
    assert city.station("gw-jinshui").gateway.sirens["s-102"].state is Conduct.IDLE
    assert [r.kind for _, r in city.station("gw-jinshui").records].count("lock") == 1
    assert all(isinstance(r, Receipt) for r in city.receipts())
    assert all(isinstance(e, Event) for e in city.events("gw-jinshui"))
