"""The account of all that the swarm lived through: a file of JSON lines for each state of the code.

Ranges of seeds that were run at different times add up as long as the code is the same; another core, another world
or another judge begins a new file. A range that stands there is not run again. It refuses to know what a seed does.
"""

import hashlib
import json
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREE = 3.0
"""The rule of three: nothing in n trials means less than 3/n with 95 % confidence."""


def core() -> str:
    """The hash of the machines, their profiles and signals, and of the world and judges: what the figures speak of."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pure = next(c for c in project["tool"]["importlinter"]["contracts"] if c["id"] == "pure")
    shells = {line.split(" ")[0].removesuffix(".**") for line in pure["ignore_imports"] if line.endswith(" -> *")}
    files = [p for package in ("firmware_bridge", "controller", "hub") for p in (ROOT / package).rglob("*.py")
             if not any(f"{_dotted(p)}.".startswith(f"{shell}.") for shell in shells)]
    files += [*(ROOT / "simulators").rglob("*.py"), *(ROOT / "configs").glob("*/*.toml")]
    files += [ROOT / "bench" / f"{name}.py" for name in ("office", "authority", "forge")]
    told = hashlib.sha256()
    for file in sorted(files):
        told.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return told.hexdigest()[:16]


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


class Account:
    """The lines of one core in a folder; None: nothing is kept."""

    def __init__(self, folder: Path | None, of: str) -> None:
        self.of = of
        self._path = None if folder is None else folder / f"{of}.jsonl"
        self._lines: list[dict[str, Any]] = []
        self._lived: set[int] = set()
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                # Two runs at once may have lived the same range: it counts once.
                self._lines = [line for line in _whole(self._path.read_text(encoding="utf-8").splitlines())
                               if self._takes(line)]

    def _takes(self, line: dict[str, Any]) -> bool:
        """Whether no seed of it is counted yet; from now on they are."""
        seeds = range(line["first"], line["first"] + line["seeds"])
        if not self._lived.isdisjoint(seeds):
            return False
        self._lived.update(seeds)
        return True

    def missing(self, seeds: Iterable[int]) -> list[int]:
        return [seed for seed in seeds if seed not in self._lived]

    def add(self, line: dict[str, Any]) -> None:
        if self._takes(line):
            self._lines.append(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def sum(self) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        for line in self._lines:
            counts.update(line["counts"])
        seeds = sum(line["seeds"] for line in self._lines)
        broken = sorted({one["promise"] for line in self._lines for one in line["breaches"]})
        activations = counts["activations"]
        return {"core": self.of, "seeds": seeds, "activations": activations, "troubles": counts["troubles"],
                "hits": counts["hits"],
                "orders": counts["orders"], "events": counts["events"], "hours": round(counts["seconds"] / 3600, 2),
                "core_hours": round(counts["cpu_ms"] / 3.6e6, 3), "arrows": len(self.arrows()),
                "breaches": sum(len(line["breaches"]) for line in self._lines), "broken": broken,
                "bound_per_scenario": round(THREE / seeds, 8) if seeds else None,
                "bound_per_activation": round(THREE / activations, 8) if activations else None}

    def arrows(self) -> set[str]:
        return {arrow for line in self._lines for arrow in line["arrows"]}

    def some(self, count: int) -> list[dict[str, Any]]:
        """So many lines, spread evenly over all."""
        lines = sorted(self._lines, key=lambda line: int(line["first"]))
        count = min(count, len(lines))
        return [lines[n * len(lines) // count] for n in range(count)]


def _whole(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """A run that was killed leaves half a line at the end."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
