"""What happened: everything a judge may look at, and how it belongs together.

All instants are true wall time in microseconds, whatever a gateway believed. A history of a real run has the site's
sound log, orders, receipts and journals; one of the simulated world knows in addition what each contact did, when
bytes reached a living process, what was wrong and for how long, and what each gateway was told of the clock. Where
that is missing the history is taken for one in which nothing was wrong.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from controller.config import Config, Drive, SirenSection
from controller.event import Record
from controller.signal import Phase, Signals, Timeline
from controller.wire import Action, Mode, Receipt, Stage, to_wall_us
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import OutputClass
from simulators.promises.facts import (
    NEVER_US,
    Arrival,
    Asked,
    Clocked,
    Ordered,
    Sounding,
    Told,
    Trouble,
    Written,
)
from simulators.promises.gauges import Watched

GOLDEN_US = 500 * MS
"""Edges within half a second of the published pattern."""
STOP_US = 2 * S
"""Silence after a stop, on a healthy bus."""
LIVE_US = 2 * S
"""What is ordered for now sounds a healthy site so soon after its arrival, whatever else is wrong."""
LEASE_US = 5 * S
"""L of class B: no lease is longer."""
AFTER_US = 12 * S
"""So long a fault of a line or unit is felt: a unit that was silent is asked again after ten seconds at most."""
OCTETS = frozenset({"babble", "late", "doubled", "noise", "cut", "garbled", "wrong-unit", "short", "echo",
                    "slow-refusal"})
"""Faults of one unit that put octets on its line at the wrong time or in the wrong shape: they hurt its neighbours."""
SILENT = frozenset({"dead", "reboot", "brown-out", "no-target", "dropped"})
"""Faults by which a unit does not answer; with a brown-out it is silent as soon as its output closes."""
NEWS_US = 2 * S
"""So long after it fell silent a unit has been asked in vain: a poll a second, and its time-out."""
SHOWN_US = 2 * S
"""A current is shown so long after the contact opened: a motor runs down."""
HELD = frozenset({"stuck-on", "panel"})
"""Faults by which an output is on whatever it is told."""


@dataclass(frozen=True)
class History:
    """Everything a judge may look at."""

    configs: Sequence[Config]
    orders: Sequence[Ordered]
    receipts: Sequence[Receipt]
    """Those that reached the hub."""
    soundings: Sequence[Sounding]
    journals: Mapping[str, Sequence[tuple[int, Record]]]
    """Gateway -> (wall_us when written, record), in order."""
    contacts: Sequence[Sounding] = ()
    """What the outputs did, electrically; none: what sounded stands for it."""
    stray: Sequence[Sounding] = ()
    """... of outputs that drive no siren."""
    arrivals: Sequence[Arrival] = ()
    asks: Sequence[Asked] = ()
    troubles: Sequence[Trouble] = ()
    frames: Sequence[Written] = ()
    told: Sequence[Told] = ()
    lives: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    clocks: Mapping[str, Sequence[Clocked]] = field(default_factory=dict)
    samples: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """What must not grow without end: the most that was seen, and its limit."""
    unwell: Sequence[str] = ()
    """What was still wrong when everything had been well for two minutes."""
    watched: Sequence[Watched] = ()
    """Low-lying spots, with what their gauges showed."""
    roadside: Sequence[Sounding] = ()
    """When a light was on, or a boom asked to close: `spot-1.beacon`."""
    begins_us: int = 0
    wired: bool = False
    """Arrivals, contacts, troubles and lives were written down."""

    @property
    def signals(self) -> Signals:
        return self.configs[0].signals

    @cached_property
    def _sirens(self) -> dict[str, tuple[Config, SirenSection]]:
        return {s.id: (c, s) for c in self.configs for s in c.spec.siren}

    def sirens(self) -> dict[str, tuple[Config, SirenSection]]:
        return self._sirens

    def gateway_of(self, siren: str) -> str:
        return self._sirens[siren][0].id

    @cached_property
    def _sounds(self) -> dict[str, list[Sounding]]:
        return _by_siren(self.soundings)

    @cached_property
    def _contacts(self) -> dict[str, list[Sounding]]:
        return _by_siren(self.contacts if self.wired else self.soundings)

    def sounds_of(self, siren: str) -> list[Sounding]:
        return self._sounds.get(siren, [])

    def contacts_of(self, siren: str) -> list[Sounding]:
        return self._contacts.get(siren, [])

    def sounding_orders(self) -> list[Ordered]:
        return [o for o in self.orders if o.body.action is Action.SOUND]

    def stops(self) -> list[Ordered]:
        return [o for o in self.orders if o.body.action is Action.STOP]

    def timeline(self, order: Ordered) -> Timeline:
        assert order.body.sound is not None
        return self.signals.timeline(order.body.sound.name)

    def length_us(self, order: Ordered) -> int:
        """How long it may sound from its start."""
        length_us, most_s = self.timeline(order).end_us, order.body.max_duration_s
        return length_us if most_s is None else min(length_us, most_s * S)

    @cached_property
    def _receipts(self) -> dict[tuple[str, str], list[Receipt]]:
        found: dict[tuple[str, str], dict[tuple[str, int], Receipt]] = {}
        for r in self.receipts:
            found.setdefault((r.order, r.siren), {})[r.gateway, r.seq] = r
        return {key: [mine[n] for n in sorted(mine)] for key, mine in found.items()}

    def of(self, order: Ordered, siren: str) -> list[Receipt]:
        """The receipts of one order and siren, each number once."""
        return self._receipts.get((order.body.id, siren), [])

    @cached_property
    def _arrived(self) -> dict[tuple[str, str], list[Arrival]]:
        found: dict[tuple[str, str], list[Arrival]] = {}
        for one in self.arrivals:
            if one.authorised:
                found.setdefault((one.gateway, one.order), []).append(one)
        return found

    def arrivals_of(self, order: Ordered, gateway: str) -> list[Arrival]:
        """When it reached a living gateway that had reason to believe it; from the wire, or as it was issued."""
        if not self.wired:
            return [Arrival(gateway, order.issued_us, order.id)]
        return self._arrived.get((gateway, order.id), [])

    # When an order sounds.

    def start_of(self, order: Ordered, siren: str) -> int | None:
        """The instant from which the pattern counts: as ordered, or when it was first heard of: by its contact; by the
        receipt where there is nothing else; where no receipt tells of an edge, by the sound behind the acceptance."""
        if order.start_wall_us is not None:
            return order.start_wall_us
        if self.wired:
            arrived = self.arrivals_of(order, self.gateway_of(siren))
            return next((c.on_wall_us for c in self.contacts_of(siren) if arrived
                         and c.on_wall_us >= arrived[0].at_us), None)
        first = next((r.first_edge for r in self.of(order, siren) if r.first_edge is not None), None)
        if first is not None:
            return to_wall_us(first)
        accepted = next((to_wall_us(r.at) for r in self.of(order, siren) if r.stage is Stage.ACCEPTED), NEVER_US)
        return next((s.on_wall_us for s in self.sounds_of(siren)
                     if accepted <= s.on_wall_us <= accepted + self.length_us(order)), None)

    def phases_of(self, order: Ordered, siren: str) -> list[tuple[int, int]]:
        """(on, off) in wall time of each on-phase this order asked of this siren."""
        start = self.start_of(order, siren)
        if start is None:
            return []
        end = start + self.length_us(order)
        phases = [(start + p.on_us, min(start + p.off_us, end)) for p in joined(self.timeline(order).phases)]
        return [(on, off) for on, off in phases if on < end]

    def spans(self, order: Ordered, siren: str) -> list[tuple[int, int]]:
        """From when to when it may sound here: from each arrival, or from its instant by the gateway's clock."""
        gateway, length_us = self.gateway_of(siren), self.length_us(order)
        arrived = [a for a in self.arrivals_of(order, gateway) if not self._refused(order, a)]
        if order.start_wall_us is None:
            if not self.wired:
                start_us = self.start_of(order, siren)
                return [] if start_us is None else [(start_us, start_us + length_us)]
            return [(a.at_us, min(a.at_us + length_us, self._loss_us(gateway, a.at_us))) for a in arrived]
        starts = {order.start_wall_us, *(order.start_wall_us - c.offset_us for c in self.clocks.get(gateway, ()))}
        # An armed drill waits for the end of SAFE-MIN.
        ends = [] if order.body.mode is Mode.LIVE else [t for t in self.troubles if t.kind == "safe-min"]
        return [(max([start, *(t.to_us for t in ends if t.on == gateway and t.meets(start, start))]), start + length_us)
                for start in starts if arrived]

    def _refused(self, order: Ordered, arrival: Arrival) -> bool:
        """Whether it must not sound although it is rightly signed: a drill in SAFE-MIN, or what was issued before the
        journal was lost, which may have sounded already."""
        here, at_us = arrival.gateway, arrival.at_us
        if order.body.mode is not Mode.LIVE and self.wrong("safe-min", here, at_us, at_us):
            return True
        return any(t.kind == "lost" and t.on == here and order.issued_us < t.from_us < at_us for t in self.troubles) \
            and order.start_wall_us is None and self.clock_steady(here, self.begins_us, at_us)

    def _loss_us(self, gateway: str, since_us: int) -> int:
        """When the journal was lost that knew of what came at `since_us`; what was on then is off soon after."""
        return min((t.from_us for t in self.troubles if t.kind == "lost" and t.on == gateway and t.from_us >= since_us),
                   default=NEVER_US)

    def asked_spans(self, siren: str) -> list[tuple[int, int]]:
        """From when to when somebody at the cabinet may have it sound; in SAFE-MIN nobody."""
        gateway = self.gateway_of(siren)
        return [(a.at_us, a.at_us + round(a.seconds * S) + STOP_US) for a in self.asks
                if a.siren == siren and a.verb in ("growl", "activate") and a.user != "guest"
                and not self.wrong("safe-min", gateway, a.at_us, a.at_us)]

    def flood_spans(self, siren: str) -> list[tuple[int, int]]:
        """From when to when it may sound of itself: a vote stood, under a signed policy."""
        return [(since, until + w.length_us) for w in self.watched if siren in w.sirens for since, until in w.starts]

    def rivals(self, order: Ordered | None, siren: str, from_us: int, to_us: int) -> bool:
        """Whether anything else was said of this siren in this time: another order, a stop, somebody at the cabinet."""
        if any(start <= to_us and end >= from_us for start, end in self.flood_spans(siren)):
            return True
        for other in self.orders:
            if other is order or siren not in other.sirens:
                continue
            if other.body.action is Action.SOUND:
                spans = self.spans(other, siren)
            else:
                spans = [(a.at_us, a.at_us) for a in self.arrivals_of(other, self.gateway_of(siren))]
            if any(start <= to_us and end >= from_us for start, end in spans):
                return True
        return any(a.siren in (siren, "all") and from_us <= a.at_us + round(a.seconds * S) + STOP_US
                   and a.at_us <= to_us for a in self.asks)

    def stopped_at(self, siren: str, since_us: int) -> int | None:
        """When the first stop after `since_us` that meant this siren was issued."""
        stops = [o.issued_us for o in self.stops() if siren in o.sirens and o.issued_us >= since_us]
        return min(stops, default=None)

    # What was wrong.

    def bound_us(self, siren: str) -> int:
        """L: how long its output may stay on after everything of ours is dead."""
        config, section = self._sirens[siren]
        output = config.profile_of(Drive.of(section.drive).device).output
        assert output is not None
        match output.class_:
            case OutputClass.A:
                return round((output.watchdog_s or 0) * S) + GOLDEN_US
            case OutputClass.B:
                return LEASE_US + GOLDEN_US
            case OutputClass.B_PRIME:
                return round((output.self_limit_s or 3600) * S) + GOLDEN_US
            case OutputClass.C:
                return round((section.hard_limit_s or 0) * S) + GOLDEN_US

    def hurting(self, siren: str, from_us: int, to_us: int, after_us: int = AFTER_US) -> list[Trouble]:
        """What was wrong, or had been until shortly before, with what drives this siren: its output, unit, line and
        gateway, and neighbours on the line who talk out of turn. Other devices that are silent, the broker, the hub
        and the disk are not among it."""
        drives, lines, near = self._driven(siren)
        gateway = self.gateway_of(siren)
        return [t for t in self.troubles if t.meets(from_us - after_us, to_us) and (
            t.on in drives or t.on in lines or (t.kind == "process" and t.on == gateway)
            or (t.kind in OCTETS and t.on in near))]

    def beside(self, siren: str, from_us: int, to_us: int) -> bool:
        """Whether anybody on the line of what drives this siren was in trouble, or had been until shortly before."""
        _, _, near = self._driven(siren)
        return any(t.on.partition(".")[0] in near and t.meets(from_us - AFTER_US, to_us) for t in self.troubles)

    def surprise_us(self, siren: str, at_us: int) -> int:
        """What an edge at this instant may wait for other units of its line, each its time-out: those that fell silent
        just before, and those that answer now and then."""
        drives, _, near = self._driven(siren)
        config = self._sirens[siren][0]
        silent = {t.on for t in self.troubles if t.kind in SILENT and t.on in near - drives and t.meets(at_us, at_us)
                  and (t.share < 1 or t.kind == "brown-out" or at_us < t.from_us + NEWS_US)}
        return sum(config.profile_of(id).line.timeout_ms for id in silent) * MS

    def _driven(self, siren: str) -> tuple[set[str], set[str], set[str]]:
        """What drives it: outputs and devices; their lines; and all devices there."""
        config, section = self._sirens[siren]
        drives = {section.drive, Drive.of(section.drive).device}
        if section.second_off:
            drives |= {section.second_off, Drive.of(section.second_off).device}
        lines = {config.device(Drive.of(d).device).bus for d in drives}
        return drives, lines, {d.id for d in config.spec.device if d.bus in lines}

    def held(self, siren: str, from_us: int, to_us: int) -> list[Trouble]:
        """When a welded contact or somebody's hand kept it on."""
        section = self._sirens[siren][1]
        places = {section.drive, Drive.of(section.drive).device}
        return [t for t in self.troubles if t.kind in HELD and t.on in places and t.meets(from_us, to_us)]

    def held_off(self, siren: str, until_us: int) -> bool:
        """Whether the gateway may hold it off since then, until somebody frees it: a welded contact or somebody's hand
        kept it on, or what tells of it froze while it told of sound, which looks the same."""
        froze = [t.from_us for t in self.troubles if t.kind == "frozen" and t.on in self.witnesses(siren)
                 and t.from_us <= until_us]
        return bool(self.held(siren, 0, until_us)) or any(
            c.on_wall_us <= at_us <= c.end_us + SHOWN_US for at_us in froze for c in self.contacts_of(siren))

    def lost_at(self, gateway: str, at_us: int) -> bool:
        """Whether its journal was lost at this very instant."""
        return any(t.kind == "lost" and t.on == gateway and t.from_us == at_us for t in self.troubles)

    def witnesses(self, siren: str) -> set[str]:
        """The devices that tell of it: its feedback's, and its drive."""
        section = self._sirens[siren][1]
        return {p.partition(".")[0] for p in section.points} | {Drive.of(section.drive).device}

    def wrong(self, kind: str, on: str, from_us: int, to_us: int) -> bool:
        return any(t.kind == kind and t.on == on and t.meets(from_us, to_us) for t in self.troubles)

    def locked(self, siren: str) -> list[tuple[int, int, bool]]:
        """When it was locked out: from, to, and whether by the key."""
        keys = [(t.from_us, t.to_us, True) for t in self.troubles if t.kind == "key" and t.on == siren]
        tags = [(t.from_us, t.to_us, False) for t in self.troubles if t.kind == "tag" and t.on == siren]
        return keys + tags

    def may_be_locked(self, siren: str, from_us: int, to_us: int) -> bool:
        """Whether it was locked out, or bore a tag that no disk may have."""
        spans = [(t.from_us, t.to_us) for t in self.troubles if t.kind == "perhaps-tag" and t.on == siren]
        spans += [(low, high) for low, high, _ in self.locked(siren)]
        return any(low <= to_us and from_us <= high for low, high in spans)

    def forgot(self, gateway: str) -> bool:
        """Whether something that it knew may be on no disk: its journal was lost, or failed and the process died."""
        kinds = {t.kind for t in self.troubles if t.on == gateway}
        return "lost" in kinds or {"disk", "process"} <= kinds

    def alive(self, gateway: str, from_us: int, to_us: int) -> bool:
        """Whether one process lived all the time."""
        if not self.lives:
            return True
        return any(start <= from_us and to_us <= end for start, end in self.lives.get(gateway, ()))

    def clock_at(self, gateway: str, at_us: int) -> Clocked:
        found = Clocked(0, 0, True)
        for one in self.clocks.get(gateway, ()):
            if one.at_us > at_us:
                break
            found = one
        return found

    def clock_steady(self, gateway: str, from_us: int, to_us: int) -> bool:
        """Whether its clock was right and believed all the time."""
        return not any(t.kind == "clock" and t.on == gateway and t.meets(from_us, to_us + 2 * S)
                       for t in self.troubles)


Breaches = Iterator[str]


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


def joined(phases: Sequence[Phase]) -> list[Phase]:
    """On-phases that touch are one stretch of sound."""
    out: list[Phase] = []
    for phase in phases:
        if out and out[-1].off_us == phase.on_us:
            out[-1] = Phase(out[-1].on_us, phase.off_us, out[-1].tone)
        else:
            out.append(phase)
    return out


def overlap(sounding: Sounding, on: int, off: int) -> bool:
    return sounding.on_wall_us < off and sounding.end_us > on


def under(sounding: Sounding, phases: Sequence[tuple[int, int]]) -> bool:
    return any(on - GOLDEN_US <= sounding.on_wall_us < off for on, off in phases)


def _by_siren(stretches: Iterable[Sounding]) -> dict[str, list[Sounding]]:
    out: dict[str, list[Sounding]] = {}
    for one in sorted(stretches, key=lambda s: s.on_wall_us):
        out.setdefault(one.siren, []).append(one)
    return out
