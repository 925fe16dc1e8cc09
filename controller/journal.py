"""The journal: what happened, in order, on the disk before it is told or acted on, and impossible to alter unseen.

SQLite in WAL mode with synchronous=FULL, written by one thread that commits together whatever waits (a commit costs
an fsync, on an SD card tens of milliseconds). Each row carries the SHA-256 of its content and of the row before it.
A disk that is full or broken is an answer, not a crash: every append is answered, and the next one tries again.
A file that is no database any more is put aside, and a new one begun. Where that happens in use, its first record says
that what came before is lost: who starts next finds a journal and could not know it otherwise.

It refuses to know what a record means, but for that one and two things: the kinds that grow with every message
(KINDS_MANY) are read back apart from all others, so that a flood of events cannot push an order out of sight; and the
newest record of each of KINDS_BESIDE is kept a second time in a file of its own (`beside.py`), and is on the disk only
when both are.
Cutting off the newest rows cannot be seen from the file alone; `head` is what to compare it with.
"""

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller import beside
from controller.chain import KEEP_ROWS, Fault, Head, What, faults, row_hash
from controller.event import Record
from controller.regime import LOST

GROUP = 256
"""Records in one commit: more would hold the first ones up, fewer would waste an fsync."""
WAITING_LIMIT = 5_000
"""Records that wait for the disk; beyond it appends are refused at once."""
RECORD_LIMIT = 640 * 1024
"""Bytes of one record: a trust list of 512 keys. All others are small."""
LOAD_MANY = 30_000
"""Newest receipts, events and delivery marks that start-up reads: three times what the outbox holds."""
LOAD_OTHERS = 20_000
"""Newest of all other records: a hundred orders a day for months."""
ROWS_LIMIT = 500_000
"""Rows in all, a few hundred megabytes; the oldest go."""
PRUNE_S = 24 * 3600
"""How often old rows are looked for."""
PRUNE_ROWS = 2_000
"""Rows removed at once: the writer is not to be held up."""
CHECKED = 1_000
"""Newest rows whose chain is checked at opening; `verify` checks all."""
ASIDE_LIMIT = 3
"""Broken files kept: a dying card must not fill itself with them."""
BUSY_S = 1.0
"""How long a commit waits for a reader in another process."""

KINDS_MANY = ("receipt", "event", "delivered", "omitted")
KINDS_UNREAD = ("level", "roadside")
"""Proof for people: start-up needs none of it."""
KINDS_BESIDE = {"lock": ".locks", "trust": ".trust", "flood": ".flood"}
"""... and the ending of its file; the file's copy is given back behind all records, as `lock-beside`."""

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE record (
    n INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
CREATE INDEX record_kind ON record (kind, n);
CREATE TABLE anchor (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL, hash BLOB NOT NULL);
INSERT INTO anchor VALUES (1, 0, x'');
COMMIT;
"""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

OnDone = Callable[[str | None], None]
"""Told None when the record is on the disk, else why it is not. From the writer's thread, but for refusals at once."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was wrong at the opening, if anything, and where a broken file was put."""

    why: str = ""
    aside: Path | None = None
    lost: bool = False
    """What it held is gone, or cannot be read now. So it is of a file that is not there: nobody can tell one that was
    deleted from one that never was, and a new gateway loses nothing by refusing what was issued before it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    kind: str
    body: str
    on_done: OnDone


class Journal:
    """One file, one writer: `open`, `load`, then `append` from any thread, and `close`."""

    def __init__(self, path: Path, keep_days: int = 200) -> None:
        self._path = path
        self._keep_us = keep_days * 24 * 3600 * 1_000_000
        self._db: sqlite3.Connection | None = None
        self._head = Head(0, b"")
        self._lost = False
        """The file does not hold what this process wrote or read, and does not say so yet."""
        self._records: list[Record] = []
        self._wishes: queue.SimpleQueue[_Wish | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._prune_at_s = 0.0

    @property
    def head(self) -> Head:
        return self._head

    def open(self) -> Opened:
        """Open or create the file, read what start-up needs, start the writer. What is wrong is in the answer."""
        opened = self._open(reading=True)
        for kind, ending in KINDS_BESIDE.items():
            body, wrong = beside.read(beside.place(self._path, ending))
            if body is not None:
                self._records.append(Record(f"{kind}-beside", body))
            if wrong:
                opened = replace(opened, why="; ".join(part for part in (opened.why, wrong) if part))
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        return opened

    def load(self) -> list[Record]:
        """What the opening found, oldest first, once.

        Nothing means that nothing is known of the past: a new gateway, a lost file, or a disk that refuses.
        """
        records, self._records = self._records, []
        return records

    def append(self, record: Record, on_done: OnDone) -> None:
        """Have a record written. What is given in order is written and answered in order."""
        body = json.dumps(record.body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if len(body) > RECORD_LIMIT:
            on_done(f"a record of {len(body)} bytes, more than {RECORD_LIMIT}")
        elif self._thread is None or not self._thread.is_alive():
            on_done("the journal is not open")
        elif self._wishes.qsize() >= WAITING_LIMIT:
            on_done(f"{WAITING_LIMIT} records wait for the disk already")
        else:
            self._wishes.put(_Wish(record.kind, body, on_done))

    def close(self) -> None:
        """Write what waits, and stop."""
        if self._thread is not None:
            self._wishes.put(None)
            self._thread.join()
            self._thread = None

    def verify(self) -> list[str]:
        """What is broken in the file, compared with what this process wrote; empty when the chain holds."""
        return [str(fault) for fault in verify(self._path, [self._head])]

    # The writer.

    def _write(self) -> None:
        going_on = True
        while going_on:
            group = [self._wishes.get()]
            while len(group) < GROUP and not self._wishes.empty():
                group.append(self._wishes.get())
            wishes = [wish for wish in group if wish is not None]
            going_on = len(wishes) == len(group)
            if wishes:
                why = self._commit(wishes)
                lost = self._keep_beside(wishes)
                for wish in wishes:
                    wish.on_done(why or lost.get(wish.kind))
                self._prune()
        self._drop()

    def _commit(self, wishes: list[_Wish]) -> str | None:
        """Write them all or none; None when they are on the disk."""
        known = self._head.n
        if self._db is None:
            opened = self._open()
            missing = self._head.n < known
            self._lost |= missing
            if missing or self._db is None:
                # What is missing is told like any trouble with the disk, and written with what is given next.
                return opened.why or f"{self._path}: {Fault(What.MISSING, self._head.n + 1, known)}"
        head, rows = self._head, []
        lost = [(LOST, "{}")] if self._lost else []
        for kind, body in (*lost, *((wish.kind, wish.body) for wish in wishes)):
            n, wall_us = head.n + 1, time.time_ns() // 1000
            head = Head(n, row_hash(head.hash, n, wall_us, kind, body))
            rows.append((n, wall_us, kind, body, head.hash))
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            # Whether a COMMIT that failed is on the disk is not known: open anew before the next, and read the head.
            self._drop()
            why = f"{error}; {self._put_aside().why}" if _is_broken(error) else str(error)
            self._lost |= self._head.n < known
            return why
        self._head, self._lost = head, False
        return None

    def _keep_beside(self, wishes: list[_Wish]) -> dict[str, str | None]:
        """Whatever the journal itself said: the file has to hold where it does not. By kind, why it does not."""
        newest = {wish.kind: wish.body for wish in wishes if wish.kind in KINDS_BESIDE}
        return {kind: beside.write(beside.place(self._path, KINDS_BESIDE[kind]), body)
                for kind, body in newest.items()}

    def _prune(self) -> None:
        """Remove some of the rows that are too old or too many; the anchor keeps the hash the chain goes on from."""
        if self._db is None or time.monotonic() < self._prune_at_s:
            return
        try:
            first, anchor = self._db.execute("SELECT (SELECT min(n) FROM record), n FROM anchor").fetchone()
            young = self._db.execute("SELECT n FROM record WHERE wall_us >= ? ORDER BY n LIMIT 1",
                                     (time.time_ns() // 1000 - self._keep_us,)).fetchone()
            old = (young[0] if young else self._head.n + 1) - 1
            last = max(min(old, self._head.n - KEEP_ROWS), self._head.n - ROWS_LIMIT)
            if first is None or last <= anchor:
                self._prune_at_s = time.monotonic() + PRUNE_S
                return
            last = min(last, first + PRUNE_ROWS)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE anchor SET (n, hash) = (SELECT n, hash FROM record WHERE n = ?)", (last,))
            self._db.execute("DELETE FROM record WHERE n <= ?", (last,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            # Nothing is lost by old rows that stay; what is wrong with the disk shows at the next commit.
            self._drop()

    # The file.

    def _open(self, reading: bool = False) -> Opened:
        fresh = not self._path.exists()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            empty = not fresh and self._path.stat().st_size == 0
            self._db = _connect(self._path)
            if not self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'anchor'").fetchone():
                self._db.executescript(_SCHEMA)
            self._head = _head(self._db)
            self._records = _read(self._db) if reading else []
            found = [str(fault) for fault in _check(self._db, max(0, self._head.n - CHECKED))]
        except (sqlite3.Error, OSError) as error:
            self._drop()
            if not fresh and _is_broken(error):
                return self._put_aside()
            return Opened(why=f"{self._path} cannot be opened: {error}", lost=True)
        why = "; ".join(found) if found else f"{self._path} was empty: a new journal is begun" if empty else ""
        # No row: it was not there, or empty; or who began it was killed before he could write of what was lost before.
        return Opened(why, lost=self._head.n == 0)

    def _put_aside(self) -> Opened:
        """Rename a broken file, for whoever wants to know, and begin a new one."""
        # One instant for both parts: names are sorted by age, also of two in the turn of a second.
        now_s, ns = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        aside = self._path.with_name(f"{self._path.name}.broken-{stamp}-{ns:09}")
        try:
            for ending in ("", "-wal", "-shm"):
                file = self._path.with_name(self._path.name + ending)
                if file.exists():
                    file.rename(aside.with_name(aside.name + ending))
            for old in sorted(self._path.parent.glob(f"{self._path.name}.broken-*[0-9]"))[:-ASIDE_LIMIT]:
                for ending in ("", "-wal", "-shm"):
                    old.with_name(old.name + ending).unlink(missing_ok=True)
        except OSError as error:
            return Opened(why=f"{self._path} is broken and cannot be put aside: {error}", lost=True)
        self._head = Head(0, b"")
        opened = self._open()
        return Opened(why=opened.why or f"{self._path} was broken: put aside as {aside.name}, a new journal is begun",
                      aside=aside, lost=True)

    def _drop(self) -> None:
        if self._db is not None:
            try:
                self._db.close()
            except sqlite3.Error:
                pass
            self._db = None


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.text_factory = _text
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 8388608")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _is_broken(error: Exception) -> bool:
    """The file itself is no good (as opposed to a disk that is full, slow, read-only or gone)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN


def _text(data: bytes) -> str:
    """A row with a byte that is no UTF-8 is a row that was altered, and not the end of the journal."""
    return data.decode(errors="surrogateescape")


def _head(db: sqlite3.Connection) -> Head:
    return _as_head(db.execute("SELECT n, hash FROM (SELECT n, hash FROM record UNION ALL SELECT n, hash FROM anchor)"
                               " ORDER BY n DESC LIMIT 1"))


def _as_head(rows: sqlite3.Cursor) -> Head:
    n, hash = rows.fetchone()
    # What somebody altered into no hash vouches for nothing; the chain tells of it.
    return Head(n, hash if isinstance(hash, bytes) else b"")


def _read(db: sqlite3.Connection) -> list[Record]:
    marks, apart = (",".join("?" * n) for n in (len(KINDS_MANY), len(KINDS_MANY + KINDS_UNREAD)))
    many = f"SELECT n, kind, body FROM record WHERE kind IN ({marks}) ORDER BY n DESC LIMIT {LOAD_MANY}"
    others = f"SELECT n, kind, body FROM record WHERE kind NOT IN ({apart}) ORDER BY n DESC LIMIT {LOAD_OTHERS}"
    rows = db.execute(f"SELECT * FROM ({many}) UNION ALL SELECT * FROM ({others}) ORDER BY n",
                      (*KINDS_MANY, *KINDS_MANY, *KINDS_UNREAD))
    return [Record(kind, found) for _, kind, body in rows if (found := _object(body)) is not None]


def _object(body: str) -> dict[str, Any] | None:
    """A row's body; None for one that somebody altered into no JSON: the chain tells of it, the others still count."""
    try:
        found = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _check(db: sqlite3.Connection, after: int, heads: Sequence[Head] = (), whole: bool = False) -> list[Fault]:
    """What is broken in the chain behind row `after` (or behind the anchor, where that comes later)."""
    start = _as_head(db.execute("SELECT n, hash FROM (SELECT n, hash FROM record WHERE n = ?1 UNION ALL"
                                " SELECT n, hash FROM anchor) ORDER BY n DESC LIMIT 1", (after,)))
    return faults(db.execute("SELECT * FROM record WHERE n > ? ORDER BY n", (start.n,)), start, heads,
                  KEEP_ROWS if whole else 0)


def verify(path: Path, heads: Sequence[Head] = ()) -> list[Fault]:
    """What is broken in a journal file: rows altered, missing, exchanged, or cut off behind one of `heads`."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as db:
            db.text_factory = _text
            # All of one instant: a writer in another process may be removing old rows.
            db.execute("BEGIN")
            found = [Fault(What.FILE, detail=str(row[0])) for row in db.execute("PRAGMA quick_check(10)")
                     if row[0] != "ok"]
            return found + _check(db, 0, heads, whole=True)
    except sqlite3.Error as error:
        return [Fault(What.FILE, detail=str(error))]
