"""The hub's and its clients' connection to the broker: connects, subscribes, reads, publishes, and comes back.

MQTT 3.1.1, which every broker speaks. What is waiting to be published is dropped when the connection goes: the
machine that wanted it sent will want it again. It decides nothing and knows no message.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import aiomqtt
from aiomqtt import MqttError, ProtocolVersion

from controller import tls
from hub.config import Config

QUEUE_LIMIT = 20_000
"""Messages waiting for the broker: one round of re-sending to every gateway of every order in flight, and more."""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between attempts; the last is repeated."""
TIMEOUT_S = 5.0
"""A broker that does not answer in this time is as good as gone."""


class Connection:
    """`on_message` gets topic, payload and whether it was retained; `on_broker` whether it is up, and why not. Of
    `filters`, each with its QoS, the broker keeps what comes while we are away where that is 1."""

    def __init__(self, config: Config, identifier: str, keep_session: bool, filters: Sequence[tuple[str, int]],
                 on_message: Callable[[str, bytes, bool], None], on_broker: Callable[[bool, str], None]) -> None:
        self._config = config
        self._identifier = identifier
        self._keep_session = keep_session
        self._filters = filters
        self._on_message = on_message
        self._on_broker = on_broker
        self._queue: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue(QUEUE_LIMIT)
        self._up = False
        self.lost = 0
        """Messages handed in of which the broker has not said that it has them, and which are sent no more."""
        self._tls: tls.Context | None = None

    @property
    def place(self) -> str:
        mqtt = self._config.spec.mqtt
        return f"{mqtt.host}:{mqtt.port}"

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """QoS 1; dropped while there is no broker."""
        if self._up and not self._queue.full():
            self._queue.put_nowait((topic, payload, retain))
        else:
            self.lost += 1

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            why = "closed"
            try:
                async with self._client() as client:
                    for one, qos in self._filters:
                        await client.subscribe(one, qos=qos)
                    failures = 0
                    self._up = True
                    self._on_broker(True, self.place)
                    await self._carry(client)
            except MqttError as error:
                mqtt = self._config.spec.mqtt
                why = tls.refused(mqtt, self._config.file.parent, self._tls) or str(error)
            except OSError as error:
                why = tls.unusable(self._config.spec.mqtt, self._config.file.parent, error)
            self._drop(why)
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    async def flush(self) -> None:
        """Until the broker has everything that was handed in, or it is `lost`."""
        await self._queue.join()

    async def _carry(self, client: aiomqtt.Client) -> None:
        """Both ways until the connection breaks, which raises."""
        sending = asyncio.create_task(self._send(client))
        try:
            reading = asyncio.create_task(self._read(client))
            try:
                done, _ = await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            topic, payload, retain = await self._queue.get()
            try:
                await client.publish(topic, payload, qos=1, retain=retain)
            except BaseException:
                self.lost += 1
                raise
            finally:
                self._queue.task_done()

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self._on_message(message.topic.value, payload, bool(message.retain))

    def _drop(self, why: str) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
            self.lost += 1
            self._queue.task_done()
        self._up = False
        self._on_broker(False, f"{self.place}: {why}")

    def _client(self) -> aiomqtt.Client:
        mqtt = self._config.spec.mqtt
        self._tls = tls.context(mqtt, self._config.file.parent)
        return _Client(
            mqtt.host, mqtt.port, identifier=self._identifier, protocol=ProtocolVersion.V311,
            clean_session=not self._keep_session, keepalive=mqtt.keepalive_s, timeout=TIMEOUT_S, tls_context=self._tls,
            username=mqtt.username, password=tls.password(mqtt, self._config.file.parent),
        )


class _Client(aiomqtt.Client):
    """aiomqtt waits out its time-out when the broker hangs up before it has answered, as after a certificate it
    does not believe; this does not."""

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        if not self._connected.done():
            self._connected.set_exception(MqttError("the broker hung up"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
