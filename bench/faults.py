"""A bad line, a million times: does our bus ever believe a wrong value, or write a trigger twice?

A real `Bus` on the emulated line, virtual time, five units, answers that meet all faults at once; `episode.py` plays,
and `judge.py` judges by what the units did. Each episode has its own seed, and any of them can be played again alone.
A transaction counts when its request was put on the wire. Every fifth episode is free of faults, as a control; that
the judge finds a broken bus out is shown by `tests/bench/test_judge.py`.

    .venv/bin/python -m bench.faults                             # 20,000 transactions
    .venv/bin/python -m bench.faults --transactions 1000000      # the record
    .venv/bin/python -m bench.faults --seed 17 --transactions 1  # one episode, with every wrong belief told
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from bench import measure
from bench.episode import Episode, Plan, Result
from bench.judge import WRONG
from controller.evidence import SAMPLES

TRANSACTIONS = 20_000
EPISODE = 2_000
PROCESSES = 2
KINDS = ((9600, 0.20), (9600, 0.05), (115200, 0.20), (9600, 0.40), (9600, 0.0))
"""Baud, and the share of answers that meet a fault; episodes take them in turn."""
STORIES = 10
"""Wrong beliefs told in words; the seeds of all are told."""


def plans(first: int, transactions: int) -> list[Plan]:
    episodes = max(1, -(-transactions // EPISODE))
    return [Plan(seed, *KINDS[seed % len(KINDS)], EPISODE) for seed in range(first, first + episodes)]


def play(plan: Plan) -> Result:
    return Episode(plan).run()


def results(all_plans: list[Plan], processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from map(play, all_plans)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, all_plans)


def run(first: int, transactions: int, processes: int) -> dict[str, object]:
    found: Counter[str] = Counter()
    control: Counter[str] = Counter()
    bad: list[int] = []
    longest_run, virtual_s, began, told = 0, 0.0, time.monotonic(), 0.0
    for result in results(plans(first, transactions), processes):
        (found if result.plan.share else control).update(result.found)
        longest_run = max(longest_run, result.longest_run)
        virtual_s += result.virtual_s
        for story in result.stories[: max(0, STORIES - len(bad))]:
            print(f"seed {result.plan.seed}, {result.plan.baud} baud, share {result.plan.share}: {story}", flush=True)
        bad += [result.plan.seed] * any(result.found[wrong] for wrong in (*WRONG, "triggers written twice"))
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{found['transactions'] + control['transactions']} transactions, "
                  f"wrong: {sum(found[w] + control[w] for w in WRONG)}", flush=True)
    elapsed = time.monotonic() - began
    done = found["transactions"] + control["transactions"]
    return {"seeds": [first, first + len(plans(first, transactions)) - 1], "transactions": done,
            "per_s": round(done / elapsed), "elapsed_s": round(elapsed, 1), "virtual_h": round(virtual_s / 3600, 1),
            "bad_seeds": bad, "longest_run_of_a_bool": longest_run,
            "faulty": dict(sorted(found.items())), "control": dict(sorted(control.items()))}


def bars(figures: dict[str, object]) -> dict[str, bool | None]:
    faulty, control = figures["faulty"], figures["control"]
    assert isinstance(faulty, dict)
    assert isinstance(control, dict)
    both = Counter(faulty) + Counter(control)
    # A refusal that was meant for an older request costs a reading; it makes none. It is counted, and no bar.
    never = {wrong: both[wrong] == 0 for wrong in WRONG if wrong != "wrong refusals believed"}
    return {**never, "triggers written twice": both["triggers written twice"] == 0,
            f"no bool wrong {SAMPLES} times in a row": int(str(figures["longest_run_of_a_bool"])) < SAMPLES,
            "nothing done that nobody asked for": both["requests that nobody made"] == 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    parser.add_argument("--seed", type=int, default=1, help="of the first episode; each one has the next")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    print(f"{options.transactions} transactions from seed {options.seed}, {EPISODE} an episode, which are in turn of"
          f" (baud, share of answers that meet a fault) {KINDS}", flush=True)
    figures = run(options.seed, options.transactions, options.processes)
    for name in ("faulty", "control"):
        print(f"{name}:")
        found = figures[name]
        assert isinstance(found, dict)
        for what, number in found.items():
            print(f"  {what:52}{number:10}")
    measure.report(figures, bars(figures))


if __name__ == "__main__":
    main()
