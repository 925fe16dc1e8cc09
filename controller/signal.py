"""Signals and programmes as versioned data, and their lowering to what one siren can do.

A *signal* is a cycle of cells, repeated. A *programme* is signals at offsets from one start. Both come from
TOML, so that a province's own disaster signal is a file and not a release. A `Timeline` is either of them
flattened: on-phases at offsets from the start instant, which a gateway then sounds with no network.

Patterns: the national three are printed in the notices of `docs/signals.md`; provincial ones differ by place.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S
from firmware_bridge.profile import OutputClass, OutputSpec

PROGRAMME_LIMIT_S = 45 * 60
"""The longest programme (DESIGN §5). Henan's lasts 31 minutes."""
ACTIVATION_MARGIN_S = 10
"""A sounding is capped at its length and this."""

SignalId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Family = Literal["air-raid", "disaster", "all-clear", "flood", "test"]


class Cell(Document):
    """A stretch of sound or of silence: exactly one of `on_s`, `off_s`."""

    on_s: Annotated[float, Field(gt=0, le=600)] | None = None
    off_s: Annotated[float, Field(gt=0, le=600)] | None = None
    tone: Annotated[str, Field(pattern=r"^[a-z_]{1,20}$")] = "steady"

    @model_validator(mode="after")
    def _one(self) -> "Cell":
        if (self.on_s is None) == (self.off_s is None):
            raise ValueError("a cell has exactly one of on_s, off_s")
        return self


class Signal(Document):
    """One published pattern. Its length includes the trailing silence of its last cell."""

    zh: str
    en: str
    family: Family
    cells: Annotated[tuple[Cell, ...], Field(min_length=1, max_length=64)]
    repeats: Annotated[int, Field(ge=1, le=100)]
    source: str
    ends: Literal["air-raid", "disaster", "flood"] | None = None
    """Of an all-clear: what it is the end of, where that is not an air raid. It ranks with that."""

    @model_validator(mode="after")
    def _ends(self) -> "Signal":
        if self.ends is not None and self.family != "all-clear":
            raise ValueError("`ends` belongs to the family all-clear, and to no other")
        return self

    @property
    def length_s(self) -> float:
        return self.repeats * sum(c.on_s or c.off_s or 0.0 for c in self.cells)


class Item(Document):
    """A signal at an offset from the programme's start."""

    at_s: Annotated[float, Field(ge=0, le=PROGRAMME_LIMIT_S)]
    signal: SignalId


class Programme(Document):
    """Signals at offsets from one start instant."""

    zh: str
    en: str
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=32)]
    source: str


class _File(Document):
    signals: dict[SignalId, Signal] = {}
    programmes: dict[SignalId, Programme] = {}


@dataclass(frozen=True, slots=True)
class Phase:
    """One on-phase, as offsets from the start instant; `tone` is what it should sound like."""

    on_us: int
    off_us: int
    tone: str = "steady"


@dataclass(frozen=True, slots=True)
class Segment:
    """One signal of a timeline: where it begins and ends (its trailing silence included)."""

    signal: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is to sound when, from one start instant. Phases are in order and do not overlap."""

    segments: tuple[Segment, ...]
    phases: tuple[Phase, ...]

    @property
    def end_us(self) -> int:
        return self.segments[-1].end_us

    def without_segments_before(self, offset_us: int) -> "Timeline":
        """What is left of a programme for a gateway that comes back in its middle: the cut signal is skipped."""
        segments = tuple(s for s in self.segments if s.start_us >= offset_us)
        first = segments[0].start_us if segments else self.end_us
        return Timeline(segments, tuple(p for p in self.phases if p.on_us >= first))

    def without_phases_before(self, offset_us: int) -> "Timeline":
        """What is left of a warning that must not fall silent: the rest of this on-phase, and all that follow."""
        phases = tuple(Phase(max(p.on_us, offset_us), p.off_us, p.tone) for p in self.phases if p.off_us > offset_us)
        return Timeline(tuple(s for s in self.segments if s.end_us > offset_us), phases)


class Signals:
    """Every signal and programme a gateway or hub knows, by id; immutable after `load`."""

    def __init__(self, signals: Mapping[str, Signal], programmes: Mapping[str, Programme]) -> None:
        self.signals = signals
        self.programmes = programmes

    def __contains__(self, name: object) -> bool:
        return name in self.signals or name in self.programmes

    def digest(self, name: str) -> str:
        """The hash an order carries: what this name means here, patterns of a programme's signals included.

        Names and sources are left out, so that a better translation does not refuse an order.
        """
        def pattern(signal: Signal) -> object:
            ends = [signal.ends] if signal.ends else []
            return [[[c.on_s, c.off_s, c.tone] for c in signal.cells], signal.repeats, signal.family, *ends]

        if name in self.signals:
            meaning: object = pattern(self.signals[name])
        else:
            meaning = [[i.at_s, i.signal, pattern(self.signals[i.signal])] for i in self.programmes[name].items]
        return hashlib.sha256(json.dumps(meaning, separators=(",", ":")).encode()).hexdigest()[:32]

    def families(self, name: str) -> frozenset[Family]:
        """What the signals of this name are for; an all-clear counts with what it ends."""
        ids = [name] if name in self.signals else [item.signal for item in self.programmes[name].items]
        return frozenset(self.signals[id].ends or self.signals[id].family for id in ids)

    def timeline(self, name: str) -> Timeline:
        """The signal or programme of this name, flattened. KeyError when there is none."""
        items = self.programmes[name].items if name in self.programmes else (Item(at_s=0, signal=name),)
        segments: list[Segment] = []
        phases: list[Phase] = []
        for item in items:
            signal = self.signals[item.signal]
            start = here = round(item.at_s * S)
            for _ in range(signal.repeats):
                for cell in signal.cells:
                    if cell.on_s is not None:
                        phases.append(Phase(here, here + round(cell.on_s * S), cell.tone))
                    here += round((cell.on_s or cell.off_s or 0.0) * S)
            segments.append(Segment(item.signal, start, here))
        return Timeline(tuple(segments), tuple(phases))


def load(paths: list[Path]) -> Signals:
    """Signals and programmes of several files together; all problems of all files at once."""
    problems: list[Problem] = []
    read: list[tuple[str, dict[str, Any]]] = []
    for path in paths:
        try:
            read.append((str(path), document.parse(document.read_text(path), str(path))))
        except BadDocument as bad:
            problems.extend(bad.problems)
    return made(read, problems)


def made(read: Iterable[tuple[str, dict[str, Any]]], problems: list[Problem]) -> Signals:
    """The same of unchecked documents, each with the name of its file; `problems` are told with theirs."""
    signals: dict[str, Signal] = {}
    programmes: dict[str, Programme] = {}
    home: dict[str, str] = {}
    for file, data in read:
        try:
            one = document.check(_File, data, file)
        except BadDocument as bad:
            problems.extend(bad.problems)
            continue
        for name in [*one.signals, *one.programmes]:
            if name in home:
                problems.append(Problem(file, name, "twice", f"already in {home[name]}; rename one"))
            home[name] = file
        signals |= one.signals
        programmes |= one.programmes
    for name, programme in programmes.items():
        end = 0.0
        for n, item in enumerate(programme.items):
            key = f"programmes.{name}.items[{n}]"
            if item.signal not in signals:
                problems.append(Problem(home[name], f"{key}.signal", item.signal,
                                        f"no such signal; signals: {', '.join(sorted(signals))}"))
                continue
            if item.at_s < end:
                problems.append(Problem(home[name], f"{key}.at_s", item.at_s,
                                        f"the signal before ends at {end:g} s; begin later"))
            end = item.at_s + signals[item.signal].length_s
        if end > PROGRAMME_LIMIT_S:
            problems.append(Problem(home[name], f"programmes.{name}", f"{end:g} s",
                                    f"longer than {PROGRAMME_LIMIT_S} s; split it"))
    if problems:
        raise BadDocument(problems)
    return Signals(signals, programmes)


def schema() -> dict[str, Any]:
    """The published JSON Schema of a file of signals."""
    return _File.model_json_schema()


def lower(timeline: Timeline, output: OutputSpec, hard_limit_s: float | None) -> tuple[Timeline, tuple[str, ...]]:
    """`timeline` as this output can sound it, and every deviation in words (empty: none).

    Two on-phases that touch become one. A tone the head does not have becomes its steady one, or its first
    where it has no steady one. An on-phase longer than what bounds the output is cut short: what the hardware
    would cut anyhow is said beforehand.
    """
    said: list[str] = []
    limit_s = hard_limit_s if output.class_ is OutputClass.C else output.self_limit_s
    limit_us = None if limit_s is None else round(limit_s * S)
    phases: list[Phase] = []
    for phase in timeline.phases:
        tone = phase.tone
        if tone not in output.tones and (output.tones or tone != "steady"):
            plain = "steady" if "steady" in output.tones or not output.tones else next(iter(output.tones))
            said.append(f"tone {tone} sounded as {plain}")
            tone = plain
        if phases and phases[-1].off_us == phase.on_us and phases[-1].tone == tone:
            phase = Phase(phases.pop().on_us, phase.off_us, tone)
        off = phase.off_us
        if limit_us is not None and off - phase.on_us > limit_us:
            said.append(f"on-phase of {(off - phase.on_us) / S:g} s cut to {limit_s:g} s, the output's own limit")
            off = phase.on_us + limit_us
        phases.append(Phase(phase.on_us, off, tone))
    return Timeline(timeline.segments, tuple(phases)), tuple(dict.fromkeys(said))
