"""The centre: where signed orders are handed in, and from where each is sent and followed.

A machine that holds the fleet and one dispatch an order. The resident hub is this machine and a connection; an
operator's client is the same machine, following what the hub sends. It has public keys only, and is no authority:
it refuses what gateways would refuse, so that the operator hears it at once, but a stop that it cannot verify, or that
is out of date by its clock, goes out all the same, for the gateways to judge.
It refuses to know private keys, MQTT and the screen.
"""

from collections.abc import Mapping

from controller import admission, targets, trust, wire
from controller.signal import PROGRAMME_LIMIT_S, Signals
from controller.trust import Reason, Rejected
from controller.wire import Action, Birth, OrderBody, Receipt, Status
from firmware_bridge.machine import S, Woken, earliest
from hub.dispatch import Dispatch
from hub.event import Broker, Clock, Handed, Listed, Note, Publish, Taken, Told
from hub.fleet import Fleet
from hub.roster import Roster
from hub.spots import Spots

MAX_ORDERS = 256
"""In flight or remembered, so that one handed in twice is sent once. A year's order calendar is a dozen."""
STOP_ROOM = 64
"""More of them, for stops alone: a stop finds room when everything else is full."""

SETTLE_US = 300_000
"""A fleet is taken as known when the broker came so long ago, and so did the last message that it retained ..."""
SETTLE_LIMIT_US = 2 * S
"""... or when the broker came so long ago: who hands an order in is still there."""
QUIET_TEST_US = 60 * S
"""A head tests its drivers one after the other; the slowest profile waits so long."""
STOP_US = 40 * S
"""With what is allowed after it, longer than a gateway waits until a stopped motor has run down (90 s)."""


class Centre:
    """The machine. `orders` are its dispatches, by id."""

    def __init__(self, hub: str, deployment: str, signals: Signals, roster: Roster) -> None:
        self.hub = hub
        self.fleet = Fleet(deployment)
        self._orders: dict[str, Dispatch] = {}
        self._signals = signals
        self.roster = roster
        self._spots = Spots(hub)
        self._offset_us: int | None = None
        """Wall minus monotonic time; None: no Clock yet."""
        self._known_us = self._known_by_us = 0
        """When the fleet will be known, as it looks now, and at the latest."""

    @property
    def orders(self) -> Mapping[str, Dispatch]:
        return self._orders

    @property
    def deadline(self) -> int | None:
        return earliest(self.fleet.deadline, *(d.deadline for d in self._orders.values()))

    def handle(self, now_us: int, event: Told | Broker | Clock | Handed | Listed | Woken) -> list[Publish | Note]:
        out: list[Publish | Note] = []
        match event:
            case Told():
                if event.retained:
                    self._known_us = now_us + SETTLE_US
                out += self.fleet.handle(now_us, event)
                out += self._spots.told(now_us, event, self.fleet)
                if isinstance(event.message, Birth):
                    out += self.roster.birth(now_us, event.message, event.retained)
                if isinstance(event.message, Receipt):
                    concerned = [d for d in (self._orders.get(event.message.order),) if d]
                else:
                    concerned = list(self._orders.values()) if isinstance(event.message, Status) else []
                for dispatch in concerned:
                    out += dispatch.handle(now_us, event)
            case Broker(up):
                if up:
                    self._known_us, self._known_by_us = now_us + SETTLE_US, now_us + SETTLE_LIMIT_US
                out += self.fleet.handle(now_us, event)
            case Clock(wall_us):
                self._offset_us = wall_us - now_us
                out += self._spots.look(now_us, wall_us, self.fleet)
                for dispatch in self._orders.values():
                    out += dispatch.handle(now_us, event)
            case Listed(raw):
                out += self.roster.heard(raw)
            case Handed(raw) if not self._settled(now_us) and not _is_stop(raw):
                # Nobody knows yet whom it is for, and it may be one that the broker kept: whoever handed that in was
                # told that nobody took it. Who is still there hands it in again within a second.
                out.append(Note("handed-in-early", detail="the fleet is not known yet; to be handed in again"))
            case Handed(raw) if admission.digest(raw):
                taken, told = self.roster.handed(raw)
                out += [*told, Publish(wire.hub_topic(self.hub, "taken"), taken.encode())]
            case Handed(raw):
                taken, first = self.take(now_us, raw)
                if not taken.taken:
                    out.append(Note("order-refused", subject=taken.order, detail=taken.why, urgent=True))
                elif first:
                    detail = f"{taken.sirens} sirens of {taken.gateways} gateways"
                    out.append(Note("order-taken", subject=taken.order, detail=detail))
                out.append(Publish(wire.hub_topic(self.hub, "taken"), taken.encode()))
                out += first
        if self._settled(now_us):
            out += self.roster.look(now_us)
        if (deadline := self.deadline) is not None and deadline <= now_us:
            out += self.fleet.handle(now_us, Woken())
            for dispatch in self._orders.values():
                if dispatch.deadline is not None and dispatch.deadline <= now_us:
                    out += dispatch.handle(now_us, Woken())
        return out

    def take(self, now_us: int, raw: bytes) -> tuple[Taken, list[Publish]]:
        """Judge an order handed in; make its dispatch, and give what it sends first."""
        if self._offset_us is None:
            return Taken(order="", taken=False, why="the hub does not know the time yet; hand it in again"), []
        wall_us = now_us + self._offset_us
        try:
            unverified = trust.peek(raw)
            body = unverified.body
            known = self._orders.get(body.id)
            if known is not None:
                if known.raw != raw:
                    raise Rejected(Reason.DUPLICATE, body.id)
                return _taken(known), []
            if body.action is not Action.STOP:
                if unverified.expires_us <= wall_us:
                    raise Rejected(Reason.EXPIRED, body.id, f"at {body.expires_at}")
                trust.check(unverified, self.roster.listed.list, wall_us)
            if targets.unprepared(body):
                raise Rejected(Reason.NOT_PREPARED, body.id, "draft it by `siren-hub order`")
            if not self._room(body):
                raise Rejected(Reason.BUSY, body.id, f"{len(self._orders)} orders in flight")
        except Rejected as rejected:
            return Taken(order=rejected.order or "", taken=False, why=str(rejected)), []
        dispatch = self._orders[body.id] = Dispatch(body, raw, self.fleet.targets(body), self._length_us(body))
        return _taken(dispatch), dispatch.handle(now_us, Clock(wall_us))

    def _settled(self, now_us: int) -> bool:
        """Whether what the broker retains has come, as far as anybody can tell."""
        return now_us >= min(self._known_us, self._known_by_us)

    def forget(self, gateway: str) -> None:
        """What it said could not be handled: nothing of it is known until it says more."""
        self.fleet.gateways.pop(gateway, None)

    def _room(self, body: OrderBody) -> bool:
        stop = body.action is Action.STOP
        limit = MAX_ORDERS + (STOP_ROOM if stop else 0)
        while len(self._orders) >= limit:
            over = next((id for id, d in self._orders.items() if d.over), None)
            if over is None and stop:
                # A stop is never refused for want of room: the oldest of them, which has gone out, makes it.
                over = next((id for id, d in self._orders.items() if d.order.action is Action.STOP), None)
            if over is None:
                return False
            del self._orders[over]
        return True

    def _length_us(self, body: OrderBody) -> int:
        """How long the sounding lasts; the longest there can be where its signal is not known here."""
        if body.sound is None:
            return STOP_US if body.action is Action.STOP else QUIET_TEST_US
        if body.sound.name in self._signals:
            length_us = self._signals.timeline(body.sound.name).end_us
        else:
            length_us = PROGRAMME_LIMIT_S * S
        return length_us if body.max_duration_s is None else min(length_us, body.max_duration_s * S)


def _is_stop(raw: bytes) -> bool:
    try:
        return trust.peek(raw).body.action is Action.STOP
    except Rejected:
        return False


def _taken(dispatch: Dispatch) -> Taken:
    sirens = sum(len(s) for s in dispatch.expected.values())
    return Taken(order=dispatch.order.id, taken=True, gateways=len(dispatch.expected), sirens=sirens)
