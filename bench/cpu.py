"""CPU time of a transaction: our bus and link, and pymodbus's asyncio client, as the master of the same servers.

Ten registers are read over and over: on a pty at 115200 baud, of eight units in turn that `siren-sim` plays (one alone
our bus would not ask the same until no second copy of its answer can come), and from libmodbus over TCP, one request at
a time and with eight waiting (ours has eight in flight then; pymodbus's lock serves eight callers one after the other).
Each master is a process of its own; what counts is the CPU time of that process, all its threads, from the first of the
reads to the last, after some that warm it up. Rounds of both alternate, and the medians are compared.

On the serial line a master sleeps nearly all the time, and whoever is woken pays for cold caches, several times its own
work. Ours is woken twice a transaction: by the answer, and when the line has been silent for 3.5 characters, as the
standard asks (Serial Line V1.02, 2.5.1.1). pymodbus leaves that silence to its caller. So on that line there are two
of it: one whose caller keeps the silence, which does what ours does and is held against it, and one that does not,
which is printed. All cores are kept awake by a spinner of the idle class, and then once more they are not.

    .venv/bin/python -m bench.cpu [--quick]
    .venv/bin/python -m bench.cpu --instructions    # of a transaction, counted by valgrind: the same on any machine
    .venv/bin/python -m bench.cpu --master ours serial:/dev/pts/7 --profile    # where the time goes
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from bench import bus_tcp, measure
from bench.pump import Pump
from bench.site import ROOT, Site
from controller.wiring import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import Reply
from firmware_bridge.framing import Rtu, Tcp, silence_us
from firmware_bridge.machine import S

BAUD = 115200
READS = {"rtu": 500, "tcp": 3000, "tcp, 8 waiting": 3000}
ROUNDS = 5
WARM = 100
"""Reads before the first that counts: imports, the learned turnaround, the caches of the interpreter."""
WAITING = 8
UNITS = 8
"""Units on the serial line: 50 ms pass before one is asked the same again, and a read takes ten."""
BAR = 1.0
COUNTED = 100, 500
"""Reads of the two runs whose difference valgrind is asked for: what starting takes is in both."""
SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
OURS, PEER, HASTY = MASTERS = ("ours", "pymodbus", "pymodbus without silence")


# A master, in its own process.


async def ours(link: str, reads: int, waiting: int) -> int:
    """CPU nanoseconds."""
    answered = 0

    def right(reply: Reply) -> None:
        nonlocal answered
        answered += 1
        assert len(reply.values) == 10

    serial = link.startswith("serial:")
    framing = Rtu(BAUD, 11) if serial else Tcp()
    section = BusSection(id="line", link=link, baud=BAUD) if serial else BusSection(id="line", link=link)
    pump = Pump(Bus("line", framing, 1 if serial else waiting), section, waiting, right,
                UNITS if serial else 1)
    await pump.open()
    await pump.run(WARM)
    began = time.process_time_ns()
    await pump.run(reads)
    taken = time.process_time_ns() - began
    assert answered == WARM + reads
    pump.close()
    return taken


async def pymodbus(link: str, reads: int, waiting: int, silence_s: float) -> int:
    """The same of pymodbus's client, as its documentation shows it; on a line its caller lets it be silent so long."""
    kind, _, where = link.partition(":")
    client: AsyncModbusSerialClient | AsyncModbusTcpClient
    if kind == "serial":
        client = AsyncModbusSerialClient(where, baudrate=BAUD)
    else:
        host, _, port = where.partition(":")
        client = AsyncModbusTcpClient(host, port=int(port))
    assert await client.connect()

    units = UNITS if kind == "serial" else 1

    async def caller(number: int) -> None:
        for n in range(number):
            reply = await client.read_holding_registers(0, count=10, device_id=1 + n % units)
            assert len(reply.registers) == 10
            if silence_s and kind == "serial":
                await asyncio.sleep(silence_s)

    await caller(WARM)
    began = time.process_time_ns()
    await asyncio.gather(*(caller(reads // waiting) for _ in range(waiting)))
    taken = time.process_time_ns() - began
    client.close()
    return taken


def serve(options: argparse.Namespace) -> None:
    """Be the master, and print microseconds a transaction."""
    link, reads, waiting = options.link, options.reads, options.waiting
    silence_s = 0 if options.master == HASTY else silence_us(BAUD) / S
    profiler = cProfile.Profile() if options.profile else None
    if profiler:
        profiler.enable()
    taken = asyncio.run(ours(link, reads, waiting) if options.master == OURS
                        else pymodbus(link, reads, waiting, silence_s))
    if profiler:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    print(json.dumps({"us": taken / 1000 / (reads // waiting * waiting)}))


# The comparison.


@contextmanager
def awake() -> Iterator[None]:
    """No core falls asleep, and nobody is kept from one."""
    spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def command(master: str, link: str, reads: int, waiting: int) -> list[str]:
    return [sys.executable, "-m", "bench.cpu", "--master", master, link, "--reads", str(reads),
            "--waiting", str(waiting)]


def once(master: str, link: str, reads: int, waiting: int) -> float:
    """CPU microseconds a transaction."""
    done = subprocess.run(command(master, link, reads, waiting), stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


def instructions(master: str, link: str, waiting: int) -> int:
    """Of the process a transaction, without the kernel's."""
    counts = []
    for reads in COUNTED:
        done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                               *command(master, link, reads, waiting)],
                              capture_output=True, text=True, cwd=ROOT, check=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found, done.stderr
        counts.append(int(found[1]))
    return (counts[1] - counts[0]) // (COUNTED[1] - COUNTED[0])


def rules(name: str) -> tuple[int, tuple[str, ...]]:
    """How many reads wait at once, and who is compared."""
    return WAITING if "8" in name else 1, MASTERS if name == "rtu" else (OURS, PEER)


def compare(name: str, link: str, rounds: int) -> dict[str, Any]:
    waiting, masters = rules(name)
    taken: dict[str, list[float]] = {master: [] for master in masters}
    steal = measure.steal_ticks()
    for _ in range(rounds):
        for master in masters:
            taken[master].append(round(once(master, link, READS[name], waiting), 1))
    medians = {master: statistics.median(taken[master]) for master in masters}
    ratios = {master: round(medians[OURS] / medians[master], 3) for master in masters[1:]}
    words = ", ".join(f"{master} {medians[master]:.0f} (ratio {ratio:.2f})" for master, ratio in ratios.items())
    print(f"{name}: ours {medians[OURS]:.0f} us a transaction, {words}", flush=True)
    return {"us": taken, "ratios": ratios, "steal_ticks": measure.steal_ticks() - steal}


@contextmanager
def links() -> Iterator[dict[str, str]]:
    """What each figure is measured on."""
    with Site(Path(__file__).with_name("registers.toml"), [f"line[line-1].baud={BAUD}"]) as site:
        server = bus_tcp.Server()
        try:
            tcp = f"tcp:127.0.0.1:{server.port}"
            yield {"rtu": str(site.ask({"do": "state"})["links"]["line-1"]), "tcp": tcp, "tcp, 8 waiting": tcp}
        finally:
            server.close()


def run(rounds: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with links() as where:
        for name, link in where.items():
            with awake() if name == "rtu" else nullcontext():
                found[name] = compare(name, link, rounds)
        found["rtu, asleep"] = compare("rtu", where["rtu"], rounds)
    return found


def count() -> dict[str, dict[str, float]]:
    found = {}
    with links() as where:
        for name, link in where.items():
            waiting, masters = rules(name)
            counts = {master: instructions(master, link, waiting) for master in masters}
            found[name] = {**counts, "ratio": round(counts[OURS] / counts[PEER], 3)}
            print(f"{name}: {found[name]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("link", nargs="?", help="with --master: serial:PATH or tcp:HOST:PORT")
    parser.add_argument("--master", choices=MASTERS, help="be this master, and print what it took")
    parser.add_argument("--reads", type=int, default=1000)
    parser.add_argument("--waiting", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="with --master: say where the time went")
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--instructions", action="store_true", help="count them, with valgrind")
    options = parser.parse_args()
    if options.master:
        if not options.link:
            parser.error("--master needs a link")
        serve(options)
        return
    if options.instructions:
        if shutil.which("valgrind") is None:
            parser.error("no valgrind; apt-get install valgrind")
        counted = count()
        measure.report({"instructions": counted},
                       {f"{name}: ratio <= {BAR:g}": one["ratio"] <= BAR for name, one in counted.items()})
    found = run(2 if options.quick else ROUNDS)
    measure.report({**found, "rounds": 2 if options.quick else ROUNDS, "reads": READS},
                   {f"{name}: ratio <= {BAR:g}": one["ratios"][PEER] <= BAR for name, one in found.items()})


if __name__ == "__main__":
    main()
