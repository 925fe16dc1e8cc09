"""A gateway's disk in a real journal file, and what becomes of both when somebody deletes the file."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import pytest

from controller import wire
from controller.event import Record
from controller.gateway import Gateway
from controller.journal import Journal
from simulators import world
from tests.attacks.ground import Ground


def reopened(ground: Ground, folder: Path, patch: pytest.MonkeyPatch, delete: bool = False,
             spoil: bool = False, in_use: bool = False) -> None:
    """The process ends, its journal is deleted (or spoiled), and it comes back with what the real file gives it.

    `in_use`: a page of it went bad before, so that it was put aside, and a new one is there that holds something.

    Whether something was lost is what the real file's opening says, as `sirend` hands it on.

    What is kept beside the journal stays; that goes only with the whole card.
    """
    path = folder / "journal.db"
    journal = Journal(path)
    journal.open()
    done = Event()
    for at_us, record in ground.station.records:
        if at_us <= ground.world.now_us:
            journal.append(record, lambda why: None)
    journal.append(Record("alive", {"at": wire.to_text(ground.now)}), lambda why: done.set())
    assert done.wait(30)
    if in_use:
        tamper(path)
        answers: SimpleQueue[str | None] = SimpleQueue()
        for _ in range(2):
            journal.append(Record("alive", {"at": wire.to_text(ground.now)}), answers.put)
            why = answers.get(timeout=30)
        assert why is None
    journal.close()
    if delete:
        for file in path.parent.glob("journal.db*"):
            if file.suffix == ".db" or file.name.endswith(("-wal", "-shm")):
                file.unlink()
    if spoil:
        path.write_bytes(b"\0" * path.stat().st_size)
    again = Journal(path)
    patch.setattr(world, "Gateway", partial(Gateway, forgot=again.open().lost))
    ground.station.records[:] = [(0, record) for record in again.load()]
    again.close()
    ground.restart()


def tamper(path: Path) -> None:
    """The index now points into the table: what a stray write to one page of the file does."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2"
                         " WHERE name = 'record_kind'; PRAGMA schema_version = 99")
