"""The lookout of a spot: its gauges, their vote on every colour, and the alarms that hear it.

Each second the gauges are asked. A colour that one gauge shows is *suspected*, one that a quorum of unlike gauges
shows is *confirmed*; each is an alarm of its own. Gauges that cannot be believed, that are too few, or that disagree
are told as well. It refuses to know what is done because of an alarm (`rule.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from controller.alarm import CHATTER, Acknowledge, Alarm, AlarmEvent, Heard, Kind, Says, Shelve, Turn, Unshelve
from controller.event import Notice
from controller.level import NO_MOTION, Gauge, Sight
from controller.roadside import Fault
from controller.scale import NAMES, Colour, ScaleFile
from controller.spot import SpotSection
from controller.vote import Poll, Vote, early
from firmware_bridge.machine import S, Woken, earliest
from firmware_bridge.reading import Reading

DOUBT_US = 20 * S
"""A gauge that has had no level for so long, and gauges that are too few, are told (HONEST: 30 s)."""
SUSPECTED = "-suspected"
"""An alarm is named by its colour; that of one gauge with this behind it."""
SAID = {Kind.RAISED: "flood-{}", Kind.CLEARED: "flood-{}-over", Kind.CLEARED_LATCHED: "flood-{}-over",
        Kind.ACKNOWLEDGED: "alarm-acknowledged", Kind.SHELVED: "alarm-shelved", Kind.BACK_HIGH: "alarm-unshelved",
        Kind.BACK_LOW: "alarm-unshelved", Kind.BACK_LATCHED: "alarm-unshelved"}
"""What a turn of an alarm is called in an event."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A person's hand on one alarm, or on all that stand (None)."""

    alarm: str | None
    what: Acknowledge | Shelve | Unshelve


@dataclass(frozen=True, slots=True)
class Changes:
    """What the book says of this spot is not so any more."""


@dataclass(slots=True)
class _Doubted:
    fault: Fault
    since_us: int | None = None


class Lookout:
    """The gauges and alarms of one spot. What is to be told collects in `out`."""

    def __init__(self, spot: SpotSection, scale: ScaleFile) -> None:
        self.depths = {colour: section.at_cm for colour, section in scale.colours.items()}
        self.gauges = {g.id: Gauge(g) for g in spot.gauge}
        self.alarms: dict[str, Alarm] = {}
        self.local = Colour.DRY
        """What the sign and the beacon follow: the deepest colour in force, suspected or confirmed."""
        self.confirmed = Colour.DRY
        """What closes a road: the deepest confirmed colour in force. The shelf is for ears, and not for cars."""
        self.loud = Colour.DRY
        """What may sound: the deepest of those that nobody has shelved."""
        self.deadline: int | None = None
        """When the delay or the shelf of an alarm is over."""
        self.out: list[Notice | Changes] = []
        self.vote = Vote([], spot.quorum)
        """By what is measured now."""
        self.sights: list[Sight] = []
        self._spot = spot
        release_us = round(spot.release_min * 60 * S)
        self._watched: list[tuple[Colour, Alarm, Alarm]] = []
        """Each colour with its two alarms: one gauge's, and a quorum's."""
        for colour, section in scale.colours.items():
            name, on_us, latch = NAMES[colour], round(section.on_delay_s * S), NAMES[colour] in spot.latch
            confirmed, suspected = (Alarm(id, on_us, release_us, latch) for id in (name, name + SUSPECTED))
            self.alarms |= {name: confirmed, suspected.id: suspected}
            self._watched.append((colour, suspected, confirmed))
        self._poll = Poll(self.depths.values(), spot.hysteresis_cm, spot.quorum)
        """With what rises fast taken for one colour deeper."""
        self._sources: dict[tuple[str, str], list[Gauge]] = {}
        for gauge in self.gauges.values():
            self._sources.setdefault(gauge.source, []).append(gauge)
        self._doubts = {g: _Doubted(Fault("gauge-bad", f"{spot.id}.{g}")) for g in self.gauges}
        self._unknown = _Doubted(Fault("spot-unknown", spot.id))
        self._apart = _Doubted(Fault("gauges-disagree", spot.id))

    @property
    def unknown(self) -> str:
        """Why nobody knows how deep the water is; empty: enough gauges do."""
        return self._unknown.fault.why

    @property
    def apart(self) -> str:
        """Which gauge disagrees with the others; empty: none does."""
        return self._apart.fault.why

    @property
    def to_red_s(self) -> int | None:
        """Seconds until the deepest colour, in tens."""
        seconds = self.vote.to_s(max(self.depths.values()))
        return None if seconds is None else round(seconds, -1)

    @property
    def snapshot(self) -> dict[str, list[Any]]:
        return {a.id: a.snapshot for a in self.alarms.values()}

    def restore(self, kept: object) -> None:
        for id, stand in kept.items() if isinstance(kept, Mapping) else ():
            if id in self.alarms and isinstance(stand, list | tuple) and len(stand) == 2:
                self.alarms[id].restore(str(stand[0]), stand[1] is True)
        self._weigh()

    def take(self, now_us: int, reading: Reading) -> None:
        for gauge in self._sources.get((reading.device, reading.point), ()):
            gauge.take(now_us, reading)

    def hand(self, now_us: int, handed: Handed) -> None:
        for one in self.alarms.values():
            if handed.alarm in (None, one.id):
                self._tell(now_us, one, handed.what)

    def wake(self, now_us: int) -> None:
        """The alarms whose delay or shelf is over."""
        if self.deadline is None or self.deadline > now_us:
            return
        for one in self.alarms.values():
            if one.deadline is not None and one.deadline <= now_us:
                self._tell(now_us, one, Woken())

    def stands(self, colour: Colour) -> bool:
        """Whether enough gauges measure such a depth at this moment; a forecast is none."""
        at_cm = min(cm for c, cm in self.depths.items() if c >= colour)
        return self.vote.confirmed(at_cm, at_cm - self._spot.hysteresis_cm) is Says.HIGH

    def ask(self, now_us: int) -> None:
        """Ask the gauges, let them vote, and tell the alarms."""
        spot = self._spot
        for gauge in [g for g in self.gauges.values() if g.still(now_us)]:
            unlike = [g for g in self.gauges.values() if g.section.kind not in (gauge.section.kind, *NO_MOTION)]
            gauge.compared(now_us, median(g.moved(now_us) for g in unlike) if unlike else 0.0)
        self.sights = [gauge.sight(now_us) for gauge in self.gauges.values()]
        self.vote = Vote(self.sights, spot.quorum)
        if self._poll.take(early(self.sights, self.depths, spot.rise_1_cm, spot.rise_5_cm)):
            # An alarm that hears the same again learns nothing by it; its delays are `wake`'s.
            for (_, suspected, confirmed), says in zip(self._watched, self._poll.says, strict=True):
                self._tell(now_us, suspected, Heard(says[0]))
                self._tell(now_us, confirmed, Heard(says[1]))
        for sight in self.sights:
            self._doubt(now_us, self._doubts[sight.id], "" if sight.good else sight.why or "no level", DOUBT_US)
        self._doubt(now_us, self._unknown, "too few gauges can be believed" if self._poll.blind else "", DOUBT_US)
        apart = self.vote.disagree(spot.disagree_cm)
        why = f"{apart} is more than {spot.disagree_cm:g} cm from others" if apart else ""
        self._doubt(now_us, self._apart, why, round(spot.disagree_s * S))

    def samples(self, now_us: int) -> dict[str, list[tuple[float, float]]]:
        """The last minutes of all gauges: the evidence of what is done."""
        return {id: gauge.samples(now_us) for id, gauge in self.gauges.items()}

    def words(self) -> list[str]:
        """The water in words."""
        level, rise, red = self.vote.level_cm, self.vote.rise_cm, self.to_red_s
        out = [f"{level:.0f} cm"] if level is not None else []
        out += [f"rises {rise:.1f} cm a minute"] if rise is not None and rise >= 0.5 else []
        return out + ([f"red in {red} s"] if red is not None else [])

    def _tell(self, now_us: int, alarm: Alarm, event: AlarmEvent) -> None:
        turns = alarm.handle(now_us, event)
        self.deadline = earliest(*(a.deadline for a in self.alarms.values()))
        if turns:
            self._weigh()
            self._turned(now_us, turns)

    def _weigh(self) -> None:
        """An alarm turned: what stands now?"""
        self.local = self.confirmed = self.loud = Colour.DRY
        for colour, suspected, confirmed in self._watched:
            if suspected.in_force or confirmed.in_force:
                self.local = max(self.local, colour)
            if confirmed.in_force:
                self.confirmed = max(self.confirmed, colour)
                if not confirmed.shelved:
                    self.loud = max(self.loud, colour)

    def _doubt(self, now_us: int, one: _Doubted, why: str, after_us: int) -> None:
        if not why:
            one.since_us = None
        elif one.since_us is None:
            one.since_us = now_us
        if one.fault.why if one.since_us is None else now_us - one.since_us >= after_us:
            self.out += one.fault.be(why)

    def _turned(self, now_us: int, turns: Iterable[Turn]) -> None:
        for turn in turns:
            alarm, raised = self.alarms[turn.alarm], turn.kind is Kind.RAISED
            kind = "suspected" if turn.alarm.endswith(SUSPECTED) else "confirmed"
            flood = turn.kind in (Kind.RAISED, Kind.CLEARED, Kind.CLEARED_LATCHED)
            detail = [turn.alarm.removesuffix(SUSPECTED) if flood else turn.alarm]
            detail += (self.words() if raised else []) + ([f"by {turn.by}"] if turn.by else [])
            self.out.append(Notice(SAID[turn.kind].format(kind), self._spot.id, "; ".join(detail),
                                   urgent=raised or turn.kind is Kind.SHELVED,
                                   samples=self.samples(now_us) if raised else None, part=turn.alarm))
            self.out.append(Changes())
            if raised and alarm.raises(now_us) == CHATTER:
                self.out.append(Notice("alarm-chattering", self._spot.id, f"{turn.alarm} was raised"
                                       f" {alarm.raises(now_us)} times in an hour", urgent=True, part=turn.alarm))
