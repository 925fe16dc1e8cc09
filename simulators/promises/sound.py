"""What is heard: BOUNDED-ON, STOP-WINS, LIVENESS, GOLDEN, PRIORITY, ISOLATION. Judged from contacts."""

from collections.abc import Sequence
from itertools import pairwise

from controller.signal import Phase, Signals
from controller.wire import Mode
from firmware_bridge.machine import MS, S
from simulators.promises import flood
from simulators.promises.authority import forgotten
from simulators.promises.facts import NEVER_US, Arrival, Asked, Ordered
from simulators.promises.history import GOLDEN_US, LEASE_US, LIVE_US, STOP_US, Breaches, History, joined, overlap

BOOT_US = 8 * S
"""A process that was started so long ago has read its outputs; LIVENESS asks nothing of a younger one."""
YOUNG_US = 120 * S
"""Without a disk nothing older sounds; a second time from docs/modes.md."""
DISK_US = 3 * S
"""A gateway knows so soon that its disk is well again."""
KEY_US = 3 * S
"""A key that was turned is seen with the next poll of its point, at most a second later, and what sounds is ended."""
BEGIN_US = 1 * S
"""What is ordered for now begins so soon on a line where all is well: eight writes at 9600 baud behind a poll, and a
head that takes 0.3 s to begin."""
SWAP_US = 1500 * MS
"""Between two patterns: a motor's contact rests for a moment, and a head's old function ends."""
FAMILY = {"air-raid": 4, "all-clear": 4, "disaster": 3, "flood": 2, "test": 2}
"""What outranks what, written a second time from docs/orders.md."""
DRILL = 1


def bounded_on(history: History) -> Breaches:
    """BOUNDED-ON: no output stays on for longer than the longest on-phase that was asked of it and L.

    L is that of its class, whoever dies. Phases of several orders that were for this siren at the time may follow on
    each other without a pause, and add up. Where the silence between two phases of one order is shorter than L, an off
    that fails in it, because what drives the siren is in trouble then, may be overtaken by the next phase: it is
    counted from the end of that trouble, or of that order. An output that is welded, or held on by hand, is bounded by
    nothing of ours.
    """
    for siren in history.sirens():
        asked = [(history.spans(o, siren), *_longest_and_gap(history, o)) for o in history.sounding_orders()
                 if siren in o.sirens]
        asked += [([(a.at_us, a.at_us + STOP_US)], round(a.seconds * S), NEVER_US) for a in history.asks
                  if a.siren == siren]
        asked += [(history.flood_spans(siren), w.phase_us, NEVER_US) for w in history.watched if siren in w.sirens]
        bound_us = history.bound_us(siren)
        for one in history.contacts_of(siren):
            meant = [(max(off for _, off in met), longest, gap) for spans, longest, gap in asked if (met := [
                (on, off) for on, off in spans if on <= one.end_us and off + bound_us >= one.on_wall_us])]
            limit_us = bound_us + sum(longest for _, longest, _ in meant)
            since_us, most_us = one.on_wall_us, max((off for off, _, gap in meant if gap <= bound_us), default=0)
            for t in sorted(history.hurting(siren, since_us, one.end_us, 0), key=lambda t: t.from_us):
                if t.from_us <= since_us + limit_us:
                    since_us = max(since_us, min(t.to_us, most_us))
            if one.end_us - since_us > limit_us and not history.held(siren, one.on_wall_us, one.end_us):
                yield f"{siren} was on from {one.on_wall_us} for more than {limit_us / S:.1f} s"


def _longest_and_gap(history: History, order: Ordered) -> tuple[int, int]:
    """The longest on-phase of an order, and its shortest silence."""
    phases = _lengths(history, order)
    return (max(p.off_us - p.on_us for p in phases),
            min((b.on_us - a.off_us for a, b in pairwise(phases)), default=NEVER_US))


def _lengths(history: History, order: Ordered) -> list[Phase]:
    return joined(history.timeline(order).phases)


def stop_wins(history: History) -> Breaches:
    """STOP-WINS: silent within two seconds of a stop's arrival, and nothing that was issued before it begins after it.

    The two seconds are for a healthy bus: nothing wrong with output, unit, line or gateway from shortly before the
    stop until they are over; otherwise L of the class. A stop whose process died within half a second has not been
    heard (the centre sends it again); what was issued before is forbidden only when the gateway's clock was right. A
    stop that a process took with it when it died, for the disk had taken nothing since it came, forbids nothing after
    that, as with AT-MOST-ONCE.
    """
    for siren in history.sirens():
        gateway = history.gateway_of(siren)
        stops = [(a.at_us, o.issued_us, a.lived_us, _known_until_us(history, history.arrivals_of(o, gateway), a))
                 for o in history.stops() if siren in o.sirens and o.grave and o.body.stops is None
                 for a in history.arrivals_of(o, gateway)]
        stops += [(a.at_us, a.at_us, a.lived_us, _known_until_us(history, [a], a)) for a in history.asks
                  if a.verb == "stop" and a.siren in (siren, "all") and a.gateway == gateway]
        for at, issued, lived_us, known_us in stops:
            if lived_us < 500 * MS:
                continue
            later = [(on, off) for o in history.sounding_orders() if siren in o.sirens and o.issued_us >= issued - 1
                     for on, off in history.spans(o, siren)]
            later += [(on, off) for on, off in history.asked_spans(siren) if on >= issued]
            # A flood has its siren once: what began before the stop was issued does not begin again.
            later += [] if any(c[0].on_wall_us <= issued for c in flood.begun(history, siren)) else \
                history.flood_spans(siren)
            healthy = not history.hurting(siren, at - STOP_US, at + STOP_US)
            quiet = at + (STOP_US if healthy else max(STOP_US, history.bound_us(siren)))
            steady = history.clock_steady(gateway, history.begins_us, at)
            for one in history.contacts_of(siren):
                if one.cause in ("panel", "fault") or history.held(siren, one.on_wall_us - LEASE_US, one.end_us):
                    continue
                if any(on - GOLDEN_US <= max(one.on_wall_us, quiet) <= off + LEASE_US for on, off in later):
                    continue
                if one.on_wall_us <= quiet < one.end_us and one.on_wall_us <= at:
                    yield f"{siren} still sounded {(quiet - at) / S:.1f} s after its stop at {at}"
                elif known_us > one.on_wall_us > quiet and steady and lived_us > 3 * S:
                    yield f"{siren} began {(one.on_wall_us - at) / S:.3f} s after its stop"


def _known_until_us(history: History, came: Sequence[Arrival | Asked], one: Arrival | Asked) -> int:
    """When the process died that alone knew of this coming of a stop."""
    died = forgotten(history, [a.at_us for a in came], one.gateway)
    return next((died_us for died_us in died if died_us >= one.at_us), NEVER_US)


def liveness(history: History) -> Breaches:
    """LIVENESS: an authorised live order sounds a healthy site within two seconds of its arrival (or at its instant).

    Healthy is what drives this siren: output, unit, line and gateway, which has been up for eight seconds and knows
    the time, with nobody at the horn when it is due (what is for later may come while somebody is) and nothing else
    that was said of it. Broker, hub, disk and all other devices may be in any trouble, several of them at once. But
    what is older than two minutes when it comes may have sounded before, and without a disk nobody knows.
    """
    for order in history.sounding_orders() if history.wired else ():
        for siren in order.sirens:
            gateway = history.gateway_of(siren)
            arrived = history.arrivals_of(order, gateway)
            if order.body.mode is not Mode.LIVE or not arrived:
                continue
            at, start = arrived[0].at_us, order.start_wall_us
            if start is not None and start < at + 2 * LIVE_US:
                continue
            due = at if start is None else start
            if (not history.alive(gateway, at - BOOT_US, due + LIVE_US)
                    or history.hurting(siren, at - LIVE_US, due + LIVE_US)
                    or not history.clock_steady(gateway, history.begins_us, due + LIVE_US)
                    or history.may_be_locked(siren, due - KEY_US, due + LIVE_US)
                    or history.rivals(order, siren, at - 60 * S, due + LIVE_US)
                    or (start is None and at - order.issued_us > YOUNG_US
                        and history.wrong("disk", gateway, at - DISK_US, at + S))
                    or history.held_off(siren, due + LIVE_US)):
                continue
            if not any(c.on_wall_us <= due + LIVE_US and c.on_wall_us >= at for c in history.contacts_of(siren)):
                yield f"{siren} was not on {LIVE_US / S:.0f} s after order {order.id} was due"


def golden(history: History) -> Breaches:
    """GOLDEN: every edge of what sounds lies within half a second of the published pattern.

    Where another unit on the line falls silent just before an edge, or answers now and then, an edge of its own may
    cost its time-out first, which no gateway can know: it may come so much later, and no earlier.
    What is ordered for now counts from an instant between its arrival and its first edge that is the same for all its
    edges: when the disk had its acceptance, which only the gateway knows. Its first edge comes as soon after that as
    the line allows (`_head_start_us`). A siren that never sounded by this order breaks no pattern (its terminal
    receipt says so: HONEST, ANSWERED). Judged is each phase in which nothing else was said of the siren, nobody was at
    the horn, and nothing was wrong with what drives it; one that was stopped is judged until its stop.
    """
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            contacts = history.contacts_of(siren)
            if not any(overlap(c, on - GOLDEN_US, off) for c in contacts for on, off in phases
                       if not history.wired or not history.rivals(order, siren, on - GOLDEN_US, off)):
                continue
            gateway = history.gateway_of(siren)
            stop = history.stopped_at(siren, order.issued_us)
            # The pattern began so long before `phases`, says every edge so far.
            least_us, most_us = 0, _head_start_us(history, order, siren, phases[0][0])
            for n, (on, off) in enumerate(phases):
                if stop is not None and off > stop:
                    continue
                if history.wired and (
                        history.rivals(order, siren, phases[0][0] - 60 * S, off) or history.held_off(siren, off)
                        or history.hurting(siren, phases[0][0] - STOP_US, off + GOLDEN_US)
                        or not history.alive(gateway, phases[0][0] - BOOT_US, off + GOLDEN_US)
                        or not history.clock_steady(gateway, history.begins_us, off)
                        or not _in_time(history, order, gateway)
                        or history.may_be_locked(siren, 0, off)):
                    continue
                mine = [c for c in contacts if overlap(c, on, off)]
                if len(mine) != 1:
                    yield f"{siren}: {len(mine)} stretches of sound in phase {n + 1} of order {order.id}"
                    continue
                edges = [("on", mine[0].on_wall_us, on), ("off", mine[0].off_wall_us, off)]
                for name, real, due in edges[1:] if n == 0 and most_us else edges:
                    late_us = NEVER_US if real is None else real - due
                    late_most_us = GOLDEN_US + (history.surprise_us(siren, due) if history.wired else 0)
                    low_us, high_us = max(least_us, -GOLDEN_US - late_us), min(most_us, late_most_us - late_us)
                    if low_us <= high_us:
                        least_us, most_us = low_us, high_us
                        continue
                    late = "never" if real is None else f"{(late_us + least_us) / MS:.0f} ms off"
                    yield f"{siren}: {name}-edge of phase {n + 1} of order {order.id} is {late}"


def _head_start_us(history: History, order: Ordered, siren: str, first_us: int) -> int:
    """How much later than its pattern the first edge of what is ordered for now may be: no more than it came after the
    arrival, and a second, or two where somebody else on the line is in trouble and costs his time-outs."""
    arrived = history.arrivals_of(order, history.gateway_of(siren))
    if order.start_wall_us is not None or not history.wired or not arrived:
        return 0
    came_us = arrived[0].at_us
    late_us = first_us - came_us
    return late_us if late_us <= (LIVE_US if history.beside(siren, came_us, first_us) else BEGIN_US) else 0


def _in_time(history: History, order: Ordered, gateway: str) -> bool:
    """Whether it arrived well before its instant."""
    start, arrived = order.start_wall_us, history.arrivals_of(order, gateway)
    return start is None or (bool(arrived) and arrived[0].at_us < start - 2 * LIVE_US)


def rank(order: Ordered, signals: Signals) -> int:
    if order.body.mode is not Mode.LIVE or order.body.sound is None:
        return DRILL
    return max(FAMILY[family] for family in signals.families(order.body.sound.name))


def priority(history: History) -> Breaches:
    """PRIORITY: while two orders of unlike rank are for one siren, it sounds the higher one's pattern: in the middle of
    each of its phases the output is on, in the middle of each silence off. Judged where those two alone were said, and
    nothing was wrong with what drives the siren."""
    orders = history.sounding_orders() if history.wired else []
    for siren in history.sirens():
        gateway = history.gateway_of(siren)
        here = [o for o in orders if siren in o.sirens and history.arrivals_of(o, gateway)]
        for high in here:
            lower = [o for o in here if rank(o, history.signals) < rank(high, history.signals)]
            if not lower or len(here) != 2:
                continue
            arrived = history.arrivals_of(high, gateway)[0].at_us
            start = arrived + LIVE_US if high.start_wall_us is None else high.start_wall_us
            end = start + history.length_us(high)
            contacts = history.contacts_of(siren)
            first = high.start_wall_us or next(
                (c.on_wall_us for c in contacts if c.on_wall_us >= arrived - 1), None)
            others = [o for o in history.orders if o not in (high, lower[0]) and siren in o.sirens]
            if (others or history.hurting(siren, arrived - 30 * S, end) or first is None
                    or history.may_be_locked(siren, 0, end)
                    or not history.alive(gateway, arrived - BOOT_US, end) or history.held_off(siren, end)
                    or any(a.siren in (siren, "all") for a in history.asks) or history.flood_spans(siren)
                    or not history.clock_steady(gateway, history.begins_us, end) or not _in_time(history, high, gateway)
                    or (high.start_wall_us is None and history.spans(lower[0], siren)[0][0] < arrived + LIVE_US)):
                # What sounded before it must end first: then its first edge cannot be told from the other's.
                continue
            end = first + history.length_us(high)
            phases = [(first + p.on_us, first + p.off_us) for p in _lengths(history, high) if first + p.off_us <= end]
            silences = [(off, on) for (_, off), (on, _) in pairwise(phases)]
            for spans, wanted in ((phases, True), (silences, False)):
                for on, off in spans:
                    middle = (on + off) // 2
                    if off - on > 2 * SWAP_US and any(c.on_wall_us <= middle < c.end_us for c in contacts) != wanted:
                        yield f"{siren}: {'off in a phase' if wanted else 'on in a silence'} of the higher {high.id}"


def isolation(history: History) -> Breaches:
    """ISOLATION: a locked-out siren never starts, through reboot and restore.

    Locked out is a siren from when a tag was acknowledged, or its key turned and could be read: three seconds, and
    longer when meter, line or gateway were in trouble then. An output that is welded or held by hand is not started.
    """
    for siren in history.sirens():
        config, section = history.sirens()[siren]
        meter = section.isolator.partition(".")[0] if section.isolator else ""
        line = config.device(meter).bus if meter else ""
        for low, high, key in history.locked(siren):
            since = low + (KEY_US if key else 0)
            blind = [t.to_us + LEASE_US + KEY_US for t in history.troubles if key and t.meets(low - 12 * S, since)
                     and (t.on in (meter, line, config.id) or t in history.hurting(siren, low, since))]
            # Who cannot be read is not known to be locked; what then sounds is ended when it can be.
            blind += [t.to_us + LEASE_US + KEY_US for t in history.troubles if key and t.on in (meter, line, config.id)
                      and t.meets(low, high)]
            since = max([since, *blind])
            for one in history.contacts_of(siren):
                if since < one.on_wall_us < high and one.cause == "write" and not history.held(
                        siren, one.on_wall_us - LEASE_US, one.on_wall_us):
                    yield f"{siren} was closed at {one.on_wall_us}, locked out since {low}"

