"""Which arrows of the transition tables the swarm has taken, from its account: the table of docs/assurance.md.

    .venv/bin/python tools/arrows.py FOLDER     the folder that `swarm --ledger FOLDER` kept; of this state of the code

It prints the rows, and changes no file: why an arrow is not taken is for a person to say.
"""

import argparse
import sys
from pathlib import Path

import states

from simulators import account, swarm, visits


def rows(taken: set[str]) -> list[str]:
    """A line for each file with a table: how many of its arrows were taken, of how many, and which were not."""
    by_file: dict[str, tuple[list[str], list[str]]] = {}
    tables, machines = states.tables(), swarm.machines()
    for table in tables:
        # A module that imports a table counts what it asks of it under its own name.
        names = {f"{module.__name__}.{name}" for module in machines for name, value in vars(module).items()
                 if value is table.cells}
        done, left = by_file.setdefault(table.file, ([], []))
        for state, event in table.cells:
            arrow = f"{state.name} {visits.word(event)}"
            (done if any(f"{name} {arrow}" in taken for name in names) else left).append(arrow)
    return [f"| `{file}` | {len(done)} | {len(done) + len(left)} | {'; '.join(left)} |"
            for file, (done, left) in by_file.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    kept = account.Account(parser.parse_args().folder, account.core())
    told = kept.sum()
    print(f"core {told['core']}, {told['seeds']} seeds, {told['hours']} hours\n")
    print("| machine | taken | of | not taken |\n|---|---|---|---|")
    print("\n".join(rows(kept.arrows())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
