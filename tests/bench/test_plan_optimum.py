"""Block planning against brute force, in the small; and that the bench would see a plan that is worse, or forbidden."""

from collections.abc import Iterable

import pytest

from bench.plan import MOST, Map, chance_maps, compare, fewest, may, shipped_maps, wrong
from bench.site import ROOT
from firmware_bridge import plan
from firmware_bridge.event import Table
from firmware_bridge.plan import Block, Cut
from firmware_bridge.point import Point, PointSpec
from firmware_bridge.profile import Line

NO_CUTS: frozenset[Cut] = frozenset()


def word(address: int, type_: str = "u16") -> Point:
    return Point(f"p{address}", PointSpec.model_validate({"at": f"holding:{address}", "type": type_}), None)


def coil(address: int) -> Point:
    return Point(f"c{address}", PointSpec(at=f"coil:{address}"), None)


def test_chance_maps_are_read_in_the_fewest_reads() -> None:
    found = compare(chance_maps(1, 400))
    assert (found["first"], found["ratio"], found["worst"]) == ([], 1.0, 1.0)


def test_shipped_profiles_are_read_in_the_fewest_reads() -> None:
    found = compare(shipped_maps(ROOT / "configs" / "profiles"))
    assert (found["first"], found["ratio"], found["worst"]) == ([], 1.0, 1.0)


def test_maps_meet_every_rule() -> None:
    """Or a ratio of 1.0 would say little."""
    maps = list(chance_maps(1, 400))
    assert max(len(m.points) for m in maps) == MOST
    assert {p.table for m in maps for p in m.points} >= {Table.COIL, Table.HOLDING, Table.PULSE}
    assert {m.line.single_reads for m in maps} == {True, False}
    for rule, without in (("hole", {"hole": 100}), ("max_block", {"max_block": 125}), ("cuts", {})):
        matters = 0
        for m in maps:
            line = m.line.model_copy(update=without)
            matters += fewest(m.points, line, NO_CUTS if rule == "cuts" else m.cuts) < fewest(m.points, m.line, m.cuts)
        assert matters > 10, rule


@pytest.mark.parametrize(("points", "line", "cuts", "reads"), [
    ([word(0), word(1), word(3)], Line(), NO_CUTS, 2),
    ([word(0), word(1), word(3)], Line(hole=1), NO_CUTS, 1),
    ([word(0), word(2), word(1)], Line(), NO_CUTS, 1),
    ([word(0), word(1)], Line(single_reads=True), NO_CUTS, 2),
    ([word(0), word(1)], Line(), frozenset({(Table.HOLDING, 1)}), 2),
    ([word(0), word(1)], Line(), frozenset({(Table.INPUT, 1), (Table.HOLDING, 0)}), 1),
    ([word(0, "u32")], Line(max_block=1), NO_CUTS, 1),
    ([word(0, "u32"), word(2)], Line(max_block=2), NO_CUTS, 2),
    ([coil(0), coil(16)], Line(hole=20, max_block=1), NO_CUTS, 2),
    ([coil(0), coil(15)], Line(hole=20, max_block=1), NO_CUTS, 1),
    ([word(n) for n in range(10)], Line(max_block=4), NO_CUTS, 3),
    ([], Line(), NO_CUTS, 0),
])
def test_the_fewest_reads_of_maps_worked_out_by_hand(
    points: list[Point], line: Line, cuts: frozenset[Cut], reads: int
) -> None:
    assert fewest(points, line, cuts) == reads


def apart(points: Iterable[Point], line: Line, cuts: frozenset[Cut] = NO_CUTS) -> list[Block]:
    """A lazy planner: each point by itself."""
    return [Block(p.table, p.address, p.width, (p,)) for p in points if p.spec.readable]


def together(points: Iterable[Point], line: Line, cuts: frozenset[Cut] = NO_CUTS) -> list[Block]:
    """A bold planner: everything at once."""
    some = tuple(points)
    first, end = min(p.address for p in some), max(p.address + p.width for p in some)
    return [Block(some[0].table, first, end - first, some)]


def test_a_lazy_and_a_bold_planner_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Map("near", (word(0), word(1)), Line(), NO_CUTS)
    far = Map("far", (word(0), word(9)), Line(), NO_CUTS)
    assert wrong(far) is None
    monkeypatch.setattr(plan, "blocks", apart)
    assert compare(iter([near]))["ratio"] == 2.0
    monkeypatch.setattr(plan, "blocks", together)
    assert wrong(far) is not None
    assert compare(iter([far]))["parted"] == 1
    monkeypatch.setattr(plan, "blocks", lambda points, line, cuts: [])
    assert wrong(near) is not None


def test_tables_are_never_mixed() -> None:
    assert not may([word(0), coil(0)], Line(), NO_CUTS)
