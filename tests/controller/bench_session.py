"""A session on a bench: with a disk and a broker that answer at once, unless they are told to be down."""

from collections import deque

from controller import wire
from controller.event import (
    Append,
    AppendFailed,
    BrokerDown,
    BrokerUp,
    Clock,
    Confirmed,
    Durable,
    Publish,
    Record,
    Say,
    Trust,
)
from controller.session import Session, SessionEffect, SessionEvent
from controller.wire import Birth, Event, Mode, Receipt, Stage
from firmware_bridge.machine import S, Woken

ROOT = "siren/1/s/32/5/8/1/2/gw-7"
WALL = wire.to_wall_us("2026-09-18T02:00:00.000Z")
ORDER = "a" * 32


def birth(session: str = "boot-1") -> Birth:
    return Birth(gateway="gw-7", session=session, at=wire.BLANK_INSTANT, version="0.1", area="32/5/8/1/2",
                 deployment="test", sirens=(), devices=(), signals={}, trust_version=1)


def receipt(stage: Stage = Stage.RECEIVED, order: str = ORDER, siren: str = "s-1") -> Say:
    return Say(Receipt(seq=0, gateway="gw-7", order=order, siren=siren, stage=stage, mode=Mode.DRILL,
                       at=wire.BLANK_INSTANT))


class Gateway:
    """A session with its disk and its broker: both answer at once, unless told to be down."""

    def __init__(self, records: list[Record] | None = None, session: str = "boot-1") -> None:
        self.session = Session(birth(session))
        self.session.restore(records or [])
        self.now_us = 5 * S
        self.journal: list[Record] = list(records or [])
        self.disk = True
        self.answering = True
        self.broker = False
        self.confirming = True
        self.published: list[Publish] = []
        self.do(Clock(WALL, 0, Trust.TRUSTED))

    def do(self, event: SessionEvent) -> list[SessionEffect]:
        """Hand it over, and let disk and broker answer; the effects of the event itself are returned."""
        first: list[SessionEffect] | None = None
        waiting: deque[SessionEvent] = deque([event])
        while waiting:
            event = waiting.popleft()
            if isinstance(event, BrokerUp | BrokerDown):
                self.broker = isinstance(event, BrokerUp)
            effects = self.session.handle(self.now_us, event)
            first = effects if first is None else first
            for effect in effects:
                match effect:
                    case Append(token, record) if self.answering:
                        if self.disk:
                            self.journal.append(record)
                        waiting.append(Durable(token) if self.disk else AppendFailed(token, "disk full"))
                    case Publish(token=token):
                        assert self.broker, effect
                        self.published.append(effect)
                        if token is not None and self.confirming:
                            waiting.append(Confirmed(token))
        assert first is not None
        return first

    def run(self, us: int) -> None:
        """Let time pass, waking the machine exactly when it asks."""
        end_us = self.now_us + us
        while (deadline := self.session.deadline) is not None and deadline <= end_us:
            self.now_us = deadline
            self.do(Woken())
        self.now_us = end_us

    def take(self, tail: str) -> list[bytes]:
        """What was published to topics that end so, since last asked."""
        found = [p.payload for p in self.published if p.topic.endswith(tail)]
        self.published = [p for p in self.published if not p.topic.endswith(tail)]
        return found

    def lines(self) -> list[Receipt | Event]:
        """Receipts and events published, in their order."""
        out: list[Receipt | Event] = []
        for p in self.published:
            if p.topic == f"{ROOT}/receipt":
                out.append(wire.decode(Receipt, p.payload))
            elif p.topic == f"{ROOT}/event":
                out.append(wire.decode(Event, p.payload))
        self.published = [p for p in self.published if not p.topic.endswith(("/receipt", "/event"))]
        return out
