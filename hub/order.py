"""`siren-hub order` and `siren-hub stop`: an operator's order from the command line to its report.

Drafts it, shows what it will do, has a live one confirmed, signs it, hands it to the resident hub, follows the
receipts, and prints the report. Exit 0: every siren answered and none failed. 1: not so. 2: it was not given.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TextIO

from controller import trust
from controller.wire import Action, Layer, Mode, OrderBody
from firmware_bridge.errors import BadDocument, Problem
from hub import keys, screen
from hub.client import Client, Refused, Unreachable, load
from hub.config import Config
from hub.dispatch import Dispatch
from hub.draft import COMMAND, Wish
from hub.event import Note
from hub.report import Report

FLUSH_S = 5.0
"""How long `--direct --no-wait` waits for the broker to have it."""
INTERRUPTED = 130


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    order = verbs.add_parser("order", help="下达命令 / give an order")
    kinds = order.add_subparsers(dest="kind", required=True, metavar="KIND")

    sound = kinds.add_parser("sound", parents=[common], help="鸣响一个信号 / sound a signal")
    sound.add_argument("--signal", required=True, metavar="ID", help="信号 / signal, e.g. air-raid")
    programme = kinds.add_parser("programme", parents=[common], help="执行方案 / run a programme (9·18)")
    programme.add_argument("signal", metavar="ID", help="方案 / programme, e.g. henan-918")
    quiet = kinds.add_parser("quiet-test", parents=[common], help="静默检测 / test without sound")
    stop = kinds.add_parser("stop", parents=[common], help="停止 / stop what sounds or is armed")
    short = verbs.add_parser("stop", parents=[common], help="停止 / the same as `order stop`")
    short.set_defaults(kind="stop")
    send = kinds.add_parser("send", parents=[common], help="发送签名文件 / send a signed file; --key signs it too")
    send.add_argument("file", type=Path, help="`--out` 写出的文件 / what --out wrote")

    for parser in (sound, programme, quiet, stop, short):
        parser.add_argument("--area", required=True, metavar="41/01", help="区域 / area, by administrative codes")
        parser.add_argument("--layer", choices=[layer.value for layer in Layer], help="地上或地下 / one layer only")
        parser.add_argument("--siren", action="append", default=[], metavar="ID", help="只限此台 / only this (repeat)")
        parser.add_argument("--reason", metavar="TEXT", help="理由，签入并记入日志 / why: signed, and in the journal")
        parser.add_argument("--out", type=Path, metavar="FILE",
                            help="只签名存档，不发送 / sign into a file, for another person to sign and send")
    for parser in (sound, programme):
        parser.add_argument("--mode", required=True, choices=[Mode.LIVE.value, Mode.DRILL.value],
                            help="实战或演练 / the real thing, or a drill")
        parser.add_argument("--at", required=parser is programme, metavar="WHEN",
                            help="10:00, 10:00:30, +90 (秒 seconds), 2026-09-18T10:00；省略为立即 / left out: now")
    for parser in (sound, quiet):
        parser.add_argument("--nonce", metavar="HEX",
                            help="无可信时间的网关所显示 / what a gateway in NO-TIME shows, for it alone")
    for parser in (stop, short):
        parser.add_argument("--order", metavar="ID", help="只停此命令 / only what this order sounds")
    for parser in (sound, programme, quiet, stop, short, send):
        parser.add_argument("--key", action="append", default=[], type=Path, metavar="FILE",
                            help="签名密钥 / key file (repeat for more persons)")
        parser.add_argument("--json", action="store_true", help="最后一行为 JSON / the last line is one JSON object")
        parser.add_argument("--no-wait", action="store_true", help="不等结果 / do not follow it")
        parser.add_argument("--direct", action="store_true", help="不经总站 / send it without a resident hub")
        parser.add_argument("--yes", action="store_true", help="不再确认 / ask nothing")
        parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: Config) -> int:
    try:
        return asyncio.run(_run(args, config))
    except (Unreachable, Refused) as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n总站继续执行 the hub goes on with it; 停止 to stop: {COMMAND} stop --area ...", file=sys.stderr)
        return INTERRUPTED


async def _run(args: argparse.Namespace, config: Config) -> int:
    def told(note: Note) -> None:
        # Receipts are shown by the picture itself, states of before are no news, and a line would tear the picture.
        drawn = _talk(args).isatty()
        if note.what == "stop-direct" or (note.urgent and note.what not in {"receipt", "state"} and not drawn):
            print(screen.note(note), file=sys.stderr)

    client = Client(config, told, args.direct)
    if args.kind == "send":
        raw, body = _signed_file(args)
        wish, signers = None, []
    else:
        wish, signers = _wish(args), load(args.key or config.keys)
        raw, body = b"", client.draft(wish)
        if args.out is not None:
            return _write(args, config, keys.sign(body, signers), body)
    async with client:
        talk = _talk(args)
        _check_targets(client, body)
        screen.print_lines(screen.plan(body, config.signals, client.fleet), talk)
        if not args.yes and body.mode is Mode.LIVE and body.action is not Action.STOP:
            _confirm(body)
        if wish is not None:
            if wish.at is None:
                # Its five minutes run from now, not from before somebody typed.
                body = client.draft(wish)
            raw = keys.sign(body, signers)
        dispatch = await _follow(args, config, client, raw, body)
        if args.no_wait:
            _result(args, {"order": body.id, "taken": True}, f"已下达 given: {body.id}")
            return 0
        report = client.report(dispatch)
        _result(args, report.as_json(), report.text())
        return 0 if _went_well(report) else 1


def _talk(args: argparse.Namespace) -> TextIO:
    """Where what is for people goes: with --json standard output is for programs."""
    return sys.stderr if args.json else sys.stdout


async def _follow(args: argparse.Namespace, config: Config, client: Client, raw: bytes, body: OrderBody) -> Dispatch:
    talk = _talk(args)
    view = screen.Live(talk) if talk.isatty() else screen.Lines(talk)
    dispatch: Dispatch | None = None
    async for dispatch in client.hand_in(raw, body):
        if args.no_wait:
            await asyncio.wait({asyncio.ensure_future(client.flush())}, timeout=FLUSH_S)
            break
        view.show(dispatch, config.signals, client.fleet)
    assert dispatch is not None
    return dispatch


def _went_well(report: Report) -> bool:
    # A stop for sirens that nobody knows has no answer to wait for.
    return report.good or (report.order.action is Action.STOP and report.total.ordered == 0)


def _result(args: argparse.Namespace, data: dict[str, object], text: str) -> None:
    """For people, and with --json for programs too."""
    print(text, file=_talk(args), flush=True)
    if args.json:
        print(json.dumps(data, ensure_ascii=False), flush=True)


def _wish(args: argparse.Namespace) -> Wish:
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


def _check_targets(client: Client, body: OrderBody) -> None:
    """Nobody can be meant by mistake. A stop goes out anyhow: what sounds may be what we do not know."""
    targets = {s for sirens in client.fleet.targets(body).values() for s in sirens}
    if body.action is Action.STOP:
        return
    known = ", ".join(s.card.id for s in client.fleet.sirens()) or "none: is a gateway running?"
    unknown = [s for s in body.sirens or () if s not in targets]
    if unknown:
        raise BadDocument([Problem(COMMAND, "--siren", s, f"not in area {body.area}; known: {known}") for s in unknown])
    if not targets:
        raise BadDocument([Problem(COMMAND, "--area", body.area, f"no siren is known there; known: {known}")])


def _confirm(body: OrderBody) -> None:
    """A live order is typed, not clicked."""
    phrase = f"{body.area} {body.mode.value}"
    if not sys.stdin.isatty():
        remedy = "a live order is confirmed by hand; a program says --yes"
        raise BadDocument([Problem(COMMAND, "--yes", None, remedy)])
    print(f"实战命令，请键入 a live order; type: {screen.BOLD}{phrase}{screen.PLAIN}", file=sys.stderr)
    if sys.stdin.readline().strip() != phrase:
        raise Refused("未确认，未发送 not confirmed; nothing was sent")


def _write(args: argparse.Namespace, config: Config, raw: bytes, body: OrderBody) -> int:
    try:
        args.out.write_bytes(raw)
    except OSError as error:
        raise BadDocument([Problem(COMMAND, "--out", error.strerror, "name a file in a folder there is")]) from None
    print(f"{args.out}: {screen.title(body, config.signals)}\n"
          f"有效 valid {body.not_before} .. {body.expires_at}  下一步 next: {COMMAND} order send {args.out} --key ...")
    return 0


def _signed_file(args: argparse.Namespace) -> tuple[bytes, OrderBody]:
    try:
        raw = args.file.read_bytes()
        if args.key:
            raw = keys.cosign(raw, load(args.key))
        return raw, trust.peek(raw).body
    except (OSError, trust.Rejected, ValueError) as error:
        raise BadDocument([Problem(str(args.file), "file", str(error), "name a file written by --out")]) from None
