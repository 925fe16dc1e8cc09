"""Orders that must not be believed, by the ten thousand, into a whole gateway on virtual time.

`forge.py` makes them of what an office really signed, `authority.py` says which of them the office could have sent
itself: those are left out, and counted. Every other one must be refused, and told so within bounds. Accepted is what
tells a siren something, writes an order into the journal, or says `received` or `accepted`.

The attack goes in rounds, a day's orders each. In every fourth the true orders come first, so that mutants bear known
ids; in the rest the mutants come first, and must not keep the true orders out: each of those must be taken then. Some
orders of each day are held back by the attacker, who comes with them, and with what he makes of them, for long after.

    .venv/bin/python -m bench.attack [--mutants 60000] [--seed 1]
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from bench import authority, measure, office
from bench.forge import Forger
from bench.office import DEMO, DEPLOYMENT, SIGNERS, Desk, Order
from controller import config, trust
from controller.event import Activate, Append, Arrived, Notice, QuietTest, Record, Say, SayAgain, Stop
from controller.wire import Receipt, Stage
from firmware_bridge.machine import S
from simulators import site
from simulators.world import Station, World

MUTANTS, SEED = 60_000, 20261122
ROUND = 1_500
"""Mutants of one day's orders; 15 s, so that what they are made of is still fresh."""
KNOWN_EVERY = 4
HELD, HELD_LIMIT = 3, 30
"""Orders of each day that nobody but the attacker gets; by the last of them the first have long expired."""
GAP_S = 0.01
"""Between two: a hundred a second, more than a gateway verifies of four signatures each."""
LEFT_OUT_SHARE = 0.15
"""More that are allowed, and the bench would attack too little."""
MESSAGES_PER_1000, JOURNAL_PER_1000, UPLINK_PER_1000 = 80.0, 60_000.0, 200_000.0
"""Bars of what a flood writes and sends. One answer and one notice a second are let through, also in the 25 s of each
round in which the true orders are given: 55 for 1,000 mutants. The first bursts, and the ends of what was held, come
on top; the uplink has repeats of known answers as well, and is held to a sixth of a line of 1 Mbit/s."""
VERIFY_MS, VERIFICATIONS = 1.0, 1_000
STORY_LIMIT = 20


@dataclass
class Found:
    """What came of the attack."""

    fed: int = 0
    left_out: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    known: int = 0
    tricks: Counter[str] = field(default_factory=Counter)
    true_orders: int = 0
    true_orders_kept_out: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    octets: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        """Mutants of which the gateway said nothing at all."""
        return self.fed - sum(self.refused.values()) - self.known

    def per_1000(self, counter: Mapping[str, int]) -> dict[str, float]:
        return {name: round(n * 1000 / max(1, self.fed), 1) for name, n in sorted(counter.items())}


class Attack:
    """One gateway of the demo with two sirens, listened to at the door of its orders."""

    def __init__(self, seed: int, gateway: str = "gateway-3.toml") -> None:
        self.config = config.load(DEMO / gateway)
        self.world = World(site.load(DEMO / "site.toml"), [self.config], office.trusted())
        self.station: Station = self.world.stations[self.config.id]
        self.desk = Desk(self.config.signals, f"{seed % 2**32:08x}")
        self._chance = Random(seed)
        self._held: list[Order] = []
        self._last_seq = 0
        self.forger = Forger(self._chance, [])
        self.found = Found()
        self._heard: list[object] = []
        self._listen()
        self.world.run(5)

    def _listen(self) -> None:
        """Whatever orders say, they say through `handle`."""
        orders, heard = self.station.gateway.orders, self._heard
        handle = orders.handle

        def listened(now_us: int, event: object) -> list[object]:
            out: list[object] = list(handle(now_us, event))  # type: ignore[arg-type]
            heard.extend(out)
            return out

        orders.handle = listened  # type: ignore[method-assign, assignment]

    def run(self, mutants: int) -> Found:
        """Until so many were fed, those not counted that the office could have sent."""
        n = 0
        while self.found.fed < mutants:
            n += 1
            self._round(min(ROUND, mutants - self.found.fed), known=n % KNOWN_EVERY == 0)
        return self.found

    def _round(self, mutants: int, known: bool) -> None:
        orders = self.desk.a_day(self.world.wall_us)
        held = self._chance.sample(self.desk.a_day(self.world.wall_us), HELD)
        self._held = [*self._held, *held][-HELD_LIMIT:]
        self.forger.orders = [*orders, *orders, *self._held]
        if known:
            self._give(orders)
        self._heard.clear()
        published, written = len(self.station.published), len(self.station.records)
        for _ in range(mutants):
            self._feed(*self.forger.mutant())
        self._count(published, written)
        if not known:
            self._give(orders)
        # An operator ends the day, so that nothing of it sounds into the next.
        self._give([self.desk.stop(self.world.wall_us)])
        self.world.run(20)

    def _feed(self, trick: str, data: bytes) -> None:
        found, world = self.found, self.world
        if not data or authority.authorised(data, SIGNERS, DEPLOYMENT, world.wall_us):
            found.left_out += 1
            return
        found.fed += 1
        found.tricks[trick] += 1
        world.tell(self.station, Arrived("siren/1/o/41/order", data))
        world.run(GAP_S)
        for effect in self._heard:
            match effect:
                case Notice("order-refused", _, detail):
                    found.refused[detail.partition(":")[0]] += 1
                case _ if _is_belief(effect):
                    found.accepted += 1
                    if len(found.stories) < STORY_LIMIT:
                        found.stories.append(f"{trick}: {data[:1200]!r} -> {str(effect)[:300]}")
        # Of a known id it is answered as before, without a look at the signatures.
        found.known += any(isinstance(e, SayAgain) for e in self._heard) \
            and not any(isinstance(e, Notice) for e in self._heard)
        self._heard.clear()

    def _give(self, orders: list[Order]) -> None:
        """The true orders, of which each must be taken that its signers may give."""
        for order in orders:
            may = authority.authorised(order.data, SIGNERS, DEPLOYMENT, self.world.wall_us)
            self._heard.clear()
            self.world.tell(self.station, Arrived(order.topic, order.data))
            self.world.run(0.1)
            taken = any(isinstance(e, Append) and e.record.kind in ("accept", "refuse")
                        and e.record.body["order"] == order.body.id for e in self._heard)
            self.found.true_orders += may
            self.found.true_orders_kept_out += may and not taken
            if may and not taken and len(self.found.stories) < STORY_LIMIT:
                self.found.stories.append(f"kept out: {order.body} -> {str(self._heard)[:300]}")
        self._heard.clear()

    def _count(self, published: int, written: int) -> None:
        for _, message in self.station.published[published:]:
            kind = message.topic.rpartition("/")[2]
            if kind in ("receipt", "event"):
                seq = json.loads(message.payload)["seq"]
                self.found.messages[kind if seq > self._last_seq else "repeated"] += 1
                self.found.octets["uplink"] += len(message.payload)
                self._last_seq = max(seq, self._last_seq)
        for _, record in self.station.records[written:]:
            self.found.octets["journal"] += _size(record)


def _is_belief(effect: object) -> bool:
    match effect:
        case Activate() | Stop() | QuietTest():
            return True
        case Append(_, Record(kind)):
            return kind in ("accept", "refuse")
        case Say(Receipt() as receipt):
            return receipt.stage in (Stage.RECEIVED, Stage.ACCEPTED)
        case _:
            return False


def _size(record: Record) -> int:
    return len(record.kind) + len(json.dumps(dict(record.body)).encode())


def verification_ms(times: int = VERIFICATIONS) -> float:
    """Median CPU time of a whole verification: bytes to persons, two signatures."""
    signals = config.load(DEMO / "gateway-3.toml").signals
    wall_us = 1_789_696_800 * S
    orders = [Desk(signals).live(wall_us, sequence=n).data for n in range(20)]
    taken = []
    for n in range(times):
        began = time.thread_time_ns()
        trust.verify(orders[n % 20], office.trusted().list, wall_us)
        taken.append((time.thread_time_ns() - began) / 1e6)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=MUTANTS)
    parser.add_argument("--seed", type=int, default=SEED)
    words = parser.parse_args()
    attack = Attack(words.seed)
    began = time.monotonic()
    found = attack.run(words.mutants)
    for story in found.stories:
        print(story)
    verify_ms = verification_ms()
    print(f"one order with two signatures verified: {verify_ms:.3f} ms of CPU")
    messages = found.per_1000(found.messages)
    octets = found.per_1000(found.octets)
    measure.report(
        {"mutants": found.fed + found.left_out, "fed": found.fed, "left_out_as_authorised": found.left_out,
         "accepted": found.accepted, "refused": dict(found.refused.most_common()), "answered_as_known": found.known,
         "unanswered": found.unanswered, "true_orders": found.true_orders,
         "true_orders_kept_out": found.true_orders_kept_out, "messages_per_1000": messages,
         "octets_per_1000": octets, "verify_two_ms": round(verify_ms, 3), "tricks": dict(sorted(found.tricks.items())),
         "seed": words.seed, "seconds": round(time.monotonic() - began, 1)},
        {"accepted = 0": found.accepted == 0 < found.fed,
         f"fed >= {MUTANTS:,}": found.fed >= MUTANTS,
         "each mutant refused, or answered as known": found.unanswered == 0,
         f"left out <= {LEFT_OUT_SHARE:.0%}": found.left_out <= LEFT_OUT_SHARE * (found.fed + found.left_out),
         "no true order kept out": found.true_orders_kept_out == 0,
         f"new receipts and events <= {MESSAGES_PER_1000:g} in 1,000":
             sum(messages.values()) - messages.get("repeated", 0) <= MESSAGES_PER_1000,
         f"journal <= {JOURNAL_PER_1000:g} octets in 1,000": octets.get("journal", 0.0) <= JOURNAL_PER_1000,
         f"uplink <= {UPLINK_PER_1000:g} octets in 1,000": octets.get("uplink", 0.0) <= UPLINK_PER_1000,
         f"two signatures <= {VERIFY_MS:g} ms": verify_ms <= VERIFY_MS})


if __name__ == "__main__":
    main()
