"""What a power cut leaves of the journal's files: everything that was acknowledged, and nothing that was never written.

SQLite's own files are taken from a journal in use and cut as a card without power cuts them. What was synced stays; of
what came after it each sector is there or is not, or is noise, in any order. A checkpoint that did not end leaves pages
of the main file old, new, or half of each, while the log still has them all. (SQLite, "Write-Ahead Logging" and
"Atomic Commit In SQLite", section 3.)
"""

import queue
from pathlib import Path
from random import Random

import pytest

from controller.event import Record
from controller.journal import Journal

SECTOR, PAGE = 512, 4096
COMMITS = 40
CUTS = 150


def record(n: int) -> Record:
    return Record("event", {"seq": n, "text": "积水" * (n % 90)})


class Run:
    """A journal that wrote COMMITS groups: its files, and how long the log was when each group was acknowledged."""

    def __init__(self, path: Path) -> None:
        journal = Journal(path)
        journal.open()
        log = path.with_name(path.name + "-wal")
        self.synced: list[tuple[int, int]] = [(0, 0)]
        """(how many records, octets of the log)."""
        answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        n = 0
        for commit in range(COMMITS):
            group = 1 + commit % 5
            for _ in range(group):
                n += 1
                journal.append(record(n), answers.put)
            assert [answers.get(timeout=30) for _ in range(group)] == [None] * group
            self.synced.append((n, log.stat().st_size))
        self.main, self.log = path.read_bytes(), log.read_bytes()
        journal.close()
        self.checkpointed = path.read_bytes()
        assert self.synced[-1][1] == len(self.log), "the log was begun anew: fewer commits, please"
        assert len(self.checkpointed) > len(self.main)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("power") / "journal.db")


def found(folder: Path, main: bytes, log: bytes) -> list[Record]:
    """What a process finds that starts with these files."""
    path = folder / "journal.db"
    path.write_bytes(main)
    path.with_name("journal.db-wal").write_bytes(log)
    path.with_name("journal.db-shm").unlink(missing_ok=True)
    journal = Journal(path)
    opened = journal.open()
    assert (opened.why, opened.aside) == ("", None)
    records = journal.load()
    assert journal.verify() == []
    journal.close()
    return records


def torn(chance: Random, tail: bytes) -> bytes:
    """Octets that were written and not synced: each sector is there, is not, or is noise; the file may be shorter."""
    kind = chance.choice(("short", "zeros", "noise", "any"))
    if kind == "short":
        return tail[: chance.randrange(len(tail) + 1)]
    out = bytearray(tail)
    for at in range(0, len(out), SECTOR):
        size = min(SECTOR, len(out) - at)
        how = kind if kind != "any" else chance.choice(("zeros", "noise", "there", "there"))
        if how != "there" and (kind == "any" or chance.random() < 0.5):
            out[at : at + size] = bytes(size) if how == "zeros" else chance.randbytes(size)
    return bytes(out)


def test_what_was_synced_is_there_and_nothing_else_is_made_up(run: Run, tmp_path: Path) -> None:
    chance, more = Random(918), 0
    for _ in range(CUTS):
        k = chance.randrange(1, COMMITS)
        acknowledged, octets = run.synced[k]
        ahead = run.synced[min(COMMITS, k + chance.choice((1, 1, 2, 5)))][1]
        records = found(tmp_path, run.main, run.log[:octets] + torn(chance, run.log[octets:ahead]))
        assert len(records) >= acknowledged
        assert records == [record(n) for n in range(1, len(records) + 1)]
        more += len(records) > acknowledged
    assert 0 < more < CUTS, "some tails were whole, and some were not"


def test_a_checkpoint_that_power_cut_short_loses_nothing(run: Run, tmp_path: Path) -> None:
    chance, every = Random(19), [record(n) for n in range(1, run.synced[-1][0] + 1)]
    for _ in range(40):
        main = bytearray()
        for at in range(0, chance.randrange(len(run.main), len(run.checkpointed) + 1, PAGE), PAGE):
            old, new = run.main[at : at + PAGE], run.checkpointed[at : at + PAGE]
            cut = chance.randrange(0, PAGE + 1, SECTOR)
            main += chance.choice((old, new, new[:cut] + old[cut:])) if old else chance.choice((new, bytes(PAGE)))
        assert found(tmp_path, bytes(main), run.log) == every
