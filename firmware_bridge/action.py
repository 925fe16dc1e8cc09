"""One run of one action of a profile: its steps in order, each with its retries and its end.

A `Run` goes through the moves of an action and is told how its transactions ended. It refuses to know which other
actions run, what is polled, and when an action is called for.
"""

from collections.abc import Mapping
from enum import Enum
from itertools import count

from firmware_bridge.event import (
    Begin,
    Edged,
    Ended,
    Expired,
    Finished,
    LinkLost,
    Outcome,
    Priority,
    Refused,
    Reply,
    Request,
    Sent,
    Silent,
    Skipped,
    Submit,
    Transaction,
    Withdraw,
    Withdrawn,
)
from firmware_bridge.machine import MS
from firmware_bridge.modbus import EXCEPTIONS
from firmware_bridge.move import Expect, Move, Set, Wait, same
from firmware_bridge.plan import Block, Exchange, fetches
from firmware_bridge.profile import Line
from firmware_bridge.reading import Reading
from firmware_bridge.unit import QUARANTINE_MAX_US

WRITE_TRIES = 3
"""A level write goes out at most this often: one lost reply is noise, three are a dead unit."""
RETRY_US = 300 * MS
"""Pause before a write that never reached the line is tried again: a link needs about this to reopen."""
LOOK_US = 100 * MS
"""How often an `expect` looks: a read takes 20-60 ms at 9600 baud, and polls want the line too."""
GRACE_US = 500 * MS
"""How long after its time, beside the profile's time-out, an `expect` still waits for a look begun in time."""


class State(Enum):
    """Where a run stands.

    READY: between two steps. Never seen from outside; the next step begins at once.

    WRITING: a `set` is with the bus, perhaps reserved for its instant. The bus tells how it ends. A level write
    that was not answered goes out again; a trigger never does.

    RESTING: a level write did not reach the line (link lost). It is tried again after a pause.

    READING: a look of an `expect` is with the bus.

    PAUSING: between two looks of an `expect`.

    WAITING: a `wait_ms` runs.

    OVER: Ended was told. Whatever still comes of its transactions concerns nobody.
    """

    READY = "ready"
    WRITING = "writing"
    RESTING = "resting"
    READING = "reading"
    PAUSING = "pausing"
    WAITING = "waiting"
    OVER = "over"


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.READY, "set"): State.WRITING,
    (State.READY, "expect"): State.READING,
    (State.READY, "wait"): State.WAITING,
    (State.READY, "end"): State.OVER,
    (State.WRITING, "done"): State.READY,
    (State.WRITING, "again"): State.WRITING,
    (State.WRITING, "later"): State.RESTING,
    (State.WRITING, "end"): State.OVER,
    (State.RESTING, "again"): State.WRITING,
    (State.RESTING, "end"): State.OVER,
    (State.READING, "done"): State.READY,
    (State.READING, "later"): State.PAUSING,
    (State.READING, "end"): State.OVER,
    (State.PAUSING, "again"): State.READING,
    (State.PAUSING, "end"): State.OVER,
    (State.WAITING, "done"): State.READY,
    (State.WAITING, "end"): State.OVER,
}

RunEffect = Submit | Withdraw | Edged | Ended


class Requests:
    """Numbers the transactions of one device, and gives each the terms of its profile's line."""

    def __init__(self, device: str, bus: str, unit: int, line: Line) -> None:
        self.line = line
        self.reads: dict[int, Block | Exchange] = {}
        """What each read that is with the bus asks for; the device takes it out when the read has ended."""
        self._device = device
        self._bus = bus
        self._unit = unit
        self._ids = count(1)

    def read(self, block: Block | Exchange, priority: Priority, expires_us: int | None) -> Submit:
        submit = self._submit(block.request(self._unit), priority, expires_us)
        self.reads[submit.transaction.id] = block
        return submit

    def write(self, move: Set, priority: Priority, expires_us: int | None, at_us: int | None) -> Submit:
        return self._submit(move.request(self._unit), priority, expires_us, at_us, move.repeatable)

    def withdraw(self, id: int) -> Withdraw:
        return Withdraw(self._bus, self._device, id)

    def _submit(self, request: Request, priority: Priority, expires_us: int | None,
                at_us: int | None = None, repeatable: bool = True) -> Submit:
        return Submit(self._bus, Transaction(
            self._device, next(self._ids), self._unit, request, priority, repeatable, at_us, expires_us,
            self.line.timeout_ms * MS, self.line.turnaround_ms * MS, self.line.min_gap_ms * MS))


def said(outcome: Outcome) -> str:
    """An outcome in the words of an Ended."""
    match outcome:
        case Reply():
            return "answered"
        case Sent():
            return "sent, nobody answers"
        case Refused(code, modbus):
            return f"refused: {EXCEPTIONS.get(code, 'exception')} ({code})" if modbus else f"refused ({code})"
        case Silent(why):
            return why
        case Skipped(why):
            return f"skipped: {why}"
        case Expired():
            return "expired"
        case Withdrawn():
            return "withdrawn"
        case LinkLost():
            return "link lost"


class Run:
    """One action under way. `readings` are the device's, as they change; `id` is its transaction with the bus."""

    def __init__(self, begin: Begin, moves: tuple[Move, ...], requests: Requests,
                 readings: Mapping[str, Reading]) -> None:
        self.begin = begin
        self.state = State.READY
        self.id: int | None = None
        self.deadline: int | None = None
        self._moves = moves
        self._requests = requests
        self._readings = readings
        self._at = 0
        self._tries = 0
        self._edge_us: int | None = None
        self._edging = False
        """Whether the edge left and is not known to have been heard."""
        self._before: Reading | None = None
        self._looked_us = 0
        self._end_us = 0
        self._saw = ""
        self._held_us = 0
        """How much longer this `expect` may take if the bus cannot ask; none once it could."""

    def start(self, now_us: int) -> list[RunEffect]:
        """Begin the step that is next, or end."""
        if self._at == len(self._moves):
            return self._over(True, "")
        match self._moves[self._at]:
            case Set() as move:
                self._go("set")
                self._tries = 1
                later = self._later()
                self._before = self._readings[later.point.name] if later else None
                return self._write(now_us, move)
            case Expect() as move:
                self._go("expect")
                self._end_us = now_us + move.within_us
                self._saw = "never read"
                self._held_us = QUARANTINE_MAX_US
                return self._look(now_us, move)
            case Wait(us):
                self._go("wait", now_us + us)
                return []

    def finished(self, now_us: int, event: Finished, reading: Reading | None) -> list[RunEffect]:
        """The transaction `id` has ended; a look's answer was decoded to `reading`."""
        self.id = None
        match self._moves[self._at]:
            case Set() as move:
                return self._written(now_us, move, event)
            case Expect() as move:
                return self._seen(now_us, move, event.outcome, reading)
            case Wait():
                raise AssertionError("a wait has no transaction")

    def woken(self, now_us: int) -> list[RunEffect]:
        """Time has passed."""
        if self.deadline is None or now_us < self.deadline:
            return []
        match self.state, self._moves[self._at]:
            case State.RESTING, Set() as move:
                self._go("again")
                return self._write(now_us, move)
            case State.PAUSING, Expect() as move if now_us < self._end_us:
                self._go("again")
                return self._look(now_us, move)
            case (State.PAUSING | State.READING), Expect() as move:
                return self.end(self._unseen(move))
            case State.WAITING, Wait():
                return self._done(now_us)
        raise AssertionError(f"{self.state} has no deadline")

    def end(self, why: str) -> list[RunEffect]:
        """Give up; nothing more of it goes to the bus."""
        withdrawn: list[RunEffect] = [] if self.id is None else [self._requests.withdraw(self.id)]
        return withdrawn + self._over(False, why)

    def _write(self, now_us: int, move: Set) -> list[RunEffect]:
        begin = self.begin
        at_us = begin.at_us if move.edge and begin.at_us is not None and begin.at_us > now_us else None
        submit = self._requests.write(move, begin.priority, begin.expires_us if move.bounded else None, at_us)
        self.id = submit.transaction.id
        return [submit]

    def _written(self, now_us: int, move: Set, event: Finished) -> list[RunEffect]:
        if move.edge and event.sent_us is not None:
            self._edge_us = event.sent_us
        again = move.repeatable and self._tries < WRITE_TRIES
        match event.outcome:
            case Reply():
                self._edging = move.edge
                return [*self._edged(), *self._done(now_us)]
            case Sent():
                # Nobody answers it: that it was heard is for a later `expect` to see.
                self._edging = move.edge
                return self._done(now_us)
            case Silent() if again:
                self._tries += 1
                self._go("again")
                return self._write(now_us, move)
            case Silent() if not move.repeatable and self._read_back_decides():
                return self._done(now_us)
            case LinkLost() | Skipped() | Withdrawn() if again:
                self._tries += 1
                self._go("later", now_us + RETRY_US)
                return []
            case Refused() as outcome:
                # Which of a set-up's many steps is for the technician to know.
                return self._over(False, f"{move.point.name} {said(outcome)}")
            case outcome:
                return self._over(False, said(outcome))

    def _edged(self) -> list[RunEffect]:
        """The edge was heard, if it was still to be: its answer says so, or what was expected of it."""
        if not self._edging:
            return []
        self._edging = False
        assert self._edge_us is not None, "heard, so it was sent"
        return [Edged(self.begin.device, self.begin.token, self.begin.action, self._edge_us)]

    def _later(self) -> Expect | None:
        """The next expectation after this step."""
        return next((m for m in self._moves[self._at + 1 :] if isinstance(m, Expect)), None)

    def _read_back_decides(self) -> bool:
        """Whether a later `expect` can tell if an unanswered trigger was heard.

        A latched bit that may have been set before cannot: it would prove a sounding by the one before it.
        """
        later, before = self._later(), self._before
        if later is None or before is None or later.point.spec.evidence != "latched":
            return later is not None
        return before.value is not None and not same(before.value, later.value)

    def _look(self, now_us: int, move: Expect) -> list[RunEffect]:
        block = fetches([move.point], self._requests.line)[0]
        submit = self._requests.read(block, Priority.READ_BACK, self._end_us)
        self.id = submit.transaction.id
        self._looked_us = now_us
        self.deadline = self._end_us + self._requests.line.timeout_ms * MS + GRACE_US
        return [submit]

    def _seen(self, now_us: int, move: Expect, outcome: Outcome, reading: Reading | None) -> list[RunEffect]:
        value = None if reading is None else reading.value
        if value is not None and same(value, move.value):
            return [*self._edged(), *self._done(now_us)]
        if isinstance(outcome, Expired):
            # Behind a lost answer nothing of its shape is asked for so long: that says nothing of what is expected.
            self._end_us, self._held_us = self._end_us + self._held_us, 0
        elif value is not None:
            self._held_us = 0
        bad = said(outcome) if reading is None else str(reading.why)
        self._saw = bad if value is None else f"it is {value!r}"
        self._go("later", min(self._looked_us + LOOK_US, self._end_us))
        return self.woken(now_us)

    def _unseen(self, move: Expect) -> str:
        return f"{move.point.name} not {move.value!r} within {move.within_us // MS} ms: {self._saw}"

    def _done(self, now_us: int) -> list[RunEffect]:
        self._go("done")
        self._at += 1
        return self.start(now_us)

    def _over(self, done: bool, why: str) -> list[RunEffect]:
        self._go("end")
        begin = self.begin
        return [Ended(begin.device, begin.token, begin.action, done, why, self._edge_us)]

    def _go(self, what: str, deadline: int | None = None) -> None:
        self.state = TRANSITIONS[self.state, what]
        self.deadline = deadline
