"""What an audit tells of each order: who, the second person, why, what was signed, and what came of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import __main__ as command
from hub import audit
from hub.account import Row, accounts
from tests.hub import bench_audit
from tests.hub.bench_audit import CABINET, DRILL, FALSE, LATE, LIVE, STORY, WALL, accept, signed, tamper

story, copy = bench_audit.story, bench_audit.copy


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
