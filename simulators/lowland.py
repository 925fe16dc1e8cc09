"""The low-lying spot of a place, alive: who signed its policy, what its gauges show, whose hands are on it.

What the registers of its gauges hold is read past the wire, wrong or not, and written down for those who judge. It
refuses to know what follows from it, and where the water comes from.
"""

from collections.abc import Iterator
from typing import Any

from bench import office
from controller import floods, shelf, wire
from controller.config import Config
from controller.event import Ask
from controller.wire import Ack
from firmware_bridge.machine import S
from simulators.chronicle import Chronicle
from simulators.faults import Fault
from simulators.hamlet import Place
from simulators.net import Net
from simulators.promises.facts import Trouble
from simulators.promises.gauges import Shown, Watched, centimetres, watched
from simulators.scenario import Scenario
from simulators.world import World

ISSUED = "2026-06-01T01:00:00.000Z"
WILD = frozenset({Fault.NOISY, Fault.VEHICLES})
"""Faults by which a gauge shows something else at each instant."""
BLURRING = frozenset({"dropped", "late", "busy", "illegal", "garbled", "cut", "noise", "babble", "wrong-unit", "short",
                      "echo", "doubled", "slow-refusal", "unplug", "reboot", "brown-out", "dead", "foreign"})
"""What makes values rare. A wire to two spots' gauges is not asked for: any of it anywhere counts."""
SHELF_US = 60 * S
"""How long an alarm is put on the shelf."""


def policy(place: Place, configs: list[Config]) -> str:
    """The signed policy of a place, as its gateway finds it in its file; empty where there is none."""
    said = place.get("policy")
    config = next((c for c in configs if c.spec.spot), None)
    if said is None or config is None:
        return ""
    here = floods.ground(config)
    rules = [{"spot": spot.id, "digest": here.spots[spot.id], "sound_digest": here.signals[said["sound"]]}
             | {key: said[key] for key in ("from", "sirens", "sound", "max_duration_s")} for spot in config.spec.spot]
    body = {"v": 1, "version": 1, "deployment": office.DEPLOYMENT, "gateway": here.gateway, "area": here.area,
            "issued_at": ISSUED, "rule": rules}
    signers = (office.ZHANG, office.GAO) if said["good"] else (office.ZHANG, office.CHEN)
    return office.dump(office.enveloped(office.dump(body), signers)).decode()


class Lowland:
    """The spots of a life, looked at each second. `look` when a fault begins, which may be over before the next; `hand`
    for what people do; `unwell` when all should be in order."""

    def __init__(self, scenario: Scenario, world: World, net: Net, configs: list[Config], chronicle: Chronicle) -> None:
        self._world, self._net = world, net
        blurred = any(s.do == "foreign" or s.with_.get("fault") in BLURRING for s in scenario.steps)
        said, signals = scenario.place.get("policy"), configs[0].signals
        self._spots: list[tuple[Config, Watched]] = [
            (c, watched(c, spot, said, signals, blurred)) for c in configs for spot in c.spec.spot]
        chronicle.watched += [one for _, one in self._spots]
        self._chronicle = chronicle
        self._client = 10_000
        if self._spots:
            self._each_second()

    def _each_second(self) -> None:
        self.look()
        self._world.at(self._world.now_us + S, self._each_second)

    def look(self) -> None:
        """Write down what the gauges show."""
        field, world = self._world.field, self._world
        for _, one in self._spots:
            cm: dict[str, float | None] = {}
            wild = set()
            for gauge in one.spot.gauge:
                unit, _, point = gauge.point.partition(".")
                faults = {fault for found in field.faults(unit)[0].values() for fault in found}
                cm[gauge.id] = centimetres(one.spot, gauge.id, field.value(unit, point, shown=True))
                if faults & WILD:
                    wild.add(gauge.id)
            one.rows.append(Shown(world.wall_us, field.waters.level_m(world.now_us, "road") * 100, cm, frozenset(wild)))

    def hand(self, on: str, said: dict[str, Any]) -> None:
        """Somebody acknowledges, shelves, looks: at the cabinet, or at the centre."""
        verb, alarm, who = said["verb"], said["alarm"], said["who"]
        config, one = self._spots[0]
        station = self._world.stations.get(on)
        if (verb == "shelve" and who != "hub") or (who == "signed" and verb != "unshelve"):
            now_us = self._world.wall_us
            self._chronicle.troubles.append(Trouble("shelf", one.spot.id, now_us, now_us + SHELF_US))
        if who == "hub":
            self._net.say(wire.ack_topic(on), Ack(spot=one.spot.id, by="the office").encode())
        elif who == "signed":
            now_us = self._world.wall_us
            until_us = now_us if verb == "unshelve" else now_us + SHELF_US
            wish = {"v": 1, "id": f"{said['n']:032x}", "deployment": office.DEPLOYMENT, "gateway": on,
                    "area": config.area, "spot": one.spot.id, "alarm": alarm, "issued_at": wire.to_text(now_us),
                    "until": wire.to_text(until_us), "reason": "the road is closed"}
            data = office.dump(office.enveloped(office.dump(wish), (office.LI, office.ZHANG)))
            self._net.say(shelf.topic(on), data)
        elif station is not None:
            self._client += 1
            args = {"spot": one.spot.id, "alarm": alarm, "minutes": 1, "gauge": "press", "depth_cm": 20}
            self._world.tell(station, Ask(self._client, 1000, who, verb, args))

    def heal(self) -> None:
        """The road is dry."""
        if self._spots:
            self._world.storm(None)

    def unwell(self) -> Iterator[str]:
        """What is not in order. What latched waits for somebody at the cabinet, who comes now."""
        for config, one in self._spots:
            station = self._world.stations.get(config.id)
            if station is None:
                continue
            rule = station.gateway.floods.rules[one.spot.id]
            shown = rule.shown
            if any(a.in_force and not a.high for a in rule.lookout.alarms.values()):
                self.hand(config.id, {"verb": "ack", "alarm": None, "who": "tech"})
            if shown is None or shown.state != "DRY" or shown.bad:
                yield f"{one.spot.id} is {shown}"
            elif rule.sign is not None and rule.sign.shown != config.scales[one.spot.scale].dry:
                yield f"the sign of {one.spot.id} shows {rule.sign.shown!r}"
            yield from (f"{one.spot.id}: {part.fault.why}" for part in (rule.beacon, rule.boom, rule.voice)
                        if part is not None and part.fault.why)
