"""For the fuzzer: what parses messages. Orders, trust lists, a gateway's two doors, and what a hub hears and is handed.

Valid examples are an office's signed orders and lists (`office.py`), what a gateway of the demo really published in its
first minutes, and every question that `sirenctl` asks. Machines are fed as their shells feed them, and what they want
written or sent is put into the form in which it would be.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, cast

from bench import office
from bench.forge import Forger
from bench.mutate import Mutator
from bench.office import DEMO, DEPLOYMENT, Desk, Order, b64, dump, unb64
from bench.parsers_line import Feed, Parser
from controller import admission, config, local, trust, wire
from controller.admission import MAX_LIST_BYTES
from controller.event import Append, Arrived, Ask, Clock, Publish, Record, Trust
from controller.gateway import Gateway
from controller.intake import Intake
from controller.local import Local
from controller.trust import Rejected, Unverified
from controller.wire import MAX_ORDER_BYTES, Again
from firmware_bridge.errors import BadDocument, Malformed
from firmware_bridge.event import LinkUp
from firmware_bridge.machine import MS, S
from hub import event as words
from hub.centre import Centre
from hub.event import Broker, Handed, Listed
from hub.event import Clock as HubClock
from hub.roster import Roster
from simulators import site
from simulators.world import WALL_US, Station, World

MESSAGE_BYTES = 256 * 1024
"""Of anything but orders and lists (`wire.decode`)."""
STEP_US = 20 * MS
"""Between two: a batch is as long as holes, answers and lines take to fall due."""
USERS = ("root", "pi", "nobody", "tech", "", "\ufffd")


# Orders.


@cache
def gateway_config() -> config.Config:
    return config.load(DEMO / "gateway-3.toml")


@cache
def orders() -> tuple[Order, ...]:
    desk = Desk(gateway_config().signals)
    return tuple(desk.a_day(WALL_US))


@cache
def _forger() -> Forger:
    return Forger(Random(0), list(orders()))


def _payload(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unb64(json.loads(data)["payload"]))
    return found


def order_case(mutator: Mutator) -> bytes:
    chance = mutator.chance
    one, two = chance.choice(orders()).data, chance.choice(orders()).data
    what = chance.random()
    if what < 0.25:
        forger = _forger()
        forger._chance = chance
        return forger.mutant()[1]
    if what < 0.45:
        return mutator.written(mutator.tree(json.loads(one), json.loads(two)))
    if what < 0.75:
        inner = mutator.written(mutator.tree(_payload(one), _payload(two)))
        return dump(json.loads(one) | {"payload": b64(inner)})
    if what < 0.80:
        # Rightly signed nonsense: what persons of the office could make of it.
        inner = mutator.written(mutator.tree(_payload(one), _payload(two)))
        return dump(office.enveloped(inner, chance.sample(office.INSIDERS, 2)))
    return mutator.octets(one, two)


def intake() -> Feed:
    """What an order passes before anything is done: shape, time, signatures, roles."""
    known = office.trusted().list
    door = Intake(DEPLOYMENT)

    def feed(data: bytes) -> object:
        found = door.read(Arrived("siren/1/o/41/order", data))
        if not isinstance(found, Unverified):
            return found
        refused = door.put(0, found, None, WALL_US, 0)
        list(door.take(S * len(data)))
        return refused or trust.check(found, known, WALL_US)

    return feed


# Trust lists.


@cache
def lists() -> tuple[bytes, bytes]:
    """The one that rules, and the next."""
    return office.listed(), office.listed(version=office.VERSION + 1)


def list_case(mutator: Mutator) -> bytes:
    chance = mutator.chance
    one, two = lists()
    what = chance.random()
    if what < 0.5:
        inner = mutator.written(mutator.tree(_payload(two), _payload(one)))
        if what < 0.1:
            return dump(office.enveloped(inner, office.roots()[:2]))
        return dump(json.loads(one) | {"payload": b64(inner)})
    if what < 0.75:
        return mutator.written(mutator.tree(json.loads(two), json.loads(one)))
    return mutator.octets(two, one)


def trust_list() -> Feed:
    """One door after the other: a gateway's, a hub's, and that of whoever looks at any list."""
    ruling = office.trusted()
    doors: list[Callable[[bytes], object]] = [
        lambda data: admission.admit(data, ruling.list.roots, DEPLOYMENT, ruling),
        lambda data: admission.admit(data, ruling.list.roots, DEPLOYMENT),
        lambda data: admission.admit(data, None, None),
    ]

    def feed(data: bytes) -> object:
        return admission.digest(data), doors[len(data) % 3](data)

    return feed


# A gateway's doors.


class _Fed:
    """A gateway with its lines up and the time told; what it wants written and sent is put into bytes."""

    def __init__(self) -> None:
        own = gateway_config()
        self.gateway = Gateway(own, office.trusted(), [], "fuzzed", "0")
        self.now_us = S
        for event in (*(LinkUp(bus.id) for bus in own.spec.bus), Clock(WALL_US, 0, Trust.ASSUMED)):
            self.hear(event)

    def hear(self, event: object) -> object:
        self.now_us += STEP_US
        told = []
        for effect in self.gateway.handle(self.now_us, event):
            match effect:
                case Append(_, record):
                    told.append(json.dumps(record.body, allow_nan=False).encode())
                case Publish(_, payload):
                    told.append(payload)
        return told


def _topics() -> tuple[str, ...]:
    own = gateway_config()
    return (*wire.subscriptions(own.area, own.id), wire.echo_topic(own.id))


def inbox_case(mutator: Mutator) -> tuple[str, bytes]:
    chance = mutator.chance
    topic = chance.choice(_topics())
    leaf = topic.rpartition("/")[2]
    if chance.random() < 0.02:
        topic = mutator.text(topic)
    if leaf == "again":
        return topic, mutator.written(mutator.tree(json.loads(Again(first=1, last=9).encode())))
    return topic, list_case(mutator) if leaf == "trust" and chance.random() < 0.5 else order_case(mutator)


def inbox() -> Feed:
    fed = _Fed()
    return lambda case: fed.hear(Arrived(case[0], case[1], retained=len(case[1]) % 5 == 0))


@cache
def questions() -> tuple[dict[str, Any], ...]:
    own = gateway_config()
    siren, device, bus = own.spec.siren[0].id, own.spec.device[0].id, own.spec.bus[0].id
    return (
        {"verb": "status"}, {"verb": "watch", "args": {}}, {"verb": "bus", "args": {"bus": bus}},
        {"verb": "record", "args": {"bus": bus}}, {"verb": "probe", "args": {"line": "serial:/dev/ttyS0"}},
        {"verb": "read", "args": {"device": device, "point": None}},
        {"verb": "read", "args": {"device": device, "point": "relay_1"}},
        {"verb": "activate", "args": {"siren": siren, "seconds": 3.0}},
        {"verb": "growl", "args": {"siren": siren}}, {"verb": "quiet-test", "args": {"siren": siren}},
        {"verb": "stop", "args": {"siren": siren}}, {"verb": "stop", "args": {}},
        {"verb": "tag", "args": {"siren": siren, "reason": "at work 检修"}},
        {"verb": "untag", "args": {"siren": "all", "reason": "done", "override": True}},
        {"verb": "order", "args": {"text": orders()[0].data.decode()}},
        {"verb": "trust", "args": {"text": office.listed().decode()}}, {"verb": "leave-safe-min", "args": {}},
    )


def question_case(mutator: Mutator) -> tuple[str, bytes]:
    chance = mutator.chance
    one, two = chance.choice(questions()), chance.choice(questions())
    users = (*gateway_config().spec.local.technicians, *gateway_config().spec.local.commanders, *USERS)
    line = mutator.written(mutator.tree(one, two)) if chance.random() < 0.85 else \
        mutator.octets(json.dumps(one).encode(), json.dumps(two).encode())
    return chance.choice(users), line.replace(b"\n", b" ") + b"\n"


def local_door() -> Feed:
    fed = _Fed()
    asked: list[Ask] = []
    door = Local(Path("no-such-door"), lambda event: asked.append(cast(Ask, event)))

    def feed(case: tuple[str, bytes]) -> object:
        user, line = case
        asked.clear()
        door._asked(local._Client(len(line) % 16, 1000, user, cast(Any, None), 0.0), line)
        return [fed.hear(one) for one in asked]

    return feed


# The hub.


@cache
def _a_quarter() -> Station:
    """A gateway of the demo that started, was ordered, stopped and crossed."""
    world = World(site.load(DEMO / "site.toml"), [gateway_config()], office.trusted())
    (station,) = world.stations.values()
    world.run(5)
    desk = Desk(gateway_config().signals)
    for order in (desk.live(world.wall_us), desk.drill(world.wall_us), desk.stop(world.wall_us)):
        world.tell(station, Arrived(order.topic, order.data))
        world.run(20)
    world.tell(station, Arrived("siren/1/o/41/order", b"{}"))
    world.tell(station, Ask(1, 1000, "tech", "stop", {}))
    world.run(20)
    return station


@cache
def published() -> tuple[tuple[str, bytes], ...]:
    """What it said."""
    found = {}
    for _, message in _a_quarter().published:
        if message.client is None and len(message.payload) < 8192:
            found[message.topic, message.payload[:12], len(message.payload) // 64] = message.topic, message.payload
    return tuple(found.values())


@cache
def journalled() -> tuple[Record, ...]:
    """What it wrote."""
    return tuple(record for _, record in _a_quarter().records)


def said_case(mutator: Mutator) -> tuple[str, bytes]:
    chance = mutator.chance
    (topic, one), (other, two) = chance.choice(published()), chance.choice(published())
    if chance.random() < 0.05:
        topic = chance.choice((other, mutator.text(topic, other)))
    if chance.random() < 0.15 or not one or not two:
        return topic, mutator.octets(one, two)
    return topic, mutator.written(mutator.tree(json.loads(one), json.loads(two)))


def _centre() -> Centre:
    roster = Roster(office.trusted(), DEPLOYMENT, "41")
    centre = Centre("fuzzed", DEPLOYMENT, gateway_config().signals, roster)
    for event in (HubClock(WALL_US), Broker(True)):
        centre.handle(0, event)
    desk = Desk(gateway_config().signals)
    for topic, payload in published()[:40]:
        centre.handle(0, words.told(topic, payload, False, WALL_US))
    for order in (desk.live(WALL_US), desk.stop(WALL_US)):
        centre.handle(S, Handed(order.data))
    assert len(centre.orders) == 2
    return centre


def hub_messages() -> Feed:
    centre = _centre()
    now_us = [S]

    def feed(case: tuple[str, bytes]) -> object:
        topic, payload = case
        now_us[0] += STEP_US
        out = centre.handle(now_us[0], words.told(topic, payload, len(payload) % 2 == 0, WALL_US))
        if len(payload) % 64 == 0:
            # What the screen and `siren-hub fleet --json` show of it.
            json.dumps(centre.fleet.as_json(), ensure_ascii=False).encode()
        return out

    return feed


def handed_case(mutator: Mutator) -> tuple[bool, bytes]:
    made = order_case(mutator) if mutator.chance.random() < 0.6 else list_case(mutator)
    return mutator.chance.random() < 0.7, made


def hub_inbox() -> Feed:
    centre = _centre()
    now_us = [S]

    def feed(case: tuple[bool, bytes]) -> object:
        handed, raw = case
        now_us[0] += STEP_US
        return centre.handle(now_us[0], Handed(raw) if handed else Listed(raw))

    return feed


def every_model(mutator: Mutator) -> tuple[int, bytes]:
    """A message of one kind read as another, and as what only clients read."""
    chance = mutator.chance
    return chance.randrange(len(MODELS)), said_case(mutator)[1]


MODELS: tuple[Any, ...] = (wire.OrderBody, Again, words.Taken, wire.Birth, wire.State)


def decode() -> Feed:
    return lambda case: wire.decode(MODELS[case[0]], case[1])


PARSERS = (
    Parser("order", order_case, intake, (Rejected,), MAX_ORDER_BYTES),
    Parser("trust list", list_case, trust_list, (admission.Refused, BadDocument), MAX_LIST_BYTES),
    Parser("gateway inbox", inbox_case, inbox, (), MAX_LIST_BYTES),
    Parser("local door", question_case, local_door, (), local.LINE_LIMIT),
    Parser("hub messages", said_case, hub_messages, (Malformed,), MESSAGE_BYTES),
    Parser("hub inbox", handed_case, hub_inbox, (), MAX_LIST_BYTES),
    Parser("message models", every_model, decode, (Malformed,), MESSAGE_BYTES),
)
