"""`siren-hub`: the centre. The resident hub, an operator's orders, and what there is to see.

Every verb reads a hub.toml: `--config`, or $SIREN_HUB_CONFIG, or ./hub.toml, or the demo's. Bad input of any kind
ends with exit 2 and a line for each thing wrong: file, key, value, remedy.
"""

import argparse
import datetime
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from controller import certificate
from firmware_bridge.errors import BadDocument, Problem
from hub import acl, audit, config, flood, keys, listing, look, order, policy, resident, trust
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
    check = verbs.add_parser("check", parents=[common], help="只检查配置 / only check; exit 2 when something is wrong")
    check.set_defaults(run=_checked)
    order.add_parsers(verbs, common)
    trust.add_parsers(verbs, common)
    look.add_parsers(verbs, common)
    flood.add_parsers(verbs, common)
    policy.add_parsers(verbs)
    listed = verbs.add_parser("acl", help="生成 mosquitto 访问表 / mosquitto's access list, from the fleet")
    listed.add_argument("file", type=Path, metavar="FILE", help="fleet.toml，或指明它的 hub.toml / or a hub.toml")
    listed.add_argument("--out", type=Path, metavar="FILE", help="写入文件 / into this file, whole or not at all")
    listed.set_defaults(alone=_write_acl)
    audit.add_parsers(verbs)
    key = verbs.add_parser("key", help="操作员密钥 / an operator's key")
    kinds = key.add_subparsers(dest="kind", required=True, metavar="KIND")
    new = kinds.add_parser("new", help="生成新密钥 / make a new one")
    new.add_argument("person", help="姓名 / whose it is")
    new.add_argument("--root", action="store_true", help="根密钥，只签信任名单 / a root key: signs trust lists only")
    new.add_argument("--out", required=True, type=Path, metavar="FILE", help="私钥文件 / the private key's file")
    new.set_defaults(alone=_new_key)
    return out


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    # A connection that goes is told in our words; what the libraries say of it beside is noise.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        if hasattr(args, "alone"):
            # Needs no hub.toml.
            return int(args.alone(args))
        loaded = config.load(_file(args), args.settings)
        _check_broker_files(loaded, f"hub-{loaded.spec.hub.id}" if args.verb == "run" else None)
        return int(args.run(args, loaded))
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


def _check_broker_files(loaded: config.Config, identity: str | None) -> None:
    """The centre is nothing without its broker: what is wrong with certificates is told before anything starts."""
    problems = certificate.wrong_files(loaded.spec.mqtt, loaded.file.parent, str(loaded.file),
                                       datetime.datetime.now(datetime.UTC), identity)
    if problems:
        raise BadDocument(problems)


def _checked(args: argparse.Namespace, loaded: config.Config) -> int:
    if loaded.spec.fleet is not None:
        acl.load(loaded.path(loaded.spec.fleet.list))
    print(f"{loaded.file}: 正确 ok: {loaded.spec.hub.id}, {len(loaded.trusted.keys)} keys")
    return 0


def _write_acl(args: argparse.Namespace) -> int:
    text = acl.text(acl.load(args.file))
    if args.out is None:
        print(text, end="")
        return 0
    new = args.out.with_name(args.out.name + ".new")
    try:
        # mosquitto reads it under its own user, and nobody else needs to.
        new.write_text(text, encoding="utf-8")
        new.chmod(0o640)
        if args.out.exists():
            shutil.copystat(args.out, new)
            os.chown(new, args.out.stat().st_uid, args.out.stat().st_gid)
        new.replace(args.out)
    except OSError as error:
        remedy = "name a file that may be written"
        raise BadDocument([Problem(str(args.out), "--out", error.strerror, remedy)]) from None
    return 0


def _new_key(args: argparse.Namespace) -> int:
    key = keys.new_key(args.person, args.root)
    try:
        with open(os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(key, file, ensure_ascii=False, indent=2)
            file.write("\n")
    except OSError as error:
        remedy = "name a new file in a folder there is"
        raise BadDocument([Problem(str(args.out), "--out", error.strerror, remedy)]) from None
    if args.root:
        print(key["x"])
        told = "以上为根公钥，写入 [trust] roots 与名单 the above is the public root key, to be pinned and listed"
    else:
        print(json.dumps(listing.entry(key, time.time_ns() // 1000), ensure_ascii=False, indent=2))
        told = "以上修改后用 trust draft --add 加入名单 edit the above, and add it by `siren-hub trust draft --add`"
    print(f"{args.out}: 私钥勿外传 keep it private; {told}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
