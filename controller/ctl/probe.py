"""寻找单元 / who is on a line: asks unit addresses for what the known models are known by. Reads, never writes.

For a line that no sirend drives: a new cabinet, or with sirend stopped. It listens first and gives up when it hears
another master. Over TCP other masters cannot be heard; make sure that there is none.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.ctl import door
from firmware_bridge.errors import BadDocument

if TYPE_CHECKING:
    from controller.wiring import BusSection

CONFIGS = ("/etc/siren/gateway.toml", "configs/demo/gateway.toml")
"""Where a line's id is looked up when no file is named: the installed gateway, then the demo of the README."""
UNITS = "1-247"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("line", help="线路 / line id of gateway.toml, or a link: serial:/dev/serial/by-path/...,"
                                     " tcp:host:port, rtu-tcp:host:port")
    parser.add_argument("--baud", type=int, help="波特率 / default 9600, or the line's")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="校验 / default N, or the line's")
    parser.add_argument("--stop-bits", type=int, choices=(1, 2), help="停止位 / default 1, or the line's")
    parser.add_argument("--units", default=UNITS, metavar="1-32", help=f"单元地址 / unit addresses, default {UNITS}")
    parser.add_argument("--thorough", action="store_true",
                        help="对无应答的地址逐个型号询问，慢数倍 / ask silent addresses for every model: several"
                             " times as long, and finds units that say nothing to what they do not know")
    parser.add_argument("--profiles", type=Path, metavar="DIR", help="档案目录 / profiles (default: the gateway's)")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help=f"网关配置 / the gateway.toml that has the line (default: {', '.join(CONFIGS)})")


def run(args: argparse.Namespace) -> int:
    """0: somebody answered. 1: nobody did, or the line cannot be probed. 2: bad arguments or documents."""
    # Not at the top: what reads profiles takes a second to load on a gateway, and `sirenctl stop` must not wait for it.
    from firmware_bridge import probe, profile
    units = _numbers(args.units)
    section, folder, profiles, own_door = _line(args)
    if why := _held(args, section, folder, own_door):
        return _end(args, {"error": why})
    models = profile.load_all(profiles)
    left_out = sorted(probe.wildcards(models) & set(units))
    asked = [unit for unit in units if unit not in left_out]
    if not args.json:
        wire = "" if section.link.startswith("tcp:") else f"  {section.baud} 8{section.parity}{section.stop_bits}"
        print(f"线路 Line  {section.link}{wire}", flush=True)
        print(f"先听 listens {probe.LISTEN_S:g} s，再读 then reads units {_ranges(asked)}", flush=True)

    async def find() -> int:
        found = 0
        async for unit in probe.probe(section, models, asked, folder, args.thorough, _progress(args, asked)):
            found += 1
            _show(args, unit)
        return found

    try:
        found = asyncio.run(find())
    except probe.Unprobed as error:
        return _end(args, {"error": f"{section.link}: {error}" + _remedy(str(error))})
    answer: dict[str, Any] = {"link": section.link, "asked": asked, "left_out": left_out, "found": found}
    if not found:
        answer["error"] = ("无应答 / nobody answered: 检查 A/B 线、供电、波特率与校验 / check the wires A and B, power,"
                           " --baud and --parity" + ("" if args.thorough else "；或 or --thorough"))
    return _end(args, answer)


def _line(args: argparse.Namespace) -> "tuple[BusSection, Path, Path, Path | None]":
    """The line, what its path is relative to, the folder of profiles, and the door of the gateway it belongs to."""
    from controller import config
    from controller.wiring import BusSection
    from firmware_bridge import document
    given = {"baud": args.baud, "parity": args.parity, "stop_bits": args.stop_bits}
    given = {key: value for key, value in given.items() if value is not None}
    is_link = ":" in args.line
    file = args.config or next((Path(known) for known in CONFIGS if os.access(known, os.R_OK)), None)
    # A file that is not finished yet must not keep anybody from looking who is on its line: only this line is checked.
    try:
        data = config.read(file, []) if file else {}
    except BadDocument:
        if args.config or not is_link:
            raise
        data = {}
    folder = file.parent if file else Path()
    named = config.text_at(data, "profiles", "folder")
    profiles = args.profiles or (folder / named if named else Path("configs/profiles"))
    socket = config.text_at(data, "local", "socket")
    if is_link:
        section = document.check(BusSection, {"id": "probed", "link": args.line, **given}, "sirenctl probe")
        return section, Path(), profiles, folder / socket if socket else None
    if file is None:
        raise ValueError(f"{args.line}: 找不到网关配置 / no gateway.toml found ({', '.join(CONFIGS)}); name it with"
                         " --config, or name the link: serial:/dev/serial/by-path/..., tcp:host:port")
    buses = data.get("bus")
    lines = {one.get("id"): one for one in (buses if isinstance(buses, list) else []) if isinstance(one, dict)}
    if args.line not in lines:
        raise ValueError(f"{file}: 没有此线路 / no such line {args.line!r}; lines: {', '.join(map(str, lines))}")
    section = document.check(BusSection, {**lines[args.line], **given}, f"{file}: bus[{args.line}]")
    return section, folder, profiles, folder / socket if socket else None


def _held(args: argparse.Namespace, section: "BusSection", folder: Path, own_door: Path | None) -> str:
    """What the gateway says when it drives this line; nothing when it does not, or when there is no gateway."""
    kind, _, where = section.link.partition(":")
    link = f"serial:{(folder / where).resolve()}" if kind == "serial" else section.link
    try:
        named = args.socket or os.environ.get("SIREN_SOCKET")
        at = own_door if own_door and not named else door.place(named)
        (answer,) = door.ask(at, "probe", {"line": link})
    except door.NobodyThere:
        return ""
    return str(answer.get("error", ""))


def _remedy(why: str) -> str:
    if "exclusively lock" in why or "busy" in why.lower():
        return "；线路被占用，停止使用它的程序 / another program has the line (a sirend? systemctl stop sirend.service)"
    if "master" in why:
        return "；先让该主站停止 / stop that master first"
    return ""


def _show(args: argparse.Namespace, found: Any) -> None:
    if args.json:
        print(json.dumps({"unit": found.unit, "fits": found.fits, "like": found.like, "said": dict(found.said)},
                         ensure_ascii=False), flush=True)
        return
    _clear(args)
    if found.fits:
        said = "  ".join(sorted({found.said[model] for model in found.fits}))
        print(f"  {found.unit:>5}  {' | '.join(found.fits)}  ({said})", flush=True)
        if len(found.fits) > 1:
            print(f"  {'':>5}  读不出是哪一种，看铭牌 / cannot be told apart by reading: see the plate", flush=True)
    elif found.like:
        for model in found.like:
            print(f"  {found.unit:>5}  像 looks like {model}  ({found.said[model]})", flush=True)
    else:
        print(f"  {found.unit:>5}  有应答，不是已知型号 / answers, as no model that is known by reading", flush=True)


def _progress(args: argparse.Namespace, asked: Sequence[int]) -> Any:
    def asking(unit: int) -> None:
        if sys.stderr.isatty() and not args.json:
            print(f"\r  {unit:>5} … ({asked.index(unit) + 1}/{len(asked)})", end="", file=sys.stderr, flush=True)

    return asking


def _clear(args: argparse.Namespace) -> None:
    if sys.stderr.isatty() and not args.json:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _end(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    if args.json:
        print(json.dumps(answer | {"last": True}, ensure_ascii=False), flush=True)
    else:
        _clear(args)
        if answer.get("left_out"):
            print(f"未问 not asked  {_ranges(answer['left_out'])}：同型单元皆应答 / all units of a model answer")
        if answer.get("found"):
            print(f"找到 found {answer['found']}；其余无应答 / the others are silent")
        if "error" in answer:
            print(answer["error"], file=sys.stderr)
    return 1 if "error" in answer else 0


def _numbers(text: str) -> list[int]:
    """`1-32` or `1,3,7-9`, in order."""
    out: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            out |= set(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise ValueError(f"--units {text!r}: 例如 / say 1-32 or 1,3,7-9") from None
    if not out or not out <= set(range(1, 248)):
        raise ValueError(f"--units {text!r}: 1 … 247")
    return sorted(out)


def _ranges(numbers: Sequence[int]) -> str:
    """The other way round."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1] = [runs[-1][0], n]
        else:
            runs.append([n])
    return ",".join("-".join(map(str, run)) for run in runs)
