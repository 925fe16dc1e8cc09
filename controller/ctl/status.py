"""全站状态 / everything at once: clock, modes, lines with their units, devices, sirens, low-lying roads.

A siren's state is what the gateway knows, with the reason where there is one; a device that is silent is named.
"""

import argparse
from typing import Any

from controller.ctl import flood, tag

STATES = {
    "IDLE": "静默", "ARMED": "待鸣", "STARTING": "启动", "SOUNDING": "鸣响", "STOPPING": "停止中", "FAULT": "故障",
    "UNKNOWN": "未知",
    "online": "在线", "silent": "无应答", "unknown": "未知", "unlinked": "线路断开",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "status", {}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    hub = "已连接 connected" if answer["online"] else "未连接 offline"
    modes = " ".join(answer["modes"]) or "-"
    print(f"网关 Gateway  {answer['gateway']}  区域 area {answer['area']}")
    print(f"时间 Clock    {answer['wall']}  ({answer['clock']})   中心 hub {hub}   待发 outbox {answer['outbox']}")
    print(f"降级 Modes    {modes}   信任名单 trust list {answer['trust_version']}")
    if answer.get("nonce"):
        print(f"随机数 Nonce  {answer['nonce']}  签入命令可证其新鲜，5 分钟内一次有效"
              " / an order for this gateway that bears it is known as fresh, once, within 5 min")
    print("线路 Lines")
    for id, bus in answer["buses"].items():
        units = "  ".join(f"{n}:{u['standing']} {u['turnaround_ms']:g} ms" for n, u in bus["units"].items())
        print(f"  {id:<12} {bus['state']:<9} sent {bus['sent']}  answered {bus['answered']}  silent {bus['silent']}"
              f"  garbled {bus['garbled']}")
        if units:
            print(f"  {'':<12} {units}")
    print("设备 Devices")
    for id, device in answer["devices"].items():
        print(f"  {id:<12} {_state(device['state']):<22} {device['bus']}/{device['unit']}  {device['profile']}")
    print("警报器 Sirens")
    for id, siren in answer["sirens"].items():
        why = f"  {siren['why']}" if siren.get("why") else ""
        print(f"  {id:<12} {_state(siren['state']):<22} {siren['drive']:<12} {siren['name']}{why}")
        if locks := tag.told(siren["locks"]):
            print(f"  {'':<12} 已锁定 locked out: {locks}")
    if answer.get("spots"):
        print("积水点 Spots")
    for id, spot in answer.get("spots", {}).items():
        level = spot["points"].get("level_cm")
        depth = "-" if level is None else f"{level:g} cm"
        state = f"{flood.COLOURS.get(spot['state'], '')} {spot['state']}"
        print(f"  {id:<12} {state:<22} {depth:<12} {spot['name']}{'  ' + spot['why'] if spot['why'] else ''}")


def _state(state: str) -> str:
    return f"{STATES.get(state, '')} {state}".strip()
