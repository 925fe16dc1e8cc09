"""Every fault over a real pty or TCP port, begun and ended by `siren-sim fault` while the site runs."""

import asyncio
import json
import os
import termios
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.event import Read, Table, Write
from firmware_bridge.modbus import crc16, mbap_frame, mbap_split, refusal_pdu, reply_pdu, request_pdu, rtu_frame
from firmware_bridge.scan import replies
from simulators import site
from simulators.__main__ import main
from simulators.serve import Server

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
SILENCE_S = 0.4
"""How long nothing must come, where nothing should: an answer takes 40 ms."""
SITE = f"""
[site]
id = "town"
profiles = "{ROOT}/configs/profiles"
control = "run/door"
[[line]]
id = "a"
kind = "rtu"
path = "run/a"
[[line]]
id = "c"
kind = "tcp"
port = 0
[[unit]]
id = "relay"
line = "a"
unit = 1
profile = "waveshare_rtu_relay"
boot_ms = 500
[[unit]]
id = "gauge"
line = "a"
unit = 3
profile = "qdy30a"
[[unit]]
id = "head"
line = "c"
unit = 4
profile = "federal_signal_informer"
[[wire]]
from = "relay.1"
"""
RELAYS, LEVEL, HEAD = Read(Table.COIL, 0, 8), Read(Table.HOLDING, 2, 3), Read(Table.COIL, 0, 1)
ON, OFF = Write(Table.COIL, 0, (1,)), Write(Table.COIL, 0, (0,))
ASKED = rtu_frame(1, request_pdu(RELAYS))
ALL_OFF = rtu_frame(1, reply_pdu(RELAYS, (0,) * 8))
ASKED_HEAD = mbap_frame(7, 4, request_pdu(HEAD))
HEAD_OFF = mbap_frame(7, 4, reply_pdu(HEAD, (0,)))


class Port:
    """The master's end of a pty or of a connection: writes, and gathers what comes."""

    def __init__(self, write: Callable[[bytes], object], read: Callable[[], Awaitable[bytes]]) -> None:
        self._write = write
        self._read = read
        self.pieces: list[bytes] = []
        """What the last `hear` heard, one read each."""
        self.took_s = 0.0

    async def hear(self, octets: int | None = None, length_s: float = SILENCE_S) -> bytes:
        """So many octets, however long they take; without a number, what comes within a time."""
        begin_s = time.monotonic()
        end_s = begin_s + (length_s if octets is None else PATIENCE_S)
        self.pieces = []
        while octets is None or sum(map(len, self.pieces)) < octets:
            try:
                piece = await asyncio.wait_for(self._read(), end_s - time.monotonic())
            except TimeoutError:
                assert octets is None, f"only {b''.join(self.pieces).hex()} came"
                break
            assert piece, "the other end is gone"
            self.pieces.append(piece)
        self.took_s = time.monotonic() - begin_s
        return b"".join(self.pieces)

    async def quiet(self) -> None:
        """Until nothing comes any more."""
        end_s = time.monotonic() + PATIENCE_S
        while await self.hear(length_s=0.2):
            assert time.monotonic() < end_s

    async def ask(self, frame: bytes, octets: int | None = None, length_s: float = SILENCE_S) -> bytes:
        self._write(frame)
        return await self.hear(octets, length_s)


class Town:
    """A served site: its ports, its door through the command, and its log of sounds."""

    def __init__(self, server: Server, folder: Path, serial: Port, tcp: Port, sounds: list[dict[str, Any]],
                 capsys: pytest.CaptureFixture[str]) -> None:
        self.server, self.serial, self.tcp, self.sounds = server, serial, tcp, sounds
        self._door = str(folder / "run/door")
        self._capsys = capsys

    async def sim(self, verb: str, *arguments: str, fails: bool = False) -> str:
        """`siren-sim VERB ...`, as a technician at another terminal."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, [verb, "--control", self._door, *arguments])
        said = self._capsys.readouterr()
        assert (code != 0) is fails, said
        return said.err if fails else said.out

    async def fault(self, *arguments: str) -> None:
        await self.sim("fault", *arguments)

    async def sounded(self, n: int) -> list[tuple[bool, str]]:
        end_s = time.monotonic() + PATIENCE_S
        while len(self.sounds) < n:
            assert time.monotonic() < end_s, self.sounds
            await asyncio.sleep(0.005)
        return [(s["on"], s["cause"]) for s in self.sounds]

    async def well(self) -> None:
        assert await self.serial.ask(ASKED, len(ALL_OFF)) == ALL_OFF
        assert await self.tcp.ask(ASKED_HEAD, len(HEAD_OFF)) == HEAD_OFF


@asynccontextmanager
async def pty(path: Path) -> AsyncIterator[Port]:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(fd)
    termios.tcflush(fd, termios.TCIOFLUSH)
    came: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, lambda: came.put_nowait(os.read(fd, 4096)))
    try:
        yield Port(lambda data: os.write(fd, data), came.get)
    finally:
        loop.remove_reader(fd)
        os.close(fd)


@asynccontextmanager
async def tcp(where: str) -> AsyncIterator[Port]:
    _, host, port = where.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Port(writer.write, lambda: reader.read(4096))
    finally:
        writer.close()


@pytest.fixture
async def town(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Town]:
    file = tmp_path / "site.toml"
    file.write_text(SITE)
    sounds: list[dict[str, Any]] = []
    server = Server(site.load(file), sounds.append)
    await server.start()
    try:
        async with pty(tmp_path / "run/a") as serial, tcp(server.links["c"]) as connection:
            yield Town(server, tmp_path, serial, connection, sounds, capsys)
    finally:
        await server.stop()


# With nothing wrong.


async def test_a_missing_unit_is_silent_and_a_wrong_request_is_an_exception(town: Town) -> None:
    assert await town.serial.ask(rtu_frame(9, request_pdu(RELAYS))) == b""
    assert await town.tcp.ask(mbap_frame(7, 9, request_pdu(HEAD))) == b""
    for pdu, code in ((request_pdu(Read(Table.COIL, 900, 1)), 2), (b"\x2b\x0e\x01\x00", 1),
                      (b"\x01\x00\x00\x00\x00", 3)):
        assert await town.serial.ask(rtu_frame(1, pdu), 5) == rtu_frame(1, refusal_pdu(pdu[0], code))
        assert await town.tcp.ask(mbap_frame(7, 4, pdu), 9) == mbap_frame(7, 4, refusal_pdu(pdu[0], code))
    await town.well()


async def test_an_answer_takes_its_octets_and_its_turnaround(town: Town) -> None:
    assert await town.serial.ask(ASKED, len(ALL_OFF)) == ALL_OFF
    assert town.serial.took_s >= (8 + 6) * 11 / 9600 + 0.020


async def test_a_broadcast_is_done_not_answered_and_what_follows_too_soon_is_lost(town: Town) -> None:
    back_to_back = rtu_frame(0, request_pdu(ON)) + ASKED
    assert await town.serial.ask(back_to_back) == b""
    assert await town.sounded(1) == [(True, "write")]
    assert await town.serial.ask(ASKED, 6) == rtu_frame(1, reply_pdu(RELAYS, (1, 0, 0, 0, 0, 0, 0, 0)))
    assert await town.tcp.ask(mbap_frame(1, 0, request_pdu(HEAD)) + ASKED_HEAD) == b""
    assert await town.tcp.ask(ASKED_HEAD, len(HEAD_OFF)) == HEAD_OFF


async def test_several_requests_in_one_segment(town: Town) -> None:
    three = b"".join(mbap_frame(n, 4, request_pdu(HEAD)) for n in range(3))
    answers = b"".join(mbap_frame(n, 4, reply_pdu(HEAD, (0,))) for n in range(3))
    assert await town.tcp.ask(three, len(answers)) == answers
    await town.fault("c", "one-a-segment")
    assert await town.tcp.ask(three) == answers[: len(answers) // 3]
    await town.fault("c", "one-a-segment", "off")
    await town.fault("c", "split")
    assert await town.tcp.ask(three, len(answers)) == answers
    await town.fault("c", "split", "off")
    await town.fault("c", "joined")
    assert await town.tcp.ask(three, len(answers)) == answers
    assert town.tcp.pieces == [answers]
    await town.fault("c", "joined", "off")
    await town.well()


# Units.


async def test_dead_and_a_boot(town: Town) -> None:
    await town.fault("relay", "dead")
    assert await town.serial.ask(ASKED) == b""
    await town.fault("relay", "dead", "off")
    assert await town.serial.ask(rtu_frame(1, request_pdu(ON)), 8) == rtu_frame(1, request_pdu(ON))
    begin_s = time.monotonic()
    await town.fault("relay", "reboot", "2")
    assert await town.sounded(2) == [(True, "write"), (False, "power")]
    assert await town.serial.ask(ASKED, length_s=0.3) == b""
    while not await town.serial.ask(ASKED, length_s=0.1):
        assert time.monotonic() < begin_s + PATIENCE_S
    assert time.monotonic() >= begin_s + 2
    await town.serial.quiet()
    await town.well()


async def test_brown_out(town: Town) -> None:
    await town.fault("relay", "brown-out")
    assert await town.serial.ask(rtu_frame(1, request_pdu(ON)), 8) == rtu_frame(1, request_pdu(ON))
    assert await town.sounded(2) == [(True, "write"), (False, "power")]
    assert town.sounds[1]["t_us"] - town.sounds[0]["t_us"] == 50_000
    await town.fault("relay", "brown-out", "off")


async def test_welded_and_burnt_contacts(town: Town) -> None:
    await town.fault("relay.1", "stuck-on")
    assert await town.serial.ask(rtu_frame(1, request_pdu(OFF)), 8) == rtu_frame(1, request_pdu(OFF))
    assert await town.serial.ask(ASKED, 6) == ALL_OFF, "it believes that it is off"
    assert await town.sounded(1) == [(True, "fault")]
    await town.fault("relay.1", "all", "off")
    await town.sounded(2)
    await town.fault("relay.1", "stuck-off")
    assert await town.serial.ask(rtu_frame(1, request_pdu(ON)), 8) == rtu_frame(1, request_pdu(ON))
    assert await town.serial.ask(ASKED, 6) == rtu_frame(1, reply_pdu(RELAYS, (1, 0, 0, 0, 0, 0, 0, 0)))
    await town.sim("state")
    assert len(town.sounds) == 2
    await town.fault("relay.1", "stuck-off", "off")
    assert (await town.sounded(3))[-1] == (True, "fault")


async def test_a_frozen_gauge(town: Town) -> None:
    request = rtu_frame(3, request_pdu(LEVEL))
    await town.sim("set", "gauge", "level", "0.1")
    before = await town.serial.ask(request, 11)
    await town.fault("gauge", "frozen")
    await town.sim("set", "gauge", "level", "0.4")
    assert await town.serial.ask(request, 11) == before
    assert float(await town.sim("get", "gauge", "level")) == pytest.approx(0.4)
    await town.fault("gauge", "frozen", "off")
    assert await town.serial.ask(request, 11) != before


async def test_exceptions_of_real_devices(town: Town) -> None:
    await town.fault("relay", "busy")
    assert await town.serial.ask(rtu_frame(1, request_pdu(ON)), 5) == rtu_frame(1, b"\x85\x06")
    await town.fault("relay", "all", "off")
    await town.fault("relay", "illegal")
    codes = {(await town.serial.ask(rtu_frame(1, request_pdu(ON)), 5))[2] for _ in range(12)}
    assert codes <= {1, 2, 3}
    assert len(codes) > 1
    await town.fault("relay", "slow-refusal")
    await town.serial.ask(ASKED, 5)
    assert town.serial.took_s >= 0.2
    await town.fault("relay", "all", "off")
    await town.serial.ask(ASKED, 6)
    assert town.serial.took_s >= 0.2, "and so is what follows"
    await town.fault("c", "no-path")
    assert await town.tcp.ask(ASKED_HEAD, 9) == mbap_frame(7, 4, b"\x81\x0a")
    await town.fault("c", "no-path", "off")
    await town.fault("head", "no-target")
    assert await town.tcp.ask(ASKED_HEAD, 9) == mbap_frame(7, 4, b"\x81\x0b")
    assert town.tcp.took_s >= 0.5
    await town.fault("head", "all", "off")
    assert town.sounds == []
    await town.well()


# Answers and lines.


async def test_answers_that_go_wrong_on_a_line(town: Town) -> None:
    def garbled(came: bytes) -> bool:
        return len(came) == 6 and crc16(came) != 0

    what: dict[str, Callable[[bytes], bool]] = {
        "dropped": lambda came: came == b"",
        "cut": lambda came: 0 < len(came) < 6 and ALL_OFF.startswith(came),
        "garbled": garbled,
        "noise": lambda came: 6 < len(came) <= 12 and came.endswith(ALL_OFF),
        "doubled": lambda came: came == ALL_OFF * 2,
        "wrong-unit": lambda came: replies(came) == [(2, ALL_OFF[1:-2])],
        "short": lambda came: len(came) == 5 and crc16(came) == 0,
        "echo": lambda came: came == ASKED + ALL_OFF,
    }
    for fault, is_so in what.items():
        target = "a" if fault == "echo" else "relay"
        await town.fault(target, fault)
        came, end_s = await town.serial.ask(ASKED, length_s=0.25), time.monotonic() + PATIENCE_S
        while not is_so(came):
            assert time.monotonic() < end_s, (fault, came.hex())
            came += await town.serial.hear(length_s=0.25)
        await town.fault(target, fault, "off")
    await town.fault("a", "late")
    assert await town.serial.ask(ASKED, 6) == ALL_OFF
    assert town.serial.took_s >= 0.2
    await town.fault("a", "late", "off")
    await town.well()


async def test_answers_that_go_wrong_on_tcp(town: Town) -> None:
    what = {"dropped": b"", "doubled": HEAD_OFF * 2, "wrong-unit": mbap_frame(7, 5, HEAD_OFF[7:]),
            "short": mbap_frame(7, 4, HEAD_OFF[7:-1])}
    for fault, comes in what.items():
        await town.fault("head", fault)
        assert await town.tcp.ask(ASKED_HEAD, len(comes) or None) == comes, fault
        await town.fault("head", fault, "off")
    await town.fault("c", "late")
    assert await town.tcp.ask(ASKED_HEAD, len(HEAD_OFF)) == HEAD_OFF
    assert town.tcp.took_s >= 0.2
    assert mbap_split(HEAD_OFF) is not None


async def test_babble(town: Town) -> None:
    await town.fault("gauge", "babble", "0.5")
    assert len(await town.serial.hear(100)) >= 100, "and nobody had asked"
    await town.fault("gauge", "babble", "off")
    await town.serial.quiet()
    await town.well()


async def test_unplug(town: Town, tmp_path: Path) -> None:
    await town.fault("a", "unplug")
    await town.fault("c", "unplug")
    assert not (tmp_path / "run/a").is_symlink()
    with pytest.raises(AssertionError, match="the other end is gone"):
        await town.tcp.ask(ASKED_HEAD, 10)
    await town.fault("a", "unplug", "off")
    await town.fault("c", "all", "off")
    async with pty(tmp_path / "run/a") as serial, tcp(town.server.links["c"]) as connection:
        assert await serial.ask(ASKED, 6) == ALL_OFF
        assert await connection.ask(ASKED_HEAD, len(HEAD_OFF)) == HEAD_OFF


# The command.


async def test_the_command_tells_what_is_wrong_and_what_can_be(town: Town) -> None:
    assert (await town.sim("fault", "relay")).startswith("relay: nothing is wrong\ncan be: dead, frozen, stuck-on,")
    for one in (("relay", "late", "0.3"), ("relay", "dead"), ("relay.2", "stuck-off"), ("relay", "frozen")):
        await town.fault(*one)
    told = await town.sim("fault", "relay")
    assert told.splitlines()[:2] == ["relay: dead, frozen, late 0.3", "relay.2: stuck-off"]
    told = await town.sim("fault", "relay.2")
    assert told.splitlines() == ["relay.2: stuck-off", "can be: stuck-on, stuck-off, panel"]
    await town.fault("relay", "all", "off")
    assert (await town.sim("fault", "relay")).startswith("relay: nothing is wrong\n")
    await town.well()


@pytest.mark.parametrize(("arguments", "told"), [
    (("relay", "ded"), "'ded' is no fault of relay; faults: dead, frozen, stuck-on,"),
    (("c", "garbled"), "'garbled' is no fault of c; faults: busy"),
    (("relay", "all"), "say `all off`"),
    (("relay", "dead", "0.5"), "dead is on or off, and takes no share"),
    (("relay", "late", "1.5"), "1.5 is no share; say 0 to 1"),
    (("relay", "reboot", "-3"), "say more than 0"),
    (("nobody",), "'nobody' is no unit and no line; units: relay, gauge, head; lines: a, c"),
    (("relay.9",), "relay.9: no such channel"),
    (("relay", "late", "often"), "'often': say on, off or a number like 0.05"),
])
async def test_the_command_refuses_what_it_does_not_know(town: Town, arguments: tuple[str, ...], told: str) -> None:
    assert told in await town.sim("fault", *arguments, fails=True)
    await town.well()


async def test_the_door_takes_the_same_as_json(town: Town) -> None:
    assert town.server.command({"do": "fault", "target": "relay", "fault": "reboot", "seconds": 2}) == {"ok": True}
    told = town.server.command({"do": "faults", "target": "relay"})
    assert told["on"] == {"relay": {"reboot": 1.0}}
    assert json.loads(json.dumps(told["can"]))[0] == "dead"
    assert town.server.command({"do": "fault", "target": "relay", "fault": "reboot", "seconds": "soon"})["ok"] is False
    assert town.server.command({"do": "faults", "target": "x"})["ok"] is False
