"""What a fuzzer makes of valid examples: octets, texts and trees of JSON, hurt in the ways that parsers die of.

Bits turned, parts cut out, doubled, exchanged, joined to another example; numbers at the edges of their types; letters
that are none (half of a pair, NUL, a byte order mark, digits of another script); nesting deeper than any stack; and
sizes up to a limit. Everything comes from the seed of the chance that is handed in.
"""

import json
import re
from collections.abc import Sequence
from random import Random

HUGE_SHARE = 0.0005
"""Of cases as large as the limit allows: each costs as much as some hundred others."""
DEEP = 100_000
"""Brackets of a nesting that no stack holds."""

OCTETS = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\x80\0", b"\x7f\xff", b"\0\0\0\0",
          b"\xff\xff\xff\xff", b"\x01\x03\xfa", b"\x01\x10\0\0\0\x7b\xf6",
          b"\r", b"\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80")
NUMBERS = ("0", "-0", "-1", "1", "2", "7", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967296",
           "9007199254740991", "9007199254740992", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
           "18446744073709551616", "0.1", "-0.0", "1.5", "1e308", "1e309", "-1e400", "5e-324", "1e-400", "9" * 4299,
           "9" * 4301, "0x7fff", "0b1", "1_000", "+1", "01", "1.", ".5", "1e", "nan", "inf", "-inf", "NaN", "Infinity",
           "true", "false", "null", "\u0661\u0662", "\uff11", "1979-05-27T07:32:00Z", "2026-02-30", "24:00:00")
LETTERS = ("", " ", "\t", "\n", "\r\n", "\0", "\ufeff", "\u200b", "\u202e", "\u2028", "\ud800", "\udfff\ud800",
           "\U0010ffff", "\U0001d7d9", "e\u0301", "\uff10\uff11", "\u0660", "%s%n", "{0}", "$x", "../../x",
           "a" * 300, "\x7f", "\x1b[2J", "'", '"',
           "\\", "\\u0000", "警报", "\u0130", "true", "0", "-1", "None", "a.b", "a[0]", "#", "=", "__class__")
SCALARS: Sequence[object] = (
    None, True, False, 0, 1, -1, 2, 255, 256, 65535, 65536, 2**31, 2**53, 2**63, 2**64, -2**63 - 1, 10**300, 10**4000,
    0.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan"), 5e-324, [], {}, [[]], [None], {"": {}},
    {"id": None}, *LETTERS)
TOKEN = re.compile(r"(?P<text>\"[^\"\n]*\"|'[^'\n]*')|(?P<number>\b\d[\d._:TZeE+-]*)"
                   r"|(?P<word>[A-Za-z_][\w-]*)|[\[\]{}=,.]")
LINES = ("a=1\n", "[[a]]\n", "[a.b]\n", "0,", "{},", '"a",')
BRACKETS = ("[", "{", "(", "[[", '{"a":', "{a=", "a=[", "[{", "a.", "<", "'", '"', '"""')


class Mutator:
    """`limit` is the most octets that a parser lets in."""

    def __init__(self, chance: Random, limit: int) -> None:
        self.chance = chance
        self.limit = limit

    @property
    def huge(self) -> bool:
        return self.chance.random() < HUGE_SHARE

    def _times(self) -> int:
        return self.chance.choice((1, 1, 1, 1, 2, 3, 6))

    # Octets.

    def octets(self, data: bytes, other: bytes = b"") -> bytes:
        chance, out = self.chance, bytearray(data)
        for _ in range(self._times()):
            size = len(out)
            at = int(chance.random() * size)
            what = int(chance.random() * 10) if size else 9
            if what <= 2:
                out[at] ^= 1 << int(chance.random() * 8)
            elif what == 3:
                out[at] = int(chance.random() * 256)
            elif what == 4:
                del out[at : at + 1 + int(chance.random() * 8)]
            elif what == 5:
                del out[at:]
            elif what == 6:
                out[at:at] = out[at : at + 1 + int(chance.random() * 40)]
            elif what == 7:
                out[at : at + 4] = chance.choice(OCTETS)
            elif what == 8:
                cut = int(chance.random() * (len(other) + 1))
                out[at:] = other[cut:]
            else:
                out[at:at] = chance.choice(OCTETS)
        if chance.random() < 0.02:
            return bytes(out * (1 + int(chance.random() * 8)))
        if self.huge and out:
            return bytes(out * (self.limit // len(out) + 1))[: self.limit]
        return bytes(out)

    def garbage(self) -> bytes:
        return self.chance.randbytes(int(self.chance.random() * 64))

    # Texts.

    def text(self, text: str, other: str = "") -> str:
        chance = self.chance
        for _ in range(self._times()):
            what = int(chance.random() * 12)
            if what <= 4:
                text = self._token(text)
            elif what == 5:
                text = self._lines(text, other)
            elif what == 6:
                at = int(chance.random() * (len(text) + 1))
                text = text[:at] + text[at + 1 + int(chance.random() * 12) :]
            elif what == 7:
                text = text[: int(chance.random() * (len(text) + 1))]
            elif what == 8:
                at, to = (int(chance.random() * (len(text) + 1)) for _ in range(2))
                text = text[:at] + other[to : to + 200] + text[at:]
            elif what == 9:
                at = int(chance.random() * (len(text) + 1))
                text = text[:at] + chance.choice(LETTERS) + text[at + 1 :]
            elif what == 10:
                at = int(chance.random() * (len(text) + 1))
                part = text[at : at + 1 + int(chance.random() * 60)]
                text = text[:at] + part * int(2 + chance.random() * 3) + text[at:]
            elif chance.random() < 0.2:
                at = int(chance.random() * (len(text) + 1))
                text = text[:at] + chance.choice(BRACKETS) * chance.choice((2, 20, 300, 3000)) + text[at:]
        if self.huge:
            at = int(chance.random() * (len(text) + 1))
            part = chance.choice((*BRACKETS, *NUMBERS, *LETTERS, *LINES)) or "a"
            text = text[:at] + part * max(1, (self.limit - len(text)) // len(part)) + text[at:]
        return text[: self.limit]

    def _token(self, text: str) -> str:
        """One number, quoted text, name or bracket made something else."""
        chance = self.chance
        start = int(chance.random() * (len(text) + 1))
        found = TOKEN.search(text, start) or TOKEN.search(text)
        if found is None:
            return text + chance.choice(LETTERS)
        if found["text"]:
            quote, inside = found[0][0], found[0][1:-1]
            new = chance.choice((chance.choice(LETTERS), inside + chance.choice(LETTERS), inside.upper(), inside * 2,
                                 chance.choice(NUMBERS)))
            new = f"{quote}{new}{quote}"
            new = chance.choice((new, new, new, chance.choice(NUMBERS), f"[{new}]", f"[{new}, {new}]"))
        elif found["number"]:
            number = chance.choice(NUMBERS)
            new = chance.choice((number, number, f'"{found[0]}"', f"-{found[0]}", found[0] * 2))
        elif found["word"]:
            other = TOKEN.search(text, int(chance.random() * (len(text) + 1)))
            new = chance.choice((other[0] if other else "x", f"{found[0]}x", chance.choice(LETTERS), found[0].upper(),
                                 ""))
        else:
            new = chance.choice(("", "[", "]", "{", "}", "=", ",", ".", found[0] * 2))
        return text[: found.start()] + new + text[found.end() :]

    def _lines(self, text: str, other: str) -> str:
        lines, chance = text.split("\n"), self.chance
        at, to = int(chance.random() * len(lines)), int(chance.random() * len(lines))
        match int(chance.random() * 4):
            case 0:
                lines.insert(to, lines[at])
            case 1:
                del lines[at]
            case 2:
                lines[at], lines[to] = lines[to], lines[at]
            case _:
                lines.insert(at, chance.choice(other.split("\n")))
        return "\n".join(lines)

    # Trees: what JSON and TOML are read into.

    def tree(self, value: object, other: object = None) -> object:
        """The same with some nodes made something else; what is not changed is shared with it."""
        for _ in range(self._times()):
            value = self._node(value, other)
        return value

    def _node(self, value: object, other: object) -> object:
        chance = self.chance
        if chance.random() < 0.12 or not isinstance(value, dict | list) or not value:
            return self._made(value, other)
        if isinstance(value, dict):
            name = chance.choice(list(value))
            what = chance.random()
            if what < 0.08:
                return {k: v for k, v in value.items() if k != name}
            if what < 0.14:
                new = chance.choice((*LETTERS, f"{name}x", name.upper()))
                return {new if k == name else k: v for k, v in value.items()}
            if what < 0.20:
                return value | {chance.choice(LETTERS): value[name]}
            inner = other.get(name) if isinstance(other, dict) else other
            return value | {name: self._node(value[name], inner)}
        at = int(chance.random() * len(value))
        what = chance.random()
        if what < 0.1:
            return value[:at] + value[at + 1 :]
        if what < 0.2:
            return [*value, value[at]]
        inner = other[at] if isinstance(other, list) and at < len(other) else other
        return [*value[:at], self._node(value[at], inner), *value[at + 1 :]]

    def _made(self, value: object, other: object) -> object:
        chance = self.chance
        if self.huge:
            return self._many()
        what = int(chance.random() * 10)
        if what == 0:
            return other
        if what == 1:
            return [value]
        if what == 2:
            return {chance.choice(LETTERS): value}
        if isinstance(value, str) and what <= 6:
            at = int(chance.random() * (len(value) + 1))
            return value[:at] + chance.choice(LETTERS) + value[at + int(chance.random() * 3) :]
        if isinstance(value, int) and what <= 6 and abs(value) < 2**80:
            return value + chance.choice((1, -1, 2**16, 2**31, 2**63, 0.5, 1e30))
        return chance.choice(SCALARS)

    def _many(self) -> object:
        """As much as fits, of something small."""
        chance = self.chance
        unit: object = chance.choice((0, "", "a", [], {}, None, 10**300, {"id": "a"}, "\ud800", 0.5))
        count = max(1, self.limit // (len(json.dumps(unit)) + 2) - 200)
        if chance.random() < 0.3:
            return {format(n, "x"): unit for n in range(count // 2)}
        return "a" * (self.limit - 2000) if chance.random() < 0.2 else [unit] * count

    def written(self, tree: object) -> bytes:
        """As JSON, sometimes hurt once more on the way."""
        chance = self.chance
        try:
            data = json.dumps(tree, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
        except (RecursionError, ValueError):
            return b"["
        what = chance.random()
        if what < 0.05:
            return self.octets(data)
        if what < 0.07:
            at = int(chance.random() * (len(data) + 1))
            return (data[:at] + chance.choice((b"[", b'{"a":', b"[[", b'[{"":')) * DEEP + data[at:])[: self.limit]
        if what < 0.08:
            return data.decode(errors="replace").encode(chance.choice(("utf-16", "utf-8-sig", "utf-32")))
        if what < 0.10:
            return data.replace(b":", b': {"a":1,"a":2}, "a":', 1)
        return data
