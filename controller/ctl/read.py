"""读一台设备 / read a device, or one point of it, now.

Each point is shown with its unit, how far it may be believed, and its age. Points without a value say why.
"""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", help="设备 / device id, as in status")
    parser.add_argument("point", nargs="?", help="点 / one point; default: all that can be read")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "read", {"device": args.device} | ({"point": args.point} if args.point else {})


def failed(last: dict[str, Any]) -> bool:
    return any(row["quality"] == "bad" for row in last["points"])


def show(answer: dict[str, Any]) -> None:
    for row in answer["points"]:
        value = "-" if row["value"] is None else row["value"]
        if isinstance(value, float):
            value = f"{value:g}"
        age = "" if row["age_s"] is None else f"{row['age_s']:g} s"
        why = f"({row['why']})" if row["why"] else ""
        print(f"  {row['point']:<20} {value!s:>12} {row['unit']:<5} {row['quality']:<10} {age:>8} {why}")
    if answer.get("error"):
        print(answer["error"])
