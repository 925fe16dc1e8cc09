"""启用签名的信任名单 / bring a signed trust list from a file (USB stick), as if the hub had sent it.

Anybody on the gateway may: it is the root keys' signatures that count. 任何人均可执行，只看根密钥的签名。
"""

import argparse
from pathlib import Path
from typing import Any

from controller.admission import MAX_LIST_BYTES
from controller.ctl import brought


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="`siren-hub trust sign` 的文件 / a signed trust list")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "trust", {"text": brought.text(args.file, MAX_LIST_BYTES)}


def show(answer: dict[str, Any]) -> None:
    why = " ".join(str(answer[part]) for part in ("reason", "detail") if part in answer)
    print(f"{answer.get('text', '')}{': ' if why else ''}{why}  (现行版本 version {answer.get('version')})")


def failed(answer: dict[str, Any]) -> bool:
    return bool(answer.get("trust") == "refused")
