"""How far the first edge of a sounding is from its ordered instant, while another process keeps one core busy.

Signed drill orders with a start, each given some seconds ahead, on the polled line of `bench/order.py` with its dead
unit. The instant is the first octet's in the hardware's own log. The hardware is a process of Python as well, and
what it is late itself counts against us; where this may be done its process is given real-time priority, so that the
busy core does not add to it, and the figures say so. sirend runs with the niceness of `systemd/sirend.service`, where
that may be given; the busy process has 0.

Beside it a process as nice as sirend only sleeps until an instant, four times a second: `host_ms` is how late this
host wakes any program meanwhile.

What receipts say of the first edge is printed beside it. It is the instant of the frame as it was prepared: that the
timer thread wrote it then is what this bench measures.
"""

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass

from bench import measure, rig
from bench.order import LAST_S, ON, SETTLE_S, SIRENS, WRITE_COIL
from bench.rig import Rig
from controller.wire import Stage, to_wall_us

STARTS = 200
EVERY_S = 1.0
SPREAD_S = 0.3
"""A start is off the beat by up to this much, so that it meets the polls anywhere."""
AHEAD_S = (3.0, 5.0)
"""An order is given so long before its start: while others start, at any moment."""
AROUND_S = 0.1
"""CPU steal so near to a start belongs to it."""
SEED = 1
NICE = -10
"""As in the unit file."""
P99_MS = 5.0
SLEEPER = """
import sys, time
at = time.monotonic() + 1
while True:
    time.sleep(max(0.0, at - time.monotonic()))
    print(round((time.monotonic() - at) * 1000, 3), flush=True)
    at += 0.25
"""
FRAME_MS = 8 * 11 / 9.6
"""A write of one coil is eight octets of 11 bits."""


@dataclass
class Sample:
    """One start: for which relay, when on our clocks, and how much CPU the host stole around it."""

    id: str
    place: tuple[int, int]
    wall_us: int
    at_us: int
    stolen: int = 0


def wall_minus_monotonic_us() -> int:
    """What the wall clock is ahead; of some readings the one that nothing came between."""
    found = []
    for _ in range(9):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        found.append((after - before, wall - (before + after) // 2))
    return min(found)[1] // 1000


def give(here: Rig, starts: int, chance: random.Random) -> list[Sample]:
    """Give each order ahead of its start, and look at the CPU steal around each start."""
    samples = [Sample("", SIRENS[n % len(SIRENS)], 0, 0) for n in range(starts)]
    first_s = time.monotonic() + max(AHEAD_S) + 1
    at_s = [first_s + n * EVERY_S + chance.uniform(0, SPREAD_S) for n in range(starts)]
    steal: dict[int, int] = {}
    todo = [(at - chance.uniform(*AHEAD_S), 0, n) for n, at in enumerate(at_s)]
    todo += [(at - AROUND_S, 1, n) for n, at in enumerate(at_s)] + [(at + AROUND_S, 2, n) for n, at in enumerate(at_s)]
    for when_s, what, n in sorted(todo):
        time.sleep(max(0.0, when_s - time.monotonic()))
        if what == 0:
            (board, channel), wall_us = samples[n].place, round(at_s[n] * 1e6) + wall_minus_monotonic_us()
            samples[n].id, signed = here.order(f"s-{board}{channel}", wall_us)
            samples[n].wall_us = wall_us
            here.publish(signed)
        elif what == 1:
            # The two clocks may have been moved against each other since the order was given.
            samples[n].at_us = samples[n].wall_us - wall_minus_monotonic_us()
            steal[n] = measure.steal_ticks()
        else:
            samples[n].stolen = measure.steal_ticks() - steal[n]
    return samples


def hurry(pid: int) -> str:
    """Give the hardware's process a priority above all ordinary ones, where we may."""
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return "ordinary"
    return "real-time"


def run(starts: int) -> dict[str, object]:
    with Rig("line", NICE) as here:
        nice = os.getpriority(os.PRIO_PROCESS, here.sirend.pid)
        hardware = hurry(here.site.process.pid)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        time.sleep(SETTLE_S)
        sleeper_log = (here.site.folder / "sleeper").open("w+")
        sleeper = subprocess.Popen(["nice", "-n", str(NICE), sys.executable, "-c", SLEEPER], stdout=sleeper_log)
        try:
            samples = give(here, starts, random.Random(SEED))
            time.sleep(LAST_S)
            frames = here.site.frames_seen()
            receipts = list(here.receipts)
        finally:
            rig.end(busy)
            rig.end(sleeper)
        sleeper_log.seek(0)
        host = [float(line) for line in sleeper_log]
        sleeper_log.close()
    started = {r.order: r for r in receipts if r.stage is Stage.STARTED}
    writes = [((f["unit"], f["address"] + 1), f["first_byte_us"]) for f in frames
              if f["function"] == WRITE_COIL and f["word"] == ON]
    off, quiet, told, missing = [], [], [], 0
    for sample in samples:
        near = [at for place, at in writes if place == sample.place and abs(at - sample.at_us) < min(AHEAD_S) * 1e6]
        if len(near) != 1:
            missing += 1
            continue
        off.append((near[0] - sample.at_us) / 1000)
        if not sample.stolen:
            quiet.append(abs(off[-1]))
        if (receipt := started.get(sample.id)) is not None and receipt.first_edge is not None:
            told.append(abs(to_wall_us(receipt.first_edge) - sample.wall_us) / 1000)
    return {"starts": len(samples), "missing": missing, "early": sum(ms < 0 for ms in off),
            "off_ms": measure.summary([abs(ms) for ms in off]), "steal_free_ms": measure.summary(quiet),
            "host_ms": measure.summary(host),
            "receipts_say_ms": measure.summary(told), "frame_ms": round(FRAME_MS, 1), "hardware_priority": hardware,
            "sirend_nice": nice, "load": round(rig.load(), 2)}


def main() -> None:
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    figures = run(starts)
    quiet = figures["steal_free_ms"]
    assert isinstance(quiet, dict)
    measure.report(figures, {
        f"p99 <= {P99_MS:g} ms": quiet["p99"] is not None and quiet["p99"] <= P99_MS,
        "each start once": figures["missing"] == 0,
    })


if __name__ == "__main__":
    main()
