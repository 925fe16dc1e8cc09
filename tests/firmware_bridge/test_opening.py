"""An adapter that hangs and a name that nobody resolves: neither holds up another line."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_bridge.event import LinkDown, LinkUp
from tests.firmware_bridge.bench_link import PATIENCE_S, Line, bus, linked


class Hangs:
    """A call that stands until it is released, how often it was made, and how many stand now."""

    def __init__(self, call: Callable[..., Any], whom: Callable[..., bool]) -> None:
        self._call = call
        self._whom = whom
        self.release = threading.Event()
        self.calls = self.standing = 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self._whom(*args):
            self.calls += 1
            self.standing += 1
            # Not for ever: on the loop it would never be released.
            self.release.wait(2 * PATIENCE_S)
            self.standing -= 1
        return self._call(*args, **more)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path / "line")


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Line, Hangs]]:
    """A line whose adapter stands in its opening."""
    stands = Line(tmp_path / "hung")
    hangs = Hangs(serial.Serial, lambda path, *_: path == str(stands.path))
    monkeypatch.setattr(serial, "Serial", hangs)
    yield stands, hangs
    hangs.release.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hangs]:
    """No name is resolved, and nothing says so; then each is that of this machine."""
    real = socket.getaddrinfo
    hangs = Hangs(lambda host, *args, **more: real("127.0.0.1", *args, **more), lambda host, *_: "head" in host)
    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    yield hangs
    hangs.release.set()


async def test_an_adapter_that_hangs_holds_up_no_other_line(line: Line, hung: tuple[Line, Hangs]) -> None:
    stands, hangs = hung
    async with (linked(bus(f"serial:{stands.path}")) as (late, told),
                linked(bus(f"serial:{line.path}")) as (link, events)):
        await events.up()
        link.send(b"stop")
        assert await line.heard(4) == b"stop"
        assert (hangs.standing, LinkUp("b") in told) == (1, False), "it stands while the other is served"
        hangs.release.set()
        await told.up()
        late.send(b"here")
        assert await stands.heard(4) == b"here"


async def test_an_adapter_that_hangs_is_told_and_not_opened_a_second_time_meanwhile(
        hung: tuple[Line, Hangs], monkeypatch: pytest.MonkeyPatch) -> None:
    """READY waits for a word of each line, and a thread an attempt would fill the process."""
    stands, hangs = hung
    waits: list[object] = []
    wait = asyncio.wait

    async def counted(*args: Any, **more: Any) -> Any:
        waits.append(args)
        return await wait(*args, **more)

    monkeypatch.setattr("firmware_bridge.opening.CONNECT_S", 0.01)
    monkeypatch.setattr(asyncio, "wait", counted)
    async with linked(bus(f"serial:{stands.path}")) as (_, told):
        await told.until(lambda _: len(waits) > 3)
        assert ["adapter hangs" in why for why in told.whys] == [True]
        assert (hangs.standing, hangs.calls) == (1, 1)
        hangs.release.set()
        await told.up()
        assert hangs.calls == 1


async def test_a_port_that_opens_when_nobody_waits_any_more_is_shut(hung: tuple[Line, Hangs]) -> None:
    stands, hangs = hung
    async with linked(bus(f"serial:{stands.path}")) as (given_up, told):
        await told.until(lambda _: hangs.standing == 1)
    hangs.release.set()
    await asyncio.wait_for(given_up.shut(), PATIENCE_S)
    assert told == []
    async with linked(bus(f"serial:{stands.path}")) as (_, events):
        await events.up()
        assert events == [LinkUp("b")], "nobody holds its lock"


async def test_an_adapter_that_hangs_when_it_is_shut_holds_up_no_other_line(
        tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    stands = Line(tmp_path / "hung")
    hangs = Hangs(serial.Serial.close, lambda port: port.port == str(stands.path))
    monkeypatch.setattr(serial.Serial, "close", lambda port: hangs(port))
    async with (linked(bus(f"serial:{stands.path}")) as (late, told),
                linked(bus(f"serial:{line.path}")) as (link, events)):
        await told.up()
        await events.up()
        late.reopen()
        await told.until(lambda _: hangs.standing == 1)
        link.send(b"stop")
        assert await line.heard(4) == b"stop"
        assert hangs.standing == 1
        assert told[:2] == [LinkUp("b"), LinkDown("b", "closed to be opened again")]
        hangs.release.set()
        await told.up(2)


async def test_names_that_nobody_resolves_hold_up_no_address(names: Hangs) -> None:
    """More of them than the loop's pool has threads."""
    count = min(32, (os.cpu_count() or 1) + 4) + 1
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        named = [(await stack.enter_async_context(linked(bus(f"tcp:head-{n}:{port}"))))[1] for n in range(count)]
        await named[0].until(lambda _: names.calls >= min(count, 6))
        _, events = await stack.enter_async_context(linked(bus(f"tcp:127.0.0.1:{port}")))
        await events.up()
        for one in named:
            await one.until(lambda seen: bool(seen))
        assert ["no answer for the name head-" in why for one in named for why in one.whys] == [True] * count
        names.release.set()
        for one in named:
            await one.up()
        assert names.calls == count, "a second attempt asks no second question"
    server.close()
