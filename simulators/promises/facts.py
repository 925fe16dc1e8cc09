"""The facts of a history: what sounded, was ordered, arrived, was asked for, went wrong, was written and was told.

All instants are true wall time in microseconds, whatever a gateway believed. They refuse to know who judges them.
"""

from dataclasses import dataclass

from controller.wire import Birth, Event, OrderBody, Receipt, State, to_wall_us

NEVER_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Sounding:
    """One stretch of sound of one siren, as the site logged it. `off_wall_us` None: it never ended."""

    siren: str
    on_wall_us: int
    off_wall_us: int | None
    cause: str

    @property
    def end_us(self) -> int:
        return NEVER_US if self.off_wall_us is None else self.off_wall_us


@dataclass(frozen=True, slots=True)
class Ordered:
    """One order that was signed, and to which sirens it was addressed."""

    body: OrderBody
    sirens: tuple[str, ...]
    grave: bool = True
    """Of a stop: its signers may stop what is live."""

    @property
    def id(self) -> str:
        return self.body.id

    @property
    def start_wall_us(self) -> int | None:
        sound = self.body.sound
        return None if sound is None or sound.start_at is None else to_wall_us(sound.start_at)

    @property
    def issued_us(self) -> int:
        return to_wall_us(self.body.issued_at)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes reached a living gateway. `lived_us`: how long the process that got them lived on.

    `authorised` is the word of a second, independent judge, by what this gateway was told of the clock and of trust.
    """

    gateway: str
    at_us: int
    order: str
    authorised: bool = True
    clock_us: int = 0
    lived_us: int = NEVER_US


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody at the cabinet asked a living gateway for something."""

    gateway: str
    at_us: int
    user: str
    verb: str
    siren: str
    seconds: float = 0.0
    lived_us: int = NEVER_US


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something was wrong. `kind` is a fault's word, or `process`, `disk`, `no-disk` (it takes nothing),
    `clock`, `net`, `key`, `foreign`."""

    kind: str
    on: str
    from_us: int
    to_us: int
    share: float = 1.0
    """Of the requests or answers that it hits."""

    def meets(self, from_us: int, to_us: int) -> bool:
        return self.from_us <= to_us and self.to_us >= from_us


@dataclass(frozen=True, slots=True)
class Written:
    """The units of a line understood a request, which began at `at_us`."""

    line: str
    at_us: int
    unit: int
    pdu: bytes
    foreign: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway's process said to the world, whether or not anybody heard it."""

    gateway: str
    at_us: int
    message: Birth | Event | State | Receipt


@dataclass(frozen=True, slots=True)
class Clocked:
    """From here on a gateway was told that its wall clock is so far off, and whether to believe it."""

    at_us: int
    offset_us: int
    believed: bool
