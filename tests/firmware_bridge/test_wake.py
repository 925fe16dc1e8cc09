"""A waker on a real loop: it wakes once, never before the instant that was set last."""

import asyncio

import pytest

from firmware_bridge.link import now_us
from firmware_bridge.machine import MS
from firmware_bridge.wake import Waker

PATIENCE_S = 10.0
"""Longest wait for something that must happen; the machine under the tests may be starved for seconds."""


class Bed:
    """A waker, and the instants at which it woke."""

    def __init__(self) -> None:
        self.woken: list[int] = []
        self._woke = asyncio.Event()
        self.waker = Waker(self._wake)

    def _wake(self) -> None:
        self.woken.append(now_us())
        self._woke.set()

    async def woke(self) -> int:
        """When it wakes next."""
        self._woke.clear()
        await asyncio.wait_for(self._woke.wait(), PATIENCE_S)
        return self.woken[-1]


@pytest.mark.parametrize("first_ms", [1, 20, 60])
async def test_only_the_instant_that_was_set_last_counts(first_ms: int) -> None:
    bed, began_us = Bed(), now_us()
    bed.waker.set(began_us + first_ms * MS)
    bed.waker.set(began_us + 40 * MS)
    assert await bed.woke() >= began_us + 40 * MS
    # Whatever was left of the other would come before this one.
    bed.waker.set(began_us + 80 * MS)
    assert await bed.woke() >= began_us + 80 * MS
    assert len(bed.woken) == 2


async def test_an_instant_that_has_passed_wakes_at_once_and_once() -> None:
    bed, began_us = Bed(), now_us()
    bed.waker.set(began_us - MS)
    await bed.woke()
    bed.waker.set(began_us + 20 * MS)
    assert await bed.woke() >= began_us + 20 * MS
    assert len(bed.woken) == 2


@pytest.mark.parametrize("stopped", [True, False])
async def test_without_an_instant_nothing_wakes(stopped: bool) -> None:
    bed, other, began_us = Bed(), Bed(), now_us()
    bed.waker.set(began_us + 10 * MS)
    if stopped:
        bed.waker.stop()
    else:
        bed.waker.set(None)
    other.waker.set(began_us + 30 * MS)
    await other.woke()
    assert bed.woken == []
    bed.waker.set(now_us() + MS)
    await bed.woke()
    assert len(bed.woken) == 1
