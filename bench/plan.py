"""How many reads a poll cycle takes, against the fewest that are possible, found by trying every way to group points.

The rules of `firmware_bridge/plan.py` are written here a second time, from its docstring and not from its code: `may`
says of any set of points whether one read may fetch them, and the fewest sets that hold all points are searched for
among all sets and not among neighbours only. Maps are chance, of up to ten points: values one or two registers wide,
bits, several values in one register, overlaps, holes, cuts, points that are only written; and each shipped profile, cut
into windows where it is larger. The ratio is held to 1.0 exactly, over all maps together and on the worst of them.

    .venv/bin/python -m bench.plan [--maps 20000] [--seed 1]
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench import measure
from bench.site import ROOT
from firmware_bridge import plan, profile
from firmware_bridge.event import Table
from firmware_bridge.plan import Cut
from firmware_bridge.point import Point, PointSpec
from firmware_bridge.profile import Line

MAPS = 20_000
MOST = 10
"""Points on a map: 1,024 sets of them, each of which is tried."""
BIT_TABLES = {Table.COIL, Table.DISCRETE}
READ_TABLES = {*BIT_TABLES, Table.INPUT, Table.HOLDING}
TABLES = (*sorted(READ_TABLES), Table.PULSE)


@dataclass(frozen=True)
class Map:
    """What is due together on one unit, and what the unit allows."""

    name: str
    points: tuple[Point, ...]
    line: Line
    cuts: frozenset[Cut]


# The rules, and the fewest reads that keep them.


def may(some: Sequence[Point], line: Line, cuts: frozenset[Cut]) -> bool:
    """Whether one read may fetch exactly these: from the first address of any to the last."""
    if len({p.table for p in some}) > 1:
        return False
    places = {(p.address, p.address + p.width) for p in some}
    if len(places) == 1:
        # One value on the wire, which is never torn, however wide; also where it is the parts of one register.
        return True
    first, end = min(a for a, _ in places), max(b for _, b in places)
    wanted = {address for a, b in places for address in range(a, b)}
    unwanted = [address not in wanted for address in range(first, end)]
    hole = longest = 0
    for empty in unwanted:
        hole = hole + 1 if empty else 0
        longest = max(longest, hole)
    registers = -(-(end - first) // 16) if some[0].table in BIT_TABLES else end - first
    # A block crosses a cut when values that begin on both sides of it are read together.
    begins = {a for a, _ in places}
    crossed = any(table is some[0].table and min(begins) < at <= max(begins) for table, at in cuts)
    return not line.single_reads and longest <= line.hole and registers <= line.max_block and not crossed


def fewest(points: Sequence[Point], line: Line, cuts: frozenset[Cut]) -> int:
    """By trying every set of points that one read may fetch; a point may even be fetched twice."""
    points = [p for p in points if readable(p)]
    whole = (1 << len(points)) - 1
    allowed: list[int] = []
    for chosen in range(whole, 0, -1):
        # One that lies within another that is allowed saves nothing; it is a smaller number, and comes later.
        if all(chosen & ~larger for larger in allowed) and may(_some(points, chosen), line, cuts):
            allowed.append(chosen)
    reads, reached = 0, {0}
    while whole not in reached:
        # Some read must fetch the first point that is not yet fetched.
        reached = {had | one for had in reached for one in allowed if one & ~had & (had + 1)}
        reads += 1
    return reads


def _some(points: Sequence[Point], chosen: int) -> list[Point]:
    return [p for n, p in enumerate(points) if chosen >> n & 1]


def readable(point: Point) -> bool:
    return point.spec.readable and point.table in READ_TABLES


def wrong(one: Map) -> str | None:
    """Why the plan is none: a read that is not allowed, a point that is read never or twice."""
    planned = plan.blocks(one.points, one.line, one.cuts)
    names = sorted(p.name for block in planned for p in block.points)
    if names != sorted(p.name for p in one.points if readable(p)):
        return f"{one.name}: reads {names}"
    for block in planned:
        span = min(p.address for p in block.points), max(p.address + p.width for p in block.points)
        if not may(block.points, one.line, one.cuts) or span != (block.address, block.address + block.count):
            return f"{one.name}: {block} is not allowed"
    return None


# Maps.


def chance_map(seed: int) -> Map:
    """A unit that nobody built: all rules at once, on few addresses, so that they meet."""
    chance = Random(seed)
    reach = chance.choice((8, 16, 40))
    tables = chance.choice(([Table.HOLDING], [Table.COIL], [Table.INPUT, Table.HOLDING], TABLES))
    points = [_point(chance, n, chance.choice(tables), reach) for n in range(chance.randint(1, MOST))]
    line = Line(max_block=chance.choice((1, 2, 3, 5, 8, 20)), hole=chance.choice((0, 0, 1, 2, 5, 30)),
                single_reads=chance.random() < 0.1)
    cuts = frozenset((chance.choice(tables), chance.randrange(reach)) for _ in range(chance.choice((0, 0, 1, 3))))
    return Map(f"chance {seed}", tuple(points), line, cuts)


def _point(chance: Random, n: int, table: Table, reach: int) -> Point:
    bits = table in BIT_TABLES
    registers = table in (Table.INPUT, Table.HOLDING)
    spec: dict[str, object] = {"at": f"{table}:{chance.randrange(reach)}"}
    if registers and chance.random() < 0.2:
        spec["bit"] = chance.randrange(16)
    elif not bits and registers:
        spec["type"] = chance.choice(("u16", "s16", "u32", "f32"))
    if chance.random() < 0.1:
        spec |= {"readable": False}
    return Point(f"p{n}", PointSpec.model_validate(spec), None)


def chance_maps(first: int, number: int) -> Iterator[Map]:
    return (chance_map(seed) for seed in range(first, first + number))


def shipped_maps(folder: Path) -> Iterator[Map]:
    """What each shipped profile polls, and all that it has: as one map where it is small, else in windows of it."""
    for id, model in profile.load_all(folder).items():
        modbus = [p for p in model.points.values() if p.table in TABLES]
        for which, points in (("polled", [p for p in modbus if p.spec.poll_ms]), ("all", modbus)):
            ordered = sorted(points, key=lambda p: (p.table, p.address))
            for start in range(max(1, len(ordered) - MOST + 1)):
                some = tuple(ordered[start : start + MOST])
                yield Map(f"{id}, {which} from {start}", some, model.line, frozenset())


# The bench.


def compare(maps: Iterator[Map]) -> dict[str, object]:
    """Planned and fewest reads of all maps together, and where they part."""
    number = planned = best = 0
    worst, parted = 1.0, list[str]()
    for one in maps:
        number += 1
        ours, theirs = len(plan.blocks(one.points, one.line, one.cuts)), fewest(one.points, one.line, one.cuts)
        planned, best = planned + ours, best + theirs
        why = wrong(one) or (None if ours == theirs else f"{one.name}: {ours} reads planned, {theirs} are enough")
        if why is not None:
            parted.append(why)
        worst = max(worst, ours / theirs) if theirs else worst
    return {"maps": number, "planned": planned, "fewest": best, "ratio": planned / best if best else None,
            "worst": worst, "parted": len(parted), "first": parted[:5]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=MAPS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    figures: dict[str, object] = {}
    reached: dict[str, bool | None] = {}
    for name, maps in (("chance", chance_maps(options.seed, options.maps)),
                       ("shipped", shipped_maps(ROOT / "configs" / "profiles"))):
        found = compare(maps)
        print(f"{name}: {found['maps']} maps, {found['planned']} reads planned, {found['fewest']} are the fewest, "
              f"{found['parted']} maps part")
        for line in found["first"] if isinstance(found["first"], list) else ():
            print(f"  {line}")
        figures[name] = found
        reached[f"{name}: frames / optimum = 1.0"] = found["ratio"] == found["worst"] == 1.0 and found["parted"] == 0
    measure.report({**figures, "seed": options.seed, "elapsed_s": round(time.monotonic() - began, 1)}, reached)


if __name__ == "__main__":
    main()
