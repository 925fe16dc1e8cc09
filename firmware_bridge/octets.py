"""What the octets of one field of a plain protocol mean: a binary number, decimal digits, a flag, a text.

It refuses to know scale, names and validity: those are the point's.
"""

import struct

BINARY = {"u8": ">B", "s8": ">b", "u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "f32": ">f", "bool": ">B"}
"""Types by how they lie in a field, high octet first."""
SIZES = {name: struct.calcsize(form) for name, form in BINARY.items()}
"""Octets of a binary field."""
PRINTED = ("digits", "number", "flag", "text")
"""Types that are characters: a whole number, one with a sign and a point, 0 or 1, a text."""
FLAGS = {b"0": 0, b"1": 1}


def number(kind: str, data: bytes) -> int | float:
    """The number that these octets are; ValueError when they are none."""
    if kind in BINARY:
        try:
            return struct.unpack(BINARY[kind], data)[0]  # type: ignore[no-any-return]
        except struct.error as error:
            raise ValueError(f"{kind}: {error}") from None
    text = data.decode("ascii", "replace").strip()
    if kind == "flag":
        if data not in FLAGS:
            raise ValueError(f"{data!r} is no flag")
        return FLAGS[data]
    if kind == "digits":
        if not text.isdecimal():
            raise ValueError(f"{data!r} is no whole number")
        return int(text)
    if not text or set(text) - set("+-.0123456789"):
        raise ValueError(f"{data!r} is no number")
    return float(text)


def printed(kind: str, value: float, size: int | None, decimals: int) -> bytes:
    """A number in characters, with leading zeros up to `size`; ValueError when it does not fit."""
    shown = f"{round(value)}" if kind in ("digits", "flag") else f"{value:.{decimals}f}"
    data = shown.zfill(size or 0).encode()
    if (size is not None and len(data) != size) or (kind == "digits" and not shown.isdecimal()):
        raise ValueError(f"{shown} does not fit {size} characters")
    return data
