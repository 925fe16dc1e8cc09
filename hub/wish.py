"""What an operator says on the command line: an order's options, what they mean, and the word typed for a live one.

Shared by `siren-hub order`, which gives it at once, and `siren-hub order draft`. It refuses to know keys and files.
"""

import argparse
import sys

from controller.wire import Action, Layer, Mode, OrderBody
from firmware_bridge.errors import BadDocument, Problem
from hub import screen
from hub.draft import COMMAND, Wish
from hub.fleet import Fleet


def add_kinds(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]",
              common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser with its options for each thing that can be ordered."""
    sound = kinds.add_parser("sound", parents=[common], help="鸣响一个信号 / sound a signal")
    sound.add_argument("--signal", required=True, metavar="ID", help="信号 / signal, e.g. air-raid")
    programme = kinds.add_parser("programme", parents=[common], help="执行方案 / run a programme (9·18)")
    programme.add_argument("signal", metavar="ID", help="方案 / programme, e.g. henan-918")
    quiet = kinds.add_parser("quiet-test", parents=[common], help="静默检测 / test without sound")
    stop = kinds.add_parser("stop", parents=[common], help="停止 / stop what sounds or is armed")
    for parser in (sound, programme):
        parser.add_argument("--mode", required=True, choices=[Mode.LIVE.value, Mode.DRILL.value],
                            help="实战或演练 / the real thing, or a drill")
        parser.add_argument("--at", required=parser is programme, metavar="WHEN",
                            help="10:00, 10:00:30, +90 (秒 seconds), 2026-09-18T10:00；省略为立即 / left out: now")
    for parser in (sound, quiet):
        parser.add_argument("--nonce", metavar="HEX",
                            help="无可信时间的网关所显示 / what a gateway in NO-TIME shows, for it alone")
    for parser in (sound, programme, quiet):
        add_selection(parser)
    add_stop(stop)
    return [sound, programme, quiet, stop]


def add_stop(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("--order", metavar="ID", help="只停此命令 / only what this order sounds")


def add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--area", required=True, metavar="41/01", help="区域 / area, by administrative codes")
    parser.add_argument("--layer", choices=[layer.value for layer in Layer], help="地上或地下 / one layer only")
    parser.add_argument("--siren", action="append", default=[], metavar="ID", help="只限此台 / only this (repeat)")
    parser.add_argument("--reason", metavar="TEXT", help="理由，签入并记入日志 / why: signed, and in the journal")


def wish(args: argparse.Namespace) -> Wish:
    layer = Layer(args.layer) if args.layer else None
    sirens = tuple(dict.fromkeys(args.siren))
    match args.kind:
        case "quiet-test":
            return Wish(Action.QUIET_TEST, Mode.SILENT, args.area, layer=layer, sirens=sirens,
                        reason=args.reason, nonce=args.nonce)
        case "stop":
            # Whether its signers may stop what is live is judged by what sounds; the mode says what it is for.
            return Wish(Action.STOP, Mode.LIVE, args.area, layer=layer, sirens=sirens, stops=args.order,
                        reason=args.reason)
        case _:
            return Wish(Action.SOUND, Mode(args.mode), args.area, args.signal, args.at, layer, sirens,
                        reason=args.reason, nonce=getattr(args, "nonce", None))


def check_targets(fleet: Fleet, body: OrderBody) -> None:
    """Nobody can be meant by mistake. A stop goes out anyhow: what sounds may be what we do not know."""
    targets = {s for sirens in fleet.targets(body).values() for s in sirens}
    if body.action is Action.STOP:
        return
    known = ", ".join(s.card.id for s in fleet.sirens()) or "none: is a gateway running?"
    unknown = [s for s in body.sirens or () if s not in targets]
    if unknown:
        raise BadDocument([Problem(COMMAND, "--siren", s, f"not in area {body.area}; known: {known}") for s in unknown])
    if not targets:
        raise BadDocument([Problem(COMMAND, "--area", body.area, f"no siren is known there; known: {known}")])


def confirm(body: OrderBody, yes: bool) -> bool:
    """A live order is typed, not clicked. False: it was not."""
    if yes or body.mode is not Mode.LIVE or body.action is Action.STOP:
        return True
    phrase = f"{body.area} {body.mode.value}"
    if not sys.stdin.isatty():
        remedy = "a live order is confirmed by hand; a program says --yes"
        raise BadDocument([Problem(COMMAND, "--yes", None, remedy)])
    print(f"实战命令，请键入 a live order; type: {screen.BOLD}{phrase}{screen.PLAIN}", file=sys.stderr)
    return sys.stdin.readline().strip() == phrase
