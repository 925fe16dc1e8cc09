"""The named degraded modes, each in a whole gateway: how it begins and ends, its bit in the status, what it changes."""

import json
from typing import Any

from controller import wire
from controller.event import (
    NOBODYS,
    Ask,
    BrokerDown,
    BrokerUp,
    Clock,
    Degraded,
    Full,
    Poisonous,
    Publish,
    Stop,
    Trust,
)
from controller.safe_min import QUIET_US, SafeMin
from controller.session import BEAT_US, MODES_GAP_US, NO_HUB_US, REWRITE_US
from controller.watch import BLIND_US
from controller.wire import Action, Mode, Stage, Status
from firmware_bridge.machine import S, Woken
from simulators import site
from simulators.disk import Health
from simulators.world import World
from tests.controller.bench_lockout import people
from tests.controller.test_gateway import CONFIGS, DEMO, TRUST, City

OURS = "gw-jinshui"
HERE = "41/01/05"
LIVE = {"mode": Mode.LIVE, "signers": ("operator-1", "commander"), "area": HERE}


class Clocks(World):
    """A world in which the kernel may not know the time."""

    level = Trust.TRUSTED

    def tell(self, station: Any, event: object) -> None:
        if isinstance(event, Clock):
            event = Clock(event.wall_us, 0, self.level)
        super().tell(station, event)


def city(kind: type[World]) -> City:
    out = City()
    out.world = kind(site.load(DEMO / "site.toml"), [people(c) for c in CONFIGS], TRUST)
    out.world.run(8)
    return out


def modes(city: City) -> set[str]:
    """What the hub was told last."""
    told = [p.payload for _, p in city.station(OURS).published if p.topic.endswith("/status")]
    return {*wire.decode(Status, told[-1]).modes} - {"CLOCK-ASSUMED"}


def shown(city: City) -> set[str]:
    """What the technician sees."""
    return {*asked(city, "status")[-1]["modes"]} - {"CLOCK-ASSUMED"}


def asked(city: City, verb: str, user: str = "nobody", **args: object) -> list[dict[str, Any]]:
    station = city.station(OURS)
    before = len(station.published)
    city.world.tell(station, Ask(7, 1000, user, verb, args))
    city.world.run(0.5)
    return [json.loads(p.payload) for _, p in station.published[before:] if isinstance(p, Publish) and p.client == 7]


def told(city: City, what: str) -> list[tuple[str, bool]]:
    return [(e.what, e.urgent) for e in city.events(OURS) if e.what.startswith(what)]


def sounding(city: City) -> bool:
    return bool(city.world.field.sounding()["relay-1", 2])


def test_no_journal() -> None:
    town = city(World)
    assert modes(town) == set()
    town.station(OURS).disk.health = Health.FAILING
    drill, live = town.order(area=HERE), town.order(name="all-clear", **LIVE)  # type: ignore[arg-type]
    town.world.run(2)
    assert modes(town) == shown(town) == {"NO-JOURNAL"}
    assert set(town.ends(drill).values()) == {(Stage.REJECTED, "no-journal")}
    assert sounding(town), "a warning goes on without the disk"
    town.order(Action.STOP, None, area=HERE, mode=Mode.LIVE, signers=("commander",))
    town.world.run(4)
    assert not sounding(town), "and so does a stop"
    assert town.ends(live)["s-102"][0] is Stage.STOPPED
    town.station(OURS).disk.health = Health.WELL
    drill = town.order(area=HERE)
    town.world.run(2 * REWRITE_US / S)
    assert modes(town) == shown(town) == set()
    town.world.run(40)
    assert town.ends(drill)["s-102"][0] is Stage.FINISHED
    assert told(town, "no-journal") == [("no-journal", True), ("no-journal-ended", False)]


def test_no_time() -> None:
    town = city(Clocks)
    assert isinstance(town.world, Clocks)
    live = town.order(name="all-clear", **LIVE)  # type: ignore[arg-type]
    armed = town.order(start_in_s=60, area=HERE)
    town.world.run(2)
    town.world.level = Trust.UNTRUSTED
    town.world.run(2 + MODES_GAP_US / S)
    assert modes(town) == shown(town) == {"NO-TIME"}
    assert sounding(town), "what sounds goes on"
    late = town.order(area=HERE)
    town.order(Action.STOP, None, area=HERE, mode=Mode.LIVE, signers=("commander",), stops=live.body.id)
    town.world.run(5)
    assert {r.reason for r in town.receipts() if r.order == late.body.id and r.gateway == OURS} == {"no-time"}
    assert not sounding(town), "a stop needs no clock"
    town.world.run(110)
    assert town.ends(armed)["s-102"][0] is Stage.FINISHED, "what a trusted clock has placed begins at its instant"
    town.world.level = Trust.TRUSTED
    town.world.run(2 + MODES_GAP_US / S)
    assert modes(town) == shown(town) == set()
    assert told(town, "no-time") == [("no-time", True), ("no-time-ended", False)]


def test_no_hub() -> None:
    town = city(World)
    station = town.station(OURS)
    town.world.tell(station, BrokerDown("gone"))
    town.world.run(NO_HUB_US / S - 1)
    assert shown(town) == set(), "a connection that is renewed is no news"
    town.world.run(1)
    assert shown(town) == {"NO-HUB"}
    before = len(station.published)
    assert asked(town, "stop", siren="all")[-1]["last"] is True
    town.order(area=HERE)  # as a file from a stick would come
    town.world.run(60)
    assert all(p.client is not None for _, p in station.published[before:]), "nobody can be told"
    town.world.tell(station, BrokerUp())
    town.world.run(1)
    assert modes(town) == shown(town) == set()
    assert told(town, "no-hub") == [("no-hub", True), ("no-hub-ended", False)]
    drill = town.orders[-1]
    assert town.ends(drill)["s-102"][0] is Stage.FINISHED, "what happened in the meantime is told now"
    assert "2026-09-18T02:00:0" in next(e.detail for e in town.events(OURS) if e.what == "no-hub-ended")


def test_no_feedback() -> None:
    town = city(World)
    town.world.inject("meter-1", "dead")
    # Three silences make a unit absent; then its readings are BAD.
    town.world.run(20 + BLIND_US / S)
    assert modes(town) == shown(town) == {"NO-FEEDBACK"}
    assert {e.subject for e in town.events(OURS) if e.what == "no-feedback"} == {"s-101", "s-102", "s-103"}
    assert "no feedback" in asked(town, "status")[-1]["sirens"]["s-102"]["why"]
    drill = town.order(area=HERE)
    town.world.run(60)
    ends = {r.siren: r for r in town.receipts() if r.order == drill.body.id and r.stage.terminal}
    done = ends["s-102"]
    assert (done.stage, done.reason) == (Stage.FINISHED, "no feedback in 3 of 3")
    assert done.evidence is not None
    assert (done.evidence.commanded, done.evidence.sensed, done.evidence.independent) == (3, 0, False)
    assert not done.evidence.sounded
    assert [s.on for s in town.world.sounds if (s.unit, s.channel) == ("relay-1", 2)] == [True, False] * 3
    town.world.inject("meter-1", "dead", 0)
    town.world.run(20 + BEAT_US / S)
    assert modes(town) == shown(town) == set()
    assert told(town, "no-feedback-ended")
    drill = town.order(area=HERE)
    town.world.run(60)
    assert town.ends(drill)["s-102"] == (Stage.FINISHED, "")


def crashed(town: City) -> None:
    """The process dies once more, and comes back in SAFE-MIN."""
    town.world.safe_min = "3 crashes in 300 s; RuntimeError: a bug of ours"
    town.world.restart(OURS, away_s=1)
    town.world.run(10)


def test_safe_min() -> None:
    town = city(World)
    live, armed = town.order(name="all-clear", **LIVE), town.order(start_in_s=300, area=HERE)  # type: ignore[arg-type]
    town.world.run(5)
    assert sounding(town)
    crashed(town)
    assert modes(town) == shown(town) == {"SAFE-MIN"}
    assert not sounding(town), "everything is off, once"
    assert town.ends(live)["s-102"] == (Stage.FAILED, "cut by crashes: SAFE-MIN")
    assert [e.detail for e in town.events(OURS) if e.what == "safe-min"] == [town.world.safe_min]
    # What still works: a live order, a stop, a look, a read, a tag.
    again = town.order(name="all-clear", **LIVE)  # type: ignore[arg-type]
    town.world.run(5)
    assert sounding(town)
    gauge = town.station(OURS).gateway.devices["gauge-1"]
    assert gauge.readings["level"].value is None, "what no siren needs is not polled"
    assert asked(town, "read", device="gauge-1")[-1]["points"][0]["quality"] == "good"
    assert asked(town, "stop", siren="s-102")[-1]["last"] is True
    town.world.run(3)
    assert not sounding(town)
    assert town.ends(again)["s-102"][0] is Stage.STOPPED
    # What does not: drills, and tests at the cabinet.
    drill = town.order(area=HERE)
    town.world.run(3)
    assert {r.reason for r in town.receipts() if r.order == drill.body.id and r.gateway == OURS} == {"safe-min"}
    for verb in ("activate", "growl", "quiet-test"):
        answer = asked(town, verb, "li", siren="s-102", seconds=2)[-1]
        assert (answer["stage"], answer["reason"]) == ("rejected", "safe-min")
    # Who may ends it; what was armed sounds at its time.
    assert "error" in asked(town, "leave-safe-min")[-1]
    assert asked(town, "leave-safe-min", "li")[-1]["full"] is True
    town.world.run(MODES_GAP_US / S)
    assert modes(town) == shown(town) == set()
    assert told(town, "safe-min") == [("safe-min", True), ("safe-min-ended", False)]
    read_us = gauge.readings["level"].at_us
    town.world.run(320)
    assert town.ends(armed)["s-101"][0] is Stage.FINISHED
    assert gauge.readings["level"].at_us > read_us, "and is polled again"
    assert "error" in asked(town, "leave-safe-min", "li")[-1]


def test_in_safe_min_a_warning_stays_armed_and_one_that_comes_at_once_sounds() -> None:
    town = city(World)
    armed = town.order(name="demo-air-raid", start_in_s=240, **LIVE)  # type: ignore[arg-type]
    cut = town.order(name="all-clear", **LIVE)  # type: ignore[arg-type]
    town.world.run(5)
    town.world.safe_min = "3 crashes in 300 s; RuntimeError: a bug of ours"
    town.world.restart(OURS, away_s=1)
    town.world.run(1.2)
    assert modes(town) == {"SAFE-MIN"}
    fresh = town.order(name="all-clear", **LIVE)  # type: ignore[arg-type]
    town.world.run(10)
    assert town.ends(cut)["s-102"] == (Stage.FAILED, "cut by crashes: SAFE-MIN")
    assert "s-102" not in town.ends(fresh) | town.ends(armed)
    assert sounding(town)
    town.world.run(400)
    assert town.ends(armed)["s-102"] == (Stage.FINISHED, "")


def test_safe_min_ends_after_a_quiet_hour() -> None:
    machine = SafeMin("3 crashes", ["s-1", "s-2"], {"li": "Li Ming"})
    assert machine.handle(5 * S, Woken()) == [Degraded("SAFE-MIN", True, "3 crashes")]
    assert machine.silence([]) == []
    assert machine.silence(["s-2"]) == [Stop("s-2", "sirend", "SAFE-MIN", NOBODYS)]
    assert machine.silence(["s-1", "s-2"]) == [Stop("s-1", "sirend", "SAFE-MIN", NOBODYS)]
    assert machine.silence(["s-1", "s-2"]) == [], "each once"
    assert machine.deadline == 5 * S + QUIET_US
    assert machine.handle(machine.deadline - 1, Woken()) == []
    assert machine.handle(machine.deadline, Woken()) == [Degraded("SAFE-MIN", False, "a quiet hour"), Full()]
    assert (machine.on, machine.deadline) == (False, None)


def test_what_crashed_us_twice_is_refused_with_a_receipt() -> None:
    town = city(World)
    station, order = town.station(OURS), "0123456789abcdef" * 2
    town.world.tell(station, Poisonous("siren/1/g/gw-jinshui/order", "2 crashes on it", order=order))
    town.world.tell(station, Poisonous("li read", "2 crashes on it", client=7))
    town.world.run(1)
    assert [(r.stage, r.reason) for r in station.receipts() if r.order == order] == [(Stage.REJECTED, "crashed")]
    assert {e.subject for e in town.events(OURS) if e.what == "event-refused" and e.urgent} == {
        "siren/1/g/gw-jinshui/order", "li read"}
    assert any(p.client == 7 and b"error" in p.payload for _, p in station.published)
    # One that is known already gets its own answer again, and no other.
    drill = town.order(area=HERE)
    town.world.run(3)
    town.world.tell(station, Poisonous("siren/1/g/gw-jinshui/order", "2 crashes on it", order=drill.body.id))
    town.world.run(60)
    assert town.ends(drill)["s-102"][0] is Stage.FINISHED
