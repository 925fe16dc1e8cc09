"""What gateways said of their journals, kept on the hub's own disk: who alters a journal there cannot alter this too.

One head a gateway and hour, for a month; then the last of each day, for a year and more. It refuses to know what
a journal holds.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from controller.chain import Head

HOURS_DAYS = 31
"""So long each hour's head is kept."""
DAYS = 400
"""So long each day's: twice what a gateway keeps of its journal."""
BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (
    gateway TEXT NOT NULL, hour TEXT NOT NULL, n INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (gateway, hour))
"""
_PRUNE = """
DELETE FROM head WHERE hour < date(?1, ?2) OR (hour < date(?1, ?3) AND EXISTS (
    SELECT 1 FROM head AS later WHERE later.gateway = head.gateway AND later.hour > head.hour
    AND substr(later.hour, 1, 10) = substr(head.hour, 1, 10)))
"""


def remember(path: Path, at: str, heads: Iterable[tuple[str, int, str]]) -> None:
    """Keep `(gateway, n, hash)` as of the instant `at`. sqlite3.Error or OSError when the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as db, db:
        db.execute(_SCHEMA)
        new = db.execute("SELECT NOT EXISTS (SELECT 1 FROM head WHERE hour >= ?)", (at[:13],)).fetchone()[0]
        db.executemany("INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?)",
                       [(gateway, at[:13], n, hash) for gateway, n, hash in heads])
        if new:
            db.execute(_PRUNE, (at[:10], f"-{DAYS} days", f"-{HOURS_DAYS} days"))


def recall(path: Path, gateway: str, days: int) -> list[Head]:
    """What a gateway told in the newest `days`, oldest first; sqlite3.Error where that is no such file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as db:
        rows = db.execute("SELECT n, hash FROM head WHERE gateway = ?1 AND hour >= date((SELECT max(hour) || ':00'"
                          " FROM head WHERE gateway = ?1), ?2) ORDER BY hour", (gateway, f"-{days} days")).fetchall()
    return [Head(n, bytes.fromhex(hash)) for n, hash in rows]
