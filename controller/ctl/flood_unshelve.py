"""恢复搁置的积水告警 / put a shelved alarm of a low-lying road back into service."""

import argparse
from typing import Any

from controller.ctl.flood_ack import failed, show

__all__ = ["arguments", "failed", "question", "show"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spot", help="积水点 / spot id")
    parser.add_argument("alarm", help="告警 / e.g. red")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "unshelve", {"spot": args.spot, "alarm": args.alarm}
