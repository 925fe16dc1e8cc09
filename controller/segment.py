"""A segment: one file of the black box, read again; whole, torn, or several in one file that was saved (shell).

Packed lines: a header with what the gateway was made from, its journal's records or a snapshot, then moments. What is
whole is given, and that the rest is torn off is told: the process that wrote it was killed, or the power was cut.
"""

import gzip
import hashlib
import json
import sys
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller import moment
from controller.event import Record
from controller.moment import Moment
from firmware_bridge.errors import Malformed

FORMAT = 2
FORMATS = (1, FORMAT)
"""Those that are read; in the first a snapshot was all on one line."""
GZIP = 16 + zlib.MAX_WBITS
LINE_LIMIT = 96 * 1024 * 1024
"""Characters of a line: the largest snapshot that `snapshot.py` reads, in base64."""
PIECE = 256 * 1024
"""Octets unpacked at once, so that a file that unpacks to endless lines takes no memory."""


@dataclass(slots=True)
class Segment:
    """How it begins, and its moments, read as they are asked for."""

    header: Mapping[str, Any]
    records: list[Record]
    state: tuple[bytes, ...] | None
    """The parts of a snapshot."""
    lines: list[str] = field(repr=False)
    torn: bool = False
    """Its end is missing."""

    @property
    def at_us(self) -> int:
        return int(self.header["at_us"])

    @property
    def wall_us(self) -> int:
        """At its beginning, by the clock of the gateway."""
        return int(self.header["wall_us"])

    @property
    def run(self) -> str:
        """The session of the process."""
        return str(self.header["origin"].get("session"))

    def moments(self) -> Iterator[Moment]:
        """Malformed where a line is none."""
        before_us = self.at_us
        for text in self.lines:
            one = moment.read(before_us, text)
            before_us = one.at_us
            yield one


def files(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("[0-9]" * 6 + ".jsonl.gz"))


def segments(source: Path) -> Iterator[Segment]:
    """What a folder or a saved file holds, oldest first; Malformed tells which file is no black box."""
    for path in files(source) if source.is_dir() else [source]:
        yield from filter(None, _segments(path))


def _segments(path: Path) -> Iterator[Segment | None]:
    lines: list[str] = []
    header: dict[str, Any] | None = None
    for text in _lines(path):
        if text is None or text.startswith('{"blackbox"'):
            if header is not None:
                yield _segment(path, header, lines, torn=text is None)
            header, lines = (None, []) if text is None else (_header(path, text), [])
        elif header is None:
            raise Malformed(f"{path}: no black box of a gateway")
        else:
            lines.append(text)
    if header is not None:
        yield _segment(path, header, lines)


def save(source: Path, target: Path) -> int:
    """The whole of a folder as one file; how many segments. What is torn ends in order there."""
    kept = 0
    with gzip.open(target, "xt", encoding="ascii", newline="\n") as out:
        for path in files(source):
            for text in [] if _hopeless(path) else _lines(path):
                if text is not None:
                    kept += text.startswith('{"blackbox"')
                    out.write(text + "\n")
    return kept


def _hopeless(path: Path) -> bool:
    """Whether it ends before its beginning is whole."""
    try:
        return not any(_segments(path))
    except Malformed:
        return False


def code() -> str:
    """A name for the code that is running: another one may do other things with the same events."""
    sum = hashlib.sha256()
    for house in ("controller", "firmware_bridge"):
        for path in sorted(Path(str(sys.modules[house].__file__)).parent.glob("*.py")):
            sum.update(path.read_bytes())
    return sum.hexdigest()[:16]


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
        if header["blackbox"] not in FORMATS:
            raise Malformed(f"{path}: format {header['blackbox']}; this program reads up to {FORMAT}")
        for key, kind in (("at_us", int), ("wall_us", int), ("code", str), ("records", int), ("settled", int),
                          ("origin", dict)):
            if type(header.setdefault("settled", 0) if key == "settled" else header[key]) is not kind:
                raise TypeError(key)
    except Malformed:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(f"{path}: its first line is damaged: {error}") from None
    return header


def _segment(path: Path, header: dict[str, Any], lines: list[str], torn: bool = False) -> Segment | None:
    """None: torn off before its beginning was whole, so that nothing of it can be lived."""
    first, count = header["records"], header["records"] + header["settled"]
    try:
        if min(first, header["settled"]) < 0:
            raise ValueError("fewer lines than none")
        records = [Record(str(kind), dict(body)) for kind, body in map(json.loads, lines[:first])]
        parts = [] if header["snapshot"] is None else [header["snapshot"], *lines[first:count]]
        state = tuple(b64decode(part, validate=True) for part in parts) or None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed(f"{path}: its beginning is damaged: {error}") from None
    if len(lines) >= count:
        return Segment(header, records, state, lines[count:], torn)
    if torn:
        return None
    raise Malformed(f"{path}: its beginning is missing")


def _lines(path: Path) -> Iterator[str | None]:
    """The whole lines of a packed file, as far as they go; None at the end of one whose end is missing or damaged."""
    pack, rest, begun = zlib.decompressobj(GZIP), b"", False
    with path.open("rb") as file:
        data = file.read(PIECE)
        while data:
            begun = True
            try:
                came = pack.decompress(data, PIECE)
            except zlib.error:
                break
            *whole, rest = (rest + came).split(b"\n")
            yield from (one.decode("ascii", "replace") for one in whole)
            if len(rest) > LINE_LIMIT:
                raise Malformed(f"{path}: a line of more than {LINE_LIMIT} characters")
            data = pack.unconsumed_tail
            if pack.eof:
                data, pack, begun = pack.unused_data, zlib.decompressobj(GZIP), False
            data = data or file.read(PIECE)
    if begun:
        yield None
