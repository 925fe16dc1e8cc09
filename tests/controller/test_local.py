"""The local door with real sockets: who asks, what is no question, who is hung up on."""

import asyncio
import json
import os
import pwd
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller import local, wire
from controller.ctl import door as ctl_door
from controller.ctl.door import NoGateway
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


STOP = b'{"verb":"stop","args":{"siren":"all"}}\n'


async def crowd(path: Path, line: bytes = b'{"verb":"watch"}\n') -> list[socket.socket]:
    """As many as there is room for, each forgotten after its question, in the order in which they came."""
    out = []
    for _ in range(CLIENTS_LIMIT):
        out.append(socket.socket(socket.AF_UNIX))
        out[-1].connect(str(path))
        out[-1].send(line)
    return out


async def test_a_stop_is_heard_where_sixteen_are_forgotten_at_the_door(house: House) -> None:
    there = await crowd(house.path)
    await house.until(lambda h: len(h.came) == CLIENTS_LIMIT)
    reader, writer = await asyncio.open_unix_connection(str(house.path))
    writer.write(STOP)
    await house.until(lambda h: isinstance(h.came[-1], Ask) and h.came[-1].verb == "stop")
    # The oldest made room, and was told so; its machine knows. The others are still here.
    assert [e for e in house.came if isinstance(e, Gone)] == [Gone(1)]
    told = json.loads(there[0].recv(4096))
    assert told == {"error": local.MAKE_ROOM, "last": True}
    assert there[0].recv(1) == b""
    assert len(house.local._clients) == CLIENTS_LIMIT
    house.local.send(house.came[-1].client, b'{"stopped":true}')
    assert json.loads(await asyncio.wait_for(reader.readline(), 20)) == {"stopped": True}
    writer.close()
    for one in there:
        one.close()
    await house.until(lambda h: h.gone() == CLIENTS_LIMIT + 1)


@pytest.mark.parametrize("behind", [b"", b'{"verb":"watch"}\n'], ids=["silent", "talking"])
async def test_a_stop_is_read_before_it_makes_room_for_a_flood_behind_it(house: House, behind: bytes) -> None:
    flood = await crowd(house.path, b"")
    with socket.socket(socket.AF_UNIX) as stop:
        stop.connect(str(house.path))
        stop.send(STOP)
        # All this waits at the door before the loop turns once.
        for _ in range(60):
            flood.append(socket.socket(socket.AF_UNIX))
            flood[-1].connect(str(house.path))
            flood[-1].send(behind)
        await house.until(lambda h: any(isinstance(e, Ask) and e.verb == "stop" for e in h.came))
        assert len(house.local._clients) <= CLIENTS_LIMIT
        # And whoever comes after them all is heard as well.
        assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')
    for one in flood:
        one.close()


async def test_nobody_makes_room_before_it_had_its_say(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def peer(there: socket.socket) -> tuple[int, str]:
        seen.append(there.fileno())
        house.feed(Gone(0))
        return 1000, "li"

    monkeypatch.setattr(local, "SAY_S", 3600.0)
    monkeypatch.setattr(local, "_peer", peer)
    there = [*await crowd(house.path, b""), socket.socket(socket.AF_UNIX)]
    there[-1].connect(str(house.path))
    await house.until(lambda h: len(seen) == CLIENTS_LIMIT + 1)
    there[0].send(STOP)
    await house.until(lambda h: isinstance(h.came[-1], Ask))
    assert {e.client for e in house.came if isinstance(e, Gone)} == {0}
    # A door that closes leaves nobody waiting before it.
    await house.local.close()
    assert there[-1].recv(1) == b""
    for one in there:
        one.close()


async def test_a_flood_by_one_user_ends_nobody_elses(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([*[(7, "li")] * 2, *[(8, "wang")] * 200])
    monkeypatch.setattr(local, "_peer", lambda there: next(names))
    lis = []
    for line in (b'{"verb":"watch"}\n', b""):
        lis.append(await asyncio.open_unix_connection(str(house.path)))
        lis[-1][1].write(line)
    await house.until(lambda h: len(h.came) == 1)
    flood = [*await crowd(house.path), *await crowd(house.path, b""), *await crowd(house.path)]
    await house.until(lambda h: h.gone() >= 3 * CLIENTS_LIMIT - (CLIENTS_LIMIT - 2))
    assert not {e.client for e in house.came if isinstance(e, Gone)} & {1, 2}
    house.local.send(1, b'{"still":"here"}')
    assert json.loads(await asyncio.wait_for(lis[0][0].readline(), 20)) == {"still": "here"}
    for _, writer in lis:
        writer.close()
    for one in flood:
        one.close()


async def test_who_makes_room_and_does_not_read_goes_at_once(house: House) -> None:
    there = await crowd(house.path)
    await house.until(lambda h: len(h.came) == CLIENTS_LIMIT)
    writer = house.local._clients[1].writer
    while not writer.transport.get_write_buffer_size():
        house.local.send(1, b'{"x":"' + b"y" * 10_000 + b'"}')
    assert "heard" in await ask(house.path, b'{"verb":"echo"}\n')
    assert Gone(1) in house.came
    assert writer.transport.get_write_buffer_size() == 0
    for one in there:
        one.close()


def test_sirenctl_waits_its_turn_at_a_crowded_door(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as nobody, socket.socket(socket.AF_UNIX) as first:
        nobody.bind(str(path))
        nobody.listen(0)
        first.connect(str(path))
        began_s = time.monotonic()
        with pytest.raises(NoGateway, match=r"no turn in 0\.5 s"):
            next(ctl_door.ask(path, "stop", {}, 0.5))
        assert time.monotonic() - began_s >= 0.4
        served = ThreadPoolExecutor().submit(lambda: next(ctl_door.ask(path, "stop", {}, 20)))
        for _ in range(2):
            there, _ = nobody.accept()
        assert json.loads(there.makefile().readline()) == {"verb": "stop", "args": {}}
        there.send(b'{"stopped":true,"last":true}\n')
        assert served.result(20) == {"stopped": True, "last": True}
        there.close()


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
