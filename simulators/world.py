"""Gateways, their lines, a broker that forgets nothing and a disk, on one heap of virtual time.

The gateways are the very machines that `sirend` runs; the field is the very one that `siren-sim serve` plays. Time
jumps from event to event and nothing here is random but by the seeds of the site. What happened is kept for those
who judge: every sound of the field, every message, every journal record.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

from controller import wire
from controller.config import Config
from controller.event import Append, Arrived, BrokerUp, Clock, Confirmed, Durable, Publish, Record, Trust
from controller.gateway import Gateway
from controller.succession import File
from controller.wire import Receipt
from firmware_bridge.event import LinkDown, LinkUp, Received, Reopen, Send
from firmware_bridge.machine import MS, S, Woken
from simulators.field import Field, Frame, Inject, Plug, Rise, Sound, ToLine, ToMaster
from simulators.site import Plan
from simulators.storm import Storm

DISK_US = 3 * MS
BROKER_US = 2 * MS
WALL_US = 1_789_696_800_000_000
"""2026-09-18 02:00:00 UTC, ten o'clock in the morning in Zhengzhou."""


@dataclass
class Station:
    """One gateway in the world, with its disk and what it published."""

    config: Config
    gateway: Gateway
    records: list[tuple[int, Record]] = field(default_factory=list)
    published: list[tuple[int, Publish]] = field(default_factory=list)
    prepared: dict[str, object] = field(default_factory=dict)
    woken_us: int | None = None
    disk_us: int = DISK_US
    """How long an append takes; 0: the disk never answers."""
    life: int = 0
    """A restart makes what is still under way for the old process nobody's."""

    def receipts(self) -> list[Receipt]:
        """In order of their numbers, each once."""
        found = {r.seq: r for r in (wire.decode(Receipt, p.payload) for _, p in self.published
                                    if p.topic.endswith("/receipt"))}
        return [found[n] for n in sorted(found)]


class World:
    """A site and the gateways that drive it. `now_us` is monotonic; the wall clock begins at WALL_US."""

    def __init__(self, plan: Plan, configs: list[Config], trust: File) -> None:
        self.now_us = 10 * S
        self.wall_offset_us = WALL_US - self.now_us
        self.field = Field(plan, Random)
        self.trust = trust
        self.safe_min = ""
        """Why a gateway that starts now begins in SAFE-MIN."""
        self.sounds: list[Sound] = []
        self.frames: list[Frame] = []
        self.stations: dict[str, Station] = {}
        self._n = count()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._field_woken_us: int | None = None
        self._lines = {line.id: _where(line.kind, line.path, line.port) for line in plan.spec.line}
        self._buses: dict[str, tuple[str, str]] = {}
        for config in configs:
            self._start(config, [])
        self._settle_field()

    # Time.

    @property
    def wall_us(self) -> int:
        return self.now_us + self.wall_offset_us

    def at(self, t_us: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (t_us, next(self._n), what))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end_us = self.now_us + round(seconds * S)
        while self._heap and self._heap[0][0] <= end_us:
            t_us, _, what = heapq.heappop(self._heap)
            assert t_us >= self.now_us
            self.now_us = t_us
            what()
        self.now_us = end_us

    # What a test does to the world.

    def order(self, data: bytes, topic: str) -> None:
        """A message comes down to every gateway that listens there."""
        for station in self.stations.values():
            if topic in wire.subscriptions(station.config.area, station.config.id):
                self.tell(station, Arrived(topic, data))

    def inject(self, target: str, fault: str, share: float = 1.0) -> None:
        self._field(Inject(target, fault, share))

    def storm(self, storm: Storm | None, water: str | None = None, speed: float = 1.0) -> None:
        self._field(Rise(storm, water, speed))

    def step_wall(self, seconds: float) -> None:
        """The wall clock is set; gateways hear of it with their next tick."""
        self.wall_offset_us += round(seconds * S)

    def restart(self, id: str, away_s: float = 1.0, lose_unsynced: bool = True) -> None:
        """The process dies at once and comes back after a while with what its disk holds."""
        station = self.stations.pop(id)
        station.life += 1
        kept = [(t, r) for t, r in station.records if not lose_unsynced or t <= self.now_us]
        self.at(self.now_us + round(away_s * S), lambda: self._start(station.config, kept, station.published))

    # Gateways.

    def _start(self, config: Config, records: list[tuple[int, Record]],
               published: list[tuple[int, Publish]] | None = None) -> None:
        session = f"{config.id}-{self.now_us}"
        gateway = Gateway(config, self.trust, [r for _, r in records], session, "world", safe_min=self.safe_min)
        station = self.stations[config.id] = Station(config, gateway, list(records), published or [])
        for bus in config.spec.bus:
            line = next(id for id, where in self._lines.items() if bus.link == where)
            self._buses[line] = config.id, bus.id
        self._tick(station, station.life)
        for bus in config.spec.bus:
            self.tell(station, LinkUp(bus.id))
        self.tell(station, BrokerUp())

    def _tick(self, station: Station, life: int) -> None:
        if station.life == life:
            self.tell(station, Clock(self.wall_us, 0, Trust.ASSUMED))
            self.at(self.now_us + S, lambda: self._tick(station, life))

    def tell(self, station: Station, event: object) -> None:
        """Hand one event to a gateway and carry out what comes of it."""
        life = station.life
        for effect in station.gateway.handle(self.now_us, event):
            match effect:
                case Send(bus, data, at_us):
                    mark = station.prepared[bus] = object()
                    if data and at_us is not None and at_us > self.now_us:
                        self.at(at_us, partial(self._leave, station, bus, data, mark))
                    elif data:
                        self._leave(station, bus, data, mark)
                case Reopen(bus):
                    self.at(self.now_us + 1, partial(self._reopen, station, bus))
                case Append(token, record):
                    if station.disk_us:
                        durable_us = self.now_us + station.disk_us
                        station.records.append((durable_us, record))
                        self._later(durable_us, station, life, Durable(token))
                case Publish() if effect.client is None:
                    station.published.append((self.now_us, effect))
                    if effect.token is not None:
                        self._later(self.now_us + BROKER_US, station, life, Confirmed(effect.token))
                case Publish():
                    station.published.append((self.now_us, effect))
        due_us = station.gateway.deadline
        if due_us is not None and (station.woken_us is None or due_us < station.woken_us):
            station.woken_us = due_us
            self.at(due_us, lambda: self._wake(station, life, due_us))

    def _later(self, t_us: int, station: Station, life: int, event: object) -> None:
        self.at(t_us, lambda: self.tell(station, event) if station.life == life else None)

    def _wake(self, station: Station, life: int, due_us: int) -> None:
        if station.life != life or station.woken_us != due_us:
            return
        station.woken_us = None
        self.tell(station, Woken())

    def _reopen(self, station: Station, bus: str) -> None:
        self.tell(station, LinkDown(bus, "closed to be opened again"))
        self.tell(station, LinkUp(bus))

    # Lines.

    def _leave(self, station: Station, bus: str, data: bytes, mark: object) -> None:
        if station.prepared.get(bus) is mark and self.stations.get(station.config.id) is station:
            line = next(id for id, owner in self._buses.items() if owner == (station.config.id, bus))
            self._field(ToLine(line, data))

    def _field(self, event: ToLine | Inject | Rise | Woken) -> None:
        for effect in self.field.handle(self.now_us, event):
            match effect:
                case ToMaster(line, data):
                    self._hear(line, data)
                case Sound():
                    self.sounds.append(effect)
                case Frame():
                    self.frames.append(effect)
                case Plug(line, on):
                    gateway, bus = self._buses[line]
                    station = self.stations[gateway]
                    self.tell(station, LinkUp(bus) if on else LinkDown(bus, "unplugged"))
        self._settle_field()

    def _hear(self, line: str, data: bytes) -> None:
        gateway, bus = self._buses[line]
        if gateway in self.stations:
            self.tell(self.stations[gateway], Received(bus, data))

    def _settle_field(self) -> None:
        due_us = self.field.deadline
        if due_us is not None and due_us != self._field_woken_us:
            self._field_woken_us = due_us
            self.at(max(due_us, self.now_us), lambda: self._wake_field(due_us))

    def _wake_field(self, due_us: int) -> None:
        if self._field_woken_us == due_us:
            self._field_woken_us = None
            self._field(Woken())


def _where(kind: str, path: str | None, port: int | None) -> str:
    """The `link` by which a gateway names a line of the site."""
    return f"serial:{path}" if kind == "rtu" else f"tcp:127.0.0.1:{port}"
