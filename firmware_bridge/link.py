"""The open port of one bus: bytes in, bytes out, and a frame at its ordered instant.

`Link` opens a serial line, a Modbus TCP endpoint or an RTU tunnel through TCP, feeds LinkUp, Received and LinkDown,
and opens again by itself when the port goes away. It refuses to know what the bytes mean, how long a unit may
take, and what a siren is.

Nothing here waits. What may stand is done by `opening.py`, the port is non-blocking, a full output buffer is an
error, and `feed` is only ever called from the event loop, never from inside `send`, `reopen` or `close`: what those
find out comes back as an event.

Edges are written by one timer thread for all links of the process, so that a busy event loop does not make a siren
late, and so that sirens on several lines that start together cost one wake-up and not one race for the interpreter
each. The thread sleeps on a timerfd set to absolute CLOCK_MONOTONIC: measured here 50 us nearer to the instant than
`clock_nanosleep` (no timer slack), and an earlier edge, or a recall, reaches the sleeper, which a sleeping
`clock_nanosleep` would not hear. It never spins.
"""

import asyncio
import ctypes
import os
import select
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from controller.wiring import BusSection
from firmware_bridge.event import BusEvent, LinkDown, LinkUp, Received, WrittenLate
from firmware_bridge.machine import S
from firmware_bridge.opening import Endpoint, SerialLine

READ_BYTES = 4096
"""At most this much from one wake-up: a talker that never stops must not hold the loop."""
LATE_US = 500
"""A prepared frame that was written so long after its instant is told of: what is reported must be what was."""
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 2.0
"""Back-off of opening again. An adapter takes about a second to enumerate; a technician waits two, not ten."""


def now_us() -> int:
    """The time base of the whole gateway: integer microseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1000


class Link:
    """One bus's port. `folder` is what a relative serial path is relative to (the folder of `gateway.toml`)."""

    def __init__(self, bus: BusSection, feed: Callable[[BusEvent], None], folder: Path = Path()) -> None:
        self._bus = bus
        self._feed = feed
        kind, _, where = bus.link.partition(":")
        host, _, number = where.rpartition(":")
        self._way = SerialLine(bus, str(folder / where)) if kind == "serial" else Endpoint(host, int(number))
        self._port: _Port | None = None
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> asyncio.Task[None]:
        """Begin: from now on the port is open, or being opened again. Call it on the running loop, once.

        The task ends by itself only through a bug of ours, which whoever opened should not overlook.
        """
        assert self._keeper is None, "a link is opened once"
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"link {self._bus.id}")
        return self._keeper

    def send(self, data: bytes, at_us: int | None = None) -> None:
        """Write `data` now, or prepare it for `at_us`. Either supersedes what is prepared; empty only recalls it.

        With the port closed it is dropped: the bus has been told, or is about to be.
        """
        if self._port is not None:
            self._port.send(data, at_us)

    def reopen(self) -> None:
        """Close the port and open it again."""
        if self._port is not None:
            self._port.lost("closed to be opened again")

    def close(self) -> None:
        """End. A prepared frame is recalled; nothing is fed any more."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None
        self._way.close()

    async def shut(self) -> None:
        """After `close`: until the port is free to be opened by another, but not for one that hangs."""
        await self._way.shut()

    async def _keep(self) -> None:
        """Open, tell, wait for the end, tell, and again with back-off."""
        loop = asyncio.get_running_loop()
        retry_s, said = FIRST_RETRY_S, ""
        while True:
            try:
                fd, shut = await self._way.open()
            except (OSError, ValueError, termios.error) as error:
                # ValueError is pyserial's word for a baud rate the port cannot do; termios.error is no OSError.
                why = str(error) or type(error).__name__
                if why != said:
                    said = why
                    self._feed(LinkDown(self._bus.id, why))
            else:
                self._port = port = _Port(fd, shut, loop, self._bus, self._feed)
                opened_us, said = now_us(), ""
                self._feed(LinkUp(self._bus.id))
                why = await port.gone
                self._port = None
                port.close()
                self._feed(LinkDown(self._bus.id, why))
                if now_us() - opened_us > LAST_RETRY_S * 1e6:
                    retry_s = FIRST_RETRY_S
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)


class _Port:
    """One opening of a port. `gone` is why it ended; a later opening is another object, so nothing is mixed up."""

    def __init__(self, fd: int, shut: Callable[[], None], loop: asyncio.AbstractEventLoop,
                 bus: BusSection, feed: Callable[[BusEvent], None]) -> None:
        self.gone: asyncio.Future[str] = loop.create_future()
        self._fd = fd
        self._shut = shut
        self._loop = loop
        self._bus = bus.id
        self._feed = feed
        self._echo = _Echo() if bus.echo else None
        self._open = True
        loop.add_reader(fd, self._readable)

    def send(self, data: bytes, at_us: int | None) -> None:
        with _timer.lock:
            if data and self._open and at_us is not None and at_us > now_us():
                _timer.prepare(self, at_us, data)
                return
            _timer.recall(self)
            if data and self._open:
                self.write(data)

    def close(self) -> None:
        with _timer.lock:
            was_open, self._open = self._open, False
            _timer.recall(self)
        if was_open:
            # Nothing writes any more, so the number may become another file's; and other lines do not wait for this.
            self._loop.remove_reader(self._fd)
            self._shut()

    def lost(self, why: str) -> None:
        """This opening is over; said on the loop, once."""
        self._tell(self._lost, why)

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        """Have something done on the loop, from any thread."""
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:
            pass  # The loop is closed: the process ends, and nobody is there to be told.

    def _lost(self, why: str) -> None:
        if not self.gone.done():
            self._loop.remove_reader(self._fd)
            self.gone.set_result(why)

    def late(self, at_us: int) -> None:
        """What was prepared was written at this instant, noticeably after its own."""
        self._tell(self._late, at_us)

    def _late(self, at_us: int) -> None:
        if self._open:
            self._feed(WrittenLate(self._bus, at_us))

    def write(self, data: bytes) -> None:
        """Under the timer's lock."""
        if self._echo is not None:
            self._echo.sent(data)
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self.lost(_told(error))
            return
        if written < len(data):
            self.lost(f"output buffer full: {written} of {len(data)} bytes taken")

    def _readable(self) -> None:
        if self.gone.done():
            return
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(_told(error))
            return
        if not data:
            # A terminal with VMIN = 0 also reads nothing when somebody flushed it; only a hang-up stays readable.
            if self._over():
                self._lost("hung up: unplugged, or closed by the other end")
            return
        if self._echo is not None:
            with _timer.lock:
                data = self._echo.strip(data)
        if data:
            self._feed(Received(self._bus, data))

    def _over(self) -> bool:
        """Whether a port that was readable and had nothing is at its end."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))


def _told(error: OSError) -> str:
    return f"{error.strerror or error} (errno {error.errno})"


class _Echo:
    """Takes out of what is heard what the adapter repeats of our own frame: the whole frame, or nothing."""

    def __init__(self) -> None:
        self._expected = b""
        self._held = b""

    def sent(self, data: bytes) -> None:
        self._expected, self._held = data, b""

    def strip(self, data: bytes) -> bytes:
        if not self._expected:
            return data
        heard = self._held + data
        if heard.startswith(self._expected):
            rest = heard[len(self._expected):]
            self._expected = self._held = b""
            return rest
        if self._expected.startswith(heard):
            self._held = heard
            return b""
        # Not our frame: it was hurt on the wire, or this adapter does not repeat. The bus judges it.
        self._expected = self._held = b""
        return heard


_TFD_TIMER_ABSTIME = 1


class _Timer:
    """Holds the prepared frames of all ports, one a port; writes each at its instant of CLOCK_MONOTONIC, never early.

    `lock` guards them, every write, and whether a port is open: exactly one of written, superseded and recalled happens
    to a frame, and the thread never writes to a number that has become another file's.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._prepared: dict[_Port, tuple[int, bytes]] = {}
        self._set_us: int | None = None
        """What the timer is set to, until its thread has woken."""
        self._fd: int | None = None
        # Calls through PyDLL do not let go of the interpreter: setting a timer takes a microsecond, and a busy loop
        # would give it back late.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        # A struct itimerspec: seconds and nanoseconds of the period, which stay 0, and of the first instant.
        self._when = (ctypes.c_int64 * 4)()
        self._place = ctypes.byref(self._when)

    def prepare(self, port: _Port, at_us: int, data: bytes) -> None:
        """Under the lock. It takes the place of what this port had prepared."""
        if self._fd is None:
            self._fd = self._start()
        self._prepared[port] = at_us, data
        if self._set_us is None or at_us < self._set_us:
            self._set(at_us)

    def recall(self, port: _Port) -> None:
        """Under the lock."""
        self._prepared.pop(port, None)

    def _start(self) -> int:
        fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        threading.Thread(target=self._run, args=(fd,), name="edges", daemon=True).start()
        return int(fd)

    def _set(self, at_us: int) -> None:
        """Under the lock. An instant in the past fires at once."""
        self._set_us = at_us
        self._when[2], us = divmod(at_us, S)
        self._when[3] = us * 1000
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, self._place, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _run(self, fd: int) -> None:
        while True:
            os.read(fd, 8)
            with self.lock:
                self._set_us, now = None, now_us()
                for port, (at_us, data) in sorted(self._prepared.items(), key=_instant):
                    if at_us > now:
                        self._set(at_us)
                        break
                    del self._prepared[port]
                    port.write(data)
                    written_us = now_us()
                    if written_us - at_us > LATE_US:
                        port.late(written_us)


def _instant(prepared: tuple[_Port, tuple[int, bytes]]) -> int:
    return prepared[1][0]


_timer = _Timer()
"""The process's own; its thread is started by the first prepared frame."""
