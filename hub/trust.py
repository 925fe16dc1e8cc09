"""`siren-hub trust`: the trust list from its draft to the gateways. All but `send` works offline, with files alone.

    draft  a list to edit: the one before with the next version, or the first one
    sign   a draft by a root key; a list that others signed, by one more
    verify whether gateways that have another list (--after) would let it in, or, of the first, whether it is whole
    show   who is in it
    send   hand it to the resident hub, and wait until the gateways say that they have it
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import admission, signers, strictjson, wire
from controller.admission import Refused, SignedList
from controller.signers import TrustList
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Malformed, Problem
from hub import file, keys, listing
from hub.client import Client, Unreachable
from hub.client import Refused as NotTaken
from hub.config import Config
from hub.draft import COMMAND

WAIT_S = 30.0
"""Gateways that are there have a list within a second or two; a mobile line takes longer."""


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    trust = verbs.add_parser("trust", help="信任名单 / the trust list: who may order what")
    kinds = trust.add_subparsers(dest="kind", required=True, metavar="KIND")

    draft = kinds.add_parser("draft", help="起草 / a list to edit, before it is signed")
    draft.add_argument("before", nargs="?", type=Path, metavar="LIST", help="现行名单 / the list before, if any")
    draft.add_argument("--out", required=True, type=Path, metavar="FILE", help="草稿 / the draft's file")
    draft.add_argument("--deployment", metavar="NAME", help="首份名单的部署名 / of the first list")
    draft.add_argument("--add", action="append", default=[], type=Path, metavar="FILE",
                       help="新增（key new 的输出）/ entries, as `key new` prints them (repeat)")
    draft.add_argument("--remove", action="append", default=[], metavar="WHO",
                       help="吊销：姓名或密钥 / revoke: a person or a key's name (repeat)")
    draft.add_argument("--root", action="append", default=[], metavar="X",
                       help="全部根公钥 / the public root keys, all of them (repeat)")
    draft.add_argument("--threshold", type=int, metavar="M", help="所需根签名数 / how many of them sign")
    draft.set_defaults(alone=_draft)

    sign = kinds.add_parser("sign", help="用根密钥签名 / sign by a root key")
    sign.add_argument("file", type=Path, help="草稿或已签名单 / a draft, or a list that others signed")
    sign.add_argument("--key", action="append", required=True, type=Path, metavar="FILE",
                      help="根密钥 / root key (repeat)")
    sign.add_argument("--out", type=Path, metavar="FILE", help="写入 / into this file; else in place, of a signed list")
    sign.set_defaults(alone=_sign)

    verify = kinds.add_parser("verify", help="验证 / whether it would be let in")
    verify.add_argument("file", type=Path)
    verify.add_argument("--after", type=Path, metavar="LIST", help="现行名单 / the list that rules now")
    verify.set_defaults(alone=_verify)

    show = kinds.add_parser("show", help="查看 / who is in it")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="JSON")
    show.set_defaults(alone=_show)

    send = kinds.add_parser("send", parents=[common], help="下发 / to the gateways, through the resident hub")
    send.add_argument("file", type=Path)
    send.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help="等待网关 / wait for the gateways")
    send.set_defaults(run=_send)


def _draft(args: argparse.Namespace) -> int:
    wall_us = time.time_ns() // 1000
    if args.before is None:
        missing = [name for name in ("deployment", "root", "threshold") if not getattr(args, name)]
        if missing:
            raise BadDocument([Problem(COMMAND, f"--{name}", None, "the first list needs it; or name the list before")
                               for name in missing])
        before = listing.first(args.deployment, wall_us)
    else:
        if args.deployment is not None:
            raise BadDocument([Problem(COMMAND, "--deployment", args.deployment, "only of the first list; drop it")])
        before = _read(args.before).data
    made = listing.draft(before, wall_us, [_entries(path) for path in args.add], args.remove, args.root, args.threshold)
    file.write(args.out, listing.text(made).encode(), new=True)
    print(f"{args.out}: 版本 version {made['version']}, {len(made['keys'])} keys; 编辑后签名 edit it, then:"
          f" {COMMAND} trust sign {args.out} --key ROOT --out FILE")
    return 0


def _sign(args: argparse.Namespace) -> int:
    found = _read(args.file)
    trust, signed = found.trust, found.signed
    if signed is None and args.out is None:
        raise BadDocument([Problem(COMMAND, "--out", None, "name the file of the signed list; a draft is kept")])
    own = [keys.load_key(path, root=True) for path in args.key]
    raw = keys.sign_list(listing.payload(found.data), own) if signed is None else keys.cosign_list(signed, own)
    file.write(args.out or args.file, raw + b"\n", new=False)
    print(listing.page(trust, admission.peek(raw).kids, time.time_ns() // 1000))
    strangers = [k["person"] for k in own if k["kid"] not in trust.roots.by_name]
    if strangers:
        print(f"注意 mind: {', '.join(strangers)}: 不在名单的根中 no root of this list, counts where it is one still")
    return 0


def _verify(args: argparse.Namespace) -> int:
    if args.after is None:
        found = admission.load(args.file, None, None)
        print(f"{args.file}: 完整 whole: version {found.version}, signed by enough of the roots it names:")
        print("\n".join(f"  {x}" for x in found.list.roots.keys))
        print("与已固定的根密钥核对 compare them with those that gateways pin; or say --after LIST")
        return 0
    before = admission.load(args.after, None, None)
    try:
        found = admission.admit(document.read_text(args.file).encode(), before.list.roots, before.list.deployment,
                                before, str(args.file))
    except Refused as refused:
        raise BadDocument(refused.problems) from None
    same = " (同一份 the same list)" if found is before else ""
    print(f"{args.file}: 可启用 would be let in after version {before.version}: version {found.version}{same}")
    print("\n".join(listing.news(before, found.list)))
    return 0


def _show(args: argparse.Namespace) -> int:
    found = _read(args.file)
    if args.json:
        print(json.dumps({**found.data, "signed_by": found.kids}, ensure_ascii=False))
    else:
        print(listing.page(found.trust, found.kids, time.time_ns() // 1000))
    return 0


def _send(args: argparse.Namespace, config: Config) -> int:
    pinned = config.spec.trust.pinned
    try:
        signed = admission.load(args.file, config.listed.list.roots, config.spec.hub.deployment)
    except BadDocument:
        # After a rotation the hub.toml may already pin the roots that the file of its list does not name yet.
        signed = admission.load(args.file, pinned, config.spec.hub.deployment)
    try:
        return asyncio.run(_hand_in(args, config, signed))
    except (Unreachable, NotTaken) as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2


async def _hand_in(args: argparse.Namespace, config: Config, signed: SignedList) -> int:
    async with Client(config) as client:
        await client.hand_list(signed)
        print(f"总站已下发 the hub has published version {signed.version}")

        def behind() -> list[str]:
            hub = config.spec.hub
            births = [(g, g.birth) for g in client.fleet.gateways.values() if g.birth is not None]
            return [f"{g.id} ({g.presence.value}, version {birth.trust_version})" for g, birth in births
                    if birth.deployment == hub.deployment and wire.covers(hub.area, birth.area)
                    and birth.trust_version < signed.version]

        try:
            await client.until(lambda: not behind(), args.wait)
        except TimeoutError:
            print(f"尚未更新 not yet at: {', '.join(behind())}; 它们连接后自动取得 they get it when they connect, or by"
                  " `sirenctl trust FILE`")
            return 1
        print(f"全部网关已更新 all {len(client.fleet.gateways)} gateways have it")
    return 0


@dataclass(frozen=True)
class _Found:
    """A list, its JSON, and, where it is signed, the whole file and who signed it."""

    trust: TrustList
    data: dict[str, Any]
    signed: bytes | None = None
    kids: tuple[str, ...] = ()


def _read(path: Path) -> _Found:
    """A draft, or a list with whatever signatures it has; BadDocument tells what is wrong with either."""
    whole = document.read_text(path).encode()
    try:
        opened = admission.peek(whole)
    except Malformed:
        return _Found(signers.parse(whole.decode(), str(path)), json.loads(whole))
    trust = signers.parse(opened.payload.decode(errors="replace"), str(path))
    return _Found(trust, json.loads(opened.payload), whole, opened.kids)


def _entries(path: Path) -> dict[str, Any]:
    try:
        return strictjson.load(document.read_text(path).encode(), wire.MAX_ORDER_BYTES)
    except Malformed as error:
        raise BadDocument([Problem(str(path), "file", str(error), "name what `siren-hub key new` printed")]) from None
