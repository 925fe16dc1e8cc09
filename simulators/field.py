"""The field: every line, unit and wire of a `Plan`, as one machine.

Octets from masters come in, octets to masters and the site's own logs come out. Between a relay and a current there is
a motor: it spools up and down, a second output or an isolator may take its power, and what it then does is the sound
that the site log tells. It refuses to know what any gateway believes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from controller.config import Drive
from firmware_bridge.machine import MS, Woken, earliest
from firmware_bridge.modbus import refusal_pdu
from firmware_bridge.point import Point, Scalar
from simulators.damage import Damage
from simulators.device import SimDevice
from simulators.dialect import ANY, Dialect, Plain, Rtu
from simulators.endpoint import Endpoint, HungUp, Segments
from simulators.faults import Fault, NoSuch
from simulators.line import Answer, Heard, Line, Put, Rng, Seen
from simulators.site import Plan, UnitSection, WireSection
from simulators.storm import Storm
from simulators.water import Waters

BROADCAST = 0
"""Every unit does it and none answers (Modbus over Serial Line V1.02, 2.2)."""
SOUNDING_KINDS = {"siren", "annunciator", "voice"}
"""Kinds of device that sound by themselves; anything else sounds only through a wire."""
BROADCAST_US = 100 * MS
"""A unit is busy with a broadcast for so long, and loses a frame that begins meanwhile. A master has to keep a
turnaround delay of 'typically 100 ms to 200 ms' for it (Modbus over Serial Line V1.02, 2.4.1)."""


# Into the field.


class ToLine(NamedTuple):
    """Octets came from a master; on a TCP endpoint from this connection, `foreign` from another on a serial line."""

    line: str
    data: bytes
    connection: int = 0
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """A connection to a TCP endpoint ended."""

    line: str
    connection: int


@dataclass(frozen=True, slots=True)
class Inject:
    """Begin or (`share` 0) end a fault of a unit (`relay-1`), an output (`relay-1.2`) or a line; see `faults.py`."""

    target: str
    fault: str
    share: float = 1.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SetPoint:
    """The world feeds a point: a water level, a contact. None hands it back to the profile's `[simulate]`."""

    unit: str
    point: str
    value: Scalar | None


@dataclass(frozen=True, slots=True)
class Rise:
    """A storm begins on a water, or on all; None dries the road. `speed`: its seconds in one of ours."""

    storm: Storm | None
    water: str | None = None
    speed: float = 1.0


# Out of the field.


class ToMaster(NamedTuple):
    """Octets reach a master; of a TCP endpoint, on this connection."""

    line: str
    data: bytes
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Hang:
    """The endpoint closes this connection."""

    line: str
    connection: int
    why: str


@dataclass(frozen=True, slots=True)
class Plug:
    """The adapter of a line is pulled out, or put in again."""

    line: str
    on: bool


@dataclass(frozen=True, slots=True)
class Sound:
    """A siren began or ended to sound."""

    t_us: int
    unit: str
    channel: int | None
    on: bool
    cause: str


@dataclass(frozen=True, slots=True)
class Contact:
    """An output closed or opened, whether or not anything sounds by it."""

    t_us: int
    unit: str
    channel: int | None
    on: bool
    cause: str


class Frame(NamedTuple):
    """The units of a line saw a request."""

    line: str
    seen: Seen


FieldEvent = ToLine | Left | Inject | SetPoint | Rise | Woken
FieldEffect = ToMaster | Hang | Plug | Sound | Contact | Frame


class _Motor:
    """What one output drives, with its wires to inputs. A head that is not wired has none."""

    def __init__(self, wires: list[WireSection]) -> None:
        self.wires = wires
        self.driven = False
        self.cut = False
        self.locked = False
        self.on = False

    def settle(self) -> bool:
        """Whether it began or ended to run."""
        was, self.on = self.on, self.driven and not self.cut and not self.locked
        return self.on != was


class Field:
    """A running site, switched on at 0. `rng` makes a source of chance from a seed: `random.Random`."""

    def __init__(self, plan: Plan, rng: Callable[[int], Rng]) -> None:
        self.plan = plan
        self._rng = rng
        self._now_us = 0
        self._out: list[FieldEffect] = []
        self._units: dict[str, SimDevice] = {}
        self._on_line: dict[str, list[SimDevice]] = {n.id: [] for n in plan.spec.line}
        self._motors: dict[tuple[str, int | None], _Motor] = {}
        self._pending: dict[tuple[str, str], tuple[int, Scalar]] = {}
        # What a unit's points lock, what an output cuts, and when each unit wants to be woken (asked when touched).
        self._locked_by: dict[str, list[tuple[tuple[str, int | None], str]]] = {}
        self._cut_by: dict[Drive, list[tuple[str, int | None]]] = {}
        self._units_us: dict[str, int | None] = {}
        self._unit_us: int | None = None
        self.deadline: int | None = None
        self._busy_us: dict[str, int] = {}
        """Units that carry out a broadcast, and until when."""
        for unit in plan.spec.unit:
            self._units[unit.id] = self._unit(unit)
            self._on_line[unit.line].append(self._units[unit.id])
        self.lines: dict[str, Line] = {}
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self._segments: dict[str, Segments] = {}
        for n in plan.spec.line:
            if n.kind == "tcp":
                self._segments[n.id] = Segments()
            else:
                self.lines[n.id] = Line(n.baud, self._asker(n.id), rng(n.seed), chunks=n.chunks,
                                        error_rate=n.error_rate, echo=n.echo, strict=n.strict,
                                        dialect=self._dialect(n.id))
        self.waters = Waters(plan)
        self._held: set[tuple[str, str]] = set()
        """Points that somebody feeds by hand: the water does not move them."""
        self.damage = Damage(self._on_line, self.lines, self._segments, self.waters, rng)
        self._wire_up()

    def _dialect(self, line: str) -> Dialect:
        messages = [m for device in self._on_line[line] for m in device.profile.messages.values()]
        return Plain(messages) if messages else Rtu()

    def _unit(self, unit: UnitSection) -> SimDevice:
        limits: dict[int | None, float] = {}
        for wire in self.plan.spec.wire:
            drive = Drive.of(wire.from_)
            if drive.device == unit.id and wire.hard_limit_s is not None:
                limits[drive.channel] = min(wire.hard_limit_s, limits.get(drive.channel, wire.hard_limit_s))
        profile = self.plan.profiles[unit.profile]
        written = {name: value for name, value in unit.initial.items() if profile.points[name].spec.write}
        device = SimDevice(unit.id, unit.unit, profile, unit.seed, hard_limit_s=limits, boot_ms=unit.boot_ms,
                           initial=written)
        for name, value in unit.initial.items():
            if name not in written:
                device.set_point(0, name, value)
        if unit.dead:
            device.inject(0, Fault.DEAD)
        return device

    def _wire_up(self) -> None:
        """Motors for every wired output and every head, at rest."""
        for id, device in self._units.items():
            if device.profile.output is not None and device.profile.spec.kind in SOUNDING_KINDS:
                for channel in device.outputs():
                    self._motors[id, channel] = _Motor([])
        for wire in self.plan.spec.wire:
            drive = Drive.of(wire.from_)
            place = drive.device, drive.channel
            self._motors.setdefault(place, _Motor([])).wires.append(wire)
            if wire.cut_by and place not in (cuts := self._cut_by.setdefault(Drive.of(wire.cut_by), [])):
                cuts.append(place)
            if wire.locked_by:
                unit, _, point = wire.locked_by.partition(".")
                self._locked_by.setdefault(unit, []).append((place, point))
            if wire.to is not None:
                unit, _, point = wire.to.partition(".")
                self._units[unit].set_point(0, point, wire.value_off)
        for id in self._units:
            self._settle(0, id)
        self.deadline = self._due()

    def _due(self) -> int | None:
        return earliest(self._unit_us, self.waters.deadline, *[line.deadline for line in self.lines.values()],
                        *[one.deadline for one in self._endpoints.values()], *[at for at, _ in self._pending.values()])

    def handle(self, now_us: int, event: FieldEvent) -> list[FieldEffect]:
        """NoSuch for an Inject, SetPoint or Rise that names what is not there; nothing has happened then."""
        try:
            self._catch_up(now_us)
            self._now_us = now_us
            match event:
                case ToLine():
                    self._put(now_us, event)
                case Left(line, connection):
                    self._endpoints.pop((line, connection), None)
                case Inject():
                    self._inject(now_us, event)
                case SetPoint(unit, point, value):
                    self._set_point(now_us, unit, point, value)
                case Rise(storm, water, speed):
                    for unit, fault in self.waters.play(now_us, storm, water, speed):
                        self._inject(now_us, Inject(unit, fault, 0))
                case Woken():
                    return self._out
            self.deadline = self._due()
            self._catch_up(now_us)
            return self._out
        finally:
            self._out = []

    def _catch_up(self, now_us: int) -> None:
        """Let everything happen that was due until now, each thing at its own instant."""
        while self.deadline is not None and self.deadline <= now_us:
            self._step(self.deadline)
            self.deadline = self._due()

    def _step(self, now_us: int) -> None:
        """Everything that is due at this instant, each part once; the rest has a deadline of its own."""
        for place, (at_us, value) in list(self._pending.items()) if self._pending else ():
            if at_us <= now_us:
                del self._pending[place]
                self._units[place[0]].set_point(now_us, place[1], value)
                self._settle(now_us, place[0])
        for unit, fault, share in self.waters.due(now_us):
            self._inject(now_us, Inject(unit, fault, share))
        if self._unit_us is not None and self._unit_us <= now_us:
            for id, due_us in list(self._units_us.items()):
                if due_us is not None and due_us <= now_us:
                    self._units[id].handle(now_us, Woken())
                    self._settle(now_us, id)
        for id, line in self.lines.items():
            if line.deadline is not None and line.deadline <= now_us:
                self._tell(id, 0, line.handle(now_us, Woken()))
        for (id, connection), endpoint in self._endpoints.items():
            if endpoint.deadline is not None and endpoint.deadline <= now_us:
                self._tell(id, connection, endpoint.handle(now_us, Woken()))

    def _put(self, now_us: int, event: ToLine) -> None:
        line = event.line
        if line in self.damage.unplugged and not event.foreign:
            return
        if line in self.lines:
            self._tell(line, 0, self.lines[line].handle(now_us, Put(event.data, event.foreign)))
            return
        endpoint = self._endpoints.get((line, event.connection))
        if endpoint is None:
            spec = next(n for n in self.plan.spec.line if n.id == line)
            endpoint = Endpoint(self._asker(line), self._rng(spec.seed), refuse_silent=spec.refuse_silent,
                                segments=self._segments[line])
            self._endpoints[line, event.connection] = endpoint
        self._tell(line, event.connection, endpoint.handle(now_us, Put(event.data)))

    def _tell(self, line: str, connection: int, effects: list[Heard | Seen] | list[Heard | Seen | HungUp]) -> None:
        for effect in effects:
            match effect:
                case Heard() if line in self.damage.unplugged:
                    pass
                case Heard(data):
                    self._out.append(ToMaster(line, data, connection))
                case Seen():
                    self._out.append(Frame(line, effect))
                case HungUp(why):
                    self._out.append(Hang(line, connection, why))

    # Requests.

    def _asker(self, line: str) -> Callable[[int, Seen], list[Answer]]:
        obey = [(d, {BROADCAST, ANY, d.unit, *d.profile.line.wildcards}) for d in self._on_line[line]]

        def ask(now_us: int, request: Seen) -> list[Answer]:
            said = self.damage.diverted(line, request)
            if said is not None:
                return [said]
            answers = [self._answer(now_us, device, request) for device, units in obey if request.unit in units]
            return [answer for answer in answers if answer is not None]

        return ask

    def _answer(self, now_us: int, device: SimDevice, request: Seen) -> Answer | None:
        """What comes of a request to one unit, on its way back."""
        if request.first_byte_us < self._busy_us.get(device.id, 0):
            return None
        self._feel(now_us, device)
        code = None if device.silent else self.damage.refused(device)
        pdu = device.handle(now_us, request.pdu) if code is None else refusal_pdu(request.pdu[0], code)
        self._settle(now_us, device.id)
        if request.unit == BROADCAST:
            self._busy_us[device.id] = now_us + BROADCAST_US
            return None
        answer = pdu and Answer(device.profile.line.turnaround_ms * MS, request.unit, pdu)
        return self.damage.hurt(device, answer) if answer else None

    def _feel(self, now_us: int, device: SimDevice) -> None:
        """Its gauges show the water as it is now."""
        for name, value in self.waters.shown(now_us, device.id).items():
            if (device.id, name) not in self._held:
                device.set_point(now_us, name, value)

    # Motors.

    def _settle(self, now_us: int, unit: str) -> None:
        """A unit was touched: what its outputs did reaches the motors, and theirs the inputs."""
        device = self._units[unit]
        switched, device.log = device.log, []
        for one in switched:
            self._out.append(Contact(one.t_us, unit, one.channel, one.on, str(one.cause)))
            motor = self._motors.get((unit, one.channel))
            if motor is not None:
                motor.driven = one.on
                self._run(one.t_us, (unit, one.channel), str(one.cause))
            for place in self._cut_by.get(Drive(unit, one.channel), ()):
                self._motors[place].cut = one.on
                self._run(one.t_us, place, "second-off")
        locks = self._locked_by.get(unit, ())
        locked = {place for place, point in locks if device.value(point) is True}
        for place in dict.fromkeys(place for place, _ in locks):
            self._motors[place].locked = place in locked
            self._run(now_us, place, "isolator")
        due_us = device.deadline
        if due_us != self._units_us.get(unit):
            self._units_us[unit] = due_us
            self._unit_us = earliest(*self._units_us.values())

    def _run(self, t_us: int, place: tuple[str, int | None], cause: str) -> None:
        motor = self._motors[place]
        if not motor.settle():
            return
        self._out.append(Sound(t_us, *place, motor.on, cause))
        for wire in motor.wires:
            if wire.to is not None:
                unit, _, point = wire.to.partition(".")
                after_ms = wire.rise_ms if motor.on else wire.fall_ms
                self._pending[unit, point] = t_us + after_ms * MS, wire.value_on if motor.on else wire.value_off

    # From the world.

    def _inject(self, now_us: int, event: Inject) -> None:
        before = set(self.damage.unplugged)
        self.damage.inject(now_us, event.target, event.fault, event.share, event.seconds)
        for line in before ^ self.damage.unplugged:
            # Whatever was on the way is gone, and so are the connections.
            if line in self.lines:
                self.lines[line].reset()
            self._endpoints = {place: one for place, one in self._endpoints.items() if place[0] != line}
            self._out.append(Plug(line, line not in self.damage.unplugged))
        unit = event.target.partition(".")[0]
        if unit in self._units:
            self._settle(now_us, unit)

    def _set_point(self, now_us: int, unit: str, name: str, value: Scalar | None) -> None:
        point = self._point(unit, name)
        try:
            if value is not None:
                point.encode(value)
        except ValueError as error:
            raise NoSuch(str(error)) from None
        self._pending.pop((unit, name), None)
        (self._held.discard if value is None else self._held.add)((unit, name))
        self._units[unit].set_point(now_us, name, value)
        self._settle(now_us, unit)

    def _point(self, unit: str, name: str) -> Point:
        device = self._units.get(unit)
        if device is None:
            raise NoSuch(f"{unit!r} is no unit; units: {', '.join(self._units)}")
        if name not in device.profile.points:
            raise NoSuch(f"{name!r} is no point of {unit}; points: {', '.join(device.profile.points)}")
        return device.profile.points[name]

    # What there is, for whoever shows it.

    def sounding(self) -> dict[tuple[str, int | None], bool]:
        """Every siren of the site, and whether it sounds."""
        return {place: motor.on for place, motor in self._motors.items()}

    def plugged(self, line: str) -> bool:
        """Whether the adapter of a line is in."""
        return line not in self.damage.unplugged

    def faults(self, target: str) -> tuple[dict[str, dict[str, float]], tuple[Fault, ...]]:
        """What is wrong with a target (place -> fault -> share), and what can be. NoSuch when there is none."""
        return self.damage.on(target), self.damage.can(target)

    def value(self, unit: str, name: str, *, shown: bool = False) -> Scalar:
        """The true value of a point as of the last event, or what the unit shows."""
        self._point(unit, name)
        device = self._units[unit]
        self._feel(self._now_us, device)
        return device.shown(name) if shown else device.value(name)
