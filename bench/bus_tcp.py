"""Modbus TCP requests a second: our bus and link, and pymodbus's asyncio client, against one libmodbus server.

Run alone or as part of `bench/bus.py`. Ours has 8 requests in flight; pymodbus has eight callers, which its lock
serves one after the other. Rounds of both alternate, so that a busy host hits both alike.
"""

import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient

from bench import measure
from controller.config import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import BusEvent, Finished, Priority, Read, Reply, Send, Submit, Table, Transaction
from firmware_bridge.link import Link, now_us
from firmware_bridge.machine import Woken

IN_FLIGHT = 8
REQUESTS = 3_000
ROUNDS = 5
TEN = Read(Table.HOLDING, 0, 10)


class Server:
    """The libmodbus server of `libmodbus_server.c`, compiled here."""

    def __init__(self) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise SystemExit("bench: no C compiler; apt-get install gcc libmodbus-dev")
        self._folder = tempfile.TemporaryDirectory()
        program = Path(self._folder.name) / "server"
        source = Path(__file__).with_name("libmodbus_server.c")
        subprocess.run([compiler, "-O2", "-I/usr/include/modbus", str(source), "-o", str(program), "-lmodbus"],
                       check=True)
        self.process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self._folder.cleanup()


async def ours(port: int) -> float:
    """Requests a second of our bus and link."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    up: asyncio.Future[None] = loop.create_future()
    bus = Bus("net", None, in_flight=IN_FLIGHT)
    submitted = answered = 0
    timer: asyncio.TimerHandle | None = None

    def next_one() -> BusEvent:
        nonlocal submitted
        submitted += 1
        return Submit("net", Transaction("bench", submitted, 1, TEN, Priority.POLL))

    def feed(event: BusEvent) -> None:
        nonlocal answered, timer
        work = [event]
        while work:
            for effect in bus.handle(now_us(), work.pop()):
                match effect:
                    case Send(_, data, at_us):
                        link.send(data, at_us)
                    case Finished(_, _, outcome, _):
                        assert isinstance(outcome, Reply), outcome
                        assert outcome.values == tuple(range(10))
                        answered += 1
                        if submitted < REQUESTS:
                            work.append(next_one())
        if timer is not None:
            timer.cancel()
        if bus.deadline is not None:
            timer = loop.call_at(bus.deadline / 1e6, feed, Woken())
        if bus.state.value != "down" and not up.done():
            up.set_result(None)
        if answered >= REQUESTS and not done.done():
            done.set_result(None)

    link = Link(BusSection(id="net", link=f"tcp:127.0.0.1:{port}"), feed)
    link.open()
    await up
    start = time.perf_counter()
    for _ in range(IN_FLIGHT):
        feed(next_one())
    await done
    elapsed = time.perf_counter() - start
    link.close()
    if timer is not None:
        timer.cancel()
    return REQUESTS / elapsed


async def pymodbus(port: int) -> float:
    """Requests a second of pymodbus's client with eight callers."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()

    async def caller() -> None:
        for _ in range(REQUESTS // IN_FLIGHT):
            reply = await client.read_holding_registers(0, count=10, device_id=1)
            assert reply.registers == list(range(10))

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    elapsed = time.perf_counter() - start
    client.close()
    return REQUESTS // IN_FLIGHT * IN_FLIGHT / elapsed


async def run() -> dict[str, object]:
    server = Server()
    steal = measure.steal_ticks()
    mine, theirs = [], []
    try:
        for _ in range(ROUNDS):
            mine.append(await ours(server.port))
            theirs.append(await pymodbus(server.port))
    finally:
        server.close()
    ratio = statistics.median(mine) / statistics.median(theirs)
    return {"ours_per_s": [round(v) for v in mine], "pymodbus_per_s": [round(v) for v in theirs],
            "ratio": round(ratio, 2), "in_flight": IN_FLIGHT, "steal_ticks": measure.steal_ticks() - steal}


def main() -> None:
    figures = asyncio.run(run())
    measure.report(figures, {"ratio >= 1.5": float(str(figures["ratio"])) >= 1.5})


if __name__ == "__main__":
    main()
