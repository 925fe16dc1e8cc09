"""The disk of a simulated gateway: what its journal holds, what a power cut takes of it, and what it answers.

One writer with group commit, as `journal.py` has it: a record is on the disk a while after it was handed over, and
every one handed over before it is there too. A disk that is full or broken answers that it failed; one that hangs
answers nothing, and may take everything later. It refuses to know what a record means, but for those of which the
journal keeps a copy beside itself.
"""

from dataclasses import dataclass, field
from enum import Enum

from controller.event import Record
from firmware_bridge.machine import MS

DISK_US = 3 * MS
"""What an fsync takes on a good card."""
BESIDE = {"lock": "lock-beside", "trust": "trust-beside", "flood": "flood-beside"}
"""Kinds of which the newest has a file of its own, and the name under which that is given back."""


class Health(Enum):
    """What the disk does with a record from now on."""

    WELL = "well"
    FAILING = "failing"
    """Every append is answered by an error: full, or broken."""
    HANGING = "hanging"
    """No append is answered; what was handed over is on the disk when the hanging ends."""
    DEAF = "deaf"
    """No append is answered, and nothing is kept."""


@dataclass
class Disk:
    """`records` is (when it was or will be on the disk, record), in order. `answer_us`: how long an append takes."""

    records: list[tuple[int, Record]] = field(default_factory=list)
    answer_us: int = DISK_US
    health: Health = Health.WELL
    fail_at: int | None = None
    """The append that fails: so many more are taken before it."""
    failed: int = 0
    unanswered: int = 0
    """Appends whose answer will never come."""
    lost: list[tuple[int, Record]] = field(default_factory=list)
    """What a journal held that is gone."""
    _hanging: list[tuple[int, Record]] = field(default_factory=list)
    _last_us: int = 0

    def append(self, now_us: int, token: int, record: Record) -> tuple[int, str] | None:
        """When it is answered, and why it failed (empty: it did not); None: nobody answers."""
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                self.failed += 1
                return now_us + self.answer_us, "disk I/O error"
        match self.health:
            case Health.DEAF:
                self.unanswered += 1
                return None
            case Health.HANGING:
                self._hanging.append((token, record))
                return None
            case Health.FAILING:
                self.failed += 1
                return now_us + self.answer_us, "database or disk is full"
            case Health.WELL:
                return self._take(now_us, record), ""

    def _take(self, now_us: int, record: Record) -> int:
        # One writer: nothing overtakes.
        self._last_us = max(self._last_us, now_us + self.answer_us)
        self.records.append((self._last_us, record))
        return self._last_us

    def mend(self, now_us: int) -> list[tuple[int, int]]:
        """It works again; what had hung is taken: (token, when it is answered)."""
        self.health, self.fail_at = Health.WELL, None
        hanging, self._hanging = self._hanging, []
        return [(token, self._take(now_us, record)) for token, record in hanging]

    def cut(self, now_us: int, kept: int | None) -> None:
        """The process is gone, and with it what was not on the disk; but for the first `kept` of that (None: all)."""
        synced = [one for one in self.records if one[0] <= now_us]
        tail = [(now_us, record) for at_us, record in self.records if at_us > now_us]
        self.records[:] = synced + (tail if kept is None else tail[:kept])
        self._hanging.clear()
        self._last_us = min(self._last_us, now_us)

    def lose(self) -> None:
        """The journal is gone; what is kept beside it is there."""
        self.lost += self.records
        self.records.clear()

    def read(self) -> list[Record]:
        """What a process finds that starts now."""
        records = [record for _, record in self.records]
        newest = {record.kind: record for _, record in (*self.lost, *self.records) if record.kind in BESIDE}
        return records + [Record(BESIDE[kind], record.body) for kind, record in newest.items()]
