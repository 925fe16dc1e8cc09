"""The memory of a simulated device whose protocol is not Modbus: the octets of its fields, and what it says.

Like `memory.py` it is as strict as the profile: what does not fit a message is not heard, a value that is not allowed
is refused, or met with silence where the protocol has no word for it.
"""

from dataclasses import dataclass

from firmware_bridge.message import Message
from firmware_bridge.point import Point
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Value
from firmware_bridge.text import UNIT
from simulators.memory import ILLEGAL_VALUE, Memory

Key = tuple[str, str]
"""Message and field."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that was understood: which message, with which fields, and the points it wrote."""

    message: Message
    fields: dict[str, bytes]
    written: tuple[Point, ...]
    refused: bool


class Fields(Memory):
    """Octets by message and field, and the points over them."""

    def __init__(self, profile: Profile) -> None:
        self._octets: dict[Key, tuple[int, ...]] = {}
        self._shown: dict[Key, tuple[int, ...]] = {}
        super().__init__(profile)
        self.clear()

    def clear(self) -> None:
        self._octets.clear()
        for point in self._profile.points.values():
            if point.bit is None:
                self._octets[_key(point)] = point.encode(_nothing(point))
            else:
                self._octets.setdefault(_key(point), (0,))
        self._initial()

    def freeze(self, on: bool) -> None:
        told = {_key(p) for p in self._profile.points.values() if not p.spec.write}
        self._shown = {key: self._octets[key] for key in told} if on else {}

    def _raw(self, point: Point) -> tuple[int, ...]:
        return self._octets[_key(point)]

    def _put(self, point: Point, words: tuple[int, ...]) -> None:
        self._octets[_key(point)] = words

    def hear(self, data: bytes) -> Heard | None:
        """A request, if it is one; what it writes is written."""
        for message in self._profile.messages.values():
            match = message.ask.match(data)
            if match is None or match[1] != len(data):
                continue
            fields = match[0]
            points = [p for p in self._profile.points.values()
                      if p.message is message and p.spec.write and p.field in fields]
            refused = any(not self._may(point, tuple(fields[point.field])) for point in points)
            if not refused:
                for point in points:
                    self._put(point, tuple(fields[point.field]))
            return Heard(message, fields, () if refused else tuple(points), refused)
        return None

    def answer(self, heard: Heard) -> bytes | None:
        """What it says to a request that was heard and done."""
        form = heard.message.refusal if heard.refused else heard.message.answer
        if form is None:
            return None
        told: dict[str, bytes] = {}
        for name, size in form.fields.items():
            key = heard.message.name, name
            if name == UNIT or name in heard.fields:
                told[name] = heard.fields[name]
            elif heard.refused:
                told[name] = ILLEGAL_VALUE.to_bytes(size or 1, "big")
            else:
                told[name] = bytes(self._shown.get(key, self._octets.get(key, (0,) * (size or 0))))
        return form.fill(told)

    def _may(self, point: Point, octets: tuple[int, ...]) -> bool:
        if point.type == "text":
            return True
        try:
            raw = point.raw(octets)
        except ValueError:
            return False
        if point.spec.values:
            return raw in point.spec.values.values()
        value = point.decode(octets)
        low, high = point.spec.low, point.spec.high
        return isinstance(value, str | bool) or ((low is None or value >= low) and (high is None or value <= high))


def _nothing(point: Point) -> Value:
    """What a field shows that nobody has set: zero, or what lies nearest to it of what it may be."""
    codes = point.spec.values
    if point.type == "text":
        return ""
    if codes:
        return next((name for name, code in codes.items() if code == 0), next(iter(codes)))
    return max(point.spec.low or 0, 0) if point.spec.write else 0


def _key(point: Point) -> Key:
    assert point.message is not None, "a field of a message"
    return point.message.name, point.field
