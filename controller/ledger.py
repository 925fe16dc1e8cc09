"""What orders remember: every order this gateway has believed, how each of its sirens stands, and every stop.

The journal holds the same, as records of kind `accept` and `refuse` (an `Accept` each) and the session's receipts;
`restore` reads them back after a restart. An order has one *part* for each siren it was accepted for:

    CUT       accepted before a restart; waits for a clock that may be believed
    WAITING   accepted; its record is on the way to the disk
    GIVEN     the siren has it: it is armed, or about to start (a stop: the siren is told, and not yet off)
    SOUNDING  the siren has started
    DONE      the last word is said, and nothing leaves this state: one terminal receipt an order and siren

It refuses to know what time it is and who may order; it only says what is known.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from controller import wire
from controller.event import Rank, Record
from controller.trust import Reason
from controller.wire import Action, Instant, Message, Mode, Receipt, Stage
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S

KNOWN_LIMIT = 4096
"""Orders remembered: at ten drills a day more than a year, and 16 MB where each is for two sirens."""
LIVE_RESERVE = 256
"""Beyond that, room for live orders and stops only: drills cannot fill a warning's place."""
FORGET_AT_ONCE = 256
"""So many of the oldest go together, so that looking for them costs little an order."""
OVER_US = 24 * 3600 * S
"""What could have ended so long ago has ended, where its last receipt may be no more in what the journal gives back."""
STOP_KEEP_US = 24 * 3600 * S
"""A stop is remembered this long after it was issued."""
STOPS_LIMIT = 64
"""Stops remembered; equal ones are one."""
ORDERS = ("accept", "refuse")
"""Kinds of the journal's records of orders."""
DATED = "dated"
"""The kind of its record that the clock has borne out the date of a stop, which forbids since then."""
MANY = frozenset({"receipt", "event", "delivered", "omitted"})
"""Kinds of which the journal gives back the newest only."""
GIVEN_BACK = 30_000
"""... so many: of fewer none is missing, and where one lies before an order, all that follow it are there."""


class State(Enum):
    CUT = auto()
    WAITING = auto()
    GIVEN = auto()
    SOUNDING = auto()
    DONE = auto()


class Kind(Enum):
    """What can happen to a part."""

    GO = "given to the siren"
    STARTED = "it started"
    ENDED = "the last word on it is said"


TABLE = {
    (State.CUT, Kind.GO): State.GIVEN,
    (State.CUT, Kind.ENDED): State.DONE,
    (State.WAITING, Kind.GO): State.GIVEN,
    (State.WAITING, Kind.ENDED): State.DONE,
    (State.GIVEN, Kind.STARTED): State.SOUNDING,
    (State.GIVEN, Kind.ENDED): State.DONE,
    (State.SOUNDING, Kind.STARTED): State.SOUNDING,
    (State.SOUNDING, Kind.ENDED): State.DONE,
}


class Accept(Message):
    """An order as this gateway understood it; the body of its journal record."""

    v: Literal[1] = 1
    order: str
    digest: str
    action: Action
    mode: Mode
    rank: Rank
    by: str
    persons: tuple[str, ...]
    keys: tuple[str, ...] = ()
    """Those that signed it; none for what was asked for at the cabinet."""
    area: str = ""
    """What it was ordered for, where it was signed."""
    door: Literal["mqtt", "local", "rule"]
    """Whence it came; `rule`: a signed rule asked for it, at a flood."""
    at: Instant
    issued_wall_us: int
    expires_wall_us: int
    start_wall_us: int
    """The ordered start, or, for an order that is to begin at once, the moment it was accepted."""
    scheduled: bool
    limit_us: int = 0
    sirens: tuple[str, ...]
    sound: str | None = None
    sound_digest: str | None = None
    seconds: float | None = None
    """A technician's sounding: one steady tone of this length."""
    growl: bool = False
    """The same, too short to be a signal."""
    undated: bool = False
    """What a person or a rule asked for here while the time was not known: `issued_wall_us` says nothing."""
    fresh: bool = False
    """Who signed it may order a warning, and did so just now: it begins the siren's day anew (`allowance.py`)."""
    stops: str | None = None
    stops_live: bool = False
    """For a stop: whether its signers may stop what is live."""
    everything: bool = False
    """For a stop at the cabinet: it speaks of all that sounds, whenever that was issued."""
    forbids: bool = False
    """For a stop: it also forbids what comes later and was issued before it; since it came, or was dated."""
    reason: str = ""
    """Why it was refused as a whole, in a record of kind `refuse`."""
    refused: dict[str, str] | None = None
    """The sirens for which it was refused, and why; `sirens` are the others."""
    raw: str | None = None
    """The signed order as it came."""
    late: dict[str, Stage] | None = None
    """Where the disk took it only afterwards: how each siren stood by then."""

    @property
    def refusals(self) -> dict[str, str]:
        """Every refusal in it; of the whole order under no siren's name."""
        return (self.refused or {}) | ({"": self.reason} if self.reason else {})

    @property
    def due_us(self) -> int:
        """The ordered start; of what is to begin at once, when it was issued."""
        return self.start_wall_us if self.scheduled else self.issued_wall_us

    def armed(self, wall_us: int) -> bool:
        """Whether it is to begin later than now."""
        return self.scheduled and self.start_wall_us > wall_us

    def stops_what(self, other: "Accept", anew: bool = False) -> bool:
        """For a stop: whether it speaks of `other`, which it may only if that was issued before it. What has no date
        was there before it; not before one that came long ago and is carried out `anew`."""
        if self.everything:
            return True
        before = not anew if other.undated else other.issued_wall_us <= self.issued_wall_us
        return before and self.stops in (None, other.order)


@dataclass(slots=True)
class Part:
    """One siren's share of an order."""

    siren: str
    state: State
    stage: Stage | None = None
    reason: str = ""
    started: bool = False
    awaits: set[str] = field(default_factory=set)
    """A stop's part: the activations whose end it waits for."""
    trouble: str = ""
    """A stop's part: why one of them did not end well."""

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return not self.started and self.state in (State.CUT, State.WAITING, State.GIVEN)

    @property
    def stands(self) -> Stage:
        """How far it came: its last word, or whether it began."""
        begun = self.started and self.state is not State.DONE
        return Stage.STARTED if begun else self.stage or Stage.RECEIVED

    def step(self, kind: Kind) -> None:
        self.state = TABLE[self.state, kind]
        self.started |= kind is Kind.STARTED


@dataclass(slots=True)
class Entry:
    """A known order and its parts."""

    accept: Accept
    parts: dict[str, Part]
    token: int = 0
    """Of its record's Append."""
    until_us: int | None = None
    """When the wait for the disk (a stop: for the sirens) is over."""
    clients: set[int] = field(default_factory=set)

    @classmethod
    def new(cls, accept: Accept, sirens: Iterable[str], state: State, client: int | None = None) -> "Entry":
        return cls(accept, {s: Part(s, state) for s in sirens}, clients=set() if client is None else {client})

    @property
    def id(self) -> str:
        return self.accept.order

    @property
    def open(self) -> bool:
        return any(p.state is not State.DONE for p in self.parts.values())

    @property
    def awaits_disk(self) -> bool:
        return any(p.state is State.WAITING for p in self.parts.values())

    def activation(self, siren: str) -> str:
        return f"{self.id}/{siren}"


@dataclass(frozen=True, slots=True)
class _Stop:
    """What a stop speaks of. Of equal ones the last issued counts."""

    sirens: frozenset[str]
    stops: str | None
    live: bool


class Ledger:
    """Known orders by id, bounded, and the stops of the last day."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._open: dict[str, Entry] = {}
        self._stops: dict[_Stop, int] = {}
        self.alive_wall_us: int | None = None
        """The last instant of which the journal tells: how long a restart took is counted from it."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, order: str) -> Entry | None:
        return self._entries.get(order)

    def open(self) -> list[Entry]:
        """Orders with a siren whose last word is not said, oldest first."""
        return list(self._open.values())

    def gone(self, client: int) -> None:
        """He waits for no answer any more."""
        for entry in self._open.values():
            entry.clients.discard(client)

    def unsaid(self, sirens: Collection[str]) -> list[tuple[Entry, str, Stage, str]]:
        """After a restart, what is over: what was refused on the disk and not said, and what is for a siren that this
        gateway has no more."""
        cut = [(e, p.siren, e.accept.refusals.get(p.siren)) for e in self.open() for p in e.parts.values()
               if p.state is State.CUT]
        refused = [(e, s, Stage.REJECTED, why) for e, s, why in cut if why is not None]
        gone = [(e, s) for e, s, why in cut if why is None and s and s not in sirens]
        return refused + [(e, s, Stage.FAILED, Reason.NO_TARGET) for e, s in gone]

    def warns(self, wall_us: int) -> bool:
        """Whether something live sounds or is about to."""
        return any(e.accept.mode is Mode.LIVE and e.accept.action is Action.SOUND and e.accept.start_wall_us <= wall_us
                   for e in self._open.values())

    def parts_on(self, siren: str) -> Iterator[tuple[Entry, Part]]:
        """What sounds, is armed or waits on a siren. Stops are not counted."""
        for entry in self._open.values():
            part = entry.parts.get(siren)
            if part is not None and part.state is not State.DONE and entry.accept.action is not Action.STOP:
                yield entry, part

    def outranked(self, accept: Accept, siren: str, wall_us: int) -> bool:
        """Whether what sounds on a siren is at least as important. What is armed for later the siren compares."""
        if accept.armed(wall_us):
            return False
        for other, part in self.parts_on(siren):
            theirs = other.accept
            sounds = part.state is State.SOUNDING or (part.state is not State.CUT and not theirs.armed(wall_us))
            if not sounds or theirs.rank < accept.rank:
                continue
            # Of two drills the first goes on, of two warnings the one that was issued last.
            if theirs.rank > accept.rank or accept.rank <= Rank.DRILL or theirs.issued_wall_us > accept.issued_wall_us:
                return True
        return False

    def make_room(self, reserve: bool, wall_us: int) -> bool:
        """When full, forget what expired first. False: full of what may still come again."""
        limit = KNOWN_LIMIT + (LIVE_RESERVE if reserve else 0)
        if len(self._entries) < limit:
            return True
        expired = [e for i, e in self._entries.items() if i not in self._open and e.accept.expires_wall_us < wall_us]
        for entry in sorted(expired, key=lambda e: e.accept.expires_wall_us)[:FORGET_AT_ONCE]:
            del self._entries[entry.id]
        return bool(expired)

    def add(self, entry: Entry) -> None:
        assert entry.id not in self._entries, entry.id
        self._entries[entry.id] = entry
        if entry.open:
            self._open[entry.id] = entry

    def end(self, entry: Entry, part: Part, stage: Stage, reason: str) -> None:
        """The last word on one siren."""
        assert stage.terminal, stage
        part.step(Kind.ENDED)
        part.stage, part.reason = stage, reason
        if not entry.open:
            self._open.pop(entry.id, None)

    def remember_stop(self, stop: Accept) -> None:
        """From now on what was issued before this stop does not start. Not-live ones give way first."""
        key = _Stop(frozenset(stop.sirens), stop.stops, stop.stops_live)
        self._stops[key] = max(stop.issued_wall_us, self._stops.get(key, stop.issued_wall_us))
        for old in [k for k, issued_us in self._stops.items() if issued_us < stop.issued_wall_us - STOP_KEEP_US]:
            del self._stops[old]
        if len(self._stops) > STOPS_LIMIT:
            del self._stops[min(self._stops, key=lambda k: (k.live, self._stops[k]))]

    def stops(self) -> list[Accept]:
        """The stops that were believed."""
        return [e.accept for e in self._entries.values() if e.accept.action is Action.STOP and not e.accept.reason]

    def date(self, stop: Accept) -> None:
        """The clock has borne out when it was issued."""
        self.remember_stop(stop)
        if (entry := self._entries.get(stop.order)) is not None:
            entry.accept = entry.accept.model_copy(update={"forbids": True})

    def stopped(self, accept: Accept, siren: str) -> bool:
        """Whether a stop that came first forbids this order on this siren. What a person or a rule asks for here and
        now came after every stop that came."""
        return any(
            accept.keys
            and siren in stop.sirens
            and stop.stops in (None, accept.order)
            and (stop.live or accept.mode is not Mode.LIVE)
            and accept.issued_wall_us <= issued_us
            for stop, issued_us in self._stops.items()
        )

    def restore(self, records: Iterable[Record]) -> None:
        """Read back what the journal holds, oldest record first. What another version wrote is passed over.

        Receipts may lie before the order that they answer: it was refused before it was believed, or written late.
        """
        records = list(records)
        known = {str(record.body.get("order")) for record in records if record.kind in ORDERS}
        early: dict[str, list[Receipt]] = {}
        curtailed: list[str] = []
        whole = sum(record.kind in MANY for record in records) < GIVEN_BACK
        for record in records:
            whole |= record.kind in MANY
            try:
                match record.kind:
                    case "accept" | "refuse":
                        accept = wire.validate(Accept, dict(record.body))
                        self._restore_accept(accept, early.pop(accept.order, []))
                        if not whole:
                            curtailed.append(accept.order)
                    case "receipt":
                        receipt = wire.validate(Receipt, dict(record.body))
                        self._alive(receipt.at)
                        if receipt.order in self._entries:
                            self._restore_receipt(receipt)
                        elif receipt.order in known:
                            early.setdefault(receipt.order, []).append(receipt)
                    case "alive":
                        self._alive(str(record.body.get("at")))
            except Malformed:
                continue
        for order in [str(record.body.get("order")) for record in records if record.kind == DATED]:
            # It may lie before its stop, where that was written late.
            if order in self._entries:
                self.date(self._entries[order].accept)
        for entry in [self._open[order] for order in curtailed if order in self._open]:
            if entry.accept.expires_wall_us + entry.accept.limit_us + OVER_US < (self.alive_wall_us or 0):
                for part in entry.parts.values():
                    part.state = State.DONE
                del self._open[entry.id]

    def _restore_accept(self, accept: Accept, early: list[Receipt]) -> None:
        """What it refused stands open too until the receipt of that is found, or was: `early`."""
        self._alive(accept.at)
        if accept.order in self._entries:
            return
        self.make_room(True, wire.to_wall_us(accept.at))
        entry = Entry.new(accept.model_copy(update={"raw": None}), [*accept.sirens, *accept.refusals], State.CUT)
        self.add(entry)
        if accept.forbids:
            self.remember_stop(accept)
        for receipt in early:
            self._restore_receipt(receipt)
        for siren, stage in (accept.late or {}).items():
            self._stood(entry, siren, stage, "")

    def _restore_receipt(self, receipt: Receipt) -> None:
        self._stood(self._entries[receipt.order], receipt.siren, receipt.stage, receipt.reason)

    def _stood(self, entry: Entry, siren: str, stage: Stage, reason: str) -> None:
        part = entry.parts.get(siren)
        if part is None or part.state is State.DONE:
            return
        if stage.terminal:
            self.end(entry, part, stage, reason)
        else:
            part.stage = stage
            part.started |= stage in (Stage.STARTED, Stage.SENSED, Stage.HEARD)

    def _alive(self, at: str) -> None:
        """The latest counts. But where a later record is of an earlier day, the clock of the others was wrong."""
        wall_us, known_us = wire.to_wall_us(at), self.alive_wall_us
        if known_us is None or wall_us > known_us or wire.UNDATED_US < wall_us < known_us - OVER_US:
            self.alive_wall_us = wall_us
