"""What no profile may be able to write, whatever its actions say: the promise WRITE-SHAPE, kept before anything runs.

A toggle's outcome depends on what was before, and a repeat undoes it. One address that switches every relay sounds
sirens that nobody ordered. Two written points in one register mean that a write of one is a surprise to the other.
It refuses to know actions and outputs: what no point can be made to write, no action can send.
"""

from collections.abc import Iterable, Iterator

from firmware_bridge.errors import Problem
from firmware_bridge.event import Table
from firmware_bridge.point import Point

ALL_RELAYS = 0x00FF
"""Function 05 at this address is every relay at once on common boards."""
FLIP = 0x5500
"""Function 05 with this value flips a relay on common boards; FF00, above it, latches it on."""
TOGGLES = ("toggle", "flip")
"""Words of datasheets for a write whose outcome depends on what was before."""
ON_ONE_WIRE = {Table.COIL: Table.COIL, Table.PULSE: Table.COIL}
"""Both are function 05, so that one address is one thing."""


def problems(file: str, points: Iterable[Point]) -> list[Problem]:
    """Every written point that breaks a rule, named by its base: once, not once a channel."""
    # Of fields `speech.py` sees that none is written twice.
    written = [p for p in points if p.spec.write and p.message is None]
    found: dict[str, Problem] = {}
    for point in written:
        for key, value, remedy in _alone(point):
            found.setdefault(f"points.{point.base}.{key}", Problem(file, f"points.{point.base}.{key}", value, remedy))
    for point, other in _overlaps(written):
        key = f"points.{point.base}.at"
        found.setdefault(key, Problem(file, key, point.spec.at, f"{other.name} is written at {other.table}:"
                                      f"{other.address} too; keep one of them, and name its codes in `values`"))
    return list(found.values())


def _alone(point: Point) -> Iterator[tuple[str, object, str]]:
    spec = point.spec
    if point.table in ON_ONE_WIRE and point.address == ALL_RELAYS:
        yield "at", spec.at, "0x00FF is all relays at once on common boards; drop `write`, or the point"
    for name in spec.values:
        if any(word in name for word in TOGGLES):
            yield "values", name, "what it does depends on what was before, and a repeat undoes it; leave it out"
    if point.table is not Table.PULSE:
        return
    if spec.values:
        most: float = max(spec.values.values())
    elif spec.high is None:
        yield "high", None, "say the longest pulse: without it 0x5500 (flip) and 0xFF00 (latched on) could be written"
        return
    else:
        most = max((end - spec.offset) / spec.scale for end in (spec.low or 0.0, spec.high))
    if most >= FLIP:
        yield "high", spec.high, "a pulse of 0x5500 or more is a flip or a latched ON on common boards; lower it"


def _overlaps(written: Iterable[Point]) -> Iterator[tuple[Point, Point]]:
    """Each point with the one before it in the same registers."""
    before: dict[Table, Point] = {}
    for point in sorted(written, key=lambda p: (p.address, p.name)):
        wire = ON_ONE_WIRE.get(point.table, point.table)
        other = before.get(wire)
        if other is not None and point.address < other.address + other.width:
            yield point, other
        if other is None or point.address + point.width > other.address + other.width:
            before[wire] = point
