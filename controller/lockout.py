"""The lock-out: which sirens technicians have taken out of service, by their tags and by the trapped key.

A tag is one person's; a siren may bear several, and is free when the last is off and its key (`isolator.py`) is free.
Who hung a tag takes it off. Anybody else's hand on it is a commander's, at the cabinet, with a reason, and is told.
Nothing from afar ends a tag: no order, no hub, no trust list, no time-out and no restart.

The whole book of tags and keys is one journal record, of which the journal keeps a copy in a file of its own beside
it. After a restart a tag in either of the two holds; a siren is free only where both agree. So a tag outlives a
journal that is lost, and one that is restored from before it was hung. A tag locks at once and is acknowledged when
it is on the disk; it unlocks only when its coming off is on the disk.

It refuses to know what sounds, and what a lock-out does to it (`siren.py`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from controller import wire
from controller.event import Append, AppendFailed, Ask, Clock, Durable, Lock, Notice, Publish, Record, Turned
from controller.wall import Wall
from controller.wire import Instant, Message
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S, Woken, earliest

TAGS_LIMIT = 64
"""Tags of one gateway: with the longest reasons they still fit into one journal record."""
REASON_LIMIT = 60
"""Characters of a reason, and of a person: a tag is read at a glance."""
PATIENCE_US = 5 * S
"""Who hangs a tag is told so late at most whether the disk has it."""
RETRY_US = 10 * S
"""How often a book that the disk refused is written again, and how often a chattering key may write it."""

KIND, BESIDE = "lock", "lock-beside"
"""The journal's newest record, and the copy that it keeps beside itself."""

NOT_LISTED = "只有 gateway.toml 中登记的人员可以 / only who is listed in gateway.toml may do this"
NO_SUCH_SIREN = "本网关没有这个警报器 / this gateway has no such siren"
SAY_WHY = f"说明原因，最多 {REASON_LIMIT} 字 / give a reason of at most {REASON_LIMIT} characters"
NO_TAG = "没有挂牌 / it bears no tag"
FULL = f"挂牌已满 {TAGS_LIMIT} 个，请用钥匙 / {TAGS_LIMIT} tags hang already; use the key"
NOT_YOURS = "不是你挂的牌，只有挂牌人可以取下 / not your tag; who hung it takes it off: "
NOT_ON_DISK = "已锁定，但磁盘未记录，断电后可能失效；正在重试 / locked now, but not on the disk (tried again): "
STILL_TAGGED = "磁盘未记录，仍锁定，请重试 / the disk did not take it; still locked, try again: "


class State(Enum):
    """Where a tag is.

    HANGING: it locks the siren; the disk does not have it yet.

    HUNG: it locks the siren, and the disk has it.

    LEAVING: it was taken off and still locks, until the disk has that.

    OFF: it is gone.
    """

    HANGING = "HANGING"
    HUNG = "HUNG"
    LEAVING = "LEAVING"
    OFF = "OFF"


class Move(Enum):
    KEPT = "the disk has the book"
    LOST = "the disk refused it, or did not answer"
    TAKE = "somebody who may takes it off"


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.HANGING, Move.KEPT): State.HUNG,
    (State.HANGING, Move.LOST): State.HANGING,
    (State.HANGING, Move.TAKE): State.LEAVING,
    (State.HUNG, Move.KEPT): State.HUNG,
    (State.HUNG, Move.LOST): State.HUNG,
    (State.HUNG, Move.TAKE): State.LEAVING,
    (State.LEAVING, Move.TAKE): State.LEAVING,
    (State.LEAVING, Move.KEPT): State.OFF,
    (State.LEAVING, Move.LOST): State.HUNG,
}


class Tag(Message):
    """One person's tag on one siren."""

    siren: str
    person: str
    user: str
    since: Instant
    reason: str

    def __str__(self) -> str:
        return f"tagged by {self.person} since {self.since}: {self.reason}"


class Book(Message):
    """Every tag, and the sirens whose key was last read as locked: the body of the record."""

    v: Literal[1] = 1
    tags: tuple[Tag, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Hung:
    tag: Tag
    state: State

    def step(self, move: Move) -> None:
        self.state = TRANSITIONS[self.state, move]


@dataclass(slots=True)
class Wish:
    """A book on the way to the disk, what it changes, and who waits for it."""

    until_us: int
    client: int | None = None
    hung: list[Hung] = field(default_factory=list)
    leaves: bool = False
    """Whether they are being taken off."""
    told: list[Notice] = field(default_factory=list)
    """What is said when the disk has it."""


LockoutEvent = Ask | Turned | Durable | AppendFailed | Clock | Woken
LockoutEffect = Append | Lock | Notice | Publish


class Lockout:
    """The machine. `technicians` and `commanders` map unix user to person; both may hang tags."""

    def __init__(self, sirens: Iterable[str], technicians: Mapping[str, str], commanders: Mapping[str, str]) -> None:
        self._sirens = tuple(sirens)
        self._persons = {**technicians, **commanders}
        self._commanders = commanders
        self._tags: list[Hung] = []
        self._keys: set[str] = set()
        self._wishes: dict[int, Wish] = {}
        self._token = 0
        self._write_us: int | None = None
        self._written_us = -RETRY_US
        self._wall = Wall()
        self._out: list[LockoutEffect] = []

    @property
    def deadline(self) -> int | None:
        return earliest(self._write_us, *(w.until_us for w in self._wishes.values()))

    def restore(self, records: Iterable[Record]) -> None:
        """Take up what the journal and the file beside it hold: a tag that stands in either of them hangs."""
        books: dict[str, Book] = {}
        for record in records:
            if record.kind in (KIND, BESIDE):
                try:
                    books[record.kind] = wire.validate(Book, dict(record.body))
                except Malformed:
                    continue  # another version's; the other of the two may be read
        for book in books.values():
            known = {(h.tag.siren, h.tag.person) for h in self._tags}
            self._tags += [Hung(t, State.HUNG) for t in book.tags if (t.siren, t.person) not in known]
            self._keys.update(book.keys)
        if len(books) == 1 or len(set(map(Book.encode, books.values()))) > 1:
            self._write_us = 0

    def tags(self, siren: str) -> list[Tag]:
        return [h.tag for h in self._tags if h.tag.siren == siren]

    def key(self, siren: str) -> bool:
        """Whether its key was last read as locked, in this run or in one before."""
        return siren in self._keys

    def why(self, siren: str) -> str:
        """The tags on it as hub and technician see them; empty: there is none."""
        return ", ".join(map(str, self.tags(siren)))

    def handle(self, now_us: int, event: LockoutEvent) -> list[LockoutEffect]:
        self._wall.now_us = now_us
        self._out = []
        match event:
            case Ask(verb="tag"):
                self._tag(now_us, event)
            case Ask():
                self._untag(now_us, event)
            case Turned(siren, locked):
                if locked != (siren in self._keys):
                    self._keys ^= {siren}
                    self._write_us = earliest(self._write_us, max(now_us, self._written_us + RETRY_US))
            case Durable(token):
                self._answered(now_us, token, Move.KEPT, "")
            case AppendFailed(token, why):
                self._answered(now_us, token, Move.LOST, why)
            case Clock():
                self._wall.take(event)
            case Woken():
                pass
        for token in [t for t, w in self._wishes.items() if w.until_us <= now_us]:
            self._answered(now_us, token, Move.LOST, "no answer from the disk")
        if self._write_us is not None and self._write_us <= now_us:
            self._write(now_us, Wish(now_us + PATIENCE_US, hung=[h for h in self._tags if h.state is State.HANGING]))
        return self._out

    # What people ask.

    def _tag(self, now_us: int, ask: Ask) -> None:
        person, sirens, reason = self._who(ask), self._meant(ask), _reason(ask)
        if person is None or not sirens or not reason:
            self._refuse(ask, NOT_LISTED if person is None else SAY_WHY if sirens else NO_SUCH_SIREN)
            return
        theirs = {h.tag.siren for h in self._tags if h.tag.person == person and h.state is not State.LEAVING}
        new = [Hung(Tag(siren=s, person=person, user=ask.user, since=self._wall.text, reason=reason), State.HANGING)
               for s in sirens if s not in theirs]
        if len(self._tags) + len(new) > TAGS_LIMIT:
            self._refuse(ask, FULL)
            return
        self._tags += new
        for hung in new:
            # The siren is locked at once, whatever the disk will say.
            self._lock(hung.tag.siren)
            self._out.append(Notice("tagged", hung.tag.siren, f"{person}: {reason}", urgent=True))
        again = [h for h in self._tags if h.tag.person == person and h.tag.siren in sirens]
        self._write(now_us, Wish(now_us + PATIENCE_US, ask.client, again))

    def _untag(self, now_us: int, ask: Ask) -> None:
        person, sirens, reason = self._who(ask), self._meant(ask), _reason(ask)
        there = [h for h in self._tags if h.tag.siren in sirens]
        override = ask.args.get("override") is True and ask.user in self._commanders
        off = there if override else [h for h in there if h.tag.person == person]
        wrong = ""
        if person is None:
            wrong = NOT_LISTED
        elif not there:
            wrong = NO_TAG if sirens else NO_SUCH_SIREN
        elif not off:
            wrong = NOT_YOURS + ", ".join(sorted({h.tag.person for h in there}))
        elif override and not reason:
            wrong = SAY_WHY
        if wrong:
            self._refuse(ask, wrong)
            return
        told = []
        for hung in off:
            hung.step(Move.TAKE)
            by = f"{person}: {reason}" if reason else str(person)
            if hung.tag.person == person:
                told.append(Notice("untagged", hung.tag.siren, by, urgent=True))
            else:
                told.append(Notice("tag-overridden", hung.tag.siren, f"{hung.tag.person}'s tag, by {by}", urgent=True))
        self._write(now_us, Wish(now_us + PATIENCE_US, ask.client, off, leaves=True, told=told))

    def _who(self, ask: Ask) -> str | None:
        person = self._persons.get(ask.user)
        return None if person is None else person[:REASON_LIMIT]

    def _meant(self, ask: Ask) -> tuple[str, ...]:
        """The sirens of the question; one that bears a tag is meant even where the config has it no more."""
        siren = ask.args.get("siren")
        if siren == "all":
            return self._sirens
        known = {*self._sirens, *(h.tag.siren for h in self._tags)}
        return (siren,) if isinstance(siren, str) and siren in known else ()

    def _refuse(self, ask: Ask, text: str) -> None:
        self._out.append(Notice("local-refused", ask.user, f"{ask.verb}: {text.rpartition(' / ')[2]}"))
        self._out.append(_answer(ask.client, {"error": text}))

    # The disk.

    def _write(self, now_us: int, wish: Wish) -> None:
        """Give the whole book to the journal, as it is without what is being taken off."""
        self._token += 1
        self._wishes[self._token] = wish
        self._write_us, self._written_us = None, now_us
        tags = tuple(h.tag for h in self._tags if h.state is not State.LEAVING)
        body = Book(tags=tags, keys=tuple(sorted(self._keys))).model_dump(mode="json")
        self._out.append(Append(self._token, Record(KIND, body)))

    def _answered(self, now_us: int, token: int, move: Move, why: str) -> None:
        """What came of a book. One whose answer was not waited for any longer is written anew after a while."""
        wish = self._wishes.pop(token, None)
        if wish is None:
            return
        # A tag that was taken off before the disk had it waits for the book without it.
        for hung in wish.hung:
            if hung.state is not State.OFF and (hung.state is State.LEAVING) == wish.leaves:
                hung.step(move)
        self._tags = [h for h in self._tags if h.state is not State.OFF]
        if move is Move.LOST:
            self._write_us = earliest(self._write_us, now_us + RETRY_US)
        else:
            self._out += wish.told
            for siren in sorted({h.tag.siren for h in wish.hung if wish.leaves}):
                self._lock(siren)
        if wish.client is not None:
            wrong = (STILL_TAGGED if wish.leaves else NOT_ON_DISK) + why if move is Move.LOST else ""
            self._out.append(_answer(wish.client, self._shown(wish) | ({"error": wrong} if wrong else {})))

    def _lock(self, siren: str) -> None:
        if siren in self._sirens:
            self._out.append(Lock(siren, self.why(siren)))

    def _shown(self, wish: Wish) -> dict[str, Any]:
        return {"sirens": {s: self.shown(s) for s in sorted({h.tag.siren for h in wish.hung})}}

    def shown(self, siren: str) -> dict[str, Any]:
        """One siren's locks, for who looks."""
        return {"tags": [{"person": t.person, "since": t.since, "reason": t.reason} for t in self.tags(siren)],
                "key": self.key(siren)}


def _reason(ask: Ask) -> str:
    """What was given for a reason; empty where it is none, or too long."""
    reason = ask.args.get("reason")
    text = " ".join(reason.split()) if isinstance(reason, str) else ""
    return text if len(text) <= REASON_LIMIT else ""


def _answer(client: int, body: dict[str, Any]) -> Publish:
    return Publish("", json.dumps(body | {"last": True}, ensure_ascii=False).encode(errors="replace"), client=client)
