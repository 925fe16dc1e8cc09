"""Evidence: what a siren's feedback proves of its on-phases.

A *witness* is one feedback point; an *ear* is one that tells of sound pressure. A *tally* counts, for one activation,
the on-phases that were commanded, those that a witness saw sounding, and apart from them those that an ear heard
begin. Only a GOOD reading taken inside a phase proves anything of it; whatever is BAD, uncertain or from another
time says nothing. It refuses to know how a siren is driven and why it sounds.
"""

from collections.abc import Collection, Mapping
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
BACKGROUND_US = 10 * S
"""A silence older than this before a rise says nothing of what the ear heard just before."""
DOUBT_US = 10 * S
"""A phase that no witness saw by this long after it should have shown is told of before it ends (HONEST: 30 s)."""
DOUBT_LIMIT_US = 25 * S
"""... and never later than this after its edge, however slow the motor."""


class Witness:
    """One feedback point, and what it has said so far.

    `latched`: a bit that stays set after the sound, and is cleared by the next command. It proves that a function
    began after it was last seen clear; it never proves that the siren sounds now, nor that it was silent.
    `foreign`: it said sound while nothing of ours could; until it is seen silent it proves nothing of ours.
    `proves`: what its sound proves of a phase; None: nothing, it is only watched.
    `lag_us`: how long after the off it may still tell of what we did.
    """

    def __init__(self, device: str, point: str, above: float | None = None, on: tuple[Value, ...] | None = None,
                 latched: bool = False, *, proves: Stage | None = Stage.SENSED, lag_us: int = 0) -> None:
        self.device = device
        self.point = point
        self.latched = latched
        self.proves = proves
        self.lag_us = lag_us
        self.foreign = False
        self.sounding: bool | None = None
        """By the last GOOD reading; None: never read."""
        self.blind = False
        """Whether the last reading said neither sound nor silence."""
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
        self.blind = says is None
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
    """The feedback of a siren. `profiles` are those of the devices that are known, by device.

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
        found.append(Witness(device, name, feedback.above, on, latched, proves=Stage(feedback.proves),
                             lag_us=round(section.spool_down_s * S)))
    return tuple(found)


@dataclass(slots=True)
class _Window:
    """One on-phase that was handed over: when it may be seen, and what came of it."""

    on_us: int
    off_us: int
    commanded: bool = False
    read: bool = False
    """Whether feedback could be read within it, whatever it said."""
    sensed: bool = False
    heard: bool = False
    unclosed: bool = False


class Tally:
    """Counts the on-phases of one activation. `phases` is how many the order asked for.

    `proofs` are the stages that the siren's feedback can prove; without SENSED there is no independent feedback: an ear
    hears the neighbour as well, whose signal begins at the same instant. `late_us` is how long after the off feedback
    may still show the phase, where no other phase could be meant.
    """

    def __init__(self, phases: int, proofs: Collection[Stage], spool_up_us: int, late_us: int = 0) -> None:
        self.doubted = False
        """Whether a phase that nobody saw has been told of."""
        self.late_us = late_us
        self._phases = phases
        self._independent = Stage.SENSED in proofs
        self._ears = Stage.HEARD in proofs
        self._spool_up_us = 0 if late_us else spool_up_us
        self._windows: dict[int, _Window] = {}
        self._samples = 0
        """Readings that said sound while it was due."""
        self._loud = 0
        """The same of ears."""

    def open(self, n: int, on_us: int, off_us: int) -> None:
        """The phase `n` was handed over. It counts as seen even if its acknowledgement is lost."""
        self._windows[n] = _Window(on_us, off_us)

    def commanded(self, n: int, edge_us: int) -> None:
        self._windows[n].commanded = True
        self._windows[n].on_us = edge_us

    def unclosed(self, n: int) -> None:
        """The contactor did not close in the phase `n`."""
        if n in self._windows:
            self._windows[n].unclosed = True

    def begun(self, at_us: int) -> bool:
        """Whether a phase had begun by then."""
        return any(w.on_us <= at_us for w in self._windows.values())

    def took(self, witness: Witness, says: bool, at_us: int) -> None:
        """What a witness said at an instant.

        A witness that was latched proves the phase whose edge came last before it rose. If it is not seen clear
        between two phases, the second is not proved: a bit that stays set for any reason would prove them all.
        """
        if witness.proves is Stage.SENSED:
            for window in self._windows.values():
                window.read |= self._shows_us(window) <= at_us <= self._shown_us(window)
        if not says or witness.foreign or witness.proves is None:
            return
        if witness.proves is Stage.HEARD:
            self._hear(witness, at_us)
            return
        if witness.latched:
            begun = [w for w in self._windows.values() if w.on_us <= at_us]
            self._samples += bool(begun)
            seen = begun[-1:] if witness.rose else []
        else:
            seen = [w for w in self._windows.values() if self._shows_us(w) <= at_us <= self._shown_us(w)]
            self._samples += bool(seen)
        for window in seen:
            window.sensed = True

    def _hear(self, ear: Witness, at_us: int) -> None:
        """An ear is loud. It heard the phase within which its level rose, out of a silence known until then."""
        due = [w for w in self._windows.values() if w.on_us <= at_us <= self._shown_us(w)]
        self._loud += bool(due)
        for window in due:
            window.heard |= ear.rose and ear.silent_us >= 0 and at_us - ear.silent_us <= BACKGROUND_US

    def _shows_us(self, window: _Window) -> int:
        """From when sound in this phase is this phase's: a motor may still run down from the one before."""
        return window.on_us + min(self._spool_up_us, max(0, window.off_us - window.on_us) // 2)

    def _shown_us(self, window: _Window) -> int:
        return window.off_us + LATE_SAMPLE_US + self.late_us

    @property
    def doubt_us(self) -> int | None:
        """When a phase that is acknowledged but not seen is to be told of; only the first such phase is."""
        if self.doubted or not self._independent:
            return None
        return min((self._doubt_us(w) for w in self._windows.values() if w.commanded and not w.sensed), default=None)

    def _doubt_us(self, window: _Window) -> int:
        late_us = window.on_us + min(self._spool_up_us + DOUBT_US, DOUBT_LIMIT_US)
        return min(late_us, max(window.off_us, window.on_us) + self.late_us + S)

    @property
    def complete(self) -> bool:
        """Nothing that could still be read would change the result."""
        seen = self._samples >= SAMPLES and all(w.sensed for w in self._windows.values())
        heard = self._loud >= SAMPLES and all(w.heard for w in self._windows.values())
        return (seen or not self._independent) and (heard or not self._ears)

    @property
    def evidence(self) -> Evidence:
        windows = self._windows.values()
        return Evidence(phases=self._phases, commanded=sum(w.commanded for w in windows),
                        sensed=sum(w.sensed for w in windows) if self._samples >= SAMPLES else 0,
                        heard=sum(w.heard for w in windows) if self._loud >= SAMPLES else 0,
                        independent=self._independent)

    def proved(self, stage: Stage) -> bool:
        """Whether any phase is sensed, or heard."""
        e = self.evidence
        return bool(e.sensed if stage is Stage.SENSED else e.heard)

    def verdict(self, trouble: str) -> tuple[Stage, str]:
        """How an activation that was let run to its end has ended; `trouble` is the last thing that went wrong.

        Feedback that could not be read denies nothing and proves nothing: then it ends as one without feedback.
        """
        e, windows = self.evidence, self._windows.values()
        short = f"commanded {e.commanded} of {e.phases}" + (f": {trouble}" if trouble else "")
        if e.sounded:
            return Stage.FINISHED, "" if e.commanded == e.phases else short
        if e.commanded < e.phases:
            return Stage.FAILED, short
        unread = e.phases - sum(w.read for w in windows)
        if e.independent and (not unread or any(w.read and not w.sensed for w in windows)):
            return Stage.FAILED, f"not sensed: {e.phases - e.sensed} of {e.phases}"
        unproved = f"no feedback in {unread} of {e.phases}" if e.independent else ""
        self._independent = False
        unclosed = sum(w.unclosed for w in windows)
        if unclosed:
            return Stage.FAILED, f"contactor did not close: {unclosed} of {e.phases}"
        return Stage.FINISHED, unproved
