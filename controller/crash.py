"""What is known of crashes of our own: which event was in hand, how often, and when enough is enough (shell).

Before an event that came from outside is handled, what it is stands in a small mapped file; afterwards it is cleared. A
process that dies leaves it there, its successor counts it, and an event on which two processes died is refused. The
pages outlive a process and need no disk: they lie beside the local door, in memory where that is in /run. A start whose
predecessor did not end in order is a crash as well; three in five minutes mean SAFE-MIN (`safe_min.py`), until that
is left, the machine is booted, or another version runs.

It refuses to know what an event does. A stop is never refused, but for one from afar in SAFE-MIN, where all is off.
"""

import hashlib
import json
import mmap
import os
import re
import struct
from base64 import urlsafe_b64decode
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controller.event import Arrived, Ask, Poisonous
from firmware_bridge.event import Received
from firmware_bridge.machine import S

WINDOW_US = 300 * S
CRASHES = 3
"""So many in the window: a bug that comes once or twice is only a restart."""
STRIKES = 2
"""Processes that died on an event before it is refused: the first may have been chance (memory, a kill)."""
STRIKES_KEPT = 32
"""Events remembered for that, and their bytes kept for who wants to know."""
FORGET_US = 24 * 3600 * S
"""An order may come again for a day at most."""
IN_HAND_LIMIT = 64 * 1024
"""Bytes of an event that are kept; more of it tells no more."""
WHY_LIMIT = 200
FILE_LIMIT = 64 * 1024
"""Characters that are read of what an earlier process left: more than it has ever."""
_LENGTH = struct.Struct("<I")


@dataclass(slots=True)
class Past:
    """What the file holds. Times are of CLOCK_BOOTTIME: the wall clock may step, and a boot begins anew."""

    version: str
    running: bool = False
    ends_us: list[int] = field(default_factory=list)
    """When starts found that their predecessor had not ended in order."""
    strikes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """An event's hash -> how many processes died on it, and when the last did."""
    safe_min: str = ""
    """Why SAFE-MIN; empty: it is not on."""
    last: str = ""
    """What the last process said when it died."""


class Crashes:
    """Beside the door at `door`. Where the folder takes no file nothing is marked or counted, and `wrong` says so."""

    def __init__(self, door: Path, version: str, now_us: int) -> None:
        self._file = door.with_suffix(".crashes")
        self._kept = door.with_suffix(".event")
        self.wrong = ""
        self._past = self._read(version, now_us)
        self._page: mmap.mmap | None = None
        try:
            self._page = self._open(door.with_suffix(".mark"))
            in_hand = self._in_hand()
            if self._past.running:
                self._count(now_us, in_hand)
            self._page[: _LENGTH.size] = _LENGTH.pack(0)
            self._past.running = True
            self._write()
        except OSError as error:
            self._page = None
            self.wrong = f"crashes are not counted: {error}"

    @property
    def safe_min(self) -> str:
        return self._past.safe_min

    def hold(self, event: object) -> Poisonous | None:
        """It is about to be handled; or what is told instead, for it ended processes before."""
        if self._page is None or (what := described(event)) is None:
            return None
        if self._past.strikes:
            digest = _digest(what)
            died, _ = self._past.strikes.get(digest, (0, 0))
            if died >= STRIKES and not _always(event, bool(self.safe_min)):
                return poisonous(event, f"{died} crashes on it; its bytes: {self._place(digest)}")
        end = _LENGTH.size + len(what)
        self._page[_LENGTH.size : end] = what
        self._page[: _LENGTH.size] = _LENGTH.pack(len(what))
        return None

    def clear(self) -> None:
        """It was handled."""
        if self._page is not None:
            self._page[: _LENGTH.size] = _LENGTH.pack(0)

    def died(self, error: BaseException) -> None:
        """This process ends by a bug: what it says of it."""
        self._past.last = f"{type(error).__name__}: {error}"[:WHY_LIMIT]
        self._rewrite()

    def ended(self) -> None:
        """This process ends in order."""
        self._past.running = False
        self._rewrite()

    def forgive(self) -> None:
        """SAFE-MIN is over: what led to it does not count any more."""
        self._past.safe_min, self._past.ends_us, self._past.strikes = "", [], {}
        self._rewrite()

    # The files.

    def _read(self, version: str, now_us: int) -> Past:
        """What an earlier process of this boot and version left; anything else begins anew."""
        try:
            with self._file.open(encoding="utf-8") as file:
                raw: dict[str, Any] = json.loads(file.read(FILE_LIMIT))
            past = Past(**raw)
            past.strikes = {k: (int(n), int(at)) for k, (n, at) in past.strikes.items()}
            latest = max([0, *past.ends_us, *(at for _, at in past.strikes.values())])
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return Past(version)
        if past.version != version or latest > now_us:
            return Past(version)
        past.strikes = {k: (n, at) for k, (n, at) in past.strikes.items() if now_us - at < FORGET_US}
        return past

    def _count(self, now_us: int, in_hand: bytes) -> None:
        past = self._past
        past.ends_us = [at for at in past.ends_us if now_us - at < WINDOW_US] + [now_us]
        if in_hand:
            digest = _digest(in_hand)
            died, _ = past.strikes.get(digest, (0, 0))
            if died or len(past.strikes) < STRIKES_KEPT:
                past.strikes[digest] = died + 1, now_us
                self._place(digest).write_bytes(in_hand)
                kept = sorted(self._kept.parent.glob(f"{self._kept.name}-*"), key=lambda file: file.stat().st_mtime_ns)
                for old in kept[:-STRIKES_KEPT]:
                    old.unlink(missing_ok=True)
        if not past.safe_min and len(past.ends_us) >= CRASHES:
            why = f"{len(past.ends_us)} crashes in {WINDOW_US // S} s"
            past.safe_min = f"{why}; {past.last}" if past.last else why

    def _place(self, digest: str) -> Path:
        return self._kept.with_name(f"{self._kept.name}-{digest[:12]}")

    @staticmethod
    def _open(place: Path) -> mmap.mmap:
        size = _LENGTH.size + IN_HAND_LIMIT
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
            # All of it now, and what is there stays: a page that a full folder has no room for is SIGBUS amid an order.
            # Where a file system knows no such call, glibc writes to each block.
            os.posix_fallocate(fd, 0, size)
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)

    def _in_hand(self) -> bytes:
        assert self._page is not None
        (length,) = _LENGTH.unpack(self._page[: _LENGTH.size])
        return bytes(self._page[_LENGTH.size : _LENGTH.size + min(length, IN_HAND_LIMIT)])

    def _write(self) -> None:
        new = self._file.with_name(self._file.name + ".new")
        new.write_text(json.dumps(asdict(self._past)), encoding="utf-8")
        new.replace(self._file)

    def _rewrite(self) -> None:
        if self._page is not None:
            with suppress(OSError):
                self._write()


def described(event: object) -> bytes | None:
    """What an event from outside is, the same at each coming; None: it is none of those."""
    match event:
        case Arrived(topic, payload):
            what = b"order\0" + topic.encode() + b"\0" + payload
        case Ask(_, _, user, verb, args):
            try:
                said = json.dumps(args, sort_keys=True)
            except (ValueError, RecursionError):
                said = ""
            what = f"ask\0{user}\0{verb}\0{said}".encode(errors="replace")
        case Received(bus, data):
            what = b"frame\0" + bus.encode() + b"\0" + data
        case _:
            return None
    return what[:IN_HAND_LIMIT]


def poisonous(event: object, why: str) -> Poisonous:
    """What is told of an event that is not handled."""
    match event:
        case Arrived(topic, payload):
            return Poisonous(topic, why, order=_order(payload))
        case Ask(client, _, user, verb):
            return Poisonous(f"{user} {verb}", why, client=client)
        case Received(bus):
            return Poisonous(bus, why)
    raise AssertionError(event)


def _always(event: object, silent: bool) -> bool:
    """Whether it is handled however often it crashed us."""
    if isinstance(event, Ask):
        return event.verb == "stop"
    return isinstance(event, Arrived) and event.topic.endswith("/stop") and not silent


def _order(payload: bytes) -> str | None:
    """The id in what may be an order, read with as little as possible of what may have crashed us."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(payload)["payload"])
        body = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found = re.search(rb'"id" ?: ?"([0-9a-f]{32})"', body)
        return found[1].decode() if found else None
    return None


def _digest(what: bytes) -> str:
    return hashlib.sha256(what).hexdigest()
