"""水位计湿校 / check a gauge against a ruler: what it reads now, and what gateway.toml would have to say.

Put the gauge into water (or hold a board under one that looks down), read the depth over the road's lowest place from
a ruler, and give it with --depth. Wrong by some centimetres: set what is shown. Wrong by a factor: unit or decimals are
not what the profile says, and no number in gateway.toml mends that. Sign and beacon follow the water you made.
"""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spot", help="积水点 / spot id")
    parser.add_argument("gauge", help="水位计 / gauge id")
    parser.add_argument("--depth", type=float, metavar="CM", help="直尺读数，厘米 / what a ruler says, in cm")


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "wetcheck", {"spot": args.spot, "gauge": args.gauge} | (
        {} if args.depth is None else {"depth_cm": args.depth})


def failed(last: dict[str, Any]) -> bool:
    return not last.get("good")


def show(answer: dict[str, Any]) -> None:
    level = answer.get("level_cm")
    shown = f"{level:g}" if answer["good"] and level is not None else f"不可信 not believed: {answer.get('why', '')}"
    print(f"{answer['spot']}.{answer['gauge']} ({answer['kind']})  原值 raw {answer.get('raw')}"
          f" {answer.get('unit', '')}  水深 level {shown}")
    if "off_cm" in answer:
        (key, value), = answer["set"].items()
        print(f"  直尺 ruler {answer['depth_cm']:g} cm  偏差 off {answer['off_cm']:g} cm"
              f"  改为 set in gateway.toml: {key} = {value:g}")
    if "doubt" in answer:
        print(f"  {answer['doubt']}")
    for ago, value in answer.get("last_minutes", ()):
        print(f"  {ago:>6g} s  {value:g}")
