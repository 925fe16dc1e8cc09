"""The journal on a real disk: killed, filled up, tampered with, replaced by rubbish."""

import json
import queue
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller import journal as journal_module
from controller.chain import Head, row_hash
from controller.event import Record
from controller.journal import Journal, Opened, verify


def record(n: int, kind: str = "event") -> Record:
    return Record(kind, {"seq": n, "text": f"警报 {n}"})


class Disk:
    """A journal in use: `write` waits until each record is answered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path)
        self.opened: Opened = self.journal.open()
        self.records = self.journal.load()

    def write(self, *records: Record) -> list[str | None]:
        answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for one in records:
            self.journal.append(one, answers.put)
        return [answers.get(timeout=30) for _ in records]

    def again(self) -> "Disk":
        self.journal.close()
        return Disk(self.path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    out = Disk(tmp_path / "state" / "journal.db")
    yield out
    out.journal.close()


def tamper(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)


def spoil(path: Path) -> None:
    """The index now points into the table: what a stray write to one page of the file does."""
    tamper(path, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'record_kind';"
                 " PRAGMA schema_version = 99")


def test_what_was_written_comes_back_in_order(disk: Disk) -> None:
    assert disk.opened == Opened(lost=True), "nobody can tell a new one from one that was deleted"
    assert disk.write(*(record(n) for n in range(1, 1001))) == [None] * 1000
    again = disk.again()
    assert again.opened.why == ""
    assert again.records == [record(n) for n in range(1, 1001)]
    assert again.write(record(1001)) == [None]
    assert again.journal.verify() == []
    assert again.journal.head.n == 1001
    again.journal.close()


def test_a_journal_in_which_nothing_was_written_is_still_a_lost_one(disk: Disk) -> None:
    again = disk.again()
    assert again.opened == Opened(lost=True)
    assert again.write(record(1)) == [None]
    assert again.again().opened == Opened()


def test_answers_come_in_order_and_from_many_threads_none_is_lost(disk: Disk) -> None:
    answered: list[int] = []

    def write(thread: int) -> None:
        done = threading.Event()
        for n in range(50):
            last = n == 49
            disk.journal.append(record(thread * 100 + n),
                                lambda why, k=thread * 100 + n, last=last: (answered.append(k), last and done.set()))
        assert done.wait(30)

    threads = [threading.Thread(target=write, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answered) == sorted(t * 100 + n for t in range(8) for n in range(50))
    assert [r.body["seq"] for r in disk.again().records] == answered
    assert verify(disk.path) == []


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from controller.event import Record
from controller.journal import Journal, verify
rng, path, told = random.Random(1), Path(sys.argv[1]), 0
for _ in range(int(sys.argv[2])):
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(path)
        journal.open()
        n = max((r.body["n"] for r in journal.load()), default=0)
        while True:
            n += 1
            journal.append(Record("accept", {"n": n, "pad": "x" * rng.randrange(2000)}),
                           lambda why, n=n: os.write(w, f"{n}\\n".encode()) if why is None else os._exit(1))
            if n % 7 == 0:
                time.sleep(0.001)
    os.close(w)
    time.sleep(rng.uniform(0.02, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(r, "rb") as pipe:
        lines = pipe.read().split(b"\\n")[:-1]
    told = max([told, *map(int, lines)])
    journal = Journal(path)
    opened = journal.open()
    have = [r.body["n"] for r in journal.load()]
    found = journal.verify()
    journal.close()
    # Killed before its first commit, a new journal is still an empty file.
    assert (opened.why == "" or told == 0) and found == [], (opened.why, found)
    assert have == list(range(1, len(have) + 1)), "a hole"
    assert len(have) >= told, f"{told} was acknowledged, the disk has {len(have)}"
print(json.dumps({"told": told, "have": len(have)}))
"""


def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "journal.db"), "36"],
                         capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["told"] > 36


FULL = """
import queue, resource, signal, sys
from pathlib import Path
from controller.event import Record
from controller.journal import Journal, verify
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
journal = Journal(path)
journal.open()
answers = queue.SimpleQueue()

def write(n):
    journal.append(Record("event", {"seq": n, "pad": "x" * 4000}), answers.put)
    return answers.get(timeout=30)

assert write(1) is None
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
n, refused = 1, 0
while refused < 5:
    # One refusal may be followed by success: opening anew moves the log into the file and empties it.
    why = write(n + 1)
    n, refused = (n + 1, 0) if why is None else (n, refused + 1)
    assert n < 1000, "the disk never filled up"
n += 1
print(n, why)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert write(n) is None, "no recovery"
assert journal.verify() == []
journal.close()
again = Journal(path)
again.open()
assert [r.body["seq"] for r in again.load()] == list(range(1, n + 1))
again.close()
"""


def test_a_full_disk_is_an_answer_and_ends_when_there_is_room(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "journal.db")],
                         capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_a_folder_that_takes_no_file_is_an_answer_and_ends_when_it_is_mended(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.write_text("a file where the folder should be")
    disk = Disk(place / "journal.db")
    assert "cannot be opened" in disk.opened.why
    assert [bool(why) for why in disk.write(record(1))] == [True]
    place.unlink()
    assert disk.write(record(1)) == [None]
    assert disk.again().records == [record(1)]


def test_a_reader_in_another_process_does_not_stop_the_writer(disk: Disk) -> None:
    disk.write(record(1))
    with closing(sqlite3.connect(disk.path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM record").fetchone() == (1,)
        assert disk.write(record(2)) == [None]


def test_a_foreign_lock_is_an_answer_not_a_wait_for_ever(disk: Disk) -> None:
    disk.write(record(1))
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in str(disk.write(record(2))[0])
        other.execute("ROLLBACK")
    assert disk.write(record(2)) == [None]
    assert disk.journal.verify() == []


@pytest.mark.parametrize("rubbish", ["nul", "noise", "cut", "page"])
def test_a_broken_file_is_put_aside_and_a_new_one_begun(disk: Disk, rubbish: str) -> None:
    disk.write(*(record(n) for n in range(1, 3001)))
    disk.journal.close()
    data = disk.path.read_bytes()
    match rubbish:
        case "nul":
            data = bytes(len(data))
        case "noise":
            data = random.Random(3).randbytes(len(data))
        case "cut":
            data = data[: len(data) // 3]
        case "page":
            data = data[:4096] + random.Random(4).randbytes(4096 * 4) + data[4096 * 5 :]
    disk.path.write_bytes(data)
    again = Disk(disk.path)
    assert "put aside" in again.opened.why
    assert again.opened.aside is not None
    assert again.opened.aside.read_bytes() == data
    assert again.records == []
    assert again.write(record(1)) == [None]
    assert again.journal.verify() == []
    last = again.again()
    assert last.opened == Opened()
    assert last.records == [record(1)]


def test_a_card_that_breaks_again_and_again_is_not_filled_with_what_broke(tmp_path: Path) -> None:
    for n in range(6):
        (tmp_path / "journal.db").write_bytes(b"rubbish %d" % n * 1000)
        disk = Disk(tmp_path / "journal.db")
        assert disk.opened.aside is not None
        disk.journal.close()
        (tmp_path / "journal.db").unlink()
    left = sorted(tmp_path.glob("journal.db.broken-*"))
    assert [file.read_bytes()[:9] for file in left] == [b"rubbish 3", b"rubbish 4", b"rubbish 5"]


def test_an_emptied_file_is_told(disk: Disk) -> None:
    disk.write(record(1))
    disk.journal.close()
    disk.path.write_bytes(b"")
    again = Disk(disk.path)
    assert "was empty" in again.opened.why
    assert again.write(record(1)) == [None]
    again.journal.close()


def test_a_file_that_breaks_while_in_use_is_put_aside(disk: Disk) -> None:
    disk.write(*(record(n) for n in range(1, 3001)))
    spoil(disk.path)
    first = disk.write(record(3001))[0]
    assert first is not None
    assert "put aside" in first
    assert disk.write(record(3002)) == [None]
    assert len(list(disk.path.parent.glob("*.broken-*[0-9]"))) == 1
    assert disk.journal.verify() == []
    again = disk.again()
    assert (again.opened, again.records) == (Opened(), [Record("lost", {}), record(3002)]), "the successor knows of it"
    again.journal.close()


@pytest.mark.parametrize("how", ["gone", "empty", "older"])
def test_a_file_that_is_another_one_when_it_is_opened_anew_is_told(disk: Disk, how: str) -> None:
    """A commit failed, and what is opened for the next one does not hold what this process has written."""
    disk.write(record(1))
    older = disk.path.with_name("older")
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
        other.execute("VACUUM INTO ?", (str(older),))
        disk.write(record(2))
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in str(disk.write(record(3))[0])
        other.execute("ROLLBACK")
    for file in disk.path.parent.glob("journal.db*"):
        file.unlink()
    if how == "empty":
        disk.path.touch()
    elif how == "older":
        older.rename(disk.path)
    missing = "was empty" if how == "empty" else f"rows {2 if how == 'older' else 1} to 2 are missing"
    assert missing in str(disk.write(record(3))[0])
    assert disk.write(record(4)) == [None]
    assert disk.journal.verify() == []
    again = disk.again()
    assert again.opened == Opened()
    assert again.records == [*([record(1)] if how == "older" else []), Record("lost", {}), record(4)]
    again.journal.close()


def test_a_successor_that_is_killed_before_its_first_record_is_a_lost_journal(disk: Disk) -> None:
    disk.write(record(1))
    spoil(disk.path)
    assert "put aside" in str(disk.write(record(2))[0])
    assert disk.again().opened == Opened(lost=True)


@pytest.mark.parametrize(("sql", "found"), [
    ("UPDATE record SET body = replace(body, 'seq', 'sec') WHERE n = 40", ["row 40 is not what was written"]),
    ("UPDATE record SET body = 'no JSON' WHERE n = 40", ["row 40 is not what was written"]),
    ("UPDATE record SET wall_us = wall_us + 1 WHERE n = 40", ["row 40 is not what was written"]),
    ("UPDATE record SET kind = 'accept' WHERE n = 40", ["row 40 is not what was written"]),
    ("DELETE FROM record WHERE n BETWEEN 40 AND 42", ["rows 40 to 42 are missing"]),
    ("DELETE FROM record WHERE n <= 3", ["rows 1 to 3 are missing"]),
    ("UPDATE record SET n = 1000 WHERE n = 40; UPDATE record SET n = 40 WHERE n = 41;"
     " UPDATE record SET n = 41 WHERE n = 1000",
     ["row 40 is not what was written", "row 41 is not what was written", "row 42 is not what was written"]),
    ("DELETE FROM record WHERE n > 98", ["row 100 was written and is not there: the end is cut off"]),
    ("INSERT INTO record SELECT 101, wall_us, kind, body, hash FROM record WHERE n = 100",
     ["row 101 is not what was written"]),
])
def test_no_record_can_be_altered_unseen(disk: Disk, sql: str, found: list[str]) -> None:
    disk.write(*(record(n) for n in range(1, 101)))
    assert disk.journal.verify() == []
    tamper(disk.path, sql)
    assert disk.journal.verify() == found


def test_a_tampered_row_is_told_at_opening_and_the_rest_is_not_thrown_away(disk: Disk) -> None:
    disk.write(*(record(n) for n in range(1, 101)))
    disk.journal.close()
    tamper(disk.path, "DELETE FROM record WHERE n = 40; UPDATE record SET body = 'no JSON' WHERE n = 50")
    again = Disk(disk.path)
    assert again.opened.why == "rows 40 to 40 are missing; row 50 is not what was written"
    assert len(again.records) == 98
    assert again.write(record(101)) == [None]
    again.journal.close()


def test_a_rewritten_chain_is_seen_by_its_head(disk: Disk) -> None:
    disk.write(record(1))
    assert [str(fault) for fault in verify(disk.path, [Head(1, b"x" * 32)])] == [
        "row 1 has another hash than when it was written"]


def test_old_rows_go_and_the_chain_still_holds(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEEP_ROWS", 50)
    monkeypatch.setattr(journal_module, "PRUNE_ROWS", 100)
    disk.write(*(record(n) for n in range(1, 301)))
    tail = disk.journal.head
    disk.journal.close()
    # 300 rows that are 300 days old, honestly chained: write them anew with an older clock.
    days = 300 * 24 * 3600 * 1_000_000
    with closing(sqlite3.connect(disk.path)) as db:
        before = b""
        for n, wall_us, kind, body in db.execute("SELECT n, wall_us, kind, body FROM record ORDER BY n").fetchall():
            before = row_hash(before, n, wall_us - days, kind, body)
            db.execute("UPDATE record SET wall_us = ?, hash = ? WHERE n = ?", (wall_us - days, before, n))
        db.commit()
    again = Disk(disk.path)
    assert again.opened.why == ""
    for n in range(301, 306):
        again.write(record(n))
    again.journal.close()
    with closing(sqlite3.connect(disk.path)) as db:
        left = [n for (n,) in db.execute("SELECT n FROM record ORDER BY n")]
    assert left[-1] == 305
    assert 252 <= left[0] <= 256  # all but the newest 50, whatever their age
    assert verify(disk.path) == []
    assert tail.n == 300
    reopened = Disk(disk.path)
    assert reopened.opened.why == ""
    assert reopened.write(record(306)) == [None]
    assert reopened.journal.verify() == []
    reopened.journal.close()  # the last write may have removed one more row, after it was answered
    tamper(disk.path, "UPDATE record SET body = '{}' WHERE n = (SELECT min(n) FROM record)")
    assert len(verify(disk.path)) == 1


def test_verifying_while_old_rows_go_tells_of_no_hole(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEEP_ROWS", 20)
    monkeypatch.setattr(journal_module, "ROWS_LIMIT", 40)
    monkeypatch.setattr(journal_module, "PRUNE_ROWS", 3)
    disk.write(*(record(n) for n in range(1, 200)))
    writing = threading.Thread(target=lambda: [disk.write(record(n)) for n in range(200, 500)])
    writing.start()
    found = []
    while writing.is_alive():
        found += verify(disk.path)
    writing.join()
    assert found == []


def test_rows_are_bounded(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "ROWS_LIMIT", 200)
    monkeypatch.setattr(journal_module, "KEEP_ROWS", 200)
    monkeypatch.setattr(journal_module, "PRUNE_S", 0)
    for start in range(1, 1001, 50):
        disk.write(*(record(n) for n in range(start, start + 50)))
    disk.journal.close()
    with closing(sqlite3.connect(disk.path)) as db:
        assert db.execute("SELECT count(*) FROM record").fetchone()[0] <= 250
    assert verify(disk.path) == []


def test_a_flood_of_events_does_not_push_an_order_out_of_sight(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LOAD_MANY", 10)
    disk.write(Record("accept", {"id": "a"}), *(record(n) for n in range(1, 200)))
    again = disk.again()
    assert [r.kind for r in again.records] == ["accept"] + ["event"] * 10
    assert again.records[-1] == record(199)
    again.journal.close()


def test_too_much_is_refused_at_once(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "more than" in str(disk.write(Record("event", {"x": "y" * 700_000}))[0])
    monkeypatch.setattr(journal_module, "WAITING_LIMIT", 0)
    assert "wait for the disk" in str(disk.write(record(1))[0])
    disk.journal.close()
    assert disk.write(record(1)) == ["the journal is not open"]
