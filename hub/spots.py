"""The flooding roads of a fleet: how each stands, as far as it may be believed, and what of it is passed on to others.

A machine beside the fleet. Traffic police and the drains' office need no part in orders: they read what it publishes,
one retained message a spot and each event with its evidence. A spot whose gateway is not there is UNKNOWN, and so it
is told. Levels are passed on when they moved, not with each reading.
It refuses to know who reads it, and orders.
"""

from dataclasses import dataclass
from typing import Literal

from controller import wire
from controller.strictjson import is_number
from controller.wire import Area, Birth, Code, Event, Instant, Message, SpotCard
from firmware_bridge.machine import S
from hub.event import Publish, Told
from hub.fleet import Fleet, Happened
from hub.gateway import Gateway

MOVED_CM = 2.0
"""A level is told again when it moved by so much ..."""
AGAIN_US = 60 * S
"""... and at the latest after this, while the road is not dry."""
FIGURE_LIMIT = 1e9
"""No figure of water is larger: centimetres, seconds, or cm/min."""
COLOURS = ("DRY", "BLUE", "YELLOW", "ORANGE", "RED")
UNKNOWN = "UNKNOWN"


class SpotNews(Message):
    """How a spot stands, for whoever wants to know. Retained."""

    v: Literal[1] = 1
    gateway: Code
    spot: Code
    name: str
    area: Area
    position: tuple[float, float] | None = None
    at: Instant
    """When the hub knew it."""
    colour: str
    """DRY, BLUE, YELLOW, ORANGE, RED, or UNKNOWN: nobody may be told that the road is free."""
    why: str = ""
    level_cm: float | None = None
    to_red_s: float | None = None
    """Seconds to the deepest colour, if the water goes on rising as it does."""
    depths: dict[str, float]


@dataclass(frozen=True, slots=True)
class Spot:
    """A spot as it may be shown."""

    gateway: str
    area: str
    card: SpotCard
    colour: str
    why: str
    points: dict[str, float | int | bool | str | None]
    bad: dict[str, str]


def spots(fleet: Fleet) -> list[Spot]:
    """Every spot of the fleet, by gateway; UNKNOWN where the gateway, or the hub's own broker, is not there."""
    known = [fleet.gateways[id] for id in sorted(fleet.gateways)]
    return [_spot(fleet, gateway, card) for gateway in known for card in _cards(gateway)]


def _cards(gateway: Gateway) -> tuple[SpotCard, ...]:
    return gateway.birth.spots if gateway.birth else ()


def _spot(fleet: Fleet, gateway: Gateway, card: SpotCard) -> Spot:
    assert gateway.birth is not None
    state = gateway.states.get(card.id)
    colour, why = gateway.shown(card)
    if not fleet.broker:
        colour, why = UNKNOWN, "no broker"
    return Spot(gateway.id, gateway.birth.area, card, colour if colour in COLOURS else UNKNOWN, why,
                state.points if state else {}, state.bad if state else {})


def of_spot(fleet: Fleet, gateway: str, event: Event) -> bool:
    """Whether an event speaks of a spot, or of one of its gauges."""
    known = fleet.gateways.get(gateway)
    return known is not None and event.subject.partition(".")[0] in {card.id for card in _cards(known)}


def news_topic(hub: str, gateway: str, spot: str) -> str:
    return f"{wire.ROOT}/h/{hub}/spot/{gateway}/{spot}"


def event_topic(hub: str, gateway: str, spot: str) -> str:
    return f"{wire.ROOT}/h/{hub}/flood/{gateway}/{spot}"


class Spots:
    """The machine: `told` what a gateway told, after the fleet has it; `look` at all of them now and then."""

    def __init__(self, hub: str) -> None:
        self._hub = hub
        self._last: dict[tuple[str, str], tuple[int, SpotNews]] = {}
        self._passed: Happened | None = None
        self._born: set[str] = set()
        """Gateways that have told which spots they have."""

    def told(self, now_us: int, told: Told, fleet: Fleet) -> list[Publish]:
        out = self._news(now_us, told.wall_us, fleet, told.gateway)
        newest = fleet.events[-1] if fleet.events else None
        event = told.message
        if isinstance(event, Event) and newest is not None and newest is not self._passed and newest.event is event:
            self._passed = newest
            out += self._pass(fleet, newest)
        elif isinstance(event, Birth) and told.gateway in fleet.gateways and told.gateway not in self._born:
            # Of what it told before nobody knew that it was of a spot.
            self._born.add(told.gateway)
            out += [one for h in fleet.events if h.gateway == told.gateway for one in self._pass(fleet, h)]
        return out

    def _pass(self, fleet: Fleet, one: Happened) -> list[Publish]:
        if not of_spot(fleet, one.gateway, one.event):
            return []
        return [Publish(event_topic(self._hub, one.gateway, one.event.subject.partition(".")[0]), one.event.encode())]

    def look(self, now_us: int, wall_us: int, fleet: Fleet) -> list[Publish]:
        """Of all: a gateway may have fallen silent."""
        return [one for id in sorted(fleet.gateways) for one in self._news(now_us, wall_us, fleet, id)]

    def _news(self, now_us: int, wall_us: int, fleet: Fleet, gateway: str) -> list[Publish]:
        known = fleet.gateways.get(gateway)
        out = []
        for card in _cards(known) if known else ():
            assert known is not None
            spot = _spot(fleet, known, card)
            news = SpotNews(gateway=gateway, spot=card.id, name=card.name, area=spot.area, position=card.position,
                            at=wire.to_text(wall_us), colour=spot.colour, why=spot.why, depths=card.depths,
                            level_cm=figure(spot, "level_cm"), to_red_s=figure(spot, "to_red_s"))
            if self._is_news(now_us, news):
                self._last[gateway, card.id] = now_us, news
                out.append(Publish(news_topic(self._hub, gateway, card.id), news.encode(), retain=True))
        return out

    def _is_news(self, now_us: int, news: SpotNews) -> bool:
        said_us, said = self._last.get((news.gateway, news.spot), (0, None))
        if said is None or (said.colour, said.why, said.depths) != (news.colour, news.why, news.depths):
            return True
        if (said.level_cm is None) != (news.level_cm is None):
            return True
        before, now = said.level_cm, news.level_cm
        moved = before is not None and now is not None and abs(before - now) >= MOVED_CM
        return moved or (now_us - said_us >= AGAIN_US and news.colour != "DRY")


def figure(spot: Spot, name: str) -> float | None:
    """A figure of a spot that may be believed; none of one that is UNKNOWN, and none that no water can have."""
    value = spot.points.get(name) if spot.colour != UNKNOWN else None
    return float(value) if is_number(value) and -FIGURE_LIMIT <= value <= FIGURE_LIMIT else None
