"""What the black box costs: CPU on the loop and in its thread, octets a moment, and how long its disk space lasts.

A real sirend drives the polled line of `bench/order.py` for a while; then what it recorded is handed, as fast as it
goes, to a black box of this process, so that nothing but that is measured. The share of the loop is what the bus path
pays; the thread's share is paid beside it. What a snapshot costs is measured of that gateway, and of one that has lived
for weeks: all the lines and orders that it may keep.
"""

import json
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from bench import measure, rig
from bench.rig import Rig
from controller import origin, relive, segment, snapshot, wire
from controller.blackbox import MOMENT_BYTES, WAITING_BYTES, Blackbox
from controller.event import Rank, Record
from controller.gateway import Gateway
from controller.ledger import KNOWN_LIMIT, Accept
from controller.origin import Origin
from controller.outbox import LINES_LIMIT
from controller.wire import Action, Mode
from firmware_bridge.machine import S

SECONDS = 60.0
ROUNDS = 20
"""So often what was recorded is handed over again: enough moments for a figure."""
SIZE_MB = 64
"""The default of gateway.toml."""
LOOP_US, SHARE = 10.0, 0.005
DAY_S = 24 * 3600
SNAPSHOTS = 20
GROWN_MS = 30.0
"""Of CPU on the loop, for the snapshot of a grown gateway: what it took before is ten times that."""
WALL_US = 1_789_696_800_000_000


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


def grown(made: Origin, delivered: bool) -> Gateway:
    """It has all the orders and lines that it may keep, and the broker has all of these, or none."""
    sirens = tuple(siren.id for siren in made.config.spec.siren)
    at = wire.to_text(WALL_US)
    records: list[Record] = []
    each = -(-LINES_LIMIT // KNOWN_LIMIT)
    for n in range(KNOWN_LIMIT):
        accept = Accept(
            order=f"{n:032x}", digest=f"{n:064x}", action=Action.SOUND, mode=Mode.DRILL, rank=Rank.DRILL, by="Li Wei",
            persons=("Li Wei",), keys=(f"{n % 3:043}",), area="41/01", door="mqtt", at=at, issued_wall_us=WALL_US,
            expires_wall_us=WALL_US + 300 * S, start_wall_us=WALL_US, scheduled=False, limit_us=190 * S, sirens=sirens,
            sound="air-raid", sound_digest=f"{1:064x}")
        records.append(Record("accept", accept.model_dump(mode="json", exclude_none=True)))
        for k in range(max(each, len(sirens))):
            seq = n * max(each, len(sirens)) + k + 1
            # The last word of each siren; further lines tell of the way there.
            records.append(Record("receipt", {
                "v": 1, "seq": seq, "gateway": made.config.id, "at": at, "order": accept.order, "mode": "drill",
                "siren": sirens[k % len(sirens)], "stage": "finished" if k < len(sirens) else "sensed", "reason": "",
                "evidence": {"phases": 3, "commanded": 3, "sensed": 3, "heard": 0, "independent": True}}))
            records += [Record("delivered", {"seq": seq})] * delivered
    return made.gateway(records)


def standing(gateway: Gateway) -> tuple[list[float], list[float], int]:
    """Milliseconds of CPU for which the loop stands, and for which the thread works after it; octets in all."""
    loop, after, size = [], [], 0
    for _ in range(SNAPSHOTS):
        began = time.thread_time()
        taken = snapshot.take(gateway)
        loop.append((time.thread_time() - began) * 1000)
        began = time.thread_time()
        size = sum(map(len, taken))
        after.append((time.thread_time() - began) * 1000)
    return loop, after, size


def run(seconds: float) -> dict[str, Any]:
    steal = measure.steal_ticks()
    one, share, size = record(seconds)
    made = origin.read(one.header["origin"])
    gateway = made.gateway(one.records)
    steps = list(relive.steps(gateway, one.moments()))
    different = sum(not step.same for step in steps)
    passed_s = (steps[-1].moment.at_us - steps[0].moment.at_us) / 1e6
    fresh, state = standing(gateway), snapshot.take(gateway)
    old = {name: standing(grown(made, delivered)) for name, delivered in (("grown", True), ("grown_offline", False))}
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
        "snapshot_ms": measure.summary(fresh[0]), "snapshot_kib": round(fresh[2] / 1024),
        **{f"{name}_{what}": figure for name, (loop, after, size) in old.items() for what, figure in (
            ("snapshot_ms", measure.summary(loop)), ("after_ms", measure.summary(after)), ("kib", round(size / 1024)))},
        "steal_ticks": measure.steal_ticks() - steal, "load": round(rig.load(), 2),
    }


def main() -> None:
    figures = run(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    measure.report(figures, {
        f"loop <= {LOOP_US:g} us a moment": float(str(figures["loop_us_per_moment"])) <= LOOP_US,
        f"share <= {SHARE:.1%} of a core": float(str(figures["share_of_a_core"])) <= SHARE,
        **{f"{name}: the loop stands <= {GROWN_MS:g} ms of CPU (median)":
           bool(figures[f"{name}_snapshot_ms"]["median"] <= GROWN_MS) for name in ("grown", "grown_offline")},
        "lives again without a difference": figures["different"] == 0,
    })


if __name__ == "__main__":
    main()
