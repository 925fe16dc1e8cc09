"""Gateways, their lines, their disks and what carries their messages, on one heap of virtual time.

The gateways are the very machines that `sirend` runs; the field is the very one that `siren-sim serve` plays. Time
jumps from event to event and nothing here is random but by the seeds of the site. What happened is kept for those
who judge: every sound of the field, every message, every journal record. How messages travel is the business of the
`Post` that is handed in; without one the broker is always there and takes everything.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Protocol

from controller import wire
from controller.config import Config
from controller.event import Append, AppendFailed, Arrived, BrokerUp, Clock, Confirmed, Durable, Publish, Record, Trust
from controller.gateway import Gateway
from controller.succession import File
from controller.wire import Receipt
from firmware_bridge.event import LinkDown, LinkUp, Received, Reopen, Send
from firmware_bridge.machine import MS, S, Woken
from simulators.disk import Disk
from simulators.field import Contact, Field, FieldEvent, Frame, Inject, Left, Plug, Rise, Sound, ToLine, ToMaster
from simulators.site import Plan
from simulators.storm import Storm

BROKER_US = 2 * MS
WALL_US = 1_789_696_800_000_000
"""2026-09-18 02:00:00 UTC, ten o'clock in the morning in Zhengzhou."""
BEGIN_US = 10 * S
"""What the monotonic clock says when a world begins."""


@dataclass
class Timepiece:
    """What a gateway is told of the wall clock: how far it is off, how it drifts, and how far it is believed."""

    offset_us: int = 0
    drift_ppm: float = 0.0
    error_us: int = 0
    trust: Trust = Trust.ASSUMED

    def reads(self, wall_us: int) -> Clock:
        return Clock(wall_us + self.offset_us, self.error_us, self.trust)

    def mend(self) -> None:
        """It is right again."""
        self.offset_us, self.drift_ppm, self.error_us, self.trust = 0, 0.0, 0, Trust.TRUSTED

    def age(self, elapsed_us: int) -> None:
        self.offset_us += round(elapsed_us * self.drift_ppm / 1e6)


@dataclass
class Station:
    """One gateway in the world, with its disk, its clock and what it published."""

    config: Config
    gateway: Gateway
    disk: Disk
    clock: Timepiece
    published: list[tuple[int, Publish]] = field(default_factory=list)
    prepared: dict[str, object] = field(default_factory=dict)
    woken_us: int | None = None
    life: int = 0
    """A restart makes what is still under way for the old process nobody's."""

    @property
    def records(self) -> list[tuple[int, Record]]:
        return self.disk.records

    @property
    def disk_us(self) -> int:
        """How long an append takes; 0: the disk never answers."""
        return self.disk.answer_us

    @disk_us.setter
    def disk_us(self, value: int) -> None:
        self.disk.answer_us = value

    def receipts(self) -> list[Receipt]:
        """In order of their numbers, each once."""
        found = {r.seq: r for r in (wire.decode(Receipt, p.payload) for _, p in self.published
                                    if p.topic.endswith("/receipt"))}
        return [found[n] for n in sorted(found)]


class Post(Protocol):
    """What carries messages between gateways and their centre."""

    def began(self, station: Station) -> None: ...

    def ended(self, station: Station) -> None: ...

    def publish(self, station: Station, message: Publish) -> None: ...


class World:
    """A site and the gateways that drive it. `now_us` is monotonic; the wall clock begins at WALL_US."""

    def __init__(self, plan: Plan, configs: list[Config], trust: File, post: "Callable[[World], Post] | None" = None,
                 clock: Callable[[], Timepiece] = Timepiece,
                 heard_by: "Callable[[World, Station, object], None] | None" = None, policy: str = "") -> None:
        self.now_us = BEGIN_US
        self.wall_offset_us = WALL_US - self.now_us
        self.field = Field(plan, Random)
        self.trust = trust
        self.safe_min = ""
        """Why a gateway that starts now begins in SAFE-MIN."""
        self.policy = policy
        """The flood policy that a gateway that starts now finds in its file."""
        self.sounds: list[Sound] = []
        self.contacts: list[Contact] = []
        self.frames: list[Frame] = []
        self.lives: dict[str, list[tuple[int, int | None]]] = {config.id: [] for config in configs}
        """When each gateway's processes began and ended; None: it lives."""
        self._heard_by = heard_by
        """Told of each event before a gateway is: for those who write down what happens."""
        self.stations: dict[str, Station] = {}
        self._n = count()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._field_woken_us: int | None = None
        self._lines = {line.id: _where(line.kind, line.path, line.port) for line in plan.spec.line}
        self._buses: dict[str, tuple[str, str]] = {}
        self._line_of: dict[tuple[str, str], str] = {}
        self._post: Post = _Plain(self) if post is None else post(self)
        for config in configs:
            self._start(config, Disk(), clock())
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
        heap = self._heap
        while heap and heap[0][0] <= end_us:
            t_us, _, what = heapq.heappop(heap)
            assert t_us >= self.now_us
            self.now_us = t_us
            what()
        self.now_us = end_us

    # What a test does to the world.

    def order(self, data: bytes, topic: str) -> None:
        """A message comes down to every gateway that listens there."""
        for station in list(self.stations.values()):
            if topic in wire.subscriptions(station.config.area, station.config.id):
                self.tell(station, Arrived(topic, data))

    def inject(self, target: str, fault: str, share: float = 1.0, seconds: float | None = None) -> None:
        self.do(Inject(target, fault, share, seconds))

    def storm(self, storm: Storm | None, water: str | None = None, speed: float = 1.0) -> None:
        self.do(Rise(storm, water, speed))

    def step_wall(self, seconds: float) -> None:
        """The wall clock is set; gateways hear of it with their next tick."""
        self.wall_offset_us += round(seconds * S)

    def restart(self, id: str, away_s: float = 1.0, lose_unsynced: bool = True, kept: int = 0, safe_min: str = "",
                forgets: bool = False) -> None:
        """The process dies at once and comes back after a while with what its disk holds.

        Of what was not synced the first `kept` records are there all the same. `safe_min`: why it comes back in
        SAFE-MIN. `forgets`: its journal is gone, but for what is kept beside it.
        """
        station = self.stations.pop(id, None)
        if station is None:
            return
        station.life += 1
        station.disk.cut(self.now_us, kept if lose_unsynced else None)
        if forgets:
            station.disk.lose()
        self.lives[id][-1] = self.lives[id][-1][0], self.now_us
        self._post.ended(station)
        for bus in station.config.spec.bus:
            self.do(Left(self._line_of[id, bus.id], 0))
        again = partial(self._start, station.config, station.disk, station.clock, station.published, safe_min, forgets)
        self.at(self.now_us + round(away_s * S), again)

    # Gateways.

    def _start(self, config: Config, disk: Disk, clock: Timepiece,
               published: list[tuple[int, Publish]] | None = None, safe_min: str = "", forgot: bool = False) -> None:
        session = f"{config.id}-{self.now_us}"
        known = {"forgot": True} if forgot else {}
        gateway = Gateway(config, self.trust, disk.read(), session, "world", safe_min=safe_min or self.safe_min,
                          chance=session, policy=self.policy, **known)
        station = self.stations[config.id] = Station(config, gateway, disk, clock, published or [])
        self.lives[config.id].append((self.now_us, None))
        for bus in config.spec.bus:
            line = next(id for id, where in self._lines.items() if bus.link == where)
            self._buses[line] = config.id, bus.id
            self._line_of[config.id, bus.id] = line
        self._tick(station, station.life)
        for bus in config.spec.bus:
            if self.field.plugged(self._line_of[config.id, bus.id]):
                self.tell(station, LinkUp(bus.id))
        self._post.began(station)

    def _tick(self, station: Station, life: int) -> None:
        if station.life == life:
            self.tell(station, station.clock.reads(self.wall_us))
            station.clock.age(S)
            self.at(self.now_us + S, partial(self._tick, station, life))

    def tell(self, station: Station, event: object) -> None:
        """Hand one event to a gateway and carry out what comes of it."""
        life = station.life
        if self._heard_by is not None:
            self._heard_by(self, station, event)
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
                        answer = station.disk.append(self.now_us, token, record)
                        if answer is not None:
                            at_us, why = answer
                            self.later(at_us, station, AppendFailed(token, why) if why else Durable(token))
                case Publish():
                    station.published.append((self.now_us, effect))
                    if effect.client is None:
                        self._post.publish(station, effect)
        due_us = station.gateway.deadline
        if due_us is not None and (station.woken_us is None or due_us < station.woken_us):
            station.woken_us = due_us
            self.at(due_us, partial(self._wake, station, life, due_us))

    def mend_disk(self, station: Station) -> None:
        """The disk works again, and answers what it had left hanging."""
        for token, at_us in station.disk.mend(self.now_us):
            self.later(at_us, station, Durable(token))

    def later(self, t_us: int, station: Station, event: object) -> None:
        """An event for this process, if it still lives then."""
        life = station.life
        self.at(t_us, lambda: self.tell(station, event) if station.life == life else None)

    def _wake(self, station: Station, life: int, due_us: int) -> None:
        if station.life != life or station.woken_us != due_us:
            return
        station.woken_us = None
        self.tell(station, Woken())

    def _reopen(self, station: Station, bus: str) -> None:
        """The port is closed and opened again, if its adapter is there."""
        if self.stations.get(station.config.id) is not station:
            return
        line = self._line_of[station.config.id, bus]
        self.do(Left(line, 0))
        self.tell(station, LinkDown(bus, "closed to be opened again"))
        if self.field.plugged(line):
            self.tell(station, LinkUp(bus))

    # Lines.

    def _leave(self, station: Station, bus: str, data: bytes, mark: object) -> None:
        if station.prepared.get(bus) is mark and self.stations.get(station.config.id) is station:
            self.do(ToLine(self._line_of[station.config.id, bus], data))

    def do(self, event: FieldEvent) -> None:
        """Something happens to the field, and what comes of it reaches the gateways."""
        for effect in self.field.handle(self.now_us, event):
            match effect:
                case ToMaster(line, data):
                    self._hear(line, data)
                case Contact():
                    self.contacts.append(effect)
                case Sound():
                    self.sounds.append(effect)
                case Frame():
                    self.frames.append(effect)
                case Plug(line, on):
                    gateway, bus = self._buses[line]
                    if gateway in self.stations:
                        self.tell(self.stations[gateway], LinkUp(bus) if on else LinkDown(bus, "unplugged"))
        self._settle_field()

    def _hear(self, line: str, data: bytes) -> None:
        gateway, bus = self._buses[line]
        if gateway in self.stations:
            self.tell(self.stations[gateway], Received(bus, data))

    def _settle_field(self) -> None:
        due_us = self.field.deadline
        if due_us is not None and due_us != self._field_woken_us:
            self._field_woken_us = due_us
            self.at(max(due_us, self.now_us), partial(self._wake_field, due_us))

    def _wake_field(self, due_us: int) -> None:
        if self._field_woken_us == due_us:
            self._field_woken_us = None
            self.do(Woken())


class _Plain:
    """A broker that is always there, takes everything at once and tells nobody."""

    def __init__(self, world: World) -> None:
        self._world = world

    def began(self, station: Station) -> None:
        self._world.tell(station, BrokerUp())

    def ended(self, station: Station) -> None:
        pass

    def publish(self, station: Station, message: Publish) -> None:
        if message.token is not None:
            self._world.later(self._world.now_us + BROKER_US, station, Confirmed(message.token))


def _where(kind: str, path: str | None, port: int | None) -> str:
    """The `link` by which a gateway names a line of the site."""
    return f"serial:{path}" if kind == "rtu" else f"tcp:127.0.0.1:{port}"
