"""启用签名的积水自动规则 / bring the signed flood policy from a file: by which rules sirens may sound of themselves.

Anybody on the gateway may: it is the signatures of a commander and a hydrologist that count.
任何人均可执行，只看指挥员与水文人员两人的签名。
"""

import argparse
from pathlib import Path
from typing import Any

from controller.policy import MAX_POLICY_BYTES


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="`siren-hub policy sign` 的文件 / a signed policy")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    try:
        with args.file.open(encoding="utf-8") as file:
            # One more than a policy may have: the gateway says that it is too large.
            return "policy", {"text": file.read(MAX_POLICY_BYTES + 1)}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{args.file}: {error}") from None


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    print(f"{answer.get('text', '')}  (版本 version {answer.get('policy')})")
