"""The MQTT shell against real brokers, through a proxy that cuts, swallows and refuses.

mosquitto speaks MQTT 5; amqtt, in its own process, only 3.1.1. Both must do.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import aiomqtt
import pytest

from controller import mqtt, shelf, wire
from controller.admission import MAX_LIST_BYTES
from controller.broker import MqttSection
from controller.event import (
    Append,
    Arrived,
    BrokerDown,
    BrokerUp,
    Clock,
    Confirmed,
    Durable,
    Notice,
    Publish,
    Say,
    Trust,
)
from controller.mqtt import Mqtt
from controller.session import Session
from controller.wire import Birth, Receipt, Stage, Status
from simulators.city import free_port, mosquitto

pytestmark = pytest.mark.system

AREA = "32/5/8/1/2"
ROOT = wire.state_root(AREA, "gw-7")
GATEWAY_ORDER = wire.gateway_topic("gw-7", stop=False)
MOSQUITTO = mosquitto()

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
                     "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}})
    await broker.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Broker:
    """A broker process on its own port."""

    def __init__(self, kind: str, folder: Path, config: str = "allow_anonymous true\n") -> None:
        self.kind, self.folder, self.port = kind, folder, free_port()
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.kind == "mosquitto":
            assert MOSQUITTO
            file = self.folder / "mosquitto.conf"
            file.write_text(f"listener {self.port} 127.0.0.1\nuser root\n{self.config}")
            command = [MOSQUITTO, "-c", str(file)]
        else:
            command = [sys.executable, "-c", AMQTT, str(self.port)]
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            assert self.process.poll() is None, (self.folder / "broker.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("the broker does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: the MQTT 5 half of these tests did not run")
    out = Broker(request.param, tmp_path)
    out.start()
    yield out
    out.kill()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: this test did not run")
    out = Broker("mosquitto", tmp_path)
    yield out
    out.kill()


class Proxy:
    """A TCP proxy that can refuse, cut, and swallow in either direction."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.refusing = False
        self.swallow_up = self.swallow_down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            if self.refusing:
                writer.transport.abort()
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pump(reader, up_writer, "swallow_up"), self._pump(up_reader, writer, "swallow_down"))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallow: str) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not getattr(self, swallow):
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()


class Node:
    """A session on the shell, with a disk that answers at once, and a record of what came."""

    def __init__(self, port: int, name: str = "gw-7", folder: Path = Path(), **section: object) -> None:
        spec = MqttSection.model_validate({"host": "127.0.0.1", "port": port, "keepalive_s": 5, **section})
        self.session = Session(Birth(gateway="gw-7", session="boot-1", at=wire.BLANK_INSTANT, version="0", area=AREA,
                                     deployment="test", sirens=(), devices=(), signals={}, trust_version=1))
        self.mqtt = Mqtt(spec, folder, name, wire.subscriptions(AREA, "gw-7"), wire.echo_topic(name),
                         self.session.will, self.feed)
        self.came: list[mqtt.FromBroker] = []
        self.confirmed: list[int] = []
        self._more = asyncio.Event()
        self.feed_session(Clock(wire.to_wall_us("2026-09-18T02:00:00.000Z"), 0, Trust.TRUSTED))
        self.task = asyncio.create_task(self.mqtt.run())

    def feed(self, event: mqtt.FromBroker) -> None:
        self.came.append(event)
        self._more.set()
        if isinstance(event, Confirmed):
            self.confirmed.append(event.token)
        if not isinstance(event, Arrived):
            self.feed_session(event)

    def feed_session(self, event: object) -> None:
        work = [event]
        while work:
            for effect in self.session.handle(time.monotonic_ns() // 1000, work.pop(0)):  # type: ignore[arg-type]
                match effect:
                    case Append(token, _):
                        work.append(Durable(token))
                    case Publish():
                        self.mqtt.publish(effect)

    def say(self, stage: Stage = Stage.RECEIVED) -> None:
        self.feed_session(Say(Receipt(seq=0, gateway="gw-7", order="a" * 32, stage=stage, at=wire.BLANK_INSTANT)))

    async def until(self, wanted: Callable[["Node"], object], limit_s: float = 40) -> None:
        async with asyncio.timeout(limit_s):
            while not wanted(self):
                self._more.clear()
                await self._more.wait()

    def ups(self) -> int:
        return sum(isinstance(e, BrokerUp) for e in self.came)

    def downs(self) -> list[str]:
        return [e.why for e in self.came if isinstance(e, BrokerDown)]

    async def stop(self, farewell: Publish | None = None) -> None:
        await self.mqtt.close(farewell)
        await asyncio.wait_for(self.task, 20)


class Hub:
    """A plain client that watches everything."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.seqs: list[int] = []
        self.states: list[str] = []

    async def until(self, wanted: Callable[["Hub"], object], limit_s: float = 40) -> None:
        async with asyncio.timeout(limit_s):
            messages = self.client.messages
            while not wanted(self):
                message = await anext(messages)
                topic, payload = message.topic.value, bytes(message.payload)
                if topic == f"{ROOT}/receipt":
                    self.seqs.append(wire.decode(Receipt, payload).seq)
                elif topic == f"{ROOT}/status":
                    state = wire.decode(Status, payload).state
                    if self.states[-1:] != [state]:  # (amqtt speaks a will twice)
                        self.states.append(state)


@contextlib.asynccontextmanager
async def hub_at(port: int) -> AsyncIterator[Hub]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("siren/1/s/#", qos=1)
        yield Hub(client)


def speak_old(node: Node, broker: Broker) -> None:
    """Spare amqtt the question: it takes five seconds to hang up on MQTT 5."""
    if broker.kind == "amqtt":
        node.mqtt._protocol = aiomqtt.ProtocolVersion.V311


@contextlib.asynccontextmanager
async def through_proxy(broker: Broker) -> AsyncIterator[tuple[Proxy, Node]]:
    proxy = Proxy(broker.port)
    await proxy.start()
    node = Node(proxy.port)
    speak_old(node, broker)
    try:
        yield proxy, node
    finally:
        proxy.refusing = proxy.swallow_up = proxy.swallow_down = False
        await node.stop()
        await proxy.stop()


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


async def test_a_refused_message_is_not_confirmed_and_goes_when_it_may(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "REFUSED_S", 0.3)
    acl = tmp_path / "acl"
    acl.write_text("topic write siren/1/s/#\ntopic read siren/1/o/#\ntopic readwrite siren/1/g/#\n"
                   f"topic deny {ROOT}/receipt\n")
    acl.chmod(0o600)
    mosquitto.config = f"allow_anonymous true\nacl_file {acl}\n"
    mosquitto.start()
    node = Node(mosquitto.port)
    await node.until(lambda n: n.ups() == 1)
    node.say()
    await asyncio.sleep(1)  # three refusals
    assert node.confirmed == []
    assert node.session.outbox == 1
    acl.write_text("topic readwrite siren/1/#\n")
    assert mosquitto.process
    mosquitto.process.send_signal(signal.SIGHUP)
    await node.until(lambda n: n.confirmed == [1])
    assert node.downs() == []
    await node.stop()


async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker of MQTT 3.1.1 that takes everything and grants every second subscription."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            kind = (await reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await reader.readexactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            body = await reader.readexactly(length)
            if kind >> 4 == 1:
                writer.write(b"\x20\x02\x00\x00")
            elif kind >> 4 == 3 and kind & 0x06:
                topic = 2 + int.from_bytes(body[:2], "big")
                writer.write(b"\x40\x02" + body[topic : topic + 2])
            elif kind >> 4 == 8:
                topics, rest = 0, body[2:]
                while rest:
                    topics, rest = topics + 1, rest[3 + int.from_bytes(rest[:2], "big") :]
                codes = bytes(0x80 if n % 2 else 1 for n in range(topics))
                writer.write(bytes([0x90, 2 + topics]) + body[:2] + codes)
    writer.close()


async def test_a_refused_subscription_is_told_urgently() -> None:
    server = await asyncio.start_server(deny, "127.0.0.1", 0)
    node = Node(server.sockets[0].getsockname()[1])
    node.mqtt._protocol = aiomqtt.ProtocolVersion.V311
    await node.until(lambda n: any(isinstance(e, Notice) for e in n.came))
    told = [e for e in node.came if isinstance(e, Notice)]
    filters = [*wire.subscriptions(AREA, "gw-7"), wire.echo_topic("gw-7")]
    assert [e.subject for e in told] == filters[1::2]
    assert all(e.urgent for e in told)
    assert isinstance(node.came[0], BrokerUp)  # what is granted is still served
    await node.stop()
    server.close()


async def test_two_of_one_name_do_not_fight_fast(mosquitto: Broker) -> None:
    mosquitto.start()
    one, two = Node(mosquitto.port), Node(mosquitto.port)
    await asyncio.sleep(4)
    # Each attempt throws the other out; the pause grows, so that a cloned card does not become a storm.
    assert 2 <= one.ups() + two.ups() <= 24
    assert one.downs()
    assert two.downs()
    await one.stop()
    await two.stop()


async def test_a_listener_that_never_answers_costs_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_S", 0.05)
    monkeypatch.setattr(mqtt, "BACK_OFF_S", (0.01, 0.01))

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    node = Node(server.sockets[0].getsockname()[1])
    await node.until(lambda n: len(n.downs()) == 5)
    open_before, tasks_before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    await node.until(lambda n: len(n.downs()) == 35)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 3
    assert len(asyncio.all_tasks()) <= tasks_before + 3
    await node.stop()
    server.close()


async def test_tls_asks_for_the_right_authority(mosquitto: Broker, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: TLS was not tried")
    for name in ("broker", "other"):
        made = await asyncio.create_subprocess_exec(
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", cwd=tmp_path, stderr=subprocess.DEVNULL)
        assert await made.wait() == 0
    mosquitto.config = (f"allow_anonymous true\ncafile {tmp_path}/broker.pem\ncertfile {tmp_path}/broker.pem\n"
                        f"keyfile {tmp_path}/broker.key\n")
    mosquitto.start()
    good = Node(mosquitto.port, folder=tmp_path, tls=True, ca_file="broker.pem")
    bad = Node(mosquitto.port, "gw-8", folder=tmp_path, tls=True, ca_file="other.pem")
    none = Node(mosquitto.port, "gw-9", folder=tmp_path, tls=True, ca_file="missing.pem")
    await good.until(lambda n: n.ups() == 1)
    await bad.until(lambda n: n.downs())
    await none.until(lambda n: n.downs())
    assert "did not issue the broker's certificate" in bad.downs()[0]
    assert "file" in none.downs()[0]
    assert bad.ups() == none.ups() == 0
    for node in (good, bad, none):
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
