"""How much of a 9600-baud line's time the bus leaves unused: ten-register reads, one after the other, on a pty.

The emulated line accounts its own busy time (octets, t3.5 and the unit's turnaround); that divided by the time that
passed is the figure. The line is another process.
"""

import asyncio
import statistics
import time
from pathlib import Path

from bench import measure
from bench.site import Site
from controller.config import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import BusEvent, Finished, Priority, Read, Reply, Send, Submit, Table, Transaction
from firmware_bridge.link import Link, now_us
from firmware_bridge.machine import Woken

READS = 400
TEN = Read(Table.HOLDING, 0, 10)


async def _reads(link_to: str) -> tuple[float, list[tuple[float, int]]]:
    """Seconds that READS took, and for each how long it took and how much CPU the host stole meanwhile."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    up: asyncio.Future[None] = loop.create_future()
    bus = Bus("line-1", 9600, char_bits=11)
    timer: asyncio.TimerHandle | None = None
    submitted = 0
    times: list[tuple[float, int]] = []
    last, steal = 0.0, 0

    def next_one() -> BusEvent:
        nonlocal submitted
        submitted += 1
        return Submit("line-1", Transaction("bench", submitted, 1, TEN, Priority.POLL))

    def feed(event: BusEvent) -> None:
        nonlocal timer, last, steal
        work = [event]
        while work:
            for effect in bus.handle(now_us(), work.pop(0)):
                match effect:
                    case Send(_, data, at_us):
                        link.send(data, at_us)
                    case Finished(_, _, outcome, _):
                        assert isinstance(outcome, Reply), outcome
                        here, ticks = time.perf_counter(), measure.steal_ticks()
                        times.append((here - last, ticks - steal))
                        last, steal = here, ticks
                        if submitted < READS:
                            work.append(next_one())
        if timer is not None:
            timer.cancel()
        if bus.deadline is not None:
            timer = loop.call_at(bus.deadline / 1e6, feed, Woken())
        if bus.state.value != "down" and not up.done():
            up.set_result(None)
        if len(times) >= READS and not done.done():
            done.set_result(None)

    link = Link(BusSection(id="line-1", link=link_to, baud=9600), feed)
    link.open()
    await up
    start = last = time.perf_counter()
    steal = measure.steal_ticks()
    # One is always waiting, as on a line that is polled without pause.
    feed(next_one())
    feed(next_one())
    await done
    elapsed = time.perf_counter() - start
    link.close()
    if timer is not None:
        timer.cancel()
    return elapsed, times


def run() -> dict[str, object]:
    with Site(Path(__file__).with_name("registers.toml")) as site:
        before = site.ask({"do": "state"})
        elapsed, times = asyncio.run(_reads(str(before["links"]["line-1"])))
        after = site.ask({"do": "state"})
    busy = (after["busy_us"]["line-1"] - before["busy_us"]["line-1"]) / 1e6
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
