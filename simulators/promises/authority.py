"""Who may have it sound: NO-UNAUTH, TWO-PERSON, AT-MOST-ONCE, JOURNAL-FIRST, FRESH, SCOPE.

Judged from contacts, from what reached a living gateway, and from the second judge's word on it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from controller.event import Record
from controller.wire import Mode, Stage, to_wall_us
from firmware_bridge.machine import MS, S
from simulators.promises.facts import NEVER_US, Ordered, Sounding
from simulators.promises.history import GOLDEN_US, LEASE_US, OCTETS, STOP_US, Breaches, History, under

START_LATE_US = 3 * S
"""How long after the last instant at which it may begin a sounding may still begin: it was believed in time, and the
line had to be found free (`switch.py`: START_LATE_US, and one second for the frame)."""
SAID_US = 3 * S
"""A line for which the disk does not answer leaves after two seconds, and is told within another."""
UNHEARD = OCTETS | {"dropped"}
"""Faults by which a unit does what it is asked, and is not heard."""
WRITTEN_US = 3 * S
"""So long after a disk takes records again it has those that it did not take."""
ERROR_US = 500 * MS
"""A clock's own error: what is made up is uncertain by 0.3 s at most."""
PATIENCE_US = 200 * MS
"""A live order waits so long for the disk."""
EDGE_US = 50 * MS
"""What lies between the instant that is told and that at which a contact is seen."""


def no_unauth(history: History) -> Breaches:
    """NO-UNAUTH: our outputs are on only under an authorised cause.

    A cause is an order that a second judge authorises and that reached the gateway while it lived, from its arrival
    (or its instant by a clock the gateway was told) to the end of its pattern and L; or somebody listed at the
    cabinet, for his seconds and L; or a vote of gauges under a signed policy (VOTE). L is 5 s, and the longer bound of
    the output's class when its line, unit or gateway was in trouble about the end. Who lost his journal must read that
    it is on, and each question feeds a board's time-out: there L counts from when its answers can be heard.
    Whoever welds an output or sounds it by hand before that is over has it on until he ends, and what is due by then
    goes on from there. No cause is a drill that comes or is due in SAFE-MIN, nor a wish at the cabinet then; nor what
    was issued before a journal was lost, from then on.
    """
    for siren in history.sirens():
        spans = ordered_spans(history, siren) + history.flood_spans(siren)
        for one in history.contacts_of(siren):
            if one.cause in ("panel", "fault"):
                continue
            ends = [off for on, off in spans if on <= one.on_wall_us <= off + LEASE_US]
            if not ends:
                yield f"{siren} began at {one.on_wall_us} without an order that asked for it ({one.cause})"
                continue
            causes = spans + [(t.from_us, t.to_us) for t in history.held(siren, one.on_wall_us, one.end_us)]
            end = max(ends)
            last = end + _rest_us(history, siren, end)
            # What follows without a pause is covered by what asked for that.
            while later := [off for on, off in causes if on <= last and end < off]:
                end = max(later)
                last = end + _rest_us(history, siren, end)
            if one.end_us > last:
                yield f"{siren} was on for {(one.end_us - end) / S:.1f} s after all that asked for it"


def _rest_us(history: History, siren: str, end: int) -> int:
    """L: how long it may still be on when what asked for it is over."""
    hurt, lost = history.hurting(siren, end, end + LEASE_US), history.lost_at(history.gateway_of(siren), end)
    heard_us = max((t.to_us for t in hurt if lost and t.kind in UNHEARD), default=end)
    return max(LEASE_US, heard_us - end + history.bound_us(siren) if hurt else 0)


def ordered_spans(history: History, siren: str) -> list[tuple[int, int]]:
    """From when to when somebody wanted it to sound."""
    return [(on - GOLDEN_US, off) for o in history.sounding_orders() if siren in o.sirens
            for on, off in history.spans(o, siren)] + history.asked_spans(siren)


def two_person(history: History) -> Breaches:
    """TWO-PERSON: what is accepted as live from afar was signed by as many persons with keys of their own as the role
    table asks, with no bad signature beside them; so says a second judge who shares no code with the gateway."""
    live = [(r.gateway, r.order) for r in history.receipts if r.stage is Stage.ACCEPTED and r.mode is Mode.LIVE]
    live += [(gateway, str(r.body["order"])) for gateway, rows in history.journals.items() for _, r in rows
             if r.kind == "accept" and r.body.get("mode") == Mode.LIVE and r.body.get("door") == "mqtt"]
    own = {str(r.body["order"]) for rows in history.journals.values() for _, r in rows
           if r.kind == "accept" and r.body.get("door") in ("local", "rule")}
    good = {(a.gateway, a.order) for a in history.arrivals if a.authorised}
    for gateway, order in sorted(set(live)):
        if history.wired and order not in own and (gateway, order) not in good and not _cabinet(history, gateway):
            yield f"{gateway} accepted {order} as live, which was never rightly signed"


def _cabinet(history: History, gateway: str) -> bool:
    """Whether the journal that would say `this was asked at the cabinet`, or by a rule, may have been lost."""
    asked = any(a.gateway == gateway and a.verb == "stop" for a in history.asks) or any(
        w.gateway == gateway and w.starts for w in history.watched)
    return asked and any(t.kind in ("disk", "process") and t.on == gateway for t in history.troubles)


def at_most_once(history: History) -> Breaches:
    """AT-MOST-ONCE: an order id starts a siren at most once.

    No on-phase begins twice, unless unit, line or gateway was in trouble in it (a warning that is taken up again after
    a power failure closes the contact anew, in the same phase); and, of an order that alone spoke of the siren,
    nothing begins later than its pattern's length after its first edge, however often it arrived. A disk that took
    nothing from the order's arrival until the process died, or three seconds before, knows nothing of it: where it
    arrives once more it may begin once more, and is counted from there.
    """
    for order in history.sounding_orders():
        for siren in order.sirens:
            phases = history.phases_of(order, siren)
            mine = [c for c in history.contacts_of(siren) if c.cause == "write"]
            starts = Counter(n for c in mine for n, (on, off) in enumerate(phases)
                             if on - GOLDEN_US <= c.on_wall_us < off)
            for n, times in starts.items():
                on, off = phases[n]
                if times > 1 and not history.hurting(siren, on, off) and not history.rivals(order, siren, on, off):
                    yield f"{siren} began phase {n + 1} of order {order.id} {times} times"
            if phases and history.arrivals:
                last = phases[-1][1] + LEASE_US
                gateway = history.gateway_of(siren)
                for died_us in forgotten(history, [a.at_us for a in history.arrivals_of(order, gateway)], gateway):
                    anew = [c.on_wall_us for c in mine if c.on_wall_us > died_us]
                    last = max(last, min(anew, default=0) + history.length_us(order) + LEASE_US)
                late = [c for c in mine if c.on_wall_us > last
                        and not history.rivals(order, siren, c.on_wall_us - STOP_US, c.on_wall_us)
                        and order.start_wall_us is None]
                if late:
                    yield f"{siren} began again {(late[0].on_wall_us - last) / S:.1f} s after order {order.id} was over"


def forgotten(history: History, arrived_us: Sequence[int], gateway: str) -> Iterator[int]:
    """When a process died that alone knew of what arrived then: no disk had taken anything since it came."""
    deaths = sorted(t.from_us for t in history.troubles if t.kind == "process" and t.on == gateway)
    spans = sorted((t.from_us, t.to_us) for t in history.troubles if t.kind == "no-disk" and t.on == gateway)
    died_us = 0
    for at_us in arrived_us:
        if at_us <= died_us:
            continue
        until_us = at_us
        for since, to in spans:
            if since <= until_us + (WRITTEN_US if until_us > at_us else 0):
                until_us = max(until_us, to)
        died = [t for t in deaths if at_us <= t <= until_us + WRITTEN_US]
        if until_us == at_us or not died:
            return
        died_us = died[0]
        yield died_us


def journal_first(history: History) -> Breaches:
    """JOURNAL-FIRST: the acceptance is on the disk before the first output; or the order is live, the disk had not
    answered for 200 ms, and NO-JOURNAL is said, unless the process died within three seconds: what is said waits two
    for the disk, too."""
    for order in history.sounding_orders():
        for siren in order.sirens:
            first = _first(history, order, siren)
            if first is None:
                continue
            gateway = history.gateway_of(siren)
            rows = history.journals.get(gateway, ())
            accepts = [at for at, r in rows if r.kind == "accept" and r.body.get("order") == order.id]
            if history.wired:
                bad = not accepts or accepts[0] > first.on_wall_us
                if bad and not (order.body.mode is Mode.LIVE and _no_journal(history, gateway, first.on_wall_us)):
                    yield f"{gateway} sounded {siren} before order {order.id} was durable"
                continue
            told = [to_wall_us(str(r.body["at"])) for _, r in rows if _accepted(r, order, siren)]
            if not accepts:
                yield f"{gateway} sounded {siren} for order {order.id}, which its journal does not hold"
            # A receipt `accepted` is made when the disk has answered: that instant, too, comes before the sound.
            elif not told or max(accepts[0], told[0]) > first.on_wall_us:
                yield f"{gateway} sounded {siren} before order {order.id} was durable"


def _first(history: History, order: Ordered, siren: str) -> Sounding | None:
    """The first stretch that can only be this order's."""
    phases = history.phases_of(order, siren)
    found = next((c for c in history.contacts_of(siren) if under(c, phases) and c.cause == "write"), None)
    if found is None or not history.arrivals_of(order, history.gateway_of(siren)):
        return None
    return None if history.wired and history.rivals(order, siren, found.on_wall_us - LEASE_US, found.on_wall_us) \
        else found


def _accepted(record: Record, order: Ordered, siren: str) -> bool:
    body = record.body
    return record.kind == "receipt" and (body.get("order"), body.get("siren"), body.get("stage")) == (
        order.id, siren, Stage.ACCEPTED)


def _no_journal(history: History, gateway: str, at_us: int) -> bool:
    said = any(t.gateway == gateway and "no-journal" in str(getattr(t.message, "what", "")) for t in history.told)
    died = any(t.kind == "process" and t.on == gateway and at_us <= t.from_us <= at_us + SAID_US
               for t in history.troubles)
    return (said or died) and history.wrong("disk", gateway, at_us - 60 * S, at_us)


def fresh(history: History) -> Breaches:
    """FRESH: what begins is within the time in which it may, by the clock that the gateway was told, at the instant of
    its arrival or of its first edge; with the clock's own error, and 3 s for the start. What an issuer's clock may be
    off stands in the order.

    Judged is the first write after an arrival, whoever signed, that nothing else asked for.
    """
    for order in history.sounding_orders() if history.wired else ():
        for siren in order.sirens:
            gateway = history.gateway_of(siren)
            arrived = [a for a in history.arrivals if a.order == order.id and a.gateway == gateway]
            if not arrived:
                continue
            first = next((c for c in history.contacts_of(siren) if c.cause == "write"
                          and c.on_wall_us >= (order.start_wall_us or arrived[0].at_us) - GOLDEN_US
                          and c.on_wall_us >= arrived[0].at_us), None)
            if first is None or history.rivals(order, siren, first.on_wall_us - LEASE_US, first.on_wall_us):
                continue
            if first.on_wall_us > (order.start_wall_us or arrived[-1].at_us) + history.length_us(order):
                continue
            begins = first.on_wall_us + history.clock_at(gateway, first.on_wall_us).offset_us
            low = to_wall_us(order.body.not_before) - ERROR_US
            high = to_wall_us(order.body.expires_at) + START_LATE_US
            if not any(low <= clock <= high for clock in (begins, *(a.clock_us for a in arrived))):
                yield f"{siren} began order {order.id} at {begins}, outside {low} to {high}"


def scope(history: History) -> Breaches:
    """SCOPE: outputs are closed by a write only where an order that arrived means their siren, by its area, layer and
    list, somebody at the cabinet named it, or a flood's policy does; an output that drives no siren is never closed."""
    for one in history.stray:
        if one.cause == "write":
            yield f"{one.siren} drives nothing, and was closed at {one.on_wall_us}"
    for siren in history.sirens() if history.wired else ():
        gateway = history.gateway_of(siren)
        since = min([a.at_us for o in history.sounding_orders() if siren in o.sirens
                     for a in history.arrivals_of(o, gateway)]
                    + [a.at_us for a in history.asks if a.siren == siren and a.user != "guest"]
                    + [since for since, _ in history.flood_spans(siren)], default=NEVER_US)
        for one in history.contacts_of(siren):
            if one.cause == "write" and one.on_wall_us < since - EDGE_US:
                yield f"{siren} was closed at {one.on_wall_us}, and nothing that had come meant it"


