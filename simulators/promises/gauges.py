"""What the gauges of a low-lying spot showed, and when by that a siren may have sounded of itself.

Written down each second, and when a fault begins: how deep the water truly was, and what the registers of each gauge
held, wrong or not. A vote is counted here a second time, from docs/flood.md and not from the gateway's machines, and
with the time that a value needs from a register to an alarm. It refuses to know what sounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from controller.config import Config
from controller.scale import NAMES, ColourName, colour_of
from controller.signal import Signals
from controller.spot import CM, SpotSection
from firmware_bridge.machine import S
from firmware_bridge.point import Scalar

SEEN_US = 20 * S
"""A value may count for so long: fifteen seconds as the last one of a gauge that is silent, and a median of five."""
BLURRED_US = 60 * S
"""... where lines and units drop answers, so that five samples take a minute."""
NEAR_CM = 1.5
"""A gauge's own noise, and what the water did since it was read."""
WET_CM = 1.0
"""Fast water is taken for one colour deeper than it is, from here on."""
HOLD_SLACK_US = 2 * S
BEGIN_US = 6 * S
"""From the vote to the contact: the order is written, the line is found free."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One instant. `cm` of each gauge; None: it shows nothing that is a level. `wild`: it may show anything between."""

    at_us: int
    water_cm: float
    cm: Mapping[str, float | None]
    wild: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Watched:
    """A spot. `sirens` may sound for it by a policy that the right persons signed; none: they may not."""

    gateway: str
    spot: SpotSection
    depths: Mapping[ColourName, float]
    delays_us: Mapping[ColourName, int]
    sirens: tuple[str, ...] = ()
    from_: ColourName = "red"
    length_us: int = 0
    phase_us: int = 0
    phases: int = 0
    seen_us: int = SEEN_US
    rows: list[Shown] = field(default_factory=list)

    def votes(self, colour: ColourName) -> list[tuple[int, int]]:
        """From when to when enough gauges stood for this colour, with the time for which a value counts."""
        return self._votes(self.depths[colour])

    def _votes(self, cm: float) -> list[tuple[int, int]]:
        last: dict[str, int] = {}
        runs: list[tuple[int, int]] = []
        for row in self.rows:
            for gauge in self.spot.gauge:
                shown = row.cm.get(gauge.id)
                if gauge.id in row.wild or (shown is not None and shown >= cm - NEAR_CM):
                    last[gauge.id] = row.at_us
            kinds: dict[str, float] = {}
            for gauge in self.spot.gauge:
                if gauge.id in last and last[gauge.id] >= row.at_us - self.seen_us:
                    kinds[gauge.kind] = max(kinds.get(gauge.kind, 0.0), gauge.counts)
            if len(kinds) > 1 and sum(kinds.values()) >= self.spot.quorum:
                follows = bool(runs) and runs[-1][1] >= row.at_us - 2 * S
                runs[-1:] = [(runs[-1][0], row.at_us)] if follows else [*runs[-1:], (row.at_us, row.at_us)]
        return runs

    def early(self, colour: ColourName) -> list[tuple[int, int]]:
        """... and since when the alarm of this colour can have been raised: fast water counts for one colour more, and
        is waited for as long as the colour says."""
        shallower = [cm for cm in self.depths.values() if cm < self.depths[colour]]
        hold_us = max(0, self.delays_us[colour] - HOLD_SLACK_US)
        return [(since + hold_us, until) for since, until in self._votes(max(shallower, default=WET_CM))
                if since + hold_us <= until]

    @cached_property
    def starts(self) -> list[tuple[int, int]]:
        """From when to when a siren may begin for this spot: the colour was raised, and enough gauges stand for it."""
        if not self.sirens:
            return []
        raised = self.early(self.from_)
        out = []
        for since, until in self.votes(self.from_):
            # A colour that was raised stays so for a minute at least, whatever the water does.
            first = min((on for on, _ in raised), default=until + 1)
            if max(first, since) <= until:
                out.append((max(first, since) - S, until + BEGIN_US))
        return out


def watched(config: Config, spot: SpotSection, policy: Mapping[str, object] | None, signals: Signals,
            blurred: bool) -> Watched:
    """`policy` as the place has it."""
    scale = config.scales[spot.scale]
    delays = {NAMES[colour]: round(one.on_delay_s * S) for colour, one in scale.colours.items()}
    depths = {NAMES[colour]: one.at_cm for colour, one in scale.colours.items()}
    seen_us = BLURRED_US if blurred else SEEN_US
    if policy is None or not policy["good"]:
        return Watched(config.id, spot, depths, delays, seen_us=seen_us)
    timeline = signals.timeline(str(policy["sound"]))
    length_us = min(timeline.end_us, int(str(policy["max_duration_s"])) * S)
    sirens = policy["sirens"]
    assert isinstance(sirens, list)
    return Watched(config.id, spot, depths, delays, tuple(sirens), NAMES[colour_of(str(policy["from"]))], length_us,
                   max(p.off_us - p.on_us for p in timeline.phases), sum(p.on_us < length_us for p in timeline.phases),
                   seen_us)


def centimetres(spot: SpotSection, gauge: str, value: Scalar | None) -> float | None:
    """What a register holds as a depth, by what gateway.toml says of the gauge."""
    section = next(g for g in spot.gauge if g.id == gauge)
    if section.kind == "float":
        return section.wet_cm if value else None
    if value is None or isinstance(value, str) or section.kind == "rain":
        return None
    if section.range is not None and not section.range[0] <= value <= section.range[1]:
        return None
    cm = value * CM[section.unit or "cm"]
    return (cm if section.mount_cm is None else section.mount_cm - cm) - section.zero_cm

