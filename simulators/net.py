"""The way between gateways and their centre: connections to a broker, everything that can be wrong there, and hubs.

A connection breaks, comes back after the pauses of `mqtt.py`, or dies without anybody noticing for a while; the broker
goes, loses what it kept, is slow, says things twice, or lets one topic overtake another. Hubs are the very `Centre`
that `siren-hub run` carries. Chance is handed in. It refuses to know lines, sirens and what an order says.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

from controller import wire
from controller.admission import SignedList
from controller.event import Arrived, BrokerDown, BrokerUp, Confirmed, Publish
from controller.signal import Signals
from controller.wire import Event
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import MS, S, Woken
from hub import event as words
from hub.centre import Centre
from hub.event import Broker as HubBroker
from hub.event import Clock, Handed, Listed
from hub.event import Publish as Sent
from hub.fleet import MAX_EVENTS
from hub.gateway import Presence
from hub.roster import Roster
from simulators.broker import Broker, Packet, Sending
from simulators.world import Station, World

HOP_US = 2 * MS
"""From a client to its broker, on a quiet day."""
SLOW_US = (200 * MS, 3 * S)
"""... and on a bad one."""
AGAIN_US = (1 * MS, 2 * S)
"""So long after the first a doubled message comes a second time."""
BACK_US = (300 * MS, 6 * S)
"""Pauses between attempts to connect (`mqtt.py`: half a second to ten, shortened by up to half)."""
DEAF_US = 24 * S
"""A connection that brings nothing is noticed by then (`mqtt.py`: DEAF_S)."""
HAND_US = 2 * S
"""How often an operator's client hands an order in again until the hub has it."""
HANDED_LIMIT = 120
EVERY = ""
"""In place of a topic: all of them."""
ATTACKER = "somebody"
COPY = "0123456789abcdef"
"""The session of a copied card's process."""


@dataclass
class _End:
    """One client's end. `turn` counts connections: what was on the way on an older one is lost."""

    turn: int = 0
    up: bool = False
    deaf: bool = False
    """The connection looks alive and carries nothing."""
    last_us: dict[str, int] = field(default_factory=dict)
    """When the newest message of a topic arrives, or of EVERY topic: one topic always keeps its order."""
    newest: dict[str, Packet] = field(default_factory=dict)
    """What came last on each topic."""
    sent_us: int = 0
    """When what the client said last reaches the broker."""


class Hub:
    """A centre and its connection."""

    def __init__(self, name: str, centre: Centre) -> None:
        self.name = name
        self.centre = centre
        self.silent = False
        self.woken_us: int | None = None
        self.events: set[tuple[str, bytes]] = set()
        """What reached it: which gateway, and what it said."""


class Net:
    """A `Post` for a `World`. The words of `trouble` and `heal` are those of a scenario."""

    def __init__(self, world: World, chance: Random, listed: SignedList, deployment: str, area: str,
                 signals: Signals) -> None:
        self._world = world
        self._chance = chance
        self._made_from = listed, deployment, area, signals
        self._ends: dict[str, _End] = {}
        self._stations: dict[str, Station] = {}
        self._topic = wire.trust_topic(area)
        self.broker = Broker()
        self.gone = self.slow = self.repeating = self.reordering = False
        self.hubs: list[Hub] = []
        self.told: list[tuple[int, str, bytes]] = []
        """Every receipt and event that reached a hub: when, which gateway, and what."""
        self.delivered = 0
        self.hits = 0
        """Messages that were lost, slow, said twice or overtaken."""

    # Hubs and the office.

    def add_hub(self) -> Hub:
        listed, deployment, area, signals = self._made_from
        name = f"hub-{len(self.hubs) + 1}"
        hub = Hub(name, Centre("office", deployment, signals, Roster(listed, deployment, area)))
        self.hubs.append(hub)
        self._ends[name] = _End()
        self._feed(hub, Clock(self._world.wall_us))
        self._tick(hub)
        self._connect(name, 0)
        return hub

    def hand(self, raw: bytes, order: str, attempt: int = 0) -> None:
        """An operator's client hands an order to every hub, again and again until each has it."""
        missing = [h for h in self.hubs if order not in h.centre.orders]
        for hub in missing:
            if not hub.silent:
                self._feed(hub, Handed(raw))
        if missing and attempt < HANDED_LIMIT:
            self._world.at(self._world.now_us + HAND_US, partial(self.hand, raw, order, attempt + 1))

    def say(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Somebody who may publish does so, past every hub."""
        if not self.gone:
            self._send(self.broker.publish(topic, payload, retain))

    def _tick(self, hub: Hub) -> None:
        if not hub.silent:
            self._feed(hub, Clock(self._world.wall_us))
        self._world.at(self._world.now_us + S, partial(self._tick, hub))

    def _feed(self, hub: Hub, event: object) -> None:
        for effect in hub.centre.handle(self._world.now_us, event):  # type: ignore[arg-type]
            if isinstance(effect, Sent) and self._ends[hub.name].up:
                self._put(hub.name, effect)
        due_us = hub.centre.deadline
        if due_us is not None and due_us != hub.woken_us:
            hub.woken_us = due_us
            self._world.at(max(due_us, self._world.now_us + 1), partial(self._wake, hub, due_us))

    def _wake(self, hub: Hub, due_us: int) -> None:
        if hub.woken_us == due_us and not hub.silent:
            hub.woken_us = None
            self._feed(hub, Woken())

    def _hub_hears(self, hub: Hub, packet: Packet) -> None:
        if packet.topic == self._topic:
            self._feed(hub, Listed(packet.payload))
            return
        if packet.topic.endswith(("/receipt", "/event")):
            self.told.append((self._world.now_us, packet.topic, packet.payload))
        try:
            told = words.told(packet.topic, packet.payload, packet.retained, self._world.wall_us)
        except Malformed:
            return
        if isinstance(told.message, Event):
            hub.events.add((told.gateway, told.message.encode()))
        self._feed(hub, told)

    def misled(self) -> Iterator[str]:
        """What the first hub does not know of gateways, or has otherwise than it is; and events that reached it and
        are not shown."""
        hub = self.hubs[0]
        fleet = hub.centre.fleet
        for name, station in self._stations.items():
            seen = fleet.gateways.get(name)
            if seen is None or seen.presence is not Presence.ONLINE:
                yield f"the hub does not see {name}"
                continue
            gateway = station.gateway
            if missing := fleet.missing(name):
                yield f"the hub misses {missing} of {name}"
            if (seen.sequence.last or 0) < (last := gateway.session._outbox.last_seq):
                yield f"the hub does not know that {name} is at {last}"
            yield from (f"the hub shows {mode} of {name}, which is over"
                        for mode in seen.modes if mode not in gateway.session.modes)
            states = {id: siren.state.value for id, siren in gateway.sirens.items()}
            states |= {id: device.state.value for id, device in gateway.devices.items()}
            states |= {id: rule.shown.state for id, rule in gateway.floods.rules.items() if rule.shown is not None}
            yield from (f"{id} is {state}, and the hub was not told" for id, state in states.items()
                        if id not in seen.states or seen.states[id].state != state)
        hidden = hub.events - {(h.gateway, h.event.encode()) for h in fleet.events}
        # It shows the newest so many.
        if hidden and len(fleet.events) < MAX_EVENTS:
            yield f"the hub hides {len(hidden)} events: {min(hidden)}"

    # A Post.

    def began(self, station: Station) -> None:
        name = station.config.id
        self._stations[name] = station
        self._ends.setdefault(name, _End())
        self._connect(name, 0)

    def ended(self, station: Station) -> None:
        name = station.config.id
        self._stations.pop(name, None)
        end = self._ends[name]
        if end.up:
            end.up, end.deaf = False, False
            self._send(self.broker.lose(name))
        end.turn += 1

    def leave(self, name: str) -> None:
        """A gateway ends in order: it says so, and its will is not spoken."""
        end, station = self._ends[name], self._stations.get(name)
        if station is not None and end.up and not end.deaf and not self.gone:
            farewell = station.gateway.session.farewell()
            self._send(self.broker.publish(farewell.topic, farewell.payload, retain=True))
            self.broker.part(name)

    def publish(self, station: Station, message: Publish) -> None:
        end = self._ends[station.config.id]
        if end.up and not end.deaf:
            self._put(station.config.id, message)

    # Connections.

    def _connect(self, name: str, failures: int) -> None:
        end = self._ends[name]
        end.turn += 1
        after_us = HOP_US if failures == 0 else self._chance.randint(*BACK_US)
        self._world.at(self._world.now_us + after_us, partial(self._try, name, end.turn, failures))

    def _try(self, name: str, turn: int, failures: int) -> None:
        end, station = self._ends[name], self._stations.get(name)
        hub = next((h for h in self.hubs if h.name == name), None)
        if end.turn != turn or end.up:
            return
        if self.gone or (hub is not None and hub.silent):
            self._connect(name, failures + 1)
            return
        end.up, end.deaf = True, False
        end.last_us.clear()
        end.newest.clear()
        end.sent_us = 0
        if hub is not None:
            self._feed(hub, HubBroker(True))
            self._send(self.broker.connect(name, (self._topic, *(one for one, _ in words.filters())), None))
        elif station is not None:
            filters = wire.subscriptions(station.config.area, name)
            sendings = self.broker.connect(name, filters, station.gateway.will())
            self._world.tell(station, BrokerUp())
            self._send(sendings)

    def drop(self, name: str, why: str, speak: bool = True) -> None:
        """The connection of a client breaks, and it sees that."""
        end, station = self._ends[name], self._stations.get(name)
        if not end.up:
            return
        end.up, end.deaf = False, False
        if speak:
            self._send(self.broker.lose(name))
        for hub in self.hubs:
            if hub.name == name:
                self._feed(hub, HubBroker(False, why))
        if station is not None:
            self._world.tell(station, BrokerDown(why))
        self._connect(name, 1)

    def copied(self, name: str, wall_us: int) -> bool:
        """Somebody with a copy of a gateway's card connects in its place and is born; whether that reached a broker."""
        station = self._stations.get(name)
        births = [p for _, p in station.published if p.topic.endswith("/birth")] if station is not None else []
        if self.gone or not births:
            return False
        self.drop(name, "taken over", speak=False)
        born = wire.decode(wire.Birth, births[-1].payload)
        twin = born.model_copy(update={"session": COPY, "at": wire.to_text(wall_us)})
        self._send(self.broker.publish(births[-1].topic, twin.encode(), retain=True))
        return True

    def _delay_us(self) -> int:
        return self._chance.randint(*SLOW_US) if self.slow else HOP_US

    def _put(self, name: str, message: Publish | Sent) -> None:
        """Into a client's connection, which keeps the order of what it carries."""
        end = self._ends[name]
        end.sent_us = max(end.sent_us, self._world.now_us + self._delay_us())
        self._world.at(end.sent_us, partial(self._reach, name, end.turn, message))

    def _reach(self, name: str, turn: int, message: Publish | Sent) -> None:
        """A message reaches the broker, if its connection still stands."""
        end = self._ends[name]
        if end.turn != turn or not end.up or end.deaf:
            self.hits += 1
            return
        once = isinstance(message, Publish) and message.qos == 0
        self._send(self.broker.publish(message.topic, message.payload, message.retain, once))
        station = self._stations.get(name)
        if isinstance(message, Publish) and message.token is not None and station is not None:
            self._world.at(self._world.now_us + self._delay_us(), partial(self._confirm, name, turn, message.token))

    def _confirm(self, name: str, turn: int, token: int) -> None:
        end, station = self._ends[name], self._stations.get(name)
        if end.turn == turn and end.up and not end.deaf and station is not None:
            self._world.tell(station, Confirmed(token))

    def _send(self, sendings: list[Sending]) -> None:
        for name, packet in sendings:
            end = self._ends[name]
            if not end.up:
                # Who took its session over has it.
                self.hits += 1
                continue
            at_us = self._world.now_us + self._delay_us()
            self.hits += self.slow or self.reordering
            if self.reordering:
                at_us += self._chance.randint(0, SLOW_US[1])
                at_us = end.last_us[packet.topic] = max(
                    at_us, end.last_us.get(packet.topic, 0), end.last_us.get(EVERY, 0))
            else:
                at_us = max([at_us, *end.last_us.values()])
                end.last_us.clear()
                end.last_us[EVERY] = at_us
            self._world.at(at_us, partial(self._arrive, name, end.turn, packet))
            if self.repeating and not packet.once and self._chance.random() < 0.5:
                self.hits += 1
                again_us = at_us + self._chance.randint(*AGAIN_US)
                self._world.at(again_us, partial(self._arrive_again, name, end.turn, packet))

    def _arrive(self, name: str, turn: int, packet: Packet, again: bool = False) -> None:
        end, station = self._ends[name], self._stations.get(name)
        if end.turn != turn or not end.up or end.deaf:
            # Nobody acknowledged it: the session keeps it, if there is one.
            self.hits += 1
            self.broker.keep(name, packet)
            return
        self.delivered += 1
        newest = end.newest.get(packet.topic, packet)
        assert again or packet.retained or packet.n >= newest.n, (packet, newest)
        end.newest[packet.topic] = packet
        hub = next((h for h in self.hubs if h.name == name), None)
        if hub is not None:
            self._hub_hears(hub, packet)
        elif station is not None:
            self._world.tell(station, Arrived(packet.topic, packet.payload, packet.retained))

    def _arrive_again(self, name: str, turn: int, packet: Packet) -> None:
        """A second time, and with it what has come on its topic since: a broker repeats in the order of the first time
        (MQTT 5.0, 4.6)."""
        newest = self._ends[name].newest.get(packet.topic, packet)
        for one in (packet, newest) if newest is not packet else (packet,):
            self._arrive(name, turn, one, again=True)

    # What goes wrong.

    def trouble(self, what: str, on: str) -> None:
        match what:
            case "gone":
                self.gone = True
                for name in self._ends:
                    self.drop(name, "the broker is gone", speak=False)
                    self.broker.lose(name)
            case "lose":
                for name in self._ends:
                    self.drop(name, "the broker began anew", speak=False)
                self.broker.forget()
            case "slow" | "repeating" | "reordering":
                setattr(self, what, True)
            case "cut":
                self.drop(on, "the line broke")
            case "half-open":
                self._deafen(on)
            case "hub-silent":
                for hub in self.hubs:
                    hub.silent = True
                    self.drop(hub.name, "no network")
            case "hub-doubled" if len(self.hubs) < 2:
                self.add_hub()

    def heal(self, what: str, on: str) -> None:
        match what:
            case "gone" | "slow" | "repeating" | "reordering":
                setattr(self, what, False)
            case "half-open" if self._ends[on].deaf:
                self.drop(on, "the line broke")
            case "hub-silent":
                for hub in self.hubs:
                    hub.silent = False
                    self._feed(hub, Clock(self._world.wall_us))

    def _deafen(self, name: str) -> None:
        end = self._ends[name]
        if end.up:
            end.deaf = True
            self._world.at(self._world.now_us + DEAF_US, partial(self._notice, name, end.turn))

    def _notice(self, name: str, turn: int) -> None:
        if self._ends[name].turn == turn and self._ends[name].deaf:
            self.drop(name, "no echo")
