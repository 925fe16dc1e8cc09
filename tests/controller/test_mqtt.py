"""The MQTT shell on a line that breaks: what we say comes in order, a dead line is noticed, and the will is spoken."""

import asyncio
from types import SimpleNamespace

import pytest

from controller import mqtt, wire
from controller.event import Publish
from controller.wire import Receipt, Stage
from tests.controller import bench_mqtt
from tests.controller.bench_mqtt import ROOT, Broker, Node, hub_at, through_proxy

pytestmark = pytest.mark.system
broker, mosquitto = bench_mqtt.broker, bench_mqtt.mosquitto
"""The fixtures: a broker of each kind, started; and mosquitto, to be started by the test."""


async def test_each_broker_gets_the_protocol_it_speaks(broker: Broker) -> None:
    node = Node(broker.port)
    await node.until(lambda n: n.ups() == 1)
    if broker.kind == "amqtt":
        assert ["3.1.1" in why for why in node.downs()] == [True]
    else:
        assert node.downs() == []
    await node.stop()


async def test_what_waited_comes_in_order_when_the_broker_returns(broker: Broker) -> None:
    async with through_proxy(broker) as (proxy, node):
        await node.until(lambda n: n.ups() == 1)
        async with hub_at(broker.port) as hub:
            for _ in range(5):
                node.say()
            await hub.until(lambda h: len(h.seqs) >= 5)
            assert hub.seqs == [1, 2, 3, 4, 5]
        proxy.refusing = True
        broker.kill()
        await node.until(lambda n: len(n.downs()) >= 2)
        for _ in range(60):
            node.say()
        broker.start()
        async with hub_at(broker.port) as hub:
            proxy.refusing = False
            await hub.until(lambda h: len(h.seqs) >= 60)
            assert hub.seqs == list(range(6, 66))
        await node.until(lambda n: n.session.outbox == 0)
        assert node.confirmed == list(range(1, 66))


async def test_cuts_at_any_moment_lose_nothing_and_keep_the_order(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "BACK_OFF_S", (0.05, 0.2))
    async with through_proxy(broker) as (proxy, node), hub_at(broker.port) as hub:
        for round in range(12):
            await node.until(lambda n, ups=round + 1: n.ups() == ups)
            for _ in range(40):
                node.say()
            await asyncio.sleep(round * 0.004)  # the cut falls at another place each time
            proxy.cut()
        await node.until(lambda n: n.session.outbox == 0)
        total = 12 * 40
        await hub.until(lambda h: total in h.seqs)
    first: dict[int, int] = {}
    for place, seq in enumerate(hub.seqs):
        first.setdefault(seq, place)
    assert sorted(first) == list(range(1, total + 1))
    # A line may come twice (its confirmation was cut), but never for the first time behind a later one.
    assert sorted(first, key=lambda seq: first[seq]) == list(range(1, total + 1))


async def test_lost_confirmations_mean_a_second_telling(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ECHO_S", 0.2)
    monkeypatch.setattr(mqtt, "DEAF_S", 1.5)
    async with through_proxy(broker) as (proxy, node), hub_at(broker.port) as hub:
        await node.until(lambda n: n.ups() == 1)
        proxy.swallow_down = True
        node.say()
        await hub.until(lambda h: h.seqs == [1])
        await node.until(lambda n: any("no echo" in why for why in n.downs()))
        assert node.session.outbox == 1
        proxy.swallow_down = False
        proxy.cut()
        await hub.until(lambda h: h.seqs == [1, 1])
        await node.until(lambda n: n.session.outbox == 0)


async def test_a_dead_line_that_looks_alive_is_noticed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ECHO_S", 0.2)
    monkeypatch.setattr(mqtt, "DEAF_S", 1.5)
    async with through_proxy(broker) as (proxy, node):
        await node.until(lambda n: n.ups() == 1)
        before = len(node.downs())
        proxy.swallow_up = proxy.swallow_down = True
        await node.until(lambda n: len(n.downs()) > before)
        assert "no echo" in node.downs()[before]
        proxy.swallow_up = proxy.swallow_down = False
        proxy.cut()
        await node.until(lambda n: n.ups() == 2)


def test_the_limits_of_liveness_are_under_thirty_seconds() -> None:
    assert mqtt.DEAF_S + mqtt.ECHO_S / 2 < 30
    assert mqtt.ECHO_S * 3 <= mqtt.DEAF_S


async def test_will_when_cut_and_farewell_when_ended(broker: Broker) -> None:
    async with through_proxy(broker) as (proxy, node):
        await node.until(lambda n: n.ups() == 1)
        async with hub_at(broker.port) as hub:
            await hub.until(lambda h: h.states == ["online"])
            proxy.refusing = True
            proxy.cut()
            await hub.until(lambda h: h.states[-1] == "lost")
        async with hub_at(broker.port) as hub:  # retained: whoever comes later knows too
            await hub.until(lambda h: h.states == ["lost"])
            proxy.refusing = False
            await hub.until(lambda h: h.states == ["lost", "online"])
            await node.stop(node.session.farewell())
            await hub.until(lambda h: h.states == ["lost", "online", "offline"])
            await asyncio.sleep(0.5)  # the will must not follow
            await hub.client.publish(f"{ROOT}/receipt", Receipt(seq=99, gateway="gw-7", order="b" * 32,
                                     stage=Stage.RECEIVED, at=wire.BLANK_INSTANT).encode(), qos=1)
            await hub.until(lambda h: h.seqs == [99])
            assert hub.states == ["lost", "online", "offline"]


async def test_the_queue_to_the_broker_is_bounded_but_for_what_somebody_waits_for(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "PENDING_LIMIT", 10)
    mosquitto.start()
    async with through_proxy(mosquitto) as (proxy, node):
        await node.until(lambda n: n.ups() == 1)
        proxy.swallow_down = True
        for _ in range(50):
            node.mqtt.publish(Publish(f"{ROOT}/x/state", b"{}", retain=True))
        live = SimpleNamespace(pending=node.mqtt._live._pending)  # type: ignore[union-attr]
        assert len(live.pending) <= 12
        node.mqtt.publish(Publish(f"{ROOT}/receipt", b"{}", token=5))
        assert any(effect.token == 5 for effect, _ in live.pending.values())
