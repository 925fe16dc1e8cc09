"""What must hold after kills: judged by the hardware's log, all that went over the broker, and the journal's file.

Wherever a gateway was killed, a siren sounds an order's phase again only as the same live warning going on; nothing
begins after an order's last word; each order has exactly one last word a siren; a siren that bears a tag is silent;
the numbers of receipts and events have no hole, and a number says the same thing each time; every head that was told
is still in the journal.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from controller import wire
from controller.wire import Action, Mode, Receipt, Stage
from firmware_bridge.machine import MS, S
from simulators import promises
from simulators.city import ROOT, City
from simulators.promises import History, Ordered
from simulators.promises.facts import NEVER_US

EDGE_US = 500 * MS
"""How far an edge may be from its instant; a busy machine counts against us."""
PROMISES = ("BOUNDED-ON", "HONEST")
"""Of `promises.py`, those that hold whatever is killed. The others suppose that a process is there to keep them."""
HEARD_US = 400 * MS
"""What left for the wire before a kill is heard so long after it: a head takes 0.3 s to begin."""
TAG_US = 2 * S
"""So long after a technician was told that his tag hangs, nothing that sounded before sounds any longer."""
HEADS = 40
"""Told heads that the auditor is given: the newest."""


@dataclass(frozen=True)
class Tagged:
    """One tag of which a technician was told that it hangs: from then to when he first asked for its coming off."""

    siren: str
    since_us: int
    until_us: int


def judge(city: City, gateway: str, kills_us: Sequence[int], tags: Sequence[Tagged]) -> dict[str, list[str]]:
    """Every breach, by what was broken."""
    history = city.history()
    found = {name: [*promises.PROMISES[name](history)] for name in PROMISES}
    found["JOURNAL-FIRST"] = [*journal_first(city, history, gateway)]
    found["ANSWERED"] = [*answered(history)]
    found["ONCE"] = [*once(history, kills_us)]
    found["LAST-WORD"] = [*last_word(history, kills_us)]
    found["ISOLATION"] = [*isolation(history, kills_us, tags)]
    found["IN-TIME"] = [*in_time(history)]
    found["NO-HOLE"] = [*no_hole(city, gateway)]
    found["AUDIT"] = [*audit(city, gateway)]
    found["SILENT"] = [f"{s.siren} sounds since {s.on_wall_us}" for s in history.soundings if s.off_wall_us is None]
    return {name: breaches for name, breaches in found.items() if breaches}


def spans(history: History, order: Ordered, siren: str) -> list[tuple[int, int]]:
    """(from, until) of each on-phase where its start is ordered; else the whole time in which it may sound: the first
    edge that a receipt tells of may be that of a successor."""
    if order.start_wall_us is not None:
        return history.phases_of(order, siren)
    expires_us = wire.to_wall_us(order.body.expires_at)
    return [(wire.to_wall_us(order.body.issued_at), expires_us + history.timeline(order).end_us)]


def excuses(history: History, order: Ordered, siren: str) -> list[tuple[int, int]]:
    """(from, until) of when it is a reason to sound: `spans`, but nothing of what its gateway rejected, and nothing
    that begins later than its last word there."""
    gateway = history.gateway_of(siren)
    ends = [r for r in (*history.of(order, siren), *history.of(order, ""))
            if r.stage.terminal and r.gateway == gateway]
    if any(r.stage is Stage.REJECTED for r in ends):
        return []
    until_us = min((wire.to_wall_us(r.at) for r in ends), default=NEVER_US) + EDGE_US
    return [(on, min(off, until_us)) for on, off in spans(history, order, siren) if on <= until_us]


def once(history: History, kills_us: Sequence[int]) -> Iterator[str]:
    """AT-MOST-ONCE through kills: a second start in one phase is a live warning that goes on after a kill."""
    for order in history.sounding_orders():
        for siren in order.sirens:
            starts = [s.on_wall_us for s in history.sounds_of(siren)
                      if any(on - EDGE_US <= s.on_wall_us <= off for on, off in spans(history, order, siren))
                      and not _asked_by_another(history, order, siren, s.on_wall_us)]
            twice = _scheduled_twice if order.start_wall_us is not None else _begun_twice
            for what in twice(history, order, siren, starts, kills_us):
                yield f"{siren} {what}: {order.body.mode} order {order.body.id}, starts {starts}"


def _scheduled_twice(history: History, order: Ordered, siren: str, starts: Sequence[int],
                     kills_us: Sequence[int]) -> Iterator[str]:
    """Each phase has its instants."""
    placed = [(n, at) for at in starts for n, (on, off) in enumerate(history.phases_of(order, siren))
              if on - EDGE_US <= at < off]
    for (n, before), (m, after) in pairwise(placed):
        goes_on = order.body.mode is Mode.LIVE and any(before <= at <= after for at in kills_us)
        if n == m and not goes_on:
            yield f"began phase {n + 1} twice"


def _begun_twice(history: History, order: Ordered, siren: str, starts: Sequence[int],
                 kills_us: Sequence[int]) -> Iterator[str]:
    """When it counts from is known to the gateway alone: so no more starts than phases in one life of a process."""
    lives = Counter(sum(at <= start - HEARD_US for at in kills_us) for start in starts)
    if any(times > len(history.timeline(order).phases) for times in lives.values()):
        yield "began more often than it has phases"
    if len(lives) > 1 and order.body.mode is not Mode.LIVE:
        yield "went on with what a kill had cut"


def last_word(history: History, kills_us: Sequence[int]) -> Iterator[str]:
    """Nothing of an order begins after its last receipt, nor on a siren after a stop's."""
    for order in history.orders:
        for siren in order.sirens:
            ends = [r for r in history.of(order, siren) if r.stage.terminal]
            if not ends:
                continue
            end_us = wire.to_wall_us(ends[0].at)
            if order.body.action is Action.STOP:
                before = [o for o in history.sounding_orders() if siren in o.sirens
                          and o.body.issued_at < order.body.issued_at]
            else:
                before = [order]
            for other in before:
                phases = spans(history, other, siren)
                late = [s.on_wall_us for s in history.sounds_of(siren) if s.on_wall_us > end_us + MS
                        and any(on - EDGE_US <= s.on_wall_us < off for on, off in phases)
                        and not _asked_by_another(history, other, siren, s.on_wall_us)
                        and not any(at <= s.on_wall_us <= at + HEARD_US for at in kills_us)]
                for at in late:
                    yield (f"{siren} began at {at} for {other.body.id}, after the last word of {order.body.id}"
                           f" at {end_us}")


def isolation(history: History, kills_us: Sequence[int], tags: Sequence[Tagged]) -> Iterator[str]:
    """ISOLATION: a siren that bears a tag does not begin, through whatever kills; and what sounded ends with it, as
    long as a process is there to end it."""
    for tag in tags:
        for s in history.sounds_of(tag.siren):
            heard_us, end_us = tag.since_us + HEARD_US, tag.since_us + TAG_US
            if heard_us < s.on_wall_us <= tag.until_us:
                yield f"{tag.siren} began at {s.on_wall_us}, tagged since {tag.since_us}"
            if (s.on_wall_us <= heard_us and (s.off_wall_us is None or s.off_wall_us > end_us)
                    and not any(tag.since_us <= at <= end_us for at in kills_us)):
                yield f"{tag.siren} sounded on to {s.off_wall_us}, tagged since {tag.since_us}"


def _asked_by_another(history: History, order: Ordered, siren: str, at_us: int) -> bool:
    return any(on - EDGE_US <= at_us < off for o in history.sounding_orders() if o is not order and siren in o.sirens
               for on, off in excuses(history, o, siren))


def answered(history: History) -> Iterator[str]:
    """ANSWERED: one last word an order and siren; a refusal of the whole order is one for all of them."""
    whole: dict[tuple[str, str], set[int]] = {}
    for r in history.receipts:
        if r.stage.terminal and not r.siren:
            whole.setdefault((r.order, r.gateway), set()).add(r.seq)
    sirens = history.sirens()
    for order in history.orders:
        for siren in order.sirens:
            refused = whole.get((order.body.id, sirens[siren][0].id), set())
            ends = refused | {r.seq for r in history.of(order, siren) if r.stage.terminal}
            if len(ends) != 1:
                yield f"{siren} has {len(ends)} last words for order {order.body.id}: {sorted(ends)}"


def journal_first(city: City, history: History, gateway: str) -> Iterator[str]:
    """Whatever sounds was accepted on the disk before: of the orders whose time it is, one at least."""
    accepted: dict[str, int] = {}
    for wall_us, record in history.journals[gateway]:
        if record.kind == "accept":
            accepted.setdefault(str(record.body["order"]), wall_us)
    without_disk = any(event.what == "no-journal" for event in city.events())
    for s in history.soundings:
        asked = [o for o in history.sounding_orders() if s.siren in o.sirens
                 and any(on - EDGE_US <= s.on_wall_us <= off for on, off in excuses(history, o, s.siren))]
        first = any(accepted.get(o.body.id, s.on_wall_us + 1) <= s.on_wall_us for o in asked)
        # A disk that does not answer within 200 ms does not hold up a live warning; then it is told.
        if not first and not (without_disk and any(o.body.mode is Mode.LIVE for o in asked)):
            when = {o.body.id: accepted.get(o.body.id) for o in asked}
            yield f"{s.siren} sounded at {s.on_wall_us}, accepted: {when}"


def in_time(history: History) -> Iterator[str]:
    """NO-UNAUTH: whatever sounds lies in the time of an order that asked for it."""
    for s in history.soundings:
        asked = [span for o in history.sounding_orders() if s.siren in o.sirens
                 for span in excuses(history, o, s.siren)]
        if not any(on - EDGE_US <= s.on_wall_us <= off for on, off in asked):
            yield f"{s.siren} sounded at {s.on_wall_us}, when no order asked for it"


def numbered(city: City, gateway: str) -> Mapping[int, list[bytes]]:
    """What was told under each number."""
    told: dict[int, list[bytes]] = {}
    for _, topic, payload in list(city.messages):
        if f"/{gateway}/" in topic and topic.endswith(("/receipt", "/event")):
            told.setdefault(int(json.loads(payload)["seq"]), []).append(payload)
    return told


def no_hole(city: City, gateway: str) -> Iterator[str]:
    """Numbers without a hole from the first on, each with one content."""
    told = numbered(city, gateway)
    for seq in range(1, max(told, default=0) + 1):
        if seq not in told:
            yield f"{gateway} never told number {seq}"
        elif len(set(told[seq])) > 1:
            yield f"{gateway} told two things as number {seq}: {sorted(set(told[seq]))}"


def audit(city: City, gateway: str) -> Iterator[str]:
    """`siren-hub audit verify` on the journal, with the heads that were told."""
    config = next(c for c in city.configs if c.id == gateway)
    heads: dict[int, str] = {}
    for _, topic, payload in list(city.messages):
        if topic.endswith((f"/{gateway}/status", f"/{gateway}/health")) and payload:
            head = json.loads(payload).get("journal")
            if head and head["n"]:
                heads[head["n"]] = head["hash"]
    named = [f"--head={hash}@{n}" for n, hash in sorted(heads.items())[-HEADS:]]
    done = subprocess.run([sys.executable, "-m", "hub", "audit", "verify", str(config.path(config.spec.journal.path)),
                           *named], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0 or not named:
        yield f"{gateway}, {len(named)} heads: {done.stdout} {done.stderr}"


def settled(city: City, gateway: str, orders: Sequence[Ordered], receipts: Sequence[Receipt]) -> bool:
    """Every order has its last word, and no number is missing."""
    told = numbered(city, gateway)
    return not unanswered(orders, receipts) and len(told) == max(told, default=0)


def unanswered(orders: Sequence[Ordered], receipts: Sequence[Receipt]) -> set[str]:
    """The orders that some siren has no last word of."""
    ended = {(r.order, r.siren) for r in receipts if r.stage.terminal}
    return {o.body.id for o in orders
            if (o.body.id, "") not in ended and any((o.body.id, siren) not in ended for siren in o.sirens)}
