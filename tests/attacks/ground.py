"""Where attacks are tried: a whole gateway of the demo with its hardware, and an office whose orders it takes."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench import office
from bench.office import Desk, Order
from controller import config, wire
from controller.config import Config
from controller.event import Arrived, Ask
from controller.wire import Event, Receipt, Stage
from simulators import site
from simulators.world import Station, World

DEMO = Path(__file__).parents[2] / "configs" / "demo"
ANY_TOPIC = wire.order_topic("41", False)


@dataclass(frozen=True, slots=True)
class Said:
    """What the gateway told the hub since: every receipt and event that it published, each number once."""

    receipts: tuple[Receipt, ...]
    events: tuple[Event, ...]

    def of(self, order: Order) -> list[tuple[Stage, str]]:
        """What was said of an order as a whole."""
        return [(r.stage, r.reason) for r in self.receipts if r.order == order.body.id and not r.siren]

    def stages(self, order: Order) -> set[Stage]:
        return {r.stage for r in self.receipts if r.order == order.body.id and r.siren}

    def refusals(self, order: Order | None = None) -> list[str]:
        """The reasons in the events about an order; about orders that nobody could name, without one."""
        id = "" if order is None else order.body.id
        return [e.detail.partition(":")[0].partition(";")[0] for e in self.events
                if e.what == "order-refused" and e.subject == id]


class Ground:
    """Gateways with their hardware; alone two intelligent heads behind one Modbus TCP endpoint.

    `desk` writes orders, `send` puts bytes on the broker or into the first gateway's local door.
    """

    def __init__(self, *gateways: str, technicians: dict[str, str] | None = None) -> None:
        self.configs = [_with(config.load(DEMO / name), technicians or {}) for name in gateways or ("gateway-3.toml",)]
        self.config = self.configs[0]
        self.world = World(site.load(DEMO / "site.toml"), self.configs, office.trusted())
        self.desk = Desk(self.config.signals)
        self._told = dict.fromkeys((c.id for c in self.configs), 0)
        """How much of what each gateway published was looked at."""
        self._client = 100
        self.world.run(5)

    @property
    def station(self) -> Station:
        """Of the first gateway."""
        return self.world.stations[self.config.id]

    @property
    def now(self) -> int:
        """Wall time, as the office sees it."""
        return self.world.wall_us

    def send(self, data: Order | bytes, seconds: float = 1, topic: str = ANY_TOPIC, retained: bool = False,
             client: int | None = None) -> Said:
        """What is said within so many seconds."""
        octets = data.data if isinstance(data, Order) else data
        for station in list(self.world.stations.values())[: None if client is None else 1]:
            if client is not None or topic in wire.subscriptions(station.config.area, station.config.id):
                self.world.tell(station, Arrived(topic, octets, retained, client))
        return self.wait(seconds)

    def ask(self, user: str, verb: str, **args: object) -> list[dict[str, Any]]:
        """What somebody at the first gateway's cabinet is answered within two seconds."""
        self._client += 1
        before = len(self.station.published)
        self.world.tell(self.station, Ask(self._client, 1000, user, verb, args))
        self.world.run(2)
        return [json.loads(p.payload) for _, p in self.station.published[before:] if p.client == self._client]

    def wait(self, seconds: float) -> Said:
        self.world.run(seconds)
        mark, self._told = self._told, {id: len(s.published) for id, s in self.world.stations.items()}
        return Said(tuple(self.receipts(mark)), tuple(self.events(mark)))

    def receipts(self, since: Mapping[str, int] | None = None) -> list[Receipt]:
        """In order of gateways and numbers, each once; all there ever were, or those since a mark."""
        return _each(Receipt, self._published("/receipt", since or {}))

    def events(self, since: Mapping[str, int] | None = None) -> list[Event]:
        return _each(Event, self._published("/event", since or {}))

    def _published(self, ending: str, since: Mapping[str, int]) -> list[bytes]:
        return [p.payload for id, s in self.world.stations.items() for _, p in s.published[since.get(id, 0):]
                if p.topic.endswith(ending)]

    def restart(self, away_s: float = 1.0) -> None:
        """The first gateway's process dies, and comes back with what its disk holds."""
        self.world.restart(self.config.id, away_s)
        self.world.run(away_s + 4)

    @property
    def onsets(self) -> int:
        """How often a siren of these gateways began to sound, as its hardware says."""
        return sum(s.on for s in self.world.sounds if s.unit in self._units)

    @property
    def sounding(self) -> set[tuple[str, int | None]]:
        return {place for place, on in self.world.field.sounding().items() if on and place[0] in self._units}

    @property
    def _units(self) -> set[str]:
        return {d.id for c in self.configs for d in c.spec.device}

    def must_refuse(self, attack: Order | bytes, reason: str, true: Order | None = None,
                    named: Order | None = None, told: bool = True) -> None:
        """No sound, one receipt with the reason, one event with it; and the true order works as ever.

        `named` is the order whose id the attack bears, where it is not `attack` itself. Not `told` as an event is what
        is rightly signed and cannot be done here: it is no attack, and the receipt is for those who signed it.
        """
        about = named or (attack if isinstance(attack, Order) else true)
        assert about is not None
        before = self.onsets
        said = self.send(attack, 5)
        assert self.onsets == before
        assert not self.sounding
        assert said.of(about) == [(Stage.REJECTED, reason)]
        assert said.refusals(about) == ([reason] if told else [])
        self.must_take(true or self.desk.live(self.now))

    def must_take(self, true: Order) -> None:
        """A true order sounds within two seconds of its arrival, whatever was said before."""
        before = self.onsets
        said = self.send(true, 2)
        assert Stage.ACCEPTED in said.stages(true), said
        assert self.onsets == before + len(self.config.spec.siren), said
        self.quiet()

    def quiet(self) -> None:
        """A commander ends it, so that the next thing can be tried."""
        self.send(self.desk.stop(self.now), 5)
        assert not self.sounding


MessageT = TypeVar("MessageT", Receipt, Event)


def _each(model: type[MessageT], payloads: list[bytes]) -> list[MessageT]:
    found = {(m.gateway, m.seq): m for m in (wire.decode(model, one) for one in payloads)}
    return [found[key] for key in sorted(found)]


def _with(one: Config, technicians: dict[str, str]) -> Config:
    local = one.spec.local.model_copy(update={"technicians": technicians})
    return dataclasses.replace(one, spec=one.spec.model_copy(update={"local": local}))
