"""一条线路 / one line: its use, its errors by kind, each unit's turnarounds, the last frames in hex and in words."""

import argparse
from typing import Any

SHOWN = 16
"""Frames that fit a terminal with the rest; --json has all that are kept."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bus", help="线路 / line id, as in status")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "bus", {"bus": args.bus}


def failed(last: dict[str, Any]) -> bool:
    return False


ERRORS = {
    "silent": "无应答", "garbled": "乱码", "refused": "拒绝", "late": "迟到", "early": "重复", "foreign": "外来",
}
"""What can go wrong with an answer: none came, noise, an exception, after its time, a second copy, not ours."""


def show(answer: dict[str, Any]) -> None:
    figures = answer["figures"]
    use = answer["use"]
    share = "使用率 use -" if use is None else f"使用率 use {use['share']:.0%} (近 last {use['over_s']:.0f} s)"
    print(f"线路 Line   {answer['bus']}  {figures['state']}  {share}")
    print(f"事务 Counts  发出 sent {figures['sent']}  应答 answered {figures['answered']}"
          f"  让路 preempted {figures['preempted']}"
          f"  等待 waiting {figures['waiting']}  占用 busy {figures['busy_s']:.0f} s")
    print("错误 Errors  " + "  ".join(f"{words} {name} {figures[name]}" for name, words in ERRORS.items()))
    tops = [f"<={top}" for top in answer["turnaround_ms"]["up_to"]] + ["more"]
    print(f"单元 Units  {'应答时间 turnaround, ms':<22}" + "".join(f"{top:>7}" for top in tops))
    counts = answer["turnaround_ms"]["answers"]
    for unit, known in answer["units"].items():
        row = "".join(f"{n:>7}" for n in counts.get(unit, [0] * len(tops)))
        print(f"  {unit:>5}  {known['standing']:<12} {known['turnaround_ms']:>7g} ms  {row}")
    print("最近帧 Last frames  (-> 发 sent, <- 收 received)")
    for frame in answer["frames"][-SHOWN:]:
        arrow = "->" if frame["ours"] else "<-"
        print(f"  {-frame['ago_s']:>9.3f} s {arrow} {frame['hex']:<40} {frame['words']}")
