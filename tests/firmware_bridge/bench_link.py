"""A link with a real pty at its far end, and what it feeds."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from controller.wiring import BusSection
from firmware_bridge.event import BusEvent, LinkDown, LinkUp, Received
from firmware_bridge.link import Link

PATIENCE_S = 30.0
"""Longest wait for something that must happen; the machine under the tests may be starved for seconds."""


class Line:
    """The far end of a pty that has a stable path, like an adapter under /dev/serial/by-path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug()

    def plug(self) -> None:
        self.fd, slave = os.openpty()
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        os.set_blocking(self.fd, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self.name)
        self.slave = slave

    def unplug(self) -> None:
        os.close(self.slave)
        os.close(self.fd)

    async def heard(self, count: int) -> bytes:
        """The next `count` bytes the link sent."""
        got = b""

        async def gather() -> bytes:
            nonlocal got
            while len(got) < count:
                try:
                    got += os.read(self.fd, count - len(got))
                except BlockingIOError:
                    await asyncio.sleep(0.002)
            return got

        return await asyncio.wait_for(gather(), PATIENCE_S)

    def silent(self) -> bool:
        try:
            return os.read(self.fd, 100) == b""
        except BlockingIOError:
            return True


def bus(where: str, **more: object) -> BusSection:
    return BusSection(id="b", link=where, **more)  # type: ignore[arg-type]


class Events(list[BusEvent]):
    async def until(self, wanted: Callable[[list[BusEvent]], bool]) -> None:
        async def poll() -> None:
            while not wanted(self):  # noqa: ASYNC110 - `feed` is a plain function, as in the daemon
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), PATIENCE_S)

    async def up(self, times: int = 1) -> None:
        await self.until(lambda seen: sum(isinstance(e, LinkUp) for e in seen) == times)

    @property
    def bytes(self) -> bytes:
        return b"".join(e.data for e in self if isinstance(e, Received))

    @property
    def whys(self) -> list[str]:
        return [e.why for e in self if isinstance(e, LinkDown)]


@asynccontextmanager
async def linked(section: BusSection, folder: Path = Path()) -> AsyncIterator[tuple[Link, Events]]:
    events = Events()
    link = Link(section, events.append, folder)
    link.open()
    try:
        yield link, events
    finally:
        link.close()
        told = len(events)
        await asyncio.sleep(0)
        assert len(events) == told, "a closed link feeds nothing"
