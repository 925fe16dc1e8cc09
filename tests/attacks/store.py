"""A gateway's disk in a real journal file, and what becomes of both when somebody deletes the file."""

from functools import partial
from pathlib import Path
from threading import Event

import pytest

from controller import wire
from controller.event import Record
from controller.gateway import Gateway
from controller.journal import Journal
from simulators import world
from tests.attacks.ground import Ground


def reopened(ground: Ground, folder: Path, patch: pytest.MonkeyPatch, delete: bool = False,
             spoil: bool = False) -> None:
    """The process ends, its journal is deleted (or spoiled), and it comes back with what the real file gives it.

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
