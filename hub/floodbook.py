"""The events of flooding roads with their evidence, kept on the hub's own disk so that a person can see why.

Each event of a gateway once, by its number; the newest LIMIT of them. It refuses to know what an event means.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from controller import wire
from controller.wire import Event
from firmware_bridge.errors import Malformed
from hub.fleet import Happened

LIMIT = 50_000
"""Events kept, a hundred megabytes with evidence: a rainy summer of a large city."""
BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    gateway TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, spot TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (gateway, seq, at));
CREATE INDEX IF NOT EXISTS event_at ON event (at);
"""


def remember(path: Path, told: Iterable[Happened]) -> None:
    """Keep them. sqlite3.Error or OSError when the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as db, db:
        db.executescript(_SCHEMA)
        rows = [(h.gateway, h.event.seq, h.event.at, h.event.subject.partition(".")[0], h.event.encode().decode())
                for h in told]
        db.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)", rows)
        db.execute("DELETE FROM event WHERE rowid IN (SELECT rowid FROM event ORDER BY at DESC LIMIT -1 OFFSET ?)",
                   (LIMIT,))


def recall(path: Path, spot: str | None, last: int) -> list[Happened]:
    """The newest `last`, oldest first; sqlite3.Error where that is no such file. One that cannot be read is left out,
    and hides no other."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as db:
        rows = db.execute("SELECT gateway, body FROM event WHERE ?1 IS NULL OR spot = ?1 ORDER BY at DESC, seq DESC"
                          " LIMIT ?2", (spot, last)).fetchall()
    out: list[Happened] = []
    for gateway, body in reversed(rows):
        with suppress(ValueError, TypeError, Malformed):
            out.append(Happened(gateway, wire.validate(Event, json.loads(body))))
    return out
