"""What every bench shares: percentiles, CPU steal, free ports, and the JSON object on the last line.

A sample is steal-free when the host gave our virtual CPUs all their time while it was taken. On a shared host the
rest says how busy the neighbours were; it is printed too, and never thrown away unsaid.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def steal_ticks() -> int:
    """Ticks (10 ms) that the host took from all our CPUs since boot; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    except (OSError, IndexError, ValueError):
        return 0


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of the values do not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summary(values: Sequence[float], digits: int = 3) -> dict[str, float | int | None]:
    """n, median, p90, p99, max."""
    def cut(value: float | None) -> float | None:
        return None if value is None else round(value, digits)

    return {"n": len(values), "median": cut(statistics.median(values) if values else None),
            "p90": cut(percentile(values, 0.90)), "p99": cut(percentile(values, 0.99)),
            "max": cut(max(values, default=None))}


def report(figures: dict[str, object], reached: dict[str, bool | None]) -> None:
    """Print the figures as one JSON object on the last line, and end with 1 when a bar was not reached."""
    print(json.dumps({**figures, "reached": reached}))
    sys.exit(0 if all(reached.values()) else 1)
