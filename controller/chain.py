"""The chain of a journal: each row's hash covers the row and the hash before it, so a head vouches for all behind it.

Here is what a row's hash is, and what can be found wrong with rows. `journal.py` writes by it, and an auditor, who
has the file and the heads that the gateway told, judges by it. A chain alone shows what was altered, left out or
exchanged within it; that its end was cut off, or all of it written anew, is seen by a head alone.
It refuses to know files, and what a record means.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

KEEP_ROWS = 10_000
"""The newest rows stay whatever their age: a clock that jumps to 2099 must not empty the journal."""
FOUND_LIMIT = 100
"""Faults that are listed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row: its number, and its hash, which vouches for all before it."""

    n: int
    hash: bytes


class What(Enum):
    """What can be wrong, in the words of a log; `{0}` and `{1}` are the first and last row."""

    MISSING = "rows {0} to {1} are missing"
    ALTERED = "row {0} is not what was written"
    OTHER_HASH = "row {0} has another hash than when it was written"
    END = "row {0} was written and is not there: the end is cut off"
    BEGINNING = "rows up to {1} are removed, and too few are left for that to be the removal of old ones"
    TOLD = "row {0} was written and is not there: rows up to {1} are removed"
    FILE = "the file is damaged"
    MORE = "and perhaps more"


@dataclass(frozen=True, slots=True)
class Fault:
    what: What
    first: int = 0
    last: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return self.what.value.format(self.first, self.last) + (f": {self.detail}" if self.detail else "")


def row_hash(before: bytes, n: int, wall_us: int, kind: str, body: str) -> bytes:
    return hashlib.sha256(before + json.dumps([n, wall_us, kind, body], separators=(",", ":")).encode()).digest()


def faults(rows: Iterable[Sequence[object]], start: Head, heads: Iterable[Head] = (), keep: int = 0) -> list[Fault]:
    """What is wrong with rows `(n, wall_us, kind, body, hash)` in the order of n, that go on from `start`.

    `heads` are rows as they were known at some time. `keep` is how many there must at least be where older ones were
    removed: for all rows of a file KEEP_ROWS, for some of them 0.
    """
    # Of one row there may be two heads: then one of them is another journal's.
    wanted: dict[int, set[bytes]] = {}
    for head in heads:
        if head.n > 0:
            wanted.setdefault(head.n, set()).add(head.hash)
    found: list[Fault] = []
    here = start
    for row in rows:
        n, wall_us, kind, body, hash = row
        assert isinstance(n, int), row
        told = wanted.pop(n, None)
        if n != here.n + 1:
            found.append(Fault(What.MISSING, here.n + 1, n - 1))
        elif not _follows(here.hash, n, wall_us, kind, body, hash):
            found.append(Fault(What.ALTERED, n))
        if told is not None and told != {hash}:
            found.append(Fault(What.OTHER_HASH, n))
        # A hash that is none vouches for nothing; the next row does not follow it either.
        here = Head(n, hash if isinstance(hash, bytes) else b"")
        if len(found) >= FOUND_LIMIT:
            return [*found, Fault(What.MORE)]
    if start.n > 0 and here.n - start.n < keep:
        found.append(Fault(What.BEGINNING, 1, start.n))
    for n, told in sorted(wanted.items()):
        if n > here.n:
            found.append(Fault(What.END, n))
        elif n < start.n:
            found.append(Fault(What.TOLD, n, start.n))
        elif n == start.n and told != {start.hash}:
            found.append(Fault(What.OTHER_HASH, n))
    return found


def _follows(before: bytes, n: int, wall_us: object, kind: object, body: object, hash: object) -> bool:
    if not isinstance(wall_us, int) or not isinstance(kind, str) or not isinstance(body, str):
        return False
    return row_hash(before, n, wall_us, kind, body) == hash
