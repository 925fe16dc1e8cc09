"""Every parser, fed by the million with hurt examples: does it say no in its own words, fast and briefly?

A parser may raise what it names and nothing else, takes at most 50 ms of CPU for whatever its limits let in, and makes
of it nothing much larger. `parsers_line.py`, `parsers_message.py` and `parsers_file.py` are the parsers, `mutate.py`
is what hurts; none of them looks at which lines were reached.

Cases come in batches. A batch begins with a parser made anew and a seed of its own, so that each case can be made again
(`--again PARSER:BATCH`), and is noted in a ledger when it is done: who stops the bench and starts it again goes on from
there, and several processes share the work.

    .venv/bin/python -m bench.fuzz [--cases 10000] [--only NAME] [--workers 2] [--seed 1] [--ledger build/fuzz.jsonl]
"""

import argparse
import gc
import json
import logging
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

from bench import measure, parsers_file, parsers_line, parsers_message
from bench.mutate import Mutator
from bench.parsers_line import Feed, Parser
from firmware_bridge.errors import TOLD, BadDocument

PARSERS = {parser.name: parser for parser in (
    *parsers_line.PARSERS, *parsers_message.PARSERS, *parsers_file.PARSERS)}
BATCH = 2_000
CASES, SEED = 10_000, 20261122
MOST_MS = 50.0
TRIED_AGAIN = 3
"""A case that took longer is fed so often again, and its best counts: the neighbours of this machine work too."""
SAID_LIMIT = 2_000
"""Characters of what a parser says of a case."""
PROBLEM_LIMIT, PROBLEMS_LIMIT = 2_000, TOLD + 1
"""Of a person's file everything wrong is told at once: so much of one thing, and so many things."""
GROWS, BASE = 40, 256 * 1024
"""Characters of a result: so many for each octet of the case, and so many whatever it was."""
MEASURED_EVERY = 16
"""Cases of which one result is measured: writing one down costs more than making it."""
STORY_LIMIT, CASE_LIMIT = 5, 2_000
"""Findings of one batch that are told, and characters of a case."""


@dataclass
class Batch:
    """What came of one batch."""

    parser: str
    batch: int
    seed: int
    cases: int = 0
    cpu_s: float = 0.0
    worst_ms: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: int = 0
    stories: list[str] = field(default_factory=list)


def run_batch(name: str, number: int, seed: int, cases: int = BATCH) -> Batch:
    parser, found = PARSERS[name], Batch(name, number, seed)
    mutator = Mutator(Random(f"{seed}:{name}:{number}"), parser.limit)
    feed = parser.fresh()
    # Pauses of the collector are no parser's.
    gc.collect()
    gc.disable()
    try:
        for n in range(cases):
            case = parser.case(mutator)
            what, took_ms, wrong = _fed(parser, feed, case, n % MEASURED_EVERY == 0)
            if took_ms > MOST_MS:
                took_ms = min(took_ms, *(_fed(parser, feed, case, False)[1] for _ in range(TRIED_AGAIN)))
                if took_ms > MOST_MS:
                    wrong = wrong or f"took {took_ms:.0f} ms"
            found.cases += 1
            found.cpu_s += took_ms / 1e3
            found.worst_ms = max(found.worst_ms, took_ms)
            found.outcomes["finding" if wrong else what] += 1
            if wrong:
                found.findings += 1
                if len(found.stories) < STORY_LIMIT:
                    found.stories.append(f"{name}:{number}, case {n}: {wrong}: {_shown(case)}")
    finally:
        gc.enable()
    return found


def _fed(parser: Parser, feed: Feed, case: object, measured: bool) -> tuple[str, float, str]:
    """What it came to, in how many milliseconds, and what was wrong with that; empty: nothing."""
    result: object = None
    wrong = ""
    began = time.thread_time_ns()
    try:
        result = feed(case)
        what = "taken"
    except parser.named as error:
        result, what = error, type(error).__name__
    except Exception as error:
        what, wrong = "finding", f"{type(error).__name__}: {str(error)[:200]} at {_where(error)}"
    took_ms = (time.thread_time_ns() - began) / 1e6
    return what, took_ms, wrong or _too_large(case, result, measured or took_ms > MOST_MS / 10)


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return "; ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[-3:])


def _too_large(case: object, result: object, measured: bool) -> str:
    if isinstance(result, BadDocument):
        longest = max((len(str(problem)) for problem in result.problems), default=0)
        if len(result.problems) > PROBLEMS_LIMIT or longest > PROBLEM_LIMIT:
            return f"{len(result.problems)} problems, the longest of {longest} characters"
    elif isinstance(result, Exception):
        if len(str(result)) > SAID_LIMIT:
            return f"says {len(str(result))} characters"
    elif measured and (size := len(repr(result))) > GROWS * _size(case) + BASE:
        return f"a result of {size} characters of {_size(case)}"
    return ""


def _size(case: object) -> int:
    return len(case) if isinstance(case, bytes | str) else len(repr(case))


def _shown(case: object) -> str:
    text = repr(case)
    half = CASE_LIMIT // 2
    return text if len(text) <= CASE_LIMIT else f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


# The ledger.


def done(ledger: Path, seed: int) -> dict[tuple[str, int], Batch]:
    """The batches that are done already. A line that was cut off by the end of a process is none."""
    found: dict[tuple[str, int], Batch] = {}
    if ledger.exists():
        for line in ledger.read_text(encoding="utf-8").splitlines():
            try:
                batch = Batch(**json.loads(line))
            except (ValueError, TypeError):
                continue
            batch.outcomes = Counter(batch.outcomes)
            if batch.seed == seed and batch.parser in PARSERS:
                found[batch.parser, batch.batch] = batch
    return found


def _job(job: tuple[str, int, int, int]) -> Batch:
    return run_batch(*job)


def _quiet() -> None:
    """What pymodbus tells of each request that is none is no news here."""
    logging.disable(logging.ERROR)


def batches(jobs: list[tuple[str, int, int, int]], workers: int) -> Iterator[Batch]:
    if workers <= 1:
        _quiet()
        yield from map(_job, jobs)
        return
    with get_context("fork").Pool(workers, _quiet) as pool:
        yield from pool.imap_unordered(_job, jobs)


def run(names: Iterable[str], cases: int, seed: int, workers: int, ledger: Path | None,
        seconds: float | None = None, tell: Callable[[str], None] = print) -> list[Batch]:
    """Every batch that there is now, those of the ledger among them."""
    known = {} if ledger is None else done(ledger, seed)
    jobs = [(name, number, seed, min(BATCH, cases - number * BATCH))
            for number in range(-(-cases // BATCH)) for name in names if (name, number) not in known]
    found = [batch for (name, number), batch in known.items() if name in names and number * BATCH < cases]
    began = time.monotonic()
    for batch in batches(jobs, workers):
        found.append(batch)
        for story in batch.stories:
            tell(story)
        if ledger is not None:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            with ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(batch)) + "\n")
        if seconds is not None and time.monotonic() - began > seconds:
            break
    return found


def table(found: list[Batch]) -> dict[str, dict[str, object]]:
    """parser -> what came of all its batches."""
    out: dict[str, dict[str, object]] = {}
    for name in PARSERS:
        mine = [batch for batch in found if batch.parser == name]
        cases = sum(batch.cases for batch in mine)
        if cases:
            outcomes = sum((batch.outcomes for batch in mine), Counter[str]())
            out[name] = {"cases": cases, "us": round(1e6 * sum(b.cpu_s for b in mine) / cases, 1),
                         "worst_ms": round(max(b.worst_ms for b in mine), 1),
                         "findings": sum(b.findings for b in mine), "outcomes": dict(outcomes.most_common())}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help="of each parser")
    parser.add_argument("--only", action="append", choices=sorted(PARSERS), metavar="NAME",
                        help=", ".join(sorted(PARSERS)))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--ledger", type=Path, help="goes on where it ended")
    parser.add_argument("--seconds", type=float, help="no new batch after that")
    parser.add_argument("--again", metavar="PARSER:BATCH", help="one batch, with what was found in it")
    words = parser.parse_args()
    if words.again is not None:
        name, _, number = words.again.rpartition(":")
        _quiet()
        found = [run_batch(name, int(number), words.seed)]
        print("\n".join(found[0].stories))
    else:
        found = run(words.only or list(PARSERS), words.cases, words.seed, words.workers, words.ledger, words.seconds)
    figures = table(found)
    for name, one in figures.items():
        print(f"{name:18} {one['cases']:>9,} cases {one['us']:>8} us each, worst {one['worst_ms']:>6} ms,"
              f" {one['findings']} findings  {one['outcomes']}", file=sys.stderr if words.again else sys.stdout)
    measure.report({"seed": words.seed, "parsers": figures}, {
        "findings = 0": sum(batch.findings for batch in found) == 0,
        f"each case <= {MOST_MS:g} ms": all(batch.worst_ms <= MOST_MS for batch in found),
        **({} if words.again else {f"cases of each parser >= {words.cases:,}": all(
            figures.get(name, {}).get("cases") == words.cases for name in words.only or PARSERS)})})


if __name__ == "__main__":
    main()
