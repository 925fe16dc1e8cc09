"""A journal with a story of five orders, as a gateway writes it, to be tampered with and verified."""

import base64
import hashlib
import json
import queue
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller.chain import Head
from controller.event import Rank, Record
from controller.journal import Journal
from controller.ledger import Accept
from controller.wire import Action, Event, Evidence, Mode, Receipt, Stage, to_text
from hub import __main__ as command

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
