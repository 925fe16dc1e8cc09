"""The list that rules, in a real journal: it outlives the process, and either of its two files."""

import random
from pathlib import Path
from typing import Any

import pytest

from controller import admission, beside
from controller.event import Append, AppendFailed, Arrived, Durable
from controller.journal import Journal
from controller.succession import File, Succession
from firmware_bridge.machine import S, Woken
from tests.ceremony import DEPLOYMENT, OLD_ROOTS, listed, plain, roots, signed
from tests.controller.bench_succession import GONE, TOPIC


class Disk:
    """The machine on a journal's file."""

    def __init__(self, place: Path, file: File) -> None:
        self.journal = Journal(place)
        self.opened = self.journal.open()
        self.machine = Succession(DEPLOYMENT, roots(), file, self.journal.load())
        self.do(Woken())

    def do(self, event: Any) -> list[Any]:
        out = list(self.machine.handle(S, event))
        for append in [e for e in out if isinstance(e, Append)]:
            done: list[str | None] = []
            self.journal.append(append.record, done.append)
            self.journal.close()
            self.journal.open()
            out += self.do(Durable(append.token) if done == [None] else AppendFailed(append.token, str(done)))
        return out

    def close(self) -> int:
        self.journal.close()
        return self.machine.ruling.version


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "gw.db"
    disk = Disk(place, listed(1))
    disk.do(Arrived(TOPIC, signed(plain(7))))
    assert disk.close() == 7
    return place


def test_the_list_outlives_the_process(place: Path) -> None:
    assert Disk(place, listed(1)).close() == 7
    assert Disk(place, GONE).close() == 7


@pytest.mark.parametrize("lost", ["journal", "beside"])
def test_it_outlives_one_of_its_two_files(place: Path, lost: str) -> None:
    if lost == "beside":
        beside.place(place, ".trust").unlink()
    else:
        for file in place.parent.glob("gw.db*"):
            if not file.name.endswith(".trust"):
                file.unlink()
    assert Disk(place, listed(1)).close() == 7
    # And both are there again.
    beside.place(place, ".trust").unlink()
    assert Disk(place, listed(1)).close() == 7


def test_it_outlives_a_journal_that_is_all_zeros_or_rubbish(place: Path) -> None:
    rng = random.Random(7)
    for wreck in (b"\0" * 8192, rng.randbytes(8192), b""):
        place.write_bytes(wreck)
        for tail in ("-wal", "-shm"):
            place.with_name(place.name + tail).unlink(missing_ok=True)
        assert Disk(place, listed(1)).close() == 7


def test_a_damaged_file_beside_changes_nothing(place: Path) -> None:
    copy = beside.place(place, ".trust")
    copy.write_bytes(copy.read_bytes().replace(b'"version":7', b'"version":9'))
    disk = Disk(place, listed(1))
    assert "is not what was written" in disk.opened.why
    assert disk.close() == 7


def test_an_old_copy_of_the_journal_put_back_is_overruled_by_the_file_beside(tmp_path: Path) -> None:
    place = tmp_path / "gw.db"
    assert Disk(place, listed(3)).close() == 3
    old = place.read_bytes()
    disk = Disk(place, listed(3))
    disk.do(Arrived(TOPIC, signed(plain(7))))
    disk.close()
    place.write_bytes(old)
    for tail in ("-wal", "-shm"):
        place.with_name(place.name + tail).unlink(missing_ok=True)
    assert Disk(place, listed(3)).close() == 7


def test_the_largest_list_fits_into_the_journal(tmp_path: Path) -> None:
    big = signed(plain(7), *OLD_ROOTS)
    pad = admission.MAX_LIST_BYTES - len(big)
    disk = Disk(tmp_path / "gw.db", listed(1))
    disk.do(Arrived(TOPIC, big + b" " * pad))
    assert disk.close() == 7
    assert Disk(tmp_path / "gw.db", listed(1)).close() == 7
