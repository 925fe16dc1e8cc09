"""A flooding road: does it warn in time, does it ever start a siren for nothing, does it ever miss red water?

`deluge.py` plays two hours of chance water at one spot, with one gauge of four that goes wrong in one of twelve ways,
and judges by the true depth. The ledger keeps what was played, so that a long run goes on where it was:

    .venv/bin/python -m bench.flood                                         # some minutes
    .venv/bin/python -m bench.flood --hours 100000 --ledger run/flood.jsonl # goes on from what is in the file
    .venv/bin/python -m bench.flood --seed 17                               # one episode, with every wrong thing told
"""

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench import measure
from bench.deluge import Plan, Result, play

HOURS = 1000
"""Sensor-hours on the alarm machines where nothing else is said."""
PROCESSES = 2
CHUNK = 60
"""Episodes of one line of the ledger: five of each shape, 480 sensor-hours, half a minute."""
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


def recall(ledger: Path) -> Sum:
    """What the ledger has. A line cut short by a crash is played again."""
    found = Sum()
    for line in ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ():
        try:
            one = json.loads(line)
        except ValueError:
            break
        found.seeds.append(one["seeds"])
        found.hours += one["hours"]
        found.found.update(one["found"])
        found.shapes.update(one["shapes"])
        found.bad += one["bad"]
    return found


def feed(hours: float, ledger: Path | None, processes: int) -> Sum:
    """Play until so many sensor-hours are in the ledger."""
    whole = recall(ledger) if ledger is not None else Sum()
    kept = sum(len(seeds) > 0 for seeds in whole.seeds)
    if ledger is not None and ledger.exists():
        # What a crash left half written goes.
        lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)[:kept]
        ledger.write_text("".join(lines), encoding="utf-8")
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
                        file.write(json.dumps({"seeds": one.seeds[0], "hours": one.hours, "found": one.found,
                                               "shapes": one.shapes, "bad": one.bad}) + "\n")
            print(f"{whole.hours:.0f} sensor-hours, {whole.found['events']} events, wrong:"
                  f" {sum(whole.found[w] for w in WRONG)}", flush=True)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=HOURS, help="sensor-hours on the alarm machines")
    parser.add_argument("--ledger", type=Path, help="what was played stands here; a run goes on from it")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--seed", type=int, help="only this episode")
    args = parser.parse_args()
    if args.seed is not None:
        alone = run(range(args.seed, args.seed + 1))
        print("\n".join(alone.stories) or "nothing wrong")
        measure.report({"machines": alone.figures()}, {"nothing wrong": not alone.bad})
    began = time.monotonic()
    machines = feed(args.hours, args.ledger, args.processes)
    figures: dict[str, object] = {"machines": machines.figures(), "elapsed_s": round(time.monotonic() - began, 1)}
    reached: dict[str, bool | None] = {wrong + " = 0": machines.found[wrong] == 0 for wrong in WRONG}
    measure.report(figures, reached)


if __name__ == "__main__":
    main()
