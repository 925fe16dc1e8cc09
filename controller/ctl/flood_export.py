"""导出积水过程 / a flood from the journal, as a table (CSV) and a picture (SVG) of its level curve and every action.

What each gauge told, the limits, and all that was done because of it, as it stands in the journal, whose rows are
chained: the proof of what was known and done. Only looks; sirend may be running. Without --since: the last day.
"""

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from firmware_bridge.errors import BadDocument, Problem

JOURNALS = ("/var/lib/siren/journal.db",)
"""Where a journal is looked for: that of the installed service."""
DAY_S = 24 * 3600
S = 1_000_000
"""Microseconds in a second."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spot", help="积水点 / the spot")
    parser.add_argument("--journal", type=Path, metavar="FILE", help=f"日志 / the journal (default: {JOURNALS[0]})")
    parser.add_argument("--since", metavar="WHEN", help="起，本地时间 2026-07-20T16:00 / from, local time")
    parser.add_argument("--until", metavar="WHEN", help="止 / to (default: now)")
    parser.add_argument("--offset", type=float, default=8.0, metavar="HOURS", help="本地时差 / local time over UTC")
    parser.add_argument("-o", "--out", type=Path, metavar="STEM",
                        help="写 STEM.csv 与 STEM.svg / writes both (default: flood-SPOT)")


def run(args: argparse.Namespace) -> int:
    """0: written. 1: the journal tells nothing of this spot in that time. 2: bad arguments, no journal."""
    # Not at the top: `sirenctl stop` must not wait for what draws pictures.
    from controller import wire
    from controller.ctl import flood_sheet
    from controller.curve import svg, table
    path = args.journal or next((Path(p) for p in JOURNALS if Path(p).exists()), None)
    if path is None:
        raise ValueError(f"--journal: 找不到日志 / no journal found at {', '.join(JOURNALS)}; name it")
    until_us = _instant("--until", args.until, args.offset) if args.until else time.time_ns() // 1000
    since_us = _instant("--since", args.since, args.offset) if args.since else until_us - DAY_S * S
    found = flood_sheet.sheet(args.spot, flood_sheet.rows(path), since_us, until_us, args.offset)
    if not found.lines and not found.marks:
        print(f"{args.spot}: 该时段没有记录 / the journal tells nothing of it between"
              f" {wire.to_text(since_us)} and {wire.to_text(until_us)}")
        return 1
    stem = args.out or Path(f"flood-{args.spot}")
    written = []
    for ending, text in ((".csv", "\ufeff" + table(found)), (".svg", svg(found))):
        file = stem.with_name(stem.name + ending)
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            remedy = "name a place that may be written"
            raise BadDocument([Problem(str(file), "--out", error.strerror, remedy)]) from None
        written.append(str(file))
    samples = sum(len(line.samples) for line in found.lines)
    if args.json:
        print(json.dumps({"files": written, "samples": samples, "actions": len(found.marks), "last": True}))
    else:
        print(f"{', '.join(written)}: {samples} 个读数 samples, {len(found.marks)} 项动作 actions")
    return 0


def _instant(option: str, text: str, offset_h: float) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option} {text}: 请写 2026-07-20T16:00 / say 2026-07-20T16:00") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC) - timedelta(hours=offset_h)
    return round(when.timestamp() * S)
