"""What the black box costs: CPU on the loop and in its thread, octets a moment, and how long its disk space lasts.

A real sirend drives the polled line of `bench/order.py` for a while; then what it recorded is handed, as fast as it
goes, to a black box of this process, so that nothing but that is measured. The share of the loop is what the bus path
pays; the thread's share is paid beside it.
"""

import json
import sys
import tempfile
import time
import zlib
from pathlib import Path

from bench import measure, rig
from bench.rig import Rig
from controller import origin, relive, segment, snapshot
from controller.blackbox import MOMENT_BYTES, WAITING_BYTES, Blackbox

SECONDS = 60.0
ROUNDS = 20
"""So often what was recorded is handed over again: enough moments for a figure."""
SIZE_MB = 64
"""The default of gateway.toml."""
LOOP_US, SHARE = 10.0, 0.005
DAY_S = 24 * 3600


def record(seconds: float) -> tuple[segment.Segment, float, int]:
    """A run of a real gateway, the CPU share that it took in all, and the octets of its moments on the disk."""
    with Rig("line") as here:
        time.sleep(2)
        cpu, began = rig.cpu_s(here.sirend.pid), time.monotonic()
        time.sleep(seconds)
        share = (rig.cpu_s(here.sirend.pid) - cpu) / (time.monotonic() - began)
        rig.end(here.sirend)
        (file,) = segment.files(next(here.site.folder.rglob("*.blackbox")))
        (one,) = segment.segments(file)
        beginning = [one.header, *([r.kind, r.body] for r in one.records)]
        size = file.stat().st_size - len(zlib.compress("\n".join(map(json.dumps, beginning)).encode()))
    return one, share, size


def run(seconds: float) -> dict[str, object]:
    steal = measure.steal_ticks()
    one, share, size = record(seconds)
    made = origin.read(one.header["origin"])
    gateway = made.gateway(one.records)
    steps = list(relive.steps(gateway, one.moments()))
    different = sum(not step.same for step in steps)
    passed_s = (steps[-1].moment.at_us - steps[0].moment.at_us) / 1e6
    taken: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        state = snapshot.take(gateway)
        taken.append((time.perf_counter() - began) * 1000)
    with tempfile.TemporaryDirectory() as folder:
        box = Blackbox(Path(folder), SIZE_MB * 2**20, 0, one.header["origin"], one.records, lambda: state, print)
        time.sleep(1.5)
        cpu = time.process_time()
        loop_s, at_us, n = 0.0, 0, 0
        shift = steps[-1].moment.at_us - steps[0].moment.at_us + 1000
        for again in range(ROUNDS):
            began = time.thread_time()
            for step in steps:
                at_us = step.moment.at_us + again * shift
                box.note(at_us, step.moment.event, step.effects)
            loop_s += time.thread_time() - began
            n += len(steps)
            while box._put - box._got > WAITING_BYTES // 2 - MOMENT_BYTES * len(steps):
                time.sleep(0.05)
        box.close()
        cpu = time.process_time() - cpu
    per_moment = size / len(steps)
    per_s = len(steps) / passed_s
    return {
        "moments": len(steps), "moments_per_s": round(per_s, 1), "different": different,
        "loop_us_per_moment": round(loop_s / n * 1e6, 2), "all_us_per_moment": round(cpu / n * 1e6, 2),
        "share_of_a_core": round(cpu / n * per_s, 5), "share_of_sirend": round(cpu / n * per_s / share, 4),
        "sirend_share_of_a_core": round(share, 4), "octets_per_moment": round(per_moment, 1),
        "mib_per_day": round(per_moment * per_s * DAY_S / 2**20, 1),
        "days_in_default": round(SIZE_MB * 2**20 / (per_moment * per_s * DAY_S), 1),
        "snapshot_ms": measure.summary(taken), "snapshot_kib": round(len(state) / 1024),
        "steal_ticks": measure.steal_ticks() - steal, "load": round(rig.load(), 2),
    }


def main() -> None:
    figures = run(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    measure.report(figures, {
        f"loop <= {LOOP_US:g} us a moment": float(str(figures["loop_us_per_moment"])) <= LOOP_US,
        f"share <= {SHARE:.1%} of a core": float(str(figures["share_of_a_core"])) <= SHARE,
        "lives again without a difference": figures["different"] == 0,
    })


if __name__ == "__main__":
    main()
