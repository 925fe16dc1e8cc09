"""A request that is out on a bus, and what a bus has counted of all that were."""

from collections.abc import Collection
from dataclasses import dataclass

from firmware_bridge.event import Transaction
from firmware_bridge.framing import Span
from firmware_bridge.unit import Unit

WIRE_TOLERANCE = 0.9
"""Octets cannot come faster than the line carries them; a baud generator may be a few percent off."""


@dataclass(slots=True)
class Counters:
    """What a bus has seen since start; for health reports and benches."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    silent: int = 0
    garbled: int = 0
    foreign: int = 0
    early: int = 0
    late: int = 0
    preempted: int = 0
    probes: int = 0
    sentinels: int = 0
    busy_us: int = 0

    def answer(self, refused: bool) -> None:
        self.answered += 1
        self.refused += refused


@dataclass(slots=True)
class Flight:
    """A request that is out, or prepared."""

    transaction: Transaction
    unit: Unit
    span: Span
    sent_us: int
    give_up_us: int
    behind: Transaction | None = None
    """What this read goes before, as its sentinel: it is not asked until the sentinel is answered."""
    preempted: bool = False

    @property
    def asked_us(self) -> int:
        """When the unit had the whole request."""
        return self.sent_us + self.span.request_us

    def too_early(self, now_us: int, wire_us: int) -> bool:
        """Whether the unit cannot have had the request yet: then it is the second copy of an earlier answer."""
        return now_us - self.sent_us < WIRE_TOLERANCE * (self.span.request_us + wire_us)


def written_late(flights: Collection[Flight], at_us: int) -> None:
    """The frame that was prepared last left at `at_us`, and not at its instant; its answer may have come already."""
    newest = max(flights, key=lambda flight: flight.sent_us, default=None)
    if newest is not None and newest.sent_us < at_us:
        newest.give_up_us += at_us - newest.sent_us
        newest.sent_us = at_us
