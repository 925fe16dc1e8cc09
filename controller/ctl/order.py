"""执行签名命令文件 / carry out a signed order from a file (USB stick), as if the hub had sent it."""

import argparse
import json
from pathlib import Path
from typing import Any

from controller.ctl.activate import failed as failed
from controller.ctl.activate import show as show


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="`siren-hub order sign` 的文件 / a signed order")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    try:
        return "order", {"text": _order(args.file.read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{args.file}: {error}") from None


def _order(text: str) -> str:
    """The signed order itself: a file of `siren-hub order` has beside it the list that its signers saw."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(whole, dict) and isinstance(whole.get("order"), dict):
        return json.dumps(whole["order"], separators=(",", ":"))
    return text
