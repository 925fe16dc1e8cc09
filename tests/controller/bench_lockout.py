"""A lock-out in its cabinet: a technician's hands, a disk that answers when told to, and the same people in a city."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from controller import config, wire
from controller.event import Append, AppendFailed, Ask, Clock, Durable, Notice, Publish, Record, Trust
from controller.lockout import BESIDE, Lockout
from firmware_bridge.machine import S

WALL = wire.to_wall_us("2026-11-22T08:00:00.000Z")
PEOPLE = {"li": "Li Ming", "wang": "Wang Fang"}
COMMANDERS = {"zhou": "Zhou Ping"}


@dataclass
class Cabinet:
    """A lock-out with a technician's hands and a disk that answers when it is told to."""

    records: list[Record] = field(default_factory=list)
    now: int = 100 * S

    def __post_init__(self) -> None:
        self.lockout = Lockout(("s-1", "s-2"), PEOPLE, COMMANDERS)
        self.lockout.restore(self.records)
        self.out: list[Any] = self.do(Clock(WALL, 0, Trust.TRUSTED))

    def do(self, event: Any, after_s: float = 0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.lockout.handle(self.now, event)
        deadline = self.lockout.deadline
        assert deadline is None or deadline > self.now
        return out

    def ask(self, verb: str, user: str = "li", siren: object = "s-1", reason: object = "horn",
            **more: Any) -> list[Any]:
        return self.do(Ask(7, 1000, user, verb, {"siren": siren, "reason": reason} | more))

    def kept(self, out: list[Any]) -> list[Any]:
        """The disk has what `out` gave it."""
        self.records += [a.record for a in out if isinstance(a, Append)]
        return [e for a in out if isinstance(a, Append) for e in self.do(Durable(a.token))]

    def lost(self, out: list[Any]) -> list[Any]:
        return [e for a in out if isinstance(a, Append) for e in self.do(AppendFailed(a.token, "disk full"))]

    def locked(self, siren: str = "s-1") -> bool:
        return bool(self.lockout.why(siren))

    def again(self, *records: Record) -> "Cabinet":
        return Cabinet(list(records))


def of(kind: type[Any], out: list[Any]) -> list[Any]:
    return [e for e in out if isinstance(e, kind)]


def answers(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in of(Publish, out)]


def told(out: list[Any]) -> list[tuple[str, str]]:
    return [(n.what, n.subject) for n in of(Notice, out)]


def newest(cabinet: Cabinet) -> Record:
    return cabinet.records[-1]


def copy(record: Record) -> Record:
    """The same in the file beside the journal."""
    return Record(BESIDE, record.body)


def people(one: config.Config) -> config.Config:
    local = one.spec.local.model_copy(update={"technicians": PEOPLE, "commanders": COMMANDERS})
    return dataclasses.replace(one, spec=one.spec.model_copy(update={"local": local}))
