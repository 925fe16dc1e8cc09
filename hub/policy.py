"""`siren-hub policy`: the flood policy of one gateway, from its draft to two persons' signatures, as files.

    sign   a draft (`sirend policy gateway.toml` writes one) by one key or several; one that others signed, by one more
    show   what it lets which sirens do, and who signed

A commander and a hydrologist sign, two persons. Whether it rules is the gateway's to say: `sirend check`, or
`sirenctl policy FILE`.
"""

import argparse
from pathlib import Path
from typing import Any

from controller import envelope, strictjson
from controller.envelope import Envelope
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Malformed, Problem
from hub import keys
from hub.draft import COMMAND

MAX_BYTES = 64 * 1024
MAX_SIGNATURES = 8
DRAFT = "name a draft that `sirend policy gateway.toml` wrote, or one that others signed"


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    policy = verbs.add_parser("policy", help="积水自动规则 / the flood policy: what may sound without a person")
    kinds = policy.add_subparsers(dest="kind", required=True, metavar="KIND")
    sign = kinds.add_parser("sign", help="签名 / sign a draft, or add a signature")
    sign.add_argument("file", type=Path, help="草稿或已签文件 / a draft, or a policy that others signed")
    sign.add_argument("--key", action="append", required=True, type=Path, metavar="FILE", help="密钥 / key (repeat)")
    sign.add_argument("--out", type=Path, metavar="FILE", help="写入 / into this file; else in place, of a signed one")
    sign.set_defaults(alone=_sign)
    show = kinds.add_parser("show", help="查看 / what it says, and who signed")
    show.add_argument("file", type=Path)
    show.set_defaults(alone=_show)


def _sign(args: argparse.Namespace) -> int:
    data = document.read_text(args.file).encode()
    signed, body = _read(data, str(args.file))
    if signed is None and args.out is None:
        raise BadDocument([Problem(COMMAND, "--out", None, "name the file of the signed policy; a draft is kept")])
    own = [keys.load_key(path) for path in args.key]
    raw = keys.sign_list(data.strip(), own) if signed is None else keys.cosigned(signed, own)
    (args.out or args.file).write_bytes(raw + b"\n")
    print(_page(body, envelope.opened(raw, MAX_BYTES, MAX_SIGNATURES).kids))
    return 0


def _show(args: argparse.Namespace) -> int:
    signed, body = _read(document.read_text(args.file).encode(), str(args.file))
    print(_page(body, () if signed is None else signed.kids))
    return 0


def _read(data: bytes, file: str) -> tuple[Envelope | None, dict[str, Any]]:
    try:
        look = strictjson.load(data, MAX_BYTES)
        if "rule" in look and "gateway" in look:
            return None, look
        opened = envelope.opened(data, MAX_BYTES, MAX_SIGNATURES)
        body = strictjson.load(opened.payload, MAX_BYTES)
        if "rule" in body and "gateway" in body:
            return opened, body
    except Malformed as error:
        raise BadDocument([Problem(file, "file", str(error), DRAFT)]) from None
    raise BadDocument([Problem(file, "file", "no flood policy", DRAFT)])


def _page(body: dict[str, Any], kids: tuple[str, ...]) -> str:
    lines = [f"规则 policy {body.get('version')}: 网关 gateway {body.get('gateway')}, {body.get('deployment')}"]
    for rule in body["rule"] if isinstance(body["rule"], list) else ():
        if isinstance(rule, dict):
            lines.append(f"  {rule.get('spot')}: {rule.get('from')} 起 and above -> {rule.get('sound')}"
                         f" ≤ {rule.get('max_duration_s')} s on {', '.join(map(str, rule.get('sirens') or ()))}")
    return "\n".join([*lines, *(f"  签名 signed {kid}" for kid in kids)])
