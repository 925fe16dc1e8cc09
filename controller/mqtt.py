"""The broker's end of the wire: one connection at a time, for ever, fed into machines as events (shell).

It turns `Publish` into packets and packets into `Arrived`, and tells `BrokerUp`, `BrokerDown` and `Confirmed`. A new
client object for every connection: what the old one had queued dies with it, unconfirmed, and the session tells it
again; so nothing is lost silently, and nothing is sent by a ghost. The broker keeps our subscriptions and queues the
orders that come while we are away (no clean start), but every connection subscribes anew: a broker may forget.

Speaks MQTT 5, and 3.1.1 with a broker that does not. A connection is dead when the broker says so, when it leaves a
message unconfirmed, or when it no longer brings us what we publish to ourselves (a session can go deaf while its
connection looks alive). It refuses to know what a message means.
"""

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt import MqttError, ProtocolVersion, Will
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from controller import tls
from controller.broker import MqttSection
from controller.event import Arrived, BrokerDown, BrokerUp, Confirmed, Notice, Publish

BACK_OFF_S = (0.5, 10.0)
"""First and longest pause between attempts; shortened by up to half, so that a city does not return in one instant."""
SETTLED_S = 10.0
"""A connection that lasted this long resets the pause (a shorter one may be two clients fighting over one name)."""
CONNECT_S = 10.0
"""For CONNACK and SUBACK."""
ECHO_S = 8.0
"""How often we publish to ourselves."""
DEAF_S = 24.0
"""Without an echo for this long the connection is dead (it must be noticed within 30 s)."""
CONFIRM_S = 20.0
"""Without the broker's word for a message for this long the connection is dead."""
REFUSED_S = 10.0
"""A message that the broker refuses (its access list, its quota) is tried again after this."""
SESSION_S = 3600
"""How long the broker keeps what comes while we are away; orders of use are younger, and a hub sends again."""
PACKET_LIMIT = 528 * 1024
"""The largest packet a broker of MQTT 5 may send us: a trust list of 512 keys."""
INBOX_LIMIT = 1_000
"""Messages that came and wait for the loop; beyond it they are dropped (a hub sends again), stops last."""
INBOX_BYTES = 8 * 1024 * 1024
"""... and so many bytes of them."""
PENDING_LIMIT = 2_000
"""Messages on their way to the broker; beyond it those that nobody waits for are dropped."""
FAREWELL_S = 2.0
"""How long a graceful end waits for the broker's word."""

BROKEN = "the line broke, or the broker hung up"
NO_ANSWER = "the broker did not answer CONNECT"
UNSPECIFIED = 128
UNSUPPORTED_PROTOCOL = 132
"""CONNACK of MQTT 5 (and paho's reading of 3.1.1's code 1): speak another version."""

LOG = logging.getLogger(__name__)

FromBroker = Arrived | BrokerUp | BrokerDown | Confirmed | Notice
Feed = Callable[[FromBroker], None]


class Mqtt:
    """A client that is always there. `run` it as a task, `publish` what machines say, `close` it to end in order.

    `filters` are subscribed at QoS 1; `echo` is the topic it publishes to itself. Paths in `section` are relative
    to `folder`. `will` is asked at every connect.
    """

    def __init__(self, section: MqttSection, folder: Path, name: str, filters: Sequence[str], echo: str,
                 will: Callable[[], tuple[str, bytes]] | None, feed: Feed) -> None:
        self._section = section
        self._folder = folder
        self._name = name
        self._filters = tuple(filters)
        self._echo = echo
        self._will = will
        self._feed = feed
        self._protocol = ProtocolVersion.V5
        self._tls: tls.Context | None = None
        self._live: _Client | None = None
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Connect, and connect again, until closed."""
        try:
            await self._run()
        finally:
            self._ended.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = BACK_OFF_S[0]
        while not self._closing.is_set():
            began_s = loop.time()
            # A fresh task for each attempt: on Python 3.11.2 a task in which one failed gets its next time-out wrong.
            why = await asyncio.create_task(self._attempt(), name="mqtt")
            if self._closing.is_set():
                return
            self._feed(BrokerDown(why))
            if loop.time() - began_s >= SETTLED_S:
                pause_s = BACK_OFF_S[0]
            await _first_of(asyncio.sleep(pause_s * random.uniform(0.5, 1.0)), self._closing.wait())
            pause_s = min(2 * pause_s, BACK_OFF_S[1])

    def publish(self, effect: Publish) -> None:
        """Put a message on its way. While there is no connection it is dropped: who waits for it tells it again."""
        if self._live is not None:
            self._live.post(effect)

    async def close(self, farewell: Publish | None = None) -> None:
        """Say farewell, wait a moment for what is on its way, and disconnect in order: the will is not spoken."""
        live = self._live
        if live is not None:
            if farewell is not None:
                live.post(farewell)
            await _first_of(live.settled(), asyncio.sleep(FAREWELL_S))
        self._closing.set()
        if live is not None:
            await _first_of(self._ended.wait(), asyncio.sleep(FAREWELL_S))

    async def _attempt(self) -> str:
        """One connection from its beginning to its end; why it ended."""
        try:
            client = self._client()
        except OSError as error:
            return tls.unusable(self._section, self._folder, error)
        try:
            async with client:
                # aiomqtt would wait out its time-out for a SUBACK that a broken line cannot bring.
                if why := await _first_of(self._subscribe(client), client.gone()):
                    return why
                self._live = client
                self._feed(BrokerUp())
                for topic in client.deaf_to:
                    self._feed(Notice("subscription-refused", topic, "by the broker's access list", urgent=True))
                return await _first_of(self._receive(client), self._watch(client), self._closing.wait()) or "closed"
        except MqttConnectError as error:
            if _code(error.rc) == UNSUPPORTED_PROTOCOL and self._protocol is ProtocolVersion.V5:
                self._protocol = ProtocolVersion.V311
                return "the broker does not speak MQTT 5; trying 3.1.1"
            return f"refused: {error}"
        except MqttError as error:
            if why := tls.refused(self._section, self._folder, self._tls):
                return why
            if str(error) not in (NO_ANSWER, "Operation timed out") or client.connected:
                return str(error)
            # TCP connected and no CONNACK: some brokers hang up on a version they do not know, or say nothing.
            v5 = self._protocol is ProtocolVersion.V5
            self._protocol = ProtocolVersion.V311 if v5 else ProtocolVersion.V5
            return f"{NO_ANSWER}; trying MQTT {'3.1.1' if v5 else '5'}"
        finally:
            self._live = None
            client.abandon()

    def _client(self) -> "_Client":
        section, v5 = self._section, self._protocol is ProtocolVersion.V5
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect.SessionExpiryInterval = SESSION_S
        connect.MaximumPacketSize = PACKET_LIMIT
        self._tls = tls.context(section, self._folder)
        will = Will(*self._will(), qos=1, retain=True) if self._will else None
        client = _Client(
            section.host, section.port, username=section.username, password=tls.password(section, self._folder),
            identifier=self._name, protocol=self._protocol, will=will, keepalive=section.keepalive_s,
            timeout=CONNECT_S, tls_context=self._tls,
            queue_type=_Inbox, max_queued_incoming_messages=INBOX_LIMIT,
            **({"clean_start": False, "properties": connect} if v5 else {"clean_session": False}))
        client.feed = self._feed
        return client

    async def _subscribe(self, client: "_Client") -> None:
        client.connected = True
        v5 = self._protocol is ProtocolVersion.V5
        wanted = [(topic, 1) for topic in self._filters] + [(self._echo, 0)]
        # With MQTT 5 a retained order is seen for one even when it arrives fresh (retain as published).
        granted = await client.subscribe([(topic, SubscribeOptions(qos=qos, retainAsPublished=True) if v5 else qos)
                                          for topic, qos in wanted])  # type: ignore[arg-type]
        client.deaf_to = [topic for (topic, _), code in zip(wanted, granted, strict=True) if _code(code) >= 0x80]

    async def _receive(self, client: "_Client") -> str:
        try:
            async for message in client.messages:
                topic = message.topic.value
                if topic == self._echo:
                    client.heard(bytes(message.payload))
                elif any(message.topic.matches(wanted) for wanted in self._filters):
                    # (amqtt sends a client its own will.)
                    self._feed(Arrived(topic, bytes(message.payload), bool(message.retain)))
        except MqttError as error:
            code = _code(getattr(error.__cause__, "rc", None))
            return f"{error.__cause__}" if code not in (0, UNSPECIFIED) else BROKEN
        return "the message stream ended"

    async def _watch(self, client: "_Client") -> str:
        """Publish to ourselves, and say why when the connection has died."""
        client.heard(client.nonce)
        while True:
            if self._echo not in client.deaf_to:
                client.post(Publish(self._echo, client.nonce, qos=0))
                if client.deaf_for_s() > DEAF_S:
                    return f"no echo for {DEAF_S:.0f} s: the connection is dead, or the broker's access list forbids it"
            if client.waiting_for_s() > CONFIRM_S:
                return f"a message is unconfirmed for {CONFIRM_S:.0f} s"
            await asyncio.sleep(ECHO_S)


class _Client(aiomqtt.Client):
    """One connection. Publishes without a task for each message, and hears each message's own reason code.

    aiomqtt's `publish` keeps the packet's number to itself and takes a refusal (MQTT 5: not authorised, over quota)
    for success; so this reaches one floor down, to paho's client, which aiomqtt drives on this loop.
    """

    feed: Feed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, logger=logging.getLogger(f"{__name__}.paho"), **kwargs)
        self.connected = False
        self.deaf_to: list[str] = []
        self.nonce = uuid.uuid4().hex.encode()
        self._heard_s = self._loop.time()
        self._pending: dict[int, tuple[Publish, float]] = {}
        self._retained: dict[str, Publish] = {}
        """The newest of each topic that the broker is to keep."""
        self._settled = asyncio.Event()
        self._settled.set()
        self._gone = asyncio.Event()

    async def gone(self) -> str:
        """Until the connection has ended, and why."""
        await self._gone.wait()
        return BROKEN

    def post(self, effect: Publish) -> None:
        """Hand a message to paho, in order; the window and the socket are its affair."""
        assert effect.qos or effect.token is None, "only QoS 1 is confirmed"
        if effect.retain:
            self._retained[effect.topic] = effect
        if effect.token is None and len(self._pending) >= PENDING_LIMIT:
            LOG.warning("the broker is slow: dropped a message to %s", effect.topic)
            return
        info = self._client.publish(effect.topic, effect.payload, effect.qos, effect.retain)
        if info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS and effect.qos:
            self._pending[info.mid] = effect, self._loop.time()
            self._settled.clear()

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        # aiomqtt asks the loop for the socket's number a turn later, when it may be closed, and its number another's.
        self._loop.call_soon_threadsafe(self._write_when_ready, sock)

    def _write_when_ready(self, sock: Any) -> None:
        alive = self._client.socket()
        if alive is not None and alive is sock:
            self._loop.add_writer(alive.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # a broken line: aiomqtt's waiters are told
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        # aiomqtt waits out its time-out when the connection goes before CONNACK.
        if not self._connected.done():
            self._connected.set_exception(MqttError(NO_ANSWER))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._gone.set()
        if self._disconnected.done():
            self._disconnected.exception()  # read, so that asyncio does not complain when nobody else does

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        effect, _ = self._pending.pop(mid, (None, 0.0))
        if not self._pending:
            self._settled.set()
        if effect is None:
            return
        if _code(reason_code) >= 0x80:
            LOG.error("the broker refuses a message to %s: %s", effect.topic, reason_code)
            self._loop.call_later(REFUSED_S, self._post_again, effect)
        elif effect.token is not None:
            # Not from inside paho's callback: who hears of it publishes the next.
            self._loop.call_soon(self.feed, Confirmed(effect.token))

    def _post_again(self, effect: Publish) -> None:
        # What is retained is not tried again once there is a newer one: the older would stay.
        if self.connected and (not effect.retain or self._retained[effect.topic] is effect):
            self.post(effect)

    async def settled(self) -> None:
        """Until nothing waits for the broker's word."""
        await self._settled.wait()

    def heard(self, payload: bytes) -> None:
        if payload == self.nonce:
            self._heard_s = self._loop.time()

    def deaf_for_s(self) -> float:
        return self._loop.time() - self._heard_s

    def waiting_for_s(self) -> float:
        _, since_s = next(iter(self._pending.values()), (None, self._loop.time()))
        return self._loop.time() - since_s

    def abandon(self) -> None:
        """Leave nothing behind: aiomqtt keeps socket and task of a connection that was never acknowledged."""
        self.connected = False
        if self._client.socket() is not None:
            self._client._sock_close()
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Messages that wait, stops first. When it is full a stop takes the place of the newest other message."""

    def _init(self, maxsize: int) -> None:
        self._queue: deque[aiomqtt.Message] = deque()
        self._stops: deque[aiomqtt.Message] = deque()
        self._bytes = 0

    def qsize(self) -> int:
        return len(self._queue) + len(self._stops)

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        return super().full() or self._bytes >= INBOX_BYTES

    def put_nowait(self, item: aiomqtt.Message) -> None:
        while self.full() and self._queue and _is_stop(item):
            dropped = self._queue.pop()
            self._bytes -= _size(dropped)
            LOG.warning("too many messages: dropped one to %s for a stop", dropped.topic)
        super().put_nowait(item)

    def _put(self, item: aiomqtt.Message) -> None:
        self._bytes += _size(item)
        (self._stops if _is_stop(item) else self._queue).append(item)

    def _get(self) -> aiomqtt.Message:
        item = (self._stops or self._queue).popleft()
        self._bytes -= _size(item)
        return item


def _size(message: aiomqtt.Message) -> int:
    return len(message.payload) if isinstance(message.payload, bytes | bytearray) else 0


def _is_stop(message: aiomqtt.Message) -> bool:
    return message.topic.value.endswith("/stop")


def _code(reason: Any) -> int:
    """The number of a reason, which paho gives as an int or as an object."""
    return int(getattr(reason, "value", reason) or 0)


async def _first_of(*works: Any) -> str:
    """What the first of several works returns, as text; the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        result = next(task for task in tasks if task in done).result()
        return result if isinstance(result, str) else ""
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
