"""How much of a 9600-baud line's time the bus leaves unused: ten-register reads, one after the other, on a pty.

Eight units are read in turn: one alone is not asked the same again until no second copy of its answer can come. The
emulated line accounts its own busy time (octets, t3.5 and the unit's turnaround); that divided by the time that passed
is the figure. The line is another process.
"""

import asyncio
import statistics
import time
from pathlib import Path

from bench import measure
from bench.pump import Pump
from bench.site import Site
from controller.wiring import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import Reply
from firmware_bridge.framing import Rtu

READS = 400
UNITS = 8


async def _reads(site: Site, link: str) -> tuple[float, float, list[tuple[float, int]]]:
    """Seconds that READS took, seconds the line was busy, and for each read its time and the CPU stolen meanwhile."""
    times: list[tuple[float, int]] = []
    last, steal = 0.0, 0

    def answered(reply: Reply) -> None:
        nonlocal last, steal
        here, ticks = time.perf_counter(), measure.steal_ticks()
        times.append((here - last, ticks - steal))
        last, steal = here, ticks

    # One is always waiting, as on a line that is polled without pause.
    pump = Pump(Bus("line-1", Rtu(9600, 11)), BusSection(id="line-1", link=link, baud=9600), 2, answered, UNITS)
    await pump.open()
    before = site.ask({"do": "state"})["busy_us"]["line-1"]
    start = last = time.perf_counter()
    steal = measure.steal_ticks()
    await pump.run(READS)
    elapsed = time.perf_counter() - start
    pump.close()
    return elapsed, (site.ask({"do": "state"})["busy_us"]["line-1"] - before) / 1e6, times


def run() -> dict[str, object]:
    with Site(Path(__file__).with_name("registers.toml")) as site:
        link = str(site.ask({"do": "state"})["links"]["line-1"])
        elapsed, busy, times = asyncio.run(_reads(site, link))
    quiet = [t for t, stolen in times if not stolen]
    own = busy / len(times)
    return {"reads": len(times), "elapsed_s": round(elapsed, 3), "busy_s": round(busy, 3),
            "used": round(busy / elapsed, 4),
            "used_steal_free": round(own / statistics.mean(quiet), 4) if quiet else None,
            "steal_free_reads": len(quiet)}


def main() -> None:
    figures = run()
    measure.report(figures, {"used >= 0.95": float(str(figures["used"])) >= 0.95})


if __name__ == "__main__":
    main()
