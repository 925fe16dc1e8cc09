"""`siren-hub audit`: a gateway's journal in an auditor's hands. Whether anything in it was altered, and what it tells.

The file is copied together with what its gateway has not yet put into it (`-wal`), and the copy is opened: the
original is never written to, a gateway may go on writing, and a read-only medium will do.
Exit 0: nothing is wrong. 1: something is. 2: that is no journal.
"""

import argparse
import json
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from controller import wire
from controller.chain import KEEP_ROWS, Fault, Head, What, faults
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Problem
from hub import heads, screen
from hub.account import Account, Row, Step, accounts
from hub.draft import COMMAND

KEEP_DAYS = 200
"""For so long a gateway keeps its rows; a head that is younger must be in the file."""
COPIES = 5
"""Tries to copy a journal that is moving its log into the file; it does that at most each few seconds."""
CHINESE = {
    What.MISSING: "缺少记录", What.ALTERED: "记录被改动", What.OTHER_HASH: "与链头不符", What.END: "末尾被截断",
    What.BEGINNING: "开头被删除", What.TOLD: "开头被删除", What.FILE: "文件损坏", What.MORE: "可能还有",
}
MAX_WALL_US = 253_402_300_800_000_000
"""The year 10000."""
DOORS = {"mqtt": "总站 from the centre", "local": "机柜 at the cabinet",
         "rule": "积水规则 by a signed flood rule"}


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    audit = verbs.add_parser("audit", help="核查网关日志 / a gateway's journal: whether it is whole, what it tells")
    kinds = audit.add_subparsers(dest="kind", required=True, metavar="KIND")
    verify = kinds.add_parser("verify", help="查改动、缺失、调换 / what was altered, left out or exchanged")
    verify.add_argument("--head", action="append", default=[], metavar="HASH@N",
                        help="网关曾报告的链头，可重复 / a head that the gateway told (repeat)")
    verify.add_argument("--heads", type=Path, metavar="FILE",
                        help="总站保存的链头 / the hub's memory of heads, or a hub.toml that names it")
    verify.add_argument("--keep-days", type=int, default=KEEP_DAYS, metavar="DAYS",
                        help=f"网关保留天数 / what its gateway.toml says under [journal]; default {KEEP_DAYS}")
    verify.add_argument("--gateway", metavar="ID", help="哪个网关 / whose it is; else what the journal says")
    show = kinds.add_parser("show", help="列出每条命令 / each order: who, second person, reason, raw order, evidence")
    show.add_argument("--order", metavar="ID", help="只看此命令 / only this one; its first digits will do")
    for parser in (verify, show):
        parser.add_argument("file", type=Path, metavar="FILE", help="日志文件或其副本 / the journal or a copy of it")
        parser.add_argument("--json", action="store_true", help="JSON")
    verify.set_defaults(alone=_verify)
    show.set_defaults(alone=_show)


# The file.


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the journal in `path`; BadDocument when it is none."""
    with tempfile.TemporaryDirectory(prefix="siren-audit-") as folder:
        copy = Path(folder) / "journal.db"
        try:
            _copy(path, copy)
        except OSError as error:
            raise BadDocument([Problem(str(path), "FILE", error.strerror, "name a gateway's journal")]) from None
        with closing(sqlite3.connect(copy)) as db:
            db.text_factory = lambda data: data.decode(errors="surrogateescape")
            try:
                tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            except sqlite3.Error as error:
                raise BadDocument([Problem(str(path), "FILE", str(error), "is no database; a journal is")]) from None
            if not {"record", "anchor"} <= tables:
                remedy = "is no journal of a gateway; name one, copied with its -wal file where there is one"
                raise BadDocument([Problem(str(path), "FILE", ", ".join(sorted(tables)), remedy)])
            yield db


def _copy(path: Path, to: Path) -> None:
    """File and log, as of one instant: neither may have been put into the other in between."""
    log = path.with_name(path.name + "-wal")
    for _ in range(COPIES):
        before = _stamp(path, log)
        shutil.copyfile(path, to)
        if log.exists():
            shutil.copyfile(log, to.with_name(to.name + "-wal"))
        if _stamp(path, log) == before:
            return
        to.with_name(to.name + "-wal").unlink(missing_ok=True)
        time.sleep(0.2)
    raise OSError(0, "the gateway is writing too much; copy it while sirend is stopped")


def _stamp(path: Path, log: Path) -> tuple[int, int, bytes]:
    """Changes when the log is put into the file, or begun anew. What is added to its end may come or not."""
    seen = path.stat()
    head = b""
    if log.exists():
        with log.open("rb") as file:
            head = file.read(32)
    return seen.st_mtime_ns, seen.st_size, head


# Verify.


def check(db: sqlite3.Connection, known: list[Head]) -> tuple[list[Fault], Head, Head]:
    """What is wrong; where the rows begin (behind which), and their head."""
    found = [Fault(What.FILE, detail=str(said)) for (said,) in db.execute("PRAGMA integrity_check(10)") if said != "ok"]
    found += [Fault(What.FILE, detail=f"{kind} {name} is none of a journal's") for kind, name in db.execute(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')")]
    anchors = db.execute("SELECT n, hash FROM anchor").fetchall()
    if len(anchors) != 1 or not isinstance(anchors[0][0], int) or not isinstance(anchors[0][1], bytes):
        found.append(Fault(What.FILE, detail="it does not say where its rows begin"))
        anchors = [(0, b"")]
    start = Head(*anchors[0])
    # The newest rows by their numbers, whatever an index says.
    rows = db.execute("SELECT n, wall_us, kind, body, hash FROM record NOT INDEXED WHERE n > ? ORDER BY n", (start.n,))
    found += faults(rows, start, known, KEEP_ROWS)
    before = db.execute("SELECT count(*) FROM record NOT INDEXED WHERE n <= ?", (start.n,)).fetchone()[0]
    if before:
        found.append(Fault(What.FILE, detail=f"{before} rows stand before its beginning"))
    last = db.execute("SELECT n, hash FROM record NOT INDEXED ORDER BY n DESC LIMIT 1").fetchone()
    n, hash = last or (start.n, start.hash)
    return found, start, Head(n, hash if isinstance(hash, bytes) else b"")


def _verify(args: argparse.Namespace) -> int:
    known = [_head(text) for text in args.head]
    with opened(args.file) as db:
        try:
            if args.heads is not None:
                known += _remembered(args.heads, args.gateway or _whose(db, args.file), args.keep_days)
            found, start, head = check(db, known)
            span = _span(db)
        except sqlite3.Error as error:
            # A page that cannot be read at all.
            found, start, head, span = [Fault(What.FILE, detail=str(error))], Head(0, b""), Head(0, b""), ""
    if args.json:
        print(json.dumps({"file": str(args.file), "first": start.n + 1, "last": head.n, "head": head.hash.hex(),
                          "heads": len(known), "faults": [str(fault) for fault in found]}, ensure_ascii=False))
    else:
        for fault in found:
            print(f"! {CHINESE[fault.what]} {fault}")
        verdict = f"有 {len(found)} 处问题 {len(found)} faults" if found else "完整 whole"
        print(f"{args.file}: {verdict}; 记录 rows {start.n + 1}..{head.n} {span}, 链头 head {head.hash.hex()}@{head.n}")
        if known:
            print(f"已与 {len(known)} 个链头核对 held to {len(known)} heads that the gateway told")
        else:
            print("未给出链头：看不出末尾是否被截断、全部是否被重写 no head was given: whether the end was cut off,"
                  " or all of it written anew, cannot be seen; say --head or --heads")
    return 1 if found else 0


def _span(db: sqlite3.Connection) -> str:
    """From when to when: a journal that begins yesterday says so."""
    times = [t for t in db.execute("SELECT min(wall_us), max(wall_us) FROM record NOT INDEXED").fetchone()
             if isinstance(t, int) and 0 <= t < MAX_WALL_US]
    return " .. ".join(wire.to_text(t) for t in times)


def _head(text: str) -> Head:
    found = re.fullmatch(r"([0-9a-f]{64})@([0-9]{1,15})", text)
    if found is None:
        raise BadDocument([Problem(f"{COMMAND} audit", "--head", text, "say HASH@N, as verify and `fleet --json` do")])
    return Head(int(found[2]), bytes.fromhex(found[1]))


def _remembered(path: Path, gateway: str, days: int) -> list[Head]:
    if path.suffix == ".toml":
        section = document.parse(document.read_text(path), str(path)).get("audit")
        named = section.get("heads") if isinstance(section, dict) else None
        if not isinstance(named, str):
            raise BadDocument([Problem(str(path), "audit.heads", named, "name the file in which the hub keeps heads")])
        path = path.parent / named
    try:
        found = heads.recall(path, gateway, days)
    except sqlite3.Error as error:
        remedy = "name the file in which the hub keeps heads ([audit] heads)"
        raise BadDocument([Problem(str(path), "--heads", str(error), remedy)]) from None
    if not found:
        raise BadDocument([Problem(str(path), "--gateway", gateway, "nothing is kept of it; say whose this is")])
    return found


def _whose(db: sqlite3.Connection, path: Path) -> str:
    """The gateway that its newest receipt or event names."""
    newest = "SELECT body FROM record WHERE kind IN ('receipt', 'event') ORDER BY n DESC LIMIT 1"
    for (body,) in db.execute(newest):
        name = _object(body).get("gateway")
        if isinstance(name, str):
            return name
    raise BadDocument([Problem(str(path), "--gateway", None, "it does not say whose it is; name the gateway")])


# Show.


def _show(args: argparse.Namespace) -> int:
    with opened(args.file) as db:
        try:
            found = accounts(_rows(db))
            wrong, _, _ = check(db, [])
        except sqlite3.Error as error:
            raise BadDocument([Problem(str(args.file), "FILE", str(error), "is damaged; see audit verify")]) from None
    if args.order is not None:
        found = [account for account in found if account.order.startswith(args.order)]
    if args.json:
        for account in found:
            print(json.dumps(_as_json(account), ensure_ascii=False))
    else:
        for account in found:
            screen.print_lines([*_lines(account), ""])
        print(f"{len(found)} 条命令 orders")
    if wrong:
        print(f"! 日志不完整，见 the journal is not whole, see: {COMMAND} audit verify {args.file}", file=sys.stderr)
    return 1 if wrong else 0


def _rows(db: sqlite3.Connection) -> Iterator[Row]:
    for n, wall_us, kind, body in db.execute("SELECT n, wall_us, kind, body FROM record NOT INDEXED ORDER BY n"):
        yield Row(n, wall_us if isinstance(wall_us, int) else 0, str(kind), _object(body))


def _object(body: object) -> dict[str, Any]:
    try:
        out = json.loads(body) if isinstance(body, str | bytes) else None
    except (ValueError, RecursionError):
        return {}
    return out if isinstance(out, dict) else {}


def _lines(account: Account) -> list[str]:
    """One order for people."""
    modes = {mode.value: name for mode, name in screen.MODES.items()}
    actions = {action.value: name for action, name in screen.ACTIONS.items()}
    what = " · ".join(p for p in (
        "" if account.action == wire.Action.STOP else modes.get(account.mode, account.mode),
        actions.get(account.action, account.action), account.sound,
        f"区域 area {account.signed['area']}" if "area" in account.signed else "") if p)
    taken = "受理 accepted" if account.taken else f"拒绝 refused: {account.refused or '?'}"
    out = [f"命令 order {account.order}  {taken}"]

    def line(name: str, text: str) -> None:
        out.append(f"  {screen.pad(name, 22)}{text}")

    late = "  补记 written late: the disk did not take it at once" if account.late else ""
    line("记录 row", f"{account.n or '-'}  {account.at}{late}")
    line("内容 what", what or "不明 unknown: it was refused before it was believed")
    line("来源 door", DOORS.get(account.door, account.door or "-"))
    line("下令人 who", account.who or "-")
    line("第二人 second", account.second or "-")
    line("理由 reason", account.why or "-")
    line("警报器 sirens", " ".join(account.sirens) or "-")
    for step in account.steps:
        line("回执 receipt", f"{step.at}  {_step(step)}")
    mismatch = "" if account.matches else "与执行的不符 IS NOT WHAT WAS DONE  "
    line("原令 raw order", mismatch + (account.raw or "-"))
    return out


def _step(step: Step) -> str:
    e = step.evidence
    proof = ""
    if e.get("phases"):
        sensed = e.get("sensed", 0) if e.get("independent") else "无反馈 none"
        proof = (f"证据 evidence: 令 commanded {e.get('commanded', 0)}/{e['phases']}, 感 sensed {sensed},"
                 f" 听 heard {e.get('heard', 0)}")
    edge = f"首沿 first edge {step.first_edge}" if step.first_edge else ""
    return "  ".join(p for p in (
        step.siren or "(全部 all)", screen.STAGES.get(step.stage, step.stage), step.reason, proof, edge) if p)


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "order": account.order, "row": account.n, "at": account.at, "late": account.late, "accepted": account.taken,
        "action": account.action, "mode": account.mode, "sound": account.sound, "door": account.door,
        "who": account.who, "second": account.second, "reason": account.why, "refused": account.refused,
        "sirens": list(account.sirens), "raw": account.raw, "raw_matches": account.matches,
        "receipts": [{"row": s.n, "at": s.at, "siren": s.siren, "stage": s.stage, "reason": s.reason,
                      "evidence": dict(s.evidence), "first_edge": s.first_edge} for s in account.steps],
    }
