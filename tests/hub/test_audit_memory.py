"""The hub's memory of what gateways told of their journals, which an auditor holds a journal to."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import aiomqtt
import pytest

from controller.chain import Head
from controller.wire import JournalHead, Status, state_root, to_text
from hub import __main__ as command
from hub import heads
from simulators.city import free_port
from tests.hub import bench_audit
from tests.hub.bench_audit import STORY, WALL, tamper, verify
from tests.hub.test_hub_system import HUB, MOSQUITTO, ROOT, broker

story, copy = bench_audit.story, bench_audit.copy


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
