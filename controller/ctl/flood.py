"""积水点 / the low-lying roads. Without more words: depth, colour, gauges, alarms, what stands beside the road, policy.

Also the digest of each spot, which a policy names: it changes with the depths, gauges and votes of gateway.toml.
"""

import argparse
from typing import Any

COLOURS = {"DRY": "无积水", "BLUE": "蓝", "YELLOW": "黄", "ORANGE": "橙", "RED": "红", "UNKNOWN": "未知"}


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "flood", {}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    policy = answer.get("policy")
    if "policy" in answer or "spots" in answer:
        told = f"{policy['version']}: {', '.join(policy['persons'])}" if policy else "无，警报器不自动鸣响 none"
        print(f"规则 Policy   {told}")
    for id, spot in answer.get("spots", {}).items():
        print_spot(id, spot)


def print_spot(id: str, spot: dict[str, Any]) -> None:
    points = spot["points"]
    level, red = points.get("level_cm"), points.get("to_red_s")
    depth = "-" if level is None else f"{level:g} cm"
    rise = points.get("rise_cm_min")
    more = (f"  涨 rises {rise:g} cm/min" if rise else "") + (f"  到红 red in {red} s" if red else "")
    print(f"{id:<12} {COLOURS.get(spot['state'], '')} {spot['state']}  {depth}{more}  {spot['name']}")
    if spot["why"]:
        print(f"  {spot['why']}")
    print(f"  分级 depths    {'  '.join(f'{c} {cm:g}' for c, cm in spot['depths'].items())}   digest {spot['digest']}")
    for gauge, one in spot["gauges"].items():
        value = f"{one['value']:g}" if one["good"] and one["value"] is not None else f"不可信 bad: {one['why']}"
        print(f"  水位计 gauge   {gauge:<12} {one['kind']:<10} {value}")
    for alarm, one in spot["alarms"].items():
        if one["state"] != "NORMAL":
            print(f"  告警 alarm     {alarm:<18} {one['state']}  {one['raised_last_hour']} 次/小时 an hour")
    for what, words in (("sign", "屏 sign"), ("beacon", "灯 beacon"), ("boom_closed", "道闸 boom down"),
                        ("voice", "语音 voice")):
        if what in points:
            shown = points[what] if points[what] not in ("", None) else "未确认 not confirmed"
            print(f"  {words:<14} {shown}")
