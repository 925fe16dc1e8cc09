"""The session keeps the hub informed: who this gateway is, how everything stands, and what happened, in sequence.

Three kinds of telling, each with its own promise:

    status, birth, health   who and how the gateway is; retained, told at every connect and on a beat
    state                   one a siren or device; retained, newest wins, by exception
    receipts and events     numbered without holes, durable first, told until the broker has them (`outbox.py`)

It refuses to know what an order is and whether a siren may sound.
"""

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto
from itertools import islice
from typing import Literal

from controller import wire
from controller.chain import Head
from controller.event import (
    Append,
    AppendFailed,
    Arrived,
    Beat,
    BrokerDown,
    BrokerUp,
    Changed,
    Clock,
    Confirmed,
    Degraded,
    Durable,
    Notice,
    Offered,
    Publish,
    Record,
    Say,
    SayAgain,
    Trusted,
)
from controller.notices import Notices
from controller.outbox import LINES_LIMIT, Line, Outbox, Stand
from controller.panel import Panel
from controller.wire import Again, Birth, Event, Health, JournalHead, Receipt, State, Status
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import MS, S, Woken, earliest

BEAT_US = 30 * S
"""Status and health: the hub calls a gateway silent after three."""
MODES_GAP_US = 1 * S
"""They are told sooner when the modes or the nonce change, but at most once a second."""
DISK_PATIENCE_US = 2 * S
"""A line goes out without the disk's word after this: a card that hangs must not silence a fault (HONEST: 30 s)."""
REWRITE_US = 2 * S
"""How often a line that could not be written is tried again: a restart before that does not know its number."""
REWRITE_MANY = 64
"""Such lines at once when the disk takes records again: they share an fsync."""
NO_HUB_US = 30 * S
"""So long without a broker is NO-HUB: a connection that is renewed, or a gateway that starts, is no news."""
LOST_LIMIT = 2 * LINES_LIMIT
"""Records kept for that; each line has at most two."""
ANSWER_GAP_US = 1 * S
"""One order's receipts are repeated at most once a second, however often it comes in."""
ANSWER_LIMIT = 256
"""Orders whose last repeat is remembered for that."""

NO_JOURNAL = "NO-JOURNAL"
OUTBOX_FULL = "OUTBOX-FULL"
NO_HUB = "NO-HUB"


class Phase(Enum):
    """Whether the hub can be told.

    OFFLINE: there is no broker. Nothing is published; numbered lines are written and wait.

    ONLINE: a broker is there. What is retained was told anew at its coming, then what waits, in order.
    """

    OFFLINE = auto()
    ONLINE = auto()


TABLE = {(Phase.OFFLINE, BrokerUp): Phase.ONLINE, (Phase.ONLINE, BrokerUp): Phase.ONLINE,
         (Phase.ONLINE, BrokerDown): Phase.OFFLINE, (Phase.OFFLINE, BrokerDown): Phase.OFFLINE}

SessionEvent = (BrokerUp | BrokerDown | Confirmed | Durable | AppendFailed | Say | SayAgain | Notice | Changed
                | Degraded | Offered | Clock | Beat | Arrived | Head | Trusted | Woken)
SessionEffect = Append | Publish


class Session:
    """Tells the hub. `birth` is what this gateway is; its `at` is filled at each connect.

    Append and Publish tokens are line numbers, and negative where the answer means little: Append(-n) marks
    line n as delivered, Publish(-n) repeats it.
    """

    def __init__(self, birth: Birth) -> None:
        self._birth = birth
        self._root = wire.state_root(birth.area, birth.gateway)
        self._phase = Phase.OFFLINE
        self._now_us = 0
        self._wall_minus_now_us = 0
        self._outbox = Outbox()
        self._writing: OrderedDict[int, tuple[Record, int]] = OrderedDict()
        self._lost: dict[int, Record] = {}
        self._rewriting: set[int] = set()
        """Those of them that are with the disk once more."""
        self._rewrite_us: int | None = None
        self._modes: set[tuple[str, str]] = set()
        """... with whom each is about; empty: the whole gateway."""
        self.deadline: int | None = None
        self._offline_us: int | None = None
        """Since when there is no broker."""
        self._no_hub = False
        self._omitted: list[int] = []
        self._panel = Panel()
        self._notices = Notices()
        self._answered: OrderedDict[str, int] = OrderedDict()
        self._buses: dict[str, dict[str, float | int | str]] = {}
        self._head: Head | None = None
        self._told_us = 0
        self._told: tuple[tuple[str, ...], str | None] = ((), None)
        self.nonce: str | None = None
        """What an order may bear while the gateway lacks the time."""

    # From outside.

    def _next_us(self) -> int | None:
        written = next(iter(self._writing.values()))[1] + DISK_PATIENCE_US if self._writing else None
        online = (self._panel.deadline, self._told_us + self._beat_us) if self._phase is Phase.ONLINE else ()
        return earliest(written, self._rewrite_us, self._notices.deadline, self._no_hub_us, *online)

    @property
    def _beat_us(self) -> int:
        return BEAT_US if (self.modes, self.nonce) == self._told else MODES_GAP_US

    @property
    def online(self) -> bool:
        """Whether the broker is there."""
        return self._phase is Phase.ONLINE

    @property
    def outbox(self) -> int:
        """How many lines the broker has not confirmed."""
        return len(self._outbox)

    @property
    def trust_version(self) -> int:
        """Of the trust list that rules."""
        return self._birth.trust_version

    @property
    def modes(self) -> tuple[str, ...]:
        """The degraded modes that are on, by name."""
        on = {mode for mode, _ in self._modes}
        if self._lost:
            on.add(NO_JOURNAL)
        if self._omitted:
            on.add(OUTBOX_FULL)
        if self._no_hub:
            on.add(NO_HUB)
        return tuple(sorted(on))

    def will(self) -> tuple[str, bytes]:
        """What the broker says for us, retained, when we are gone without a word."""
        return f"{self._root}/status", self._status("lost").encode()

    def farewell(self) -> Publish:
        """The last message of a graceful end."""
        return Publish(f"{self._root}/status", self._status("offline").encode(), retain=True)

    def restore(self, records: Iterable[Record]) -> None:
        """Take up what the journal holds: numbers go on after the last, and what was not delivered waits."""
        lines: dict[int, Line] = {}
        done: set[int] = set()
        for record in records:
            match record.kind:
                case "receipt" | "event":
                    body = dict(record.body)
                    message: Receipt | Event
                    try:
                        if record.kind == "receipt":
                            message = wire.validate(Receipt, body)
                        else:
                            message = wire.validate(Event, body)
                    except Malformed:
                        # Written by another version: its number stays used, and the hub sees the hole.
                        continue
                    if message.seq < 1:
                        continue
                    line = _line(message)
                    line.stand = Stand.READY
                    lines[line.seq] = line
                case "delivered" | "omitted":
                    done.update(n for n in (record.body.get("seq"),) if isinstance(n, int))
                case _:
                    pass
        for seq in sorted(lines):
            if seq in done:
                lines[seq].stand = Stand.DELIVERED
            self._outbox.add(lines[seq])
        self._outbox.last_seq = max([self._outbox.last_seq, *done])

    def handle(self, now_us: int, event: SessionEvent) -> list[SessionEffect]:
        self._now_us = now_us
        out: list[SessionEffect] = []
        match event:
            case BrokerUp() | BrokerDown():
                self._phase = TABLE[self._phase, type(event)]
                self._outbox.cut()
                self._hear_of_broker(out)
                if self._phase is Phase.ONLINE:
                    self._introduce(out)
            case Confirmed(token):
                self._confirmed(token, out)
            case Durable(token):
                self._durable(token, out)
            case AppendFailed(token, _):
                self._not_written(token)
            case Say(message):
                self._say(message, out)
            case SayAgain(order):
                self._say_again(order, out)
            case Notice():
                if (first := self._notices.take(now_us, event)) is not None:
                    self._notice(first, out)
            case Changed():
                self._panel.change(now_us, event)
            case Degraded(mode, True, _, subject):
                self._modes.add((mode, subject))
            case Degraded(mode, False, _, subject):
                self._modes.discard((mode, subject))
            case Offered(nonce):
                self.nonce = nonce
            case Clock(wall_us, _, _):
                self._wall_minus_now_us = wall_us - now_us
            case Head():
                self._head = event
            case Beat(buses):
                self._buses = {id: dict(figures) for id, figures in buses.items()}
            case Arrived(_, payload, _, _):
                self._asked_again(payload)
            case Trusted(trust):
                self._birth = self._birth.model_copy(update={"trust_version": trust.version})
                if self._phase is Phase.ONLINE:
                    self._tell_birth(out)
            case Woken():
                pass
        self._due(out)
        self._pump(out)
        self.deadline = self._next_us()
        assert self.deadline is None or self.deadline > now_us, (self.deadline, now_us, event)
        return out

    # Receipts and events.

    def _say(self, message: Receipt | Event, out: list[SessionEffect]) -> None:
        """Number it, and give it to the journal. It leaves when the journal has answered."""
        changes: dict[str, object] = {"seq": self._outbox.last_seq + 1}
        if message.at == wire.BLANK_INSTANT:
            changes["at"] = self._instant()
        message = message.model_copy(update=changes)
        line = _line(message)
        gave_way = self._outbox.add(line)
        self._append(line.seq, Record(line.kind, message.model_dump(mode="json", exclude_none=True)), out)
        if gave_way is not None:
            self._omitted = [self._omitted[0] if self._omitted else gave_way.seq, gave_way.seq]
            self._append(-gave_way.seq, Record("omitted", {"seq": gave_way.seq}), out)

    def _append(self, token: int, record: Record, out: list[SessionEffect]) -> None:
        self._writing[token] = (record, self._now_us)
        out.append(Append(token, record))

    def _durable(self, token: int, out: list[SessionEffect]) -> None:
        if token in self._writing:
            while (first := next(iter(self._writing))) != token:
                # One writer answers in order: of what lies before and has no answer nothing was kept. Once more.
                self._append(first, self._writing.pop(first)[0], out)
            del self._writing[token]
        self._outbox.written(token)
        self._rewriting.discard(token)
        self._lost.pop(token, None)
        if not self._rewriting:
            # The disk takes records again: the next ones that it had refused, until none is left.
            self._rewrite(out, REWRITE_MANY)

    def _not_written(self, token: int) -> None:
        """The disk refused a record, or has kept us waiting too long: what it says leaves without it, under NO-JOURNAL.

        The record is kept and tried again, so that its number is not given out a second time after a restart.
        """
        self._rewriting.discard(token)
        record, _ = self._writing.pop(token, (None, 0))
        self._outbox.written(token)
        if record is not None and len(self._lost) < LOST_LIMIT:
            self._lost[token] = record
        if self._lost and self._rewrite_us is None:
            self._rewrite_us = self._now_us + REWRITE_US

    def _rewrite(self, out: list[SessionEffect], many: int) -> None:
        self._rewrite_us = self._now_us + REWRITE_US if self._lost else None
        again = list(islice(self._lost.items(), many))
        self._rewriting = {token for token, _ in again}
        out.extend(Append(token, record) for token, record in again)

    def _confirmed(self, token: int, out: list[SessionEffect]) -> None:
        if token < 0:
            self._outbox.repeat_confirmed(-token)
        elif self._outbox.confirmed(token):
            self._append(-token, Record("delivered", {"seq": token}), out)

    def _say_again(self, order: str, out: list[SessionEffect]) -> None:
        last_us = self._answered.get(order)
        if self._phase is Phase.OFFLINE or (last_us is not None and self._now_us - last_us < ANSWER_GAP_US):
            return
        self._answered[order] = self._now_us
        self._answered.move_to_end(order)
        if len(self._answered) > ANSWER_LIMIT:
            self._answered.popitem(last=False)
        if not self._outbox.repeat_order(order):
            self._notice(Notice("answer-forgotten", order, "its receipts are only in the journal"), out)

    def _asked_again(self, payload: bytes) -> None:
        """A hub misses numbers. What is no such wish is dropped: it can only be noise, and the asker sees no answer."""
        if self._phase is Phase.OFFLINE:
            return
        try:
            wish = wire.decode(Again, payload)
        except Malformed:
            return
        self._outbox.repeat_range(wish.first, wish.last)

    def _pump(self, out: list[SessionEffect]) -> None:
        if self._phase is Phase.OFFLINE:
            return
        while (line := self._outbox.next()) is not None:
            out.append(Publish(f"{self._root}/{line.kind}", line.payload, token=line.seq))
        while (line := self._outbox.next_repeat()) is not None:
            out.append(Publish(f"{self._root}/{line.kind}", line.payload, token=-line.seq))
        if self._omitted and len(self._outbox) <= LINES_LIMIT // 2:
            first, last = self._omitted
            self._omitted = []
            detail = f"of the messages {first} to {last}, those not delivered are only in the journal"
            self._notice(Notice("outbox-overflow", "", detail, urgent=True), out)

    def _notice(self, notice: Notice, out: list[SessionEffect]) -> None:
        event = Event(seq=0, gateway=self._birth.gateway, at=self._instant(), what=notice.what,
                      subject=_carried(notice.subject), detail=_carried(notice.detail), urgent=notice.urgent,
                      samples=None if notice.samples is None else
                      {gauge: tuple(seen) for gauge, seen in notice.samples.items()})
        self._say(event, out)

    def _hear_of_broker(self, out: list[SessionEffect]) -> None:
        """It is there, or gone. How long it was away is told, for nobody could be told in the meantime."""
        if self._phase is Phase.OFFLINE:
            return
        if self._no_hub:
            self._notice(Notice(f"{NO_HUB.lower()}-ended", "", f"since {self._instant(self._offline_us)}"), out)
        self._offline_us, self._no_hub = None, False

    @property
    def _no_hub_us(self) -> int | None:
        """When an absence becomes NO-HUB."""
        return None if self._no_hub or self._offline_us is None else self._offline_us + NO_HUB_US

    # What is retained.

    def _introduce(self, out: list[SessionEffect]) -> None:
        """A new connection, perhaps to a broker that remembers nothing."""
        self._tell_status(out)
        self._tell_birth(out)
        self._panel.forget_told()

    def _tell_birth(self, out: list[SessionEffect]) -> None:
        birth = self._birth.model_copy(update={"at": self._instant()})
        out.append(Publish(f"{self._root}/birth", birth.encode(), retain=True))

    def _tell_status(self, out: list[SessionEffect]) -> None:
        """Status and health, which beat together."""
        self._told_us, self._told = self._now_us, (self.modes, self.nonce)
        out.append(Publish(f"{self._root}/status", self._status("online").encode(), retain=True))
        health = Health(gateway=self._birth.gateway, at=self._instant(), outbox=len(self._outbox),
                        modes=self.modes, buses=self._buses)
        out.append(Publish(f"{self._root}/health", health.encode(), qos=0, retain=True))

    def _status(self, state: Literal["online", "offline", "lost"]) -> Status:
        journal = None if self._head is None else JournalHead(n=self._head.n, hash=self._head.hash.hex())
        return Status(gateway=self._birth.gateway, session=self._birth.session, state=state, at=self._instant(),
                      modes=tuple(m for m in self.modes if m != NO_HUB), last_seq=self._outbox.last_seq,
                      nonce=self.nonce if state == "online" else None, journal=journal)

    def _tell_state(self, new: Changed, since_us: int, out: list[SessionEffect]) -> None:
        state = State(id=new.id, at=self._instant(since_us), state=new.state, why=new.why, mode=new.mode,
                      activation=new.activation, points=dict(new.points or {}), bad=dict(new.bad or {}))
        out.append(Publish(f"{self._root}/{new.id}/state", state.encode(), retain=True))

    # Time.

    def _due(self, out: list[SessionEffect]) -> None:
        now_us = self._now_us
        while self._writing:
            token, (_, since_us) = next(iter(self._writing.items()))
            if since_us + DISK_PATIENCE_US > now_us:
                break
            self._not_written(token)
        if self._rewrite_us is not None and self._rewrite_us <= now_us:
            self._rewrite(out, 1)
        if self._offline_us is None and self._phase is Phase.OFFLINE:
            self._offline_us = now_us
        if self._no_hub_us is not None and self._no_hub_us <= now_us:
            self._no_hub = True
            since = self._instant(self._offline_us)
            self._notice(Notice(NO_HUB.lower(), "", f"no broker since {since}", urgent=True), out)
        for notice in self._notices.due(now_us):
            self._notice(notice, out)
        if self._phase is Phase.ONLINE:
            if self._told_us + self._beat_us <= now_us:
                self._tell_status(out)
            for changed, since_us in self._panel.due(now_us):
                self._tell_state(changed, since_us, out)

    def _instant(self, at_us: int | None = None) -> str:
        """The wall's reading. Before the first Clock it is 1970 and the time since boot: plainly no date."""
        wall_us = (self._now_us if at_us is None else at_us) + self._wall_minus_now_us
        return wire.to_text(max(MS, wall_us))


def _carried(text: str) -> str:
    """A text as a message can carry it: JSON may name half a character."""
    return text.encode(errors="backslashreplace").decode()


def _line(message: Receipt | Event) -> Line:
    match message:
        case Receipt():
            return Line(message.seq, "receipt", message.encode(), order=message.order)
        case Event():
            return Line(message.seq, "event", message.encode(), plain=not message.urgent)

