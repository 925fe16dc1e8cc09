"""A flood on one sheet: how high each gauge saw the water, the limits, and every action, as a table and as a picture.

The table is CSV with a line for each sample and each action; the picture is SVG 1.1, whole in itself, with each action
numbered in the plot and told below it. Where nothing was known the curve has a hole: it is never drawn through.
It refuses to know where samples and actions were kept.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

from controller import wire
from firmware_bridge.machine import S

HOLE_US = 120 * S
"""Two samples farther apart are not joined: nobody knows what was between them."""
WIDTH, HEIGHT = 1000, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 110, 64, 40
"""The plot is what these leave of the sheet: room for the scale, the limits' names, the title and the hours."""
ROW = 18
MARKS_LIMIT = 400
"""Actions drawn in one picture; a flood of a day with a bad gauge has fewer. The table has them all."""
STEPS_S = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
STEPS_CM = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)
TICKS = 10
INKS = ("#1565c0", "#00838f", "#6a1b9a", "#4e342e", "#37474f", "#558b2f")
"""Of the gauges' curves, in turn: unlike each other, and unlike the four colours of a warning."""
COLOURS = {"blue": "#1e88e5", "yellow": "#f9a825", "orange": "#ef6c00", "red": "#c62828"}


@dataclass(frozen=True, slots=True)
class Line:
    """What one gauge said, in order of time. None: it had no value then."""

    name: str
    samples: tuple[tuple[int, float | None], ...]
    """Wall time in microseconds, and centimetres (or what `unit` says)."""
    unit: str = "cm"
    """Only centimetres are drawn; a contact and rain are in the table."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A depth from which something is done."""

    name: str
    """`red`, `orange`, `yellow`, `blue`."""
    at_cm: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done, or that became so."""

    wall_us: int
    what: str
    detail: str = ""
    grave: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """The sheet. `offset_h`: local time over UTC."""

    title: str
    lines: tuple[Line, ...]
    limits: tuple[Limit, ...]
    marks: tuple[Mark, ...]
    offset_h: float = 8.0


def table(curve: Curve) -> str:
    """As CSV: instant (UTC), local time, sample or action, whose, value and unit, words. In order of time."""
    rows: list[tuple[int, str, str, str, str, str]] = []
    for line in curve.lines:
        rows += [(at_us, "sample", line.name, "" if cm is None else f"{cm:g}", line.unit,
                  "" if cm is not None else "no value") for at_us, cm in line.samples]
    rows += [(m.wall_us, "action", m.what, "", "", m.detail) for m in curve.marks]
    out = io.StringIO()
    writer = csv.writer(out)  # ends lines as RFC 4180 has it, and so puts a cell that holds such an end into quotes
    writer.writerow(["utc", "local", "kind", "subject", "value", "unit", "detail"])
    for at_us, kind, subject, value, unit, detail in sorted(rows, key=lambda row: row[0]):
        writer.writerow([wire.to_text(at_us), _local(curve, at_us, "%Y-%m-%d %H:%M:%S"), kind,
                         *(_plain(cell) for cell in (subject, value, unit, detail))])
    return out.getvalue()


def _plain(cell: str) -> str:
    """A cell of one line that a spreadsheet does not take for a formula."""
    cell = _printable(cell)
    return "'" + cell if cell[:1] in ("=", "+", "@") else cell


def svg(curve: Curve) -> str:
    """As a picture."""
    marks = curve.marks[:MARKS_LIMIT]
    height = HEIGHT + ROW * (len(marks) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(LEFT, 24, curve.title, size=17),
        *_Plot(curve, marks).parts(),
        *_told(curve, marks),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Plot:
    """The plot: instants to the right, centimetres up."""

    def __init__(self, curve: Curve, marks: tuple[Mark, ...]) -> None:
        self._curve = curve
        self._lines = [line for line in curve.lines if line.unit == "cm"]
        self._marks = marks
        instants = [at_us for line in self._lines for at_us, _ in line.samples] + [m.wall_us for m in marks]
        self._begin_us = min(instants, default=0)
        self._end_us = max([*instants, self._begin_us + 60 * S])
        levels = [cm for line in self._lines for _, cm in line.samples if cm is not None]
        highest = max([10.0, *levels, *(limit.at_cm for limit in curve.limits)])
        self._step_cm = next((step for step in STEPS_CM if highest / step <= TICKS), STEPS_CM[-1])
        self._high_cm = self._step_cm * (int(highest / self._step_cm) + 1)
        self._low_cm = min([0.0, *levels])

    def _x(self, wall_us: int) -> float:
        share = (wall_us - self._begin_us) / (self._end_us - self._begin_us)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def _y(self, cm: float) -> float:
        share = (cm - self._low_cm) / (self._high_cm - self._low_cm)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def parts(self) -> Iterator[str]:
        yield from self._scales()
        yield from self._limits()
        for n, line in enumerate(self._lines):
            ink = INKS[n % len(INKS)]
            for piece in _pieces(line):
                if len(piece) == 1:
                    at_us, cm = piece[0]
                    yield f'<circle cx="{self._x(at_us)}" cy="{self._y(cm)}" r="1.5" fill="{ink}"/>'
                else:
                    points = " ".join(f"{self._x(at_us)},{self._y(cm)}" for at_us, cm in piece)
                    yield f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.6"/>'
            yield _text(LEFT + 120 * n, 46, f"━ {line.name}", ink)
        for n, mark in enumerate(self._marks, 1):
            x, ink = self._x(mark.wall_us), "#c62828" if mark.grave else "#777777"
            yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" stroke="{ink}" stroke-dasharray="2 3"/>'
            yield _text(x + 2, TOP + 10 + 11 * ((n - 1) % 6), str(n), ink, 10)

    def _scales(self) -> Iterator[str]:
        right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
        for n in range(int(self._high_cm / self._step_cm) + 1):
            y = self._y(n * self._step_cm)
            yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#e0e0e0"/>'
            yield _text(LEFT - 6, y + 4, f"{n * self._step_cm}", anchor="end")
        yield _text(LEFT - 6, TOP - 8, "cm", anchor="end")
        length_s = (self._end_us - self._begin_us) / S
        step_s = next((step for step in STEPS_S if length_s / step <= TICKS), STEPS_S[-1])
        shift_us = round(self._curve.offset_h * 3600) * S
        step_us = step_s * S
        first_us = -(-(self._begin_us + shift_us) // step_us) * step_us - shift_us
        form = "%H:%M:%S" if step_s < 60 else "%m-%d" if step_s >= 86400 else "%H:%M"
        apart_us = max(step_us, (self._end_us - first_us) // 40 // step_us * step_us)
        for at_us in range(first_us, self._end_us + 1, apart_us):
            yield f'<line x1="{self._x(at_us)}" y1="{floor}" x2="{self._x(at_us)}" y2="{floor + 5}" stroke="#555555"/>'
            yield _text(self._x(at_us), floor + 18, _local(self._curve, at_us, form), anchor="middle")
        yield (f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{floor - TOP}" fill="none"'
               ' stroke="#555555"/>')

    def _limits(self) -> Iterator[str]:
        for limit in self._curve.limits:
            ink, y = COLOURS.get(limit.name, "#555555"), self._y(limit.at_cm)
            yield (f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="{ink}" stroke-width="1.2"'
                   ' stroke-dasharray="7 4"/>')
            yield _text(WIDTH - RIGHT + 6, y + 4, f"{limit.name} {limit.at_cm:g}", ink)


def _pieces(line: Line) -> Iterator[list[tuple[int, float]]]:
    """What may be drawn through: up to each hole."""
    piece: list[tuple[int, float]] = []
    for at_us, cm in line.samples:
        if piece and (cm is None or at_us - piece[-1][0] > HOLE_US):
            yield piece
            piece = []
        if cm is not None:
            piece.append((at_us, cm))
    if piece:
        yield piece


def _told(curve: Curve, marks: tuple[Mark, ...]) -> Iterator[str]:
    """Every action in words, below the plot."""
    y = HEIGHT + 4
    day = _local(curve, marks[0].wall_us, "%Y-%m-%d") if marks else ""
    yield _text(LEFT, y, f"动作记录 Actions {day}" + ("" if marks else "  无 none"), size=13)
    for n, mark in enumerate(marks, 1):
        words = f"{n}  {_local(curve, mark.wall_us, '%H:%M:%S')}  {mark.what}  {mark.detail}"
        yield _text(LEFT, y + ROW * n, words[:150], "#c62828" if mark.grave else "#222222")
    if len(curve.marks) > len(marks):
        yield _text(LEFT, y + ROW * (len(marks) + 1), f"… {len(curve.marks) - len(marks)} 项见表 more in the table")


def _text(x: float, y: float, words: str, ink: str = "#222222", size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{ink}" font-size="{size}" text-anchor="{anchor}">{_clean(words)}</text>'


def _clean(words: str) -> str:
    """Fit for XML, which has no place for control characters, not even written as numbers."""
    return escape(_printable(words))


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in words)


def _local(curve: Curve, wall_us: int, form: str) -> str:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_us, hours=curve.offset_h)
    return when.strftime(form)


def between(lines: Iterable[Line], begin_us: int, end_us: int) -> tuple[Line, ...]:
    """The lines cut to a time; those that have nothing then are left out."""
    cut = (replace(line, samples=tuple(s for s in line.samples if begin_us <= s[0] <= end_us)) for line in lines)
    return tuple(line for line in cut if line.samples)
