"""From an order on MQTT to its first write on the wire, on a polled line at 9600 baud of which one unit is dead.

Signed drill orders of half a second each, at random moments, for sixteen sirens on two boards in turn, so that no
order waits for another. The hardware's own log of requests tells when each write began, and how often the relay closed:
an order is executed when its relay closes once, between it and the next order of that relay. A level write that was
said again because its acknowledgement was lost finds the relay closed; such writes are counted apart.
"""

import random
import sys
import time
from dataclasses import dataclass

from bench import measure, rig
from bench.rig import Rig
from controller.wire import Stage

ORDERS = 300
GAP_S = (0.3, 1.5)
SETTLE_S = 10.0
"""After the start: the dead unit is known for dead, the others are polled."""
LAST_S = 4.0
"""Until the last order is finished."""
WATCH_S = 0.25
"""So long after an order CPU steal belongs to it: more than the slowest takes, less than the shortest gap."""
SEED = 1
P99_MS, POLLED = 150.0, 0.95
SIRENS = [(board, channel) for channel in range(1, 9) for board in (1, 2)]
HEALTHY, DEAD = (1, 2, 3), 4
WRITE_COIL, READ_WORDS, ON = 5, 3, 0xFF00


@dataclass
class Sample:
    """One order: for which relay, when, and how much CPU the host stole meanwhile."""

    id: str
    place: tuple[int, int]
    at_us: int
    stolen: int


def give(here: Rig, orders: int, chance: random.Random) -> list[Sample]:
    samples = []
    for n in range(orders):
        board, channel = SIRENS[n % len(SIRENS)]
        id, signed = here.order(f"s-{board}{channel}")
        gap_s, steal = chance.uniform(*GAP_S), measure.steal_ticks()
        at_us = here.publish(signed)
        time.sleep(WATCH_S)
        samples.append(Sample(id, (board, channel), at_us, measure.steal_ticks() - steal))
        time.sleep(gap_s - WATCH_S)
    return samples


def run(orders: int) -> dict[str, object]:
    with Rig("line") as here:
        time.sleep(SETTLE_S)
        cpu, began = rig.cpu_s(here.sirend.pid), time.monotonic()
        samples = give(here, orders, random.Random(SEED))
        elapsed = time.monotonic() - began
        cpu = rig.cpu_s(here.sirend.pid) - cpu
        time.sleep(LAST_S)
        frames = here.site.frames_seen()
        finished = {r.order for r in here.receipts if r.stage is Stage.FINISHED}
    writes = {place: [] for place in SIRENS}  # type: dict[tuple[int, int], list[int]]
    closed: set[tuple[int, int]] = set()
    repeats = 0
    for f in frames:
        if f["function"] == WRITE_COIL:
            place = f["unit"], f["address"] + 1
            if f["word"] == ON and place in closed:
                # The relay is closed already: its acknowledgement was lost, and the write was said again.
                repeats += 1
            elif f["word"] == ON:
                writes[place].append(f["first_byte_us"])
            (closed.add if f["word"] == ON else closed.discard)(place)
    taken, quiet, missing, twice = [], [], 0, 0
    for n, sample in enumerate(samples):
        until_us = samples[n + len(SIRENS)].at_us if n + len(SIRENS) < len(samples) else sys.maxsize
        own = [at for at in writes[sample.place] if sample.at_us <= at < until_us]
        missing += not own
        twice += len(own) > 1
        if own:
            taken.append((own[0] - sample.at_us) / 1000)
            if not sample.stolen:
                quiet.append(taken[-1])
    first_us, last_us = samples[0].at_us, samples[-1].at_us
    meanwhile = [f for f in frames if first_us <= f["first_byte_us"] < last_us]
    seconds = (last_us - first_us) / 1e6
    polls = {unit: round(sum(f["unit"] == unit and f["function"] == READ_WORDS for f in meanwhile) / seconds, 3)
             for unit in HEALTHY}
    probes = sum(f["unit"] == DEAD for f in meanwhile)
    return {"orders": len(samples), "missing": missing, "twice": twice,
            "finished": sum(s.id in finished for s in samples), "closings": sum(map(len, writes.values())),
            "repeated_writes": repeats,
            "order_to_wire_ms": measure.summary(taken, 1), "steal_free_ms": measure.summary(quiet, 1),
            "polls_per_s": polls, "healthy_polls": min(polls.values()),
            "dead_probes_per_s": round(probes / seconds, 3),
            "sirend_cpu_share": round(cpu / elapsed, 3), "load": round(rig.load(), 2)}


def main() -> None:
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    figures = run(orders)
    quiet = figures["steal_free_ms"]
    assert isinstance(quiet, dict)
    measure.report(figures, {
        f"p99 <= {P99_MS:g} ms": quiet["p99"] is not None and quiet["p99"] <= P99_MS,
        "each order once": figures["missing"] == figures["twice"] == 0 and figures["closings"] == figures["orders"],
        f"healthy polls >= {POLLED:.0%}": float(str(figures["healthy_polls"])) >= POLLED,
    })


if __name__ == "__main__":
    main()
