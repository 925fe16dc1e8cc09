"""Whole gateways against the demo city's hardware, on virtual time, judged by the promises."""

import json
from itertools import count
from pathlib import Path

import pytest

from bench.office import prepared
from controller import admission, config, wire
from controller.event import Ask, Clock, Publish, Trust
from controller.wire import Action, Event, Mode, OrderBody, Receipt, Sound, Stage
from firmware_bridge.machine import S
from hub import keys
from simulators import promises, site
from simulators.promises import History, Ordered, Sounding
from simulators.world import Station, World

DEMO = Path(__file__).parents[2] / "configs" / "demo"
CONFIGS = [config.load(DEMO / name) for name in ("gateway.toml", "gateway-2.toml", "gateway-3.toml")]
TRUST = admission.load(DEMO / "trust.json", None, "demo")
KEYS = {name: keys.load_key(DEMO / "keys" / f"{name}.jwk") for name in ("operator-1", "operator-2", "commander")}
SIRENS = {s.id: (c, s) for c in CONFIGS for s in c.spec.siren}
DEAD = "s-203"
"""Its relay board died in the winter (site.toml)."""


class City:
    """The world, and a hub that remembers what it ordered."""

    def __init__(self) -> None:
        self.world = World(site.load(DEMO / "site.toml"), CONFIGS, TRUST)
        self.orders: list[Ordered] = []
        self._ids = count(1)
        self.world.run(8)

    def order(self, action: Action = Action.SOUND, name: str | None = "demo-air-raid", area: str = "41",
              mode: Mode = Mode.DRILL, start_in_s: float | None = None, signers: tuple[str, ...] = ("operator-1",),
              **more: object) -> Ordered:
        now = self.world.wall_us
        start = None if start_in_s is None else wire.to_text(now + round(start_in_s * S))
        sound = None
        if action is Action.SOUND and name is not None:
            sound = Sound(name=name, digest=CONFIGS[0].signals.digest(name), start_at=start)
        life_s = 240 if start_in_s is None else start_in_s + (30 if mode is Mode.LIVE else 300)
        body = OrderBody(
            v=1, id=f"{next(self._ids):032x}", deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now), expires_at=wire.to_text(now + round(life_s * S)), area=area, action=action,
            mode=mode, sound=sound, sequence=next(self._ids), trust_version=TRUST.version, **more)
        body = prepared(body, *CONFIGS)
        sirens = tuple(i for i, (c, s) in SIRENS.items() if body.targets(i, c.area_of(s), s.layer))
        self.orders.append(Ordered(body, sirens))
        data = keys.sign(body, [KEYS[name] for name in signers])
        self.world.order(data, wire.order_topic(area, action is Action.STOP))
        return self.orders[-1]

    def station(self, id: str) -> Station:
        return self.world.stations[id]

    def receipts(self) -> list[Receipt]:
        return [r for s in self.world.stations.values() for r in s.receipts()]

    def ends(self, order: Ordered) -> dict[str, tuple[Stage, str]]:
        return {r.siren: (r.stage, r.reason) for r in self.receipts()
                if r.order == order.body.id and r.siren and r.stage.terminal}

    def events(self, id: str) -> list[Event]:
        return [wire.decode(Event, p.payload) for _, p in self.station(id).published if p.topic.endswith("/event")]

    def history(self) -> History:
        offset = self.world.wall_offset_us
        log = [{"unit": s.unit, "channel": s.channel, "on": s.on, "cause": s.cause, "wall_us": s.t_us + offset}
               for s in self.world.sounds]
        journals = {id: [(t + offset, r) for t, r in s.records] for id, s in self.world.stations.items()}
        return History(CONFIGS, self.orders, self.receipts(), promises.soundings(log, CONFIGS), journals)

    def breaches(self) -> dict[str, list[str]]:
        return {name: found for name, found in promises.judge(self.history()).items() if found}


@pytest.fixture
def city() -> City:
    return City()


def test_a_drill_sounds_on_every_siren_that_can(city: City) -> None:
    order = city.order()
    city.world.run(60)
    ends = city.ends(order)
    assert {siren for siren, (stage, _) in ends.items() if stage is Stage.FINISHED} == set(SIRENS) - {DEAD}
    assert ends[DEAD][0] is Stage.FAILED
    assert "no answer" in ends[DEAD][1]
    assert city.breaches() == {}
    evidence = {r.siren: r.evidence for r in city.receipts() if r.stage is Stage.FINISHED}
    assert all(e is not None and e.sounded and e.commanded == e.sensed == 3 for e in evidence.values())


def test_a_dead_unit_is_reported(city: City) -> None:
    said = [(e.what, e.subject, e.urgent) for e in city.events("gw-zhongyuan")]
    assert ("device-silent", "relay-9", True) in said
    assert city.station("gw-zhongyuan").gateway.ready


def test_a_programme_starts_at_its_instant_on_every_line(city: City) -> None:
    order = city.order(name="demo-918", start_in_s=40)
    assert order.start_wall_us is not None
    city.world.run(40 + 276 + 10)
    assert city.breaches() == {}
    late = {r.siren: r.late_ms for r in city.receipts() if r.stage is Stage.STARTED}
    assert set(late) == set(SIRENS) - {DEAD}
    # Sirens of one line follow each other by about one write; no two gateways differ by more than that.
    assert all(0 <= (ms or 0) <= 200 for ms in late.values())


def test_the_clock_is_set_while_a_programme_waits(city: City) -> None:
    order = city.order(name="demo-air-raid", start_in_s=60)
    city.world.run(10)
    city.world.step_wall(-20)
    city.world.run(60 - 10 + 20 + 50)
    assert order.start_wall_us is not None
    first = min(s.t_us for s in city.world.sounds) + city.world.wall_offset_us
    assert abs(first - order.start_wall_us) < S // 2


def test_a_clock_that_is_set_in_mid_sounding_changes_nothing(city: City) -> None:
    city.order()
    city.world.run(9)
    city.world.step_wall(3600)
    city.world.run(50)
    edges = sorted(s.t_us for s in city.world.sounds if s.unit == "relay-1" and s.channel == 1)
    assert [round((t - edges[0]) / S, 1) for t in edges] == [0, 6, 12, 18, 24, 30]


def test_one_siren_is_stopped_by_order(city: City) -> None:
    order = city.order(name="air-raid")
    city.world.run(15)
    stop = city.order(Action.STOP, None, sirens=("s-102",), stops=order.body.id)
    city.world.run(190)
    assert city.ends(order)["s-102"][0] is Stage.STOPPED
    assert city.ends(order)["s-101"][0] is Stage.FINISHED
    assert city.ends(stop) == {"s-102": (Stage.FINISHED, city.ends(stop)["s-102"][1])}
    assert city.breaches() == {}


def test_the_same_order_again_is_answered_and_not_done_again(city: City) -> None:
    order = city.order()
    data = keys.sign(order.body, [KEYS["operator-1"]])
    for _ in range(10):
        city.world.run(5)
        city.world.order(data, wire.order_topic("41", False))
    city.world.run(20)
    assert city.breaches() == {}
    assert sum(s.on for s in city.world.sounds) == 3 * (len(SIRENS) - 1)


def test_a_restart_in_a_drill_skips_the_cut_signal_and_sounds_the_next(city: City) -> None:
    order = city.order(name="demo-918", start_in_s=10)
    city.world.run(10 + 70)  # in the second signal
    city.world.restart("gw-jinshui", away_s=1.5)
    city.world.run(276)
    assert order.start_wall_us is not None
    offset = city.world.wall_offset_us
    ons = [round((s.t_us + offset - order.start_wall_us) / S, 1) for s in city.world.sounds
           if s.unit == "relay-1" and s.channel == 1 and s.on]
    # Air raid (60 s) is cut in its first phase; the all clear at 96 s sounds whole.
    assert ons == [0, 60, 96]
    stages = [r.stage for r in city.station("gw-jinshui").receipts() if r.siren == "s-101" and r.stage.terminal]
    assert len(stages) == 1


def test_a_live_warning_goes_on_after_a_restart(city: City) -> None:
    city.order(name="air-raid", mode=Mode.LIVE, signers=("operator-1", "commander"))
    city.world.run(50)
    city.world.restart("gw-jinshui", away_s=1.5)
    city.world.run(150)
    ons = [s.t_us for s in city.world.sounds if s.unit == "relay-1" and s.channel == 1 and s.on]
    assert {round((t - ons[0]) / (12 * S)) for t in ons} == set(range(15))
    # The phase that the restart cut is taken up again where it is: sixteen stretches of sound in fifteen phases.
    assert len(ons) <= 16


def test_a_live_order_does_not_wait_for_a_disk_and_a_drill_does(city: City) -> None:
    for station in city.world.stations.values():
        station.disk_us = 0
    drill = city.order()
    city.world.run(10)
    assert city.world.sounds == []
    assert {reason for _, reason in city.ends(drill).values()} == {"no-journal"}
    city.order(mode=Mode.LIVE, signers=("operator-1", "commander"))
    city.world.run(2)
    assert any(s.on for s in city.world.sounds)
    assert "NO-JOURNAL" in city.station("gw-jinshui").gateway.session.modes


def test_one_person_cannot_sound_live(city: City) -> None:
    order = city.order(mode=Mode.LIVE, signers=("operator-1",))
    city.world.run(30)
    assert city.world.sounds == []
    assert {(r.stage, r.siren) for r in city.receipts() if r.order == order.body.id} == {(Stage.REJECTED, "")}


def test_an_adapter_is_pulled_and_put_back(city: City) -> None:
    city.world.inject("line-1", "unplug")
    city.world.run(3)
    assert any(e.what == "link-down" and e.subject == "line-1" for e in city.events("gw-jinshui"))
    city.world.inject("line-1", "unplug", 0)
    city.world.run(10)
    order = city.order(area="41/01/05")
    city.world.run(60)
    assert {stage for stage, _ in city.ends(order).values()} == {Stage.FINISHED}


@pytest.mark.parametrize("fault", ["dropped", "garbled", "cut", "doubled", "noise", "wrong-unit", "short", "late"])
def test_a_bad_line_breaks_no_promise(city: City, fault: str) -> None:
    for line in ("line-1", "line-2"):
        city.world.inject(line, fault, 0.05)
    order = city.order()
    city.world.run(70)
    breaches = city.breaches()
    assert breaches == {}
    assert set(city.ends(order)) == set(SIRENS)


def test_a_welded_relay_is_found_and_the_second_path_cuts_it(city: City) -> None:
    city.order(area="41/01/05")
    city.world.run(9)  # silent between two phases
    city.world.inject("relay-1.1", "stuck-on")
    city.world.run(40)
    assert any(e.urgent and e.subject == "s-101" for e in city.events("gw-jinshui"))
    # The site's log is of the motor: the second off-path took its power.
    last = [s for s in city.world.sounds if (s.unit, s.channel) == ("relay-1", 1)][-1]
    assert (last.on, last.cause) == (False, "second-off")


def test_a_technician_looks_reads_and_stops(city: City) -> None:
    station = city.station("gw-jinshui")

    def ask(verb: str, **args: object) -> list[dict[str, object]]:
        before = len(station.published)
        city.world.tell(station, Ask(7, 1000, "nobody", verb, args))
        city.world.run(3)
        said = [p for _, p in station.published[before:] if isinstance(p, Publish) and p.client == 7]
        return [json.loads(p.payload) for p in said]

    status = ask("status")[-1]
    assert status["last"] is True
    assert status["devices"]["relay-1"]["state"] == "online"  # type: ignore[index]
    level = ask("read", device="gauge-1")[-1]
    assert {row["quality"] for row in level["points"]} == {"good"}  # type: ignore[union-attr, index]
    assert "error" in ask("read", device="nothing")[-1]
    line = ask("bus", bus="line-1")[-1]
    assert line["units"].keys() == {"1", "2", "3", "4"}  # type: ignore[attr-defined]
    assert all(frame["words"] for frame in line["frames"])  # type: ignore[attr-defined]
    assert "error" in ask("bus", bus="nothing")[-1]
    assert ask("activate", siren="s-101")[-1]["stage"] == "rejected"
    city.order(area="41/01/05", name="all-clear")
    city.world.run(10)
    stopped = ask("stop", siren="all")
    assert stopped[-1]["last"] is True
    assert not any(city.world.field.sounding()[u, c] for u, c in (("relay-1", 1), ("relay-1", 2), ("coil-1", 1)))


def test_what_the_wall_clock_says_is_shown(city: City) -> None:
    station = city.station("gw-jinshui")
    assert "CLOCK-ASSUMED" in station.gateway.session.modes
    city.world.tell(station, Clock(0, 10**7, Trust.UNTRUSTED))
    order = city.order(area="41/01/05")
    city.world.run(0.5)
    assert [r.reason for r in station.receipts() if r.order == order.body.id] == ["no-time"]


def test_soundings_are_paired() -> None:
    log = [{"unit": "relay-1", "channel": 1, "on": True, "cause": "write", "wall_us": 5},
           {"unit": "relay-1", "channel": 1, "on": False, "cause": "write", "wall_us": 9},
           {"unit": "relay-1", "channel": 2, "on": True, "cause": "write", "wall_us": 7}]
    assert promises.soundings(log, CONFIGS) == [Sounding("s-101", 5, 9, "write"), Sounding("s-102", 7, None, "write")]
