"""低鸣检查 / let one siren growl: so short that the rotor turns and no signal is heard, as a technician.

How long is the siren's own `growl_ms` in gateway.toml, 3 s at most; the gateway sees to that. It is journaled and
reported to the hub like any order, and refused while the siren is isolated. `sirenctl stop` ends it.
"""

import argparse
from typing import Any

from controller.ctl.activate import failed as failed
from controller.ctl.activate import show as show


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器 / siren id")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "growl", {"siren": args.siren}
