"""The local door: a unix socket where a technician's `sirenctl` asks and is answered (shell).

One JSON object a line in each direction: `{"verb": ..., "args": {...}}` in, answers out. Who asks is what the kernel
says of the other end (SO_PEERCRED), never what the line says. A line that is no question is answered with an error;
a client that sends too much or does not read is hung up on. It refuses to know what a verb does and who may ask it.
"""

import asyncio
import errno
import json
import os
import pwd
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller import strictjson
from controller.event import Ask, Gone
from firmware_bridge.errors import Malformed

LINE_LIMIT = 640 * 1024
"""Bytes of a question: a trust list of 512 keys, as JSON text."""
CLIENTS_LIMIT = 16
"""Technicians at one cabinet, and their forgotten terminals."""
UNREAD_LIMIT = 256 * 1024
"""Bytes of answers that a client may leave unread before it is hung up on."""

Feed = Callable[[Ask | Gone], None]

_PEERCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class _Client:
    id: int
    uid: int
    user: str
    writer: asyncio.StreamWriter


class Local:
    """The door at `path`: `open` it, `send` answers, `close` it."""

    def __init__(self, path: Path, feed: Feed) -> None:
        self.path = path
        self._feed = feed
        self._server: asyncio.Server | None = None
        self._clients: dict[int, _Client] = {}
        self._last_id = 0

    async def open(self) -> None:
        """Listen; OSError when somebody else does, or the folder does not allow it."""
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
        self._server = await asyncio.start_unix_server(self._serve, sock=door, limit=LINE_LIMIT)

    async def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        if self._server is None:
            return
        self._server.close()
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid, user = _peer(writer)
        self._last_id += 1
        client = _Client(self._last_id, uid, user, writer)
        try:
            if len(self._clients) >= CLIENTS_LIMIT:
                writer.write(_error(f"{CLIENTS_LIMIT} clients are here already; try again") + b"\n")
                return
            self._clients[client.id] = client
            while line := await self._line(reader, client):
                self._asked(client, line)
        except ConnectionError:
            pass
        finally:
            if self._clients.pop(client.id, None) is not None:
                self._feed(Gone(client.id))
            writer.close()

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


def _peer(writer: asyncio.StreamWriter) -> tuple[int, str]:
    """The user at the other end, from the kernel."""
    door: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = _PEERCRED.unpack(door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
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
