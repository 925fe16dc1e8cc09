"""A link on a real pty or socket: what goes out when, what comes in, and what happens when the port goes away."""

import asyncio
import os
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from firmware_bridge.event import LinkDown, LinkUp
from firmware_bridge.link import now_us
from tests.firmware_bridge.bench_link import PATIENCE_S, Line, bus, linked


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path / "line")


async def test_bytes_pass_both_ways(line: Line) -> None:
    async with linked(bus(f"serial:{line.path.name}"), line.path.parent) as (link, events):
        await events.up()
        link.send(b"\x01\x03\x00\xff\x11\x13\x0a\x0d")
        assert await line.heard(8) == b"\x01\x03\x00\xff\x11\x13\x0a\x0d"
        os.write(line.fd, bytes(range(256)))
        await events.until(lambda _: len(events.bytes) == 256)
        assert events.bytes == bytes(range(256))
        assert events[0] == LinkUp("b")


@pytest.mark.parametrize(("parity", "stop_bits", "baud"), [("E", 1, 19200), ("O", 2, 4800), ("N", 2, 115200)])
async def test_every_character_format_opens(line: Line, parity: str, stop_bits: int, baud: int) -> None:
    section = bus(f"serial:{line.path}", parity=parity, stop_bits=stop_bits, baud=baud)
    async with linked(section) as (link, events):
        await events.up()
        link.send(b"abc")
        assert await line.heard(3) == b"abc"


async def test_a_prepared_frame_is_not_written_before_its_instant(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        for _ in range(5):
            at = now_us() + 60_000
            link.send(b"edge", at)
            assert await line.heard(4) == b"edge"
            assert now_us() >= at


async def test_a_prepared_frame_is_written_while_the_loop_is_busy(line: Line) -> None:
    """The reason for the thread: an edge does not wait for our own work."""
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        link.send(b"edge", now_us() + 20_000)
        end = now_us() + 10_000_000
        got = b""
        while not got and now_us() < end:
            try:
                got = os.read(line.fd, 4)
            except BlockingIOError:
                time.sleep(0.001)  # noqa: ASYNC251 - the loop is kept busy on purpose
        assert got == b"edge", "written although the loop never ran"


async def test_a_newer_send_supersedes_and_an_empty_one_recalls(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        at = now_us() + 500_000
        link.send(b"old!", at)
        link.send(b"new!", at + 50_000)
        assert await line.heard(4) == b"new!"
        assert now_us() >= at + 50_000

        link.send(b"late", now_us() + 5_000_000)
        link.send(b"soon", now_us() + 30_000)
        assert await line.heard(4) == b"soon"

        at = now_us() + 500_000
        link.send(b"gone", at)
        link.send(b"")
        link.send(b"stop")
        assert await line.heard(4) == b"stop"
        link.send(b"gone", at)
        link.send(b"now!")
        assert await line.heard(4) == b"now!"
        await asyncio.sleep((at - now_us()) / 1e6 + 0.2)
        assert line.silent()


@pytest.mark.parametrize("order_ms", [(20, 40, 60), (60, 40, 20), (40, 60, 20), (30, 30, 30)])
async def test_each_of_several_lines_gets_its_own_frame_at_its_own_instant(
        tmp_path: Path, order_ms: tuple[int, ...]) -> None:
    """One thread writes for all of them; a recall on one line, or its end, leaves the others."""
    lines = [Line(tmp_path / str(n)) for n in range(5)]
    async with AsyncExitStack() as stack:
        links = []
        for each in lines:
            link, events = await stack.enter_async_context(linked(bus(f"serial:{each.path}")))
            await events.up()
            links.append(link)
        began_us = now_us()
        for n, ms in enumerate(order_ms):
            links[n].send(b"own%d" % n, began_us + ms * 1000)
        for link in links[3:]:
            link.send(b"gone", began_us + 25_000)
        links[3].send(b"")
        links[4].close()
        for n, ms in sorted(enumerate(order_ms), key=lambda of: of[1]):
            assert await lines[n].heard(4) == b"own%d" % n
            assert now_us() >= began_us + ms * 1000
        assert lines[3].silent()
        assert lines[4].silent()


async def test_written_or_recalled_but_never_half(line: Line) -> None:
    """A recall that races with the instant: the frame is on the wire whole, or not at all, and the next one follows."""
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        written = recalled = 0
        for n in range(200):
            at = now_us() + 300
            link.send(b"EDGE", at)
            while now_us() < at - 100 + n:
                pass
            link.send(b"")
            link.send(b"|")
            said = await line.heard(1)
            if said == b"E":
                assert await line.heard(4) == b"DGE|"
                written += 1
            else:
                assert said == b"|"
                recalled += 1
        assert written + recalled == 200


async def test_an_instant_in_the_past_is_now(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        link.send(b"past", now_us() - 1)
        assert await line.heard(4) == b"past"


async def test_unplugged_is_told_and_the_same_path_is_opened_again(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        link.send(b"never", now_us() + 200_000)
        line.unplug()
        await events.until(lambda seen: isinstance(seen[-1], LinkDown))
        line.path.unlink()
        link.send(b"nobody hears this")
        await events.until(lambda seen: len(events.whys) == 2)
        assert "No such file" in events.whys[1]
        line.plug()
        await events.up(2)
        link.send(b"back")
        assert await line.heard(4) == b"back", "and nothing of what was prepared before"
        assert len(events.whys) == 2, "a reason is told once, not at every try"


async def test_a_port_is_ours_alone(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (_, events):
        await events.up()
        async with linked(bus(f"serial:{line.path}")) as (_, second):
            await second.until(lambda seen: bool(second.whys))
            assert not any(isinstance(e, LinkUp) for e in second)
            assert "lock" in second.whys[0]


async def test_reopen_closes_and_opens(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        link.reopen()
        assert len(events) == 1, "told by the loop, not from inside reopen"
        await events.up(2)
        assert events.whys == ["closed to be opened again"]


async def test_a_full_output_buffer_is_an_error(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}")) as (link, events):
        await events.up()
        for _ in range(1000):
            link.send(bytes(256))
        await events.until(lambda seen: bool(events.whys))
        assert "output buffer full" in events.whys[0]


async def test_own_echo_is_taken_out(line: Line) -> None:
    async with linked(bus(f"serial:{line.path}", echo=True)) as (link, events):
        await events.up()
        link.send(b"\x01\x05\x00\x00\xff\x00\x8c\x3a")
        echo = await line.heard(8)
        os.write(line.fd, echo[:3])
        await asyncio.sleep(0.02)
        os.write(line.fd, echo[3:] + echo)
        await events.until(lambda _: len(events.bytes) >= 8)
        assert events.bytes == echo, "the reply that looks like its request remains"
        link.send(b"abcd")
        await line.heard(4)
        os.write(line.fd, b"abX!")
        await events.until(lambda _: len(events.bytes) >= 12)
        assert events.bytes[8:] == b"abX!", "what was not our frame is passed on whole"


async def test_tcp_refused_is_tried_again_until_it_answers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with linked(bus(f"tcp:127.0.0.1:{port}")) as (link, events):
        await events.until(lambda _: bool(events.whys))
        assert len(events.whys) == 1
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await heard.put(await reader.read(100))
            writer.write(b"answer")
            await reader.read(100)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", port):
            await events.up()
            link.send(b"ask")
            assert await asyncio.wait_for(heard.get(), PATIENCE_S) == b"ask"
            await events.until(lambda _: events.bytes == b"answer")
            link.send(b"hang up")
            await events.until(lambda _: len(events.whys) == 2)
            assert "hung up" in events.whys[1]
            await events.up(2)
            # Or, from Python 3.12 on, the server waits for this connection to end.
            link.close()


async def test_a_path_that_is_no_terminal_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no terminal")
    async with linked(bus("serial:file"), tmp_path) as (_, events):
        await events.until(lambda _: bool(events.whys))
        assert not any(isinstance(e, LinkUp) for e in events)
