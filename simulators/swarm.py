"""The swarm: many small places, each with a minute of orders and faults drawn from a seed, and all promises judged.

    make swarm SEEDS=2000                         seeds 0 to 1999 on all cores
    python3 tools/dev.py swarm --seeds N --first K [--ledger FOLDER]     (a first seed of 1000000000: lives of an hour)
    python3 tools/dev.py swarm --ledger FOLDER --again N        N ranges of the account again: do they go as they went
    python3 tools/dev.py compiled swarm ...       any of these with the world compiled: the same lives, sooner
    python3 tools/dev.py swarm --seed K --trace   one of them again, exactly, with all that happened
    python3 tools/dev.py swarm --seed K --shrink  a failing one made short, as JSON for tests/seeds/

The first line says first seed and commit, the last one is JSON. Exit 1 when a promise was broken. 群体仿真。
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulators import account, live, scenario, visits
from simulators.account import Account
from simulators.live import Lived
from simulators.scenario import Scenario

CHUNK = 5
"""Seeds that one process does before it tells."""
SHRINK_LIMIT = 400
"""Lives that are spent on making one short."""

_tables: list[visits.Counting] = []


def machines() -> list[Any]:
    """The modules of the machines that are loaded."""
    return [module for name, module in sorted(sys.modules.items())
            if name.split(".")[0] in ("firmware_bridge", "controller", "hub") and module is not None]


def _begin() -> None:
    """A process that lives. What a life leaves is taken away after it: to look for it meanwhile costs a twentieth."""
    _tables.extend(visits.count(machines()))
    gc.freeze()
    gc.disable()


def _chunk(seeds: list[int]) -> dict[str, Any]:
    """A line of the account."""
    counts: Counter[str] = Counter()
    breaches: list[dict[str, Any]] = []
    told = hashlib.sha256()
    for seed in seeds:
        began = time.process_time()
        lived = live.live(scenario.draw(seed))
        gc.collect()
        counts.update(lived.counts)
        told.update(lived.hash.encode())
        counts["cpu_ms"] += round((time.process_time() - began) * 1000)
        breaches += [{"seed": seed, "promise": name, "what": what} for name, found in lived.breaches.items()
                     for what in found]
    arrows = sorted(arrow for table in _tables for arrow in table.arrows())
    for table in _tables:
        table.seen.clear()
    return {"first": seeds[0], "seeds": len(seeds), "counts": dict(counts), "breaches": breaches, "arrows": arrows,
            "hash": told.hexdigest()[:16]}


def _chunks(seeds: list[int]) -> Iterator[list[int]]:
    """Runs of neighbours, so that an account of them is short."""
    run: list[int] = []
    for seed in seeds:
        if run and (seed != run[-1] + 1 or len(run) >= CHUNK):
            yield run
            run = []
        run.append(seed)
    if run:
        yield run


def swarm(first: int, seeds: int, jobs: int, kept: Account, commit: str) -> dict[str, Any]:
    """Live every seed that the account has not; what the account then says, with this run's own figures."""
    began = time.monotonic()
    todo = kept.missing(range(first, first + seeds))
    lived = 0
    with multiprocessing.get_context("fork").Pool(jobs, _begin) as pool:
        for line in pool.imap_unordered(_chunk, list(_chunks(todo))):
            kept.add(line | {"commit": commit})
            lived += line["seeds"]
            for one in line["breaches"]:
                print(f"seed {one['seed']}: {one['promise']}: {one['what']}", flush=True)
    took = time.monotonic() - began
    return kept.sum() | {"lived_now": lived, "took_s": round(took, 1), "per_s": round(lived / took, 2) if took else 0.0}


def again(kept: Account, count: int, jobs: int) -> int:
    """Live some ranges of the account again; how many did not go as they went. Another interpreter may have kept it."""
    lines = kept.some(count)
    ranges = [list(range(line["first"], line["first"] + line["seeds"])) for line in lines]
    with multiprocessing.get_context("fork").Pool(jobs, _begin) as pool:
        other = [one for one, line in zip(pool.map(_chunk, ranges), lines, strict=True) if one["hash"] != line["hash"]]
    for one in other:
        print(f"seeds {one['first']} to {one['first'] + one['seeds'] - 1} went otherwise")
    print(json.dumps({"core": kept.of, "ranges": len(lines), "seeds": sum(map(len, ranges)), "otherwise": len(other)}))
    return len(other)


def shrink(what: Scenario, promise: str) -> Scenario:
    """Take out steps one after the other as long as the same promise stays broken."""
    lives, shorter_yet = 0, True
    while shorter_yet and lives < SHRINK_LIMIT:
        shorter_yet = False
        for n in reversed(range(len(what.steps))):
            shorter = what.without(n)
            lives += 1
            if promise in live.live(shorter).breaches:
                what, shorter_yet = shorter, True
    return what


def _tell(lived: Lived, trace: bool) -> int:
    if trace:
        print(*lived.trace, sep="\n")
    for name, found in lived.breaches.items():
        for what in found:
            print(f"{name}: {what}")
    last = {"hash": lived.hash, "counts": lived.counts, "broken": sorted(lived.breaches)}
    print(json.dumps(last, ensure_ascii=False))
    return 1 if lived.breaches else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="swarm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="种子数 / how many")
    parser.add_argument("--first", type=int, default=0, help="第一个种子 / the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="进程数 / processes")
    parser.add_argument("--ledger", type=Path, help="累计结果的文件夹 / folder in which runs add up")
    parser.add_argument("--again", type=int, metavar="N",
                        help="重演累计结果中的 N 段并比对 / live N ranges of the ledger again, and compare")
    parser.add_argument("--seed", type=int, help="只重演一个 / live one again")
    parser.add_argument("--file", type=Path, help="重演一个文件 / live a file of tests/seeds again")
    parser.add_argument("--trace", action="store_true", help="打印经过 / print all that happened")
    parser.add_argument("--shrink", action="store_true", help="缩短失败的情景 / make a failing one short")
    args = parser.parse_args(argv)
    commit, core = account.commit(), account.core()
    if args.seed is not None or args.file is not None:
        if args.file is None:
            one = scenario.draw(args.seed)
        else:
            one = Scenario.decode(args.file.read_text(encoding="utf-8"))
        print(f"swarm: seed {one.seed}, commit {commit}, core {core}", flush=True)
        lived = live.live(one, watch=args.trace)
        if args.shrink and lived.breaches:
            print(shrink(one, next(iter(lived.breaches))).encode())
            return 1
        return _tell(lived, args.trace)
    kept = Account(args.ledger, core)
    if args.again is not None:
        return 1 if again(kept, args.again, args.jobs) else 0
    print(f"swarm: first seed {args.first}, {args.seeds} seeds, commit {commit}, core {core}", flush=True)
    found = swarm(args.first, args.seeds, args.jobs, kept, commit)
    print(json.dumps(found, ensure_ascii=False))
    return 1 if found["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main())
