"""The local door: a unix socket where a technician's `sirenctl` asks and is answered (shell).

One JSON object a line in each direction: `{"verb": ..., "args": {...}}` in, answers out. Who asks is what the kernel
says of the other end (SO_PEERCRED), never what the line says. A line that is no question is answered with an error;
a client that sends too much or does not read is hung up on. Nobody is turned away: where too many are here, one that
was heard, or had nothing to say, makes room for who comes. It refuses to know what a verb does and who may ask it.
"""

import asyncio
import errno
import json
import os
import pwd
import socket
import stat
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller import strictjson
from controller.event import Ask, Gone
from firmware_bridge.errors import Malformed

LINE_LIMIT = 640 * 1024
"""Bytes of a question: a trust list of 512 keys, as JSON text."""
CLIENTS_LIMIT = 16
"""Technicians at one cabinet, and their forgotten terminals. Who comes after them waits with the kernel for a place."""
QUEUE = 100
"""So many wait there, in order."""
SAY_S = 0.25
"""Who has said nothing for so long may have to make room. `sirenctl` asks within a millisecond."""
AGAIN_S = 1.0
"""Where no connection can be taken (no descriptors are left) it is tried again after this."""
UNREAD_LIMIT = 256 * 1024
"""Bytes of answers that a client may leave unread before it is hung up on."""
MAKE_ROOM = (f"已有 {CLIENTS_LIMIT} 个终端，为新来者让位 / {CLIENTS_LIMIT} clients are here, and this one made room for"
             " another; ask again")

Feed = Callable[[Ask | Gone], None]

_PEERCRED = struct.Struct("3i")


@dataclass(slots=True)
class _Client:
    id: int
    uid: int
    user: str
    writer: asyncio.StreamWriter
    came_s: float
    heard: bool = False
    """A whole line of it was read."""


class Local:
    """The door at `path`: `open` it, `send` answers, `close` it."""

    def __init__(self, path: Path, feed: Feed) -> None:
        self.path = path
        self._feed = feed
        self._door: socket.socket | None = None
        self._welcoming: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._clients: dict[int, _Client] = {}
        self._last_id = 0

    async def open(self) -> asyncio.Task[None]:
        """Listen; OSError when somebody else does, or the folder does not allow it. The task that is returned ends by a
        bug only, or cancelled by `close`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(self.path)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody slips in between bind and chmod: the mask makes the file 0660 from its first moment.
        mask = os.umask(0o117)
        try:
            door.bind(str(self.path))
        except OSError:
            door.close()
            raise
        finally:
            os.umask(mask)
        door.setblocking(False)
        door.listen(QUEUE)
        self._door = door
        self._welcoming = asyncio.create_task(self._welcome(door), name="door")
        return self._welcoming

    async def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        if self._door is None or self._welcoming is None:
            return
        self._welcoming.cancel()
        await asyncio.gather(self._welcoming, return_exceptions=True)
        self._door.close()
        for client in list(self._clients.values()):
            client.writer.close()
        self.path.unlink(missing_ok=True)

    def send(self, client: int, payload: bytes) -> None:
        """One line of answer. To a client that has gone it is nothing; one that does not read is hung up on."""
        known = self._clients.get(client)
        if known is None:
            return
        known.writer.write(payload + b"\n")
        if known.writer.transport.get_write_buffer_size() > UNREAD_LIMIT:
            known.writer.transport.abort()

    async def _welcome(self, door: socket.socket) -> None:
        """Let in who comes, one after the other. asyncio's own server lets in a whole burst at once, and a stop in it
        would have to make room for what came behind it before a word of it was read."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                there, _ = await loop.sock_accept(door)
            except OSError:
                await asyncio.sleep(AGAIN_S)
                continue
            uid, user = _peer(there)
            try:
                await self._room(uid)
            except asyncio.CancelledError:
                there.close()
                raise
            reader, writer = await asyncio.open_unix_connection(sock=there, limit=LINE_LIMIT)
            self._last_id += 1
            client = _Client(self._last_id, uid, user, writer, loop.time())
            self._clients[client.id] = client
            serving = asyncio.create_task(self._serve(reader, client))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _room(self, uid: int) -> None:
        """Until there is a place for one more of this user. Who has most here gives one up: so nobody's flood ends
        another's; and of theirs the oldest that was heard or had the time to speak."""
        loop = asyncio.get_running_loop()
        while len(self._clients) >= CLIENTS_LIMIT:
            here = Counter([uid, *(c.uid for c in self._clients.values())])
            most, now_s = max(here.values()), loop.time()
            left_s = {c.id: 0 if c.heard else max(0, c.came_s + SAY_S - now_s)
                      for c in self._clients.values() if here[c.uid] == most}
            leaves = min(left_s, key=left_s.__getitem__)
            if left_s[leaves] == 0:
                self._end(self._clients[leaves])
            else:
                await asyncio.sleep(left_s[leaves])

    def _end(self, client: _Client) -> None:
        del self._clients[client.id]
        client.writer.write(_error(MAKE_ROOM) + b"\n")
        if client.writer.transport.get_write_buffer_size():
            # It does not read, and would not read this: it would stay for ever.
            client.writer.transport.abort()
        client.writer.close()
        self._feed(Gone(client.id))

    async def _serve(self, reader: asyncio.StreamReader, client: _Client) -> None:
        try:
            while (line := await self._line(reader, client)) and client.id in self._clients:
                client.heard = True
                self._asked(client, line)
        except ConnectionError:
            pass
        finally:
            if self._clients.pop(client.id, None) is not None:
                self._feed(Gone(client.id))
            client.writer.close()

    async def _line(self, reader: asyncio.StreamReader, client: _Client) -> bytes:
        """The next line; nothing at the end, and after one that is too long: what follows in it is no question."""
        try:
            return await reader.readline()
        except ValueError:
            self.send(client.id, _error(f"a line of more than {LINE_LIMIT} bytes"))
            return b""

    def _asked(self, client: _Client, line: bytes) -> None:
        try:
            question = strictjson.load(line, LINE_LIMIT)
        except Malformed as error:
            self.send(client.id, _error(str(error)))
            return
        verb, args = question.get("verb"), question.get("args", {})
        if isinstance(verb, str) and isinstance(args, dict) and question.keys() <= {"verb", "args"}:
            self._feed(Ask(client.id, client.uid, client.user, verb, args))
        else:
            self.send(client.id, _error('ask with {"verb": "...", "args": {...}}'))


def _error(why: str) -> bytes:
    return json.dumps({"error": why, "last": True}).encode()


def _peer(there: socket.socket) -> tuple[int, str]:
    """The user at the other end, from the kernel."""
    _, uid, _ = _PEERCRED.unpack(there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    try:
        return uid, pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid, str(uid)


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed process left; never one at which somebody listens, never another file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "is in the way and no socket; remove it, or name another path", str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, "another sirend listens there; end it first", str(path))
