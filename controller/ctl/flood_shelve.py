"""搁置积水告警 / take an alarm of a low-lying road out of service for some minutes: nothing sounds because of it.

Sign, beacon and boom still follow the water. At most 480 minutes; a restart, or `sirenctl flood unshelve`, puts it
back.
"""

import argparse
from typing import Any

from controller.ctl.flood_ack import failed, show

__all__ = ["arguments", "failed", "question", "show"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spot", help="积水点 / spot id")
    parser.add_argument("alarm", help="告警 / e.g. red or red-suspected")
    parser.add_argument("--minutes", type=float, default=60.0, help="分钟，最多 480 / at most 480 (default: 60)")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "shelve", {"spot": args.spot, "alarm": args.alarm, "minutes": args.minutes}
