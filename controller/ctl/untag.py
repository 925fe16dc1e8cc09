"""取下挂牌 / take your tag off a siren, or off all of this site.

The last one off, and the key free, puts it in service. Only who hung a tag takes it off. With --override somebody
listed under [local.commanders] in gateway.toml takes off the tags of others as well, with a reason; the centre is
told at once. 先确认无人在警报器旁 / make sure first that nobody is at the siren.
"""

import argparse
from typing import Any

from controller.ctl.tag import failed as failed
from controller.ctl.tag import show as show


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器，或 all 全部 / siren id, or `all`")
    parser.add_argument("--reason", default="", help="说明 / a word on it; needed with --override")
    parser.add_argument("--override", action="store_true", help="取下他人的牌 / take off the tags of others")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "untag", {"siren": args.siren, "reason": args.reason, "override": args.override}
