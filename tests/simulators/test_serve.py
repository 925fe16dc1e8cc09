"""The field on real ports: our own link on the other end, the control door, and the command."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.wiring import BusSection
from firmware_bridge import scan
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import BusEvent, LinkDown, LinkUp, Read, Received, Table, Write
from firmware_bridge.link import Link, now_us
from firmware_bridge.modbus import mbap_frame, mbap_split, reply_of, request_pdu, rtu_frame
from simulators import site
from simulators.__main__ import main
from simulators.serve import Server

PATIENCE_S = 30.0
ROOT = Path(__file__).parents[2]
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
id = "b"
kind = "rtu-tcp"
port = 0
[[line]]
id = "c"
kind = "tcp"
port = 0
[[unit]]
id = "relay"
line = "a"
unit = 1
profile = "waveshare_rtu_relay"
[[unit]]
id = "meter"
line = "a"
unit = 2
profile = "generic_input_module"
[[unit]]
id = "gauge"
line = "b"
unit = 3
profile = "qdy30a"
[[unit]]
id = "head"
line = "c"
unit = 4
profile = "federal_signal_informer"
[[wire]]
from = "relay.1"
to = "meter.current_1"
value_on = 8.5
value_off = 0.0
rise_ms = 200
"""
RELAYS = Read(Table.COIL, 0, 8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


class Logs:
    def __init__(self) -> None:
        self.sounds: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []


@asynccontextmanager
async def served(file: Path, *settings: str) -> AsyncIterator[tuple[Server, Logs]]:
    logs = Logs()
    server = Server(site.load(file, settings), logs.sounds.append, logs.frames.append)
    await server.start()
    try:
        yield server, logs
    finally:
        await server.stop()


class Master:
    """Our own link, and what came in through it."""

    def __init__(self, where: str) -> None:
        self.events: list[BusEvent] = []
        self.rtu = not where.startswith("tcp:")
        self.link = Link(BusSection(id="m", link=where), self.events.append)

    async def until(self, kind: type[BusEvent]) -> None:
        async def poll() -> None:
            while not any(isinstance(e, kind) for e in self.events):  # noqa: ASYNC110 - the list is plain on purpose
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), PATIENCE_S)

    async def ask(self, unit: int, request: Read | Write, patience_s: float = PATIENCE_S) -> tuple[int, ...] | None:
        pdu = request_pdu(request)
        self.events.clear()
        self.link.send(rtu_frame(unit, pdu) if self.rtu else mbap_frame(7, unit, pdu))
        end_us = now_us() + round(patience_s * 1e6)
        while now_us() < end_us:
            data = b"".join(e.data for e in self.events if isinstance(e, Received))
            if self.rtu:
                found = scan.replies(data)
                if found:
                    return reply_of(request, found[0][1]).values  # type: ignore[union-attr]
            elif (one := mbap_split(data)) is not None:
                return reply_of(request, one[2]).values  # type: ignore[union-attr]
            await asyncio.sleep(0.002)
        return None


@asynccontextmanager
async def master(where: str) -> AsyncIterator[Master]:
    one = Master(where)
    one.link.open()
    try:
        await one.until(LinkUp)
        yield one
    finally:
        one.link.close()


async def test_each_kind_of_line_is_served(file: Path) -> None:
    async with served(file) as (server, _):
        assert server.links["a"] == f"serial:{file.parent}/run/a"
        async with master(server.links["a"]) as m:
            assert await m.ask(1, RELAYS) == (0,) * 8
            assert await m.ask(2, Read(Table.INPUT, 0, 2)) == (0, 0)
            assert await m.ask(9, RELAYS, 0.3) is None
        async with master(server.links["b"]) as m:
            assert await m.ask(3, Read(Table.HOLDING, 2, 2)) == (7, 3)
        async with master(server.links["c"]) as m, master(server.links["c"]) as second:
            assert await m.ask(4, Read(Table.COIL, 0, 1)) == (0,)
            assert await second.ask(4, Read(Table.COIL, 0, 1)) == (0,)
            assert await m.ask(9, Read(Table.COIL, 0, 1), 0.3) is None


async def test_octets_take_their_time(file: Path) -> None:
    """16 answers of 6 octets at 1200 baud: 8 + 6 characters, 20 ms of turnaround, and not before."""
    async with served(file, "line[a].baud=1200") as (server, logs), master(server.links["a"]) as m:
        begin_us = now_us()
        for _ in range(16):
            assert await m.ask(1, RELAYS) is not None
        least_us = 16 * round(14 * 11e6 / 1200 + 32_083)
        assert now_us() - begin_us >= least_us
        assert server.field.lines["a"].busy_us >= least_us
        firsts = [f["first_byte_us"] for f in logs.frames]
        assert len(firsts) == 16
        assert begin_us <= firsts[0] <= now_us()
        said = ("line", "unit", "function", "address", "word")
        assert {tuple(f[key] for key in said) for f in logs.frames} == {("a", 1, 1, 0, 8)}


async def test_the_site_log_tells_what_sounded_and_when(file: Path) -> None:
    async with served(file) as (server, logs), master(server.links["a"]) as m:
        before_us = now_us()
        assert await m.ask(1, Write(Table.PULSE, 0x0200, (10,))) == (10,)
        await until(lambda: len(logs.sounds) == 2)
        on, off = logs.sounds
        assert before_us <= on["t_us"] <= now_us()
        assert off["t_us"] - on["t_us"] == 1_000_000
        assert abs((off["wall_us"] - on["wall_us"]) - 1_000_000) < 5_000_000
        assert {k: v for k, v in on.items() if not k.endswith("_us")} == {
            "site": "town", "unit": "relay", "channel": 1, "on": True, "cause": "write"}
        assert off["cause"] == "lease-end"


async def test_a_current_flows_in_another_unit(file: Path) -> None:
    async with served(file) as (server, _), master(server.links["a"]) as m:
        assert await m.ask(1, Write(Table.PULSE, 0x0200, (600,))) is not None
        end_us = now_us() + round(PATIENCE_S * 1e6)
        while (seen := await m.ask(2, Read(Table.INPUT, 0, 1))) != (850,):
            assert seen == (0,)
            assert now_us() < end_us


async def test_unplugged_and_plugged_in_again(file: Path) -> None:
    async with served(file) as (server, _), master(server.links["a"]) as m:
        assert server.command({"do": "fault", "target": "a", "fault": "unplug"}) == {"ok": True}
        await m.until(LinkDown)
        assert not (file.parent / "run/a").is_symlink()
        m.events.clear()
        assert server.command({"do": "fault", "target": "a", "fault": "unplug", "share": 0}) == {"ok": True}
        await m.until(LinkUp)
        assert await m.ask(1, RELAYS) == (0,) * 8


async def test_a_tcp_cable_is_pulled(file: Path) -> None:
    async with served(file) as (server, _), master(server.links["c"]) as m:
        server.command({"do": "fault", "target": "c", "fault": "unplug"})
        await m.until(LinkDown)
        server.command({"do": "fault", "target": "c", "fault": "unplug", "share": 0})
        end_us = now_us() + round(PATIENCE_S * 1e6)
        while await m.ask(4, Read(Table.COIL, 0, 1), 0.5) is None:
            assert now_us() < end_us


async def test_the_door_answers_every_line(file: Path) -> None:
    async with served(file):
        reader, writer = await asyncio.open_unix_connection(file.parent / "run/door")

        async def say(line: bytes) -> dict[str, Any]:
            writer.write(line + b"\n")
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S))
            return answer

        assert await say(b'{"do": "set", "unit": "gauge", "point": "level", "value": 0.4}') == {"ok": True}
        assert await say(b'{"do": "get", "unit": "gauge", "point": "level"}') == {"ok": True, "value": 0.4}
        assert (await say(b'{"do": "state"}'))["sounding"] == {"head": False, "relay.1": False}
        for wrong in (b"", b"[]", b"\xff", b'{"do": "dance"}', b'{"do": "fault"}',
                      b'{"do": "get", "unit": 3, "point": ""}', b'{"do": "get", "unit": "x", "point": "y"}',
                      b'{"do": "set", "unit": "gauge", "point": "level", "value": []}',
                      b'{"do": "fault", "target": "relay", "fault": "dead", "share": "much"}'):
            answer = await say(wrong)
            assert answer["ok"] is False, wrong
            assert answer["why"]
        writer.close()


async def test_paths_are_ours_and_are_taken_away(file: Path) -> None:
    run = file.parent / "run"
    async with served(file):
        assert (run / "a").is_symlink()
        # A second simulator takes the path over; the first leaves it alone when it ends.
        async with served(file, "site.control=run/door2"):
            taken = os.readlink(run / "a")
        assert not (run / "a").is_symlink()
        (run / "a").symlink_to("/dev/null")
    assert os.readlink(run / "a") == "/dev/null" != taken
    (run / "a").unlink()
    (run / "a").write_text("somebody's file")
    with pytest.raises(BadDocument, match=r"line\[a\].path = 'run/a': .*is there and is no symbolic link"):
        await Server(site.load(file)).start()
    assert (run / "a").read_text() == "somebody's file"


async def test_a_port_that_is_taken_is_told(file: Path) -> None:
    async with served(file) as (server, _):
        port = server.links["c"].rpartition(":")[2]
        with pytest.raises(BadDocument, match=rf"line\[c\].port = {port}: .*in use"):
            await Server(site.load(file, [f"line[c].port={port}", "line[a].path=run/z", "site.control=run/d"])).start()
        assert not (file.parent / "run/z").is_symlink(), "what was opened before is taken away"


async def until(true: Any) -> None:
    async def poll() -> None:
        while not true():  # noqa: ASYNC110 - the list is plain on purpose
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), PATIENCE_S)


# The command.


@pytest.mark.system
def test_siren_sim_serves_until_told_to_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = file.parent / "log/sounds.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "serve", str(file), "--log", str(log), "--frames", str(log) + ".frames"],
        stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "ready"
        assert ready[1] == f"a=serial:{file.parent}/run/a"
        here = ["--site", str(file)]
        assert main(["set", *here, "gauge", "level", "0.4"]) == 0
        assert main(["get", *here, "gauge", "level"]) == 0
        assert capsys.readouterr().out == "0.4\n"
        assert main(["fault", *here, "head", "panel"]) == 0
        assert main(["state", *here]) == 0
        assert json.loads(capsys.readouterr().out)["sounding"]["head"] is True
        assert main(["fault", *here, "head", "panel", "off"]) == 0
        assert main(["fault", *here, "heads", "panel"]) == 1
        assert "'heads' is no unit and no line" in capsys.readouterr().err
        assert main(["fault", *here, "head", "panel", "perhaps"]) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert main(["state", *here]) == 1
        assert "is `siren-sim serve` running?" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()
    assert not (file.parent / "run/a").is_symlink()
    assert [json.loads(line)["on"] for line in log.read_text().splitlines()] == [True, False]


def test_siren_sim_refuses_a_wrong_site(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SITE.replace("rise_ms", "raise_ms"))
    assert main(["serve", str(file), "--seconds", "0"]) == 2
    assert "wire[0].raise_ms = 200: unknown key; did you mean 'rise_ms'?" in capsys.readouterr().err


@pytest.mark.parametrize("profile", sorted((ROOT / "configs/profiles").glob("*.toml")), ids=lambda p: p.stem)
def test_siren_sim_checks_every_profile(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(profile)]) == 0, capsys.readouterr().out
    assert "ok " in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new", "told"), [
    ("tones = { steady = ", 'tones = { steady = "flash", other = ', "activate (flash)"),
    ('{ set = "auto_off", to = "$rest_s" },', "", "does not end by itself"),
    ('{ expect = "mode", is = "off"', '{ expect = "mode", is = "horn"', "step 2: mode is 'off', not 'horn'"),
    ('to = "$volume"', "to = 101", "set_volume"),
])
def test_a_profile_that_does_not_do_what_it_says_fails_its_check(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str) -> None:
    text = (ROOT / "configs/profiles/evikon_ek61.toml").read_text()
    assert old in text
    (tmp_path / "wrong.toml").write_text(text.replace(old, new))
    assert main(["check", str(tmp_path / "wrong.toml")]) in {1, 2}
    captured = capsys.readouterr()
    assert any(told in line for line in (captured.out + captured.err).splitlines() if not line.startswith("ok"))
