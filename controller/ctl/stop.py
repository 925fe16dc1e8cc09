"""停止 / stop one siren or all of this site, at once. Anybody may; it is logged and needs no signature."""

import argparse
from typing import Any

from controller.ctl.activate import show as show


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器，或 all 全部 / siren id, or `all`")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "stop", {"siren": args.siren}


def failed(last: dict[str, Any]) -> bool:
    return last.get("stage") not in {"finished", "stopped"}
