"""A succession of trust lists on a bench: with a disk of its own, which answers when it is told to."""

import json
from typing import Any

from controller.event import Append, Arrived, Ask, Durable, Notice, Publish, Record
from controller.roots import Roots
from controller.succession import File, Succession
from firmware_bridge.errors import Problem
from firmware_bridge.machine import S, Woken
from tests.ceremony import DEPLOYMENT, listed, roots

TOPIC = "siren/1/o/41/trust"
GONE = (Problem("trust.json", "file", "missing", "create it, or mend the path"),)


class House:
    """A succession with a disk of its own, which answers when it is told to."""

    def __init__(self, file: File, disk: list[Record] | None = None, pins: Roots | None = None) -> None:
        self.disk: list[Record] = disk if disk is not None else []
        self.now = 10 * S
        self.said: list[Any] = []
        self.machine = Succession(DEPLOYMENT, pins or roots(), file, list(self.disk))
        self.do(Woken())

    def do(self, event: Any, after_s: float = 0.0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.machine.handle(self.now, event)
        assert self.machine.deadline is None or self.machine.deadline > self.now
        self.said += out
        return out

    def disk_answers(self) -> list[Any]:
        """The newest append is on the disk, in the journal and beside it."""
        append = [e for e in self.said if isinstance(e, Append)][-1]
        self.disk += [append.record, Record(f"{append.record.kind}-beside", append.record.body)]
        return self.do(Durable(append.token))

    def comes(self, data: bytes) -> list[Any]:
        return self.do(Arrived(TOPIC, data))

    def brought(self, data: bytes, client: int = 5) -> list[Any]:
        return self.do(Ask(client, 1000, "pi", "trust", {"text": data.decode()}))

    def again(self, file: File, pins: Roots | None = None) -> "House":
        """After a restart."""
        return House(file, self.disk, pins)

    @property
    def rules(self) -> int:
        return self.machine.ruling.version


def settled(version: int = 7) -> House:
    house = House(listed(version))
    house.disk_answers()
    return house


def notices(out: list[Any]) -> list[tuple[str, str]]:
    return [(n.what, str(n.subject)) for n in out if isinstance(n, Notice)]


def appends(out: list[Any]) -> list[Record]:
    return [a.record for a in out if isinstance(a, Append)]


def answers(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in out if isinstance(p, Publish)]
