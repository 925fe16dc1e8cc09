"""A sirend that is killed at a chosen point, for `bench kills`.

The real daemon with its real shells; only here they are wrapped, and at the N-th time that POINT is passed, counted
from the process's start or from the first order that arrived, the process kills itself with SIGKILL, as an OOM killer
or a power switch would: nothing is flushed, closed or said. Production code knows nothing of it.

`serve` is a process that has loaded the daemon and forks one for each line that it reads: loading it anew takes most of
a second, and thousands are wanted. Each is a process of its own as any other; nothing of one is left to the next.
"""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from typing import Any

from controller import beside, daemon, gateway
from controller.event import Append, Arrived, Publish
from firmware_bridge import link
from firmware_bridge.event import Send

POINTS = (
    "handled", "append-before", "append-after", "begin", "inserted", "commit-before", "commit-after", "answered",
    "beside-before", "beside-after", "send-before", "send-after", "write-before", "write-after", "publish-before",
    "publish-after", "confirmed",
)
"""handled: the machines have answered and nothing is carried out yet. begin to commit-after: in the journal's writer.
answered: the disk's answer is about to reach the machines. write: octets into the port, by the loop or by the timer
thread at an edge's instant. confirmed: the broker's word is about to reach the machines."""
SINCE = ("start", "order")


class Fuse:
    def __init__(self, point: str, n: int, since: str) -> None:
        assert point in POINTS, point
        assert since in SINCE, since
        self._point, self._left, self._lit = point, n, since == "start"

    def light(self) -> None:
        self._lit = True

    def at(self, point: str) -> None:
        if self._lit and point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def around(fuse: Fuse, real: Callable[..., Any], name: str) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        fuse.at(f"{name}-before")
        out = real(*args, **kwargs)
        fuse.at(f"{name}-after")
        return out
    return wrapped


def arm(fuse: Fuse) -> None:
    """Wrap the shells of this process."""
    handle, carry_out, feed = gateway.Gateway.handle, daemon.Daemon._carry_out, daemon.Daemon.feed

    def handled(self: gateway.Gateway, now_us: int, event: object) -> list[gateway.Effect]:
        if isinstance(event, Arrived) and event.topic.endswith(("/order", "/stop")):
            fuse.light()
        effects = handle(self, now_us, event)
        if effects:
            fuse.at("handled")
        return effects

    names = {Append: "append", Send: "send", Publish: "publish"}

    def carried_out(self: daemon.Daemon, effect: object) -> None:
        name = names.get(type(effect), "other")
        fuse.at(f"{name}-before")
        carry_out(self, effect)
        fuse.at(f"{name}-after")

    def fed(self: daemon.Daemon, event: object) -> None:
        match type(event).__name__:
            case "Durable" | "AppendFailed":
                fuse.at("answered")
            case "Confirmed":
                fuse.at("confirmed")
        feed(self, event)

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if sql.startswith("COMMIT"):
                fuse.at("commit-before")
            out = super().execute(sql, *rest)
            if sql.startswith("BEGIN"):
                fuse.at("begin")
            elif sql.startswith("COMMIT"):
                fuse.at("commit-after")
            return out

        def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
            out = super().executemany(sql, rows)
            fuse.at("inserted")
            return out

    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **kwargs, factory=Connection)

    for owner, name, wrapped in (
        (gateway.Gateway, "handle", handled), (daemon.Daemon, "_carry_out", carried_out),
        (daemon.Daemon, "feed", fed), (sqlite3, "connect", connected),
        (link._Port, "write", around(fuse, link._Port.write, "write")),
        (beside, "write", around(fuse, beside.write, "beside")),
    ):
        setattr(owner, name, wrapped)


def serve() -> None:
    """One fork for each line {"fuse": [POINT, N, SINCE] or null, "arguments": [...], "log": FILE}; its number comes."""
    # The kernel takes the dead away, so that who looks for one finds none.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        wish = json.loads(line)
        pid = os.fork()
        if pid == 0:
            be(wish)
        print(pid, flush=True)


def be(wish: dict[str, Any]) -> None:
    """A daemon, until it ends or is ended."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if wish["fuse"]:
            point, n, since = wish["fuse"]
            arm(Fuse(point, n, since))
        daemon.main(wish["arguments"])
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)
