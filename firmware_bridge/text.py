"""Frames of serial protocols that are not Modbus, written as the datasheet prints them: filled to ask, matched to hear.

    AA 07 <len8> ( {track:2} ) <sum8>       a voice module plays a track
    'U' {unit:2} '?'                        a gauge is asked for its level
    68 32 {unit:1} 7B 01 {text:*} 00 <sum16le>

Hex octets and 'text' stand for themselves. `{name:n}` is a field of n octets, `{name:*}` one that reaches to what
follows it. `<len8>`, `<len16>`, `<len16le>` count the octets of the part in brackets; a sum (`SUMS`) is over all that
stands before it. `{unit:1}` is the unit's address, in more octets than one as decimal digits. An `Envelope` puts a
frame between two octets that are escaped wherever else they occur.

It refuses to know what a field means: octets go in and out. Raises Malformed for a template that is none.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from firmware_bridge.errors import Malformed, shown

FIELD_LIMIT = 240
"""Octets of a field that reaches to what follows it: a line of any sign is shorter."""


UNIT = "unit"
"""The field that is filled with the unit's address, and must come back with it."""


def unit_octets(unit: int, size: int) -> bytes:
    """A unit address as its field has it: one octet, or so many decimal digits."""
    return bytes([unit]) if size == 1 else f"{unit:0{size}d}".encode()


def unit_of(octets: bytes) -> int:
    """The address in such a field; -1, nobody's, when it is none."""
    if len(octets) == 1:
        return octets[0]
    return int(octets) if octets.isdigit() else -1


def _sum8(data: bytes) -> bytes:
    return bytes([sum(data) & 0xFF])


def _xor8(data: bytes) -> bytes:
    total = 0
    for octet in data:
        total ^= octet
    return bytes([total])


def _neg16(data: bytes) -> bytes:
    return (-sum(data) & 0xFFFF).to_bytes(2, "big")


SUMS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "sum8": (1, _sum8),
    "xor8": (1, _xor8),
    "sum16": (2, lambda data: (sum(data) & 0xFFFF).to_bytes(2, "big")),
    "sum16le": (2, lambda data: (sum(data) & 0xFFFF).to_bytes(2, "little")),
    "neg16": (2, _neg16),
}
"""Check sums by name: their octets, and how they come from what stands before them. `sum8:1` leaves out one octet."""
LENGTHS = {"len8": (1, "big"), "len16": (2, "big"), "len16le": (2, "little")}


@dataclass(frozen=True, slots=True)
class Field:
    """Octets with a meaning of their own. `size` None: up to what follows."""

    name: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Length:
    """How many octets stand in the brackets behind it."""

    size: int
    little: bool


@dataclass(frozen=True, slots=True)
class Sum:
    """A check sum over what stands before it, but for the first `leaves_out` octets."""

    kind: str
    leaves_out: int


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the counted part begins, or ends."""

    opens: bool


Part = bytes | Field | Length | Sum | Bracket
_TOKEN = re.compile(
    r"(?P<hex>(?:[0-9A-Fa-f]{2})+)(?=\s|$)|'(?P<text>[ -&(-~]+)'|\{(?P<name>[a-z][a-z0-9_]*):(?P<size>\d{1,3}|\*)\}"
    r"|<(?P<mark>[a-z0-9]+)(?::(?P<skip>\d))?>|(?P<bracket>[()])"
)


@dataclass(frozen=True)
class Envelope:
    """A frame lies between the octets `head` and `tail`; within it `escapes` stand for octets that may not occur."""

    head: int
    tail: int
    escapes: tuple[tuple[int, bytes], ...]

    def seal(self, body: bytes) -> bytes:
        escapes = dict(self.escapes)
        return bytes([self.head]) + b"".join(escapes.get(o, bytes([o])) for o in body) + bytes([self.tail])

    def open(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """The frame that begins at `start`, without its escapes, and where it ends; None when there is no whole one."""
        if data[start : start + 1] != bytes([self.head]) or (end := data.find(self.tail, start + 1)) < 0:
            return None
        body, at, plain = bytearray(), start + 1, {shown: octet for octet, shown in self.escapes}
        marks = {shown[0] for shown in plain}
        while at < end:
            if data[at] in marks:
                octet = plain.get(data[at : at + 2])
                if octet is None:
                    return None
                body.append(octet)
                at += 2
            else:
                body.append(data[at])
                at += 1
        return bytes(body), end + 1


Match = tuple[dict[str, bytes], int]
"""The fields of a frame, and where it ends."""


@dataclass(frozen=True)
class Template:
    """One frame: `source` as it is written in a profile, and its envelope where the protocol has one."""

    source: str
    envelope: Envelope | None = None
    _parts: tuple[Part, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", _parse(self.source))

    @cached_property
    def fields(self) -> dict[str, int | None]:
        """The fields in their order, and the octets of each; None: as many as there are."""
        return {part.name: part.size for part in self._parts if isinstance(part, Field)}

    @cached_property
    def longest(self) -> int:
        """Octets of the longest frame on the wire; of a field that reaches on, as many as FIELD_LIMIT allows."""
        body = sum(_longest(part) for part in self._parts)
        # Every octet of it may need its escape.
        return body if self.envelope is None else 2 * body + 2

    @cached_property
    def head(self) -> int | None:
        """The octet with which every such frame begins; None where it may be any."""
        if self.envelope is not None:
            return self.envelope.head
        first = next(part for part in self._parts if not isinstance(part, Bracket))
        return first[0] if isinstance(first, bytes) else None

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The frame with these fields. Malformed when one has another size than the template gives it."""
        out, opened, lengths = bytearray(), 0, list[tuple[int, Length]]()
        for part in self._parts:
            match part:
                case bytes():
                    out += part
                case Field(name, size):
                    value = values[name]
                    if len(value) != size if size is not None else len(value) > FIELD_LIMIT:
                        raise Malformed(f"{name}: {len(value)} octets, {size or f'at most {FIELD_LIMIT}'} fit")
                    out += value
                case Length(size):
                    lengths.append((len(out), part))
                    out += bytes(size)
                case Bracket(True):
                    opened = len(out)
                case Bracket(False):
                    for at, length in lengths:
                        counted = (len(out) - opened).to_bytes(length.size, "little" if length.little else "big")
                        out[at : at + length.size] = counted
                case Sum(kind, leaves_out):
                    out += SUMS[kind][1](bytes(out[leaves_out:]))
        return bytes(out) if self.envelope is None else self.envelope.seal(bytes(out))

    def match(self, data: bytes, start: int = 0) -> Match | None:
        """The fields of the whole frame that begins at `start`, and where it ends; None when there is none."""
        found = self.look(data, start)
        return found if isinstance(found, tuple) else None

    def look(self, data: bytes, start: int = 0) -> Match | int | bytes | None:
        """As `match`; and where there is none yet, what is lacking: so many octets in all, or these. None: for ever."""
        if self.envelope is None:
            return self._look(data, start)
        opened = self.envelope.open(data, start)
        if opened is None:
            begun = data[start : start + 1] == bytes([self.envelope.head])
            return bytes([self.envelope.tail]) if begun and data.find(self.envelope.tail, start + 1) < 0 else None
        body, end = opened
        found = self._look(body, 0)
        return (found[0], end) if isinstance(found, tuple) and found[1] == len(body) else None

    def _look(self, data: bytes, start: int) -> Match | int | bytes | None:
        at, opened, counted = start, start, 0
        fields: dict[str, bytes] = {}
        for n, part in enumerate(self._parts):
            end = at
            match part:
                case bytes():
                    end += len(part)
                    if data[at:end] != part:
                        return end if end > len(data) and part.startswith(data[at:]) else None
                case Field(name, size):
                    following = self._parts[n + 1] if n + 1 < len(self._parts) else None
                    if size is not None:
                        end += size
                    elif isinstance(following, bytes):
                        last = at + FIELD_LIMIT + len(following)
                        end = data.find(following, at, last)
                        if end < 0:
                            return following if len(data) < last else None
                    else:
                        end = opened + counted
                        if end < at:
                            return None
                    fields[name] = data[at:end]
                case Length(size, little):
                    end += size
                    counted = int.from_bytes(data[at:end], "little" if little else "big")
                case Bracket(True):
                    opened = at
                case Bracket(False):
                    if at - opened != counted:
                        return None
                case Sum(kind, leaves_out):
                    end += SUMS[kind][0]
                    if end <= len(data) and data[at:end] != SUMS[kind][1](data[start + leaves_out : at]):
                        return None
            if end > len(data):
                return end
            at = end
        return fields, at


def _longest(part: Part) -> int:
    match part:
        case bytes():
            return len(part)
        case Field(_, size):
            return FIELD_LIMIT if size is None else size
        case Length(size):
            return size
        case Sum(kind):
            return SUMS[kind][0]
        case Bracket():
            return 0


def _parse(source: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    while at < len(source):
        if source[at].isspace():
            at += 1
            continue
        token = _TOKEN.match(source, at)
        if token is None:
            raise Malformed(f"{shown(source[at:])}: say octets in hex, 'text', {{field:octets}}, <sum8>, <len8> or ( )")
        parts.append(_part(token))
        at = token.end()
    _check(parts)
    return tuple(parts)


def _part(token: re.Match[str]) -> Part:
    if token["hex"]:
        return bytes.fromhex(token["hex"])
    if token["text"]:
        return token["text"].encode("ascii")
    if token["name"]:
        return Field(token["name"], None if token["size"] == "*" else int(token["size"]))
    if token["bracket"]:
        return Bracket(token["bracket"] == "(")
    mark = token["mark"]
    if mark in LENGTHS and token["skip"] is None:
        size, order = LENGTHS[mark]
        return Length(size, order == "little")
    if mark in SUMS:
        return Sum(mark, int(token["skip"] or 0))
    raise Malformed(f"{token[0]}: no such sum or length; there are {', '.join([*SUMS, *LENGTHS])}")


def _check(parts: list[Part]) -> None:
    """What would make a template fill or match something else than it says."""
    if not parts:
        raise Malformed("an empty frame; say its octets")
    names = [part.name for part in parts if isinstance(part, Field)]
    if len(names) != len(set(names)):
        raise Malformed("a field stands twice; give each its own name")
    brackets = [part.opens for part in parts if isinstance(part, Bracket)]
    lengths = [n for n, part in enumerate(parts) if isinstance(part, Length)]
    if brackets not in ([], [True, False]) or bool(brackets) != bool(lengths):
        raise Malformed("a length counts one part in brackets: <len8> ( ... )")
    if lengths and lengths[-1] > next(n for n, part in enumerate(parts) if isinstance(part, Bracket)):
        raise Malformed("a length stands before the brackets that it counts")
    for n, part in enumerate(parts):
        if isinstance(part, Field) and part.size is None:
            following = parts[n + 1] if n + 1 < len(parts) else None
            if not isinstance(following, bytes) and following != Bracket(False):
                raise Malformed(f"{part.name}: say what ends it: an octet, or the end of a counted part")
        if isinstance(part, Field) and part.size == 0:
            raise Malformed(f"{part.name}: a field has at least one octet")
