"""The strain of a motor: how often it was started in the last hour, through restarts.

Every acknowledged on-edge is a start. The journal carries the count over a restart: a `sounded` record says how many a
sounding made, all counted at its end; of one that a crash cut its receipts tell since when it ran, and its pattern how
often it was started by then. What nobody can date counts as just now. It refuses to know what becomes of too many.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller import wire
from controller.allowance import BEGUN, Sounded, Undated
from controller.event import Clock, Record
from controller.signal import Signals
from controller.wire import Stage
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S

HOUR_US = 3600 * S
STARTS_LIMIT = 600
"""Contactor starts remembered; a config cannot allow more in an hour."""
ENDS = frozenset(stage for stage in Stage if stage.terminal)


@dataclass(frozen=True, slots=True)
class Began:
    """A start of before the restart; None: nobody knows when. `planned` by a pattern: ahead of now it was not made."""

    at_wall_us: int | None
    planned: bool = False


class Strain:
    """Of one motor. Instants are this run's; `limit` None: it is no motor, or as patient as one likes."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._edges: deque[int] = deque(maxlen=STARTS_LIMIT)
        self.before: Undated[Began] = Undated()
        """Counts as well."""

    def place(self, now_us: int, clock: Clock) -> None:
        for one in self.before.placed(clock):
            ago_us = 0 if one.at_wall_us is None else clock.wall_us - one.at_wall_us
            if ago_us >= 0 or not one.planned:
                # What is dated in the future was dated by a clock that was wrong: then nothing is known of its age.
                self._edges.append(now_us - max(0, ago_us))

    def edge(self, at_us: int) -> None:
        self._edges.append(at_us)

    def too_much(self, now_us: int, starts: int, now: bool) -> str:
        """What so many more would come to, where that is too many; `now`: with those of the last hour."""
        if now:
            starts += sum(at_us > now_us - HOUR_US for at_us in self._edges) + len(self.before.waiting)
        return f"{starts} starts per hour, {self._limit} allowed" if self._limit and starts > self._limit else ""


def restored(records: Iterable[Record], signals: Signals) -> Mapping[str, Sequence[Began]]:
    """What the journal tells of each siren's starts. Some may count twice where it was written late."""
    records = list(records)
    known = _patterns(signals)
    patterns = {str(r.body.get("order")): known.get((str(r.body.get("sound")), str(r.body.get("sound_digest"))), (0,))
                for r in records if r.kind == "accept"}
    book: dict[str, list[Began]] = {}
    running: dict[tuple[str, str], list[Began]] = {}
    for record in records:
        try:
            match record.kind:
                case "sounded":
                    over = wire.validate(Sounded, dict(record.body))
                    running.pop((over.order, over.siren), None)
                    at_us = None if over.at is None else wire.to_wall_us(over.at)
                    book.setdefault(over.siren, []).extend([Began(at_us)] * over.starts)
                case "receipt":
                    # There are tens of thousands: looked at, and not read as a whole.
                    order, siren, stage = (str(record.body.get(name)) for name in ("order", "siren", "stage"))
                    if (order, siren) in running and (stage == Stage.STARTED or stage in ENDS):
                        # A restart cut it, and it goes on or is over: what lies behind was made.
                        at_us, planned = _date(record.body), running.pop((order, siren))
                        behind = [one for one in planned if at_us is None or (one.at_wall_us or 0) < at_us]
                        book.setdefault(siren, []).extend(behind)
                        if stage == Stage.STARTED:
                            running[order, siren] = [one for one in planned if one not in behind]
                    elif stage in BEGUN and (order, siren) not in running:
                        at_us = _date(record.body)
                        running[order, siren] = [Began(None if at_us is None else at_us + one, planned=True)
                                                 for one in patterns.get(order, (0,))]
        except Malformed:
            # Written by another version: the ledger passes over it too.
            continue
    for (_, siren), planned in running.items():
        book.setdefault(siren, []).extend(planned)
    return book


def _date(body: Mapping[str, object]) -> int | None:
    at_us = wire.to_wall_us(str(body.get("at")))
    return at_us if at_us > wire.UNDATED_US else None


def _patterns(signals: Signals) -> Mapping[tuple[str, str], tuple[int, ...]]:
    """When the on-edges of each signal are, from the first on, by its name and digest."""
    found = {}
    for name in (*signals.signals, *signals.programmes):
        phases = signals.timeline(name).phases
        found[name, signals.digest(name)] = tuple(phase.on_us - phases[0].on_us for phase in phases)
    return found
