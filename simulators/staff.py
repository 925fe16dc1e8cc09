"""A flood in the terminal: how the water rose, against the colours of the road, as lines of text.

One column a time slice, one row some centimetres; what the water truly did, and what the gateway made of it, in one
picture. It refuses to know where either comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROWS = 14
COLUMNS = 64
INKS = {"blue": "\033[34m", "yellow": "\033[33m", "orange": "\033[38;5;208m", "red": "\033[31m", "": ""}
PLAIN, BOLD, FAINT = "\033[0m", "\033[1m", "\033[2m"
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Seen:
    """One instant: seconds since the beginning, the true depth, what the gateway says of it (None: nothing), and
    the colour that is raised (empty: none)."""

    t_s: float
    true_cm: float
    said_cm: float | None = None
    colour: str = ""


def picture(seen: Sequence[Seen], limits: Mapping[str, float], length_s: float, ink: bool = True) -> list[str]:
    """The lines from the top: a bar for the true depth in the ink of the raised colour, `o` where the gateway sees
    it, a dotted line at each limit, and the seconds below."""
    highest = max([*limits.values(), *(one.true_cm for one in seen), 10.0]) * 1.1
    row_cm = highest / ROWS
    columns: list[Seen | None] = [None] * COLUMNS
    for one in seen:
        columns[min(COLUMNS - 1, int(one.t_s / length_s * COLUMNS))] = one
    lines = []
    for row in reversed(range(ROWS)):
        low, high = row * row_cm, (row + 1) * row_cm
        limit = next((name for name, cm in limits.items() if low <= cm < high), None)
        cells = "".join(_cell(one, low, row_cm, limit, ink) for one in columns)
        label = f"{limit} {limits[limit]:g}" if limit else ""
        lines.append(f"{low:5.0f} ┤{cells} {_inked(label, limit or '', ink)}".rstrip())
    lines.append("   cm └" + "─" * COLUMNS)
    marks = "".join(f"{round(n * length_s / 4):<{COLUMNS // 4}d}" for n in range(4)) + f"{round(length_s)} s"
    return [*lines, "       " + marks]


def _cell(one: Seen | None, low: float, row_cm: float, limit: str | None, ink: bool) -> str:
    empty = _inked("┄", limit, ink) if limit else " "
    if one is None:
        return empty
    if one.said_cm is not None and low <= max(one.said_cm, 0.0) < low + row_cm:
        return f"{BOLD}o{PLAIN}" if ink else "o"
    share = (one.true_cm - low) / row_cm
    bar = EIGHTHS[max(0, min(8, round(share * 8)))]
    return empty if bar == " " else _inked(bar, one.colour, ink)


def _inked(text: str, colour: str, ink: bool) -> str:
    return f"{INKS.get(colour, '')}{text}{PLAIN}" if ink and colour and text else text
