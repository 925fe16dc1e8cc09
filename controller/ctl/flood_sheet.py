"""What a journal tells of one spot, as the sheet that is exported: samples, limits and every action.

Reads records as anybody could who has the file; what is not of the spot, or nothing that this version knows, is passed
over.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from controller import wire
from controller.curve import Curve, Limit, Line, Mark, between
from firmware_bridge.errors import BadDocument, Malformed, Problem
from firmware_bridge.machine import S

UNITS = {"float": "contact", "rain": "mm/h"}
"""Of gauges by kind; all others tell centimetres."""
COLOURS = ("blue", "yellow", "orange", "red")
DONE: Mapping[str, Mapping[object, str]] = {
    "beacon": {True: "beacon-on", False: "beacon-off"},
    "boom_asked": {True: "boom-asked-to-close", False: "boom-asked-to-open"},
    "boom_closed": {True: "boom-closed", False: "boom-open", None: "boom-unknown"},
    "voice": {True: "voice-speaks", False: "voice-silent"},
}
"""What a change beside the road is called."""

Row = tuple[int, str, Mapping[str, Any]]
"""Wall time in microseconds, kind and body of a record."""


def rows(path: Path) -> Iterator[Row]:
    """Of the kinds that tell of floods, oldest first. The journal is opened to read, and stays as it is."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            for wall_us, kind, body in db.execute("SELECT wall_us, kind, body FROM record WHERE kind IN"
                                                  " ('event', 'level', 'roadside', 'accept', 'receipt') ORDER BY n"):
                found = json.loads(body)
                if isinstance(found, dict):
                    yield wall_us, kind, found
    except (sqlite3.Error, ValueError) as error:
        remedy = "name a gateway's journal; copied, with its -wal file beside it"
        raise BadDocument([Problem(str(path), "--journal", str(error), remedy)]) from None


def sheet(spot: str, told: Iterable[Row], since_us: int, until_us: int, offset_h: float) -> Curve:
    """What the rows tell of a spot in a time."""
    samples: dict[str, dict[int, float | None]] = {}
    depths: dict[str, float] = {}
    kinds: dict[str, str] = {}
    marks: list[Mark] = []
    ordered: set[str] = set()
    for wall_us, kind, body in told:
        match kind:
            case "level" if body.get("spot") == spot:
                depths = {name: float(cm) for name, cm in _mapping(body.get("depths")).items()}
                kinds |= _mapping(body.get("kinds"))
                _add(samples, wall_us, body.get("samples"))
                for gauge in body.get("bad") or ():
                    samples.setdefault(str(gauge), {})[wall_us] = None
            case "roadside" if body.get("spot") == spot:
                marks += [Mark(wall_us, *done) for done in _done(_mapping(body.get("changed")))]
            case "event" if str(body.get("subject", "")).partition(".")[0] == spot:
                at_us = _at(body, wall_us)
                _add(samples, at_us, body.get("samples"))
                subject = str(body["subject"]).partition(".")[2]
                words = "  ".join(part for part in (subject, str(body.get("detail", ""))) if part)
                marks.append(Mark(at_us, str(body.get("what")), words, body.get("urgent") is True))
            case "accept" if body.get("door") == "rule":
                ordered.add(str(body.get("order")))
            case "receipt" if body.get("order") in ordered:
                words = "  ".join(str(body[k]) for k in ("siren", "reason") if body.get(k))
                marks.append(Mark(_at(body, wall_us), f"siren-{body.get('stage')}", words, grave=True))
    lines = [Line(gauge, tuple(sorted(seen.items())), UNITS.get(kinds.get(gauge, ""), "cm"))
             for gauge, seen in samples.items()]
    inside = sorted((m for m in marks if since_us <= m.wall_us <= until_us), key=lambda m: m.wall_us)
    limits = tuple(Limit(name, depths[name]) for name in COLOURS if name in depths)
    return Curve(f"{spot}  积水过程 flood", between(lines, since_us, until_us), limits, tuple(inside), offset_h)


def _add(samples: dict[str, dict[int, float | None]], at_us: int, told: object) -> None:
    """What gauges told before an instant: seconds ago, and value."""
    for gauge, pairs in _mapping(told).items():
        for ago_s, value in pairs:
            samples.setdefault(gauge, {})[at_us - round(ago_s) * S] = float(value)


def _done(changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Changes beside the road as actions and their details."""
    for what, how in changed.items():
        if what == "sign":
            yield "sign-shows", str(how)
        elif (how is None or isinstance(how, bool)) and how in DONE.get(what, {}):
            yield DONE[what][how], ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(body: Mapping[str, Any], wall_us: int) -> int:
    try:
        return wire.to_wall_us(str(body.get("at")))
    except Malformed:
        return wall_us
