"""退出最小安全模式 / put a gateway that crashed again and again back to full service, as a technician.

In SAFE-MIN it carries out live orders and stops only. What crashed it is in its log, and what was in hand is beside its
door (*.event-...): look first, for if it comes again the gateway crashes again. It ends by itself after a quiet hour.
"""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "leave-safe-min", {}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    print("已恢复全部功能 / in full service again")
