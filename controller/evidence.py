"""Evidence: what a siren's feedback proves of its on-phases.

A *witness* is one feedback point. A *tally* counts, for one activation, the on-phases that were commanded and
those that a witness saw sounding. Only a GOOD reading taken inside a phase proves anything of it; whatever is
BAD, uncertain or from another time says nothing. It refuses to know how a siren is driven and why it sounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.config import SirenSection
from controller.wire import Evidence, Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import OutputClass, Profile
from firmware_bridge.reading import Quality, Reading, Value

LATE_SAMPLE_US = 100 * MS
"""A sample is stamped when its answer came, so one of the phase's last moments may bear a time just after it."""
SAMPLES = 2
"""Readings that must say sound before anything counts as sensed: the CRC of one garbled frame may collide."""
DOUBT_US = 10 * S
"""A phase that no witness saw by this long after it should have shown is told of before it ends (HONEST: 30 s)."""
DOUBT_LIMIT_US = 25 * S
"""... and never later than this after its edge, however slow the motor."""


class Witness:
    """One feedback point, and what it has said so far.

    `latched`: a bit that stays set after the sound, and is cleared by the next command. It proves that a function
    began after it was last seen clear; it never proves that the siren sounds now, nor that it was silent.
    `foreign`: it said sound while nothing of ours could; until it is seen silent it proves nothing of ours.
    """

    def __init__(self, device: str, point: str, above: float | None = None, on: tuple[Value, ...] | None = None,
                 latched: bool = False) -> None:
        self.device = device
        self.point = point
        self.latched = latched
        self.foreign = False
        self.sounding: bool | None = None
        """By the last GOOD reading; None: never read."""
        self.silent_us = -1
        """When it was last seen silent."""
        self.rose = False
        """Whether the last GOOD reading was the first to say sound after one that said silence."""
        self._above = above
        self._on = on

    def __str__(self) -> str:
        return f"{self.device}.{self.point}"

    def hear(self, reading: Reading) -> bool | None:
        """Sound, silence, or None: this reading says neither."""
        says = self._says(reading)
        if says is None:
            return None
        self.rose = says and self.sounding is False
        self.sounding = says
        if not says:
            self.silent_us = reading.at_us
            self.foreign = False
        return says

    def _says(self, reading: Reading) -> bool | None:
        value = reading.value
        if reading.quality is not Quality.GOOD or value is None:
            return None
        if self._on is not None:
            return value in self._on
        if self._above is not None:
            return None if isinstance(value, str | bool) else value > self._above
        return value if isinstance(value, bool) else None


def witnesses(section: SirenSection, profiles: Mapping[str, Profile]) -> tuple[Witness, ...]:
    """The points of a siren that tell of sound. `profiles` are those of the devices that are known, by device.

    A relay's own read-back is left out, whatever the config says: a coil that is closed is no sound. The
    activation bit of an intelligent head counts, for it comes from behind the amplifier's own watch.
    """
    found: list[Witness] = []
    for feedback in section.feedback:
        device, _, name = feedback.point.partition(".")
        profile = profiles.get(device)
        point = None if profile is None else profile.points.get(name)
        output = None if profile is None else profile.output
        on: tuple[Value, ...] | None = None
        if point is not None and output is not None and output.state in (point.base, point.name):
            if output.class_ is not OutputClass.B_PRIME:
                continue
            on = output.on
        latched = point is not None and point.spec.evidence == "latched"
        found.append(Witness(device, name, feedback.above, on, latched))
    return tuple(found)


@dataclass(slots=True)
class _Window:
    """One on-phase that was handed over: when it may be seen, and what came of it."""

    on_us: int
    off_us: int
    commanded: bool = False
    sensed: bool = False


class Tally:
    """Counts the on-phases of one activation. `phases` is how many the order asked for."""

    def __init__(self, phases: int, independent: bool, spool_up_us: int) -> None:
        self.doubted = False
        """Whether a phase that nobody saw has been told of."""
        self._phases = phases
        self._independent = independent
        self._spool_up_us = spool_up_us
        self._windows: dict[int, _Window] = {}
        self._samples = 0
        """Readings that said sound while it was due."""

    def open(self, n: int, on_us: int, off_us: int) -> None:
        """The phase `n` was handed over. It counts as seen even if its acknowledgement is lost."""
        self._windows[n] = _Window(on_us, off_us)

    def commanded(self, n: int, edge_us: int) -> None:
        self._windows[n].commanded = True
        self._windows[n].on_us = edge_us

    def took(self, witness: Witness, says: bool, at_us: int) -> None:
        """What a witness said at an instant.

        A witness that was latched proves the phase whose edge came last before it rose. If it is not seen clear
        between two phases, the second is not proved: a bit that stays set for any reason would prove them all.
        """
        if not says or witness.foreign:
            return
        if witness.latched:
            begun = [w for w in self._windows.values() if w.on_us <= at_us]
            self._samples += bool(begun)
            seen = begun[-1:] if witness.rose else []
        else:
            seen = [w for w in self._windows.values() if self._shows_us(w) <= at_us <= w.off_us + LATE_SAMPLE_US]
            self._samples += bool(seen)
        for window in seen:
            window.sensed = True

    def _shows_us(self, window: _Window) -> int:
        """From when sound in this phase is this phase's: a motor may still run down from the one before."""
        return window.on_us + min(self._spool_up_us, max(0, window.off_us - window.on_us) // 2)

    @property
    def doubt_us(self) -> int | None:
        """When a phase that is acknowledged but not seen is to be told of; only the first such phase is."""
        if self.doubted or not self._independent:
            return None
        return min((self._doubt_us(w) for w in self._windows.values() if w.commanded and not w.sensed), default=None)

    def _doubt_us(self, window: _Window) -> int:
        late_us = window.on_us + min(self._spool_up_us + DOUBT_US, DOUBT_LIMIT_US)
        return min(late_us, max(window.off_us, window.on_us) + S)

    @property
    def complete(self) -> bool:
        """Nothing that could still be read would change the result."""
        return not self._independent or (self._samples >= SAMPLES and all(w.sensed for w in self._windows.values()))

    @property
    def evidence(self) -> Evidence:
        windows: Sequence[_Window] = tuple(self._windows.values())
        sensed = sum(w.sensed for w in windows) if self._samples >= SAMPLES else 0
        return Evidence(phases=self._phases, commanded=sum(w.commanded for w in windows), sensed=sensed,
                        independent=self._independent)

    def verdict(self, trouble: str) -> tuple[Stage, str]:
        """How an activation that was let run to its end has ended; `trouble` is the last thing that went wrong."""
        e = self.evidence
        short = f"commanded {e.commanded} of {e.phases}" + (f": {trouble}" if trouble else "")
        if e.sounded:
            return Stage.FINISHED, "" if e.commanded == e.phases else short
        if e.commanded < e.phases:
            return Stage.FAILED, short
        if e.independent:
            return Stage.FAILED, f"not sensed: {e.phases - e.sensed} of {e.phases}"
        return Stage.FINISHED, ""
