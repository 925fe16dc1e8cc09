"""`siren-hub`: the centre. The resident hub, an operator's orders, and what there is to see.

Every verb reads a hub.toml: `--config`, or $SIREN_HUB_CONFIG, or ./hub.toml, or the demo's. Bad input of any kind
ends with exit 2 and a line for each thing wrong: file, key, value, remedy.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_bridge.errors import BadDocument, Problem
from hub import config, keys, look, order, resident
from hub.draft import COMMAND

ENVIRONMENT = "SIREN_HUB_CONFIG"
DEFAULTS = (Path("hub.toml"), Path("configs/demo/hub.toml"))


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="hub.toml", help=f"配置 / configuration; else ${ENVIRONMENT} or ./hub.toml")
    common.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE",
                        help="覆盖一项 / override one key of it, e.g. mqtt.port=1884")
    out = argparse.ArgumentParser(prog=COMMAND, description="警报统控中心 / the centre of the sirens")
    verbs = out.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", parents=[common], help="常驻总站 / the resident hub: sends, re-sends, writes down")
    run.add_argument("file", nargs="?", metavar="hub.toml", help="同 --config / the same as --config")
    run.set_defaults(run=lambda args, loaded: resident.run(loaded))
    order.add_parsers(verbs, common)
    look.add_parsers(verbs, common)
    key = verbs.add_parser("key", help="操作员密钥 / an operator's key")
    kinds = key.add_subparsers(dest="kind", required=True, metavar="KIND")
    new = kinds.add_parser("new", help="生成新密钥 / make a new one")
    new.add_argument("person", help="姓名 / whose it is")
    new.add_argument("--out", required=True, type=Path, metavar="FILE", help="私钥文件 / the private key's file")
    new.set_defaults(run=_new_key, config=None)
    return out


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    # A connection that goes is told in our words; what the libraries say of it beside is noise.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        if args.verb == "key":
            return int(args.run(args))
        return int(args.run(args, config.load(_file(args), args.settings)))
    except BadDocument as bad:
        for problem in bad.problems:
            print(problem, file=sys.stderr)
        return 2


def _file(args: argparse.Namespace) -> Path:
    """The file that is named, the environment's, or the first default there is."""
    named = getattr(args, "file", None) if args.verb == "run" else None
    chosen = named or args.config or os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen)
    found = next((p for p in DEFAULTS if p.exists()), None)
    if found is None:
        looked = " or ".join(map(str, DEFAULTS))
        remedy = f"name a hub.toml, or set ${ENVIRONMENT}; there is none at {looked}"
        raise BadDocument([Problem(COMMAND, "--config", None, remedy)])
    return found


def _new_key(args: argparse.Namespace) -> int:
    key = keys.new_key(args.person)
    try:
        with open(os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(key, file, ensure_ascii=False, indent=2)
            file.write("\n")
    except OSError as error:
        remedy = "name a new file in a folder there is"
        raise BadDocument([Problem(str(args.out), "--out", error.strerror, remedy)]) from None
    print(json.dumps({key["kid"]: {"person": args.person, "key": keys.public(key)}}, ensure_ascii=False, indent=2))
    print(f"{args.out}: 私钥勿外传 keep it private; 以上列入信任名单 the above is for the trust list", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
