"""The black box: everything that came to the gateway, on the disk, bounded, so that it can be lived again (shell).

Files of lines, packed by gzip, in a folder beside the journal; the oldest go. Each can be lived again by itself: it
begins with what the gateway was made from, or, where one followed another, with a snapshot of it; then come moments
(`moment.py`). The loop hands over what it handled and goes on; a thread makes lines of it and writes once a second,
without fsync. So a kill costs at most the last second and a power cut what the kernel held; a torn tail is expected.

A disk that refuses, or has little room left, gets no black box and is asked again later: the journal comes first, and
nothing here keeps the gateway from its work. It refuses to know what an event means.
"""

import json
import os
import queue
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import moment, relive, segment
from controller.event import Arrived, Record
from controller.moment import Moment
from controller.snapshot import Taken

FLUSH_S = 1.0
"""How often lines are written: what a kill may cost. Oftener packs worse."""
FILES = 8
"""One file is this part of the whole: so much goes when the oldest goes."""
FILES_LIMIT = 200
"""... and at most so many, if starts follow starts."""
LEAST_BYTES = 256 * 1024
"""One file, however small the whole: a snapshot of a large gateway has to fit."""
RESERVE_BYTES = 64 * 1024 * 1024
"""What is left free of the disk: the journal needs it."""
RETRY_S = 60.0
"""How long after a refusal the disk is asked again."""
WAITING_BYTES = 8 * 1024 * 1024
"""Of moments that wait for the thread; beyond it they are lost, and a new file begins with a snapshot."""
MOMENT_BYTES = 256
"""What a moment weighs in memory, its payload apart."""
SLICE = 32
"""Moments made into lines before the loop and the timer thread are let on."""

Outcome = Sequence[object] | Exception
"""The effects of an event, or what it made us die of."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """From here on in a new file."""

    at_us: int
    state: Taken


class Blackbox:
    """`note` each event after it was handled; `close` at the end.

    `origin` is what the gateway was made from, with `records`; `snapshot` takes it as it stands, and is called from
    within `note`; what that only names is made octets of in the thread. `said` is told, from any thread, why nothing
    is recorded.
    """

    def __init__(self, folder: Path, size_bytes: int, now_us: int, origin: Mapping[str, Any],
                 records: Sequence[Record], snapshot: Callable[[], Taken], said: Callable[[str], None]) -> None:
        self._folder = folder
        self._size = size_bytes
        self._file_size = max(LEAST_BYTES, size_bytes // FILES)
        self._origin = origin
        self._records = records
        self._snapshot = snapshot
        self._said = said
        self._queue: queue.SimpleQueue[tuple[int, object, Outcome] | _Turn] = queue.SimpleQueue()
        self._put = self._got = 0
        """Bytes handed over so far, by the loop; and taken, by the thread."""
        self._deaf = False
        """Something was lost, or nothing can be written: what comes now could not be lived again."""
        self._full = False
        """The thread wants a new file."""
        self._end = threading.Event()
        self._file: int | None = None
        self._pack = zlib.compressobj(wbits=segment.GZIP)
        self._written = 0
        self._before_us = now_us
        self._retry_s = 0.0
        self._why = ""
        self._thread = threading.Thread(target=self._run, name="blackbox", daemon=True)
        self._thread.start()

    def note(self, now_us: int, event: object, outcome: Outcome) -> None:
        """On the loop: a microsecond, but for a snapshot when a file is full, of what is not settled."""
        if not self._deaf:
            self._put += _weight(event)
            self._queue.put((now_us, event, outcome))
            if self._put - self._got > WAITING_BYTES:
                self._deaf = True
        if self._full and not isinstance(outcome, Exception):
            self._full = self._deaf = False
            self._queue.put(_Turn(now_us, self._snapshot()))
        elif self._deaf and self._file is not None and self._put == self._got:
            self._full = True

    def close(self) -> None:
        """Write what waits."""
        self._end.set()
        self._thread.join()

    # The thread.

    def _run(self) -> None:
        self._guarded(self._begin, self._before_us, None)
        ended = False
        while not ended:
            ended = self._end.wait(FLUSH_S)
            self._guarded(self._drain)
            if self._file is None and not self._full and time.monotonic() >= self._retry_s:
                self._full = True
        self._guarded(self._finish)

    def _guarded(self, work: Callable[..., None], *args: object) -> None:
        """Whatever is wrong with the disk, or with a line: it is told once, and the gateway goes on."""
        try:
            work(*args)
        except (OSError, ValueError) as error:
            why = str(error)
            self._deaf = True
            self._drop()
            self._retry_s = time.monotonic() + RETRY_S
            if why != self._why:
                self._why = why
                self._said(why)

    def _drain(self) -> None:
        lines: list[str] = []
        for n in range(self._queue.qsize()):
            item = self._queue.get()
            if isinstance(item, _Turn):
                self._write(lines)
                lines = []
                self._finish()
                self._begin(item.at_us, item.state)
                continue
            at_us, event, outcome = item
            self._got += _weight(event)
            if self._file is None:
                continue
            check = relive.death(outcome) if isinstance(outcome, Exception) else moment.check(outcome)
            lines.append(moment.line(self._before_us, Moment(at_us, event, check)))
            self._before_us = at_us
            if n % SLICE == SLICE - 1:
                time.sleep(0)
        self._write(lines)
        if self._file is not None and self._written > self._file_size:
            self._full = True

    def _begin(self, at_us: int, state: Taken | None) -> None:
        """A new file. Its first lines are all that its moments need."""
        self._folder.mkdir(parents=True, exist_ok=True)
        numbers = self._make_room()
        path = self._folder / f"{(numbers[-1] if numbers else 0) + 1:06}.jsonl.gz"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._pack, self._written, self._before_us = zlib.compressobj(wbits=segment.GZIP), 0, at_us
        records = self._records if state is None else ()
        # Only the first file needs them.
        self._records = ()
        parts = iter(state or ())
        frame = next(parts, None)
        header = {"blackbox": segment.FORMAT, "at_us": at_us, "wall_us": time.time_ns() // 1000, "code": segment.code(),
                  "records": len(records), "snapshot": None if frame is None else _text(frame),
                  "settled": len(state) - 1 if state is not None else 0, "origin": self._origin}
        self._write([json.dumps(header, separators=(",", ":"))])
        for n in range(0, len(records), SLICE):
            self._write([json.dumps([r.kind, r.body], separators=(",", ":")) for r in records[n : n + SLICE]])
            time.sleep(0)
        for part in parts:
            self._write([_text(part)])
            time.sleep(0)
        self._why = ""

    def _make_room(self) -> list[int]:
        """Remove the oldest files until another one may begin; the numbers of those that stay."""
        files = segment.files(self._folder)
        sizes = [path.stat().st_size for path in files]
        while files and (len(files) >= FILES_LIMIT or sum(sizes) + self._file_size > self._size
                         or _free(self._folder) < RESERVE_BYTES):
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)
        if _free(self._folder) < RESERVE_BYTES:
            raise OSError(f"{self._folder}: less than {RESERVE_BYTES // 2**20} MiB are free; nothing is recorded")
        return [_number(path) for path in files]

    def _write(self, lines: Sequence[str]) -> None:
        if self._file is None or not lines:
            return
        packed = self._pack.compress(("\n".join(lines) + "\n").encode())
        self._out(packed + self._pack.flush(zlib.Z_SYNC_FLUSH))
        if _free(self._folder) < RESERVE_BYTES:
            self._make_room()

    def _out(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            taken = os.write(self._file, data)
            self._written += taken
            data = data[taken:]

    def _finish(self) -> None:
        if self._file is not None:
            self._out(self._pack.flush())
            self._drop()

    def _drop(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _weight(event: object) -> int:
    return MOMENT_BYTES + (len(event.payload) if isinstance(event, Arrived) else 0)
