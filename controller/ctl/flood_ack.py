"""确认积水告警 / acknowledge the alarms of a low-lying road, or one of them; at the cabinet also what latched.

A latched colour (boom, voice) is let go only here, after the water has gone: whoever stands there sees the road.
"""

import argparse
from typing import Any

from controller.ctl.flood import print_spot


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spot", help="积水点 / spot id")
    parser.add_argument("alarm", nargs="?", help="告警，缺省为全部 / e.g. red or red-suspected; else all")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "ack", {"spot": args.spot} | ({"alarm": args.alarm} if args.alarm else {})


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    for id, spot in answer["spots"].items():
        print_spot(id, spot)
