"""`siren-hub order draft` and `siren-hub order sign`: an order that goes from hand to hand before it is given.

    draft  resolves it into the exact list of gateways and sirens, shows it, and writes a file that nobody has signed
    sign   shows what is in such a file, and adds one person's signature: with files alone, on a machine without network
    send   (`order.py`) hands it in

A second person sees on a machine of their own what the first saw: the list in the file is held to the digests in what
is signed. A private key is read by the command of the person whose it is, and by nothing else.
"""

import argparse
import time
import uuid
from pathlib import Path

from controller import wire
from controller.wire import Action
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Problem
from hub import file, keys, prepared, screen
from hub.client import Client, Refused, load
from hub.config import Config
from hub.draft import COMMAND
from hub.prepared import Prepared
from hub.wish import add_kinds, check_targets, confirm, wish


def add_parsers(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    draft = kinds.add_parser("draft", help="拟制命令文件，待签 / into a file, for others to sign")
    for parser in add_kinds(draft.add_subparsers(dest="kind", required=True, metavar="KIND"), common):
        parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="命令文件 / the order's file")
        parser.add_argument("--split", action="store_true",
                            help="目标过多时按下级区域分成几个文件 / several files where one order is too large")
        parser.set_defaults(act=_draft)
    sign = kinds.add_parser("sign", parents=[common], help="查看并签名 / look at a file, and sign it")
    sign.add_argument("file", type=Path, help="`order draft` 的文件 / what `order draft` wrote")
    sign.add_argument("--key", action="append", required=True, type=Path, metavar="FILE",
                      help="本人密钥 / your key file")
    sign.add_argument("--out", type=Path, metavar="FILE", help="写入 / into this file; else in place")
    sign.add_argument("--yes", action="store_true", help="不再确认 / ask nothing")
    sign.set_defaults(act=_sign)


def read(path: Path) -> Prepared:
    return prepared.read(document.read_text(path).encode(), str(path))


async def _draft(args: argparse.Namespace, config: Config) -> int:
    meant = wish(args)
    client = Client(config)
    # What cannot be meant is told before anything is asked of the broker.
    drafts = [prepared.draft(client.plain(meant), {})]
    if meant.action is not Action.STOP:
        # A stop is for whatever sounds, and is drafted without looking who there is.
        async with client:
            plain = client.plain(meant)
            check_targets(client.fleet, plain)
            bodies = prepared.split(plain, client.fleet.meant(plain)) if args.split else [client.draft(meant)]
            if len(bodies) > 1:
                bodies = [body.model_copy(update={"id": uuid.uuid4().hex}) for body in bodies]
            for body in bodies:
                screen.print_lines(screen.plan(body, config.signals, client.fleet))
            drafts = [prepared.draft(body, client.fleet.meant(body)) for body in bodies]
    else:
        screen.print_lines([f"命令 Order  {screen.title(drafts[0].body, config.signals)}"])
    for one in drafts:
        out = args.out
        if len(drafts) > 1:
            out = out.with_name(f"{out.stem}-{one.body.area.replace('/', '-')}{out.suffix}")
        file.write(out, prepared.text(one).encode(), new=True)
        print(f"{out}: {screen.window(one.body)}\n  下一步 next: {COMMAND} order sign {out} --key ...")
    return 0


async def _sign(args: argparse.Namespace, config: Config) -> int:
    found, signers = read(args.file), load(args.key)
    body, wall_us = found.body, time.time_ns() // 1000
    if wall_us > wire.to_wall_us(body.expires_at):
        raise BadDocument([Problem(str(args.file), "expires_at", body.expires_at, "it is past; draft it anew")])
    before = prepared.standing(found, config.trusted, wall_us)
    if before.spoiled:
        raise BadDocument([Problem(str(args.file), "signatures", before.why, "no other can mend it; draft it anew")])
    again = [k for k in signers if k["kid"] in found.kids]
    if again:
        raise BadDocument([Problem(COMMAND, "--key", k.get("person", k["kid"]), "has signed it already; another person"
                                   " signs with a key of their own") for k in again])
    screen.print_lines(screen.sheet(found, config.signals))
    if not confirm(body, args.yes):
        raise Refused("未确认，未签名 not confirmed; nothing was signed")
    signed = prepared.signed(found, keys.cosign(found.raw, signers))
    after = prepared.standing(signed, config.trusted, wall_us)
    if after.spoiled:
        raise BadDocument([Problem(COMMAND, "--key", after.why, "gateways refuse it, and it would spoil the order; sign"
                                   " with a key of the trust list that hub.toml names")])
    out = args.out or args.file
    file.write(out, prepared.text(signed).encode(), new=False)
    print(f"{out}: 已签 signed by {', '.join(after.persons)}")
    if after.lacking is None:
        print(f"  签名已够 enough persons; 下一步 next: {COMMAND} order send {out}")
    else:
        print(f"  还差 still lacking: {screen.LACKING[after.lacking]} ({after.lacking});"
              f" 下一步 next: {COMMAND} order sign {out} --key ...")
    return 0
