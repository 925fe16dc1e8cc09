"""What a flood lets happen: VOTE, NO-FLAP. Judged from contacts, from what units understood and gauges showed.

Whether a vote stood is counted a second time, from the registers of the gauges, in `gauges.py`; what a sign or a voice
was told is what its card understood. No word of the gateway is asked.
"""

from collections.abc import Iterator
from itertools import pairwise

from controller.scale import ColourName, colour_of
from firmware_bridge.machine import S
from simulators.promises.authority import ordered_spans
from simulators.promises.facts import Sounding
from simulators.promises.gauges import Watched
from simulators.promises.history import GOLDEN_US, LEASE_US, Breaches, History

PLAY = b"\xaa\x07"
"""How a voice module is told to play."""
LATE_US = S
"""Between two instants that are compared: one second of the gauges' record."""
TELL_US = 62 * S
"""A sign is told again so often: what it was told then was so before."""


def begun(history: History, siren: str) -> list[list[Sounding]]:
    """The soundings of a siren that nobody ordered or asked for: the stretches of each, which follow its pattern."""
    ordered = ordered_spans(history, siren)
    length_us = max((w.length_us for w in history.watched if siren in w.sirens), default=0)
    out: list[list[Sounding]] = []
    for one in history.contacts_of(siren):
        if one.cause != "write" or any(on <= one.on_wall_us <= off + LEASE_US for on, off in ordered):
            continue
        if out and one.on_wall_us <= out[-1][0].on_wall_us + length_us + GOLDEN_US:
            out[-1].append(one)
        else:
            out.append([one])
    return out


def vote(history: History) -> Breaches:
    """VOTE: nothing sounds by a flood without gauges of unlike kinds that stand for its colour together, and a siren
    not without a policy that the right persons signed as well.

    A siren begins only while the gauges' registers show the policy's depth (each value counts for twenty seconds, for
    a minute where lines or units drop answers), and after the colour could be raised: it is waited for, and fast water
    is taken for one colour deeper. A gauge that is noisy, or sees vehicles, may show anything and counts as showing it.
    A voice does not play, and no boom is asked to close, before their colour could be raised.
    """
    gateways = {w.gateway for w in history.watched}
    for siren in (s for s in history.sirens() if history.gateway_of(s) in gateways):
        ordered = ordered_spans(history, siren)
        starts = [span for w in history.watched if siren in w.sirens for span in w.starts]
        for stretches in begun(history, siren):
            at = stretches[0].on_wall_us
            # What goes on when an order ends began while that sounded.
            under = any(on <= at and off + LEASE_US >= at - 60 * S for on, off in ordered)
            spans = history.flood_spans(siren) if under else starts
            if not any(since <= at <= until for since, until in spans):
                yield f"{siren} began at {at} by a flood that no vote and no policy asked for"
    for one in history.watched:
        for what, colour, instants in _roadside(history, one):
            raised = min((since for since, _ in one.early(colour)), default=None)
            for at in instants[:1]:
                if raised is None or at < raised - LATE_US:
                    yield f"the {what} of {one.spot.id} at {at}, before gauges stood for {colour}"


def _roadside(history: History, one: Watched) -> Iterator[tuple[str, ColourName, list[int]]]:
    """What needs a vote beside the road: what it is, from which colour, and when it was done."""
    spot = one.spot
    if spot.boom is not None:
        yield "boom", spot.boom.from_, [c.on_wall_us for c in history.roadside if c.siren == f"{spot.id}.boom"
                                        and c.cause == "write"]
    if spot.voice is not None:
        line = next(c for c in history.configs if c.id == one.gateway).device(spot.voice.device).bus
        yield "voice", spot.voice.from_, [f.at_us for f in history.frames if f.line == line and PLAY in f.pdu]


def no_flap(history: History) -> Breaches:
    """NO-FLAP: a flood has one siren, and another comes after the release and the cool-down at the earliest; its
    stretches are those of its pattern; a sign that showed a colour, a beacon and a boom that were on, stay so for the
    time of release.

    What a person puts on the shelf asks the boom for nothing. Where disk and process failed both, nobody remembers the
    flood. Sign, beacon and boom are judged where nothing was wrong with their units, their lines and their gateway
    since shortly before.
    """
    for one in history.watched:
        release_us, cool_us = round(one.spot.release_min * 60 * S), round(one.spot.cool_down_min * 60 * S)
        for siren in one.sirens:
            sounded = begun(history, siren)
            for before, after in pairwise(sounded):
                apart_us = after[0].on_wall_us - before[0].on_wall_us
                if apart_us < max(release_us, cool_us) - LATE_US and not history.forgot(one.gateway):
                    yield f"{siren} had a second siren {apart_us / S:.1f} s after that of its flood"
            for stretches in sounded:
                first, last = stretches[0].on_wall_us, stretches[-1].end_us
                if len(stretches) > one.phases and not history.hurting(siren, first, last):
                    yield f"{siren} was on {len(stretches)} times by a flood, and its pattern has {one.phases}"
        yield from _lights(history, one, release_us)
        yield from _signs(history, one, release_us)


def _well(history: History, one: Watched, drive: str, from_us: int, to_us: int) -> bool:
    """Whether nothing was wrong with what a thing beside the road hangs on."""
    config = next(c for c in history.configs if c.id == one.gateway)
    unit = drive.partition(".")[0]
    line = config.device(unit).bus
    near = {d.id for d in config.spec.device if d.bus == line}
    return not any(t.meets(from_us - TELL_US, to_us + LEASE_US) and t.on in (drive, line, config.id, *near)
                   for t in history.troubles)


def _lights(history: History, one: Watched, release_us: int) -> Breaches:
    for what, section in (("beacon", one.spot.beacon), ("boom", one.spot.boom)):
        if section is None or (what == "boom" and any(t.kind == "shelf" for t in history.troubles)):
            continue
        for stretch in history.roadside:
            short_us = stretch.end_us - stretch.on_wall_us
            if stretch.siren == f"{one.spot.id}.{what}" and short_us < release_us - LATE_US and _well(
                    history, one, section.drive, stretch.on_wall_us, stretch.end_us):
                yield f"the {what} of {one.spot.id} was on for {short_us / S:.1f} s, from {stretch.on_wall_us}"


def _signs(history: History, one: Watched, release_us: int) -> Breaches:
    """By the texts that its card understood."""
    if one.spot.sign is None:
        return
    config = next(c for c in history.configs if c.id == one.gateway)
    unit = one.spot.sign.device
    line, scale = config.device(unit).bus, config.scales[one.spot.scale]
    marks = {colour: max(section.text.split("{depth}"), key=len).encode("gb2312")
             for colour, section in scale.colours.items()}
    marks[colour_of("dry")] = scale.dry.encode("gb2312")
    shown = colour_of("dry")
    since = 0
    for frame in history.frames:
        if frame.line != line:
            continue
        colour = next((c for c, mark in marks.items() if mark in frame.pdu), None)
        if colour is None or colour is shown:
            continue
        short_us = frame.at_us - since
        if colour < shown and short_us < release_us - LATE_US and _well(history, one, unit, since, frame.at_us):
            yield f"the sign of {one.spot.id} showed {shown.name} for {short_us / S:.1f} s, then {colour.name}"
        # Colours may end one after the other; none ends so soon after the last one was raised.
        since = frame.at_us if colour > shown else since
        shown = colour
