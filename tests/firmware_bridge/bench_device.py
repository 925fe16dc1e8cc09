"""A device joined to a tiny bus on virtual time: the other end for tests of the device.

The unit is a dict of registers and bits. Each transaction takes LAG_US; `fault` may answer in the unit's stead.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from firmware_bridge.device import Device, DeviceEffect, DeviceEvent
from firmware_bridge.event import (
    Expired,
    Finished,
    LinkUp,
    Outcome,
    Priority,
    Read,
    Reply,
    Silent,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Withdrawn,
    Write,
)
from firmware_bridge.machine import MS, Woken
from firmware_bridge.profile import Profile, load

LAG_US = 20 * MS
H = Table.HOLDING
PLAIN = '[points]\na = { at = "holding:0", poll_ms = 1000 }\nb = { at = "holding:1", poll_ms = 1000 }\n'
GAUGE = """[points]
decimals = { at = "holding:3", low = 0, high = 3 }
level = { at = "holding:10", type = "s16", decimals_from = "decimals", poll_ms = 1000, high = 50, invalid = [0x7FFF] }
"""
SILENT = Silent("no answer")

EffectT = TypeVar("EffectT")
Fault = Callable[[Transaction], Outcome | None]


def always(outcome: Outcome) -> Fault:
    return lambda _: outcome


@dataclass
class Pending:
    """A transaction that the bus serves at `start_us`; it is answered LAG_US later."""

    transaction: Transaction
    start_us: int


def profile_of(folder: Path, text: str) -> Profile:
    """A profile from `text`, checked as one in configs/profiles is."""
    path = folder / "made.toml"
    path.write_text('make = "m"\nmodel = "x"\nkind = "siren"\nsource = "test"\n' + text, encoding="utf-8")
    return load(path)


class Bench:
    """The two joined. Everything the device said is in `said`, everything it put on the wire in `wire`, by time."""

    def __init__(self, profile: Profile, unit: int = 1) -> None:
        self.device = Device("dev", "bus", unit, profile)
        self.now_us = 0
        self.memory: defaultdict[tuple[Table, int], int] = defaultdict(int)
        self.said: list[tuple[int, DeviceEffect]] = []
        self.wire: list[tuple[int, Transaction]] = []
        self.pending: list[Pending] = []
        self.fault: Fault = lambda _: None

    def link_up(self) -> "Bench":
        self.tell(LinkUp("bus"))
        return self

    def tell(self, event: DeviceEvent) -> None:
        """One event now."""
        for effect in self.device.handle(self.now_us, event):
            self.said.append((self.now_us, effect))
            match effect:
                case Submit(bus, transaction):
                    assert bus == "bus"
                    at_us = self.now_us if transaction.at_us is None else max(self.now_us, transaction.at_us)
                    self.pending.append(Pending(transaction, at_us))
                case Withdraw(_, _, id):
                    for one in [p for p in self.pending if p.transaction.id == id and p.start_us > self.now_us]:
                        self.pending.remove(one)
                        self.tell(Finished("bus", one.transaction, Withdrawn(), None))
        due = self.device.deadline
        assert due is None or due > self.now_us, "the caller would spin"

    def run(self, us: int) -> None:
        """Let time pass."""
        end_us = self.now_us + us
        while True:
            first = min(self.pending, key=lambda p: p.start_us, default=None)
            due = self.device.deadline
            answer_us = None if first is None else first.start_us + LAG_US
            if answer_us is not None and answer_us <= end_us and (due is None or answer_us <= due):
                assert first is not None
                self.now_us = max(self.now_us, answer_us)
                self.pending.remove(first)
                self._serve(first)
            elif due is not None and due <= end_us:
                self.now_us = max(self.now_us, due)
                self.tell(Woken())
            else:
                self.now_us = end_us
                return

    def _serve(self, one: Pending) -> None:
        transaction = one.transaction
        if transaction.expires_us is not None and one.start_us > transaction.expires_us:
            self.tell(Finished("bus", transaction, Expired(), None))
            return
        self.wire.append((one.start_us, transaction))
        outcome = self.fault(transaction)
        if outcome is None:
            match transaction.request:
                case Read(table, address, count):
                    outcome = Reply(tuple(self.memory[table, address + n] for n in range(count)))
                case Write(table, address, values):
                    for n, value in enumerate(values):
                        self.memory[table, address + n] = value
                    outcome = Reply(values)
        self.tell(Finished("bus", transaction, outcome, one.start_us))

    # What was said and sent.

    def all(self, kind: type[EffectT]) -> list[EffectT]:
        return [effect for _, effect in self.said if isinstance(effect, kind)]

    def writes(self) -> list[Transaction]:
        return [t for _, t in self.wire if isinstance(t.request, Write)]

    def polls(self) -> list[tuple[int, Transaction]]:
        return [(at_us, t) for at_us, t in self.wire if t.priority is Priority.POLL]

    def value(self, name: str) -> object:
        reading = self.device.readings[name]
        return reading.value if reading.value is not None else reading.why
