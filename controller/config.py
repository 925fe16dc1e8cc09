"""`gateway.toml`: what one gateway is, which buses, devices and sirens it has, checked as a whole.

`load` reads it together with the profiles and signals it names, and either gives a `Config` whose every name is
known to exist, or every problem of every file at once. Relative paths are relative to the file they stand in.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from controller import broker, scale, signal, spot, wiring
from controller.broker import MqttSection
from controller.roots import DEMO_ROOT, TrustSection, demo_roots
from controller.scale import NAMES, ScaleFile
from controller.signal import Signals
from controller.spot import FloodSection, SpotSection
from controller.wire import Code, FullArea, Layer
from controller.wiring import BusSection
from firmware_bridge import document, profile
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.point import Point
from firmware_bridge.profile import OutputClass, Profile

PointRef = spot.PointRef
"""`device.point`, a channel's point with its number: `meter-1.current_3`."""
DriveRef = spot.DriveRef
"""`device` or `device.channel`."""

POLL_MS = 2000
"""The slowest poll by which a contactor or a phase is judged within an on-phase of six seconds."""
GROWL_MS = 3000
"""A growl where its section does not say: what a technician may sound at all."""
MOTOR_GROWL_MS = 1500
"""... and of a motor, which takes longer to its full sound. Two readings of a point polled each 500 ms fit into it."""

ASSUMED_CLOCK = ("demo", "test")
"""Deployments in which the wall clock may be taken for right: nobody is warned by them."""


class GatewaySection(Document):
    id: Code
    name: str = ""
    area: FullArea
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    """Bound into every signed order, so that a test net's orders do not work in production."""


class ClockSection(Document):
    source: Literal["kernel", "assumed"]
    """`kernel`: trusted when the kernel says the clock is disciplined. `assumed`: demos and tests only."""


class JournalSection(Document):
    path: str
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 200


class BlackboxSection(Document):
    """The record of all that came to the gateway, beside the journal; `sirenctl replay` lives it again."""

    size_mb: Annotated[int, Field(ge=0, le=4096)] = 64
    """At most so much of the disk; the oldest goes. One line fills it in days. 0: none is kept."""


class LocalSection(Document):
    socket: str
    technicians: dict[str, str] = {}
    """Unix user name -> person. Only these may activate or quiet-test; anybody may look, and may stop."""
    commanders: dict[str, str] = {}
    """Unix user name -> person. These may hang tags too, and alone may take off a tag that somebody else hung."""


class Paths(Document):
    folder: str


class SignalFiles(Document):
    files: Annotated[tuple[str, ...], Field(min_length=1)]


class DeviceSection(Document):
    """A thing at a unit address."""

    id: Code
    bus: Code
    unit: Annotated[int, Field(ge=1, le=247)]
    profile: str


class Feedback(Document):
    """What tells that a siren sounds, whatever its drive says: a bool that is true, or a number above `above`."""

    point: PointRef
    above: float | None = None
    proves: Literal["sensed", "heard"] = "sensed"
    """`heard`: a sound pressure, which a neighbour or thunder may raise as well. It is counted apart from `sensed`."""


class SirenSection(Document):
    """A siren of the field, composed of channels and points of any devices."""

    id: Code
    name: str = ""
    type: Literal["motor", "electronic", "multimedia"]
    layer: Layer = Layer.SURFACE
    area: FullArea | None = None
    """Default: the gateway's."""
    position: tuple[float, float] | None = None
    drive: DriveRef
    feedback: tuple[Feedback, ...] = ()
    isolator: PointRef | None = None
    """A bool point that tells whether a technician has locked the siren out."""
    isolator_locked: bool = True
    """What it reads then. False for a contact that is closed while the siren is free: a cut wire reads as locked."""
    second_off: DriveRef | None = None
    """An output whose `activate` cuts the siren's power by another way."""
    hard_limit_s: Annotated[float, Field(gt=0, le=600)] | None = None
    """What a hard-wired timer relay allows; required for an output of class C."""
    spool_up_s: Annotated[float, Field(ge=0, le=30)] = 0.0
    """How long a motor takes until its feedback shows."""
    spool_down_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    starts_per_hour: Annotated[int, Field(ge=1, le=600)] | None = None
    contactor: PointRef | None = None
    """A bool point that is true while the contactor of the motor is closed (its auxiliary contact)."""
    contactor_ms: Annotated[int, Field(ge=100, le=10_000)] = 1000
    """It closes within this of the on-edge, and opens within this of the off."""
    phase_currents: tuple[PointRef, ...] = ()
    """The currents of the three phases of a motor."""
    phase_above: Annotated[float, Field(gt=0)] | None = None
    """Ampere that each of them passes while the motor runs."""
    phase_loss_s: Annotated[float, Field(ge=0.5, le=30)] = 2.0
    """One that stays below while another is above for this long is a lost phase."""
    growl_ms: Annotated[int, Field(ge=200, le=3000)] | None = None
    """How long a growl is. Default: 1.5 s for a motor, so that the rotor turns without full sound; 3 s for others."""

    @property
    def growl_s(self) -> float:
        return (self.growl_ms or (MOTOR_GROWL_MS if self.type == "motor" else GROWL_MS)) / 1000

    @property
    def sensed(self) -> bool:
        """Whether it has independent feedback: an ear is none."""
        return any(f.proves == "sensed" for f in self.feedback)

    @property
    def points(self) -> tuple[str, ...]:
        """Every point that tells something of this siren, apart from its drive's own."""
        single = tuple(p for p in (self.isolator, self.contactor) if p is not None)
        return (*(f.point for f in self.feedback), *single, *self.phase_currents)


class GatewayFile(Document):
    """The file as written."""

    gateway: GatewaySection
    clock: ClockSection
    journal: JournalSection
    blackbox: BlackboxSection = BlackboxSection()
    mqtt: MqttSection
    local: LocalSection
    trust: TrustSection
    profiles: Paths
    signals: SignalFiles
    bus: Annotated[tuple[BusSection, ...], Field(min_length=1, max_length=32)]
    device: Annotated[tuple[DeviceSection, ...], Field(min_length=1)]
    siren: tuple[SirenSection, ...] = ()
    flood: FloodSection = FloodSection()
    spot: Annotated[tuple[SpotSection, ...], Field(max_length=16)] = ()


@dataclass(frozen=True, slots=True)
class Drive:
    """A device's output, or one channel of it."""

    device: str
    channel: int | None

    @staticmethod
    def of(ref: str) -> "Drive":
        device, _, channel = ref.partition(".")
        return Drive(device, int(channel) if channel else None)

    def __str__(self) -> str:
        return self.device if self.channel is None else f"{self.device}.{self.channel}"


@dataclass(frozen=True)
class Config:
    """A checked gateway: every reference in it resolves."""

    file: Path
    spec: GatewayFile
    profiles: dict[str, Profile]
    signals: Signals
    scales: dict[str, ScaleFile] = field(default_factory=dict)
    """By the name under which spots ask for them."""

    @property
    def id(self) -> str:
        return self.spec.gateway.id

    @property
    def area(self) -> str:
        return self.spec.gateway.area

    def path(self, relative: str) -> Path:
        return (self.file.parent / relative).resolve()

    @property
    def blackbox(self) -> Path:
        """The folder of its black box, beside the journal."""
        return self.path(f"{self.spec.journal.path}.blackbox")

    def device(self, id: str) -> DeviceSection:
        return next(d for d in self.spec.device if d.id == id)

    def profile_of(self, device: str) -> Profile:
        return self.profiles[self.device(device).profile]

    def depths_of(self, spot: SpotSection) -> dict[str, float]:
        """The colours of a spot's scale and the depths in cm from which they are."""
        return {NAMES[colour]: one.at_cm for colour, one in self.scales[spot.scale].colours.items()}

    def heard_by(self, siren: SirenSection) -> set[str]:
        """The devices whose readings and presence concern a siren."""
        drives = [siren.drive] + ([siren.second_off] if siren.second_off else [])
        return {Drive.of(d).device for d in drives} | {p.partition(".")[0] for p in siren.points}

    def area_of(self, siren: SirenSection) -> str:
        return siren.area or self.area


def read(path: Path, settings: list[str] | None = None) -> dict[str, Any]:
    """The file of `path` as it stands, with `settings` over it, nothing of it checked."""
    data = document.parse(document.read_text(path), str(path))
    document.override(data, settings or [], str(path))
    return data


def load(path: Path, settings: list[str] | None = None) -> Config:
    """The gateway of `path` with the profiles and signals it names; BadDocument carries every problem found."""
    file = str(path)
    data = read(path, settings)
    found: list[Problem] = []
    spec: GatewayFile | None = None
    try:
        spec = document.check(GatewayFile, data, file)
    except BadDocument as bad:
        found.extend(bad.problems)
    # Profiles and signals are read even when the file itself has problems, so that all are told at once.
    profiles: dict[str, Profile] = {}
    signals = Signals({}, {})
    folder = text_at(data, "profiles", "folder")
    if folder is not None:
        try:
            profiles = profile.load_all(path.parent / folder)
        except BadDocument as bad:
            found.extend(bad.problems)
    files = data.get("signals", {}).get("files") if isinstance(data.get("signals"), dict) else None
    if isinstance(files, list) and all(isinstance(f, str) for f in files):
        try:
            signals = signal.load([path.parent / f for f in files])
        except BadDocument as bad:
            found.extend(bad.problems)
    scales: dict[str, ScaleFile] = {}
    for name in sorted({s.scale for s in spec.spot} if spec is not None else ()):
        try:
            scales[name] = scale.load(path.parent / name)
        except BadDocument as bad:
            found.extend(bad.problems)
    if spec is not None:
        config = Config(path, spec, profiles, signals, scales)
        found.extend(problems(config))
        if not found:
            return config
    raise BadDocument(found)


def text_at(data: dict[str, Any], section: str, key: str) -> str | None:
    """A text of an unchecked file, where there is one."""
    value = data.get(section)
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def problems(config: Config) -> list[Problem]:
    """What the sections cannot see alone: names, units, channels, and whether every output is bounded."""
    spec, file, out = config.spec, str(config.file), []

    def problem(key: str, value: object, remedy: str) -> None:
        out.append(Problem(file, key, value, remedy))

    out.extend(broker.contradictions(spec.mqtt, file))
    if spec.clock.source == "assumed" and spec.gateway.deployment not in ASSUMED_CLOCK:
        problem("clock.source", "assumed", f"only for the deployments {', '.join(ASSUMED_CLOCK)}; say kernel")
    for x in demo_roots(spec.trust.roots, spec.gateway.deployment):
        problem("trust.roots", x, DEMO_ROOT)
    for section, ids in (("bus", [b.id for b in spec.bus]), ("device", [d.id for d in spec.device]),
                         ("siren", [s.id for s in spec.siren]), ("spot", [s.id for s in spec.spot])):
        for id, n in Counter(ids).items():
            if n > 1:
                problem(f"{section}[{id}].id", id, f"stands {n} times; every {section} needs its own id")
    buses = {b.id: b for b in spec.bus}
    for link, n in Counter(b.link for b in spec.bus).items():
        if n > 1:
            problem("bus.link", link, f"stands {n} times; a line has one master, make it one bus")
    devices: dict[str, Profile] = {}
    at: dict[tuple[str, int], str] = {}
    for d in spec.device:
        key = f"device[{d.id}]"
        known = config.profiles.get(d.profile)
        if known is None and not config.profiles:
            pass  # what is wrong with the profiles is told by themselves
        elif known is None:
            problem(f"{key}.profile", d.profile,
                    f"no such profile; {document.meant(d.profile, config.profiles, 'profiles')}")
        else:
            devices[d.id] = known
            if d.unit in known.line.wildcards:
                problem(f"{key}.unit", d.unit, "any unit of this model answers at it; give the unit its own address")
        bus = buses.get(d.bus)
        if bus is None:
            problem(f"{key}.bus", d.bus, f"no such bus; buses: {', '.join(buses)}")
        if (d.bus, d.unit) in at:
            problem(f"{key}.unit", d.unit, f"already {at[d.bus, d.unit]}'s on bus {d.bus}; give it another")
        at[d.bus, d.unit] = d.id

    for line in spec.bus:
        out.extend(wiring.problems(file, line, [(d.id, devices[d.id]) for d in spec.device
                                                if d.bus == line.id and d.id in devices]))

    def output(key: str, ref: str) -> Profile | None:
        drive = Drive.of(ref)
        if drive.device not in devices:
            if not any(d.id == drive.device for d in spec.device):
                problem(key, ref, f"no such device; devices: {', '.join(d.id for d in spec.device)}")
            return None
        p = devices[drive.device]
        if p.output is None:
            problem(key, ref, f"profile {p.id} has no output; name a relay or a siren head")
            return None
        if p.channels and not (drive.channel and drive.channel <= p.channels):
            problem(key, ref, f"say {drive.device}.1 to {drive.device}.{p.channels}")
        if not p.channels and drive.channel is not None:
            problem(key, ref, f"profile {p.id} has no channels; say {drive.device}")
        return p

    def point(key: str, ref: str) -> Point | None:
        device, _, name = ref.partition(".")
        if device not in devices:
            if not any(d.id == device for d in spec.device):
                problem(key, ref, f"no such device; devices: {', '.join(d.id for d in spec.device)}")
            return None
        found = devices[device].points.get(name)
        if found is None:
            problem(key, ref, f"no such point; points: {', '.join(devices[device].points)}")
        return found

    owners: dict[str, str] = {}
    for s in spec.siren:
        key = f"siren[{s.id}]"
        drives = [("drive", s.drive)] + ([("second_off", s.second_off)] if s.second_off else [])
        for name, ref in drives:
            p = output(f"{key}.{name}", ref)
            if ref in owners:
                problem(f"{key}.{name}", ref, f"already drives {owners[ref]}; an output has one purpose")
            owners[ref] = f"{s.id} ({name})"
            if name == "drive" and p and p.output and p.output.class_ is OutputClass.C and s.hard_limit_s is None:
                problem(f"{key}.hard_limit_s", None,
                        f"{p.id} latches (class C): fit a timer relay and declare its seconds, or use another board")
        for n, f in enumerate(s.feedback):
            found = point(f"{key}.feedback[{n}].point", f.point)
            if found and found.type != "bool" and f.above is None:
                problem(f"{key}.feedback[{n}].above", None, f"{f.point} is a number; say above which it sounds")
            if found and found.spec.poll_ms is None:
                problem(f"{key}.feedback[{n}].point", f.point, "is never polled; choose a point with poll_ms")
            if found and f.proves == "heard" and (found.type == "bool" or found.spec.values):
                problem(f"{key}.feedback[{n}].proves", f.proves, f"{f.point} is no number; a sound pressure is one")
        if s.isolator:
            found = point(f"{key}.isolator", s.isolator)
            if found and found.type != "bool":
                problem(f"{key}.isolator", s.isolator, "is a number; an isolator is a bool")
        quick = [(f"{key}.contactor", s.contactor, "bool")] if s.contactor else []
        quick += [(f"{key}.phase_currents[{n}]", ref, "number") for n, ref in enumerate(s.phase_currents)]
        for name, ref, kind in quick:
            found = point(name, ref)
            if found and (found.type == "bool") != (kind == "bool"):
                problem(name, ref, "is a number; a contactor is a bool" if kind == "bool" else
                        "is a bool; the current of a phase is a number")
            elif found and not 0 < (found.spec.poll_ms or 0) <= POLL_MS:
                problem(name, ref, f"is not polled each {POLL_MS} ms or oftener; choose a point that is")
        if s.phase_currents and s.type != "motor":
            problem(f"{key}.phase_currents", s.type, "only a siren of type motor has three phases; drop it")
        elif s.phase_currents and (len(s.phase_currents), len(set(s.phase_currents))) != (3, 3):
            problem(f"{key}.phase_currents", list(s.phase_currents), "name three different points, one a phase")
        if bool(s.phase_currents) != (s.phase_above is not None):
            problem(f"{key}.phase_above", s.phase_above, "phase_currents and phase_above belong together")
    for clash in {s.id for s in spec.spot} & ({d.id for d in spec.device} | {s.id for s in spec.siren}):
        problem(f"spot[{clash}].id", clash, "名称已被占用 / a device or a siren has this id; choose another")
    out.extend(spot.problems(file, spec.spot, config.scales, devices, owners))
    return out
