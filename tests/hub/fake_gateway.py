"""A gateway as the hub sees one: retained birth and status, and receipts as its script says. For tests of the hub.

It is written against the wire's own words with a plain MQTT client, and shares no code with the real gateway.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt

from controller import wire
from controller.signal import Signals
from controller.wire import Birth, Evidence, Health, OrderBody, Receipt, SirenCard, Stage, State, Status

AREA = "41/01/05/001/001"


class FakeGateway:
    """`deaf` attempts of an order are overheard; `fails` sirens fail; a sounding lasts `seconds`."""

    def __init__(self, client: aiomqtt.Client, id: str, sirens: tuple[str, ...], signals: Signals, wall_us: int,
                 deaf: int = 0, fails: tuple[str, ...] = (), seconds: float = 0.3) -> None:
        self.client = client
        self.id = id
        self.sirens = sirens
        self.signals = signals
        self.wall_us = wall_us
        self.deaf = deaf
        self.fails = fails
        self.seconds = seconds
        self.orders: list[tuple[str, bytes]] = []
        self.seq = 0
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def root(self) -> str:
        return wire.state_root(AREA, self.id)

    @property
    def at(self) -> str:
        return wire.to_text(self.wall_us)

    async def tell(self) -> None:
        cards = tuple(SirenCard(id=s, name=f"name of {s}", type="motor", area=AREA, layer=wire.Layer.SURFACE,
                                feedback=True) for s in self.sirens)
        birth = Birth(gateway=self.id, session="one", at=self.at, version="0", area=AREA, deployment="demo",
                      sirens=cards, devices=(), trust_version=1,
                      signals={s: self.signals.digest(s) for s in self.signals.signals})
        status = Status(gateway=self.id, session="one", state="online", at=self.at)
        for leaf, message in (("birth", birth), ("status", status),
                              ("health", Health(gateway=self.id, at=self.at, outbox=0))):
            await self.client.publish(f"{self.root}/{leaf}", message.encode(), qos=1, retain=True)
        for siren in self.sirens:
            await self.client.publish(f"{self.root}/{siren}/state", State(id=siren, at=self.at, state="IDLE").encode(),
                                      qos=1, retain=True)

    async def run(self) -> None:
        for topic in wire.subscriptions(AREA, self.id):
            await self.client.subscribe(topic, qos=1)
        await self.tell()
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.orders.append((message.topic.value, message.payload))
            if len(self.orders) > self.deaf:
                await self._answer(message.payload)

    async def _answer(self, payload: bytes) -> None:
        envelope = json.loads(payload)
        inner = envelope["payload"]
        body = wire.decode(OrderBody, base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4)))
        targets = [s for s in self.sirens if body.targets(s, AREA, wire.Layer.SURFACE)]
        await self.say(body, "", Stage.RECEIVED)
        for siren in targets:
            if body.action is wire.Action.STOP:
                running = self._running.pop(siren, None)
                if running is not None:
                    running.cancel()
                await self.say(body, siren, Stage.FINISHED, "" if running else "nothing sounded")
            elif siren not in self._running:
                self._running[siren] = asyncio.create_task(self._sound(body, siren))

    async def _sound(self, body: OrderBody, siren: str) -> None:
        try:
            await self.say(body, siren, Stage.ACCEPTED)
            await self.say(body, siren, Stage.STARTED, first_edge=wire.to_text(self.wall_us + self.seq * 1000, 6),
                           late_ms=float(self.seq))
            await asyncio.sleep(self.seconds)
            if siren in self.fails:
                await self.say(body, siren, Stage.FAILED, "no feedback",
                               evidence=Evidence(phases=3, commanded=3, sensed=0, independent=True))
            else:
                await self.say(body, siren, Stage.FINISHED,
                               evidence=Evidence(phases=3, commanded=3, sensed=3, independent=True))
        except asyncio.CancelledError:
            await self.say(body, siren, Stage.STOPPED, "operator",
                           evidence=Evidence(phases=3, commanded=1, sensed=1, independent=True))

    async def say(self, body: OrderBody, siren: str, stage: Stage, reason: str = "", **more: object) -> None:
        self.seq += 1
        receipt = wire.validate(Receipt, {"v": 1, "seq": self.seq, "gateway": self.id, "order": body.id, "siren": siren,
                                          "stage": stage.value, "reason": reason, "mode": body.mode.value,
                                          "at": self.at} | {
            k: v.model_dump() if isinstance(v, Evidence) else v for k, v in more.items()})
        await self.client.publish(f"{self.root}/receipt", receipt.encode(), qos=1)


@asynccontextmanager
async def gateway(port: int, id: str, sirens: tuple[str, ...], signals: Signals, wall_us: int, deaf: int = 0,
                  fails: tuple[str, ...] = (), seconds: float = 0.3) -> AsyncIterator[FakeGateway]:
    """One that is connected and has told its birth."""
    will = aiomqtt.Will(f"{wire.state_root(AREA, id)}/status", Status(
        gateway=id, session="one", state="lost", at=wire.to_text(wall_us)).encode(), qos=1, retain=True)
    async with aiomqtt.Client("127.0.0.1", port, identifier=id, will=will) as client:
        fake = FakeGateway(client, id, sirens, signals, wall_us, deaf, fails, seconds)
        task = asyncio.create_task(fake.run())
        try:
            yield fake
        finally:
            while not task.done():
                # Python 3.11's `wait_for`, in aiomqtt, loses a cancel that comes together with what it waits for.
                task.cancel()
                await asyncio.wait({task}, timeout=1)
