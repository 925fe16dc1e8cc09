"""点动试鸣 / sound one siren for at most 3 s (15 s with --maintenance), as a technician.

Everything longer needs a signed order: see `sirenctl order`. It is journaled and reported to the hub like any order.
"""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("siren", help="警报器 / siren id")
    parser.add_argument("--seconds", type=int, default=3, help="秒 / seconds, default 3")
    parser.add_argument("--maintenance", action="store_true", help="维护状态，至 15 秒 / up to 15 s")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "activate", {"siren": args.siren, "seconds": args.seconds, "maintenance": args.maintenance}


def failed(last: dict[str, Any]) -> bool:
    return last.get("stage") != "finished"


STAGES = {
    "received": "已收到", "accepted": "已受理", "started": "已启动", "sensed": "已检测到鸣响", "heard": "已听到",
    "trouble": "异常", "rejected": "拒绝", "finished": "完成", "failed": "失败", "stopped": "已停止", "expired": "过期",
}


def show(answer: dict[str, Any]) -> None:
    stage = str(answer.get("stage", ""))
    evidence = answer.get("evidence") or {}
    counts = ""
    if evidence.get("phases"):
        counts = f"  鸣响 phases {evidence['phases']}  已令 commanded {evidence['commanded']}" \
                 f"  检测 sensed {evidence['sensed']}  听到 heard {evidence['heard']}"
    why = "  ".join(str(answer[key]) for key in ("reason", "text") if answer.get(key))
    print(f"  {answer.get('siren', ''):<10} {STAGES.get(stage, '')} {stage}  {why}{counts}", flush=True)
