"""A TCP proxy that fails as networks do: it cuts, swallows one way or both, holds back, and refuses (shell).

Between a gateway and its broker. What is told to it holds for the connections that are there, or for those that come
next. It refuses to know what the octets mean.
"""

import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress

TICK_S = 0.02
"""How soon a connection notices what it was told."""
PIECE = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on and 0 s: close sends RST."""


class Connection:
    """One connection through the proxy; its own thread carries octets both ways."""

    def __init__(self, near: socket.socket, far: socket.socket, cut_after: int | None) -> None:
        self.up = self.down = True
        """Whether octets are carried to the broker, and from it; else they are swallowed."""
        self.hold_s = 0.0
        self.over = ""
        """close or reset: how it is to end."""
        self._near, self._far = near, far
        self._left = cut_after
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while not self.over:
                ready, _, _ = select.select([self._near, self._far], [], [], TICK_S)
                if not all(self._carry(one) for one in ready):
                    break
        for one in (self._near, self._far):
            with suppress(OSError):
                if self.over == "reset":
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                one.close()
        self.over = self.over or "close"

    def _carry(self, whence: socket.socket) -> bool:
        data = whence.recv(PIECE)
        if not data:
            return False
        if self.hold_s:
            time.sleep(self.hold_s)
        upward = whence is self._near
        if not (self.up if upward else self.down):
            return True
        if not upward and self._left is not None:
            data, self._left = data[: self._left], self._left - len(data)
        (self._far if upward else self._near).sendall(data)
        if self._left is not None and self._left <= 0:
            self.over = "reset"
        return True


class Proxy:
    """Listens on a port of its own, and carries what comes to `to`."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._door.getsockname()[1])
        self.accepted = 0
        """Connections so far, refused ones too."""
        self._there: list[Connection] = []
        self._next: deque[int] = deque()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def there(self) -> list[Connection]:
        self._there = [one for one in self._there if not one.over]
        return self._there

    def cut_next(self, *after: int) -> None:
        """The next connections are cut when so many octets have come back from the broker; 0: at once."""
        self._next.extend(after)

    def close(self) -> None:
        self._door.close()
        for one in self.there:
            one.over = "close"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            after = self._next.popleft() if self._next else None
            try:
                if after == 0:
                    raise OSError
                far = socket.create_connection(("127.0.0.1", self._to), 1)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._there.append(Connection(near, far, after))
            except OSError:
                near.close()
            self.accepted += 1
