"""What passes between link, bus and device: requests, transactions, outcomes, and the events that carry them.

All values are frozen; what every poll makes anew is a named tuple, which is made in a third of the time. Times are
integer microseconds on the monotonic clock. A *unit* is a Modbus unit address (1-247); a *table* is one of the four
Modbus data tables, plus the one dialect a siren site meets (PULSE).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from firmware_bridge.machine import Woken
from firmware_bridge.text import Template

BROADCAST = 0
"""The unit address that every unit of a serial line obeys and none answers (Serial Line V1.02, 2.2)."""


class Table(StrEnum):
    """Where a value lives. Names as in the Modbus Application Protocol V1.1b3, clause 4.3, and two more."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"
    PULSE = "pulse"
    """Function 05 whose 16-bit value is data instead of FF00/0000: hardware flash-on of Chinese relay boards."""
    FIELD = "field"
    """A field of a message of a protocol that is not Modbus: it has no address, its octets are its words."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read `count` bits or registers of `table` from `address` (0-based, as in the PDU)."""

    table: Table
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class Write:
    """Write `values` (bits as 0/1, registers as 0-65535) to `table` from `address`.

    One value goes out as function 05 or 06, several, or any with `multiple`, as 15 or 16.
    """

    table: Table
    address: int
    values: tuple[int, ...]
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a protocol that is not Modbus: `data` as it goes out, and the form of what answers it.

    `answer` None: no unit says anything to it. `refusal` is the form of a no. What answers must repeat `echo`, the
    fields that it has in common with the request. `reads`: asking again changes nothing.
    """

    message: str
    data: bytes
    answer: Template | None = None
    refusal: Template | None = None
    echo: tuple[tuple[str, bytes], ...] = ()
    reads: bool = False


Request = Read | Write | Ask


class Priority(IntEnum):
    """The order in which a bus serves what waits. A stop is never behind anything."""

    STOP = 0
    ORDER = 1
    READ_BACK = 2
    POLL = 3


class Transaction(NamedTuple):
    """One request to one unit, and the terms on which the bus may serve it.

    `owner` and `id` name it: `id` is unique for its owner. `repeatable` is False for a trigger write: the bus
    never sends it twice, whatever happened to the answer. `at_us` reserves an instant for the first byte;
    nothing else is begun on the bus that could not have ended before. `expires_us` is the last instant at
    which it may be begun. `timeout_us` runs from the end of the request on the wire; `turnaround_us` is the
    profile's guess of the unit's usual delay, used until the bus has learned better; `gap_us` is silence the
    unit needs after its last transaction.
    """

    owner: str
    id: int
    unit: int
    request: Request
    priority: Priority
    repeatable: bool = True
    at_us: int | None = None
    expires_us: int | None = None
    timeout_us: int = 300_000
    turnaround_us: int = 50_000
    gap_us: int = 0


# Outcomes: a transaction ends in exactly one.


class Reply(NamedTuple):
    """The unit answered. For a read the bits (0/1) or registers asked for; for a write what was echoed.

    For an `Ask` the octets of the whole answer.
    """

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """It was put on the wire, and nobody answers such a request: a broadcast, or a message without an answer."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The unit answered with a Modbus exception code (1 illegal function, 2 illegal address, ...).

    Where the protocol is not Modbus, with a code of its own.
    """

    code: int
    modbus: bool = True


@dataclass(frozen=True, slots=True)
class Silent:
    """No usable answer came. `why` is 'no answer', 'garbled', 'foreign' or 'short': what was seen instead."""

    why: str = "no answer"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not put on the wire: the unit is demoted and this was not its probe, or an equal poll already waited."""

    why: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Not put on the wire: its last instant passed while it waited."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Not put on the wire, or given up in flight: its owner withdrew it, or an order pre-empted this poll."""


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The link was down, or went down before the answer came."""

    why: str


Outcome = Reply | Sent | Refused | Silent | Skipped | Expired | Withdrawn | LinkLost


# Into a bus.


class Submit(NamedTuple):
    """Put a transaction in the bus's queue."""

    bus: str
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take a transaction back. One already on the wire ends as it ends."""

    bus: str
    owner: str
    id: int


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes came in on a bus."""

    bus: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The bus's port or connection is open."""

    bus: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The bus's port or connection is gone, and why; the link tries to open it again by itself."""

    bus: str
    why: str


@dataclass(frozen=True, slots=True)
class WrittenLate:
    """The link wrote a prepared frame at `at_us`, noticeably after its instant: the host was busy."""

    bus: str
    at_us: int


BusEvent = Submit | Withdraw | Received | WrittenLate | LinkUp | LinkDown | Woken


# Out of a bus.


@dataclass(frozen=True, slots=True)
class Send:
    """Write `data` to the bus now, or at the instant `at_us` from the link's timer thread.

    A Send supersedes a prepared one whose instant has not come; an empty one only recalls it.
    """

    bus: str
    data: bytes
    at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Reopen:
    """Close the link and open it again: every unit on it has been silent for too long."""

    bus: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else asks units on this line: it has another master (SINGLE-MASTER). `unit` is who was asked."""

    bus: str
    unit: int


class Finished(NamedTuple):
    """A transaction ended. `sent_us` is the instant its first byte left (None: it never did)."""

    bus: str
    transaction: Transaction
    outcome: Outcome
    sent_us: int | None


BusEffect = Send | Reopen | Foreign | Finished


# Into and out of a device (its owner is a siren, an alarm, or a technician).


@dataclass(frozen=True, slots=True)
class Begin:
    """Run one action of the device's profile. A newer one for the same channel supersedes the older.

    `channel` is 1-based, None for a device without channels. `args` fill the `$name` values of the action's
    steps. Steps before the one marked `edge` run at once; the edge is written at `at_us` (None: at once);
    the rest follow. `token` is unique for the caller and comes back in `Ended`.
    """

    device: str
    action: str
    token: int
    channel: int | None = None
    args: Mapping[str, float | int | bool | str] | None = None
    priority: Priority = Priority.ORDER
    at_us: int | None = None
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Give up the action with this token: nothing more of it goes to the bus. Answered by `Ended`."""

    device: str
    token: int


@dataclass(frozen=True, slots=True)
class ReadNow:
    """Read these points once, polled or not: Took as they come, then Ended with the action 'read'."""

    device: str
    points: tuple[str, ...]
    token: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An action is over. `edge_us` is when its edge left for the wire (None: it did not); `why` when not done."""

    device: str
    token: int
    action: str
    done: bool
    why: str = ""
    edge_us: int | None = None


@dataclass(frozen=True, slots=True)
class Edged:
    """The edge of an action was acknowledged by the unit; its later steps may still run."""

    device: str
    token: int
    action: str
    edge_us: int


@dataclass(frozen=True, slots=True)
class Presence:
    """A device came or went: three silent polls make it absent, one answer present. The first is told as well."""

    device: str
    online: bool
    why: str = ""
