"""挂牌锁定 / hang your tag on a siren, or on all of this site: nothing starts it until the tag is off.

Stop still works. What sounds on it is ended. The tag is yours: who hung it takes it off (`sirenctl untag`). It
outlives restarts and a journal that is restored, and nothing from the centre ends it. The answer comes when the disk
has it. Who works at the horn hangs one of his own, and takes the trapped key with him where there is one.
"""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器，或 all 全部 / siren id, or `all`")
    parser.add_argument("--reason", required=True, help="原因，60 字以内 / why, 60 characters at most")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "tag", {"siren": args.siren, "reason": args.reason}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    for siren, locks in answer["sirens"].items():
        print(f"  {siren:<10} {told(locks) or '无锁定 free'}", flush=True)


def told(locks: dict[str, Any]) -> str:
    """What locks a siren out, in words; empty: nothing."""
    tags = [f"挂牌 tag {t['person']} {t['since']} {t['reason']}" for t in locks["tags"]]
    return "; ".join((["钥匙 key"] if locks["key"] else []) + tags)
