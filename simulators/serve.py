"""The field on real ports: a pty for each RS-485 line, a TCP socket for each endpoint, and a door for faults.

A thin shell around `field.Field`: octets and time in, octets and log lines out. A line's pty has a stable path, as an
adapter has under /dev/serial/by-path: the symbolic link is replaced atomically and removed at the end.

The control door is a unix socket that takes one JSON object a line and answers each with one:
`{"do": "fault", "target": "relay-1", "fault": "busy", "share": 0.1}` (0 ends it; `"seconds"` for a reboot), `{"do":
"faults", "target": "relay-1"}` (what is on there, and what can be), `{"do": "set", "unit": "gauge-1", "point": "level",
"value": 0.4}` (null hands it back), `{"do": "get", "unit": ..., "point": ...}`, `{"do": "state"}`, `{"do": "storm",
"file": "flash.csv", "speed": 10}` (null dries the road; `"water"` where the site has several).
"""

import asyncio
import contextlib
import json
import os
import random
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_bridge.document import read_text
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import Woken
from simulators.faults import NoSuch
from simulators.field import (
    Field,
    FieldEvent,
    Frame,
    Hang,
    Inject,
    Left,
    Plug,
    Rise,
    SetPoint,
    Sound,
    ToLine,
    ToMaster,
)
from simulators.line import Seen
from simulators.site import LineSection, Plan
from simulators.storm import Columns, parse

READ_BYTES = 4096
MAX_REQUEST_BYTES = 4096
"""A line at the control door is under 200."""

Sink = Callable[[dict[str, Any]], None]
"""Takes one line of a log."""


class Server:
    """A site being played. `links` tells where each line can be opened, as `gateway.toml` writes it."""

    def __init__(self, plan: Plan, sounds: Sink | None = None, frames: Sink | None = None) -> None:
        self.plan = plan
        self.field = Field(plan, random.Random)
        self.links: dict[str, str] = {}
        self._sounds = sounds
        self._frames = frames
        self._start_us = 0
        self._ptys: dict[str, _Pty] = {}
        self._listeners: list[asyncio.Server] = []
        self._connections: dict[tuple[str, int], asyncio.Transport] = {}
        self._accepted = 0
        # TCP lines whose cable is out: who connects is thrown out.
        self._unplugged: set[str] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._door: asyncio.Server | None = None

    async def start(self) -> None:
        """Open every port. BadDocument when one cannot be opened."""
        self._loop = asyncio.get_running_loop()
        self._start_us = _now_us()
        for line in self.plan.spec.line:
            try:
                await self._open(line)
            except OSError as error:
                await self.stop()
                key = f"line[{line.id}]." + ("path" if line.kind == "rtu" else "port")
                where = line.path or line.port
                remedy = f"{error}; free it, or choose another"
                raise BadDocument([Problem(str(self.plan.file), key, where, remedy)]) from None
        control = self.plan.spec.site.control
        if control is not None:
            path = self.plan.path(control)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._door = await asyncio.start_unix_server(self._serve_door, path, limit=MAX_REQUEST_BYTES)
        self._feed(Woken())

    async def stop(self) -> None:
        """Close every port and take away every path that was made."""
        if self._alarm is not None:
            self._alarm.cancel()
        for pty in self._ptys.values():
            pty.unplug()
        for listener in [*self._listeners, *([self._door] if self._door else [])]:
            listener.close()
        for transport in list(self._connections.values()):
            transport.abort()
        if self._door is not None and self.plan.spec.site.control is not None:
            self.plan.path(self.plan.spec.site.control).unlink(missing_ok=True)

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the control door, answered."""
        try:
            match request:
                case {"do": "fault", "target": str(target), "fault": str(fault), **rest}:
                    seconds = rest.get("seconds")
                    self._feed(Inject(target, fault, float(rest.get("share", 1)),
                                      None if seconds is None else float(seconds)))
                case {"do": "faults", "target": str(target)}:
                    self._feed(Woken())
                    on, can = self.field.faults(target)
                    return {"ok": True, "on": on, "can": can}
                case {"do": "set", "unit": str(unit), "point": str(point), "value": (
                        bool() | int() | float() | str() | None) as value}:
                    self._feed(SetPoint(unit, point, value))
                case {"do": "get", "unit": str(unit), "point": str(point)}:
                    self._feed(Woken())
                    return {"ok": True, "value": self.field.value(unit, point)}
                case {"do": "storm", "file": (str() | None) as file, **rest}:
                    self._storm(file, rest)
                    return {"ok": True, "waters": self.field.waters.stand(self._field_us())}
                case {"do": "state"}:
                    self._feed(Woken())
                    sounding = {_place(*place): on for place, on in self.field.sounding().items()}
                    busy = {id: line.busy_us for id, line in self.field.lines.items()}
                    return {"ok": True, "links": self.links, "sounding": sounding, "busy_us": busy,
                            "waters": self.field.waters.stand(self._field_us())}
                case _:
                    return _refused(f"no such request: {json.dumps(request)[:200]}; do fault(s), set, get, storm or"
                                    " state")
        except (BadDocument, NoSuch, TypeError, ValueError) as error:
            return _refused(str(error))
        return {"ok": True}

    def _storm(self, file: str | None, rest: dict[str, Any]) -> None:
        """Play the storm of a file that whoever asks has read already."""
        storm = None
        if file is not None:
            columns = Columns(**rest.get("columns", {}))
            storm, _ = parse(read_text(Path(file)), file, columns)
        self._feed(Rise(storm, rest.get("water"), float(rest.get("speed", 1))))

    # Time and octets.

    def _field_us(self) -> int:
        return _now_us() - self._start_us

    def _feed(self, event: FieldEvent) -> None:
        effects = self.field.handle(self._field_us(), event)
        for effect in effects:
            match effect:
                case ToMaster(line, data, connection):
                    self._to_master(line, data, connection)
                case Frame(line, seen):
                    if self._frames is not None:
                        self._frames(self._frame(line, seen))
                case Sound(t_us, unit, channel, on, cause):
                    if self._sounds is not None:
                        self._sounds({**self._instant(t_us), "site": self.plan.id, "unit": unit, "channel": channel,
                                      "on": on, "cause": cause})
                case Plug(line, on):
                    self._plug(line, on)
                case Hang(line, connection):
                    if (transport := self._connections.get((line, connection))) is not None:
                        transport.close()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if (deadline := self.field.deadline) is not None:
            self._alarm = self._loop.call_at((self._start_us + deadline) / 1e6, self._feed, Woken())

    def _to_master(self, line: str, data: bytes, connection: int) -> None:
        if line in self._ptys:
            self._ptys[line].write(data)
        for (id, number), transport in self._connections.items():
            # Who else is on a serial server hears the answers too, as on the wire.
            if id == line and (number == connection or line in self.field.lines):
                transport.write(data)

    def _instant(self, t_us: int) -> dict[str, int]:
        at_us = self._start_us + t_us
        return {"t_us": at_us, "wall_us": time.time_ns() // 1000 - (_now_us() - at_us)}

    def _frame(self, line: str, seen: Seen) -> dict[str, Any]:
        at = self._instant(seen.first_byte_us)
        words = [int.from_bytes(seen.pdu[n : n + 2], "big") for n in (1, 3)] if len(seen.pdu) >= 5 else [None, None]
        return {**at, "line": line, "unit": seen.unit, "function": seen.pdu[0], "address": words[0], "word": words[1],
                "pdu": seen.pdu.hex(), "first_byte_us": at["t_us"]}

    # Ports.

    async def _open(self, line: LineSection) -> None:
        if line.path is not None:
            path = self.plan.path(line.path)
            self._ptys[line.id] = _Pty(path, lambda data: self._feed(ToLine(line.id, data)))
            self._ptys[line.id].plug()
            self.links[line.id] = f"serial:{path}"
            return
        listener = await self._loop.create_server(lambda: _Connection(self, line.id), "127.0.0.1", line.port)
        self._listeners.append(listener)
        port = listener.sockets[0].getsockname()[1]
        self.links[line.id] = f"{line.kind}:127.0.0.1:{port}"

    def _plug(self, line: str, on: bool) -> None:
        if line in self._ptys:
            pty = self._ptys[line]
            pty.plug() if on else pty.unplug()
        else:
            (self._unplugged.discard if on else self._unplugged.add)(line)
            for (id, _), transport in list(self._connections.items()):
                if id == line and not on:
                    transport.abort()

    def connected(self, line: str, transport: asyncio.Transport) -> int | None:
        """The number of a new connection; None when the line is unplugged."""
        if line in self._unplugged:
            return None
        self._accepted += 1
        self._connections[line, self._accepted] = transport
        return self._accepted

    def heard(self, line: str, connection: int, data: bytes) -> None:
        self._feed(ToLine(line, data, connection))

    def left(self, line: str, connection: int) -> None:
        del self._connections[line, connection]
        self._feed(Left(line, connection))

    # The control door.

    async def _serve_door(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            # ValueError: a line beyond MAX_REQUEST_BYTES; whoever sends that is not answered.
            while text := await reader.readline():
                try:
                    request = json.loads(text)
                except ValueError:
                    request = None
                answer = self.command(request) if isinstance(request, dict) else _refused("say one JSON object a line")
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()


class _Pty:
    """One adapter: a pty whose slave is known by a stable path."""

    def __init__(self, path: Path, heard: Callable[[bytes], None]) -> None:
        self._path = path
        self._heard = heard
        self._master: int | None = None
        self._slave = -1
        self._name = ""

    def plug(self) -> None:
        if self._master is not None:
            return
        if self._path.exists() and not self._path.is_symlink():
            raise OSError(f"{self._path} is there and is no symbolic link")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The slave stays open here, or the line would hang up whenever a master closes it.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._name = os.ttyname(self._slave)
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._name)
        fresh.replace(self._path)
        asyncio.get_running_loop().add_reader(self._master, self._readable, self._master)

    def unplug(self) -> None:
        if self._master is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = None
        # Another simulator may have taken the path meanwhile.
        with contextlib.suppress(OSError):
            if os.readlink(self._path) == self._name:
                self._path.unlink()

    def write(self, data: bytes) -> None:
        if self._master is not None:
            # What a master does not read in time is lost, as in a UART.
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data)

    def _readable(self, master: int) -> None:
        try:
            data = os.read(master, READ_BYTES)
        except BlockingIOError:
            return
        self._heard(data)


class _Connection(asyncio.Protocol):
    """One connection to a TCP line."""

    def __init__(self, server: Server, line: str) -> None:
        self._server = server
        self._line = line
        self._number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._number = self._server.connected(self._line, transport)
        if self._number is None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._number is not None:
            self._server.heard(self._line, self._number, data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._number is not None:
            self._server.left(self._line, self._number)


def _refused(why: str) -> dict[str, Any]:
    return {"ok": False, "why": why}


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def _place(unit: str, channel: int | None) -> str:
    return unit if channel is None else f"{unit}.{channel}"
