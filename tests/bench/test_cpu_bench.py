"""Both masters of the CPU bench do the reads they are paid for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import bus_tcp, cpu

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")) or not Path("/usr/include/modbus/modbus.h").exists(),
    reason="needs a C compiler and libmodbus-dev")


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    server = bus_tcp.Server()
    yield f"tcp:127.0.0.1:{server.port}"
    server.close()


@pytest.mark.parametrize("master", [cpu.OURS, cpu.PEER])
@pytest.mark.parametrize("waiting", [1, cpu.WAITING])
def test_a_read_costs_something(link: str, master: str, waiting: int) -> None:
    """No read of Python through the kernel and back takes less than 5 us; a pump that does not run takes nothing."""
    assert 5 < cpu.once(master, link, 40, waiting) < 1e6
