"""sirenctl: the technician's command on the gateway.

Looks may be taken by anybody on the gateway; a stop as well. To sound, to test or to lock out, the unix user must be
named as a technician in gateway.toml. 查看和停止人人可用；试鸣、静音检测与挂牌须为 gateway.toml 中登记的技术员。
"""

import argparse
import json
import sys
from typing import Any

from controller.ctl import (
    activate,
    blackbox,
    bus,
    door,
    flood,
    flood_ack,
    flood_export,
    flood_shelve,
    flood_unshelve,
    flood_wetcheck,
    growl,
    leave_safe_min,
    order,
    policy,
    probe,
    quiet_test,
    read,
    record,
    replay,
    status,
    stop,
    tag,
    trust,
    untag,
    watch,
)
from firmware_bridge.errors import BadDocument

COMMANDS = {
    "status": status, "read": read, "bus": bus, "watch": watch, "activate": activate, "growl": growl, "stop": stop,
    "quiet-test": quiet_test, "order": order, "tag": tag, "untag": untag, "trust": trust,
    "leave-safe-min": leave_safe_min, "flood": flood, "flood ack": flood_ack, "flood shelve": flood_shelve,
    "flood unshelve": flood_unshelve, "flood wetcheck": flood_wetcheck, "policy": policy,
}
"""Each asks the gateway one question and shows its answers. A name of two words stands under the first."""
TOOLS = {"probe": probe, "record": record, "blackbox": blackbox, "replay": replay,
         "flood export": flood_export}
"""For adding a device, and for looking into what happened: these do more than ask."""


def commands_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sirenctl", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", help="网关本地接口 / the gateway's local door (default: $SIREN_SOCKET, or found)")
    parser.add_argument("--json", action="store_true", help="原样 JSON / answers as they are, one JSON object a line")
    parsers: dict[str, argparse.ArgumentParser] = {}
    under = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for name, module in (COMMANDS | TOOLS).items():
        group, _, word = name.rpartition(" ")
        if group not in under:
            under[group] = parsers[group].add_subparsers(metavar="ACT")
        manual = module.__doc__ or ""
        sub = under[group].add_parser(word, help=manual.split("\n", 1)[0], description=manual,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
        module.arguments(sub)
        sub.set_defaults(command=name)
        parsers[name] = sub
    return parser


def main(argv: list[str] | None = None) -> None:
    args = commands_parser().parse_args(argv)
    try:
        code = TOOLS[args.command].run(args) if args.command in TOOLS else _ask(args)
    except (door.NoGateway, BadDocument, ValueError) as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _ask(args: argparse.Namespace) -> int:
    module = COMMANDS[args.command]
    verb, question = module.question(args)
    patience_s = door.ANSWER_S if args.command in {"status", "read", "bus"} else None
    last: dict[str, Any] = {}
    for last in door.ask(door.place(args.socket), verb, question, patience_s):
        if args.json:
            print(json.dumps(last, ensure_ascii=False), flush=True)
        elif "error" in last and not last.get("points"):
            print(last["error"], file=sys.stderr)
        else:
            module.show(last)
    return 1 if "error" in last else int(module.failed(last))


if __name__ == "__main__":
    main()
