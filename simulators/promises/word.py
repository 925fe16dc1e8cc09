"""What is said: HONEST, ANSWERED, DRILL≠LIVE, AUDIT, MONOTONE-TRUST, BOUNDED, RECOVER."""

from collections import Counter

from controller.config import Drive
from controller.trust import Reason
from controller.wire import Birth, Receipt, Stage, State
from firmware_bridge.machine import S
from simulators.promises.facts import Ordered
from simulators.promises.history import GOLDEN_US, LIVE_US, Breaches, History, overlap

PASSING = frozenset({Reason.NO_TIME, Reason.NOT_YET, Reason.BUSY})
"""Refusals that another attempt may undo: not yet the last word."""
REPORT_US = 30 * S
"""A fault is reported so soon."""
HEARD_US = 5 * S
"""An order whose process died earlier than this after its arrival may not have been heard; it is sent again."""
UNTOLD = frozenset({"dead", "unplug"})


def honest(history: History) -> Breaches:
    """HONEST: what is said to have sounded did, and what is silent for half a minute is not shown as well.

    Proved phases are no more than those in which the siren sounded, or began to within the half second before that
    GOLDEN allows, and *finished* with the word sounded means four fifths of them. A meter that shows an old value
    (`frozen`) proves what it shows: that is a lie of the hardware, and a siren whose feedback had it is not judged. A
    head that burnt out (`stuck-off`) goes on telling that it is active: where that word is the siren's only feedback,
    the phases within the fault count as sounded, the others do not; a current, an auxiliary contact or any other unit
    would have seen it, so then nothing is excused. Where what drives a siren was in trouble when an order for now came,
    and its first edge came later than two seconds after that, the phases count from the arrival, not from the edge. A
    drive that is dead or unplugged for longer than 30 s is not shown as idle without a word by then.
    """
    for order in history.sounding_orders():
        for siren in order.sirens:
            section = history.sirens()[siren][1]
            if any(t.kind == "frozen" and t.on in history.witnesses(siren) for t in history.troubles):
                continue
            sounds = history.sounds_of(siren)
            phases = _phases(history, order, siren)
            burnt = [t for t in history.troubles if t.kind == "stuck-off" and _word_of_the_drive(history, siren)
                     and t.on in (section.drive, Drive.of(section.drive).device)]
            real = sum(any(overlap(s, on, off) or on - GOLDEN_US <= s.on_wall_us < on for s in sounds)
                       or any(t.meets(on, off) for t in burnt) for on, off in phases)
            for receipt in history.of(order, siren):
                evidence = receipt.evidence
                if evidence is None or (history.wired and not _placed(history, order, siren, phases)):
                    continue
                if evidence.sensed > real:
                    yield f"{siren}: receipt {receipt.seq} says {evidence.sensed} phases were sensed, {real} sounded"
                if receipt.stage is Stage.FINISHED and evidence.sounded and 5 * real < 4 * evidence.phases:
                    yield f"{siren} is said to have sounded in {real} of {evidence.phases} phases"
    yield from _unreported(history)


def _word_of_the_drive(history: History, siren: str) -> bool:
    """Whether all its feedback is the point by which its own drive tells of its output."""
    config, section = history.sirens()[siren]
    device = Drive.of(section.drive).device
    profile = config.profile_of(device)
    assert profile.output is not None
    own = {f"{device}.{p.name}" for p in profile.points.values() if profile.output.state in (p.base, p.name)}
    return bool(section.feedback) and own.issuperset(f.point for f in section.feedback)


def _phases(history: History, order: Ordered, siren: str) -> list[tuple[int, int]]:
    """When its phases were. What could not be driven when the order came joins in the phase that the others are in."""
    phases = history.phases_of(order, siren)
    arrived = history.arrivals_of(order, history.gateway_of(siren))
    if not phases or not arrived or order.start_wall_us is not None:
        return phases
    came_us, edge_us = arrived[0].at_us, phases[0][0]
    late_us = edge_us - came_us if history.hurting(siren, came_us, edge_us) else 0
    return [(on - late_us, off - late_us) for on, off in phases] if late_us > LIVE_US else phases


def _placed(history: History, order: Ordered, siren: str, phases: list[tuple[int, int]]) -> bool:
    """Whether it is known when these phases of this order were: the clock was right. An order without an instant is
    placed by the edge that it made: so nothing else may have sounded, and on a siren that was welded, or sounded by
    hand, when it arrived, its first phase made none."""
    gateway = history.gateway_of(siren)
    if not phases:
        return False
    if order.start_wall_us is None and (
            history.rivals(order, siren, phases[0][0] - 60 * S, phases[-1][1])
            or any(history.held(siren, a.at_us, a.at_us) for a in history.arrivals_of(order, gateway)[:1])):
        return False
    return history.clock_steady(gateway, history.begins_us, phases[-1][1]) \
        and history.alive(gateway, phases[0][0], phases[-1][1])


def _unreported(history: History) -> Breaches:
    for siren, (config, section) in history.sirens().items():
        drive = Drive.of(section.drive).device
        line = config.device(drive).bus
        shown = [(t.at_us, t.message) for t in history.told if t.gateway == config.id and isinstance(t.message, State)
                 and t.message.id == siren]
        for t in history.troubles:
            due = t.from_us + REPORT_US
            if t.kind not in UNTOLD or t.on not in (drive, line) or t.to_us < due or not history.alive(
                    config.id, t.from_us - 8 * S, due) or history.wrong("net", "", 0, due):
                continue
            last = next((m for at, m in reversed(shown) if at <= due), None)
            if last is None or (last.state == "IDLE" and not last.why):
                yield f"{siren} is shown as idle {REPORT_US / S:.0f} s after its drive fell silent ({t.kind})"


def answered(history: History) -> Breaches:
    """ANSWERED: exactly one last word an order and siren.

    Of an order that reached a process which lived on for five seconds; one refusal of the whole order is the last word
    for every siren. A refusal that another attempt may undo (`no-time`, `not-yet`, `busy`) is no last word but the
    only one if no other comes. Where the disk failed and the process died as well, or the journal was lost, what was
    said may be said twice, and what was under way may have no last word: nobody remembers it, and the hub says
    `no answer`.
    """
    for order in history.orders:
        for gateway in dict.fromkeys(history.gateway_of(s) for s in order.sirens):
            if history.wired and not any(a.lived_us > HEARD_US for a in history.arrivals_of(order, gateway)):
                continue
            amnesia = history.forgot(gateway)
            # A false copy, made by nobody who may, is refused by the id that it bears: no word on the true order.
            copied = any(a.order == order.id and a.gateway == gateway and not a.authorised for a in history.arrivals)
            whole = [r for r in history.of(order, "") if r.gateway == gateway and r.stage.terminal]
            for siren in (s for s in order.sirens if history.gateway_of(s) == gateway):
                ends = [r for r in history.of(order, siren) if r.stage.terminal] + whole
                final = [r for r in ends if r.reason not in PASSING and (r.siren or not copied or len(ends) == 1)]
                if (not ends or len(final) > 1) and not amnesia:
                    stages = ", ".join(f"{r.stage}({r.reason})" for r in ends) or "none"
                    yield f"{siren} has {len(final)} terminal receipts for order {order.id}: {stages}"


def drill_is_not_live(history: History) -> Breaches:
    """DRILL≠LIVE: the mode in every receipt of a siren and in what is shown of it is the mode that was signed."""
    modes = {o.id: o.body.mode for o in history.orders}
    said: list[Receipt | State] = [*history.receipts, *(t.message for t in history.told
                                                        if isinstance(t.message, Receipt | State))]
    for one in said:
        order = one.order if isinstance(one, Receipt) else (one.activation or "").partition("/")[0]
        mode = modes.get(order)
        if mode is None or (isinstance(one, Receipt) and not one.siren):
            continue
        if one.mode is not mode:
            yield f"{order} was signed as {mode}, and is told as {one.mode}: {one}"


def audit(history: History) -> Breaches:
    """AUDIT: the numbers of receipts and events have no hole in the journal and none means two things, there and in
    what was said. Where the disk refused rows and the process died before they could be written again, that is
    forgiven: under NO-JOURNAL it is said that the journal lacks them. So it is where the journal was lost: the numbers
    begin anew, and the hub says `journal-shorter`."""
    for gateway, rows in history.journals.items():
        if not history.wired or history.forgot(gateway):
            continue
        kept = [(r.body.get("seq"), str(dict(r.body))) for _, r in rows if r.kind in ("receipt", "event")]
        numbers = {seq for seq, _ in kept} | {r.body.get("seq") for _, r in rows if r.kind == "omitted"}
        twice = [seq for seq, n in Counter(seq for seq, _ in set(kept)).items() if n > 1]
        if twice:
            yield f"{gateway} gave the number {twice[0]} to two messages"
        numbered = sorted(n for n in numbers if isinstance(n, int))
        if numbered and numbered != list(range(1, numbered[-1] + 1)):
            missing = sorted(set(range(1, numbered[-1] + 1)) - set(numbered))
            yield f"{gateway}'s journal lacks the messages {missing[:5]}"
        said = {(t.message.seq, type(t.message).__name__) for t in history.told
                if t.gateway == gateway and not isinstance(t.message, Birth | State)}
        if unkept := sorted(seq for seq, _ in said if seq not in numbers):
            yield f"{gateway} said the messages {unkept[:5]}, which its journal does not hold"


def monotone_trust(history: History) -> Breaches:
    """MONOTONE-TRUST: the version of the trust list by which a gateway judges never goes back."""
    ruling: dict[str, int] = {}
    for told in history.told:
        if isinstance(told.message, Birth):
            before = ruling.get(told.gateway, 0)
            if told.message.trust_version < before:
                yield f"{told.gateway} went back from trust list {before} to {told.message.trust_version}"
            ruling[told.gateway] = told.message.trust_version


def bounded(history: History) -> Breaches:
    """BOUNDED: no queue, outbox or table grew over its limit."""
    for name, (most, limit) in history.samples.items():
        if most > limit:
            yield f"{name} grew to {most}, limit {limit}"


def recover(history: History) -> Breaches:
    """RECOVER: two minutes after everything was well again each device is read, each order is over, no mode is
    degraded, and the hub has every message, shows every event, and has each gateway, siren, device and spot as it
    is; nobody having done anything."""
    yield from history.unwell
