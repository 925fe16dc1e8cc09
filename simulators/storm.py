"""A storm: how high the water stands at each instant, how hard it rains, and what goes wrong with whom meanwhile.

Read from a table of a time and a level column with their units, ours in `configs/storms/` or any recorded series.
Between two rows the water moves evenly; before the first and after the last it stands. It refuses to know the site,
and what any sensor makes of the water.
"""

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S
from simulators import faults
from simulators.faults import Fault, NoSuch

ROWS_LIMIT = 200_000
"""More than a year of a reading every three minutes."""
TOLD_LIMIT = 20
"""Bad rows that are told one by one; the rest is counted."""
HIGHEST_M = 100.0
"""No water over a road is deeper: another number is in another unit, or over another zero."""
HARDEST_MM_H = 1000.0
"""No rain was: the most measured in an hour is under 500 mm."""
LATEST_S = 1e10
"""Three centuries: seconds since 1970 are less."""
HEAD_LIMIT = 80
"""Characters of a head that are looked at."""

_TIMES = ("time", "t", "datetime", "date_time", "timestamp", "date", "时间", "采集时间", "监测时间")
_LEVELS = ("level", "water_level", "stage", "gage_height", "depth", "height", "水位", "水深", "积水深度")
_RAINS = ("rain", "rainfall", "intensity", "雨强", "降雨强度")
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "秒": 1.0, "min": 60.0, "minutes": 60.0, "分": 60.0, "分钟": 60.0,
            "h": 3600.0, "hours": 3600.0, "小时": 3600.0}
_METRES = {"m": 1.0, "米": 1.0, "cm": 0.01, "厘米": 0.01, "mm": 0.001, "毫米": 0.001, "ft": 0.3048, "in": 0.0254}
_GAPS = {"", "-", "--", "---", "na", "n/a", "nan", "null", "none", "eqp", "ice"}
"""What recorded series write where there was no reading; a number like -9999 is out of range by itself."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A fault that begins or ends (`share` 0) with the storm; `whom`: a unit, or all that show a kind of thing."""

    t_us: int
    whom: str
    fault: Fault
    share: float


@dataclass(frozen=True, slots=True)
class Storm:
    """The hydrograph, as rows in order of time from 0."""

    name: str
    times_us: tuple[int, ...]
    levels_m: tuple[float, ...]
    rain_mm_h: tuple[float, ...]
    wrongs: tuple[Wrong, ...] = ()

    @property
    def end_us(self) -> int:
        return max(self.times_us[-1], *(w.t_us for w in self.wrongs)) if self.wrongs else self.times_us[-1]

    def level_m(self, t_us: float) -> float:
        return self._between(self.levels_m, t_us)

    def rain(self, t_us: float) -> float:
        return self._between(self.rain_mm_h, t_us)

    def _between(self, values: Sequence[float], t_us: float) -> float:
        after = bisect_right(self.times_us, t_us)
        if after == 0:
            return values[0]
        if after == len(values):
            return values[-1]
        begin, end = self.times_us[after - 1], self.times_us[after]
        return values[after - 1] + (values[after] - values[after - 1]) * (t_us - begin) / (end - begin)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are meant, where their heads do not say it; `zero_m`: what the series calls the road's height."""

    time: str | None = None
    level: str | None = None
    unit: str | None = None
    zero_m: float = 0.0
    skip_bad: bool = False
    """Leave bad rows out instead of refusing the file."""


def parse(text: str, file: str, columns: Columns | None = None) -> tuple[Storm, list[Problem]]:
    """The storm, and the rows that were left out; BadDocument with each bad row, unless they may be left out."""
    table = _Table(text, file, columns or Columns())
    bad = table.problems
    if len(table.times_us) < 2:
        bad.append(Problem(file, "rows", len(table.times_us), "a storm has two rows at least"))
    elif not bad or table.columns.skip_bad:
        start_us = table.times_us[0]
        wrongs = tuple(Wrong(max(0, w.t_us - start_us), w.whom, w.fault, w.share) for w in table.wrongs)
        return Storm(file.rpartition("/")[2].rpartition(".")[0] or file, tuple(t - start_us for t in table.times_us),
                     tuple(table.levels_m), tuple(table.rains), wrongs), bad
    told = bad[:TOLD_LIMIT]
    if len(bad) > len(told):
        told.append(Problem(file, "rows", len(bad) - len(told), "more are bad; --skip-bad leaves them all out"))
    raise BadDocument(told)


class _Table:
    """The rows of a text, read one after the other."""

    def __init__(self, text: str, file: str, columns: Columns) -> None:
        self.file = file
        self.columns = columns
        self.problems: list[Problem] = []
        self.times_us: list[int] = []
        self.levels_m: list[float] = []
        self.rains: list[float] = []
        self.wrongs: list[Wrong] = []
        lines = [(n, line) for n, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1)
                 if line.strip() and not line.startswith("#")]
        if not lines:
            raise BadDocument([Problem(file, "file", "empty", "give it a head like time_s,level_m and rows below")])
        if len(lines) > ROWS_LIMIT:
            raise BadDocument([Problem(file, "rows", len(lines), f"{ROWS_LIMIT} at most; cut it into parts")])
        mark = max(",;\t", key=lines[0][1].count)
        try:
            rows = [*zip((n for n, _ in lines), csv.reader((line for _, line in lines), delimiter=mark), strict=True)]
        except (ValueError, csv.Error) as error:
            remedy = "a cell reaches over its line; close or take out the quotation mark"
            raise BadDocument([Problem(file, "rows", str(error), remedy)]) from None
        self._head([cell.strip() for cell in rows[0][1]], lines[0][0])
        for n, row in rows[1:]:
            try:
                self._row([cell.strip() for cell in row])
            except _Bad as bad:
                self.problems.append(Problem(file, f"line {n}", bad.cell, bad.remedy))

    def _head(self, head: list[str], n: int) -> None:
        heads = [_split(cell) for cell in head]

        def find(named: str | None, known: Iterable[str], what: str) -> int | None:
            wanted = [named.lower()] if named else list(known)
            at = next((i for i, cell in enumerate(head) if named and cell.lower() == wanted[0]), None)
            if at is None:
                at = next((i for word in wanted for i, (name, _) in enumerate(heads) if name == word), None)
            if at is None and (named or what):
                remedy = f"no column of {what}; there are {', '.join(head)}; name it with --{what} COLUMN"
                raise BadDocument([Problem(self.file, f"line {n}", ",".join(head)[:80], remedy)])
            return at

        time, level = find(self.columns.time, _TIMES, "time"), find(self.columns.level, _LEVELS, "level")
        assert time is not None
        assert level is not None
        self._time, self._level = time, level
        self._rain, self._fault = find(None, _RAINS, ""), find(None, ("fault",), "")
        unit = self.columns.unit or heads[level][1]
        if unit not in _METRES:
            remedy = ("its unit is not known; write it behind the name, as level_m or level (cm), or say --unit; one of"
                      f" {', '.join(_METRES)}")
            raise BadDocument([Problem(self.file, f"line {n}", head[level], remedy)])
        self._metres = _METRES[unit]
        self._seconds = _SECONDS.get(heads[time][1], None if heads[time][1] else 1.0)
        if self._seconds is None:
            remedy = f"its unit is not known; one of {', '.join(_SECONDS)}"
            raise BadDocument([Problem(self.file, f"line {n}", head[time], remedy)])

    def _row(self, row: list[str]) -> None:
        if len(row) <= max(self._time, self._level):
            raise _Bad(",".join(row), "too few columns; write one cell for each column of the head")
        t_us = self._instant(row[self._time])
        if self.times_us and t_us <= self.times_us[-1]:
            raise _Bad(row[self._time], "not after the row before; put the rows in order, each instant once, and write"
                                        " dates where a series passes midnight")
        wrong = row[self._fault] if self._fault is not None and len(row) > self._fault else ""
        if wrong:
            self.wrongs += [self._wrong(t_us, part.strip()) for part in wrong.split(";")]
            if not row[self._level]:
                return
        level_m = _number(row[self._level], "level") * self._metres - self.columns.zero_m
        if not -HIGHEST_M <= level_m <= HIGHEST_M:
            raise _Bad(row[self._level], f"{level_m:g} m over the road; look at --unit and --zero, or leave it out")
        rain = row[self._rain] if self._rain is not None and len(row) > self._rain else ""
        rain_mm_h = _number(rain, "rain") if rain else 0.0
        if not 0 <= rain_mm_h <= HARDEST_MM_H:
            raise _Bad(rain, f"rain is 0 to {HARDEST_MM_H:g} mm in an hour")
        self.times_us.append(t_us)
        self.levels_m.append(level_m)
        self.rains.append(rain_mm_h)

    def _instant(self, cell: str) -> int:
        """Seconds (or what the head says), 16:05 or 16:05:30, or a date with a time."""
        assert self._seconds is not None
        if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", cell):
            seconds = float(cell) * self._seconds
            if abs(seconds) > LATEST_S:
                raise _Bad(cell, "no time of this storm; look at the unit of the column")
            return round(seconds * S)
        if found := re.fullmatch(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?", cell):
            hour, minute, second = (int(part or 0) for part in found.groups())
            return (hour * 3600 + minute * 60 + second) * S
        try:
            when = datetime.fromisoformat(cell.replace("/", "-"))
        except ValueError:
            raise _Bad(cell, "no time; say seconds, 16:05, 16:05:30 or 2021-07-20 16:05") from None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return round(when.timestamp() * S)

    def _wrong(self, t_us: int, text: str) -> Wrong:
        """`distance vehicles 0.3`, `gauge-1 dead`, `contact debris off`."""
        match text.split():
            case [whom, word, *number] if len(number) <= 1 and word in set(Fault):
                fault = Fault(word)
            case _:
                raise _Bad(text, "say whom, what and how much: `gauge-1 dead`, `distance vehicles 0.3`, `contact debris"
                                 " off`")
        share = faults.usual(fault)
        if number:
            share = 0.0 if number[0] == "off" else share if number[0] == "on" else _number(number[0], "number")
        try:
            faults.number(fault, share, None)
        except NoSuch as error:
            raise _Bad(text, str(error)) from None
        return Wrong(t_us, whom, fault, share)


class _Bad(Exception):
    """A row that is none."""

    def __init__(self, cell: str, remedy: str) -> None:
        super().__init__(cell, remedy)
        self.cell = cell
        self.remedy = remedy


def _number(cell: str, what: str) -> float:
    if cell.lower() in _GAPS:
        raise _Bad(cell, f"no {what}; leave the row out, or fill it")
    try:
        value = float(cell)
    except ValueError:
        raise _Bad(cell, f"no number; write the {what} as 0.15") from None
    if not math.isfinite(value):
        raise _Bad(cell, f"no {what}; leave the row out, or fill it")
    return value


def _split(head: str) -> tuple[str, str]:
    """`level_cm`, `Level (cm)`, `水位[cm]` -> name and unit; no unit is empty."""
    text = head[:HEAD_LIMIT].lower().strip()
    if found := re.fullmatch(r"(.*?)\s*[\[(（](.+?)[\])）]", text):
        return found[1].strip().replace(" ", "_"), found[2].strip()
    if text.endswith("_mm_h"):
        return text.removesuffix("_mm_h"), "mm/h"
    name, _, unit = text.rpartition("_")
    if name and (unit in _METRES or unit in _SECONDS):
        return name, unit
    return text.replace(" ", "_"), ""
