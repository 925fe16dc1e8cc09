"""A journal in an auditor's hands: nothing in it is altered, left out, exchanged or cut off unseen; what it tells."""

import asyncio
import base64
import hashlib
import json
import queue
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from controller import chain
from controller.chain import Head
from controller.event import Rank, Record
from controller.journal import Journal
from controller.ledger import Accept
from controller.wire import Action, Event, Evidence, JournalHead, Mode, Receipt, Stage, Status, state_root, to_text
from hub import __main__ as command
from hub import audit, heads
from hub.account import Row, accounts
from simulators.city import free_port
from tests.hub.test_hub_system import HUB, MOSQUITTO, ROOT, broker

WALL = 1_790_000_000_000_000
AT = to_text(WALL)
LIVE, DRILL, CABINET, LATE, FALSE = (letter * 32 for letter in "abcde")


def signed(order: str, **more: object) -> str:
    payload = json.dumps({"v": 1, "id": order, "issuer": "苏州市人防办", "area": "32/5", **more}, ensure_ascii=False)
    text = base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")
    return json.dumps({"payload": text, "signatures": [{"protected": "e30", "signature": "x"}]})


def accept(order: str, **more: Any) -> dict[str, Any]:
    raw = more.get("raw")
    payload = base64.urlsafe_b64decode(json.loads(raw)["payload"] + "==") if raw else b""
    return Accept.model_validate({
        "order": order, "digest": hashlib.sha256(payload).hexdigest()[:32], "action": Action.SOUND, "mode": Mode.DRILL,
        "rank": Rank.DRILL, "by": "", "persons": (), "door": "mqtt", "at": AT, "issued_wall_us": WALL,
        "expires_wall_us": WALL, "start_wall_us": WALL, "scheduled": False, "sirens": ("s-1",), **more,
    }).model_dump(mode="json", exclude_none=True)


def receipt(seq: int, order: str, stage: Stage, siren: str = "s-1", **more: Any) -> Record:
    body = Receipt(seq=seq, gateway="gw-7", order=order, siren=siren, stage=stage, at=AT, **more)
    return Record("receipt", body.model_dump(mode="json", exclude_none=True))


def event(seq: int, what: str, **more: Any) -> Record:
    return Record("event", Event(seq=seq, gateway="gw-7", at=AT, what=what, **more).model_dump(mode="json"))


PROOF = Evidence(phases=15, commanded=15, sensed=14, heard=3, independent=True)
STORY = [
    event(1, "link-up", subject="line-1"),
    Record("accept", accept(LIVE, raw=signed(LIVE, reason="防空袭 air raid"), mode=Mode.LIVE, rank=Rank.AIR_RAID,
                            persons=("李四 Li Si", "张三 Zhang San"), by="Li Si, Zhang San", sound="air-raid")),
    receipt(2, LIVE, Stage.RECEIVED, ""),
    receipt(3, LIVE, Stage.STARTED, first_edge=AT),
    Record("alive", {"at": AT}),
    receipt(4, LIVE, Stage.FINISHED, evidence=PROOF, first_edge=AT),
    Record("delivered", {"seq": 2}),
    Record("omitted", {"seq": 3}),
    Record("accept", accept(DRILL, raw=signed(DRILL), persons=("王五 Wang Wu",), by="Wang Wu", sound="test-short")),
    receipt(5, DRILL, Stage.FINISHED, evidence=Evidence(phases=1, commanded=1)),
    Record("accept", accept(CABINET, door="local", persons=("Li Ming",), by="Li Ming", seconds=2.5)),
    receipt(6, CABINET, Stage.STOPPED, reason="stop"),
    Record("refuse", accept(LATE, raw=signed(LATE), persons=("王五 Wang Wu",), sirens=(), reason="no-target")),
    receipt(7, LATE, Stage.REJECTED, "", reason="no-target"),
    event(8, "order-refused", subject=FALSE, detail="bad-signature: of kid x"),
    receipt(9, FALSE, Stage.REJECTED, "", reason="bad-signature"),
    Record("lock", {"siren": "s-1", "tags": []}),
    Record("trust", {"version": 2}),
]
KINDS = {record.kind for record in STORY}


def write(path: Path, records: list[Record]) -> Head:
    """A journal as a gateway writes it, closed again."""
    journal = Journal(path)
    assert journal.open().why == ""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for record in records:
        journal.append(record, answers.put)
    assert [answers.get(timeout=30) for _ in records] == [None] * len(records)
    head = journal.head
    journal.close()
    return head


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Head]:
    path = tmp_path_factory.mktemp("story") / "journal.db"
    return path, write(path, STORY)


@pytest.fixture
def copy(story: tuple[Path, Head], tmp_path: Path) -> Path:
    return Path(shutil.copy(story[0], tmp_path / "journal.db"))


def at(head: Head) -> str:
    return f"{head.hash.hex()}@{head.n}"


def tamper(path: Path, *sql: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for one in sql:
            db.execute(one)


def verify(capsys: pytest.CaptureFixture[str], path: Path, *args: str) -> tuple[int, list[str]]:
    code = command.main(["audit", "verify", str(path), "--json", *args])
    return code, json.loads(capsys.readouterr().out)["faults"]


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


# The hub's memory.


def test_the_hubs_memory_holds_a_journal_to_what_was_told(
    story: tuple[Path, Head], copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    memory = tmp_path / "state" / "heads.db"
    with closing(sqlite3.connect(copy)) as db:
        told = [Head(n, hash) for n, hash in db.execute("SELECT n, hash FROM record WHERE n IN (4, 9) ORDER BY n")]
    for day, head in enumerate([*told, story[1]], 1):
        told_now = [("gw-7", head.n, head.hash.hex()), ("gw-8", 1, "00")]
        heads.remember(memory, f"2026-09-{day:02}T10:00:00.000Z", told_now)
    assert heads.recall(memory, "gw-7", 200) == [*told, story[1]]
    assert verify(capsys, copy, "--heads", str(memory)) == (0, [])
    (tmp_path / "hub.toml").write_text('[audit]\nheads = "state/heads.db"\n')
    tamper(copy, "DELETE FROM record WHERE n > 8")
    code, found = verify(capsys, copy, "--heads", str(tmp_path / "hub.toml"))
    assert code == 1
    assert [f.split(" was")[0] for f in found] == ["row 9", f"row {len(STORY)}"]
    assert command.main(["audit", "verify", str(copy), "--heads", str(memory), "--gateway", "gw-9"]) == 2
    assert "nothing is kept of it" in capsys.readouterr().err
    assert command.main(["audit", "verify", str(copy), "--heads", str(copy)]) == 2
    assert command.main(["audit", "verify", str(copy), "--heads", str(tmp_path / "none.db")]) == 2


def test_the_memory_keeps_hours_for_a_month_then_days_and_is_bounded(tmp_path: Path) -> None:
    memory, start = tmp_path / "heads.db", WALL
    for hour in range(0, 24 * 60, 6):
        heads.remember(memory, to_text(start + hour * 3_600_000_000), [("gw-7", hour + 1, f"{hour:064x}")])
    with closing(sqlite3.connect(memory)) as db:
        hours = [h for (h,) in db.execute("SELECT hour FROM head ORDER BY hour")]
    days = {h[:10] for h in hours}
    assert len(days) >= 60, "no day is forgotten"
    assert len([h for h in hours if h[:10] == min(days)]) == 1
    assert len([h for h in hours if h[:10] == sorted(days)[-3]]) == 4
    heads.remember(memory, to_text(start + 500 * 24 * 3_600_000_000), [("gw-7", 9_999, "ff" * 32)])
    assert heads.recall(memory, "gw-7", 5_000) == [Head(9_999, b"\xff" * 32)]


def test_what_an_old_head_knew_of_rows_that_were_rightly_removed_is_no_fault(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    memory = tmp_path / "heads.db"
    heads.remember(memory, "2026-01-01T10:00:00.000Z", [("gw-7", 3, "ab" * 32)])
    heads.remember(memory, "2026-09-01T10:00:00.000Z", [("gw-7", 9, at_row(copy, 9))])
    assert verify(capsys, copy, "--heads", str(memory)) == (0, [])
    assert verify(capsys, copy, "--heads", str(memory), "--keep-days", "365")[0] == 1


def at_row(path: Path, n: int) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("SELECT hash FROM record WHERE n = ?", (n,)).fetchone()[0].hex())


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: the hub's memory was NOT tried")
async def test_the_resident_hub_remembers_what_was_told(tmp_path: Path) -> None:
    port, memory = free_port(), tmp_path / "heads.db"
    with broker(tmp_path, port):
        status = Status(gateway="gw-7", session="one", state="online", at=to_text(time.time_ns() // 1000),
                        journal=JournalHead(n=41, hash="ab" * 32))
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.publish(f"{state_root('41/01/05/001/001', 'gw-7')}/status", status.encode(), 1, True)
        hub = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hub", "run", str(HUB), "--set", f"mqtt.port={port}",
            "--set", f"audit.heads={memory}", cwd=ROOT, stdout=subprocess.PIPE)
        assert hub.stdout
        async for line in hub.stdout:
            if b"gateway-online" in line:
                break
        hub.terminate()
        await hub.wait()
    assert heads.recall(memory, "gw-7", 1) == [Head(41, b"\xab" * 32)]


# What it tells.


def rows() -> Iterator[Row]:
    for n, record in enumerate(STORY, 1):
        yield Row(n, WALL, record.kind, record.body)


def test_of_each_order_who_second_person_reason_raw_and_evidence() -> None:
    found = {account.order: account for account in accounts(rows())}
    assert list(found) == [LIVE, DRILL, CABINET, LATE, FALSE]
    live = found[LIVE]
    assert (live.who, live.second, live.why, live.taken) == ("李四 Li Si", "张三 Zhang San", "防空袭 air raid", True)
    assert live.raw == STORY[1].body["raw"]
    assert live.matches
    assert [(s.siren, s.stage, s.evidence["sensed"]) for s in live.endings] == [("s-1", "finished", 14)]
    assert (found[DRILL].who, found[DRILL].second, found[DRILL].why) == ("王五 Wang Wu", "", "")
    assert (found[CABINET].door, found[CABINET].who, found[CABINET].raw) == ("local", "Li Ming", "")
    assert (found[LATE].taken, found[LATE].refused) == (False, "no-target")
    assert (found[FALSE].n, found[FALSE].taken, found[FALSE].refused) == (0, False, "bad-signature: of kid x")


def test_a_raw_order_that_is_not_what_was_done_is_told() -> None:
    other = accept(DRILL, raw=signed(DRILL)) | {"raw": signed(DRILL, area="41")}
    (account,) = accounts([Row(1, WALL, "accept", other)])
    assert not account.matches


def test_a_record_that_was_written_late_says_so() -> None:
    body = accept(DRILL, raw=signed(DRILL))
    assert [a.late for a in accounts([Row(1, WALL, "accept", body)])] == [False]
    (account,) = accounts([Row(1, WALL, "accept", body | {"late": {"s-1": "finished"}})])
    assert account.late
    assert any("补记 written late" in line for line in audit._lines(account))


@pytest.mark.parametrize("body", [
    {}, {"order": None}, {"order": 7, "raw": "{"}, {"order": "x", "raw": json.dumps({"payload": "!"}), "persons": "p"},
    {"order": "x", "raw": json.dumps({"payload": "AAAA"}), "sirens": 3, "seconds": True, "evidence": [], "at": 9},
    {"subject": {"a": 1}, "what": "order-refused", "detail": 3},
])
@pytest.mark.parametrize("kind", ["accept", "refuse", "receipt", "event", "other"])
def test_what_another_version_wrote_does_not_end_it(kind: str, body: dict[str, Any]) -> None:
    assert len(accounts([Row(1, WALL, kind, body)])) <= 1


def test_show_for_people_and_for_programs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "show", str(copy)]) == 0
    out = re.sub(" +", " ", capsys.readouterr().out)
    for part in ("下令人 who 李四 Li Si", "第二人 second 张三 Zhang San", "理由 reason 防空袭 air raid",
                 "实战 LIVE · 鸣响 sound · air-raid · 区域 area 32/5", "令 commanded 15/15, 感 sensed 14, 听 heard 3",
                 "感 sensed 无反馈 none", "机柜 at the cabinet", "拒绝 refused: no-target",
                 "拒绝 refused: bad-signature", '原令 raw order {"payload": ', "5 条命令 orders"):
        assert part in out, part
    assert command.main(["audit", "show", str(copy), "--json", "--order", LIVE[:8]]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["who"], told["second"], told["reason"]) == ("李四 Li Si", "张三 Zhang San", "防空袭 air raid")
    assert told["raw"] == STORY[1].body["raw"]
    assert told["receipts"][-1]["evidence"]["sensed"] == 14
    tamper(copy, "UPDATE record SET body = 'no JSON' WHERE n = 2")
    assert command.main(["audit", "show", str(copy)]) == 1
    assert "the journal is not whole" in capsys.readouterr().err
