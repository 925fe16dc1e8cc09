"""What passes between the controller's machines, and between them and their shells.

Times are integer microseconds: `*_us` monotonic, `wall_us` since 1970 UTC. An *activation* is one sounding on
one siren; its id is the order's id, a slash and the siren's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from controller.chain import Head
from controller.signal import Timeline
from controller.signers import TrustList
from controller.wire import Event, Evidence, Mode, Receipt, Stage
from firmware_bridge.reading import Value


class Rank(IntEnum):
    """What outranks what, derived from mode, signal family and cause; never carried by an order."""

    TECHNICIAN = 0
    DRILL = 1
    FLOOD = 2
    DISASTER = 3
    AIR_RAID = 4


class Trust(StrEnum):
    """How far the wall clock may be believed."""

    TRUSTED = "trusted"
    ASSUMED = "assumed"
    """The config says so (`[clock] source = "assumed"`): demos and tests only, shown in every status."""
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True)
class Clock:
    """What the wall clock says now; comes each second and after every step."""

    wall_us: int
    error_us: int
    trust: Trust


# Orders, to and from sirens.


@dataclass(frozen=True, slots=True)
class Activate:
    """Sound `timeline` on a siren from one start instant.

    `start_wall_us` is re-derived at every Clock until the first edge; None: from the moment this arrives.
    `limit_us` caps the whole sounding from its start. `expires_wall_us` bounds the start only.
    `resumed` marks an activation that a restart cut: what lay before now is not made up for.
    `growl` marks one that is too short to be a signal: a head that has an action of that name does it by that.
    `fresh`: two persons have just signed it, so the siren's sixty minutes of the day begin anew.
    """

    siren: str
    activation: str
    order: str
    mode: Mode
    rank: Rank
    timeline: Timeline
    start_wall_us: int | None
    limit_us: int
    by: str
    resumed: bool = False
    expires_wall_us: int | None = None
    growl: bool = False
    fresh: bool = False


NOBODYS = ""
"""No order has this id."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End whatever sounds or is armed on a siren; only `order`'s activation where it is given, and with `NOBODYS` only
    what sounds by no order."""

    siren: str
    by: str
    reason: str = ""
    order: str | None = None

    @property
    def of_nobody(self) -> bool:
        """Whether it also ends what sounds by no order."""
        return not self.order


@dataclass(frozen=True, slots=True)
class QuietTest:
    """Test a siren without sound; answered by Progress like an activation."""

    siren: str
    activation: str
    order: str
    by: str


@dataclass(frozen=True, slots=True)
class Lock:
    """The tags that hang on a siren now, in words; empty: none. What sounds on a siren that bears one is ended."""

    siren: str
    tags: str


@dataclass(frozen=True, slots=True)
class Turned:
    """The key of a siren's isolator was read as locked, or as free again."""

    siren: str
    locked: bool


UNCONFIRMED = "unconfirmed"
"""The last word of the reason where nothing confirmed the off."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How an activation stands. Exactly one terminal stage an activation; `on_us` is how long it was on, at its end."""

    siren: str
    activation: str
    order: str
    stage: Stage
    mode: Mode
    reason: str = ""
    evidence: Evidence | None = None
    first_edge_us: int | None = None
    ordered_us: int | None = None
    deviations: tuple[str, ...] = ()
    on_us: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the hub and the technician that answers no order; becomes a wire Event."""

    what: str
    subject: str = ""
    detail: str = ""
    urgent: bool = False
    samples: Mapping[str, Sequence[tuple[float, float]]] | None = None
    """What the gauges of a spot told in the last minutes: seconds ago, and value."""
    part: str = ""
    """Which of several things that may befall a subject at once: an alarm of a spot. Of unlike parts none is held for
    another."""


@dataclass(frozen=True, slots=True)
class Alarmed:
    """A signed rule asks for a sounding. `order` is the flood's, so that one flood sounds once, through restarts."""

    order: str
    spot: str
    sirens: tuple[str, ...]
    sound: str
    digest: str
    max_duration_s: int
    by: str
    persons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """The state of a siren or device as the hub should show it; becomes a retained wire State."""

    id: str
    state: str
    why: str = ""
    activation: str | None = None
    mode: Mode | None = None
    points: Mapping[str, Value | None] | None = None
    bad: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """Another trust list rules from now on."""

    trust: TrustList


@dataclass(frozen=True, slots=True)
class Offered:
    """The nonce that an order may bear while the gateway lacks the time; None: it has the time."""

    nonce: str | None


# Journal.


@dataclass(frozen=True, slots=True)
class Record:
    """One durable line of what happened. `kind` is 'accept', 'receipt', 'event', 'delivered', 'activated' ..."""

    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Append:
    """Make a record durable; answered by Durable or AppendFailed with the same token."""

    token: int
    record: Record


@dataclass(frozen=True, slots=True)
class Durable:
    """This record, and every one appended before it, is on the disk. `head` is the journal's newest row then."""

    token: int
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """This record could not be made durable, and why."""

    token: int
    why: str


# MQTT and the local door.


@dataclass(frozen=True, slots=True)
class BrokerUp:
    """Connected and subscribed."""


@dataclass(frozen=True, slots=True)
class BrokerDown:
    """The connection to the broker is gone, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came from the broker, or a signed order from a file through the local door (`client` set)."""

    topic: str
    payload: bytes
    retained: bool = False
    client: int | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """A message for the broker, or, with `client`, one line of answer to a client of the local door.

    `token` is answered by Confirmed once the broker has taken it (QoS 1); None: nobody waits.
    A local answer is a JSON object; one with `"last": true` ends the conversation.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    token: int | None = None
    client: int | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker has taken the message with this token."""

    token: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A technician's request at the local door: `verb` with `args`, from the unix user `user` (uid `uid`)."""

    client: int
    uid: int
    user: str
    verb: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Poisonous:
    """In place of an event from outside on which processes of ours have died: it is not handled again.

    `order` is the id of the order that it seems to be, `client` who brought it at the local door.
    """

    subject: str
    why: str
    order: str | None = None
    client: int | None = None


@dataclass(frozen=True, slots=True)
class Full:
    """SAFE-MIN is over."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A local client hung up."""

    client: int


# Between orders, session and their shells.


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the hub, durably and in sequence. The message's `seq` is a blank (0) that the session fills."""

    message: Receipt | Event


@dataclass(frozen=True, slots=True)
class SayAgain:
    """Publish the stored receipts of this order once more, as they were: the same id gets the same answer."""

    order: str


@dataclass(frozen=True, slots=True)
class Beat:
    """How each bus does, for the next health message: bus id -> figures."""

    buses: Mapping[str, Mapping[str, float | int | str]]


@dataclass(frozen=True, slots=True)
class Degraded:
    """A named degraded mode (docs/modes.md) begins or ends; of `subject`, where it is not the whole gateway's."""

    mode: str
    on: bool
    why: str = ""
    subject: str = ""
