"""Topics and messages between gateways and hub: the public contract, in `docs/mqtt.md` as prose.

Works on MQTT 3.1.1 and 5: nothing that matters lives in MQTT properties. Instants on the wire are UTC text with
milliseconds or microseconds and a `Z`; inside they are integer microseconds since 1970 (`wall_us`).
It refuses to know who may order what (`trust.py`) and what an order does (`orders.py`).
"""

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from controller import strictjson
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S

ROOT = "siren/1"
"""Product and major version. A breaking change of this file is `siren/2`."""
MAX_ORDER_BYTES = 16 * 1024
"""An order with four signatures and 64 named sirens is under 6 KiB; one prepared for a county's gateways too."""
MAX_SIRENS = 256

CODE = r"^[a-z0-9][a-z0-9-]{0,31}$"
Code = Annotated[str, Field(pattern=CODE)]
"""Identifiers of gateways, devices and sirens."""
# [0-9] and not \d, which takes the digits of every script.
Area = Annotated[str, Field(pattern=r"^[0-9]{1,3}(/[0-9]{1,3}){0,4}$")]
"""Path of administrative codes, province/city/county/street/community (GB/T 2260 and below); shorter = wider."""
FullArea = Annotated[str, Field(pattern=r"^[0-9]{1,3}(/[0-9]{1,3}){4}$")]
"""Where a gateway or siren stands: all five levels."""
Seq = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A number of a gateway's sequence. Any JSON reader keeps it exact."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
TargetsDigest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
"""Eight octets in base64url, in their one spelling (`targets.py`)."""
Instant = Annotated[
    str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.([0-9]{3}|[0-9]{6})Z$")]

BLANK_INSTANT = "1970-01-01T00:00:00.000Z"
"""Stands in what the session is yet to date."""
UNDATED_US = 10 * 365 * 24 * 3600 * S
"""An instant before this is the time since boot: nobody had told the clock."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(wall_us: int, digits: Literal[3, 6] = 3) -> str:
    """`2026-09-18T02:00:00.000Z`"""
    text = (_EPOCH + timedelta(microseconds=wall_us)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return (text if digits == 6 else text[:-3]) + "Z"


def to_wall_us(text: str) -> int:
    """Microseconds since 1970 of such a text; Malformed for a date that is none (a 30th of February)."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError) as error:
        raise Malformed(f"{text!r} is no instant: {error}") from None


def covers(area: str, place: str) -> bool:
    """Whether `place` (a five-level path) lies in `area` (a path of one to five levels)."""
    return place == area or place.startswith(area + "/")


class Message(BaseModel):
    """Base of what goes over the wire: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


ModelT = TypeVar("ModelT", bound=Message)


class Mode(StrEnum):
    """What a sounding is for. Signed, and echoed in everything that is said of it."""

    LIVE = "live"
    DRILL = "drill"
    SILENT = "silent"


class Action(StrEnum):
    """What an order asks for."""

    SOUND = "sound"
    STOP = "stop"
    QUIET_TEST = "quiet-test"


class Layer(StrEnum):
    """Where a siren is; an order may name one layer or, with None, both."""

    SURFACE = "surface"
    UNDERGROUND = "underground"


class Sound(Message):
    """What to sound, by name and by what the name must mean (`Signals.digest`)."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    digest: Digest
    start_at: Instant | None = None
    """First edge; None: at once."""


class OrderBody(Message):
    """What is signed. Every decision is made from this and from nothing around it."""

    v: Literal[1]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    issuer: Annotated[str, Field(min_length=1, max_length=64)]
    issued_at: Instant
    not_before: Instant
    expires_at: Instant
    """Bounds the start only, never the sounding."""
    area: Area
    layer: Layer | None = None
    sirens: Annotated[tuple[Code, ...], Field(max_length=MAX_SIRENS)] | None = None
    """Only these, of those in the area; None: all."""
    prepared: dict[Code, TargetsDigest] | None = None
    """The sirens that were shown to those who signed it: a digest for each gateway that has some. None: nobody was
    shown any; it means whatever there is in the area."""
    action: Action
    mode: Mode
    sound: Sound | None = None
    max_duration_s: Annotated[int, Field(ge=1, le=45 * 60)] | None = None
    """Cap of the sounding from its start; None: the length of what is sounded and 10 s."""
    sequence: Annotated[int, Field(ge=0, le=2**53 - 1)]
    trust_version: Annotated[int, Field(ge=0)]
    stops: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """For a stop: only activations of this order; None: whatever sounds there."""
    nonce: Nonce | None = None
    """The gateway's own, where it cannot tell by a clock that the order is fresh; for that gateway alone, and once."""
    reason: Annotated[str, Field(max_length=200)] | None = None
    """Why it is given, in the issuer's words: for those who read the journal. Nothing is decided by it."""

    @model_validator(mode="after")
    def _whole(self) -> "OrderBody":
        if (self.sound is not None) != (self.action is Action.SOUND):
            raise ValueError("`sound` belongs to the action sound, and to no other")
        if self.stops is not None and self.action is not Action.STOP:
            raise ValueError("`stops` belongs to the action stop")
        if (self.mode is Mode.SILENT) != (self.action is Action.QUIET_TEST):
            raise ValueError("mode silent and action quiet-test go together")
        return self

    def targets(self, siren: str, place: str, layer: Layer) -> bool:
        """Whether this order is for the siren `siren` that stands at `place` (a full area path)."""
        return (
            covers(self.area, place)
            and self.layer in (None, layer)
            and (self.sirens is None or siren in self.sirens)
        )


class Stage(StrEnum):
    """The steps of the answer to an order. The last five are terminal: exactly one an order and siren."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    STARTED = "started"
    SENSED = "sensed"
    HEARD = "heard"
    TROUBLE = "trouble"
    REJECTED = "rejected"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        return self in {Stage.REJECTED, Stage.FINISHED, Stage.FAILED, Stage.STOPPED, Stage.EXPIRED}


class Evidence(Message):
    """How much of a sounding is proved. Commanded is not sensed, and sensed is not heard.

    Counts are on-phases. `independent` is False where the siren has no feedback of its own: then nothing was
    sensed, and `finished` says no more than that every command was acknowledged.
    """

    phases: int
    """On-phases the order asked of this siren."""
    commanded: int = 0
    sensed: int = 0
    heard: int = 0
    independent: bool = False

    @property
    def sounded(self) -> bool:
        """HONEST: independent feedback in at least four of five on-phases."""
        return self.independent and self.phases > 0 and 5 * self.sensed >= 4 * self.phases


class Receipt(Message):
    """One stage of the answer to an order. `siren` is empty where the stage speaks of the order as a whole."""

    v: Literal[1] = 1
    seq: Seq
    """Durable, per gateway, without holes, shared with events."""
    gateway: Code
    order: str
    siren: Code | Literal[""] = ""
    stage: Stage
    reason: str = ""
    mode: Mode | None = None
    at: Instant
    first_edge: Instant | None = None
    """When the first byte of the first on-edge left for the wire."""
    late_ms: float | None = None
    """First edge minus ordered instant."""
    deviations: Annotated[tuple[str, ...], Field(fail_fast=True)] = ()
    evidence: Evidence | None = None


class Event(Message):
    """Something a person or the hub should know that answers no order."""

    v: Literal[1] = 1
    seq: Seq
    gateway: Code
    at: Instant
    what: str
    """`device-silent`, `device-back`, `link-down`, `link-up`, `order-refused`, `unexpected-on`, `isolated` ..."""
    subject: str = ""
    detail: str = ""
    urgent: bool = False
    samples: dict[str, tuple[tuple[float, float], ...]] | None = None
    """Of a flood: what each gauge of the spot told in the last five minutes, as seconds before `at` and value (cm, or
    mm/h of rain; of a float 1 or 0)."""


class JournalHead(Message):
    """The newest row of a gateway's journal, and its hash, which vouches for all rows before it."""

    n: Annotated[int, Field(ge=0, le=2**53 - 1)]
    hash: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    """SHA-256; empty while there is no row."""


class Status(Message):
    """Retained. The will carries state `lost` with the same `session`, so that an old will is known for one."""

    v: Literal[1] = 1
    gateway: Code
    session: str
    state: Literal["online", "offline", "lost"]
    at: Instant
    modes: Annotated[tuple[str, ...], Field(fail_fast=True)] = ()
    """Named degraded modes (docs/modes.md): NO-JOURNAL, NO-TIME, NO-FEEDBACK, SAFE-MIN, CLOCK-ASSUMED ..."""
    last_seq: Seq = 0
    """The newest `seq` given out: the hub knows what it has not seen."""
    nonce: Nonce | None = None
    """While it lacks the time (NO-TIME): what an order for it must bear to be known as fresh."""
    journal: JournalHead | None = None
    """So that nobody can shorten or rewrite the journal afterwards unseen."""


class SirenCard(Message):
    """What a siren is, as its gateway's birth tells it."""

    id: Code
    name: str
    type: Literal["motor", "electronic", "multimedia"]
    area: Area
    layer: Layer
    position: tuple[float, float] | None = None
    feedback: bool


class SpotCard(Message):
    """What a spot is: its colours' depths in cm, and its gauges with what each works by."""

    id: Code
    name: str
    depths: dict[str, float]
    gauges: dict[str, str]
    position: tuple[float, float] | None = None


class DeviceCard(Message):
    id: Code
    profile: str
    bus: Code
    unit: int


class Birth(Message):
    """Retained; sent after each connect: what this gateway is and drives."""

    v: Literal[1] = 1
    gateway: Code
    session: str
    at: Instant
    version: str
    area: Area
    deployment: str
    sirens: Annotated[tuple[SirenCard, ...], Field(fail_fast=True)]
    devices: Annotated[tuple[DeviceCard, ...], Field(fail_fast=True)]
    spots: Annotated[tuple[SpotCard, ...], Field(fail_fast=True)] = ()
    signals: dict[str, str]
    """Digest of every signal and programme the gateway knows."""
    trust_version: int


class State(Message):
    """Retained, one a device or siren: its whole state with quality and time."""

    v: Literal[1] = 1
    id: Code
    at: Instant
    state: str
    """A siren's IDLE, ARMED, STARTING, SOUNDING, STOPPING, FAULT, UNKNOWN; a device's online, silent, unknown; a
    spot's DRY, BLUE, YELLOW, ORANGE, RED, UNKNOWN."""
    why: str = ""
    activation: str | None = None
    mode: Mode | None = None
    points: dict[str, float | int | bool | str | None] = {}
    bad: dict[str, str] = {}
    """Why a point has no value."""


class Health(Message):
    """Retained, QoS 0: how the gateway itself is."""

    v: Literal[1] = 1
    gateway: Code
    at: Instant
    outbox: int
    modes: Annotated[tuple[str, ...], Field(fail_fast=True)] = ()
    buses: dict[str, dict[str, float | int | str]] = {}


class Again(Message):
    """A hub's wish to have these receipts and events once more. Unsigned: it asks for nothing but repetition."""

    v: Literal[1] = 1
    first: Annotated[int, Field(ge=1, le=2**53 - 1)]
    last: Annotated[int, Field(ge=1, le=2**53 - 1)]


class Ack(Message):
    """A hub's word that somebody there knows of an alarm. Unsigned: it ends nothing, not even what latched."""

    v: Literal[1] = 1
    spot: Code
    alarm: Annotated[str, Field(pattern=r"^(blue|yellow|orange|red)(-suspected)?$")] | None = None
    """None: all of the spot."""
    by: Annotated[str, Field(min_length=1, max_length=64)]


# Topics.


def state_root(area: str, gateway: str) -> str:
    """`siren/1/s/{p}/{c}/{d}/{s}/{v}/{gw}`; levels that are not assigned are `0`."""
    levels = [*area.split("/"), *["0"] * 5][:5]
    return f"{ROOT}/s/{'/'.join(levels)}/{gateway}"


def order_topic(area: str, stop: bool) -> str:
    """Where an order for an area is published: one publish reaches every gateway below."""
    return f"{ROOT}/o/{area}/{'stop' if stop else 'order'}"


def gateway_topic(gateway: str, stop: bool) -> str:
    """Where an order for one gateway is published."""
    return f"{ROOT}/g/{gateway}/{'stop' if stop else 'order'}"


def trust_topic(area: str | None, gateway: str | None = None) -> str:
    """Where the trust list is published, for an area or for one gateway. It may be retained: it is no act."""
    return f"{ROOT}/g/{gateway}/trust" if area is None else f"{ROOT}/o/{area}/trust"


def again_topic(gateway: str) -> str:
    """Where the hub asks a gateway for sequence numbers it has not seen (`Again`)."""
    return f"{ROOT}/g/{gateway}/again"


def ack_topic(gateway: str) -> str:
    """Where the hub acknowledges an alarm of a gateway (`Ack`)."""
    return f"{ROOT}/g/{gateway}/ack"


def echo_topic(client: str) -> str:
    """What a client publishes to itself, to know that it is still heard and still hears."""
    return f"{ROOT}/g/{client}/echo"


def hub_topic(hub: str, what: Literal["submit", "taken"]) -> str:
    """Between an operator's client and the resident hub: signed orders to send, and the hub's word that it has them."""
    return f"{ROOT}/h/{hub}/{what}"


def subscriptions(area: str, gateway: str) -> tuple[str, ...]:
    """The exact filters of a gateway: itself and its five ancestors, stop before order; what hubs say; trust."""
    levels = area.split("/")
    areas = ["/".join(levels[: n + 1]) for n in range(len(levels))]
    orders = (
        topic
        for stop in (True, False)
        for topic in (gateway_topic(gateway, stop), *(order_topic(a, stop) for a in areas))
    )
    trust = (trust_topic(None, gateway), *(trust_topic(a) for a in areas))
    return (*orders, again_topic(gateway), ack_topic(gateway), f"{ROOT}/g/{gateway}/shelf", *trust)


# Bytes.


def decode(model: type[ModelT], data: bytes, limit: int = 256 * 1024) -> ModelT:
    """`data` as a message; Malformed names the first member that is wrong."""
    return validate(model, strictjson.load(data, limit))


def validate(model: type[ModelT], value: dict[str, Any]) -> ModelT:
    try:
        # Strict enough for JSON: numbers are numbers, but an Enum may come as its text and a tuple as a list.
        return model.model_validate_json(json.dumps(value), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(p) for p in first["loc"]) or "message"
            raise Malformed(f"{where}: {first['msg']}") from None
        raise Malformed(str(error)) from None
