"""The chronicle of one scenario: what is written down while it lasts, and the `History` that is made of it.

A hash goes over everything that happened, in order, so that two lives of one seed can be compared. What an order is
worth is asked of the second judge (`bench/authority.py`) at the instant it reaches a living gateway, with what that
gateway was told of the clock. It refuses to know what the promises ask.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench import authority, office
from bench.office import Order
from controller import strictjson, wire
from controller.config import Config, Drive
from controller.event import Arrived, Ask, Clock, Confirmed, Trust
from controller.wire import Action, Birth, Event, OrderBody, Receipt, State
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Received
from firmware_bridge.machine import S
from simulators.promises.facts import NEVER_US, Arrival, Asked, Clocked, Ordered, Sounding, Told, Trouble, Written
from simulators.promises.gauges import Watched
from simulators.promises.history import History
from simulators.world import BEGIN_US, Station, World

Place = tuple[str, int | None]


class Chronicle:
    """What happened so far. `watch` keeps the trace as text."""

    def __init__(self, configs: list[Config], watch: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.orders: dict[str, Order] = {}
        self.troubles: list[Trouble] = []
        self.asks: list[Asked] = []
        self.tags: dict[str, int] = {}
        """Sirens that bear an acknowledged tag, and since when."""
        self.perhaps: dict[str, int] = {}
        """Sirens on which a tag may hang, and since when: its coming off was not acknowledged."""
        self.samples: dict[str, tuple[int, int]] = {}
        self.watched: list[Watched] = []
        """Low-lying spots, and what their gauges showed."""
        self.trace: list[str] = []
        self._watch = watch
        self._hash = hashlib.blake2b(digest_size=8)
        self._configs = configs
        self._arrivals: list[Arrival] = []
        self._clocks: dict[str, list[Clocked]] = {c.id: [] for c in configs}
        self._told_clock: dict[str, Clock] = {}

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def note(self, line: str) -> None:
        self._hash.update(line.encode())
        if self._watch:
            self.trace.append(line)

    def hears(self, world: World, station: Station, event: object) -> None:
        """A gateway is about to be told something."""
        self.counts["events"] += 1
        match event:
            case Clock():
                self._clocked(world, station.config.id, event)
            case Arrived(topic, payload, retained):
                self.note(f"{world.now_us} {station.config.id} {event}")
                if not retained and topic.rpartition("/")[2] in ("order", "stop"):
                    self._arrived(world, station.config.id, payload)
            case Ask() | Received() | Confirmed():
                self.note(f"{world.now_us} {station.config.id} {event}")

    def _clocked(self, world: World, id: str, event: Clock) -> None:
        self._told_clock[id] = event
        offset_us, believed = event.wall_us - world.wall_us, event.trust is not Trust.UNTRUSTED
        told = self._clocks[id]
        if not told or (told[-1].offset_us, told[-1].believed) != (offset_us, believed):
            told.append(Clocked(world.wall_us, offset_us, believed))

    def _arrived(self, world: World, id: str, payload: bytes) -> None:
        body, clock = _body(payload), self._told_clock[id]
        if "id" not in body:
            return
        # The gateway's clock was told up to a second ago, and its error counts in the order's favour.
        now, late = clock.wall_us, clock.wall_us + S
        instants: list[int | None] = [now, late, now - clock.error_us, late + clock.error_us]
        if clock.trust is Trust.UNTRUSTED:
            # Without the time it takes stops alone, wherever they come in, and knows of nothing whether it is old.
            instants = [None] if body.get("action") == Action.STOP else []
        good = any(worth(payload, at) for at in instants)
        self._arrivals.append(Arrival(id, world.wall_us, str(body["id"]), good, clock.wall_us))

    def forged(self, data: bytes, wall_us: int) -> None:
        """What a forger makes may by chance be rightly signed: then it is an order like any other. What is signed so
        and says nothing that can be read is none."""
        id = _body(data).get("id")
        if id is None or id in self.orders or not worth(data, wall_us):
            return
        payload = office.unb64(json.loads(data)["payload"])
        try:
            self.orders[id] = Order(wire.decode(OrderBody, payload), data)
        except Malformed:
            return

    # The history.

    def history(self, world: World, told: list[tuple[int, str, bytes]], unwell: list[str]) -> History:
        """`told` is what reached the hub; `unwell` what was not in order in the end."""
        wall = world.wall_offset_us
        sirens = [(s, c) for c in self._configs for s in c.spec.siren]
        drives: dict[Place, str] = {_place(s.drive): s.id for s, _ in sirens}
        offs = {_place(s.second_off) for s, _ in sirens if s.second_off}
        strays = {(c.unit, c.channel): f"{c.unit}.{c.channel}" for c in world.contacts
                  if (c.unit, c.channel) not in drives and (c.unit, c.channel) not in offs}
        beside = {_place(ref): f"{spot.id}.{key.partition('.')[0]}" for c in self._configs for spot in c.spec.spot
                  for key, ref in spot.outputs}
        strays = {place: name for place, name in strays.items() if place not in beside}
        contacts = [(c.t_us + wall, (c.unit, c.channel), c.on, c.cause) for c in world.contacts]
        sounds = [(s.t_us + wall, (s.unit, s.channel), s.on, s.cause) for s in world.sounds]
        orders = []
        for order in self.orders.values():
            body = order.body
            meant = tuple(s.id for s, c in sirens if body.targets(s.id, c.area_of(s), s.layer))
            orders.append(Ordered(body, meant, body.action is not Action.STOP or _grave(order)))
        lives = {id: [(start + wall, NEVER_US if end is None else end + wall) for start, end in spans]
                 for id, spans in world.lives.items()}
        troubles = self.troubles + [Trouble(kind, siren, since, NEVER_US) for kind, open_ in (
            ("tag", self.tags), ("perhaps-tag", self.perhaps)) for siren, since in open_.items()]
        return History(
            configs=self._configs, orders=orders,
            receipts=[wire.decode(Receipt, payload) for _, topic, payload in told if topic.endswith("/receipt")],
            soundings=list(_stretches(sounds, drives)),
            journals={id: [(t + wall, r) for t, r in (*s.disk.lost, *s.records)] for id, s in world.stations.items()},
            contacts=list(_stretches(contacts, drives)), stray=list(_stretches(contacts, strays)),
            arrivals=[replace(a, lived_us=_lived(lives[a.gateway], a.at_us)) for a in self._arrivals],
            asks=[replace(a, lived_us=_lived(lives[a.gateway], a.at_us)) for a in self.asks],
            troubles=troubles,
            frames=[Written(f.line, f.seen.first_byte_us + wall, f.seen.unit, f.seen.pdu, f.seen.foreign)
                    for f in world.frames],
            told=list(_said(world)), lives=lives, clocks=self._clocks, samples=self.samples, unwell=unwell,
            watched=self.watched, roadside=list(_stretches(contacts, beside)), begins_us=BEGIN_US + wall, wired=True)


def worth(data: bytes, wall_us: int | None) -> bool:
    """Whether the office could have sent this now, or at any time, says the second judge."""
    return authority.authorised(data, office.SIGNERS, office.DEPLOYMENT, wall_us)


def _body(data: bytes) -> dict[str, Any]:
    """What is signed, where it can be read at all."""
    try:
        return strictjson.load(office.unb64(json.loads(data)["payload"]), wire.MAX_ORDER_BYTES)
    except (ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError):
        return {}


def _grave(stop: Order) -> bool:
    """Whether its signers may stop what is live: a commander, or two persons."""
    members = json.loads(stop.data)["signatures"]
    kids = [json.loads(office.unb64(one["protected"])).get("kid") for one in members]
    known = [office.SIGNERS[kid] for kid in kids if kid in office.SIGNERS]
    return any("commander" in one["roles"] for one in known) or len({one["person"] for one in known}) > 1


def _place(ref: str) -> Place:
    drive = Drive.of(ref)
    return drive.device, drive.channel


def _lived(lives: list[tuple[int, int]], at_us: int) -> int:
    return min((end for _, end in lives if end >= at_us), default=NEVER_US) - at_us


def _said(world: World) -> Iterator[Told]:
    """What gateways published; of devices' readings nothing, for nobody judges them."""
    for id, station in world.stations.items():
        sirens = {s.id for s in station.config.spec.siren}
        for at_us, message in station.published:
            parts = message.topic.split("/")
            kind = parts[-1] if message.client is None else ""
            at_us += world.wall_offset_us
            if kind == "receipt":
                yield Told(id, at_us, wire.decode(Receipt, message.payload))
            elif kind == "event":
                yield Told(id, at_us, wire.decode(Event, message.payload))
            elif kind == "birth":
                yield Told(id, at_us, wire.decode(Birth, message.payload))
            elif kind == "state" and parts[-2] in sirens:
                yield Told(id, at_us, wire.decode(State, message.payload))


def _stretches(log: list[tuple[int, Place, bool, str]], names: Mapping[Place, str]) -> Iterator[Sounding]:
    begun: dict[str, tuple[int, str]] = {}
    for at_us, place, on, cause in log:
        name = names.get(place)
        if name is not None and on:
            begun[name] = at_us, cause
        elif name in begun:
            since, why = begun.pop(name)
            yield Sounding(name, since, at_us, why)
    for name, (since, why) in begun.items():
        yield Sounding(name, since, None, why)
