"""The fleet: every gateway, its sirens and devices, and a bounded list of what happened.

A machine that keeps one `Gateway` for each it hears of. What a lost, silent or unproved gateway last said of a
siren is shown as UNKNOWN, and so is everything while the hub itself has no broker.
It refuses to know of orders in flight (`dispatch.py`) and of the screen.
"""

from collections import deque
from dataclasses import dataclass

from controller import targets
from controller.wire import DeviceCard, Event, OrderBody, SirenCard
from firmware_bridge.machine import Woken, earliest
from hub.event import Broker, Note, Publish, Told
from hub.gateway import Gateway

MAX_GATEWAYS = 5_000
"""Ten times a large city. More means that somebody invents names."""
MAX_EVENTS = 1_000
"""Of the whole fleet; each gateway's journal has them all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A siren or device as it may be shown."""

    gateway: str
    card: SirenCard | DeviceCard
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the list, and whose it is."""

    gateway: str
    event: Event


class Fleet:
    """The machine. Its effects: lines for an operator, and requests for messages that did not come."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.gateways: dict[str, Gateway] = {}
        self.events: deque[Happened] = deque(maxlen=MAX_EVENTS)
        self.broker = False
        self.broker_why = ""
        """Why there is none."""
        self._wake_us: int | None = None
        """Not after the earliest deadline of any gateway; found anew when it comes, not at each message."""

    @property
    def deadline(self) -> int | None:
        return self._wake_us

    def handle(self, now_us: int, event: Told | Broker | Woken) -> list[Note | Publish]:
        out: list[Note | Publish] = []
        match event:
            case Told(message=None):
                # Of a status that means the gateway is taken out of service; of anything else nothing.
                if event.leaf == "status" and event.gateway in self.gateways:
                    del self.gateways[event.gateway]
                    out.append(Note("gateway-removed", event.gateway, detail="its retained status was cleared"))
            case Told():
                out += self._told(now_us, event)
            case Broker(up, why) if up != self.broker or (not up and why != self.broker_why):
                self.broker, self.broker_why = up, "" if up else why
                out.append(Note("broker-up" if up else "broker-down", detail=why, urgent=not up))
                for gateway in self.gateways.values():
                    out += gateway.handle(now_us, event)
                    self._wake_us = earliest(self._wake_us, gateway.deadline)
        if self._wake_us is not None and now_us >= self._wake_us:
            for gateway in self.gateways.values():
                if gateway.deadline is not None and gateway.deadline <= now_us:
                    out += gateway.handle(now_us, Woken())
            self._wake_us = earliest(*(g.deadline for g in self.gateways.values()))
        return out

    def _told(self, now_us: int, told: Told) -> list[Note | Publish]:
        gateway = self.gateways.get(told.gateway)
        if gateway is None:
            if len(self.gateways) >= MAX_GATEWAYS:
                return [Note("too-many-gateways", told.gateway, urgent=True)]
            gateway = self.gateways[told.gateway] = Gateway(told.gateway)
        before = gateway.birth
        out = gateway.handle(now_us, told)
        self._wake_us = earliest(self._wake_us, gateway.deadline)
        birth = gateway.birth
        if birth and birth.deployment != self.deployment and (before is None or before.session != birth.session):
            out.append(Note("other-deployment", gateway.id, urgent=True,
                            detail=f"{birth.deployment}, this hub is {self.deployment}'s"))
        event = told.message
        # Its number alone does not name it: a journal that was lost is followed by one that counts anew.
        if isinstance(event, Event) and (happened := Happened(gateway.id, event)) not in self.events:
            self.events.append(happened)
            out.append(Note(event.what, gateway.id, event.subject, event.detail, event.urgent))
        return out

    # What is asked of it.

    def missing(self, gateway: str) -> list[tuple[int, int]]:
        """First and last number of every range of receipts and events that has not come."""
        return list(self.gateways[gateway].sequence.holes)

    def sirens(self) -> list[Shown]:
        return [self._shown(g, card) for g in self._sorted() if g.birth for card in g.birth.sirens]

    def devices(self) -> list[Shown]:
        return [self._shown(g, card) for g in self._sorted() if g.birth for card in g.birth.devices]

    def meant(self, order: OrderBody) -> dict[str, tuple[SirenCard, ...]]:
        """The sirens an order is for, by gateway; those of lost gateways too, for they are ordered as well."""
        found = {
            g.id: tuple(c for c in g.birth.sirens if order.targets(c.id, c.area, c.layer))
            for g in self._sorted()
            if g.birth and g.birth.deployment == self.deployment
        }
        return {gateway: sirens for gateway, sirens in found.items() if sirens}

    def targets(self, order: OrderBody) -> dict[str, tuple[str, ...]]:
        """The same by their names alone."""
        return {gateway: tuple(c.id for c in sirens) for gateway, sirens in self.meant(order).items()}

    def differences(self, order: OrderBody) -> dict[str, str]:
        """Gateways that, by what is known here, are not as the order was prepared for, and how."""
        found = {g.id: targets.difference(order, g.id, g.birth.sirens) for g in self._sorted()
                 if g.birth and g.birth.deployment == self.deployment}
        unknown = {id: "in its list; not known here" for id in order.prepared or () if id not in found}
        return {id: how for id, how in sorted({**found, **unknown}.items()) if how}

    def as_json(self) -> dict[str, object]:
        def shown(one: Shown) -> dict[str, object]:
            return {"gateway": one.gateway, **one.card.model_dump(mode="json"), "state": one.state, "why": one.why}

        return {
            "broker": self.broker,
            "gateways": [
                {"id": g.id, "presence": g.presence.value, "area": g.birth.area if g.birth else None,
                 "version": g.birth.version if g.birth else None, "modes": list(g.modes),
                 "nonce": g.status.nonce if g.status else None,
                 "outbox": g.health.outbox if g.health else None, "missing": self.missing(g.id),
                 "clone": list(g.identity.pair or ()),
                 "journal": g.head.model_dump() if g.head else None}
                for g in self._sorted()
            ],
            "sirens": [shown(s) for s in self.sirens()],
            "devices": [shown(d) for d in self.devices()],
            "events": [{"gateway": h.gateway, **h.event.model_dump(mode="json")} for h in self.events],
        }

    def _sorted(self) -> list[Gateway]:
        return [self.gateways[id] for id in sorted(self.gateways)]

    def _shown(self, gateway: Gateway, card: SirenCard | DeviceCard) -> Shown:
        state, why = gateway.shown(card)
        return Shown(gateway.id, card, state, why) if self.broker else Shown(gateway.id, card, "UNKNOWN", "no broker")
