"""Nonces: how an order is known to be fresh where no clock is to be believed.

A gateway that lacks the time shows a nonce. Who signs an order that bears it signs after it was shown, so the order is
no older than the nonce, and the nonce no older than LIFE by the monotonic clock. Each is good for one order, of this
gateway, in this run of it: another run has other ones, so nothing that was used is good again after a restart.

Chance comes from outside, once: who does not know it cannot tell the next nonce from all before.
It refuses to know orders, the clock, and who is shown the nonce.
"""

import hashlib

from firmware_bridge.machine import S

LIFE_US = 300 * S
"""So long may two persons take to sign with it; longer, and who holds an order back chooses when it sounds."""
EVERY_US = 60 * S
"""A new one is shown so often, so that who reads it has four minutes at least."""


class Nonces:
    """`chance` is what nobody can guess; without it there are none."""

    def __init__(self, chance: str = "") -> None:
        self.shown: str | None = None
        """The newest, while one is wanted."""
        self._chance = chance
        self._given = 0
        self._good: dict[str, int] = {}
        """Nonce -> until when; at most LIFE_US / EVERY_US of them."""
        self.deadline: int | None = None
        """When the next is to be shown."""

    def want(self, now_us: int, wanted: bool) -> None:
        """Whether the gateway lacks the time. What was shown stays good for its life, also when the time is back."""
        self._good = {nonce: until_us for nonce, until_us in self._good.items() if self.good(now_us, nonce)}
        if not wanted or not self._chance:
            self.shown, self.deadline = None, None
        elif self.deadline is None or self.deadline <= now_us or self.shown not in self._good:
            self._given += 1
            self.shown = hashlib.sha256(f"{self._chance}/{self._given}".encode()).hexdigest()[:32]
            self._good[self.shown] = now_us + LIFE_US
            self.deadline = now_us + EVERY_US

    def good(self, now_us: int, nonce: str) -> bool:
        return self._good.get(nonce, 0) > now_us

    def use(self, now_us: int, nonce: str) -> bool:
        """Whether it was good; it is no more."""
        return self._good.pop(nonce, 0) > now_us
