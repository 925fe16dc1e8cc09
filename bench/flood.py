"""A flooding road: does it warn in time, does it ever start a siren for nothing, does it ever miss red water?

`deluge.py` plays two hours of chance water at one spot, with one gauge of four that goes wrong in one of twelve ways,
and judges by the true depth. `underpass.py` plays a whole gateway over simulated lines. The ledger keeps what was
played, so that a long run goes on where it was; episodes of another core (another hash of CORE) do not count:

    .venv/bin/python -m bench.flood                                         # some minutes
    .venv/bin/python -m bench.flood --hours 100000 --ledger build/flood.jsonl # goes on from what is in the file
    .venv/bin/python -m bench.flood --seed 17                               # one episode, with every wrong thing told
    .venv/bin/python -m bench.flood --bus-episodes 17                       # a hundred sensor-hours through the bus
    .venv/bin/python -m bench.flood --real                                  # and on ptys, with `make demo-flood`
"""

import argparse
import ast
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench import measure, underpass
from bench.deluge import BEFORE_S, EPISODE_S, MARGIN_CM, RED_CM, STANDS_S, WATERS, Plan, Result, play, water
from bench.underpass import Ground, reaches_s
from firmware_bridge.machine import S
from simulators.city import City
from simulators.flood_demo import SPOT, door, sign, state
from simulators.storm import Storm, parse

ROOT = Path(__file__).resolve().parent.parent
CORE = (*(f"controller/{name}.py" for name in ("slope", "level", "vote", "alarm", "lookout", "rule", "spot")),
        "simulators/gauge.py", "simulators/storm.py", "bench/deluge.py", "configs/flood/scale-15-27-40.toml")
"""What a line of the ledger is true of: what is judged, and who judges."""
HOURS = 1000
"""Sensor-hours on the alarm machines where nothing else is said."""
PROCESSES = 2
CHUNK = 60
"""Episodes of one line of the ledger: five of each shape, 480 sensor-hours, half a minute."""
STEPS_CM = (6, 17, 30, 45)
"""Into each colour, a centimetre a second: a sign that waits out no delay is asked how late it is."""
STEP_AT_S = 20
SIGHT_S, BLIND_S = 5.0, 30.0
"""Bars: from the true depth to the text on the sign's line, with all gauges, and with any one of them dead."""
EARLY_S = 60.0
"""Bar: before red, in a flash flood of 15 cm a minute."""
DEAD = ("press-1", "sonar-1", "io-1")
FAULTS = ((), (("press-1", "dead", 1.0),), (("sonar-1", "vehicles", 0.3),), (("press-1", "stuck", 1.0),),
          (("io-1", "debris", 0.5),), (("sonar-1", "dead", 1.0),), (("press-1", "drifting", 0.3),))
"""What is wrong in an episode through the bus, in turn."""
GAUGES = 3
REAL_S = 400.0
WRONG = ("false starts", "missed events", "second starts")
STORIES = 10
"""Wrong things told in words; all are counted."""


@dataclass
class Sum:
    """What was found in many episodes."""

    seeds: list[list[int]] = field(default_factory=list)
    hours: float = 0.0
    found: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    bad: list[int] = field(default_factory=list)
    """Seeds of episodes with something wrong."""
    stories: list[str] = field(default_factory=list)

    def add(self, results: list[Result]) -> None:
        self.seeds.append([results[0].plan.seed, results[-1].plan.seed])
        for one in results:
            self.hours += one.sensor_hours
            self.found.update(one.found)
            self.shapes[one.plan.shape] += 1
            self.bad += [one.plan.seed] * any(one.found[wrong] for wrong in WRONG)
            self.stories += [f"seed {one.plan.seed}: {story}" for story in one.stories]

    @property
    def next_seed(self) -> int:
        return max((last for _, last in self.seeds), default=0) + 1

    def figures(self) -> dict[str, object]:
        return {"sensor_hours": round(self.hours), "seeds": [1, self.next_seed - 1], "events": self.found["events"],
                "starts": self.found["starts"], **{wrong.replace(" ", "_"): self.found[wrong] for wrong in WRONG},
                "episodes_of_each_shape": dict(sorted(self.shapes.items())), "bad_seeds": self.bad}


def run(seeds: range) -> Sum:
    """These episodes, here and now."""
    found = Sum()
    found.add([play(Plan(seed)) for seed in seeds])
    return found


def core() -> str:
    """The hash of CORE: of what it does, whatever is said beside it."""
    parts = []
    for name in CORE:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".py"):
            code = ast.parse(text)
            for node in ast.walk(code):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    node.body = [part for part in node.body
                                 if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
            text = ast.dump(code)
        parts.append(text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def recall(ledger: Path) -> Sum:
    """What the ledger has of this core. A line cut short by a crash is played again."""
    found, now = Sum(), core()
    for line in ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if one["core"] != now:
            continue
        found.seeds.append(one["seeds"])
        found.hours += one["hours"]
        found.found.update(one["found"])
        found.shapes.update(one["shapes"])
        found.bad += one["bad"]
    return found


def feed(hours: float, ledger: Path | None, processes: int) -> Sum:
    """Play until so many sensor-hours are in the ledger."""
    whole, now = recall(ledger) if ledger is not None else Sum(), core()
    if ledger is not None and ledger.exists():
        # What a crash left half written goes.
        lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        ledger.write_text("".join(line for line in lines if line.endswith("\n")), encoding="utf-8")
    with ProcessPoolExecutor(processes) as pool:
        while whole.hours < hours:
            first = whole.next_seed
            chunks = [range(first + n * CHUNK, first + (n + 1) * CHUNK) for n in range(processes)]
            for one in pool.map(run, chunks):
                for story in one.stories[: max(0, STORIES - len(whole.bad))]:
                    print(story, flush=True)
                whole.seeds += one.seeds
                whole.hours += one.hours
                whole.found += one.found
                whole.shapes += one.shapes
                whole.bad += one.bad
                if ledger is not None:
                    ledger.parent.mkdir(parents=True, exist_ok=True)
                    with ledger.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"core": now, "seeds": one.seeds[0], "hours": one.hours,
                                               "found": one.found, "shapes": one.shapes, "bad": one.bad}) + "\n")
            print(f"{whole.hours:.0f} sensor-hours, {whole.found['events']} events, wrong:"
                  f" {sum(whole.found[w] for w in WRONG)}", flush=True)
    return whole


# A whole gateway.


def step(to_cm: float) -> Storm:
    top_s = STEP_AT_S + to_cm
    return Storm("step", (0, STEP_AT_S * S, round(top_s * S), 600 * S), (0, 0, to_cm / 100, to_cm / 100), (0.0,) * 4)


def lags(ground: Ground, dead: str | None) -> list[float]:
    """Seconds from the true depth of the first colour to the first text on the sign's line, for each step."""
    out = []
    for to_cm in STEPS_CM:
        place, storm = ground.world(), step(to_cm)
        place.play(storm, STEP_AT_S + BLIND_S + 30, [(dead, "dead", 1.0)] if dead else [])
        crossed, warned = reaches_s(storm, min(place.depths.values())), place.warned_s()
        assert crossed is not None
        out.append(round(float("inf") if warned is None else warned - crossed, 2))
    return out


def early(ground: Ground) -> dict[str, float]:
    """How long before the true red the sign warned of a flash flood, for each fault."""
    path = underpass.CONFIGS / "storms/flash.csv"
    storm = parse(path.read_text(encoding="utf-8"), path.name)[0]
    red_s = reaches_s(storm, RED_CM)
    assert red_s is not None
    found = {}
    for faults in FAULTS:
        place = ground.world()
        place.play(storm, red_s + 10, faults)
        warned = place.warned_s()
        name = " ".join(faults[0][:2]) if faults else "well"
        found[name] = round(float("-inf") if warned is None else red_s - warned, 1)
    return found


def through_the_bus(ground: Ground, seed: int) -> Counter[str]:
    """Two hours of chance water; what the siren of the field did, against the true depth."""
    chance = Random(seed)
    storm = water(chance.choices(list(WATERS), list(WATERS.values()))[0], chance)
    place = ground.world()
    place.play(storm, EPISODE_S, FAULTS[seed % len(FAULTS)])
    starts, found = place.siren_s(), Counter[str]()
    levels = [storm.level_m(t * S) * 100 for t in range(EPISODE_S)]
    stood = max((run for run in _runs(levels)), default=0)
    asked = sum(b"flood-siren" in p.payload for _, p in place.world.stations["gw-nongye"].published
                if p.topic.endswith("/event"))
    found["events"] += stood >= STANDS_S
    found["starts"] += asked
    if starts and max(levels[max(0, int(starts[0]) - BEFORE_S): int(starts[0]) + 1]) < RED_CM - MARGIN_CM:
        found["false starts"] += 1
    found["missed events"] += stood >= STANDS_S and not starts
    found["second starts"] += max(0, asked - 1)
    return found


def _runs(levels: list[float]) -> list[int]:
    """How long red water stood, each time, in seconds."""
    out, here = [0], 0
    for cm in levels:
        here = here + 1 if cm >= RED_CM + MARGIN_CM else 0
        out.append(here)
    return out


def real_lag(dead: str | None) -> float:
    """As `lags`, for one step, with a real sirend and ptys: by the hardware's own log of requests."""
    city = City(gateways=("gateway.toml",), demo="flood")
    underpass.at_once(city.demo)
    sign(city.demo)
    (city.demo / "step.csv").write_text(f"time_s,level_m\n0,0\n{STEP_AT_S},0\n{STEP_AT_S + 17},0.17\n900,0.17\n")
    with city:
        city.wait_for(lambda: (now := state(city)) is not None and now.state == "DRY", "a dry road")
        if dead is not None:
            door(city, {"do": "fault", "target": dead, "fault": "dead"})
        spot = next(s for s in city.configs[0].spec.spot if s.id == SPOT)
        crossed_s = STEP_AT_S + min(city.configs[0].depths_of(spot).values())
        dry = city.configs[0].scales[spot.scale].dry.encode("gb2312").hex()
        began_us = time.time_ns() // 1000
        door(city, {"do": "storm", "file": str(city.demo / "step.csv")})
        while time.time_ns() // 1000 < began_us + (crossed_s + BLIND_S + 30) * S:
            frames = map(json.loads, (city.folder / "frames.jsonl").read_text(encoding="utf-8").splitlines()[:-1])
            shown = next((f for f in frames if f["line"] == "line-2" and f["wall_us"] >= began_us
                          and "120000" in f["pdu"] and dry not in f["pdu"]), None)
            if shown is not None:
                return round((int(shown["wall_us"]) - began_us) / S - crossed_s, 2)
            time.sleep(1)
    return float("inf")


def demo() -> dict[str, object]:
    """The demo, on ptys and in real time."""
    done = subprocess.run([sys.executable, "-m", "simulators.flood_demo", "--json"], capture_output=True, text=True,
                          timeout=REAL_S)
    if not done.stdout.strip():
        return {"kept": False, "why": done.stderr[-500:]}
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=HOURS, help="sensor-hours on the alarm machines")
    parser.add_argument("--ledger", type=Path, help="what was played stands here; a run goes on from it")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--seed", type=int, help="only this episode")
    parser.add_argument("--bus-episodes", type=int, default=1, help="two hours each, with three gauges")
    parser.add_argument("--real", action="store_true", help="on ptys and in real time as well, some minutes")
    args = parser.parse_args()
    if args.seed is not None:
        alone = run(range(args.seed, args.seed + 1))
        print("\n".join(alone.stories) or "nothing wrong")
        measure.report({"machines": alone.figures()}, {"nothing wrong": not alone.bad})
    began = time.monotonic()
    machines = feed(args.hours, args.ledger, args.processes)
    with tempfile.TemporaryDirectory(prefix="siren-flood-") as folder:
        (Path(folder) / "at-once").mkdir()
        (Path(folder) / "shipped").mkdir()
        hasty, shipped = underpass.ground(Path(folder) / "at-once", True), underpass.ground(Path(folder) / "shipped")
        sight = {"well": lags(hasty, None), **{f"{unit} dead": lags(hasty, unit) for unit in DEAD}}
        before_red = early(shipped)
        bus = Counter[str]()
        for seed in range(1, args.bus_episodes + 1):
            bus += through_the_bus(shipped, seed)
    worst = max(lag for name, found in sight.items() if name != "well" for lag in found)
    figures: dict[str, object] = {
        "machines": machines.figures(), "sight_s": sight, "before_red_s": before_red,
        "bus": {"sensor_hours": args.bus_episodes * GAUGES * EPISODE_S // 3600, **bus},
        "elapsed_s": round(time.monotonic() - began, 1)}
    reached: dict[str, bool | None] = {
        f"depth to sign <= {SIGHT_S:g} s": max(sight["well"]) <= SIGHT_S,
        f"depth to sign <= {BLIND_S:g} s with a dead gauge": worst <= BLIND_S,
        f"first warning >= {EARLY_S:g} s before red": min(before_red.values()) >= EARLY_S,
        **{f"{wrong} = 0": machines.found[wrong] + bus[wrong] == 0 for wrong in WRONG}}
    if args.real:
        real = {"well": real_lag(None), **{f"{unit} dead": real_lag(unit) for unit in DEAD}}
        shown = demo()
        figures |= {"real_sight_s": real, "demo": shown}
        reached |= {f"depth to sign <= {SIGHT_S:g} s on ptys": real["well"] <= SIGHT_S,
                    f"depth to sign <= {BLIND_S:g} s on ptys with a dead gauge": max(real.values()) <= BLIND_S,
                    "the demo on ptys": shown.get("kept") is True}
    measure.report(figures, reached)


if __name__ == "__main__":
    main()
