"""The opening of a port, a serial line or a TCP endpoint, and its shutting.

Either may stand for long. An adapter that is there and hangs costs each step of its opening, and of its shutting, a
time-out of its driver (5 s of an FTDI, several in one opening), and the question for a name may be swallowed. That is
done in a thread of the port's own, one at a time, so that neither the loop nor another line waits for it; not in the
loop's pool, where what hangs takes the place of others and the end of the process waits for it.

It refuses to know what passes through a port, and when it is opened again.
"""

import asyncio
import contextlib
import socket
import termios
import threading
from collections.abc import Callable
from typing import TypeVar

import serial

from controller.wiring import BusSection

CONNECT_S = 3.0
"""What has not opened by now hangs, is off, or a firewall swallows what we send: that is told, whatever comes of it."""
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TRIES = 5, 2, 3
"""A peer that lost its power is noticed in about 11 s even when nothing is sent."""
UNSENT_MS = 5_000
"""TCP gives up on bytes nobody acknowledged: an order must not leave ten minutes later."""

_PARITY = {"N": serial.PARITY_NONE, "E": serial.PARITY_EVEN, "O": serial.PARITY_ODD}

T = TypeVar("T")
_Address = tuple[socket.AddressFamily, tuple[object, ...]]
Opened = tuple[int, Callable[[], None]]
"""A non-blocking file descriptor to read and write, and how to have it shut: that does not wait."""


class SerialLine:
    """A serial port, ours alone."""

    def __init__(self, bus: BusSection, path: str) -> None:
        self._bus = bus
        self._path = path
        self._hand: _Hand | None = None

    async def open(self) -> Opened:
        """OSError, ValueError, termios.error: why not. One that stands goes on, and the next call waits for it."""
        if self._hand is not None and self._hand.over.is_set():
            await self._come(self._hand.ended, "shut")
            self._hand = None
        if self._hand is None:
            self._hand = _Hand(self._bus, self._path)
        hand = self._hand
        found = await self._come(hand.opened, "open")
        if isinstance(found, Exception):
            self._hand = None
            raise found
        return found, hand.over.set

    def close(self) -> None:
        """Give up. What is open, or opens after all, is shut."""
        if self._hand is not None:
            self._hand.over.set()

    async def shut(self) -> None:
        """After `close`: until it is shut, but not for one that hangs."""
        if self._hand is not None:
            await asyncio.wait({self._hand.ended}, timeout=CONNECT_S)

    async def _come(self, future: asyncio.Future[T], what: str) -> T:
        # Unlike `wait_for` this leaves what it waits for alone.
        await asyncio.wait({future}, timeout=CONNECT_S)
        if not future.done():
            raise OSError(f"{self._path} did not {what} within {CONNECT_S:g} s: its adapter hangs")
        return future.result()


class _Hand:
    """The thread that holds one opening of a serial port: it opens, and shuts once `over` is set, however early."""

    def __init__(self, bus: BusSection, path: str) -> None:
        loop = asyncio.get_running_loop()
        self.over = threading.Event()
        self.opened: asyncio.Future[int | Exception] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        threading.Thread(target=self._hold, args=(bus, path), name=f"port {bus.id}", daemon=True).start()

    def _hold(self, bus: BusSection, path: str) -> None:
        try:
            port = serial.Serial(path, bus.baud, parity=_PARITY[bus.parity], stopbits=bus.stop_bits,
                                 timeout=0, write_timeout=0, exclusive=True)
        except Exception as error:
            # Whatever it is: whoever opens has to judge it, and a bug must not stay with a thread.
            _tell(self.opened, error)
        else:
            _tell(self.opened, port.fileno())
            self.over.wait()
            with contextlib.suppress(OSError, termios.error):
                # Or closing waits, up to 30 s, for bytes that an unplugged or stuck line will never take.
                port.reset_output_buffer()
            with contextlib.suppress(OSError):
                port.close()
        _tell(self.ended, None)


class Endpoint:
    """A TCP connection to a host, by its address or its name."""

    def __init__(self, host: str, number: int) -> None:
        self._host = host
        self._number = number
        self._asked: asyncio.Future[_Address | Exception] | None = None
        """The question for its name, until it is answered."""

    async def open(self) -> Opened:
        """OSError and ValueError tell why not. A question that nobody answered yet stands for the next call."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                family, address = await self._address()
                connection = socket.socket(family, socket.SOCK_STREAM)
                try:
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MS)
                    await loop.sock_connect(connection, address)
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError:
            what = f"{self._host}:{self._number} did not answer"
            if self._asked is not None:
                what = f"no answer for the name {self._host}"
            raise OSError(f"{what} within {CONNECT_S:g} s") from None
        return connection.fileno(), connection.close

    def close(self) -> None:
        """Give up. A question that stands ends by itself, and nobody is told the answer."""

    async def shut(self) -> None:
        """A socket is shut at once."""

    async def _address(self) -> _Address:
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                socket.inet_pton(family, self._host)
                return family, (self._host, self._number)
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            threading.Thread(target=_ask, args=(self._host, self._number, self._asked),
                             name=f"name {self._host}", daemon=True).start()
        await asyncio.wait({self._asked})
        found, self._asked = self._asked.result(), None
        if isinstance(found, Exception):
            raise found
        return found


def _ask(host: str, number: int, answer: asyncio.Future[_Address | Exception]) -> None:
    found: _Address | Exception
    try:
        family, _, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        found = family, address
    except Exception as error:
        found = error
    _tell(answer, found)


def _tell(future: asyncio.Future[T], value: T) -> None:
    """From a thread, once."""
    with contextlib.suppress(RuntimeError):
        # The loop is closed: the process ends, and nobody is there to be told.
        future.get_loop().call_soon_threadsafe(future.set_result, value)
