"""黑匣子 / what the black box holds; with -o, save it to a file for `sirenctl replay`.

Everything that came to the gateway, as far back as its disk space reaches. Only looks; sirend goes on with its work.
Where sirend does not run any more, name the folder: it lies beside the journal, and its name ends in .blackbox.
"""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from controller.ctl import door

if TYPE_CHECKING:
    from controller.segment import Segment

WRITTEN_S = 1.5
"""Until what came before the question is in the files too: they are written once a second."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="存为文件 / save it, e.g. gw.blackbox.gz")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="黑匣子目录 / its folder (default: the gateway's)")


def run(args: argparse.Namespace) -> int:
    """0: there is something. 1: nothing. 2: bad arguments."""
    from controller import segment  # it loads the machines, for which `sirenctl stop` must not wait
    folder = args.folder or _folder(args)
    if not folder.is_dir():
        raise ValueError(f"{folder}: 没有黑匣子 / no black box; [blackbox] size_mb = 0 in gateway.toml turns it off")
    if args.out is not None:
        if args.out.exists():
            raise ValueError(f"{args.out}: 已存在 / is there already; name another with -o, or remove it")
        kept = segment.save(folder, args.out)
        size = args.out.stat().st_size
        again = f"重演 / live it again: sirenctl replay {args.out}"
        print(json.dumps({"file": str(args.out), "segments": kept, "bytes": size}) if args.json else
              f"{args.out}: {kept} 段 segments, {size / 2**20:.1f} MiB; {again}")
        return 0 if kept else 1
    found = 0
    for one in segment.segments(folder):
        found += 1
        print(json.dumps(_shown(one)) if args.json else _line(one), flush=True)
    return 0 if found else 1


def _folder(args: argparse.Namespace) -> Path:
    answer = list(door.ask(door.place(args.socket), "blackbox", {}))[-1]
    if args.out is not None:
        time.sleep(WRITTEN_S)
    return Path(answer["folder"])


def _shown(one: "Segment") -> dict[str, object]:
    return {"run": one.run, "wall": wall(one.wall_us), "begins": "start" if one.state is None else "snapshot",
            "moments": len(one.lines), "torn": one.torn, "version": one.header["origin"].get("version"),
            "code": one.header["code"]}


def _line(one: "Segment") -> str:
    begins = "启动 start   " if one.state is None else "快照 snapshot"
    torn = "  未结束 not ended: written to now, killed, or the power was cut" if one.torn else ""
    return f"{wall(one.wall_us)}  运行 run {one.run}  自 from {begins}  {len(one.lines):>8} 个事件 moments{torn}"


def wall(us: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(us / 1e6))
