"""Somebody else's masters on the simulated site: mbpoll (libmodbus) and pymodbus's client read and drive it.

What our own link and bus think of a simulated unit proves little: both ends are ours. These are not.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from simulators import site
from simulators.serve import Server

ROOT = Path(__file__).parents[2]
SITE = f"""
[site]
id = "peers"
profiles = "{ROOT}/configs/profiles"
[[line]]
id = "wire"
kind = "rtu"
path = "wire"
baud = 38400
[[line]]
id = "net"
kind = "tcp"
port = 0
[[line]]
id = "gate"
kind = "tcp"
port = 0
refuse_silent = true
""" + "".join(f"""
[[unit]]
id = "relay-{line}"
line = "{line}"
unit = 1
profile = "waveshare_rtu_relay"
[[unit]]
id = "meter-{line}"
line = "{line}"
unit = 2
profile = "generic_input_module"
initial = {{ current_1 = 1.23, current_8 = 4.56, contact_2 = true }}
[[unit]]
id = "gauge-{line}"
line = "{line}"
unit = 3
profile = "qdy30a"
[[unit]]
id = "beacon-{line}"
line = "{line}"
unit = 4
profile = "evikon_ek61"
""" for line in ("wire", "net", "gate"))

PATIENCE_S = 60.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "site.toml").write_text(SITE)
    server = Server(site.load(tmp_path / "site.toml"))
    await server.start()
    yield server
    await server.stop()


class Mbpoll:
    """The program, run once for each request."""

    def __init__(self, link: str) -> None:
        kind, _, where = link.partition(":")
        if kind == "serial":
            self._line, self._where = ["-m", "rtu", "-b", "38400", "-P", "none"], where
        else:
            host, _, port = where.partition(":")
            self._line, self._where = ["-m", "tcp", "-p", port], host

    async def run(self, unit: int, table: int, address: int, *more: str,
                  write: tuple[int, ...] = ()) -> tuple[int, str]:
        """`table` is mbpoll's -t: 0 coil, 1 discrete, 3 input, 4 holding."""
        process = await asyncio.create_subprocess_exec(
            "mbpoll", *self._line, "-a", str(unit), "-t", str(table), "-0", "-r", str(address), "-1", "-o", "3", *more,
            self._where, *map(str, write), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return process.returncode or 0, out.decode()

    async def read(self, unit: int, table: int, address: int, count: int) -> list[int]:
        code, out = await self.run(unit, table, address, "-c", str(count))
        assert code == 0, out
        return [int(v) for v in re.findall(r"^\[\d+\]:\s+(-?\d+)", out, re.MULTILINE)]

    async def write(self, unit: int, table: int, address: int, *values: int) -> None:
        code, out = await self.run(unit, table, address, write=values)
        assert code == 0, out
        assert f"Written {len(values)} references" in out


@pytest.fixture(params=["wire", "net"])
def mbpoll(server: Server, request: pytest.FixtureRequest) -> Mbpoll:
    if shutil.which("mbpoll") is None:
        pytest.skip("mbpoll is not installed (apt install mbpoll): libmodbus has NOT been tried against the simulator")
    return Mbpoll(server.links[request.param])


async def test_mbpoll_reads_every_table(mbpoll: Mbpoll) -> None:
    assert await mbpoll.read(2, 3, 0, 8) == [123, 0, 0, 0, 0, 0, 0, 456]
    assert await mbpoll.read(2, 1, 0, 8) == [0, 1, 0, 0, 0, 0, 0, 0]
    assert await mbpoll.read(3, 4, 2, 2) == [7, 3]
    assert await mbpoll.read(1, 0, 0, 8) == [0] * 8


async def test_mbpoll_switches_a_relay_and_a_horn(server: Server, mbpoll: Mbpoll) -> None:
    await mbpoll.write(1, 0, 2, 1)
    assert await mbpoll.read(1, 0, 0, 8) == [0, 0, 1, 0, 0, 0, 0, 0]
    await mbpoll.write(1, 0, 4, 1, 1, 0)
    assert await mbpoll.read(1, 0, 0, 8) == [0, 0, 1, 0, 1, 1, 0, 0]
    await mbpoll.write(4, 4, 2, 70, 30)
    await mbpoll.write(4, 4, 0, 4)
    assert await mbpoll.read(4, 4, 2, 2) == [70, 30]
    assert sum(on for (unit, _), on in server.field.sounding().items() if unit.startswith("beacon")) == 1
    await mbpoll.write(4, 4, 0, 0)
    assert not any(server.field.sounding().values())


async def test_mbpoll_is_refused_what_is_not_there_and_hears_nothing_of_who_is_not(mbpoll: Mbpoll) -> None:
    code, out = await mbpoll.run(3, 4, 900, "-c", "1")
    assert code != 0
    assert "Illegal data address" in out
    code, out = await mbpoll.run(9, 4, 0, "-c", "1")
    assert code != 0
    assert "timed out" in out


@pytest.fixture(params=["wire", "net"])
async def client(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    _, _, where = server.links[request.param].partition(":")
    client: Any
    if request.param == "wire":
        client = AsyncModbusSerialClient(where, baudrate=38400, timeout=5, retries=0)
    else:
        client = AsyncModbusTcpClient("127.0.0.1", port=int(where.rpartition(":")[2]), timeout=5, retries=0)
    assert await client.connect()
    yield client
    client.close()


async def test_pymodbus_reads_and_drives(server: Server, client: Any) -> None:
    assert (await client.read_input_registers(0, count=8, device_id=2)).registers == [123, 0, 0, 0, 0, 0, 0, 456]
    assert (await client.read_discrete_inputs(0, count=8, device_id=2)).bits == [False, True] + [False] * 6
    assert (await client.read_holding_registers(2, count=2, device_id=3)).registers == [7, 3]
    assert not (await client.write_coil(0, True, device_id=1)).isError()
    assert not (await client.write_coils(6, [True, True], device_id=1)).isError()
    assert (await client.read_coils(0, count=8, device_id=1)).bits == [True] + [False] * 5 + [True, True]
    assert not (await client.write_registers(2, [70, 30], device_id=4)).isError()
    assert not (await client.write_register(0, 4, device_id=4)).isError()
    assert sum(server.field.sounding().values()) == 1
    assert not (await client.write_register(0, 0, device_id=4)).isError()
    assert not any(server.field.sounding().values())


async def test_pymodbus_is_refused_what_is_not_there(client: Any) -> None:
    reply = await client.read_holding_registers(900, count=1, device_id=3)
    assert (reply.isError(), reply.exception_code) == (True, 2)
    assert (await client.read_holding_registers(2, count=2, device_id=3)).registers == [7, 3]


async def test_pymodbus_hears_what_a_gateway_says_of_a_silent_unit(server: Server) -> None:
    port = int(server.links["gate"].rpartition(":")[2])
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
    assert await client.connect()
    reply = await client.read_holding_registers(0, count=1, device_id=9)
    assert (reply.isError(), reply.exception_code) == (True, 0x0B)
    client.close()


async def test_pymodbus_gives_up_on_a_unit_that_is_not_there(server: Server) -> None:
    path = server.links["wire"].removeprefix("serial:")
    client = AsyncModbusSerialClient(path, baudrate=38400, timeout=0.5, retries=0)
    assert await client.connect()
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=1, device_id=9)
    client.close()
