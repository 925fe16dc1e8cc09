"""The isolator of a siren: whether a technician has locked it out, by the trapped key or by a tag.

The key is a point of some device; where it cannot be read, what was read last holds, also over a restart. Of a key
that was never read nothing is known: a warning is not silenced by that, for the key itself takes the amplifier's
power, and it is said. The tags are kept elsewhere (`lockout.py`); here they are only one more lock.

It refuses to know what sounds and what a lock-out does to it (`siren.py`).
"""

from enum import Enum, StrEnum

from controller.event import Notice
from firmware_bridge.machine import MS
from firmware_bridge.reading import Quality, Reading

WAIT_US = 1500 * MS
"""After a restart nothing starts before the isolator was looked at once, or this has passed (LIVENESS: 2 s)."""


class Service(StrEnum):
    """Whether a siren may sound at all; this stands beside its State.

    IN_SERVICE: the key lets it. So it is taken to be until the isolator was read for the first time, and that is said.

    LOCKED_OUT: a technician has the key. Nothing starts; stop works. Only a good reading that says otherwise ends it:
    no time-out, no unit that falls silent, no restart.
    """

    IN_SERVICE = "IN_SERVICE"
    LOCKED_OUT = "LOCKED_OUT"


class Move(Enum):
    LOCK = "the isolator says locked"
    FREE = "the isolator says free, and the reading is good"


TRANSITIONS: dict[tuple[Service, Move], Service] = {
    (Service.IN_SERVICE, Move.LOCK): Service.LOCKED_OUT,
    (Service.LOCKED_OUT, Move.LOCK): Service.LOCKED_OUT,
    (Service.LOCKED_OUT, Move.FREE): Service.IN_SERVICE,
    (Service.IN_SERVICE, Move.FREE): Service.IN_SERVICE,
}


class Isolator:
    """The isolator of one siren: `ref` is `device.point`, None where it has none; `locked` is what it reads then."""

    def __init__(self, siren: str, ref: str | None, locked: bool = True) -> None:
        self.service = Service.IN_SERVICE
        self.tags = ""
        """The tags that hang on it; empty: none."""
        self._siren = siren
        self._ref = ref
        self._means_locked = locked
        self._tried = ref is None
        self._value_known = ref is None
        self._born_us: int | None = None

    @property
    def locked(self) -> bool:
        return self.turned or bool(self.tags)

    @property
    def turned(self) -> bool:
        """Whether the key says locked."""
        return self.service is Service.LOCKED_OUT

    @property
    def why(self) -> str:
        """What hub and technician should know of it."""
        if self._value_known and not self.locked:
            return ""
        doubt = "" if self._value_known else "isolator unreadable" if self._tried else "isolator not read yet"
        return "; ".join(part for part in ("isolated" if self.locked else "", self.tags, doubt) if part)

    def restore(self, tags: str, turned: bool) -> None:
        """What was known of it before a restart. A siren that has no key any more is not held by it."""
        self.tags = tags
        if turned and self._ref is not None:
            self.service = Service.LOCKED_OUT

    def born(self, now_us: int) -> None:
        """The siren lives since now, or longer."""
        if self._born_us is None:
            self._born_us = now_us

    @property
    def wait_us(self) -> int:
        """Before this nothing starts: it is not known yet whether a technician has the siren."""
        return 0 if self._tried or self._born_us is None else self._born_us + WAIT_US

    def took(self, reading: Reading) -> Notice | None:
        """A reading of any point; one that says locked does so however doubtful, only a GOOD one frees."""
        if f"{reading.device}.{reading.point}" != self._ref:
            return None
        was, knew = self.service, self._value_known or not self._tried
        self._tried = True
        self._value_known = reading.value is not None
        if reading.value is self._means_locked:
            self.service = TRANSITIONS[was, Move.LOCK]
        elif reading.value is not None and reading.quality is Quality.GOOD:
            self.service = TRANSITIONS[was, Move.FREE]
        if self.service is not was:
            return Notice("isolated" if self.turned else "released", self._siren)
        if knew and not self._value_known:
            return Notice("isolator-unreadable", self._siren, str(reading.why))
        return None
