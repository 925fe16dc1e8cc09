"""静音检测 / test a siren without sound: its own quiet test where it has one, else that it answers and is off."""

import argparse
from typing import Any

from controller.ctl.activate import failed as failed
from controller.ctl.activate import show as show


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器 / siren id")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "quiet-test", {"siren": args.siren}
