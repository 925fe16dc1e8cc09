"""The technician's end of the local door: one question, one or more answers, each a JSON object on a line."""

import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLACES = ("/run/siren/sirend.sock", "configs/demo/run/gw-jinshui.sock")
"""Where a daemon's door is looked for: the installed service, then the demo of the README."""
ANSWER_S = 10.0
"""A gateway that handles anything answers a look at once."""
PIECE = 64 * 1024
"""Octets taken from the door at once."""


class NoGateway(Exception):
    """Nobody answers at the door."""


class NobodyThere(NoGateway):
    """There is no door, or nobody behind it: no daemon runs that would open it."""


def place(named: str | None) -> Path:
    """The socket to use: named, or $SIREN_SOCKET, or the first known place that exists."""
    if named or os.environ.get("SIREN_SOCKET"):
        return Path(named or os.environ["SIREN_SOCKET"])
    for known in PLACES:
        if Path(known).exists():
            return Path(known)
    raise NobodyThere(
        "找不到网关的本地接口；先启动 sirend，或用 --socket 指明 / no gateway's door found;"
        f" start sirend, or name it with --socket (looked at: {', '.join(PLACES)})"
    )


def ask(path: Path, verb: str, args: dict[str, Any], patience_s: float | None = ANSWER_S) -> Iterator[dict[str, Any]]:
    """Ask, and yield every answer until the last one. `patience_s` None waits for ever between answers."""
    with _asked(path, verb, args, patience_s) as door:
        try:
            with door.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    yield answer
                    if answer.get("last"):
                        return
        except TimeoutError:
            raise NoGateway(f"{path}: 没有回答 / no answer in {patience_s:g} s") from None
        except OSError as error:
            raise NoGateway(f"{path}: {error.strerror or error}") from None
    raise NoGateway(f"{path}: 网关挂断 / the gateway hung up")


def hear(path: Path, verb: str, args: dict[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
    """Ask, and yield what comes for so long, or until a last answer. NoGateway when the gateway hangs up before."""
    end = time.monotonic() + seconds
    with _asked(path, verb, args, ANSWER_S) as door:
        rest = b""
        while (left_s := end - time.monotonic()) > 0:
            door.settimeout(left_s)
            try:
                came = door.recv(PIECE)
            except TimeoutError:
                return
            except OSError as error:
                raise NoGateway(f"{path}: {error.strerror or error}") from None
            if not came:
                raise NoGateway(f"{path}: 网关挂断 / the gateway hung up")
            *lines, rest = (rest + came).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                yield answer
                if answer.get("last"):
                    return


@contextmanager
def _asked(path: Path, verb: str, args: dict[str, Any], patience_s: float | None) -> Iterator[socket.socket]:
    """The door, with the question asked."""
    with socket.socket(socket.AF_UNIX) as door:
        try:
            if patience_s is not None:
                # Where many wait at the door, the kernel lets a connect wait its turn only if the socket blocks.
                sec, part = divmod(patience_s, 1)
                door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(sec), int(part * 1e6)))
            door.connect(str(path))
            door.settimeout(patience_s)
            door.sendall(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NobodyThere(f"{path}: {error.strerror}；sirend 在运行吗？/ is sirend running?") from None
        except BlockingIOError:
            raise NoGateway(f"{path}: 没有轮到 / no turn in {patience_s:g} s: too many wait at the door") from None
        except OSError as error:
            raise NoGateway(f"{path}: {error.strerror or error}；sirend 在运行吗？/ is sirend running?") from None
        yield door
