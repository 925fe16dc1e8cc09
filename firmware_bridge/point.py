"""One named value of a device: where it lives, what its bits mean, and how a value becomes bits again.

`PointSpec` is the datasheet's line, as written in a profile; `Point` is that of one channel, with its address
resolved. It refuses to know whether anybody may write it, and whether what was read may be believed.
"""

import math
import re
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from firmware_bridge import octets
from firmware_bridge.document import Document
from firmware_bridge.errors import cut, shown
from firmware_bridge.event import Table
from firmware_bridge.message import Message
from firmware_bridge.reading import Value
from firmware_bridge.text import FIELD_LIMIT

Scalar = bool | int | float | str
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]

WORDS = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "f32": 2}
_FORMAT = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "f32": ">f"}
_SWAPPED = {"BADC", "DCBA"}
"""Orders in which the two octets of a register change places."""
_ORDER = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}


AT = (r"^(coil|discrete|input|holding|pulse):(0x[0-9A-Fa-f]{1,4}|0|[1-9][0-9]{0,4})$"
      r"|^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
"""Where a value may be."""


class Factor(Document):
    """A scale that another point of the device tells: `factors[code of point]`."""

    point: Name
    factors: dict[str, float]


class Condition(Document):
    """A point having a value."""

    point: Name
    is_: Annotated[Scalar, Field(alias="is")]


class PointSpec(Document):
    """One named value of a device, as the datasheet gives it."""

    at: Annotated[str, Field(json_schema_extra={"pattern": AT})]
    """Table and address, or message and field where the protocol is not Modbus."""
    type: Literal["bool", "u16", "s16", "u32", "s32", "f32",
                  "u8", "s8", "digits", "number", "flag", "text"] | None = None
    """The last six only of a field: an octet, or characters (whole number, number with a point, 0 or 1, text)."""
    words: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    bits: Annotated[int, Field(ge=1, le=16)] = 1
    """How many bits of the register the value has, from `bit` up: 8 for one byte of two."""
    inverted: bool = False
    """True where 0 on the wire means yes (name every bit with its polarity: mixed ones occur in one frame)."""
    scale: float = 1.0
    offset: float = 0.0
    decimals: Annotated[int, Field(ge=0, le=9)] = 0
    """Of a `number`: how many it is written with."""
    charset: Literal["ascii", "gb2312", "gbk"] = "ascii"
    """Of a `text`."""
    decimals_from: Name | None = None
    """Point whose value is the number of decimals: value = raw x 10^-decimals. Unknown decimals: no value."""
    factor_from: Factor | None = None
    unit: str = ""
    values: dict[str, int] = {}
    """Names of the codes, where the value is one of a set."""
    low: float | None = None
    high: float | None = None
    """Physical range in `unit`: outside it a reading is BAD, and a write is refused before it leaves."""
    invalid: tuple[int, ...] = ()
    """Raw values that mean 'no value'."""
    valid_if: Condition | None = None
    poll_ms: Annotated[int, Field(ge=100)] | None = None
    """How often it is read; absent: only on demand."""
    write: Literal["level", "trigger"] | None = None
    """`level`: writing it again changes nothing. `trigger`: a repeat is a second event, never retried blindly."""
    readable: bool = True
    multiple: bool = False
    """Written with function 15/16 even when it is one value."""
    channels: Annotated[int, Field(ge=1, le=64)] | None = None
    stride: Annotated[int, Field(ge=1, le=100)] = 1
    evidence: Literal["sampled", "latched"] | None = None
    """What it proves of a sounding: sampled through each on-phase, or one bit that stays set."""

    @field_validator("at")
    @classmethod
    def _placed(cls, value: str) -> str:
        if not re.match(AT, value):
            raise ValueError("say coil, discrete, input, holding or pulse and an address from 0, as holding:16 or"
                             " input:0x3100; or message.field")
        return value

    @model_validator(mode="after")
    def _sane(self) -> "PointSpec":
        if not math.isfinite(self.scale) or self.scale == 0 or not math.isfinite(self.offset):
            raise ValueError("scale is a number other than 0, offset a number")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} lies above high {self.high:g}; swap them")
        return self

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The points without which this one's raw value means nothing."""
        factor = self.factor_from.point if self.factor_from else None
        valid = self.valid_if.point if self.valid_if else None
        return tuple(name for name in (self.decimals_from, factor, valid) if name is not None)


class Point:
    """A point of one channel with its address resolved: encodes and decodes its words.

    Attributes: `name`, `base` (without channel), `channel` (1-based or None), `table`, `address`, `width`
    (registers or bits), `spec`; `bit` (the lowest bit of the register that is this value's, None when the register is
    its alone) and `mask` (its bits, not yet shifted there); `depends_on` (as in `spec`). A field of a message has
    `message` and `field` in place of an address; its words are its octets, and its `width` is 0 where it has as many
    as there are.
    """

    __slots__ = ("_bare", "address", "base", "bit", "channel", "depends_on", "field", "mask", "message", "name",
                 "spec", "table", "type", "width")

    message: Message | None
    width: int
    bit: int | None

    def __init__(self, base: str, spec: PointSpec, channel: int | None,
                 messages: Mapping[str, Message] = MappingProxyType({})) -> None:
        table, _, address = spec.at.partition(":")
        self.base = base
        self.channel = channel
        self.name = base if channel is None else f"{base}_{channel}"
        self.spec = spec
        self.message, self.field = None, ""
        self.bit = None if spec.bit is None else spec.bit + (0 if channel is None else (channel - 1) * spec.bits)
        self.mask = (1 << spec.bits) - 1
        self.depends_on = spec.depends_on
        self._bare = False
        """Its one word is its number."""
        if not address:
            name, _, self.field = spec.at.partition(".")
            self.table, self.address = Table.FIELD, 0
            self.message = messages[name]
            self.type = spec.type or ("bool" if spec.bit is not None and spec.bits == 1 else "u8")
            self.width = {**self.message.ask.fields, **self.message.told}[self.field] or 0
            return
        self.table = Table(table)
        bits = self.table in {Table.COIL, Table.DISCRETE}
        self.type = spec.type or ("bool" if bits or (spec.bit is not None and spec.bits == 1) else "u16")
        self.width = 1 if bits or self.type == "bool" else WORDS[self.type]
        # Several channels as parts of one register share its address; else they lie `stride` apart.
        step = 0 if channel is None or spec.bit is not None else (channel - 1) * spec.stride * self.width
        self.address = int(address, 0) + step
        whole = self.type == "bool" or (self.type == "u16" and spec.words not in _SWAPPED)
        self._bare = bits or (whole and self.bit is None)

    def __repr__(self) -> str:
        return f"Point({self.name} at {self.table}:{self.address})"

    @property
    def span(self) -> tuple[int, int] | None:
        """The least and the greatest number that the wire can carry; None for a bool or a float."""
        if self.type in {"bool", "f32", "number", "flag", "text"}:
            return None
        if self.type == "digits":
            return 0, 10 ** (self.width or 9) - 1
        bits = (8 if self.table is Table.FIELD else 16) * self.width if self.bit is None else self.spec.bits
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.type.startswith("s") else (0, (1 << bits) - 1)

    def decode(self, words: tuple[int, ...], factor: float = 1.0) -> Value:
        """The value that these raw bits or registers mean, in the point's unit."""
        if self.type == "text":
            return bytes(words).decode(self.spec.charset, "replace")
        raw = self.raw(words)
        if self.type in {"bool", "flag"}:
            return bool(raw) != self.spec.inverted
        if self.spec.values:
            for name, code in self.spec.values.items():
                if code == raw:
                    return name
            return int(raw)
        scale = self.spec.scale * factor
        if scale == 1.0 and self.spec.offset == 0.0:
            return raw
        return raw * scale + self.spec.offset

    def raw(self, words: tuple[int, ...]) -> int | float:
        """The number on the wire, before names, scale and polarity. ValueError: a field that is no number."""
        if self._bare:
            return words[0]
        if self.table is Table.FIELD and self.bit is None:
            return octets.number(self.type, self._ordered(bytes(words)) if self.type in octets.BINARY else bytes(words))
        if self.bit is not None:
            part = words[0] >> self.bit & self.mask
            return part - self.mask - 1 if part > self.mask >> 1 and self.type[0] == "s" else part
        data = self._ordered(b"".join(w.to_bytes(2, "big") for w in words))
        return struct.unpack(_FORMAT[self.type], data)[0]  # type: ignore[no-any-return]

    def is_invalid(self, words: tuple[int, ...]) -> bool:
        """Whether the unit says that it has no value: one of `invalid`, or a float that is no number.

        Datasheets give the bare bits (0xFFFF) even where the value is signed, so both are compared.
        """
        if self.type == "text" or (self._bare and not self.spec.invalid):
            return False
        try:
            raw = self.raw(words)
        except ValueError:
            return True
        if not math.isfinite(raw):
            return True
        if raw < 0 and self.span is not None and int(raw) - 2 * self.span[0] in self.spec.invalid:
            return True
        return raw in self.spec.invalid

    def _ordered(self, data: bytes) -> bytes:
        """Two or four bytes from wire order to big-endian, and back: each order is its own inverse."""
        if len(data) == 4:
            return bytes(data[i] for i in _ORDER[self.spec.words])
        return data[::-1] if self.spec.words in _SWAPPED else data

    def _text(self, value: Value) -> tuple[int, ...]:
        if not isinstance(value, str):
            raise ValueError(f"{self.name}: {shown(value)} is no text")
        try:
            data = value.encode(self.spec.charset)
        except UnicodeEncodeError as error:
            raise ValueError(f"{self.name}: {value[error.start]!r} is not in {self.spec.charset}") from None
        most = self.width or FIELD_LIMIT
        if len(data) > most:
            raise ValueError(f"{self.name}: {len(data)} octets in {self.spec.charset}, {most} fit")
        return tuple(data.ljust(self.width))

    def encode(self, value: Value) -> tuple[int, ...]:
        """The raw bits or registers that mean `value`; ValueError says what is allowed.

        Only a point that we write is held to `low` and `high`: a simulator must be able to show a bad reading.
        """
        if self.type == "text":
            return self._text(value)
        if self.table is Table.COIL or self.type in {"bool", "flag"}:
            if not isinstance(value, (bool, int)):
                raise ValueError(f"{self.name}: {shown(value)} is not true or false")
            bit = int(bool(value) != self.spec.inverted)
            return tuple(octets.printed("flag", bit, 1, 0)) if self.type == "flag" else (bit,)
        if isinstance(value, str) and value not in self.spec.values:
            raise ValueError(f"{self.name}: {shown(value)} is not one of {cut(', '.join(self.spec.values))}")
        try:
            number = float(self.spec.values[value] if isinstance(value, str) else
                           (value - self.spec.offset) / self.spec.scale)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{self.name}: {shown(value)} is no number")
        if self.type == "f32":
            try:
                data = struct.pack(">f", number)
            except OverflowError:
                raise ValueError(f"{self.name}: {shown(value)} does not fit f32") from None
        elif self.type == "number":
            data = octets.printed(self.type, number, self.width or None, self.spec.decimals)
        else:
            # Rounded down, so that a lease is never longer than was asked for; but 0.3 / 0.1 is 3, not 2.
            whole = math.floor(number + max(1e-6, abs(number) * 1e-12))
            assert self.span is not None, "neither bool nor float"
            low, high = self.span
            if not low <= whole <= high:
                kind = self.type if self.bit is None else f"{self.spec.bits} bits of a register"
                raise ValueError(f"{self.name}: {shown(value)} does not fit {kind}")
            if self.bit is not None:
                return (whole & self.mask,)
            if self.type == "digits":
                data = octets.printed(self.type, whole, self.width or None, 0)
            else:
                octets_each = 1 if self.table is Table.FIELD else 2
                data = whole.to_bytes(octets_each * self.width, "big", signed=whole < 0)
            number = whole
        if self.spec.write and not isinstance(value, str):
            # Judged as it will be written: 0.5 s cut to 0 would be "never" on a head whose limit it is.
            meant = number * self.spec.scale + self.spec.offset
            least, most = self.spec.low, self.spec.high
            if (least is not None and meant < least - 1e-6) or (most is not None and meant > most + 1e-6):
                raise ValueError(f"{self.name}: {shown(value)} is outside {least} to {most} {self.spec.unit}".rstrip())
        if self.table is Table.FIELD:
            return tuple(self._ordered(data) if self.type in octets.BINARY else data)
        data = self._ordered(data)
        return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
