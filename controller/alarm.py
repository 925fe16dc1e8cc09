"""An alarm: one watched condition of a spot, in the states of ISA-18.2.

It hears what the gauges say of a depth (`Says`), waits out its delays, is acknowledged by a person, and can be put
out of service for a limited time. What nobody knows changes nothing: it neither raises an alarm nor ends one, and
interrupts the waiting for an end.
It refuses to know gauges, votes, and what is done because of it (`rule.py`).
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from firmware_bridge.machine import S, Woken, earliest

SHELF_LIMIT_US = 8 * 3600 * S
"""No alarm is out of service for longer: a shift. Whoever needs more says so again."""
HOUR_US = 3600 * S
CHATTER = 4
"""Raised so often in an hour, an alarm chatters: its gauge or its limits are wrong."""
RAISES_LIMIT = 64
"""Raises remembered for that."""


class Says(Enum):
    """What is known of a condition now."""

    HIGH = "it is so"
    BETWEEN = "within the deadband"
    LOW = "it is not so"
    UNKNOWN = "nobody knows"


class State(Enum):
    """The states of ISA-18.2.

    NORMAL: the condition is not there, and nothing waits for a person.

    UNACKED: it is there, and nobody has acknowledged it.

    ACKED: it is there, and a person knows.

    RTN_UNACKED: it went, and nobody has acknowledged that it was there; of a latched one, that it went.

    OUT_OF_SERVICE: a person has put it on the shelf until a time. The condition is watched, and asks for nobody; what
    latched stays so.
    """

    NORMAL = "NORMAL"
    UNACKED = "UNACKED"
    ACKED = "ACKED"
    RTN_UNACKED = "RTN_UNACKED"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"


class Kind(Enum):
    RAISED = "the condition was there for its on-delay"
    CLEARED = "it was away for its off-delay"
    CLEARED_LATCHED = "the same, of an alarm that latches"
    ACKNOWLEDGED = "a person acknowledges"
    SHELVED = "a person takes it out of service"
    BACK_HIGH = "it is back in service, and the condition is there"
    BACK_LOW = "it is back in service, and the condition is not there"
    BACK_LATCHED = "the same, of one that latched"


TABLE: dict[tuple[State, Kind], State] = {
    (State.NORMAL, Kind.RAISED): State.UNACKED,
    (State.RTN_UNACKED, Kind.RAISED): State.UNACKED,
    (State.UNACKED, Kind.CLEARED): State.RTN_UNACKED,
    (State.UNACKED, Kind.CLEARED_LATCHED): State.RTN_UNACKED,
    (State.ACKED, Kind.CLEARED): State.NORMAL,
    (State.ACKED, Kind.CLEARED_LATCHED): State.RTN_UNACKED,
    (State.UNACKED, Kind.ACKNOWLEDGED): State.ACKED,
    (State.RTN_UNACKED, Kind.ACKNOWLEDGED): State.NORMAL,
    **{(state, Kind.SHELVED): State.OUT_OF_SERVICE for state in State},
    (State.OUT_OF_SERVICE, Kind.BACK_HIGH): State.UNACKED,
    (State.OUT_OF_SERVICE, Kind.BACK_LOW): State.NORMAL,
    (State.OUT_OF_SERVICE, Kind.BACK_LATCHED): State.RTN_UNACKED,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of the condition now."""

    says: Says


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """A person knows of it. From the cabinet it also ends what latched."""

    by: str
    cabinet: bool = True


@dataclass(frozen=True, slots=True)
class Shelve:
    """A person takes it out of service for so long."""

    by: str
    us: int


@dataclass(frozen=True, slots=True)
class Unshelve:
    """A person puts it back."""

    by: str


@dataclass(frozen=True, slots=True)
class Turn:
    """An alarm went from one state to another; or, while it is out of service, its condition came or went, or what had
    latched was acknowledged."""

    alarm: str
    kind: Kind
    before: State
    after: State
    by: str = ""


AlarmEvent = Heard | Acknowledge | Shelve | Unshelve | Woken


class Alarm:
    """A machine for one condition."""

    def __init__(self, id: str, on_delay_us: int, off_delay_us: int, latch: bool = False) -> None:
        self.id = id
        self.state = State.NORMAL
        self.high = False
        """Whether the condition is there, its delays waited out; also while the alarm is out of service."""
        self._on_delay_us = on_delay_us
        self._off_delay_us = off_delay_us
        self._latch = latch
        self._latched = False
        """It went, and nobody at the cabinet has acknowledged that."""
        self._since_us: int | None = None
        """Since when it says otherwise than `high`."""
        self._certain = False
        """What was heard last was no UNKNOWN."""
        self._shelf_us: int | None = None
        self._raises: deque[int] = deque(maxlen=RAISES_LIMIT)
        self._out: list[Turn] = []

    @property
    def deadline(self) -> int | None:
        if self._since_us is None and self._shelf_us is None:
            return None  # nearly always, and asked several times a second
        return earliest(self._turn_us, self._shelf_us)

    @property
    def shelf_us(self) -> int | None:
        """Until when it is out of service."""
        return self._shelf_us

    @property
    def in_force(self) -> bool:
        """Whether what follows from it holds: the condition is there, or it latched and waits for a person."""
        return self.high or self._latched

    @property
    def shelved(self) -> bool:
        return self.state is State.OUT_OF_SERVICE

    def raises(self, now_us: int) -> int:
        """How often it was raised in the last hour."""
        return sum(at_us > now_us - HOUR_US for at_us in self._raises)

    @property
    def snapshot(self) -> list[str | bool]:
        """What of it outlives a restart; of what latched on the shelf, that it waits for a person."""
        state = State.RTN_UNACKED if self.shelved and self._latched else self.state
        return [state.value, self.high]

    def restore(self, state: str, high: bool) -> None:
        """As the journal knows it, before the first event. A shelf does not outlive a restart: it is in service."""
        self.high = high
        known = state in State.__members__
        self.state = State[state] if known else State.UNACKED if high else State.NORMAL
        if self.state is State.OUT_OF_SERVICE:
            self.state = State.UNACKED if high else State.NORMAL
        self._latched = self._latch and self.state is State.RTN_UNACKED

    def handle(self, now_us: int, event: AlarmEvent) -> list[Turn]:
        self._out = []
        match event:
            case Heard(says):
                self._heard(now_us, says)
            case Acknowledge(by, cabinet):
                if cabinet or not self._latched:
                    over, self._latched = self._latched, False
                    self._go(Kind.ACKNOWLEDGED, by, told=over)
            case Shelve(by, us):
                self._shelf_us = now_us + min(max(us, 1), SHELF_LIMIT_US)
                self._go(Kind.SHELVED, by)
            case Unshelve(by) if self.shelved:
                self._back(by)
            case _:
                pass
        if self._shelf_us is not None and self._shelf_us <= now_us:
            self._back("")
        if self._turn_us is not None and self._turn_us <= now_us:
            self._turned(now_us)
        return self._out

    @property
    def _turn_us(self) -> int | None:
        """When the condition has been otherwise for long enough; not while nobody knows it."""
        if self._since_us is None or not self._certain:
            return None
        return self._since_us + (self._off_delay_us if self.high else self._on_delay_us)

    def _heard(self, now_us: int, says: Says) -> None:
        self._certain = says is not Says.UNKNOWN
        other = Says.LOW if self.high else Says.HIGH
        if says is other:
            self._since_us = now_us if self._since_us is None else self._since_us
        elif says is not Says.UNKNOWN or self.high:
            # A rise that nobody saw for a moment goes on; an end that nobody saw does not.
            self._since_us = None

    def _turned(self, now_us: int) -> None:
        self.high, self._since_us = not self.high, None
        self._latched = self._latch and not self.high
        if self.high:
            self._raises.append(now_us)
        self._go(Kind.RAISED if self.high else Kind.CLEARED_LATCHED if self._latch else Kind.CLEARED)

    def _back(self, by: str) -> None:
        self._shelf_us = None
        self._go(Kind.BACK_HIGH if self.high else Kind.BACK_LATCHED if self._latched else Kind.BACK_LOW, by)

    def _go(self, kind: Kind, by: str = "", told: bool = False) -> None:
        """What the table does not have changes nothing. That the condition turned, or that what latched is over, is
        told from the shelf too."""
        before = self.state
        self.state = TABLE.get((before, kind), before)
        if told or self.state is not before or kind in (Kind.RAISED, Kind.CLEARED, Kind.CLEARED_LATCHED):
            self._out.append(Turn(self.id, kind, before, self.state, by))
