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
from bench.pump import Pump
from controller.wiring import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import Reply
from firmware_bridge.framing import Tcp

IN_FLIGHT = 8
REQUESTS = 3_000
ROUNDS = 5


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
    def right(reply: Reply) -> None:
        assert reply.values == tuple(range(10))

    link = BusSection(id="net", link=f"tcp:127.0.0.1:{port}")
    pump = Pump(Bus("net", Tcp(), IN_FLIGHT), link, IN_FLIGHT, right)
    await pump.open()
    start = time.perf_counter()
    await pump.run(REQUESTS)
    elapsed = time.perf_counter() - start
    pump.close()
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
