"""The promises, each a checker: judged from what the simulated devices logged, never from what a gateway believes.

A `History` is what happened: the site's own sound log, the orders that were signed, every receipt that reached the
hub, and the gateways' journals. A checker answers with the breaches it found, in words; none means the promise was
kept in this history, and no more than that. Definitions: DESIGN §6.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.config import Config, Drive, SirenSection
from controller.event import Record
from controller.signal import Phase, Signals, Timeline
from controller.wire import Action, OrderBody, Receipt, Stage, to_wall_us
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import OutputClass

GOLDEN_US = 500 * MS
"""Edges within half a second of the published pattern."""
STOP_US = 2 * S
"""Silence after a stop, on a healthy bus."""
LEASE_US = 5 * S
"""L of class B: no lease is longer."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """One stretch of sound of one siren, as the site logged it. `off_wall_us` None: it never ended."""

    siren: str
    on_wall_us: int
    off_wall_us: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """One order that was signed, and to which sirens it was addressed."""

    body: OrderBody
    sirens: tuple[str, ...]

    @property
    def start_wall_us(self) -> int | None:
        sound = self.body.sound
        return None if sound is None or sound.start_at is None else to_wall_us(sound.start_at)


@dataclass(frozen=True, slots=True)
class History:
    """Everything a judge may look at."""

    configs: Sequence[Config]
    orders: Sequence[Ordered]
    receipts: Sequence[Receipt]
    soundings: Sequence[Sounding]
    journals: Mapping[str, Sequence[tuple[int, Record]]]
    """Gateway -> (wall_us when written, record), in order."""

    @property
    def signals(self) -> Signals:
        return self.configs[0].signals

    def sirens(self) -> dict[str, tuple[Config, SirenSection]]:
        return {s.id: (c, s) for c in self.configs for s in c.spec.siren}

    def sounds_of(self, siren: str) -> list[Sounding]:
        return sorted((s for s in self.soundings if s.siren == siren), key=lambda s: s.on_wall_us)

    def sounding_orders(self) -> list[Ordered]:
        return [o for o in self.orders if o.body.action is Action.SOUND]

    def timeline(self, order: Ordered) -> Timeline:
        assert order.body.sound is not None
        return self.signals.timeline(order.body.sound.name)

    def of(self, order: Ordered, siren: str) -> list[Receipt]:
        """The receipts of one order and siren, each number once."""
        mine = {(r.gateway, r.seq): r for r in self.receipts if r.order == order.body.id and r.siren == siren}
        return [mine[key] for key in sorted(mine)]

    def start_of(self, order: Ordered, siren: str) -> int | None:
        """The instant from which the pattern counts: ordered, or when the gateway said it began."""
        if order.start_wall_us is not None:
            return order.start_wall_us
        first = next((r.first_edge for r in self.of(order, siren) if r.first_edge is not None), None)
        return None if first is None else to_wall_us(first)

    def phases_of(self, order: Ordered, siren: str) -> list[tuple[int, int]]:
        """(on, off) in wall time of each on-phase this order asked of this siren."""
        start = self.start_of(order, siren)
        if start is None:
            return []
        return [(start + p.on_us, start + p.off_us) for p in _joined(self.timeline(order).phases)]

    def stopped_at(self, siren: str, since_us: int) -> int | None:
        """When the first stop after `since_us` that meant this siren was issued."""
        stops = [to_wall_us(o.body.issued_at) for o in self.orders
                 if o.body.action is Action.STOP and siren in o.sirens and to_wall_us(o.body.issued_at) >= since_us]
        return min(stops, default=None)


Breaches = Iterator[str]


def no_unauth(history: History) -> Breaches:
    """NO-UNAUTH: our outputs sound only under an authorised cause."""
    for sounding in history.soundings:
        spans = [span for order in history.sounding_orders() if sounding.siren in order.sirens
                 for span in history.phases_of(order, sounding.siren)]
        if not any(on - GOLDEN_US <= sounding.on_wall_us <= off for on, off in spans):
            yield f"{sounding.siren} sounded at {sounding.on_wall_us} without an order that asked for it"


def at_most_once(history: History) -> Breaches:
    """AT-MOST-ONCE: no on-phase of an order sounds twice on a siren."""
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            starts = Counter(n for s in history.sounds_of(siren) for n, (on, off) in enumerate(phases)
                             if on - GOLDEN_US <= s.on_wall_us < off)
            for n, times in starts.items():
                if times > 1:
                    yield f"{siren} began phase {n + 1} of order {order.body.id} {times} times"


def journal_first(history: History) -> Breaches:
    """JOURNAL-FIRST: the acceptance is durable before the first output."""
    sirens = history.sirens()
    for order in history.sounding_orders():
        for siren in order.sirens:
            sounds = [s for s in history.sounds_of(siren) if _under(s, history.phases_of(order, siren))]
            if not sounds:
                continue
            gateway = sirens[siren][0].id
            journal = history.journals.get(gateway, ())
            accepts = [wall_us for wall_us, r in journal if r.kind == "accept" and r.body.get("order") == order.body.id]
            told = [to_wall_us(str(r.body["at"])) for _, r in journal if r.kind == "receipt"
                    and (r.body.get("order"), r.body.get("siren"), r.body.get("stage"))
                    == (order.body.id, siren, Stage.ACCEPTED)]
            if not accepts:
                yield f"{gateway} sounded {siren} for order {order.body.id}, which its journal does not hold"
            # A receipt `accepted` is made when the disk has answered: that instant, too, comes before the sound.
            elif not told or max(accepts[0], told[0]) > sounds[0].on_wall_us:
                yield f"{gateway} sounded {siren} before order {order.body.id} was durable"


def stop_wins(history: History) -> Breaches:
    """STOP-WINS: silent within two seconds of a stop, and no start after it."""
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            stop = history.stopped_at(siren, to_wall_us(order.body.issued_at))
            if stop is None or not phases:
                continue
            for s in history.sounds_of(siren):
                if not _under(s, phases):
                    continue
                if s.on_wall_us > stop + STOP_US:
                    yield f"{siren} started {(s.on_wall_us - stop) / S:.3f} s after its stop"
                elif s.off_wall_us is None or s.off_wall_us > stop + STOP_US:
                    yield f"{siren} still sounded two seconds after its stop"


def bounded_on(history: History) -> Breaches:
    """BOUNDED-ON: no output outlives its on-phase and L (lease, hard-wired limit, the head's own function)."""
    sirens = history.sirens()
    for order in history.sounding_orders():
        for siren in order.sirens:
            config, section = sirens[siren]
            output = config.profile_of(Drive.of(section.drive).device).output
            assert output is not None
            for s in history.sounds_of(siren):
                span = next((p for p in history.phases_of(order, siren)
                             if p[0] - GOLDEN_US <= s.on_wall_us < p[1]), None)
                if span is None:
                    continue
                match output.class_:
                    case OutputClass.A:
                        bound = span[1] + round((output.watchdog_s or 0) * S)
                    case OutputClass.B:
                        bound = span[1] + LEASE_US
                    case OutputClass.B_PRIME:
                        bound = max(span[1] + GOLDEN_US, span[0] + round((output.self_limit_s or 0) * S))
                    case OutputClass.C:
                        bound = span[0] + round((section.hard_limit_s or 0) * S) + GOLDEN_US
                if s.off_wall_us is None or s.off_wall_us > bound:
                    yield f"{siren} sounded beyond its bound in order {order.body.id}"


def honest(history: History) -> Breaches:
    """HONEST: what is said to have sounded did, and what did not is not said to."""
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            sounds = history.sounds_of(siren)
            real = sum(any(_overlap(s, on, off) for s in sounds) for on, off in phases)
            for receipt in history.of(order, siren):
                evidence = receipt.evidence
                if evidence is None:
                    continue
                if evidence.sensed > real:
                    yield f"{siren}: receipt {receipt.seq} says {evidence.sensed} phases were sensed, {real} sounded"
                if receipt.stage is Stage.FINISHED and evidence.sounded and 5 * real < 4 * evidence.phases:
                    yield f"{siren} is said to have sounded in {real} of {evidence.phases} phases"


def answered(history: History) -> Breaches:
    """ANSWERED: exactly one terminal receipt an order and siren."""
    for order in history.orders:
        for siren in order.sirens:
            ends = [r for r in history.of(order, siren) if r.stage.terminal]
            if len(ends) != 1:
                stages = ", ".join(r.stage for r in ends) or "none"
                yield f"{siren} has {len(ends)} terminal receipts for order {order.body.id}: {stages}"


def golden(history: History) -> Breaches:
    """GOLDEN: every edge of what sounded lies within half a second of the published pattern.

    A siren that never sounded breaks no pattern (its terminal receipt says so: HONEST, ANSWERED); one that was
    stopped is judged until its stop.
    """
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            sounds = [s for s in history.sounds_of(siren) if _under(s, phases)]
            if not sounds:
                continue
            stop = history.stopped_at(siren, to_wall_us(order.body.issued_at))
            for n, (on, off) in enumerate(phases):
                if stop is not None and off > stop:
                    continue
                mine = [s for s in sounds if _overlap(s, on, off)]
                if len(mine) != 1:
                    yield f"{siren}: {len(mine)} stretches of sound in phase {n + 1} of order {order.body.id}"
                    continue
                for name, real, due in (("on", mine[0].on_wall_us, on), ("off", mine[0].off_wall_us, off)):
                    if real is None or abs(real - due) > GOLDEN_US:
                        late = "never" if real is None else f"{(real - due) / MS:.0f} ms off"
                        yield f"{siren}: {name}-edge of phase {n + 1} is {late}"


PROMISES: Mapping[str, Callable[[History], Breaches]] = {
    "NO-UNAUTH": no_unauth,
    "AT-MOST-ONCE": at_most_once,
    "JOURNAL-FIRST": journal_first,
    "STOP-WINS": stop_wins,
    "BOUNDED-ON": bounded_on,
    "HONEST": honest,
    "ANSWERED": answered,
    "GOLDEN": golden,
}


def judge(history: History) -> dict[str, list[str]]:
    """Every promise with its breaches."""
    return {name: list(checker(history)) for name, checker in PROMISES.items()}


def soundings(log: Iterable[Mapping[str, object]], configs: Sequence[Config]) -> list[Sounding]:
    """A site's sound log (`siren-sim serve --log`) as stretches of sound of the sirens that gateways name."""
    drives = {(Drive.of(s.drive).device, Drive.of(s.drive).channel): s.id for c in configs for s in c.spec.siren}
    begun: dict[str, tuple[int, str]] = {}
    out: list[Sounding] = []
    for line in log:
        siren = drives.get((str(line["unit"]), line["channel"]))  # type: ignore[arg-type]
        wall_us, cause = int(str(line["wall_us"])), str(line["cause"])
        if siren is None:
            continue
        if line["on"]:
            begun[siren] = wall_us, cause
        elif siren in begun:
            out.append(Sounding(siren, begun[siren][0], wall_us, begun.pop(siren)[1]))
    return out + [Sounding(siren, on, None, cause) for siren, (on, cause) in begun.items()]


def _joined(phases: Sequence[Phase]) -> list[Phase]:
    """On-phases that touch are one stretch of sound."""
    out: list[Phase] = []
    for phase in phases:
        if out and out[-1].off_us == phase.on_us:
            out[-1] = Phase(out[-1].on_us, phase.off_us, out[-1].tone)
        else:
            out.append(phase)
    return out


def _overlap(sounding: Sounding, on: int, off: int) -> bool:
    end = sounding.off_wall_us
    return sounding.on_wall_us < off and (end is None or end > on)


def _under(sounding: Sounding, phases: Sequence[tuple[int, int]]) -> bool:
    return any(on - GOLDEN_US <= sounding.on_wall_us < off for on, off in phases)
