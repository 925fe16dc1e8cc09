"""One cell of the table: one gateway, 0, 1 or 3 of four units dead, and a few dozen orders at random moments.

For all of them the same instrument: the emulated line's own log of requests. An order is given when it is handed to
the broker, and done when the first octet of the first write that carries it is on the wire. A unit was polled when a
request read its register 0.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import measure, rig
from bench.peers import start
from bench.rig import Rig
from bench.site import ROOT, Site
from simulators.city import free_port

OURS = "ours"
UNITS = (1, 2, 3, 4)
GAP_S = (1.5, 3.5)
SETTLE_S = 6.0
"""After every living unit was polled and the gateway said so: the dead are known for dead by who wants to know it."""
READY_S = 40.0
"""Who has not polled every living unit and said so by now will not."""
LAST_S = 12.0
"""What was not executed so long after the last order is counted as not executed."""
WATCH_S = 0.25
"""So long after an order CPU steal belongs to it."""
SEED = 7
FIRST_VALUE = 30_000
RELAYS = 8
WRITE_COIL, WRITE_WORD, WRITE_WORDS, READ_WORDS, ON = 5, 6, 16, 3, 0xFF00

Frame = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one cell measures."""

    peer: str
    dead: int
    orders: int
    timeout_s: float
    venvs: Path

    @property
    def living(self) -> tuple[int, ...]:
        return UNITS[: len(UNITS) - self.dead]

    @property
    def settings(self) -> list[str]:
        """What the simulated site is told: who is dead, and that registers may be written where a peer writes them."""
        out = [f"unit[board-{unit}].dead={'false' if unit in self.living else 'true'}" for unit in UNITS]
        if self.peer != OURS:
            out += [f"unit[board-{unit}].profile=bench_registers" for unit in UNITS]
        return out


@dataclass
class Running:
    """A gateway at work. `give` hands order n to the broker and says when; `is_write` knows its write on the wire.

    `again`: order n + again is written just as order n is, so that its moment divides them; None: none ever is.
    """

    site: Site
    process: "subprocess.Popen[bytes]"
    give: Callable[[int], int]
    is_write: Callable[[int, Frame], bool]
    again: int | None
    greet: Callable[[], bool] = lambda: True
    """Call it until it says that the gateway is at work, beyond its polling."""


@dataclass
class Sample:
    at_us: int
    stolen: int


@contextmanager
def ours(job: Job) -> Iterator[Running]:
    """A real sirend; each order is a signed drill of half a second for the next of unit 1's eight relays."""
    with Rig("line", settings=job.settings) as here:
        def give(n: int) -> int:
            _, signed = here.order(f"s-1{n % RELAYS + 1}")
            return here.publish(signed)

        def is_write(n: int, frame: Frame) -> bool:
            what = (frame["unit"], frame["function"], frame["address"], frame["word"])
            return what == (1, WRITE_COIL, n % RELAYS, ON)

        yield Running(here.site, here.sirend, give, is_write, RELAYS)


@contextmanager
def theirs(job: Job) -> Iterator[Running]:
    """A peer; each order is a value of its own for register 0 of unit 1."""
    peer = start.PEERS[job.peer]
    with ExitStack() as stack:
        site = stack.enter_context(Site(ROOT / "bench" / "line_site.toml", job.settings))
        log = stack.enter_context((site.folder / "log").open("a+"))
        port = free_port()
        (site.folder / "acl").write_text(start.access())
        stack.callback(rig.end, rig.start_broker(site.folder, port, log, peer.broker.format(folder=site.folder)))
        said: list[str] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench")
        client.on_message = lambda *rest: said.append(rest[-1].topic)
        client.connect("127.0.0.1", port)
        client.subscribe(peer.says)
        client.loop_start()
        stack.callback(client.loop_stop)
        place = start.Place(job.venvs / job.peer, site.folder / "peer", site.file.parent / "run" / "line-1", port,
                            UNITS, job.timeout_s)
        process = start.start(peer, place, log)
        stack.callback(start.end, process)

        def give(n: int) -> int:
            topic, payload = peer.order(n, FIRST_VALUE + n)
            at_us = time.monotonic_ns() // 1000
            client.publish(topic, payload, qos=1)
            return at_us

        def is_write(n: int, frame: Frame) -> bool:
            value = f"{FIRST_VALUE + n:04x}"
            return (frame["unit"] == 1 and frame["function"] in (WRITE_WORD, WRITE_WORDS)
                    and frame["pdu"].endswith(value))

        def greet() -> bool:
            if not said and peer.greeting is not None:
                client.publish(*peer.greeting)
            return bool(said)

        try:
            yield Running(site, process, give, is_write, None, greet)
        except TimeoutError as late:
            log.seek(0)
            raise SystemExit(f"bench: {job.peer}: {late}\n{log.read()[-3000:]}") from None


def is_poll(frame: Frame, unit: int) -> bool:
    return bool(frame["unit"] == unit and frame["function"] == READ_WORDS and frame["address"] == 0)


def wait_ready(running: Running, living: tuple[int, ...]) -> None:
    until = time.monotonic() + READY_S
    while not (running.greet() and all(any(is_poll(f, unit) for f in running.site.frames_seen()) for unit in living)):
        if time.monotonic() > until:
            raise TimeoutError(f"was not at work with every living unit within {READY_S:g} s")
        time.sleep(0.5)


def give_all(running: Running, orders: int) -> list[Sample]:
    chance, samples = random.Random(SEED), []
    for n in range(orders):
        gap_s, steal = chance.uniform(*GAP_S), measure.steal_ticks()
        at_us = running.give(n)
        time.sleep(WATCH_S)
        samples.append(Sample(at_us, measure.steal_ticks() - steal))
        time.sleep(gap_s - WATCH_S)
    return samples


def writes_of(running: Running, frames: list[Frame], samples: list[Sample]) -> list[list[int]]:
    """When the write of each order went over the wire, each time it did."""
    out = []
    for n, sample in enumerate(samples):
        later = samples[n + running.again :] if running.again else []
        until_us = later[0].at_us if later else sys.maxsize
        out.append([f["first_byte_us"] for f in frames
                    if running.is_write(n, f) and sample.at_us <= f["first_byte_us"] < until_us])
    return out


def measured(job: Job) -> dict[str, Any]:
    with (ours if job.peer == OURS else theirs)(job) as running:
        wait_ready(running, job.living)
        time.sleep(SETTLE_S)
        steal, began_us = measure.steal_ticks(), time.monotonic_ns() // 1000
        samples = give_all(running, job.orders)
        ended_us, steal = time.monotonic_ns() // 1000, measure.steal_ticks() - steal
        until = time.monotonic() + LAST_S
        while True:
            writes = writes_of(running, running.site.frames_seen(), samples)
            if all(writes) or time.monotonic() > until:
                break
            time.sleep(0.5)
        frames = running.site.frames_seen()
        alive, load = running.process.poll() is None, rig.load()
    taken = [(own[0] - s.at_us) / 1000 for own, s in zip(writes, samples, strict=True) if own]
    quiet = [(own[0] - s.at_us) / 1000 for own, s in zip(writes, samples, strict=True) if own and not s.stolen]
    seconds = (ended_us - began_us) / 1e6
    polls, gaps = {}, {}
    for unit in job.living:
        at = [f["first_byte_us"] for f in frames if is_poll(f, unit) and began_us <= f["first_byte_us"] < ended_us]
        polls[unit] = round(len(at) / seconds, 3)
        gaps[unit] = round(max(b - a for a, b in zip([began_us, *at], [*at, ended_us], strict=True)) / 1e6, 2)
    asked = sum(f["unit"] not in job.living and began_us <= f["first_byte_us"] < ended_us for f in frames)
    return {
        "date": datetime.now(UTC).date().isoformat(), "orders": len(samples), "executed": len(taken),
        "duplicates": sum(len(own) - 1 for own in writes if own), "order_to_wire_ms": measure.summary(taken, 1),
        "steal_free_ms": measure.summary(quiet, 1), "polls_per_s": polls, "slowest_polls_per_s": min(polls.values()),
        "largest_gap_s": max(gaps.values()), "asks_of_the_dead_per_s": round(asked / seconds, 2), "alive": alive,
        "seconds": round(seconds, 1), "steal_ticks": steal, "load": round(load, 2),
    }


def version(job: Job) -> str:
    """What was measured, as its own package says it; ours by its commit."""
    if job.peer == OURS:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                              text=True).stdout.strip()
    packages = start.PEERS[job.peer].packages
    script = f"import importlib.metadata as m, json; print(json.dumps([m.version(p) for p in {packages!r}]))"
    asked = subprocess.run([job.venvs / job.peer / "bin" / "python", "-c", script], capture_output=True, text=True)
    if asked.returncode != 0:
        raise SystemExit(f"bench: {job.peer} is not in {job.venvs}; run: sh bench/peers/setup.sh {job.venvs}")
    return ", ".join(f"{p} {v}" for p, v in zip(packages, json.loads(asked.stdout), strict=True))
