"""A C program on libmodbus (`master.c`) drives the simulated site over a pty and over TCP, in one connection each.

mbpoll opens the line anew for every request; a program of somebody's own keeps it open and mixes units and functions.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators import site
from simulators.serve import Server
from tests.peers.test_mbpoll import SITE

HERE = Path(__file__).parent
BAUD = 38400
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built here."""
    untried = "libmodbus has NOT been tried as a C program against the simulator"
    if shutil.which("gcc") is None or shutil.which("pkg-config") is None:
        pytest.skip(f"gcc or pkg-config is not installed: {untried}")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True)
    if flags.returncode != 0:
        pytest.skip(f"libmodbus-dev is not installed (apt install libmodbus-dev): {untried}")
    program = tmp_path_factory.mktemp("libmodbus") / "master"
    built = subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", str(program),
                            str(HERE / "master.c"), *flags.stdout.split()], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "site.toml").write_text(SITE)
    server = Server(site.load(tmp_path / "site.toml"))
    await server.start()
    yield server
    await server.stop()


async def ask(master: Path, link: str, *requests: str) -> list[str]:
    """What the program says to each of these, in one run."""
    kind, _, where = link.partition(":")
    place = ["rtu", where, str(BAUD)] if kind == "serial" else ["tcp", *where.rsplit(":", 1)]
    process = await asyncio.create_subprocess_exec(
        str(master), *place, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate("".join(f"{r}\n" for r in requests).encode()), PATIENCE_S)
    assert (process.returncode, err.decode()) == (0, "")
    said = [line.strip() for line in out.decode().splitlines()]
    assert len(said) == len(requests)
    return said


lines = pytest.mark.parametrize("line", ["wire", "net"])


@lines
async def test_it_reads_every_table_of_every_unit(server: Server, master: Path, line: str) -> None:
    assert await ask(master, server.links[line], "input 2 0 8", "discrete 2 0 8", "holding 3 2 2", "coils 1 0 8",
                     "holding 1 0x8000 1", "input 2 7 1") == [
        "123 0 0 0 0 0 0 456", "0 1 0 0 0 0 0 0", "7 3", "0 0 0 0 0 0 0 0", "200", "456"]


@lines
async def test_it_writes_with_all_four_functions_and_reads_back(server: Server, master: Path, line: str) -> None:
    assert await ask(master, server.links[line], "coil 1 2 1", "many_coils 1 4 1 1 0", "coils 1 0 8",
                     "many_registers 4 2 70 30", "register 4 0 4", "holding 4 2 2", "holding 4 0 1") == [
        "written", "written", "0 0 1 0 1 1 0 0", "written", "written", "70 30", "4"]
    assert {unit for (unit, _), on in server.field.sounding().items() if on} == {f"beacon-{line}"}
    assert [server.field.value(f"relay-{line}", f"relay_{n}") for n in (3, 4, 5, 6)] == [True, False, True, True]
    assert await ask(master, server.links[line], "register 4 0 0", "many_coils 1 0 0 0 0 0 0 0 0 0") == ["written"] * 2
    assert not any(server.field.sounding().values())


@lines
async def test_it_is_refused_in_the_words_of_the_standard_and_goes_on(
        server: Server, master: Path, line: str) -> None:
    assert await ask(master, server.links[line], "holding 3 900 1", "holding 3 2 2", "coils 3 0 1", "both 3 2 2 4 1",
                     "coil 1 900 1", "coils 1 0 8") == [
        "error Illegal data address", "7 3", "error Illegal function", "error Illegal function",
        "error Illegal data address", "0 0 0 0 0 0 0 0"]


@lines
async def test_who_is_not_there_is_silent_and_the_next_is_heard(server: Server, master: Path, line: str) -> None:
    silent, other = await ask(master, server.links[line], "holding 9 0 1", "holding 3 2 2")
    assert silent == "error Connection timed out"
    assert other == "7 3"


async def test_a_gateway_answers_for_the_silent_unit(server: Server, master: Path) -> None:
    assert await ask(master, server.links["gate"], "holding 9 0 1", "holding 3 2 2") == [
        "error Target device failed to respond", "7 3"]
