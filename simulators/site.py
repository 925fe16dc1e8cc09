"""`site.toml`: the hardware of a city as it stands, for `siren-sim` to play: lines, units on them, and wiring.

It is the other side of `gateway.toml`, and the simulators know nothing of that file: what a gateway believes and what
stands in the field are two documents, as in life. `load` gives a `Plan` whose every name is known to exist, or every
problem at once. Relative paths are relative to the file they stand in.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from controller.config import Drive, DriveRef, PointRef, text_at
from controller.wire import Code
from firmware_bridge import document, profile
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.point import Point, Scalar
from firmware_bridge.profile import Profile
from simulators.device import BOOT_MS
from simulators.gauge import UNITS, GaugeSection


class SiteSection(Document):
    id: Code
    profiles: str
    """Folder of the profiles."""
    control: str | None = None
    """Unix socket of the running site: faults and values are set through it."""


class LineSection(Document):
    """One RS-485 line behind an adapter (`rtu`), behind a serial server (`rtu-tcp`), or a Modbus TCP endpoint."""

    id: Code
    kind: Literal["rtu", "tcp", "rtu-tcp"]
    path: str | None = None
    """rtu: where the pty's stable name is put, like a name under /dev/serial/by-path."""
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """tcp, rtu-tcp: port on 127.0.0.1; 0 takes a free one and tells it."""
    baud: Annotated[int, Field(ge=1200, le=4_000_000)] = 9600
    chunks: Annotated[int, Field(ge=1, le=4)] = 1
    """An answer reaches the master in up to so many pieces."""
    error_rate: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    """Probability that a bit on the wire is wrong."""
    echo: bool = False
    """The adapter hears what it sends."""
    strict: bool = False
    """A request less than t3.5 after an answer is not understood."""
    refuse_silent: bool = False
    """tcp: exception 0x0B for a unit that does not answer, as gateways do; else nothing, as devices do."""
    seed: int = 0

    @model_validator(mode="after")
    def _place(self) -> "LineSection":
        if (self.path is not None) != (self.kind == "rtu"):
            raise ValueError("`path` belongs to a line of kind rtu, which needs it")
        if (self.port is not None) == (self.kind == "rtu"):
            raise ValueError("`port` belongs to a line of kind tcp or rtu-tcp, which needs it")
        return self


class UnitSection(Document):
    """A device at a unit address."""

    id: Code
    line: Code
    unit: Annotated[int, Field(ge=1, le=247)]
    profile: str
    dead: bool = False
    """It is written in the plans, and does not answer."""
    boot_ms: Annotated[int, Field(ge=1, le=600_000)] = BOOT_MS
    """How long it is silent after power came back."""
    seed: int = 0
    initial: dict[str, Scalar] = {}
    """Values of points at power-up, over the profile's."""


class WireSection(Document):
    """A siren as it is wired: a coil's output runs a motor, and the motor's current shows in another unit's input."""

    from_: Annotated[DriveRef, Field(alias="from")]
    to: PointRef | None = None
    value_on: Scalar = True
    value_off: Scalar = False
    rise_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    """Spool-up: how long after the output the input shows it."""
    fall_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    hard_limit_s: Annotated[float, Field(gt=0, le=600)] | None = None
    """A timer relay between output and motor: cuts after so long, whatever the output does, until that falls."""
    cut_by: DriveRef | None = None
    """An output that takes the motor's power away by another way."""
    locked_by: PointRef | None = None
    """A bool input that tells the isolator: while true, the motor has no power."""


class SiteFile(Document):
    """The file as written."""

    site: SiteSection
    line: Annotated[tuple[LineSection, ...], Field(min_length=1, max_length=256)]
    unit: Annotated[tuple[UnitSection, ...], Field(min_length=1)]
    wire: tuple[WireSection, ...] = ()
    gauge: tuple[GaugeSection, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A checked site: every reference in it resolves."""

    file: Path
    spec: SiteFile
    profiles: dict[str, Profile]

    @property
    def id(self) -> str:
        return self.spec.site.id

    def path(self, relative: str) -> Path:
        """Absolute, and not resolved: the last part may be a symbolic link of ours."""
        return Path.cwd() / self.file.parent / relative

    def profile_of(self, unit: str) -> Profile:
        return self.profiles[next(u.profile for u in self.spec.unit if u.id == unit)]


def load(path: Path, settings: Sequence[str] = ()) -> Plan:
    """The site of `path` with the profiles it names; BadDocument carries every problem found."""
    file = str(path)
    data = document.parse(document.read_text(path), file)
    document.override(data, settings, file)
    problems: list[Problem] = []
    spec: SiteFile | None = None
    try:
        spec = document.check(SiteFile, data, file)
    except BadDocument as bad:
        problems += bad.problems
    # The profiles are read even when the file itself has problems, so that all are told at once.
    profiles: dict[str, Profile] = {}
    folder = text_at(data, "site", "profiles")
    if folder is not None:
        try:
            profiles = profile.load_all(path.parent / folder)
        except BadDocument as bad:
            problems += bad.problems
    if spec is not None:
        plan = Plan(path, spec, profiles)
        problems += _cross_check(plan)
        if not problems:
            return plan
    raise BadDocument(problems)


def _cross_check(plan: Plan) -> list[Problem]:
    """What the sections cannot see alone."""
    spec, out = plan.spec, []

    def problem(key: str, value: object, remedy: str) -> None:
        out.append(Problem(str(plan.file), key, value, remedy))

    for section, ids in (("line", [n.id for n in spec.line]), ("unit", [u.id for u in spec.unit])):
        for id, n in Counter(ids).items():
            if n > 1:
                problem(f"{section}[{id}].id", id, f"stands {n} times; every {section} needs its own id")
    for where, n in Counter(n.path or n.port for n in spec.line if n.path or n.port).items():
        if n > 1:
            key = "line.path" if isinstance(where, str) else "line.port"
            problem(key, where, f"stands {n} times; give each line its own")
    lines = {n.id for n in spec.line}
    units: dict[str, Profile] = {}
    for u in spec.unit:
        key = f"unit[{u.id}]"
        if u.line not in lines:
            problem(f"{key}.line", u.line, f"no such line; lines: {', '.join(sorted(lines))}")
        known = plan.profiles.get(u.profile)
        if known is None and not plan.profiles:
            continue  # what is wrong with the profiles is told by themselves
        if known is None:
            problem(f"{key}.profile", u.profile,
                    f"no such profile; {document.meant(u.profile, plan.profiles, 'profiles')}")
            continue
        units[u.id] = known
        for name, value in u.initial.items():
            if name not in known.points:
                problem(f"{key}.initial.{name}", value, f"no such point; points: {', '.join(known.points)}")

    def output(key: str, ref: str) -> None:
        drive = Drive.of(ref)
        known = units.get(drive.device)
        if known is None:
            if not any(u.id == drive.device for u in spec.unit):
                problem(key, ref, f"no such unit; units: {', '.join(u.id for u in spec.unit)}")
        elif known.output is None:
            problem(key, ref, f"profile {known.id} has no output")
        elif known.channels is None and drive.channel is not None:
            problem(key, ref, f"profile {known.id} has no channels; say {drive.device}")
        elif known.channels is not None and not 1 <= (drive.channel or 0) <= known.channels:
            problem(key, ref, f"say {drive.device}.1 to {drive.device}.{known.channels}")

    def input_(key: str, ref: str) -> Point | None:
        unit, _, name = ref.partition(".")
        known = units.get(unit)
        if known is None:
            if not any(u.id == unit for u in spec.unit):
                problem(key, ref, f"no such unit; units: {', '.join(u.id for u in spec.unit)}")
            return None
        if name not in known.points:
            problem(key, ref, f"no such point; points: {', '.join(known.points)}")
        return known.points.get(name)

    for n, wire in enumerate(spec.wire):
        key = f"wire[{n}]"
        output(f"{key}.from", wire.from_)
        if wire.cut_by:
            output(f"{key}.cut_by", wire.cut_by)
        if wire.locked_by and (found := input_(f"{key}.locked_by", wire.locked_by)) and found.type != "bool":
            problem(f"{key}.locked_by", wire.locked_by, "is a number; an isolator is a bool")
        point = input_(f"{key}.to", wire.to) if wire.to else None
        for name, value in (("value_on", wire.value_on), ("value_off", wire.value_off)):
            if point is not None:
                try:
                    point.encode(value)
                except ValueError as error:
                    problem(f"{key}.{name}", value, str(error))
    for at, n in Counter(gauge.point for gauge in spec.gauge).items():
        if n > 1:
            problem("gauge.point", at, f"stands {n} times; a point sees one water")
    for n, gauge in enumerate(spec.gauge):
        key = f"gauge[{n}]"
        point = input_(f"{key}.point", gauge.point)
        if point is None:
            continue
        if (gauge.shows == "contact") != (point.type == "bool"):
            problem(f"{key}.shows", gauge.shows, "a contact is a bool point, and a bool point is a contact")
        elif gauge.shows in UNITS and point.spec.unit not in UNITS[gauge.shows]:
            problem(f"{key}.shows", gauge.shows, f"{gauge.point} is in {point.spec.unit!r}; of {gauge.shows} this plays"
                    f" {', '.join(UNITS[gauge.shows])}")
    return out
