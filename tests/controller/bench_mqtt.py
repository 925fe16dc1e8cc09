"""The MQTT shell on a bench: real brokers, a proxy that cuts, swallows and refuses, and a hub that watches.

mosquitto speaks MQTT 5; amqtt, in its own process, only 3.1.1. Both must do.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest

from controller import mqtt, wire
from controller.broker import MqttSection
from controller.event import Append, Arrived, BrokerDown, BrokerUp, Clock, Confirmed, Durable, Publish, Say, Trust
from controller.mqtt import Mqtt
from controller.session import Session
from controller.wire import Birth, Receipt, Stage, Status
from simulators.city import free_port, mosquitto

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

    def reload(self) -> None:
        """Have mosquitto read its files again, and wait until it has begun to."""
        assert self.process
        self.process.send_signal(signal.SIGHUP)
        end_s = time.monotonic() + 30
        while "Reloading config" not in (self.folder / "broker.log").read_text():
            assert time.monotonic() < end_s, "the broker does not read its files again"
            time.sleep(0.01)

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
