"""`siren-sim`: plays the hardware of a city, so that everything runs and is tested with none of it.

    siren-sim serve configs/demo/site.toml --log run/sounds.jsonl
    siren-sim fault relay-1 dead            siren-sim fault line-1 noise 0.05        siren-sim fault line-1 unplug
    siren-sim fault relay-1                 siren-sim fault relay-1 all off          siren-sim fault --help
    siren-sim set gauge-1 level 0.42        siren-sim get meter-1 current_1          siren-sim state
    siren-sim storm configs/storms/flash.csv --speed 10         siren-sim storm off
    siren-sim check configs/profiles/*
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firmware_bridge import profile
from firmware_bridge.document import read_text
from firmware_bridge.errors import BadDocument
from simulators import check, faults, site
from simulators.serve import Server, Sink
from simulators.storm import Columns, parse

DEMO = "configs/demo/site.toml"
ANSWER_S = 5.0
"""A running site answers its door within milliseconds."""


def main(arguments: list[str] | None = None) -> int:
    """0: done. 1: refused, or a check failed. 2: bad arguments or documents."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BadDocument as bad:
        print(bad, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("siren-sim", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    serve = verbs.add_parser("serve", help="play a site until interrupted; prints one line `ready ...`")
    serve.add_argument("file", type=Path)
    serve.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                       help="change the file: line[net-3].port=0")
    serve.add_argument("--log", type=Path, metavar="FILE", help="append a JSON line for each siren that begins or ends")
    serve.add_argument("--frames", type=Path, metavar="FILE", help="append a JSON line for each request seen on a line")
    serve.add_argument("--seconds", type=float, help="end by itself after so long")
    serve.set_defaults(run=_serve)

    def running(name: str, help: str, epilog: str | None = None) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=help, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
        verb.add_argument("--site", type=Path, default=Path(DEMO), help=f"its site file (default: {DEMO})")
        verb.add_argument("--control", type=Path, metavar="SOCKET", help="its control socket, instead of the site's")
        verb.set_defaults(run=_ask)
        return verb

    fault = running("fault", "begin or end a fault in a running site, or tell what is wrong", _fault_table())
    fault.add_argument("target", help="a unit (relay-1), one of its outputs (relay-1.2) or a line")
    fault.add_argument("fault", nargs="?", help="a word of the table below, or `all` to end all; without it: tells what"
                       " is wrong now, and what can be. Several may be on at once")
    fault.add_argument("number", nargs="?", default="on", help="on (default), off, or the number that the fault takes:"
                       " a share (0.05), or seconds")
    put = running("set", "feed a point of a running site, or hand it back to its profile")
    put.add_argument("unit")
    put.add_argument("point")
    put.add_argument("value", help="a number, true, false, a name; `free` hands it back")
    get = running("get", "the true value of a point of a running site")
    get.add_argument("unit")
    get.add_argument("point")
    running("state", "which sirens sound, where the lines are, and how high the water stands")
    rise = running("storm", "play a storm through the gauges of a running site; `off` dries the road", _storms())
    rise.add_argument("file", help="a table of time and level, ours in configs/storms/ or a recorded one; or `off`")
    rise.add_argument("--speed", type=float, default=1.0, metavar="N", help="N of its seconds in one of ours")
    rise.add_argument("--water", metavar="NAME", help="which, where the site has several; default: all")
    rise.add_argument("--time", metavar="COLUMN", help="the column of the instants, where its head does not say it")
    rise.add_argument("--level", metavar="COLUMN", help="the column of the level")
    rise.add_argument("--unit", help="the unit of the level: m, cm, mm, ft, in")
    rise.add_argument("--zero", type=float, default=0.0, metavar="M", help="what the series calls the road's height")
    rise.add_argument("--skip-bad", action="store_true", help="leave bad rows out, and tell them")

    examine = verbs.add_parser("check", help="check profiles and drive their simulations through every action; exit 1"
                               " when something fails, 2 when a file is no profile")
    examine.add_argument("file", type=Path, nargs="+")
    examine.set_defaults(run=_check)
    return parser


def _fault_table() -> str:
    lines = ["faults:"]
    for fault, on, number, does in faults.rows():
        lines += [f"  {fault:<14} on: {on}" + (f"; number: {number}" if number else ""),
                  *textwrap.wrap(does, 100, initial_indent=" " * 17, subsequent_indent=" " * 17)]
    return "\n".join(lines)


def _storms() -> str:
    return ("the table: a head with units, as time_s,level_m or 时间,水位(cm), and a row an instant. Times are\n"
            "numbers, 16:05:30, or dates. Further columns are left out, but for rain_mm_h and fault: `gauge-1 dead`,\n"
            "`distance vehicles 0.3`, `contact debris off` begin and end faults of gauges, by unit or what they show")


def _serve(options: argparse.Namespace) -> int:
    plan = site.load(options.file, options.settings)
    with ExitStack() as stack:
        def sink(path: Path | None) -> Sink | None:
            if path is None:
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a", buffering=1))

            def write(line: dict[str, Any]) -> None:
                file.write(json.dumps(line) + "\n")

            return write

        return asyncio.run(_play(Server(plan, sink(options.log), sink(options.frames)), options.seconds))


async def _play(server: Server, seconds: float | None) -> int:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await server.start()
    try:
        print("ready", *(f"{line}={link}" for line, link in server.links.items()), flush=True)
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        pass
    finally:
        await server.stop()
    return 0


def _ask(options: argparse.Namespace) -> int:
    """Send one request to the door of a running site and print its answer."""
    given = vars(options)
    if "fault" in given:
        try:
            request = _fault(options)
        except ValueError:
            print(f"{options.number!r}: say on, off or a number like 0.05", file=sys.stderr)
            return 2
    elif "skip_bad" in given:
        request = _storm(options)
    elif "value" in given:
        request = {"do": "set", "unit": options.unit, "point": options.point, "value": _scalar(options.value)}
    elif "point" in given:
        request = {"do": "get", "unit": options.unit, "point": options.point}
    else:
        request = {"do": "state"}
    door = options.control
    if door is None:
        plan = site.load(options.site)
        if plan.spec.site.control is None:
            print(f"{options.site}: site.control is not set: the running site has no door", file=sys.stderr)
            return 2
        door = plan.path(plan.spec.site.control)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(door))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
    except (OSError, ValueError) as error:
        print(f"{door}: {error}; is `siren-sim serve` running?", file=sys.stderr)
        return 1
    if not answer["ok"]:
        print(answer["why"], file=sys.stderr)
        return 1
    del answer["ok"]
    if "can" in answer:
        for place, on in (answer["on"] or {options.target: {"nothing is wrong": 1}}).items():
            print(f"{place}: {', '.join(f if share == 1 else f'{f} {share:g}' for f, share in on.items())}")
        print("can be:", ", ".join(answer["can"]))
    elif answer:
        print(json.dumps(answer.get("value", answer), indent=2))
    return 0


def _storm(options: argparse.Namespace) -> dict[str, Any]:
    """The request for it, after its table was read: whoever gave it is told of its rows, and not the site."""
    if options.file == "off":
        return {"do": "storm", "file": None, "water": options.water}
    columns = Columns(options.time, options.level, options.unit, options.zero, options.skip_bad)
    path = Path(options.file).absolute()
    storm, left_out = parse(read_text(path), options.file, columns)
    for problem in left_out:
        print(problem, file=sys.stderr)
    print(f"{storm.name}: {len(storm.times_us)} rows, {min(storm.levels_m):.2f} to {max(storm.levels_m):.2f} m,"
          f" {storm.end_us / 60e6 / options.speed:.1f} min at speed {options.speed:g}", file=sys.stderr)
    return {"do": "storm", "file": str(path), "water": options.water, "speed": options.speed,
            "columns": asdict(columns)}


def _fault(options: argparse.Namespace) -> dict[str, Any]:
    """The request for it; ValueError for a number that is none."""
    if options.fault is None:
        return {"do": "faults", "target": options.target}
    number = {"on": faults.usual(options.fault), "off": 0.0}.get(options.number)
    request = {"do": "fault", "target": options.target, "fault": options.fault, "share": number}
    if number is None and faults.takes_seconds(options.fault):
        return {**request, "share": 1.0, "seconds": float(options.number)}
    return request if number is not None else {**request, "share": float(options.number)}


def _scalar(text: str) -> bool | int | float | str | None:
    """A value as it is written in TOML, without the quotes of a text."""
    if text in ("true", "false", "free"):
        return {"true": True, "false": False, "free": None}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check(options: argparse.Namespace) -> int:
    """Every file, also after a bad one; the exit code is that of the worst."""
    failed, invalid = [], []
    for path in options.file:
        print(path, flush=True)
        try:
            checked = profile.load(path)
        except BadDocument as bad:
            print("INVALID", flush=True)
            print(bad, file=sys.stderr, flush=True)
            invalid.append(path)
            continue
        rows = check.drive(checked)
        for row in rows:
            print(f"{'ok  ' if row.ok else 'FAIL'}  {row.what:<40} {row.took_ms:>7} ms  {row.said}")
        if not all(row.ok for row in rows):
            failed.append(path)
    if len(options.file) > 1:
        good = len(options.file) - len(failed) - len(invalid)
        print(f"{len(options.file)} files: {good} ok, {len(failed)} fail, {len(invalid)} invalid")
        for path in (*failed, *invalid):
            print(f"  {path}")
    return 2 if invalid else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
