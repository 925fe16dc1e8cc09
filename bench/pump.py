"""One bus on one link, kept busy: reads follow each other until so many are answered.

It stands for whoever uses a bus, and does no more for a read than submit it and look at the answer.
"""

import asyncio
from collections.abc import Callable

from controller.wiring import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import BusEvent, Finished, LinkUp, Priority, Read, Reply, Send, Submit, Table, Transaction
from firmware_bridge.link import Link, now_us
from firmware_bridge.machine import Woken
from firmware_bridge.wake import Waker

TEN = Read(Table.HOLDING, 0, 10)
LISTEN_S = 0.5
"""A serial line is listened to before it is taken; that is no part of what is measured."""


class Pump:
    """`ahead` reads are with the bus at any time, of units 1 to `units` in turn. `answered` is told of each answer."""

    def __init__(self, bus: Bus, link: BusSection, ahead: int, answered: Callable[[Reply], None],
                 units: int = 1) -> None:
        self._bus = bus
        self._units = units
        self._link = Link(link, self._feed)
        self._ahead = ahead
        self._answered = answered
        self._submitted = self._left = 0
        self._waker = Waker(lambda: self._feed(Woken()))
        self._up = asyncio.Event()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        self._link.open()
        await self._up.wait()
        await asyncio.sleep(LISTEN_S)

    async def run(self, reads: int) -> None:
        """Until so many are answered; AssertionError when one is not. It may be run again."""
        self._done = asyncio.get_running_loop().create_future()
        self._left = reads
        self._submitted = min(self._ahead, reads)
        for n in range(self._submitted):
            self._feed(self._next(n))
        await self._done

    def close(self) -> None:
        self._link.close()
        self._waker.stop()

    def _next(self, n: int) -> BusEvent:
        return Submit(self._bus.id, Transaction("bench", n, 1 + n % self._units, TEN, Priority.READ_BACK))

    def _feed(self, event: BusEvent) -> None:
        work = [event]
        while work:
            for effect in self._bus.handle(now_us(), work.pop(0)):
                if isinstance(effect, Send):
                    self._link.send(effect.data, effect.at_us)
                elif isinstance(effect, Finished):
                    if not isinstance(effect.outcome, Reply):
                        self._fail(effect)
                        return
                    self._answered(effect.outcome)
                    self._left -= 1
                    if self._left >= self._ahead:
                        self._submitted += 1
                        work.append(self._next(self._submitted))
                    elif self._left == 0:
                        self._done.set_result(None)
        self._waker.set(self._bus.deadline)
        if isinstance(event, LinkUp):
            self._up.set()

    def _fail(self, effect: Finished) -> None:
        if not self._done.done():
            self._done.set_exception(AssertionError(f"a read that was not answered: {effect}"))
