"""What one model of device is, as one TOML file: points it has, actions that drive it, how it behaves.

`load` gives a `Profile`: a frozen value that the device machine drives with and the simulator plays from.
Channels are expanded here (`relay` with 8 channels becomes `relay_1` ... `relay_8`), so nobody after this
file thinks about them. It refuses to know any unit address, bus or site.

Six verbs, no expressions: `set`, `expect`, `wait_ms` drive; `when`, `ramp`, `wave` behave.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from firmware_bridge import document, shape, speech
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.event import Table
from firmware_bridge.message import FrameSpec, Message, MessageSpec
from firmware_bridge.octets import PRINTED
from firmware_bridge.point import Condition, Name, Point, PointSpec, Scalar
from firmware_bridge.reading import Value


class OutputClass(StrEnum):
    """How an output is bounded when every process of ours is dead (DESIGN §5)."""

    A = "A"
    """Board watchdog: the board drops its outputs when nobody writes to it."""
    B = "B"
    """Momentary or lease: each write is for a time, and expires by itself."""
    B_PRIME = "B'"
    """Intelligent head: it bounds its own function."""
    C = "C"
    """Latching: stays until told otherwise; refused unless a hard-wired limit is declared in seconds."""


class Line(Document):
    """What the wire must look like for this model, and its quirks. Defaults suit most Modbus RTU slaves."""

    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    timeout_ms: Annotated[int, Field(ge=10, le=5000)] = 300
    turnaround_ms: Annotated[int, Field(ge=0, le=1000)] = 20
    """Usual delay between the end of a request and the start of the answer."""
    min_gap_ms: Annotated[int, Field(ge=0, le=2000)] = 0
    """Silence the unit needs after a transaction before the next one to it."""
    connect_delay_ms: Annotated[int, Field(ge=0, le=10000)] = 0
    max_block: Annotated[int, Field(ge=1, le=125)] = 100
    """Registers (or 16 x bits) it accepts in one read."""
    hole: Annotated[int, Field(ge=0, le=100)] = 0
    """Addresses between two points that may be read along, because the unit answers for them."""
    single_reads: bool = False
    """Each point must be read alone (Hycontrol: 'MUST read as singles, not blocks')."""
    in_flight: Annotated[int, Field(ge=1, le=16)] = 1
    """Modbus TCP requests the unit can hold at once."""
    broadcast: bool = False
    """It obeys writes to unit 0, as the standard asks; only where the source says so or it was tried."""
    wildcards: tuple[int, ...] = ()
    """Unit addresses at which any such unit answers; never used on a shared line."""


class Step(Document):
    """One step of an action: exactly one of `set`, `expect`, `wait_ms`."""

    set: Name | None = None
    to: Scalar | None = None
    edge: bool = False
    """This write is the one whose instant was ordered."""
    expect: Name | None = None
    is_: Annotated[Scalar | None, Field(alias="is")] = None
    within_ms: Annotated[int, Field(ge=50, le=60000)] = 1000
    wait_ms: Annotated[int, Field(ge=1, le=60000)] | None = None

    @model_validator(mode="after")
    def _one_verb(self) -> "Step":
        verbs = [v for v in (self.set, self.expect, self.wait_ms) if v is not None]
        if len(verbs) != 1:
            raise ValueError("a step is exactly one of set, expect, wait_ms")
        if self.set is not None and self.to is None:
            raise ValueError("set needs `to`")
        if self.expect is not None and self.is_ is None:
            raise ValueError("expect needs `is`")
        if self.edge and self.set is None:
            raise ValueError("only a `set` can be the edge")
        return self


class OutputSpec(Document):
    """How the model's output is switched and what bounds it."""

    class_: Annotated[OutputClass, Field(alias="class")]
    state: Name
    """The point that tells whether our output is on (with channels: its base name)."""
    on: tuple[Scalar, ...] = (True,)
    """Values of `state` that mean on."""
    lease: Name | None = None
    """Class B: the point to which a lease is written, in seconds."""
    lease_max_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    renew_ms: Annotated[int, Field(ge=200)] = 2000
    watchdog_s: float | None = None
    """Class A: the board drops its outputs after this silence."""
    armed: tuple[Condition, ...] = ()
    """Class A: what its registers must say (of the channel) for it to do so; absent: it always does."""
    self_limit_s: float | None = None
    """Class B': the longest the head's own function lasts."""
    limit: Name | None = None
    """Class B': the point that sets how long the head sounds, in seconds."""
    tones: dict[str, Scalar] = {}
    """Steady tones and patterns the head makes itself: name -> value for `$tone`."""

    @model_validator(mode="after")
    def _bounded(self) -> "OutputSpec":
        match self.class_:
            case OutputClass.A if self.watchdog_s is None:
                raise ValueError("class A needs watchdog_s")
            case OutputClass.B if self.lease is None:
                raise ValueError("class B needs lease")
            case OutputClass.B_PRIME if self.self_limit_s is None and self.limit is None:
                raise ValueError("class B' needs self_limit_s or limit")
        if self.armed and self.class_ is not OutputClass.A:
            raise ValueError("armed is of a watchdog, which only class A has; drop it")
        return self


class GradeSpec(Document):
    """How the device tells how well its drivers are: the first that holds. None does: they are dead."""

    good: Condition
    degraded: Condition | None = None
    """Some drivers work; absent: the device cannot tell that from none."""


class When(Document):
    """Simulation: when `when` is written (or becomes) `is` ('any' for any write), after a while other points change."""

    when: Name
    is_: Annotated[Scalar, Field(alias="is")] = "any"
    then: dict[str, Scalar]
    after_ms: int = 0
    hold_ms: int | None = None
    """Changes back after this long."""
    only_if: Condition | None = None


class Ramp(Document):
    """Simulation: `ramp` moves by `per_s` while `while_` holds, between `low` and `high`."""

    ramp: Name
    per_s: float
    while_: Annotated[Condition | None, Field(alias="while")] = None
    low: float | None = None
    high: float | None = None


class Wave(Document):
    """Simulation: `wave` goes around `mean` by `swing` each `period_s`, with seeded `noise`."""

    wave: Name
    mean: float
    swing: float = 0.0
    period_s: Annotated[float, Field(gt=0)] = 60.0
    noise: float = 0.0


def _rule(value: Any) -> str | None:
    """The arm of a rule by its verb, so that an error names the keys of that arm and not of all three."""
    if isinstance(value, dict):
        return next((verb.title() for verb in ("when", "ramp", "wave") if verb in value), None)
    return type(value).__name__


Rule = Annotated[
    Annotated[When, Tag("When")] | Annotated[Ramp, Tag("Ramp")] | Annotated[Wave, Tag("Wave")],
    Discriminator(_rule, custom_error_type="rule", custom_error_message="a rule has one of when, ramp, wave"),
]


class ProfileSpec(Document):
    """The file as written."""

    make: str
    model: str
    kind: Literal["siren", "relay", "annunciator", "input", "gauge", "power", "sign", "voice"]
    protocol: Literal["modbus", "plain"] = "modbus"
    """`plain`: a serial protocol of its own, whose messages stand in this file."""
    source: str
    """Datasheet or document the addresses come from."""
    notes: tuple[str, ...] = ()
    """Traps a technician should know."""
    channels: Annotated[int, Field(ge=1, le=64)] | None = None
    line: Line = Line()
    identity: Name | None = None
    """A read-only point that tells the model is there (probe, sentinel)."""
    frame: FrameSpec | None = None
    messages: dict[Name, MessageSpec] = {}
    points: dict[Name, PointSpec]
    output: OutputSpec | None = None
    grade: GradeSpec | None = None
    actions: dict[Name, tuple[Step, ...]] = {}
    initial: dict[str, Scalar] = {}
    """Simulation: values at power-up, where not zero."""
    simulate: dict[Name, Rule] = {}


class Profile:
    """A checked profile with its channels expanded. Immutable by custom; shared by all devices of the model."""

    __slots__ = ("actions", "channels", "file", "id", "line", "messages", "output", "points", "spec")

    def __init__(self, id: str, file: str, spec: ProfileSpec) -> None:
        self.id = id
        self.file = file
        self.spec = spec
        self.line = spec.line
        self.output = spec.output
        self.actions = spec.actions
        self.channels = spec.channels
        envelope = None if spec.frame is None else spec.frame.envelope
        self.messages = {name: Message(name, message, envelope) for name, message in spec.messages.items()}
        self.points: dict[str, Point] = {}
        for base, point in spec.points.items():
            for channel in range(1, point.channels + 1) if point.channels else (None,):
                one = Point(base, point, channel, self.messages)
                self.points[one.name] = one

    def point(self, name: str, channel: int | None = None) -> Point:
        """The point `name`, or its instance for `channel`. KeyError when there is none."""
        found = self.points.get(name)
        return found if found is not None else self.points[f"{name}_{channel}"]

    @property
    def longest_s(self) -> float | None:
        """How long the output sounds at most by its own limit, or by the whole seconds that can be written to that."""
        output = self.output
        if output is None:
            return None
        highs = [p.spec.high for p in self.points.values() if output.limit in (p.base, p.name)]
        limits = [output.self_limit_s, *(None if high is None else high // 1 for high in highs)]
        return min((limit for limit in limits if limit is not None), default=None)

    def is_on(self, value: Value | None) -> bool | None:
        """Whether this value of the output's state point means on; None when it is not known.

        A code that the profile has no name for is not known: it must not pass for off.
        """
        if self.output is None or value is None:
            return None
        if value in self.output.on:
            return True
        named = next(p.spec.values for p in self.points.values() if self.output.state in (p.base, p.name))
        return None if named and not isinstance(value, str) else False


def load(path: Path) -> Profile:
    """The profile in `path`; its id is the file's name without `.toml`."""
    return parse(document.read_text(path), path.stem, str(path))


def parse(text: str, id: str, file: str) -> Profile:
    """The profile that a text is; `file` is where it stands, for what is said of it."""
    return made(document.parse(text, file), id, file)


def made(data: dict[str, Any], id: str, file: str) -> Profile:
    """The same of an unchecked document."""
    spec = document.check(ProfileSpec, data, file)
    if problems := [*speech.problems(file, spec.protocol, spec.messages, spec.frame, spec.points)]:
        raise BadDocument(problems)
    profile = Profile(id, file, spec)
    problems = [*_cross_check(profile), *shape.problems(file, profile.points.values())]
    if problems:
        raise BadDocument(problems)
    return profile


def load_all(folder: Path) -> dict[str, Profile]:
    """Every profile in a folder, by id; all problems of all files at once."""
    found: dict[str, Profile] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            found[path.stem] = load(path)
        except BadDocument as bad:
            problems.extend(bad.problems)
    if problems:
        raise BadDocument(problems)
    if not found:
        raise BadDocument([Problem(str(folder), "folder", "no *.toml", "name the folder that holds the profiles")])
    return found


def schema() -> dict[str, Any]:
    """The published JSON Schema of a profile file."""
    return ProfileSpec.model_json_schema(by_alias=True)


def _cross_check(profile: Profile) -> list[Problem]:
    """What the models cannot see alone: names that must exist, values that must fit."""
    spec, out = profile.spec, []

    def problem(key: str, value: object, remedy: str) -> None:
        out.append(Problem(profile.file, key, value, remedy))

    def known(key: str, name: str | None) -> list[Point]:
        """The point or channel points of this name; a Problem when there are none."""
        if name is None:
            return []
        points = [p for p in profile.points.values() if name in (p.base, p.name)]
        if not points:
            problem(key, name, f"no such point; points: {', '.join(spec.points)}")
        return points

    def readable(key: str, name: str | None) -> list[Point]:
        """As `known`; a Problem as well when it cannot be read."""
        points = known(key, name)
        if points and not points[0].spec.readable:
            problem(key, name, "cannot be read (readable = false); name a point that can")
        return points

    def circular(name: str, seen: tuple[str, ...]) -> bool:
        """Whether the points that `name` depends on lead back to it."""
        refs = {p.base for r in spec.points[name].depends_on for p in profile.points.values() if r in (p.base, p.name)}
        return any(r in seen or circular(r, (*seen, r)) for r in refs)

    def fits(key: str, name: str | None, value: Scalar | None, args: frozenset[str]) -> None:
        for point in known(key, name)[:1]:
            if isinstance(value, str) and value.startswith("$"):
                if value[1:] not in args:
                    problem(key, value, f"no such argument; arguments: {', '.join('$' + a for a in sorted(args))}")
            elif value is not None:
                try:
                    point.encode(value)
                except ValueError as error:
                    problem(key, value, str(error))

    for name, point in spec.points.items():
        key = f"points.{name}"
        table = Table(point.at.partition(":")[0]) if ":" in point.at else Table.FIELD
        if point.write and table in {Table.INPUT, Table.DISCRETE}:
            problem(f"{key}.write", point.write, f"{table} is read-only; drop `write`")
        if table is Table.PULSE and point.readable:
            problem(f"{key}.readable", True, "a pulse cannot be read back; set readable = false")
        if point.poll_ms and not point.readable:
            problem(f"{key}.poll_ms", point.poll_ms, "it is not readable; drop poll_ms")
        if point.type in {"u32", "s32", "f32"} and table in {Table.COIL, Table.DISCRETE}:
            problem(f"{key}.type", point.type, "a bit is a bool; drop `type`")
        if point.type in {"u8", "s8", *PRINTED} and table is not Table.FIELD:
            problem(f"{key}.type", point.type, "only a field of a message can be that; a register is u16 or wider")
        for ref, what in (("decimals_from", point.decimals_from),
                          ("factor_from.point", point.factor_from.point if point.factor_from else None),
                          ("valid_if.point", point.valid_if.point if point.valid_if else None)):
            readable(f"{key}.{ref}", what)
        if circular(name, (name,)):
            problem(key, name, "its decimals, factor or validity depend on itself; break the circle")
        if point.bit is not None:
            if table in {Table.COIL, Table.DISCRETE}:
                problem(f"{key}.bit", point.bit, "a coil or discrete input is one bit already; drop `bit`")
            if point.bit + point.bits * (point.channels or 1) > 16:
                at = "bits" if point.channels is None else "channels"
                problem(f"{key}.{at}", getattr(point, at), "a register has 16 bits; make a second point for the rest")
            if point.write:
                problem(f"{key}.write", point.write, "a part of a register cannot be written alone; drop `write`")
            if point.type not in ({None, "bool"} if point.bits == 1 else {None, "u16", "s16"}):
                problem(f"{key}.type", point.type, "one bit is a bool, several are u16 or s16; drop `type` or say so")
        elif point.bits != 1:
            problem(f"{key}.bits", point.bits, "say with `bit` where they begin")
        end = max(p.address + p.width for p in profile.points.values() if p.base == name)
        if end > 0x10000:
            problem(f"{key}.at", point.at, "reaches beyond address 65535; addresses are 0-based, without the 4xxxx")
        if point.channels and spec.channels and point.channels != spec.channels:
            problem(f"{key}.channels", point.channels, f"the profile has {spec.channels}")
    readable("identity", spec.identity)
    if spec.output:
        readable("output.state", spec.output.state)
        known("output.lease", spec.output.lease)
        known("output.limit", spec.output.limit)
        for needed in ("activate", "cancel"):
            if needed not in spec.actions:
                problem("actions", list(spec.actions), f"a device with an output needs the action {needed!r}")
        if spec.output.class_ is OutputClass.B and "renew" not in spec.actions:
            problem("actions", list(spec.actions), "class B needs the action 'renew'")
    watched: list[tuple[str, Condition | None]] = []
    watched += [("grade.good", spec.grade.good), ("grade.degraded", spec.grade.degraded)] if spec.grade else []
    watched += [(f"output.armed[{n}]", one) for n, one in enumerate(spec.output.armed)] if spec.output else []
    for key, condition in watched:
        if condition is not None:
            for one in readable(f"{key}.point", condition.point)[:1]:
                if one.spec.poll_ms is None:
                    problem(f"{key}.point", condition.point, "is never polled, so nobody would know; give it poll_ms")
            fits(f"{key}.is", condition.point, condition.is_, frozenset())
    for name, steps in spec.actions.items():
        for n, step in enumerate(steps):
            key = f"actions.{name}[{n}]"
            fits(f"{key}.set", step.set, step.to, ARGUMENTS)
            fits(f"{key}.expect", step.expect, step.is_, ARGUMENTS)
            if step.expect in spec.points and not spec.points[step.expect].readable:
                problem(f"{key}.expect", step.expect, "cannot be read (readable = false); name a point that can")
            for target in known(key, step.set)[:1]:
                if target.spec.write is None:
                    problem(f"{key}.set", step.set, f"point {step.set} has no `write`; say level or trigger")
                unanswered = target.message is not None and target.message.answer is None
                if step.edge and unanswered and not any(after.expect for after in steps[n + 1:]):
                    problem(key, step.set, "nobody answers this edge; let an `expect` behind it tell that it was heard")
        if sum(step.edge for step in steps) > 1:
            problem(f"actions.{name}", "two edges", "mark one `set` as the edge")
    for name, rule in spec.simulate.items():
        key = f"simulate.{name}"
        match rule:
            case When():
                known(f"{key}.when", rule.when)
                for changed, value in rule.then.items():
                    fits(f"{key}.then.{changed}", changed, value, frozenset({"value"}))
            case Ramp():
                known(f"{key}.ramp", rule.ramp)
            case Wave():
                known(f"{key}.wave", rule.wave)
    for name, value in spec.initial.items():
        fits(f"initial.{name}", name, value, frozenset())
    return out


ARGUMENTS = frozenset({"tone", "lease_s", "rest_s", "seconds", "text", "track", "volume"})
"""What a caller of an action may fill in: `$tone`, `$lease_s` (this lease), `$rest_s` (rest of the on-phase), ..."""
