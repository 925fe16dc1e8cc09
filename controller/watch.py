"""The watch over a siren that should be silent: whose sound is it that its points tell of?

Our own output on without a cause is ours to end. Sound that goes on after our off is a siren that does not stop, and
so is a contactor that stays closed. Sound out of a silence that was seen is somebody else's (panel, key, line fault):
told, and not cut. What an ear hears is nobody's: thunder and the neighbour siren are loud as well, so ears are counted
in on-phases (`evidence.py`) and never judged here. The watch only judges; what is done about it is the siren's.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from controller.config import Drive, SirenSection
from controller.event import Degraded
from controller.evidence import Witness, witnesses
from controller.wire import Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import OutputClass, Profile
from firmware_bridge.reading import Reading

SETTLE_US = 1 * S
"""A state read this soon after a confirmed off may still be the one before it."""
APART_US = 2 * S
"""Sound this long after a siren of ours should have run down, with a silence between, is not ours."""
AGE_US = 15 * S
"""A state older than this proves nothing in a test; states are polled each second or so."""
BLIND_US = 5 * S
"""So long no feedback of a siren can be read before that is said: one garbled answer is no news. (HONEST: 30 s)"""
TRIES = 2
"""An output that could not be read so often is known to be unreadable; a start does not wait for more."""
NO_FEEDBACK = "NO-FEEDBACK"


class Says(Enum):
    """What a reading means for a siren that should be silent."""

    NOTHING = "nothing new"
    SILENT = "a point tells silence"
    BROKEN = "sound in a silence between two phases"
    STILL = "it was turned off, and is not silent"
    FOREIGN = "it sounds, and not by us"
    UNEXPECTED = "our own output is on without a cause"


class Stand(NamedTuple):
    """How our output stands when a reading comes."""

    running: bool
    """What has the siren has phases to come."""
    idle: bool
    """Nothing is on or to come, and no off is outstanding."""
    off_us: int | None
    """The last confirmed off."""


class Watch:
    """The witnesses of one siren, and its own output's state."""

    def __init__(self, section: SirenSection, profile: Profile, others: Mapping[str, Profile]) -> None:
        output = profile.output
        assert output is not None
        self._siren = section.id
        drive = Drive.of(section.drive)
        point = profile.point(output.state, drive.channel)
        found = witnesses(section, {**others, drive.device: profile})
        self.witnesses = tuple(w for w in found if w.proves is Stage.SENSED)
        self._ears = tuple(w for w in found if w.proves is Stage.HEARD)
        self.contactor: Witness | None = None
        if section.contactor is not None:
            # A closed contactor is power on the motor and no sound: it proves no phase.
            device, _, name = section.contactor.partition(".")
            self.contactor = Witness(device, name, proves=None, lag_us=section.contactor_ms * MS)
        self._suspects = self.witnesses if self.contactor is None else (*self.witnesses, self.contactor)
        """The points by which a siren that should be silent is judged, apart from its output's own state."""
        self.proofs = frozenset(w.proves for w in found if w.proves is not None)
        self.own = Witness(drive.device, point.name, None, output.on, point.spec.evidence == "latched")
        self.own_us: int | None = None
        """When the output's state last had a value."""
        self.own_tries = 0
        looked_at = (*found, self.own) if self.contactor is None else (*found, self.own, self.contactor)
        self.refs = frozenset(map(str, looked_at))
        """Every point that it looks at."""
        self._own_is_witness = str(self.own) in map(str, self.witnesses)
        self._head = output.class_ is OutputClass.B_PRIME
        self._polled = point.spec.poll_ms is not None
        self._told_on = False
        self.blind = False
        """None of its feedback can be read: what it does is not known (NO-FEEDBACK)."""
        self._dim_us: int | None = None
        """Since when that is so."""

    @property
    def deadline(self) -> int | None:
        return None if self.blind or self._dim_us is None else self._dim_us + BLIND_US

    def look(self, now_us: int) -> Iterator[Degraded]:
        """Whether its feedback can be read, when that is news."""
        dim = bool(self.witnesses) and all(w.blind for w in self.witnesses)
        self._dim_us = None if not dim else now_us if self._dim_us is None else self._dim_us
        blind = self._dim_us is not None and now_us >= self._dim_us + BLIND_US
        if blind is not self.blind:
            self.blind = blind
            yield Degraded(NO_FEEDBACK, blind, ", ".join(map(str, self.witnesses)), self._siren)

    @property
    def known(self) -> bool:
        """The output was read, or is known to be unreadable."""
        return self.own_us is not None or self.own_tries >= TRIES or not self._polled

    @property
    def why(self) -> str:
        """What hub and technician should know of it."""
        if self.own_us is not None and not self.blind and not self.foreign:
            return ""
        unread = "" if self.own_us is not None else "not read yet" if self.own_tries < TRIES else "unreadable"
        words = ("not ours" if self.foreign else "", unread, "no feedback" if self.blind else "")
        return "; ".join(part for part in words if part)

    @property
    def foreign(self) -> bool:
        """A point tells of sound that was judged to be somebody else's."""
        return any(w.foreign for w in (*self._suspects, self.own))

    @property
    def silent(self) -> bool:
        """No point tells of sound of ours. Latched bits tell of the past and are not asked."""
        points = (*self._suspects, self.own) if self._told_on else self._suspects
        return not any(w.sounding and not w.latched and not w.foreign for w in points)

    def wrong(self, now_us: int) -> str:
        """What speaks against the siren as far as reading its output tells; empty: it is there, and off."""
        if self.own_us is None or self.own.sounding is None:
            return "output state not read"
        if now_us - self.own_us > AGE_US:
            return f"output state last read {(now_us - self.own_us) // S} s ago"
        return "output is on" if self.own.sounding else ""

    def claim(self) -> None:
        """We turn it off, whoever turned it on: from now on its sound is ours to end."""
        for witness in (*self._suspects, self.own):
            witness.foreign = False

    def of(self, reading: Reading) -> Iterator[Witness]:
        """The witnesses whose point this is."""
        name = f"{reading.device}.{reading.point}"
        return (w for w in (*self._suspects, *self._ears) if str(w) == name)

    def is_own(self, reading: Reading) -> bool:
        return reading.device == self.own.device and reading.point == self.own.point

    def hear_own(self, reading: Reading) -> bool | None:
        """The output's state was read, or could not be: on, off, or None."""
        self.own_tries += 1
        if reading.value is not None:
            self.own_us = reading.at_us
        return self.own.hear(reading)

    def sound(self, witness: Witness, says: bool, at_us: int, stand: Stand) -> Says:
        """What it means that a witness told of sound or silence."""
        if witness.proves is Stage.HEARD:
            return Says.NOTHING
        if not says:
            return Says.SILENT
        if not stand.idle or witness.foreign or (witness.latched and not witness.rose):
            return Says.NOTHING
        off_us = stand.off_us
        down_us = 0 if off_us is None else off_us + witness.lag_us
        if at_us <= down_us:
            return Says.NOTHING
        if stand.running:
            return Says.NOTHING if witness.latched else Says.BROKEN
        if off_us is not None and witness.silent_us < off_us and not witness.latched:
            return Says.STILL
        if off_us is None or at_us > down_us + APART_US:
            return self._somebody_elses(witness)
        return Says.NOTHING

    def state(self, says: bool, at_us: int, stand: Stand) -> Says:
        """What it means that our output read on or off."""
        own, off_us = self.own, stand.off_us
        if not says:
            self._told_on = False
            return Says.SILENT
        if stand.running or not stand.idle or own.foreign or (off_us is not None and at_us <= off_us + SETTLE_US):
            return Says.NOTHING
        if own.latched and not own.rose and (own.silent_us >= 0 or off_us is not None):
            return Says.NOTHING
        if self._head and own.silent_us > (-1 if off_us is None else off_us):
            # A head tells of its own function, whoever called it up, and it was seen silent since our last off.
            return Says.NOTHING if self._own_is_witness else self._somebody_elses(own)
        again, self._told_on = self._told_on, True
        return Says.STILL if again else Says.UNEXPECTED

    @staticmethod
    def _somebody_elses(witness: Witness) -> Says:
        # A latched bit tells that it began, and never that it goes on.
        witness.foreign = not witness.latched
        return Says.FOREIGN
