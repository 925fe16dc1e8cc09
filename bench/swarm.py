"""How fast made-up time passes: a minute of a small site with signed orders, and a gateway with twelve devices.

Two figures. *Scenarios a second*: one-minute lives of four devices polled each second, an order signed, verified and
sounded in each, on so many processes. *Simulated over real*: one gateway with twelve devices on two lines, polled as
their profiles say, at rest. The last line is JSON.

    .venv/bin/python -m bench.swarm [--jobs 2] [--scenarios 40]
"""

import argparse
import json
import multiprocessing
import time
from typing import Any

from bench import office
from bench.office import Desk
from controller import wire
from firmware_bridge.profile import Profile
from simulators import hamlet
from simulators.world import World

MINUTE_S = 60.0
POLL_MS = 1000
WANTED_PER_S, WANTED_RATIO = 40.0, 500.0


def place(units: list[tuple[str, str]], sirens: list[dict[str, Any]], wires: list[dict[str, Any]]) -> hamlet.Place:
    """One gateway; `units` are (line, profile)."""
    lines = list(dict.fromkeys(line for line, _ in units))
    numbered = [{"id": f"u-{n}", "line": line, "unit": n, "profile": profile} for n, (line, profile)
                in enumerate(units, 1)]
    return {
        "site": {"site": {"id": "bench", "profiles": "profiles"},
                 "line": [{"id": id, "kind": "rtu", "path": f"run/{id}", "baud": 19200} for id in lines],
                 "unit": numbered, "wire": wires},
        "gateways": [{
            "gateway": {"id": "gw-1", "area": f"{hamlet.AREA}/001/001", "deployment": "demo"},
            "clock": {"source": "assumed"}, "journal": {"path": "run/journal.db"},
            "mqtt": {"host": "127.0.0.1", "port": 1883}, "local": {"socket": "run/door.sock"},
            "trust": {"list": "trust.json", "roots": list(hamlet.ROOTS), "threshold": 2},
            "profiles": {"folder": "profiles"}, "signals": {"files": ["signals.toml"]},
            "bus": [{"id": id, "link": f"serial:run/{id}", "baud": 19200} for id in lines],
            "device": [{"id": u["id"], "bus": u["line"], "unit": u["unit"], "profile": u["profile"]} for u in numbered],
            "siren": sirens}],
    }


def four() -> hamlet.Place:
    """A board, a meter, a gauge and a head."""
    sirens: list[dict[str, Any]] = [
        {"id": "s-1", "type": "motor", "drive": "u-1.1", "feedback": [{"point": "u-2.current_1", "above": 2.0}],
         "spool_up_s": 1.0, "spool_down_s": 2.0},
        {"id": "s-2", "type": "electronic", "drive": "u-4", "feedback": [{"point": "u-4.activation"}]},
    ]
    wires = [{"from": "u-1.1", "to": "u-2.current_1", "value_on": 8.5, "value_off": 0.0}]
    kinds = ("waveshare_rtu_relay", "generic_input_module", "qdy30a", "federal_signal_informer")
    return place([("line-1", kind) for kind in kinds], sirens, wires)


def twelve() -> hamlet.Place:
    kinds = ("waveshare_rtu_relay", "generic_input_module", "qdy30a", "dyp_ultrasonic", "sonbest_sm7901",
             "federal_signal_informer")
    units = [(line, kind) for line in ("line-1", "line-2") for kind in kinds]
    sirens = [{"id": f"s-{n}", "type": "motor", "drive": f"u-{n}.1"} for n in (1, 7)]
    return place(units, sirens, [{"from": f"u-{n}.1"} for n in (1, 7)])


def each_second(profile: Profile) -> None:
    """Polled each second, what its profile would have polled more often."""
    for point in profile.points.values():
        if point.spec.poll_ms is not None and point.spec.poll_ms < POLL_MS:
            object.__setattr__(point.spec, "poll_ms", POLL_MS)


def lives(count: int) -> int:
    """So many minutes, each with a warning; how often a contact closed."""
    plan, configs = hamlet.build(four())
    for profile in plan.profiles.values():
        each_second(profile)
    closed = 0
    for n in range(count):
        world = World(plan, configs, office.trusted())
        desk = Desk(hamlet.signals(), f"{n:06x}")
        world.run(5)
        world.order(desk.live(world.wall_us).data, wire.order_topic(office.DISTRICT, False))
        world.run(MINUTE_S - 5)
        closed += sum(c.on for c in world.contacts)
    return closed


def ratio() -> float:
    plan, configs = hamlet.build(twelve())
    world = World(plan, configs, office.trusted())
    world.run(10)
    began = time.process_time()
    world.run(MINUTE_S)
    return MINUTE_S / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scenarios", type=int, default=40, help="一分钟情景数 / lives of one minute")
    args = parser.parse_args()
    simulated = max(ratio() for _ in range(3))
    share = max(1, args.scenarios // args.jobs)
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        pool.map(lives, [1] * args.jobs)
        began, used = time.monotonic(), time.process_time()
        closed = sum(pool.map(lives, [share] * args.jobs))
        took = time.monotonic() - began
    per_s = share * args.jobs / took
    print(f"{per_s:.1f} one-minute lives a second on {args.jobs} processes (wanted {WANTED_PER_S:g});"
          f" {closed} closings; a gateway with twelve devices runs {simulated:.0f} times as fast as time"
          f" (wanted {WANTED_RATIO:g})")
    print(json.dumps({"lives_per_s": round(per_s, 2), "jobs": args.jobs, "closings": closed,
                      "simulated_over_real": round(simulated, 1), "spent_s": round(time.process_time() - used, 3)}))


if __name__ == "__main__":
    main()
