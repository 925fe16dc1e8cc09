"""What a gateway holds does not grow with its work, but for what it remembers of orders, and that has limits."""

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

from bench import office, swarm
from bench.office import Desk
from controller import wire
from controller.gateway import Gateway
from simulators import hamlet
from simulators.world import World

MORE = 40
"""Orders between the two looks."""
SPENT = 150
"""Octets of one sounding among those of the last 24 hours (`allowance.py`)."""


def octets(root: object, without: tuple[object, ...] = ()) -> int:
    """What an object takes, with all that it refers to."""
    seen = {id(one) for one in without}
    total, ahead = 0, [root]
    while ahead:
        one = ahead.pop()
        if id(one) not in seen and not isinstance(one, (type, ModuleType, FunctionType, BuiltinFunctionType)):
            seen.add(id(one))
            total += sys.getsizeof(one)
            ahead += gc.get_referents(one)
    return total


def parts(gateway: Gateway) -> tuple[int, int, int]:
    """The ledger, the outbox, and all the rest."""
    remembers = gateway.orders._ledger._entries, gateway.session._outbox
    return octets(remembers[0]), octets(remembers[1]), octets(gateway, remembers)


def test_only_what_is_remembered_of_orders_grows() -> None:
    plan, configs = hamlet.build(swarm.four())
    world = World(plan, configs, office.trusted())
    desk = Desk(hamlet.signals(), "0badcafe", configs)
    world.run(5)

    def drills(count: int) -> None:
        for _ in range(count):
            world.order(desk.drill(world.wall_us, max_duration_s=8).data, wire.order_topic(office.DISTRICT, False))
            world.run(12)

    drills(MORE)
    (station,) = world.stations.values()
    before = parts(station.gateway)
    sounded, lines = len(world.sounds), station.gateway.session._outbox.last_seq
    drills(MORE)
    ledger, outbox, rest = (now - then for now, then in zip(parts(station.gateway), before, strict=True))
    assert len(world.sounds) - sounded >= 2 * MORE
    assert ledger < MORE * 8_000
    assert outbox < (station.gateway.session._outbox.last_seq - lines) * 1_500
    assert rest - 2 * MORE * SPENT < MORE * 50, "something is kept of every order, and nobody takes it away"
