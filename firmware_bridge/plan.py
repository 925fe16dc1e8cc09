"""Which block reads or messages fetch the points that are due together: as few as the unit allows.

It refuses to know when points are due, what a unit answered, and what a value means. A *cut* is an address that
no block may cross, because the unit refused one that did; the device remembers its cuts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from firmware_bridge.event import Read, Request, Table
from firmware_bridge.message import Message
from firmware_bridge.point import Point
from firmware_bridge.profile import Line

BITS_PER_REGISTER = 16
"""`max_block` counts registers; of bits as many octets fit into one reply (V1.1b3: 125 registers, 2000 bits)."""

READS_KEPT = 256
"""A gateway polls with tens of them."""

Cut = tuple[Table, int]


@dataclass(frozen=True, slots=True)
class Block:
    """One read, and the points in it by address."""

    table: Table
    address: int
    count: int
    points: tuple[Point, ...]

    def request(self, unit: int) -> Request:
        return _read(self.table, self.address, self.count)

    def words(self, point: Point, values: tuple[int, ...]) -> tuple[int, ...]:
        """The bits or registers of `point` among the `values` that answered this block."""
        start = point.address - self.address
        return values[start : start + point.width]

    def cut(self) -> Cut | None:
        """Where to part this block after a refusal: at its widest hole, else in its middle; None for a single value.

        A hole is what a unit most likely refuses. Otherwise halving finds the culprit in a few reads.
        """
        starts = sorted({p.address for p in self.points})
        if len(starts) < 2:
            return None
        middle = self.address + self.count / 2

        def hole(start: int) -> int:
            return start - max(p.address + p.width for p in self.points if p.address < start)

        return self.table, max(starts[1:], key=lambda start: (hole(start), -abs(start - middle)))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message, where the protocol is not Modbus, and the points that its answer tells."""

    message: Message
    points: tuple[Point, ...]

    def request(self, unit: int) -> Request:
        return self.message.request(unit, {})

    def words(self, point: Point, values: tuple[int, ...]) -> tuple[int, ...]:
        """The octets of `point` among those of the answer."""
        assert self.message.answer is not None, "a readable point has one"
        found = self.message.answer.match(bytes(values))
        assert found is not None, "the bus matched it"
        return tuple(found[0][point.field])

    def cut(self) -> Cut | None:
        """An answer is whole or not there."""
        return None


@lru_cache(READS_KEPT)
def _read(table: Table, address: int, count: int) -> Read:
    """One and the same for the same words: whoever has seen it knows it again at a glance."""
    return Read(table, address, count)


def fetches(points: Iterable[Point], line: Line, cuts: frozenset[Cut] = frozenset()) -> list[Block | Exchange]:
    """The fewest requests for `points`: block reads, or a message for all that it tells."""
    readable = [p for p in points if p.spec.readable]
    messages: dict[Message, dict[str, Point]] = {}
    for point in readable:
        if point.message is not None:
            messages.setdefault(point.message, {})[point.name] = point
    exchanges = [Exchange(message, tuple(told.values())) for message, told in messages.items()]
    return [*blocks((p for p in readable if p.message is None), line, cuts), *exchanges]


def blocks(points: Iterable[Point], line: Line, cuts: frozenset[Cut] = frozenset()) -> list[Block]:
    """The fewest reads for `points` of tables; pulses and unreadable points are left out.

    A block stays in one table, has holes up to `line.hole` and up to `line.max_block` registers, and crosses no
    cut. A value is never torn, even where it is wider than `max_block`. Taking each block as long as it may be,
    from the lowest address up, is optimal.
    """
    readable = {p.name: p for p in points if p.spec.readable and p.table is not Table.PULSE}
    out: list[Block] = []
    for point in sorted(readable.values(), key=lambda p: (p.table, p.address, p.width, p.name)):
        joined = _join(out[-1], point, line, cuts) if out else None
        if joined is None:
            out.append(Block(point.table, point.address, point.width, (point,)))
        else:
            out[-1] = joined
    return out


def _join(block: Block, point: Point, line: Line, cuts: frozenset[Cut]) -> Block | None:
    """`block` with `point` at its end, or None where they must be read apart."""
    end = block.address + block.count
    count = max(end, point.address + point.width) - block.address
    if point.table is not block.table:
        return None
    if (point.address, point.width) == (block.address, block.count):
        # Several bits of one register, say: one value on the wire, even where each value is read singly.
        return Block(block.table, block.address, block.count, (*block.points, point))
    most = line.max_block * (BITS_PER_REGISTER if point.table in {Table.COIL, Table.DISCRETE} else 1)
    if line.single_reads or point.address > end + line.hole or count > most:
        return None
    if any(table is block.table and block.address < at <= point.address for table, at in cuts):
        return None
    return Block(block.table, block.address, count, (*block.points, point))
