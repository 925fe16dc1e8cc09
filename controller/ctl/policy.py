"""启用签名的积水自动规则 / bring the signed flood policy from a file: by which rules sirens may sound of themselves.

Anybody on the gateway may: it is the signatures of a commander and a hydrologist that count.
任何人均可执行，只看指挥员与水文人员两人的签名。
"""

import argparse
from pathlib import Path
from typing import Any

from controller.ctl import brought
from controller.policy import MAX_POLICY_BYTES


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="`siren-hub policy sign` 的文件 / a signed policy")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "policy", {"text": brought.text(args.file, MAX_POLICY_BYTES)}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    print(f"{answer.get('text', '')}  (版本 version {answer.get('policy')})")
