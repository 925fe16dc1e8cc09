"""The rule of one spot: what its alarms make happen beside the road, and when they ask for a siren.

A suspected colour moves the sign and the beacon. A confirmed one makes the voice speak, asks the boom to close, and,
where a signed policy says so, asks for sirens: once a flood, and not again within the cool-down. Nothing that sounds
follows a single gauge.

One flood is from the first alarm in force to the last. What is in force, which flood it is and whether it had its
siren are told to whoever keeps the book (`floods.py`), so that a restart in a flood goes on where it was.
It refuses to know the hub, the journal, who may acknowledge, and how a siren sounds.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controller.alarm import State
from controller.event import Alarmed, Changed, Clock, Notice, Trust
from controller.lookout import Changes, Handed, Lookout
from controller.roadside import Beacon, Boom, Sign
from controller.scale import NAMES, Colour, ScaleFile, colour_of
from controller.spot import SpotSection
from controller.voice import Voice, at_night, depth_track
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence
from firmware_bridge.machine import S, Woken, earliest
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Took

TICK_US = 1 * S
"""How often the gauges are asked: most are polled each second."""
DEPTH_STEP_CM = 3
"""The depth in a text follows the water in steps of so many centimetres: a sign that flickers is not read."""
ASK_AGAIN_US = 60 * S
"""A siren that was asked for so shortly before a restart is asked for again, under the same id: that it was asked for
may be on the disk without the order that came of it. Orders do nothing twice."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the policy that rules lets this spot start; `sirens` is empty where it lets it start nothing."""

    colour: Colour = Colour.RED
    sirens: tuple[str, ...] = ()
    sound: str = ""
    digest: str = ""
    max_duration_s: int = 0
    by: str = ""
    persons: tuple[str, ...] = ()


@dataclass(slots=True)
class Flood:
    """From the first alarm in force to the last. `id` is empty while there is none."""

    id: str = ""
    asked: bool = False
    """It had its siren."""
    siren_wall_us: int | None = None
    """When this spot last asked for one, in this flood or an earlier one."""


RuleEvent = Took | Presence | Edged | Ended | Clock | Grant | Handed | Woken
RuleEffect = Begin | Abort | Notice | Changed | Alarmed | Changes


class Rule:
    """The machine of one spot. `boot` tells this run of the gateway from all others; `tokens` number its Begins."""

    def __init__(self, gateway: str, boot: str, utc_offset_h: float, spot: SpotSection, scale: ScaleFile,
                 profiles: Mapping[str, Profile], tokens: Iterator[int]) -> None:
        self.id = spot.id
        self.spot = spot
        self.lookout = Lookout(spot, scale)
        self.flood = Flood()
        self.shown: Changed | None = None

        def of(ref: str) -> Profile:
            return profiles[ref.partition(".")[0]]

        self.sign = Sign(spot.id, spot.sign, tokens) if spot.sign else None
        self.beacon = Beacon(spot.id, spot.beacon, of(spot.beacon.drive), tokens) if spot.beacon else None
        self.boom = Boom(spot.id, spot.boom, of(spot.boom.drive), tokens) if spot.boom else None
        self.voice = Voice(spot.id, spot.voice, tokens) if spot.voice else None
        self._beside = [part for part in (self.sign, self.beacon, self.boom, self.voice) if part]
        """All that stands beside the road."""
        self._gateway, self._boot, self._offset_h = gateway, boot, utc_offset_h
        self._scale = scale
        self._grant = Grant()
        self._floods = 0
        self._clock: Clock | None = None
        self._clock_us = 0
        self._cool_us: int | None = None
        """Until when no siren is asked for."""
        self._undated = False
        """That was restored, and no clock that is believed has said yet how long ago it was."""
        self._tick_us = 0
        self._depth_cm: float | None = None
        self._out: list[RuleEffect] = []

    @property
    def deadline(self) -> int:
        first = earliest(self._tick_us, self.lookout.deadline, *(part.deadline for part in self._beside))
        assert first is not None
        return first

    @property
    def snapshot(self) -> dict[str, Any]:
        """What of it outlives a restart."""
        return {"flood": self.flood.id, "asked": self.flood.asked, "siren_wall_us": self.flood.siren_wall_us,
                "alarms": self.lookout.snapshot}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from there. What is in force is done again at the first event, whatever stood when we died."""
        wall_us = kept.get("siren_wall_us")
        self.flood = Flood(str(kept.get("flood") or ""), kept.get("asked") is True,
                           wall_us if isinstance(wall_us, int) else None)
        self._undated = self.flood.siren_wall_us is not None
        self.lookout.restore(kept.get("alarms"))

    def handle(self, now_us: int, event: RuleEvent) -> list[RuleEffect]:
        self._out = []
        if self._tick_us == 0 and self._undated:
            # Until the clock says how long ago that was, it was now.
            self._cool_us = now_us + self._cool_down_us
        match event:
            case Took():
                for reading in event.readings:
                    self.lookout.take(now_us, reading)
                    for part in (self.sign, self.beacon, self.boom):
                        self._out += part.took(now_us, reading) if part else []
            case Clock():
                self._take(now_us, event)
            case Grant():
                self._grant = event
            case Handed():
                self.lookout.hand(now_us, event)
            case Presence() | Edged() | Ended() | Woken():
                pass
        told = event if isinstance(event, Presence | Edged | Ended) else Woken()
        for machine in self._beside:
            self._out += machine.handle(now_us, told)
        self.lookout.wake(now_us)
        if self._tick_us <= now_us:
            self._tick_us = now_us + TICK_US
            self.lookout.ask(now_us)
        self._out += self.lookout.out
        self.lookout.out.clear()
        self._act(now_us)
        assert self.deadline > now_us, (self.deadline, now_us, event)
        return self._out

    # What happens beside the road.

    def _act(self, now_us: int) -> None:
        spot, local, loud = self.spot, self.lookout.local, self.lookout.loud
        if (local is Colour.DRY) == bool(self.flood.id):
            began = local is not Colour.DRY
            self._floods += began
            id = f"{self._boot}-{self._floods}" if began else ""
            self.flood = Flood(id, False, self.flood.siren_wall_us)
            self._out.append(Changes())
        if self.sign is not None and (text := self._text(local)) != self.sign.text:
            self._out += self.sign.show(now_us, text)
        if self.beacon is not None and spot.beacon:
            lit = local >= colour_of(spot.beacon.from_)
            self._out += self.beacon.light(now_us, lit) if lit is not self.beacon.on else []
        if self.boom is not None and spot.boom:
            down = self.lookout.confirmed >= colour_of(spot.boom.from_)
            self._out += self.boom.close(now_us, down) if down is not self.boom.on else []
        if self.voice is not None and spot.voice:
            speaks = loud >= colour_of(spot.voice.from_)
            volume = spot.voice.night_volume if self._night(now_us) else spot.voice.volume
            self._out += self.voice.say(now_us, self._tracks(loud) if speaks else (), volume)
        self._sirens(now_us, loud)
        self._show()

    def _text(self, colour: Colour) -> str:
        if colour is Colour.DRY:
            self._depth_cm = None
            return self._scale.dry
        return self._scale.colours[colour].text.replace("{depth}", f"{self._depth(colour):.0f}")

    def _depth(self, colour: Colour) -> float:
        """The depth that is told: it follows the water in steps; what nobody measures is at least the colour's."""
        level = self.lookout.vote.level_cm
        told = self._depth_cm
        if level is not None and (told is None or abs(level - told) >= DEPTH_STEP_CM):
            self._depth_cm = told = max(1.0, level)
        return self.lookout.depths[colour] if told is None else told

    def _tracks(self, colour: Colour) -> tuple[int, ...]:
        voice = self.spot.voice
        assert voice is not None
        tracks = {colour_of(name): track for name, track in voice.tracks.items()}
        of = max(c for c in tracks if c <= colour)
        return tracks[of], *depth_track(self.lookout.vote.level_cm, voice.depth_tracks)

    def _night(self, now_us: int) -> bool:
        """By a clock that is believed."""
        if self._clock is None or self._clock.trust is Trust.UNTRUSTED or self.spot.voice is None:
            return False
        return at_night(self._clock.wall_us + now_us - self._clock_us, self._offset_h, self.spot.voice.night)

    # Sirens.

    @property
    def _cool_down_us(self) -> int:
        return round(self.spot.cool_down_min * 60 * S)

    def _take(self, now_us: int, clock: Clock) -> None:
        if self._undated and clock.trust is not Trust.UNTRUSTED and self.flood.siren_wall_us is not None:
            self._undated = False
            since_us = max(0, clock.wall_us - self.flood.siren_wall_us)
            self._cool_us = now_us + max(0, self._cool_down_us - since_us)
            if self.flood.asked and since_us < ASK_AGAIN_US:
                self.flood.asked, self._cool_us = False, None
        self._clock, self._clock_us = clock, now_us

    def _sirens(self, now_us: int, loud: Colour) -> None:
        """Ask for sirens: by policy, on a vote that stands now, once a flood, and after the cool-down."""
        grant, flood = self._grant, self.flood
        if not grant.sirens or flood.asked or not flood.id or loud < grant.colour:
            return
        if (self._cool_us is not None and now_us < self._cool_us) or not self.lookout.stands(grant.colour):
            return
        flood.asked, self._cool_us, self._undated = True, now_us + self._cool_down_us, False
        flood.siren_wall_us = 0 if self._clock is None else self._clock.wall_us + now_us - self._clock_us
        order = hashlib.sha256(f"{self._gateway}/{self.id}/{flood.id}".encode()).hexdigest()[:32]
        words = "; ".join([NAMES[loud], *self.lookout.words(), grant.by])
        # The book first: what it says must be on the disk no later than what orders write of this.
        self._out.append(Changes())
        self._out.append(Alarmed(order, self.id, grant.sirens, grant.sound, grant.digest, grant.max_duration_s,
                                 grant.by, grant.persons))
        self._out.append(Notice("flood-siren", self.id, words, urgent=True, samples=self.lookout.samples(now_us)))

    # Telling.

    def _show(self) -> None:
        look = self.lookout
        vote, local = look.vote, look.local
        points: dict[str, float | int | bool | str | None] = {
            "level_cm": _rounded(vote.level_cm), "rise_cm_min": _rounded(vote.rise_cm), "to_red_s": look.to_red_s,
            "suspected": local.name, "confirmed": look.confirmed.name,
            "alarms": ", ".join(f"{a.id} {a.state.value}" for a in look.alarms.values() if a.state is not State.NORMAL),
        }
        points |= {f"gauge_{s.id}": _rounded(s.value) for s in look.sights if s.good}
        if self.sign is not None:
            points["sign"] = self.sign.shown
        if self.beacon is not None:
            points["beacon"] = self.beacon.lit
        if self.boom is not None:
            points["boom_closed"] = self.boom.closed
        if self.voice is not None:
            points["voice"] = self.voice.state.value
        why = "; ".join(w for w in (look.unknown, look.apart, *(part.fault.why for part in self._beside)) if w)
        # Dry is a claim, and made only of a road that is seen.
        state = "UNKNOWN" if look.unknown and local is Colour.DRY else local.name
        changed = Changed(self.id, state, why, points=points, bad={s.id: s.why for s in look.sights if not s.good})
        if changed != self.shown:
            self.shown = changed
            self._out.append(changed)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
