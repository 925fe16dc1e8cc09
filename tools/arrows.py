"""Which arrows of the transition tables were taken, and by what: the table of docs/assurance.md.

    .venv/bin/python tools/arrows.py FOLDER     the folder that `swarm --ledger FOLDER` kept; of this state of the code

By drawn seeds, as the account tells; of the rest, those that lives made for them take (`tests/seeds/arrows/`); and
those that are left. It prints the rows, and changes no file: why an arrow is left is for a person to say.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import states

from simulators import account, visits

MADE = Path(__file__).resolve().parent.parent / "tests" / "seeds" / "arrows"


def made() -> set[str]:
    """The arrows that lives made by hand say they take, as `file STATE EVENT`; a test holds them to it."""
    claims = (json.loads(path.read_text(encoding="utf-8"))["takes"] for path in MADE.glob("*.json"))
    return {f"{file} {arrow}" for one in claims for file, arrows in one.items() for arrow in arrows}


def rows(taken: set[str]) -> list[str]:
    """A line for each file with a table: how many of its arrows were drawn, which were made, and which are left."""
    by_file: dict[str, tuple[list[str], list[str], list[str]]] = {}
    claimed = made()
    for table in states.tables():
        drawn, by_hand, left = by_file.setdefault(table.file, ([], [], []))
        for state, event in table.cells:
            arrow = f"{state.name} {visits.word(event)}"
            if f"{table.file} {arrow}" in taken:
                drawn.append(arrow)
            else:
                (by_hand if f"{table.file} {arrow}" in claimed else left).append(arrow)
    return [f"| `{file}` | {len(drawn)} | {_cell(by_hand)} | {len(drawn) + len(by_hand) + len(left)} | {_cell(left)} |"
            for file, (drawn, by_hand, left) in by_file.items()]


def _cell(arrows: Iterable[str]) -> str:
    return "; ".join(arrows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    kept = account.Account(parser.parse_args().folder, account.core())
    told = kept.sum()
    print(f"core {told['core']}, {told['seeds']} seeds, {told['hours']} hours\n")
    print("| machine | by drawn seeds | by lives made for it | of | left |\n|---|---|---|---|---|")
    print("\n".join(rows(kept.arrows())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
