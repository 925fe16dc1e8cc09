"""The memory of a simulated device: its points as words, read and written as strictly as a slave can be.

An unknown address is exception 2, a table the model does not have exception 1, a bad value exception 3; nothing of
a write happens unless all of it may. It refuses to know what follows from a value: outputs and rules are `device.py`'s.
"""

from collections.abc import Mapping
from itertools import pairwise

from firmware_bridge.event import Read, Table, Write
from firmware_bridge.point import Condition, Point
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Value
from simulators.behaviour import same

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
"""Exception codes (Modbus Application Protocol V1.1b3, clause 7)."""

READS_KEPT = 256
"""Reads remembered of one device; a master has tens of them, and somebody who scans asks each once."""

Key = tuple[Table, int, bool]
"""Table, address, and whether a read shows it: some units answer with something else than was written."""
_BITS = {Table.COIL, Table.DISCRETE}


class Memory:
    """Words by table and address, and the points over them."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._at: dict[Key, list[Point]] = {}
        for point in profile.points.values():
            for key in _keys(point):
                self._at.setdefault(key, []).append(point)
        self._holes = _holes(profile)
        self._words = dict.fromkeys(self._at, 0)
        self._frozen: dict[Key, int] = {}
        self._asked: dict[Read, tuple[Key, ...] | int] = {}
        """What a read shows or why it is refused, for those that were asked before: masters ask the same again."""

    def clear(self) -> None:
        """As at power-up: zero, but for the profile's `initial`."""
        self._words = dict.fromkeys(self._at, 0)
        self._initial()

    def _initial(self) -> None:
        for name, value in self._profile.spec.initial.items():
            for point in self.named(name):
                self.store(point, value)

    def freeze(self, on: bool) -> None:
        """From now on what nobody may write is shown as it is now; or no longer."""
        seen = [k for k, points in self._at.items() if not any(p.spec.write for p in points)]
        self._frozen = {k: self._words[k] for k in seen} if on else {}

    # Points.

    def named(self, name: str) -> list[Point]:
        """The point of this name, or those of all channels."""
        return [p for p in self._profile.points.values() if name in (p.base, p.name)]

    def value(self, point: Point) -> Value:
        """The true value, frozen or not."""
        return point.decode(self._raw(point), self._factor(point))

    def shown(self, point: Point) -> Value:
        """What a read shows."""
        return point.decode(tuple(self._frozen.get(k, self._words[k]) for k in _keys(point)), self._factor(point))

    def _raw(self, point: Point) -> tuple[int, ...]:
        return tuple(self._words[k] for k in _keys(point))

    def _put(self, point: Point, words: tuple[int, ...]) -> None:
        self._words.update(zip(_keys(point), words, strict=True))

    def holds(self, condition: Condition, channel: int | None) -> bool:
        return same(self.value(self._profile.point(condition.point, channel)), condition.is_)

    def store(self, point: Point, value: Value) -> None:
        """`value` as the words of this point; a number beyond its type is stopped at the end of the scale."""
        if point.span is not None and not isinstance(value, str) and not point.spec.values:
            offset = point.spec.offset
            value = (value - offset) / self._factor(point) + offset
            ends = [end * point.spec.scale + offset for end in point.span]
            value = min(max(value, min(ends)), max(ends))
        words = point.encode(value)
        if point.bit is not None:
            others = self._raw(point)[0] & ~(point.mask << point.bit)
            words = (others | words[0] << point.bit,)
        self._put(point, words)

    def _factor(self, point: Point) -> float:
        """What other points say about the scale of this one; a code without a factor changes nothing."""
        factor = 1.0
        if point.spec.decimals_from is not None:
            decimals = self.value(self._profile.point(point.spec.decimals_from, point.channel))
            factor = 1.0 if isinstance(decimals, str) else 10.0 ** -int(decimals)
        if point.spec.factor_from is not None:
            code = self.value(self._profile.point(point.spec.factor_from.point, point.channel))
            factor *= point.spec.factor_from.factors.get(str(code), 1.0)
        return factor

    # Requests.

    def read(self, request: Read) -> tuple[int, ...] | int:
        """The words asked for, or an exception code."""
        keys = self._asked.get(request)
        if keys is None:
            keys = self._keys_of(request)
            if len(self._asked) < READS_KEPT:
                self._asked[request] = keys
        if isinstance(keys, int):
            return keys
        words, frozen = self._words, self._frozen
        if frozen:
            words = {**words, **frozen}
        return tuple([words.get(key, 0) for key in keys])

    def _keys_of(self, request: Read) -> tuple[Key, ...] | int:
        line = self._profile.line
        if not any(table is request.table for table, _, _ in self._at):
            return ILLEGAL_FUNCTION
        if not 1 <= request.count <= line.max_block * (16 if request.table in _BITS else 1):
            return ILLEGAL_VALUE
        keys = tuple([(request.table, request.address + n, True) for n in range(request.count)])
        if line.single_reads and len({p.name for k in keys for p in self._at.get(k, ())}) > 1:
            return ILLEGAL_ADDRESS
        for key in keys:
            if key not in self._holes and key not in self._at:
                return ILLEGAL_ADDRESS
        return keys

    def write(self, request: Write) -> list[Point] | int:
        """The points that were written, or an exception code."""
        table, values = request.table, request.values
        if table is Table.COIL and not request.multiple and (Table.PULSE, request.address, False) in self._at:
            # The two values of a pulse that look like a coil's.
            table, values = Table.PULSE, (0xFF00 if values[0] else 0,)
        elif table is Table.PULSE and (table, request.address, False) not in self._at:
            # Function 05 with a value that is neither ON nor OFF: a flip, on boards that know it.
            table, values = Table.COIL, ()
        writable: dict[int, list[Point]] = {}
        for (of, address, _), points in self._at.items():
            if of is table:
                writable.setdefault(address, []).extend(p for p in points if p.spec.write)
        if not any(writable.values()):
            return ILLEGAL_FUNCTION
        if not writable.get(request.address):
            return ILLEGAL_ADDRESS
        if not values:
            return ILLEGAL_VALUE
        touched: dict[str, Point] = {}
        for n in range(len(values)):
            if not writable.get(request.address + n):
                return ILLEGAL_ADDRESS
            touched |= {p.name: p for p in writable[request.address + n]}
        new = {key: values[key[1] - request.address] for point in touched.values() for key in _keys(point)
               if 0 <= key[1] - request.address < len(values)}
        for point in touched.values():
            if point.spec.multiple and not request.multiple:
                return ILLEGAL_FUNCTION
            if not self._allowed(point, new):
                return ILLEGAL_VALUE
        self._words.update(new)
        return list(touched.values())

    def _allowed(self, point: Point, new: Mapping[Key, int]) -> bool:
        words = tuple(new.get(k, self._words[k]) for k in _keys(point))
        if point.spec.values:
            return point.raw(words) in point.spec.values.values()
        value = point.decode(words)
        if point.type == "bool" or isinstance(value, str):
            return True
        low, high = point.spec.low, point.spec.high
        return (low is None or value >= low - 1e-9) and (high is None or value <= high + 1e-9)


def _keys(point: Point) -> list[Key]:
    return [(point.table, point.address + n, point.spec.readable) for n in range(point.width)]


def _holes(profile: Profile) -> set[Key]:
    """Addresses without a point for which the unit answers all the same (`line.hole`)."""
    out: set[Key] = set()
    for table in Table:
        points = sorted((p for p in profile.points.values() if p.table is table), key=lambda p: p.address)
        for one, following in pairwise(points):
            gap = range(one.address + one.width, following.address)
            if len(gap) <= profile.line.hole:
                out |= {(table, address, True) for address in gap}
    return out
