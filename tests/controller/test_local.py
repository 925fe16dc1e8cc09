"""The local door with real sockets: who asks, what is no question, who is hung up on."""

import asyncio
import json
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from controller import local, wire
from controller.event import Ask, Gone
from controller.local import CLIENTS_LIMIT, LINE_LIMIT, Local


class House:
    """A door and what came through it; `echo` answers every question with its verb."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.came: list[Ask | Gone] = []
        self.local = Local(path, self.feed)
        self._more = asyncio.Event()

    def feed(self, event: Ask | Gone) -> None:
        self.came.append(event)
        self._more.set()
        if isinstance(event, Ask) and event.verb == "echo":
            self.local.send(event.client, json.dumps({"heard": event.args, "last": True}).encode())

    async def until(self, wanted: Callable[["House"], object]) -> None:
        async with asyncio.timeout(20):
            while not wanted(self):
                self._more.clear()
                await self._more.wait()

    def gone(self) -> int:
        return sum(isinstance(e, Gone) for e in self.came)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    out = House(tmp_path / "run" / "door.sock")
    await out.local.open()
    yield out
    await out.local.close()


async def ask(path: Path, line: bytes) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    answer = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    return dict(json.loads(answer))


async def test_a_question_comes_with_the_user_that_the_kernel_names(house: House) -> None:
    answer = await ask(house.path, b'{"verb":"echo","args":{"siren":"s-1"}}\n')
    assert answer == {"heard": {"siren": "s-1"}, "last": True}
    await house.until(lambda h: h.gone() == 1)
    user = pwd.getpwuid(os.getuid()).pw_name
    assert house.came == [Ask(1, os.getuid(), user, "echo", {"siren": "s-1"}), Gone(1)]


async def test_several_questions_on_one_line_each_are_answered_in_order(house: House) -> None:
    reader, writer = await asyncio.open_unix_connection(str(house.path))
    writer.write(b"".join(b'{"verb":"echo","args":{"n":%d}}\n' % n for n in range(50)))
    got = [json.loads(await asyncio.wait_for(reader.readline(), 20))["heard"]["n"] for _ in range(50)]
    assert got == list(range(50))
    writer.close()


@pytest.mark.parametrize("line", [
    b"", b"stop", b"[]", b"{}", b'{"verb":1}', b'{"verb":"echo","args":[]}', b'{"verb":"echo","uid":0}',
    b'{"verb":"echo","verb":"stop"}', b'{"verb":"echo","args":{"x":NaN}}', b"\xff\xfe", b"[" * 5000,
])
async def test_what_is_no_question_is_answered_and_goes_no_further(house: House, line: bytes) -> None:
    answer = await ask(house.path, line + b"\n")
    assert answer["last"] is True
    assert answer["error"]
    assert not any(isinstance(e, Ask) for e in house.came)
    # The door still works.
    assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')


async def test_a_line_without_end_is_hung_up_on(house: House) -> None:
    reader, writer = await asyncio.open_unix_connection(str(house.path))

    async def flood() -> None:
        for _ in range(1000):
            writer.write(b"x" * LINE_LIMIT)
            await asyncio.wait_for(writer.drain(), 20)

    with pytest.raises(ConnectionError):
        await flood()
    await house.until(lambda h: h.gone() == 1)
    assert not any(isinstance(e, Ask) for e in house.came)
    del reader


async def test_one_who_does_not_read_is_hung_up_on_and_the_others_are_served(house: House) -> None:
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(str(house.path))
    deaf.send(b'{"verb":"watch"}\n')
    await house.until(lambda h: h.came)
    for _ in range(10_000):
        house.local.send(1, b'{"x":"' + b"y" * 1000 + b'"}')
        if house.gone():
            break
        await asyncio.sleep(0)
    await house.until(lambda h: h.gone() == 1)
    house.local.send(1, b"{}")  # to nobody
    deaf.close()
    assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')


async def test_too_many_are_told_so(house: House) -> None:
    there = [await asyncio.open_unix_connection(str(house.path)) for _ in range(CLIENTS_LIMIT)]
    there[-1][1].write(b'{"verb":"echo"}\n')
    assert "heard" in json.loads(await there[-1][0].readline())
    assert "already" in str((await ask(house.path, b""))["error"])
    there[0][1].close()
    await house.until(lambda h: h.gone() == 1)
    assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')
    for _, writer in there:
        writer.close()


async def test_the_socket_is_for_user_and_group_only(house: House) -> None:
    assert house.path.stat().st_mode & 0o777 == 0o660


async def test_a_dead_socket_is_replaced_and_a_live_one_is_not(house: House) -> None:
    with pytest.raises(OSError, match="another sirend listens there"):
        await Local(house.path, house.feed).open()
    assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')

    dead = house.path.with_name("dead.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(dead))
    left.listen()
    left.close()  # what kill -9 leaves: a socket file at which nobody listens
    second = House(dead)
    await second.local.open()
    assert "heard" in await ask(dead, b'{"verb":"echo"}\n')
    await second.local.close()
    assert not dead.exists()


async def test_another_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        await Local(path, lambda event: None).open()
    assert path.read_text() == "precious"


async def test_closing_hangs_up_on_everybody(house: House) -> None:
    reader, writer = await asyncio.open_unix_connection(str(house.path))
    writer.write(b'{"verb":"watch"}\n')
    await house.until(lambda h: h.came)
    await house.local.close()
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
    await house.until(lambda h: h.gone() == 1)
    assert not house.path.exists()
    assert local.UNREAD_LIMIT >= 4 * wire.MAX_ORDER_BYTES
