"""`siren-hub order` and `siren-hub stop`: an operator's order from the command line to its report.

Drafts it, shows what it will do, has a live one confirmed, signs it, hands it to the resident hub, follows the
receipts, and prints the report. Exit 0: every siren answered and none failed. 1: not so. 2: it was not given.
`order send` hands in what was drafted and signed elsewhere (`signing.py`).
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TextIO

from controller.wire import Action, OrderBody
from firmware_bridge.errors import BadDocument, Problem
from hub import keys, prepared, screen, signing, wish
from hub.client import Client, Refused, Unreachable, load
from hub.config import Config
from hub.dispatch import Dispatch
from hub.draft import COMMAND
from hub.event import Note
from hub.report import Report

FLUSH_S = 5.0
"""How long `--direct --no-wait` waits for the broker to have it."""
INTERRUPTED = 130


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    order = verbs.add_parser("order", help="下达命令 / give an order")
    kinds = order.add_subparsers(dest="kind", required=True, metavar="KIND")
    signing.add_parsers(kinds, common)
    send = kinds.add_parser("send", parents=[common], help="发送签名文件 / send a file that was drafted and signed")
    send.add_argument("file", type=Path, help="`order sign` 的文件 / what `order sign` wrote")
    stop = verbs.add_parser("stop", parents=[common], help="停止 / the same as `order stop`")
    wish.add_stop(stop)
    stop.set_defaults(kind="stop")
    for parser in (*wish.add_kinds(kinds, common), stop, send):
        if parser is not send:
            parser.add_argument("--key", action="append", default=[], type=Path, metavar="FILE",
                                help="签名密钥 / key file (repeat for more persons)")
        parser.add_argument("--json", action="store_true", help="最后一行为 JSON / the last line is one JSON object")
        parser.add_argument("--no-wait", action="store_true", help="不等结果 / do not follow it")
        parser.add_argument("--direct", action="store_true", help="不经总站 / send it without a resident hub")
        parser.add_argument("--yes", action="store_true", help="不再确认 / ask nothing")
        parser.set_defaults(act=_send if parser is send else _give)
    order.set_defaults(run=run)
    stop.set_defaults(run=run)


def run(args: argparse.Namespace, config: Config) -> int:
    try:
        return int(asyncio.run(args.act(args, config)))
    except (Unreachable, Refused) as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n总站继续执行 the hub goes on with it; 停止 to stop: {COMMAND} stop --area ...", file=sys.stderr)
        return INTERRUPTED


async def _give(args: argparse.Namespace, config: Config) -> int:
    """Draft it, show it, sign it and hand it in, all at once."""
    client, meant, signers = _client(args, config), wish.wish(args), load(args.key or config.keys)
    # What cannot be meant is told before anything is asked of the broker.
    client.plain(meant)
    async with client:
        body = client.draft(meant)
        wish.check_targets(client.fleet, body)
        screen.print_lines(screen.plan(body, config.signals, client.fleet), _talk(args))
        _confirm(args, body)
        if meant.at is None:
            # Its five minutes run from now, not from before somebody typed; its list is the one that was shown.
            body = client.plain(meant).model_copy(update={"prepared": body.prepared})
        return await _hand_in(args, config, client, keys.sign(body, signers), body)


async def _send(args: argparse.Namespace, config: Config) -> int:
    """Show once more what was drafted and signed elsewhere, and hand it in."""
    found = signing.read(args.file)
    standing = prepared.standing(found, config.trusted, time.time_ns() // 1000)
    if standing.spoiled or not found.kids:
        remedy = f"have it signed: {COMMAND} order sign {args.file} --key ..."
        raise BadDocument([Problem(str(args.file), "signatures", standing.why or None, remedy)])
    async with _client(args, config) as client:
        lines = screen.plan(found.body, config.signals, client.fleet)
        screen.print_lines([*lines, f"  已签 signed by {', '.join(standing.persons)}"], _talk(args))
        _confirm(args, found.body)
        return await _hand_in(args, config, client, found.raw, found.body)


def _client(args: argparse.Namespace, config: Config) -> Client:
    def told(note: Note) -> None:
        # Receipts are shown by the picture itself, states of before are no news, and a line would tear the picture.
        drawn = _talk(args).isatty()
        if note.what == "stop-direct" or (note.urgent and note.what not in {"receipt", "state"} and not drawn):
            print(screen.note(note), file=sys.stderr)

    return Client(config, told, args.direct)


def _confirm(args: argparse.Namespace, body: OrderBody) -> None:
    if not wish.confirm(body, args.yes):
        raise Refused("未确认，未发送 not confirmed; nothing was sent")


async def _hand_in(args: argparse.Namespace, config: Config, client: Client, raw: bytes, body: OrderBody) -> int:
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
            if not await client.given(FLUSH_S):
                raise Unreachable("消息服务器未确认，命令可能未发出 / the broker did not acknowledge it:"
                                  f" {body.id} may not have gone out. 看 look: {COMMAND} watch")
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
