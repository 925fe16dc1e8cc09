"""The shell of the centre: carries bytes and time into it and its effects out, for the hub and for a client.

It decides nothing about orders. `sends` False makes a follower of it: what the centre would publish stays here,
because the resident hub publishes it. What is retained is the resident hub's alone to say. Only what it has missed
itself a follower asks for itself: the hub may have that.
"""

import asyncio
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from controller import wire
from controller.wire import decode
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S, Woken
from hub import event as words
from hub.centre import Centre
from hub.config import Config
from hub.connection import Connection
from hub.event import Broker, Clock, Handed, Listed, Note, Publish, Taken, Told
from hub.roster import Roster

CLOCK_US = 1 * S
"""How often the centre is told the time: a step of the wall clock is seen within it."""


async def nap(event: asyncio.Event, seconds: float) -> None:
    """Until `event` is set, and after `seconds` it is. (`wait_for` of Python 3.11 may lose a cancellation.)"""
    handle = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        handle.cancel()


class Shell:
    """One centre and its connection. `on_note` gets lines for people; `changed` is set after every event."""

    def __init__(self, config: Config, identifier: str, sends: bool, takes: bool,
                 on_note: Callable[[Note], None]) -> None:
        hub = config.spec.hub
        self.centre = Centre(hub.id, hub.deployment, config.signals, Roster(config.listed, hub.deployment, hub.area))
        self.sends = sends
        self._resident = takes
        self.taken: dict[str, Taken] = {}
        """The resident hub's answers, by order; for a client, which hands in few."""
        self.messages = 0
        """How many have come in."""
        self.changed = asyncio.Event()
        self._on_note = on_note
        self._submit = wire.hub_topic(hub.id, "submit")
        self._answer = wire.hub_topic(hub.id, "taken")
        self._lists = wire.trust_topic(hub.area)
        self._kick = asyncio.Event()
        # Who hands an order in says so each second until it is answered, and is told when nobody did: one that the
        # broker kept would go out after that.
        asked = (self._submit, 0) if takes else (self._answer, 1)
        filters = (asked, (self._lists, 1), *words.filters())
        self.connection = Connection(config, identifier, takes, filters, self._came, self._broker)

    @staticmethod
    def now_us() -> int:
        return time.monotonic_ns() // 1000

    @staticmethod
    def wall_us() -> int:
        return time.time_ns() // 1000

    async def run(self) -> None:
        """Until cancelled."""
        self.feed(Clock(self.wall_us()))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.connection.run())
            group.create_task(self._wake())

    def feed(self, event: Told | Broker | Clock | Handed | Listed | Woken) -> None:
        self.carry_out(self.centre.handle(self.now_us(), event))

    def carry_out(self, effects: list[Publish | Note]) -> None:
        for effect in effects:
            match effect:
                case Publish(topic, payload, retain):
                    # Who follows no order misses nothing: what was said before it came is no news to it.
                    asks = topic.endswith("/again") and bool(self.centre.orders)
                    if asks or (self.sends and (self._resident or not retain)):
                        self.connection.publish(topic, payload, retain)
                case Note():
                    self._on_note(effect)
        self.changed.set()
        self._kick.set()

    async def _wake(self) -> None:
        clock_us = self.now_us() + CLOCK_US
        while True:
            wait_us = max(0, min(clock_us, self.centre.deadline or clock_us) - self.now_us())
            self._kick.clear()
            await nap(self._kick, wait_us / 1e6)
            if self.now_us() >= clock_us:
                clock_us = self.now_us() + CLOCK_US
                self.feed(Clock(self.wall_us()))
            elif (deadline := self.centre.deadline) is not None and self.now_us() >= deadline:
                self.feed(Woken())

    def _came(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages += 1
        told: Told | None = None
        try:
            if topic == self._submit:
                if not retained:
                    self.feed(Handed(payload))
            elif topic == self._lists:
                if payload:
                    self.feed(Listed(payload))
            elif topic == self._answer:
                taken = decode(Taken, payload)
                self.taken[taken.order] = taken
                self.changed.set()
            else:
                told = words.told(topic, payload, retained, self.wall_us())
                self.feed(told)
        except Malformed as error:
            self._on_note(Note("malformed", subject=topic, detail=str(error), urgent=True))
        except Exception as error:
            # A bug of ours. To end by it helps nobody: the broker would give us the same message again, a hub would
            # lose its orders, and an operator's stop would not go out. It is told and passed over, and nothing is
            # believed any more of the gateway that said it.
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}"
            self._on_note(Note("crashed-on", subject=topic, detail=why, urgent=True))
            if told is not None:
                self.centre.forget(told.gateway)

    def _broker(self, up: bool, why: str) -> None:
        self.feed(Broker(up, why))
