"""A journal in an auditor's hands: nothing in it is altered, left out, exchanged or cut off unseen."""

import queue
import random
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller import chain
from controller.chain import Head
from controller.event import Record
from controller.journal import Journal
from hub import __main__ as command
from tests.hub import bench_audit
from tests.hub.bench_audit import STORY, at, tamper, verify

story, copy = bench_audit.story, bench_audit.copy

KINDS = {record.kind for record in STORY}


def number(kind: str, last: bool = False) -> int:
    found = [n for n, record in enumerate(STORY, 1) if record.kind == kind]
    return found[-1 if last else 0]


def test_what_is_whole_is_said_to_be(
    story: tuple[Path, Head], copy: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert verify(capsys, copy) == (0, [])
    assert verify(capsys, copy, "--head", at(story[1])) == (0, [])
    assert command.main(["audit", "verify", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "完整 whole" in out
    assert f"rows 1..{len(STORY)}" in out
    assert "no head was given" in out
    assert at(story[1]) in out


COLUMNS = {
    "wall_us": "wall_us + 1", "kind": "'accept2'", "body": "replace(body, '\"', '\"\"')",
    "body as bytes": "CAST(body AS BLOB)", "body no UTF-8": "CAST(CAST(body AS BLOB) || x'ff' AS TEXT)",
    "body one letter": "substr(body, 1, length(body) - 2) || 'x}'", "kind as bytes": "CAST(kind AS BLOB)",
    "wall_us as text": "'soon'", "hash": "x'00'", "hash as text": "'none'", "n": "n + 1000",
}


@pytest.mark.parametrize("change", COLUMNS)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_column_of_each_kind_of_record_is_held(
    copy: Path, kind: str, change: str, capsys: pytest.CaptureFixture[str],
) -> None:
    column, n = change.split()[0], number(kind)
    tamper(copy, f"UPDATE record SET {column} = {COLUMNS[change]} WHERE n = {n}")
    code, found = verify(capsys, copy)
    assert code == 1
    if column == "n":
        assert any(f"rows {n} to {n}" in fault or f"row {1000 + n}" in fault or "are missing" in fault
                   for fault in found), found
    else:
        assert f"row {n} is not what was written" in found
    # What start-up reads of it does not end the gateway either.
    journal = Journal(copy)
    why = journal.open().why
    journal.close()
    assert "is not what was written" in why or "are missing" in why


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_record_is_missed(
    story: tuple[Path, Head], copy: Path, kind: str, capsys: pytest.CaptureFixture[str],
) -> None:
    n = number(kind)
    tamper(copy, f"DELETE FROM record WHERE n = {n}")
    code, found = verify(capsys, copy, "--head", at(story[1]))
    assert code == 1
    if n == len(STORY):
        assert found == [f"row {n} was written and is not there: the end is cut off"]
    else:
        assert found == [f"rows {n} to {n} are missing"]


@pytest.mark.parametrize("pair", [(1, 2), (2, 9), (4, 6), (17, 18)])
def test_rows_that_changed_places_are_found(
    copy: Path, pair: tuple[int, int], capsys: pytest.CaptureFixture[str],
) -> None:
    one, other = pair
    tamper(copy, f"UPDATE record SET n = 1000 WHERE n = {one}", f"UPDATE record SET n = {one} WHERE n = {other}",
           f"UPDATE record SET n = {other} WHERE n = 1000")
    code, found = verify(capsys, copy)
    assert code == 1
    assert {f"row {n} is not what was written" for n in pair} <= set(found)


@pytest.mark.parametrize("left", [0, 1, 17])
def test_an_end_that_is_cut_off_is_seen_by_the_head(
    story: tuple[Path, Head], copy: Path, left: int, capsys: pytest.CaptureFixture[str],
) -> None:
    tamper(copy, f"DELETE FROM record WHERE n > {left}")
    assert verify(capsys, copy) == (0, [])
    code, found = verify(capsys, copy, "--head", at(story[1]))
    assert (code, found) == (1, [f"row {len(STORY)} was written and is not there: the end is cut off"])


def test_a_beginning_that_is_cut_off_is_found(
    story: tuple[Path, Head], copy: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    tamper(copy, "DELETE FROM record WHERE n <= 3")
    assert verify(capsys, copy) == (1, ["rows 1 to 3 are missing"])
    # Made to look like the removal of old rows: there are never so few left.
    with closing(sqlite3.connect(story[0])) as db:
        hash = db.execute("SELECT hash FROM record WHERE n = 3").fetchone()[0]
    tamper(copy, f"UPDATE anchor SET n = 3, hash = x'{hash.hex()}'")
    code, found = verify(capsys, copy)
    assert code == 1
    assert "rows up to 3 are removed, and too few are left" in found[0]
    code, found = verify(capsys, copy, "--head", f"{hash.hex()}@2")
    assert "row 2 was written and is not there: rows up to 3 are removed" in found


def rewritten(path: Path) -> None:
    """All hashes made anew, as somebody does it who knows how."""
    with closing(sqlite3.connect(path)) as db, db:
        before = b""
        for n, wall_us, kind, body in db.execute("SELECT n, wall_us, kind, body FROM record ORDER BY n").fetchall():
            before = chain.row_hash(before, n, wall_us, kind, body)
            db.execute("UPDATE record SET hash = ? WHERE n = ?", (before, n))


def test_a_chain_that_was_made_anew_is_seen_by_a_head(
    story: tuple[Path, Head], copy: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(sqlite3.connect(copy)) as db:
        early = Head(5, db.execute("SELECT hash FROM record WHERE n = 5").fetchone()[0])
    tamper(copy, "UPDATE record SET body = replace(body, 'Li Si', 'Nobody') WHERE n = 2")
    rewritten(copy)
    assert verify(capsys, copy) == (0, [])
    code, found = verify(capsys, copy, "--head", at(story[1]), "--head", at(early))
    assert code == 1
    assert found == ["row 5 has another hash than when it was written",
                     f"row {len(STORY)} has another hash than when it was written"]


@pytest.mark.parametrize("sql", [
    "DROP TABLE anchor; CREATE TABLE anchor (id, n, hash)", "UPDATE anchor SET hash = 'x'",
    "INSERT INTO record SELECT -1, wall_us, kind, body, hash FROM record WHERE n = 1",
    "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record WHERE n = 2; END",
    "INSERT INTO record SELECT 19, wall_us, kind, body, hash FROM record WHERE n = 18",
])
def test_nothing_can_be_added_to_it(copy: Path, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(copy, *sql.split("; ")) if "TRIGGER" not in sql else tamper(copy, sql)
    code, found = verify(capsys, copy)
    assert (code, bool(found)) == (1, True)


def test_any_bit_of_the_file_that_matters_is_found_or_changes_nothing(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    """Bits of the file at random: either it is said, or every record still reads as it was."""
    def read(path: Path) -> list[Any]:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT n, wall_us, kind, body FROM record ORDER BY n").fetchall()

    whole, rng, said = copy.read_bytes(), random.Random(5), 0
    before = read(copy)
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(data)
        code = command.main(["audit", "verify", str(damaged)])
        capsys.readouterr()
        said += code != 0
        if code == 0:
            assert read(damaged) == before
    assert said > 30


# The file.


def test_it_writes_nothing_and_reads_a_medium_that_cannot_be_written(
    copy: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    before = {f.name: f.read_bytes() for f in copy.parent.iterdir()}
    copy.chmod(0o400)
    copy.parent.chmod(0o500)
    try:
        assert verify(capsys, copy)[0] == 0
    finally:
        copy.parent.chmod(0o700)
    assert {f.name: f.read_bytes() for f in copy.parent.iterdir()} == before


def test_what_is_still_in_the_log_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A card that was pulled out: file and log, as they were."""
    live, pulled = tmp_path / "live", tmp_path / "pulled"
    pulled.mkdir()
    journal = Journal(live / "journal.db")
    journal.open()
    done: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for record in STORY:
        journal.append(record, done.put)
        assert done.get(timeout=30) is None
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(live / name, pulled)
    head = journal.head
    journal.close()
    assert verify(capsys, pulled / "journal.db", "--head", at(head)) == (0, [])
    (pulled / "journal.db-wal").unlink()
    # All of so young a journal is in the log.
    assert command.main(["audit", "verify", str(pulled / "journal.db")]) == 2
    assert "with its -wal" in capsys.readouterr().err


def test_a_gateway_that_goes_on_writing_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.open()
    ended = threading.Event()

    def write_on() -> None:
        done: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        n = 0
        while not ended.is_set():
            journal.append(Record("event", {"gateway": "gw-7", "seq": n, "pad": "x" * 3000}), done.put)
            done.get(timeout=30)
            n += 1
            time.sleep(0.002)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        heads_seen = []
        for _ in range(15):
            head = journal.head
            heads_seen.append(head.n)
            given = ("--head", at(head)) if head.n else ()
            assert verify(capsys, tmp_path / "journal.db", *given) == (0, [])
        assert heads_seen[-1] > heads_seen[0]
    finally:
        ended.set()
        writer.join()
        journal.close()


@pytest.mark.parametrize(("name", "content", "said"), [
    ("none.db", None, "No such file"), ("a.db", b"rubbish" * 100, "is no database"), ("b.db", b"", "is no journal"),
    (".", None, "FILE"),
])
def test_what_is_no_journal_is_told(
    tmp_path: Path, name: str, content: bytes | None, said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for verb in ("verify", "show"):
        assert command.main(["audit", verb, str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("head", ["x", "ab@1", "a" * 64, "a" * 64 + "@", "a" * 64 + "@-1"])
def test_a_head_that_is_none_is_told(copy: Path, head: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "verify", str(copy), "--head", head]) == 2
    assert "--head" in capsys.readouterr().err
