"""Peers and ours side by side: `python -m bench.peers.run [--peer NAME]... [--dead N]...`, after `setup.sh`.

Each cell takes about 70 s and is written to a file as soon as it is measured. Without `--peer` and `--dead` the cells
that the file lacks are measured; with them those named, anew. The table and the bars are of all that the file holds.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import measure
from bench.peers import start
from bench.peers.cell import OURS, Job, measured, version
from bench.site import ROOT

DEAD = (0, 1, 3)
PEERS = (OURS, *start.PEERS)
ORDERS = 20
TIMEOUT_S = 1.0
TIE_MS, TIE_POLLS, TIE_S = 10.0, 0.02, 0.1
"""Who is as near to the first is tied with it: a byte or two of jitter on the line, one poll in fifty seconds, and
one transaction that had to wait for another."""
P99_MS, POLLED = 150.0, 0.95

Cell = dict[str, Any]
Cells = dict[str, Cell]


def name(peer: str, dead: int) -> str:
    return f"{peer}/{dead}"


# The table.

HEAD = ("gateway", "units dead", "executed", "duplicates", "median ms", "p90 ms", "max ms", "polls/s", "largest gap s",
        "load", "stolen ticks")


def row(key: str, cell: Cell) -> list[str]:
    peer, dead = key.split("/")
    taken = cell["order_to_wire_ms"]
    return [peer, f"{dead} of 4", f"{cell['executed']}/{cell['orders']}", str(cell["duplicates"]),
            *(f"{taken[k]:.0f}" if taken[k] is not None else "–" for k in ("median", "p90", "max")),
            f"{cell['slowest_polls_per_s']:.2f}", f"{cell['largest_gap_s']:.1f}", f"{cell['load']:.1f}",
            str(cell["steal_ticks"])]


def table(cells: Cells) -> str:
    keys = [name(peer, dead) for dead in DEAD for peer in PEERS if name(peer, dead) in cells]
    lines = [list(HEAD), ["---"] * len(HEAD), *(row(key, cells[key]) for key in keys)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# The bars.

def columns(cell: Cell) -> dict[str, tuple[float, float]]:
    """What is compared, less is better, and how near is tied. Latencies are of what was executed at all."""
    taken = cell["order_to_wire_ms"]
    never = float("inf")
    return {
        "not executed": (cell["orders"] - cell["executed"], 0),
        "duplicates": (cell["duplicates"], 0),
        **{k: (never if taken[k] is None else taken[k], TIE_MS) for k in ("median", "p90", "max")},
        "polls": (-min(cell["slowest_polls_per_s"], 1.0), TIE_POLLS),
        "gap": (cell["largest_gap_s"], TIE_S),
    }


def behind(cells: Cells, dead: int) -> list[str]:
    """In which columns a peer is ahead of ours, and which."""
    out = []
    own = columns(cells[name(OURS, dead)])
    for peer in start.PEERS:
        for column, (value, tie) in columns(cells[name(peer, dead)]).items():
            if own[column][0] > value + tie:
                out.append(f"{column}: {peer}, {dead} dead")
    return out


def bars(cells: Cells) -> dict[str, bool | None]:
    """None: not all measured yet."""
    def judged(dead: int) -> bool | None:
        return not behind(cells, dead) if all(name(p, dead) in cells for p in PEERS) else None

    mine = [cells[name(OURS, dead)] for dead in DEAD if name(OURS, dead) in cells]
    complete = len(mine) == len(DEAD)
    near = None
    if all(name(p, 0) in cells for p in PEERS):
        medians = {p: columns(cells[name(p, 0)])["median"][0] for p in PEERS}
        near = medians[OURS] <= min(medians.values()) + TIE_MS
    return {
        "1 dead: first or tied in every column": judged(1),
        "3 dead: first or tied in every column": judged(3),
        f"healthy median within {TIE_MS:g} ms of the fastest": near,
        "ours: all executed": all(c["executed"] == c["orders"] for c in mine) if complete else None,
        "ours: no duplicate": all(c["duplicates"] == 0 for c in mine) if complete else None,
        f"ours: steal-free p99 <= {P99_MS:g} ms":
            all((c["steal_free_ms"]["p99"] or P99_MS + 1) <= P99_MS for c in mine) if complete else None,
        f"ours: polls >= {POLLED:.0%}": all(c["slowest_polls_per_s"] >= POLLED for c in mine) if complete else None,
    }


# The command.


def load(file: Path, terms: dict[str, Any]) -> Cells:
    """What was measured before on the same terms."""
    if not file.exists():
        return {}
    known = json.loads(file.read_text())
    if known["terms"] != terms:
        raise SystemExit(f"bench: {file} was measured with {known['terms']}, not {terms}; say --fresh, or another file")
    cells: Cells = known["cells"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peers.run", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer", action="append", choices=PEERS, default=[], help="only this one (may be repeated)")
    parser.add_argument("--dead", action="append", type=int, choices=DEAD, default=[], help="only with so many dead")
    parser.add_argument("--orders", type=int, default=ORDERS, metavar="N", help=f"orders a cell ({ORDERS})")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S",
                        help=f"how long a peer waits for an answer ({TIMEOUT_S:g} s); ours learns it")
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "siren-peers", metavar="FOLDER",
                        help="where setup.sh put the peers")
    parser.add_argument("--results", type=Path, default=ROOT / "run" / "bench-peers.json", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="forget what the file holds")
    options = parser.parse_args()
    terms = {"orders": options.orders, "timeout_s": options.timeout}
    cells = {} if options.fresh else load(options.results, terms)
    chosen = [(peer, dead) for dead in options.dead or DEAD for peer in options.peer or PEERS]
    if not options.peer and not options.dead:
        chosen = [(peer, dead) for peer, dead in chosen if name(peer, dead) not in cells]
    jobs = [Job(peer, dead, options.orders, options.timeout, options.venvs.absolute()) for peer, dead in chosen]
    versions = {job.peer: version(job) for job in jobs}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        print(f"== {versions[job.peer]} ({job.peer}), {job.dead} of 4 dead", flush=True)
        cells[name(job.peer, job.dead)] = {"version": versions[job.peer], **measured(job)}
        options.results.write_text(json.dumps({"terms": terms, "cells": cells}, indent=1) + "\n")
    print(table(cells))
    ahead = [line for dead in (1, 3) if all(name(p, dead) in cells for p in PEERS) for line in behind(cells, dead)]
    for line in ahead:
        print(f"ahead of ours: {line}")
    measure.report({"terms": terms, "cells": cells, "ahead": ahead}, bars(cells))


if __name__ == "__main__":
    main()
