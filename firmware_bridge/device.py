"""One unit at one address: polls its points, says how far they may be believed, and runs its actions.

A point is BAD until it was read, and BAD again once its unit is silent, its link down or its value refused:
there is no default. An acknowledged write is no reading. It refuses to know sirens, the queue of the bus and
the bytes on it; how one action goes through its steps is in `action.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from firmware_bridge.action import Requests, Run, said
from firmware_bridge.action import State as RunState
from firmware_bridge.belief import Belief
from firmware_bridge.event import (
    Abort,
    Begin,
    Edged,
    Ended,
    Finished,
    LinkDown,
    LinkLost,
    LinkUp,
    Outcome,
    Presence,
    Priority,
    ReadNow,
    Refused,
    Reply,
    Silent,
    Submit,
    Withdraw,
)
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.modbus import EXCEPTIONS, ON_BEHALF
from firmware_bridge.move import Expect, resolve, same
from firmware_bridge.plan import Block, Cut, Exchange, fetches
from firmware_bridge.point import Point
from firmware_bridge.profile import Profile
from firmware_bridge.reading import NoValue, Reading, Took, Value

SILENCES = 3
"""Silent transactions in a row that make a unit absent: one is noise, two a collision."""
STATIC_US = 60 * S
"""How often points are read that others depend on and that have no poll of their own: a gauge may be swapped."""
STATIC_RETRY_US = 1 * S
"""After a failed read of those: without them the readings that matter are BAD."""
SPREAD_US = 30 * MS
"""First polls of neighbouring units lie this far apart: about one transaction at 9600 baud."""
POLL_MARGIN_US = 1 * MS
"""A poll expires this long before the next is due, so that it is back by then."""
READS_LIMIT = 8
"""ReadNows under way at once: they are typed by technicians."""
READ_NOW_US = 5 * S
"""A ReadNow that did not reach the wire in this time is of no use to who typed it."""

PLANS_LIMIT = 16
"""Plans remembered. A unit has a handful of poll periods; what else is asked together is asked by hand."""

SETUP_US = 24 * 3600 * S
"""How often the profile's `setup` is run again: a watchdog that somebody switched off must not stay off."""
SETUP_RETRY_US = 60 * S
"""After a set-up that failed: the unit works, but not as it should."""
SETUP = -1
"""The place of the set-up among the actions under way: beside every channel, superseded by none of them."""

ILLEGAL = {2, 3}
"""Exceptions that may mean 'not as one block': illegal address, illegal value (count)."""


class State(StrEnum):
    """Whether the unit is there.

    UNKNOWN: nothing was heard of it since start, or since its link came up. Polls go out.

    ONLINE: its last answer is fewer than three silent transactions ago. An exception is an answer.

    SILENT: three transactions in a row were not answered. All its readings are BAD. Polls go on; the bus lets
    through a probe now and then.

    UNLINKED: the link of its bus is down. All its readings are BAD; nothing is polled until the link is up.
    """

    UNKNOWN = "unknown"
    ONLINE = "online"
    SILENT = "silent"
    UNLINKED = "unlinked"


UNKNOWN, ONLINE, SILENT, UNLINKED = State
"""By their bare names: to look a member up in its Enum takes as long as a line of this file."""

TRANSITIONS: dict[tuple[State, str], State] = {
    (UNKNOWN, "answered"): ONLINE,
    (UNKNOWN, "silent thrice"): SILENT,
    (UNKNOWN, "link lost"): UNLINKED,
    (UNKNOWN, "link up"): UNKNOWN,
    (ONLINE, "answered"): ONLINE,
    (ONLINE, "silent thrice"): SILENT,
    (ONLINE, "link lost"): UNLINKED,
    (ONLINE, "link up"): UNKNOWN,
    (SILENT, "answered"): ONLINE,
    (SILENT, "silent thrice"): SILENT,
    (SILENT, "link lost"): UNLINKED,
    (SILENT, "link up"): UNKNOWN,
    (UNLINKED, "answered"): ONLINE,
    (UNLINKED, "silent thrice"): SILENT,
    (UNLINKED, "link lost"): UNLINKED,
    (UNLINKED, "link up"): UNKNOWN,
}

DeviceEvent = Begin | Abort | ReadNow | Finished | Woken | LinkUp | LinkDown
DeviceEffect = Submit | Withdraw | Took | Edged | Ended | Presence


@dataclass(slots=True)
class Round:
    """Points that are polled together. `due_us` is None while the link is down."""

    points: tuple[Point, ...]
    period_us: int
    due_us: int | None = None


@dataclass(slots=True)
class Asked:
    """A ReadNow under way: the transactions still out, and what went wrong."""

    token: int
    waiting: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Device:
    """The machine of one unit. `readings` has every point of the profile, always."""

    def __init__(self, id: str, bus: str, unit: int, profile: Profile) -> None:
        self.id = id
        self.bus = bus
        self.unit = unit
        self.profile = profile
        self.state = UNKNOWN
        self._requests = Requests(id, bus, unit, profile.line)
        self._cuts: frozenset[Cut] = frozenset()
        self._single: set[Point] = set()
        """What was refused although it was asked for alone."""
        self._plans: dict[tuple[Point, ...], list[Block | Exchange]] = {}
        """What was planned under these cuts: the same points are due together again and again."""
        self._silences = 0
        self._polling: set[int] = set()
        """The reads with the bus that are polls."""
        self._asked: list[Asked] = []
        self._runs: dict[int | None, Run] = {}
        """The action under way on each channel."""
        self._belief = Belief(id, profile, STATIC_US)
        needed = (profile.points[name] for name in sorted(self._belief.needed))
        self._statics = Round(tuple(p for p in needed if not p.spec.poll_ms), STATIC_US)
        """The points that others depend on and that have no poll of their own."""
        self._rounds = self._schedule()
        self.polled = tuple(name for name, p in profile.points.items() if p.spec.poll_ms)
        """The points that have a poll of their own."""
        self._setup_us: int | None = None
        """When the profile's `setup` is run next; None: the unit is not there, or has none."""
        self._set_up_us = -SETUP_RETRY_US
        """When it was begun last."""
        output = profile.output
        self._armed: dict[str, Value] = {
            p.name: c.is_ for c in (output.armed if output else ()) for p in profile.points.values()
            if c.point in (p.base, p.name)}
        """What its registers must hold: for the board's watchdog, and for what `setup` makes its readings mean."""
        if "setup" in profile.actions:
            self._armed |= {move.point.name: move.value for move in resolve(profile, Begin(id, "setup", SETUP))
                            if isinstance(move, Expect) and move.point.name in self._belief.needed}

    @property
    def deadline(self) -> int | None:
        deadline_us = self._setup_us
        for one in self._rounds:
            if one.due_us is not None and (deadline_us is None or one.due_us < deadline_us):
                deadline_us = one.due_us
        return deadline_us if not self._runs else earliest(deadline_us, *[r.deadline for r in self._runs.values()])

    @property
    def readings(self) -> dict[str, Reading]:
        """Every point of the profile as it was last told, whatever its age."""
        return self._belief.readings

    def reading(self, name: str, now_us: int) -> Reading:
        """The reading as it may be believed now: one that polls should have renewed long ago is not GOOD."""
        return self._belief.reading(name, now_us)

    def handle(self, now_us: int, event: DeviceEvent) -> list[DeviceEffect]:
        out: list[DeviceEffect] = []
        match event:
            case Begin() if event.device == self.id:
                out += self._begin(now_us, event)
            case Abort() if event.device == self.id:
                for run in [r for r in self._runs.values() if r.begin.token == event.token]:
                    out += run.end("aborted")
            case ReadNow() if event.device == self.id:
                out += self._read_now(now_us, event)
            case Finished(bus, transaction) if bus == self.bus and transaction.owner == self.id:
                out += self._finished(now_us, event)
            case LinkUp() if event.bus == self.bus:
                self._silences = 0
                out += self._go(now_us, "link up", "")
                self._start_polls(now_us)
            case LinkDown() if event.bus == self.bus:
                out += self._go(now_us, "link lost", event.why)
                for one in self._rounds:
                    one.due_us = None
            case _:
                pass
        out += self._set_up(now_us)
        if self._runs:
            for run in self._runs.values():
                out += run.woken(now_us)
            if self._setup_us is not None and any(
                    isinstance(e, Ended) and e.token == SETUP and not e.done for e in out):
                self._setup_us = now_us + SETUP_RETRY_US
            self._runs = {channel: run for channel, run in self._runs.items() if run.state is not RunState.OVER}
        return out + self._poll(now_us)

    # Actions and reads on demand.

    def _begin(self, now_us: int, begin: Begin) -> list[DeviceEffect]:
        out: list[DeviceEffect] = []
        try:
            moves = resolve(self.profile, begin)
        except ValueError as error:
            return [Ended(self.id, begin.token, begin.action, False, str(error))]
        older = self._runs.get(begin.channel)
        if older is not None:
            out += older.end("superseded")
        run = self._runs[begin.channel] = Run(begin, moves, self._requests, self.readings)
        out += run.start(now_us)
        return out

    def _set_up(self, now_us: int) -> list[DeviceEffect]:
        """Run the profile's `setup` when it is due: at the first answer, after each return, and daily."""
        if self._setup_us is None or now_us < self._setup_us:
            return []
        self._setup_us, self._set_up_us = now_us + SETUP_US, now_us
        begin = Begin(self.id, "setup", SETUP)
        run = self._runs[SETUP] = Run(begin, resolve(self.profile, begin), self._requests, self.readings)
        return [*run.start(now_us)]

    def _read_now(self, now_us: int, event: ReadNow) -> list[DeviceEffect]:
        points = self.profile.points
        why = ""
        for name in event.points:
            if name not in points:
                why = f"no point {name!r}; points: {', '.join(points)}"
            elif not points[name].spec.readable:
                why = f"{name} cannot be read"
        if len(self._asked) >= READS_LIMIT:
            why = "too many reads under way"
        if why or not event.points:
            return [Ended(self.id, event.token, "read", not why, why)]
        wanted = [points[n] for name in event.points for n in (name, *self._belief.needs[name])]
        out = [self._requests.read(block, Priority.READ_BACK, now_us + READ_NOW_US) for block in self._plan(wanted)]
        self._asked.append(Asked(event.token, {submit.transaction.id for submit in out}))
        return [*out]

    # Polls.

    def _schedule(self) -> list[Round]:
        points = self.profile.points.values()
        periods = sorted({p.spec.poll_ms for p in points if p.spec.poll_ms})
        polled = [Round(tuple(p for p in points if p.spec.poll_ms == ms), ms * MS) for ms in periods]
        return [one for one in (self._statics, *polled) if one.points]

    def _start_polls(self, now_us: int) -> None:
        """All rounds begin together, so that points of several periods share reads whenever they coincide."""
        if self._rounds:
            spread_us = self.unit * SPREAD_US % (min(r.period_us for r in self._rounds) // 2)
            for one in self._rounds:
                one.due_us = now_us + self.profile.line.connect_delay_ms * MS + spread_us

    def _plan(self, points: Iterable[Point]) -> list[Block | Exchange]:
        """Blocks of `points`; those first without which others mean nothing."""
        wanted = tuple(points)
        plan = self._plans.get(wanted)
        if plan is None:
            plan = fetches(wanted, self.profile.line, self._cuts)
            plan.sort(key=lambda b: not any(p.name in self._belief.needed for p in b.points))
            if len(self._plans) < PLANS_LIMIT:
                self._plans[wanted] = plan
        return plan

    def _poll(self, now_us: int) -> list[DeviceEffect]:
        """Submit what is due, but for what is still out. Instants that were missed are left out, not made up for."""
        ripe = [one for one in self._rounds if one.due_us is not None and one.due_us <= now_us]
        if not ripe:
            return []
        due: list[Point] = []
        out: list[DeviceEffect] = []
        busy = {p for id in self._polling for p in self._requests.reads[id].points}
        next_us: dict[Point, int] = {}
        for one in ripe:
            assert one.due_us is not None
            one.due_us += ((now_us - one.due_us) // one.period_us + 1) * one.period_us
            due += [p for p in one.points if p not in busy] if busy else one.points
            next_us.update(dict.fromkeys(one.points, one.due_us))
        for block in self._plan(due):
            expires_us = min([next_us[p] for p in block.points]) - POLL_MARGIN_US
            submit = self._requests.read(block, Priority.POLL, expires_us)
            self._polling.add(submit.transaction.id)
            out.append(submit)
        return out

    # What came of transactions.

    def _finished(self, now_us: int, event: Finished) -> list[DeviceEffect]:
        outcome = _as_of_unit(event.outcome)
        id = event.transaction.id
        block = self._requests.reads.pop(id, None)
        out = self._heard(now_us, outcome)
        reading: Reading | None = None
        if block is not None:
            parts = self._part(event, block, outcome)
            if not parts:
                out += self._take(now_us, event, block, outcome)
            out += parts
            ids = {submit.transaction.id for submit in parts}
            if id in self._polling:
                self._polling = self._polling - {id} | ids
            out += self._told(id, ids, block, outcome)
            if isinstance(outcome, Reply):
                reading = self.readings[block.points[0].name]
        for run in self._runs.values():
            if run.id == id:
                out += run.finished(now_us, event._replace(outcome=outcome), reading)
        return out

    def _heard(self, now_us: int, outcome: Outcome) -> list[DeviceEffect]:
        """Whether the unit is there, by this outcome."""
        match outcome:
            case Reply() | Refused():
                self._silences = 0
                return self._go(now_us, "answered", "")
            case Silent(why):
                self._silences += 1
                return self._go(now_us, "silent thrice", why) if self._silences >= SILENCES else []
            case LinkLost(why):
                return self._go(now_us, "link lost", why)
            case _:
                return []

    def _go(self, now_us: int, what: str, why: str) -> list[DeviceEffect]:
        before, self.state = self.state, TRANSITIONS[self.state, what]
        if self.state is before:
            return []
        match self.state:
            case State.ONLINE:
                if "setup" in self.profile.actions:
                    self._setup_us = now_us
                if before is not UNKNOWN and self._statics.due_us is not None:
                    self._statics.due_us = now_us
                return [Presence(self.id, True)]
            case State.SILENT:
                self._setup_us = None
                return [Presence(self.id, False, why), *self._lost(now_us, NoValue.SILENT)]
            case State.UNLINKED:
                self._setup_us = None
                return [Presence(self.id, False, f"link down: {why}"), *self._lost(now_us, NoValue.LINK_DOWN)]
            case State.UNKNOWN:
                return []

    def _lost(self, now_us: int, why: NoValue) -> list[DeviceEffect]:
        return self._took(self._belief.lose(now_us, why, self.profile.points.values()))

    def _part(self, event: Finished, block: Block | Exchange, outcome: Outcome) -> list[Submit]:
        """Ask again in two reads for a block that the unit refuses as one, and not for the whole again.

        Unless it answers what it refused when that was asked for alone: then it refused everything for a while, and
        what was learned of its blocks in that time is forgotten. Else a line would be full of single reads for ever.
        """
        if self._single and isinstance(outcome, Reply) and not self._single.isdisjoint(block.points):
            self._single.clear()
            self._cuts = frozenset()
            self._plans.clear()
        if not isinstance(outcome, Refused) or outcome.code not in ILLEGAL:
            return []
        cut = block.cut()
        if cut is None:
            self._single.update(block.points)
            return []
        self._cuts |= {cut}
        self._plans.clear()
        asked = event.transaction
        return [self._requests.read(part, asked.priority, asked.expires_us) for part in self._plan(block.points)]

    def _take(self, now_us: int, event: Finished, block: Block | Exchange, outcome: Outcome) -> list[DeviceEffect]:
        """The readings that this outcome gives: of an answer all, of a failure those that change."""
        match outcome:
            case Reply(values):
                sent_us = now_us if event.sent_us is None else event.sent_us
                return self._took(self._belief.take(now_us, block, values, sent_us))
            case Refused():
                return self._took(self._belief.lose(now_us, NoValue.REFUSED, block.points))
        statics = self._statics
        if statics.due_us is not None and self.state is not SILENT and set(block.points) & set(statics.points):
            statics.due_us = min(statics.due_us, now_us + STATIC_RETRY_US)
        return self._took(self._belief.doubt(block.points)) if isinstance(outcome, Silent) else []

    def _took(self, readings: tuple[Reading, ...]) -> list[DeviceEffect]:
        for reading in readings:
            wanted = self._armed.get(reading.point)
            disarmed = wanted is not None and reading.value is not None and not same(reading.value, wanted)
            if disarmed and self._setup_us is not None:
                # Somebody switched the watchdog off, or a short dip of its power undid the mode: not for a day.
                self._setup_us = min(self._setup_us, max(reading.at_us, self._set_up_us + SETUP_RETRY_US))
        return [Took(self.id, readings)] if readings else []

    def _told(self, id: int, parts: set[int], block: Block | Exchange, outcome: Outcome) -> list[DeviceEffect]:
        """Tell whoever asked for a read that is now complete."""
        out: list[DeviceEffect] = []
        for asked in self._asked:
            if id not in asked.waiting:
                continue
            asked.waiting = asked.waiting - {id} | parts
            if not parts and not isinstance(outcome, Reply):
                asked.wrong.append(f"{', '.join(p.name for p in block.points)}: {said(outcome)}")
            if not asked.waiting:
                out.append(Ended(self.id, asked.token, "read", not asked.wrong, "; ".join(asked.wrong)))
        self._asked = [asked for asked in self._asked if asked.waiting]
        return out

def _as_of_unit(outcome: Outcome) -> Outcome:
    """An exception that a gateway made on behalf of a silent unit is silence, not an answer."""
    if isinstance(outcome, Refused) and outcome.modbus and outcome.code in ON_BEHALF:
        return Silent(EXCEPTIONS[outcome.code])
    return outcome
