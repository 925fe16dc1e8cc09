"""The motor of a siren while it runs: does its contactor close, and do all three phases carry current?

It judges readings taken within an on-phase, from the acknowledged edge to a little before its end; a contactor that
stays closed afterwards is the watch's (`watch.py`). A value that is missing is told as missing, and is no lost phase.
It refuses to know what sounds, and what is done about a motor that is ill (`siren.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from controller.config import SirenSection
from firmware_bridge.machine import MS, S, earliest
from firmware_bridge.reading import Quality, Reading

EARLY_US = 500 * MS
"""This near the end of a phase nothing is judged any more: a lease is cut to tenths, and a contactor drops fast."""
MISSING_US = 5 * S
"""A point without a good reading for so long within a phase is told of: each is polled every two seconds or oftener."""


@dataclass(frozen=True, slots=True)
class Ill:
    """Something is wrong with the motor, and what."""

    why: str
    n: int = 0
    """The on-phase in which it was seen."""
    unclosed: bool = False
    """Its contactor did not close in this phase."""
    lost: bool = False
    """A phase of its supply is lost: two are left, and burn it."""
    new: bool = False
    """Of a lost phase: it was there when the motor ran last, as far as anybody knows."""


@dataclass(slots=True)
class _Run:
    """The on-phase `n`, and what was seen of the motor in it."""

    n: int
    edge_us: int
    until_us: int
    closed: bool = False
    told_open: bool = False
    told_unread: bool = False
    told_lost: bool = False


class Motor:
    """What a motor's own points tell. A siren without any has nothing to tell here."""

    def __init__(self, section: SirenSection) -> None:
        self.refs = tuple(ref for ref in (section.contactor, *section.phase_currents) if ref is not None)
        """Its points."""
        self._contactor = section.contactor
        self._contactor_us = section.contactor_ms * MS
        self._phases = section.phase_currents
        self._above = section.phase_above or 0.0
        self._loss_us = round(section.phase_loss_s * S)
        self._run: _Run | None = None
        self._good_us: dict[str, int] = {}
        """When each of its points was last read well."""
        self._unread = set(self.refs)
        """Points whose last reading had no value, or that were never read."""
        self._closed: bool | None = None
        self._carries: dict[str, bool] = {}
        """Whether a phase carries current, by its last reading in this run."""
        self._low_us: dict[str, int] = {}
        """Since when a phase carries none while another does."""
        self._lost = ""

    @property
    def why(self) -> str:
        """What hub and technician should know of it."""
        if not self._lost and not self._unread:
            return ""
        unread = [ref for ref in self.refs if ref in self._unread]
        return "; ".join(part for part in (self._lost, f"not read: {', '.join(unread)}" if unread else "") if part)

    @property
    def wrong(self) -> str:
        """What speaks against it while it should stand still."""
        if self._contactor is None:
            return ""
        return "contactor not read" if self._closed is None else "contactor is closed" if self._closed else ""

    @property
    def deadline(self) -> int | None:
        """When a point that was not read is to be told of."""
        run = self._run
        if run is None or run.told_unread:
            return None
        return earliest(*(self._missing_us(run, ref) for ref in self.refs))

    def _missing_us(self, run: _Run, ref: str) -> int | None:
        due_us = max(self._good_us.get(ref, 0), run.edge_us) + MISSING_US
        return due_us if due_us < run.until_us else None

    def begin(self, n: int, edge_us: int, off_us: int) -> None:
        """The edge of the phase `n` was acknowledged."""
        self._run = _Run(n, edge_us, off_us - EARLY_US)
        self._carries.clear()
        self._low_us.clear()

    def end(self) -> None:
        """It is to stand still."""
        self._run = None

    def look(self, now_us: int) -> Iterator[Ill]:
        """Time has passed."""
        run, due_us = self._run, self.deadline
        if run is not None and due_us is not None and due_us <= now_us:
            run.told_unread = True
            missing = [r for r in self.refs if (at_us := self._missing_us(run, r)) is not None and at_us <= now_us]
            yield Ill(f"not read in an on-phase: {', '.join(missing)}")

    def took(self, reading: Reading) -> Iterator[Ill]:
        """A reading of any point."""
        ref, value, run = f"{reading.device}.{reading.point}", reading.value, self._run
        if ref not in self.refs:
            return
        if reading.quality is not Quality.GOOD or value is None or isinstance(value, str):
            value = None
            self._unread.add(ref)
        else:
            self._unread.discard(ref)
            self._good_us[ref] = reading.at_us
        within = run is not None and run.edge_us < reading.at_us < run.until_us
        if ref == self._contactor:
            self._closed = None if value is None else bool(value)
            if run is not None and within and value is not None:
                yield from self._contact(run, bool(value), reading.at_us)
        elif run is not None and within:
            yield from self._phase(run, ref, None if value is None else float(value), reading.at_us)

    def _contact(self, run: _Run, closed: bool, at_us: int) -> Iterator[Ill]:
        run.closed = run.closed or closed
        if closed or run.told_open or at_us < run.edge_us + self._contactor_us:
            return
        run.told_open = True
        yield Ill("contactor fell open") if run.closed else Ill("contactor did not close", run.n, unclosed=True)

    def _phase(self, run: _Run, ref: str, amps: float | None, at_us: int) -> Iterator[Ill]:
        if amps is None:
            self._carries.pop(ref, None)
        else:
            self._carries[ref] = amps > self._above
        if len(self._carries) == len(self._phases) and all(self._carries.values()):
            self._lost = ""
        if self._carries.get(ref, True) or not any(self._carries.values()):
            self._low_us.pop(ref, None)
            return
        # Both ends of the stretch are readings of this phase: what was read once and long ago proves no loss.
        if at_us - self._low_us.setdefault(ref, at_us) >= self._loss_us and not run.told_lost:
            run.told_lost = True
            was, self._lost = self._lost, f"phase loss: L{self._phases.index(ref) + 1} ({ref})"
            yield Ill(self._lost, run.n, lost=True, new=self._lost != was)
