"""Block planning: never a torn value, never a forbidden read, and as few reads as the unit allows."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.event import Read, Table
from firmware_bridge.plan import Block, Cut, blocks
from firmware_bridge.point import Point, PointSpec
from firmware_bridge.profile import Line

BITS = {Table.COIL, Table.DISCRETE}
MODBUS = [table for table in Table if table is not Table.FIELD]
TABLES = st.sampled_from(MODBUS)


def point(name: str, at: str, type_: str | None = None, **more: object) -> Point:
    return Point(name, PointSpec.model_validate({"at": at, "type": type_, **more}), None)


@st.composite
def some_points(draw: st.DrawFn, apart: bool = False) -> list[Point]:
    """Points of all tables; `apart`: no two share an address."""
    out: list[Point] = []
    taken: set[tuple[Table, int]] = set()
    for n in range(draw(st.integers(0, 14))):
        table = draw(TABLES)
        type_ = None if table in BITS else draw(st.sampled_from(["u16", "s16", "u32", "f32"]))
        made = point(f"p{n}", f"{table}:{draw(st.integers(0, 40))}", type_, readable=draw(st.integers(0, 9)) > 0)
        spans = {(made.table, made.address + k) for k in range(made.width)}
        if not (apart and taken & spans):
            out.append(made)
            taken |= spans
    return out


lines = st.builds(Line, max_block=st.integers(1, 20), hole=st.integers(0, 5), single_reads=st.booleans())
cuts = st.frozensets(st.tuples(TABLES, st.integers(0, 40)), max_size=6)


def span(points: list[Point]) -> tuple[int, int]:
    return min(p.address for p in points), max(p.address + p.width for p in points)


@given(some_points(), lines, cuts)
def test_every_block_is_allowed_and_every_point_is_read_once(
    points: list[Point], line: Line, cuts: frozenset[Cut]
) -> None:
    planned = blocks(points, line, cuts)
    read = [p.name for b in planned for p in b.points]
    assert sorted(read) == sorted(p.name for p in points if p.spec.readable and p.table is not Table.PULSE)
    for block in planned:
        assert {p.table for p in block.points} == {block.table}
        assert (block.address, block.address + block.count) == span(list(block.points))
        if len({(p.address, p.width) for p in block.points}) == 1:
            continue
        assert not line.single_reads
        assert block.count <= line.max_block * (16 if block.table in BITS else 1)
        covered = {p.address + k for p in block.points for k in range(p.width)}
        free = 0
        for address in range(block.address, block.address + block.count):
            free = 0 if address in covered else free + 1
            assert free <= line.hole
        starts = {p.address for p in block.points if p.address > block.address}
        assert not any(t is block.table and any(block.address < at <= s for s in starts) for t, at in cuts)


@settings(max_examples=300)
@given(some_points(apart=True), lines.filter(lambda line: not line.single_reads))
def test_no_other_plan_needs_fewer_reads(points: list[Point], line: Line) -> None:
    """Compared with the best of all ways to part the sorted points, found by dynamic programming."""
    for table in MODBUS:
        mine = sorted((p for p in points if p.table is table and p.spec.readable), key=lambda p: p.address)
        if table is Table.PULSE or not mine:
            continue
        most = line.max_block * (16 if table in BITS else 1)

        def allowed(some: list[Point], most: int = most) -> bool:
            start, end = span(some)
            gaps = [b.address - a.address - a.width for a, b in pairwise(some)]
            return len(some) == 1 or (end - start <= most and all(g <= line.hole for g in gaps))

        best = [0]
        for n in range(1, len(mine) + 1):
            best.append(1 + min(best[k] for k in range(n) if allowed(mine[k:n])))
        assert len(blocks(mine, line)) == best[-1]


@given(some_points(), lines)
def test_a_block_parted_at_its_cut_is_smaller_blocks(points: list[Point], line: Line) -> None:
    for block in blocks(points, line):
        cut = block.cut()
        if cut is None:
            assert len({p.address for p in block.points}) == 1
        else:
            parts = blocks(block.points, line, frozenset({cut}))
            assert len(parts) >= 2
            # In octets, too, unless a value that is wider than its neighbour's place lies over it: none is torn.
            assert all(len(p.points) < len(block.points) and p.count <= block.count for p in parts)


def test_a_block_is_parted_at_its_widest_hole_else_in_its_middle() -> None:
    holed = [point(f"p{a}", f"holding:{a}") for a in (0, 1, 2, 3, 8, 9)]
    assert blocks(holed, Line(hole=4))[0].cut() == (Table.HOLDING, 8)
    whole = [point(f"p{a}", f"holding:{a}") for a in range(8)]
    assert blocks(whole, Line())[0].cut() == (Table.HOLDING, 4)


def test_a_cut_holds_where_its_own_point_is_not_asked_for() -> None:
    asked = [point("a", "holding:2"), point("b", "holding:4")]
    assert len(blocks(asked, Line(hole=5))) == 1
    assert len(blocks(asked, Line(hole=5), frozenset({(Table.HOLDING, 3)}))) == 2


def test_single_reads_read_each_value_alone_but_a_register_of_bits_once() -> None:
    bits = [point(f"bit{n}", "holding:7", bit=n) for n in range(3)]
    words = [point("a", "holding:8"), point("b", "holding:9", "f32")]
    planned = blocks([*words, *bits], Line(single_reads=True))
    assert [(b.address, b.count) for b in planned] == [(7, 1), (8, 1), (9, 2)]


def test_a_point_finds_its_words_in_the_answer() -> None:
    a, b = point("a", "holding:10"), point("b", "holding:12", "u32")
    block: Block = blocks([b, a], Line(hole=1))[0]
    assert block.request(1) == Read(Table.HOLDING, 10, 4)
    assert (block.words(a, (1, 2, 3, 4)), block.words(b, (1, 2, 3, 4))) == ((1,), (3, 4))
