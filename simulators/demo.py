"""`make demo`: the main job, from a signed order at the hub to sirens on real lines, and the proof back.

A small city in processes: three gateways, two RS-485 lines at 9600 baud, a Modbus TCP endpoint, eight sirens of four
kinds, two gauges and a relay board that is dead. A drill programme of the national three is ordered for all, one siren
is stopped by order in its middle, and then the promises are judged from what the simulated devices logged themselves.
Ends by itself, leaves nothing running; exit 0 only when every promise was kept.

用真实进程演示全过程：中心下达签名演练命令，三个网关驱动八个警报器，并以设备自身的记录核对。
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from controller.wire import Action, to_wall_us
from simulators import promises
from simulators.city import ROOT, City, DidNotStart, exit_code, say_to_people
from simulators.promises import History, Ordered

STOPPED = "s-102"
LEAD_S = 12
"""From the order to the first edge: time for people to read what will happen."""
DEMANDED = ("AT-MOST-ONCE", "JOURNAL-FIRST", "STOP-WINS", "BOUNDED-ON", "HONEST", "ANSWERED", "GOLDEN", "NO-UNAUTH")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("make demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="最后一行为 JSON / the last line is one JSON object")
    parser.add_argument("--programme", default="demo-918", help="节目 / the programme to order (default: demo-918)")
    parser.add_argument("--area", default="41", help="区域 / the area to order (default: 41)")
    args = parser.parse_args(arguments)
    say = say_to_people(args.json)
    return exit_code(lambda: _shown(args.programme, args.area, say), say, args.json)


def _shown(programme: str, area: str, say: Callable[[str], None]) -> dict[str, Any]:
    began = time.monotonic()
    say("搭建城市 Setting up the city: 3 网关 gateways, 2 RS-485 lines at 9600 baud, 1 Modbus TCP, 8 警报器 sirens")
    with City() as city:
        say(f"就绪 Ready: broker {city.broker}, sirend x {len(city.configs)}, siren-hub  "
            f"({time.monotonic() - began:.1f} s)\n")
        figures = _run(city, programme, area, say)
    figures["seconds"] = round(time.monotonic() - began, 1)
    say(f"\n{'全部承诺已兑现 every promise was kept' if figures['kept'] else '有承诺未兑现 a promise was broken'}"
        f"   {figures['seconds']} s")
    return figures


def _run(city: City, programme: str, area: str, say: Callable[[str], None]) -> dict[str, Any]:
    hub = [sys.executable, "-m", "hub"]
    order = subprocess.Popen(
        [*hub, "order", "programme", programme, "--at", f"+{LEAD_S}", "--area", area, "--mode", "drill",
         "--json", *city.hub_arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT)
    city.running["order"] = order
    city.wait_for(lambda: _sounding(city) is not None, "the order")
    ordered = _sounding(city)
    assert ordered is not None
    assert ordered.start_wall_us is not None
    _wait_until(_stop_instant(city, ordered))
    stop = subprocess.run(
        [*hub, "stop", "--area", area, "--siren", STOPPED, "--order", ordered.body.id, "--json", *city.hub_arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=60)
    out, _ = order.communicate()
    city.running.pop("order")
    report = json.loads(out.splitlines()[-1]) if out.strip() else {}
    # The gateways end first, so that their journals are whole.
    codes = {name: city.stop(name) for name in city.gateways}
    history = city.history()
    verdicts = promises.judge(history)
    say("\n停止命令 Stop order   " + (stop.stderr.strip().splitlines() or ["-"])[0])
    say("\n承诺 Promises, judged from the devices' own log")
    for name, breaches in verdicts.items():
        say(f"  {'✓' if not breaches else '✗'} {name:<14} {'; '.join(breaches[:3])}")
    dead = sorted({e.subject for e in city.events() if e.what == "device-silent"})
    say(f"  无应答设备 silent devices, reported: {', '.join(dead) or '-'}")
    kept = all(not verdicts[name] for name in DEMANDED) and bool(history.soundings) and stop.returncode == 0
    return {
        "kept": kept and not any(codes.values()),
        "promises": {name: not breaches for name, breaches in verdicts.items()},
        "breaches": {name: breaches for name, breaches in verdicts.items() if breaches},
        "report": report, "stop_exit": stop.returncode, "silent_devices": dead, "daemon_exits": codes,
        "broker": city.broker, "soundings": len(history.soundings), **_edges(history),
    }


def _sounding(city: City) -> Ordered | None:
    """The order that sounds, once it went down."""
    if city.running["order"].poll() is not None:
        raise DidNotStart("siren-hub order ended before the order went down")
    return next((o for o in city.orders() if o.body.action is Action.SOUND), None)


def _stop_instant(city: City, ordered: Ordered) -> int:
    """In the middle of the last signal: wall time in microseconds."""
    assert ordered.body.sound is not None
    assert ordered.body.sound.start_at is not None
    last = city.configs[0].signals.timeline(ordered.body.sound.name).segments[-1]
    return to_wall_us(ordered.body.sound.start_at) + (last.start_us + last.end_us) // 2


def _wait_until(wall_us: int) -> None:
    time.sleep(max(0.0, wall_us / 1e6 - time.time()))


def _edges(history: History) -> dict[str, Any]:
    """How far the sirens' edges lay from the published pattern, in milliseconds, by the devices' log."""
    off = []
    for order in history.sounding_orders():
        for siren in order.sirens:
            for on, _ in history.phases_of(order, siren):
                off += [(s.on_wall_us - on) / 1000 for s in history.sounds_of(siren)
                        if abs(s.on_wall_us - on) < 3_000_000]
    return {"on_edges": len(off), "on_edge_worst_ms": round(max(map(abs, off)), 1) if off else None}


if __name__ == "__main__":
    sys.exit(main())
