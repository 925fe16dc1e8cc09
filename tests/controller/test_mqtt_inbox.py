"""What comes to the MQTT shell: every level's orders once, what is retained known for it, and a bounded inbox."""

import asyncio

import aiomqtt
import pytest

from controller import mqtt, shelf, wire
from controller.admission import MAX_LIST_BYTES
from controller.event import Arrived
from tests.controller import bench_mqtt
from tests.controller.bench_mqtt import AREA, GATEWAY_ORDER, Broker, Node, speak_old, through_proxy

pytestmark = pytest.mark.system
broker, mosquitto = bench_mqtt.broker, bench_mqtt.mosquitto
"""The fixtures: a broker of each kind, started; and mosquitto, to be started by the test."""


async def test_orders_for_every_level_arrive_and_no_others(broker: Broker) -> None:
    node = Node(broker.port)
    speak_old(node, broker)
    await node.until(lambda n: n.ups() == 1)
    async with aiomqtt.Client("127.0.0.1", broker.port) as centre:
        for area in ("32", "32/5", "32/5/8", "32/5/8/1", "32/5/8/1/2", "32/5/9", "33", "32/5/8/1/3"):
            for stop in (False, True):
                await centre.publish(wire.order_topic(area, stop), area.encode(), qos=1)
        await centre.publish(wire.gateway_topic("gw-8", True), b"other", qos=1)
        await centre.publish(wire.gateway_topic("gw-7", True), b"last", qos=1)
    await node.until(lambda n: sum(isinstance(e, Arrived) for e in n.came) >= 11)
    got = sorted(e.topic for e in node.came if isinstance(e, Arrived))
    assert got == sorted([*(t for t in wire.subscriptions(AREA, "gw-7")
                            if t not in (wire.again_topic("gw-7"), wire.ack_topic("gw-7"), shelf.topic("gw-7"),
                                             GATEWAY_ORDER)
                                and not t.endswith("/trust"))])
    assert not any(e.retained for e in node.came if isinstance(e, Arrived))
    await node.stop()


async def test_an_order_sent_while_we_were_away_comes_once(mosquitto: Broker) -> None:
    mosquitto.start()
    async with through_proxy(mosquitto) as (proxy, node):
        await node.until(lambda n: n.ups() == 1)
        proxy.refusing = True
        proxy.cut()
        await node.until(lambda n: n.downs())
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as centre:
            await centre.publish(GATEWAY_ORDER, b"while away", qos=1)
            proxy.refusing = False
            await node.until(lambda n: n.ups() == 2)
            await centre.publish(GATEWAY_ORDER, b"after", qos=1)
        await node.until(lambda n: any(isinstance(e, Arrived) and e.payload == b"after" for e in n.came))
        assert [e.payload for e in node.came if isinstance(e, Arrived)] == [b"while away", b"after"]


async def test_a_retained_order_is_known_for_one(mosquitto: Broker) -> None:
    mosquitto.start()
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as centre:
        await centre.publish(GATEWAY_ORDER, b"old", qos=1, retain=True)
        node = Node(mosquitto.port)
        await node.until(lambda n: any(isinstance(e, Arrived) for e in n.came))
        await centre.publish(GATEWAY_ORDER, b"fresh, but retained", qos=1, retain=True)
        await node.until(lambda n: sum(isinstance(e, Arrived) for e in n.came) == 2)
    assert [(e.payload, e.retained) for e in node.came if isinstance(e, Arrived)] == [
        (b"old", True), (b"fresh, but retained", True)]
    await node.stop()


async def test_a_retained_list_of_the_largest_size_arrives_and_says_that_it_is_retained(broker: Broker) -> None:
    node = Node(broker.port)
    topic = wire.trust_topic("32/5")
    async with aiomqtt.Client("127.0.0.1", broker.port) as centre:
        await centre.publish(topic, b"x" * MAX_LIST_BYTES, qos=1, retain=True)
    speak_old(node, broker)
    await node.until(lambda n: any(isinstance(e, Arrived) for e in n.came))
    (came,) = [e for e in node.came if isinstance(e, Arrived)]
    assert (came.topic, len(came.payload), came.retained) == (topic, MAX_LIST_BYTES, True)
    await node.stop()


def test_stops_go_first_and_a_flood_of_orders_cannot_keep_one_out() -> None:
    def message(topic: str) -> aiomqtt.Message:
        return aiomqtt.Message(topic, b"", 1, False, 0, None)

    box = mqtt._Inbox(maxsize=4)
    for n in range(4):
        box.put_nowait(message(f"siren/1/g/gw-7/order/{n}"))
    with pytest.raises(asyncio.QueueFull):
        box.put_nowait(message("siren/1/g/gw-7/order/4"))
    box.put_nowait(message("siren/1/g/gw-7/stop"))
    assert box.qsize() == 4
    assert [box.get_nowait().topic.value[-6:] for _ in range(4)] == ["7/stop", "rder/0", "rder/1", "rder/2"]
    assert box.empty()


def test_the_inbox_is_bounded_in_bytes_too_and_a_stop_gets_in() -> None:
    box = mqtt._Inbox(maxsize=1_000)
    big = aiomqtt.Message("siren/1/o/41/trust", b"x" * MAX_LIST_BYTES, 1, False, 0, None)
    small = aiomqtt.Message("siren/1/o/41/order", b"x", 1, False, 0, None)
    while not box.full():
        box.put_nowait(big)
    held = box.qsize()
    assert held * MAX_LIST_BYTES < mqtt.INBOX_BYTES + MAX_LIST_BYTES
    box.get_nowait()
    box.put_nowait(small)
    box.put_nowait(big)
    with pytest.raises(asyncio.QueueFull):
        box.put_nowait(small)
    box.put_nowait(aiomqtt.Message("siren/1/o/41/stop", b"stop", 1, False, 0, None))
    assert box.get_nowait().payload == b"stop"
    while not box.empty():
        box.get_nowait()
    assert box._bytes == 0
