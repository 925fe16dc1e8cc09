"""A spot under made-up water, for tests: gauges that see it, a roadside that does what it is told, and a clock."""

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from controller import scale
from controller.event import Alarmed, Changed, Clock, Notice, Trust
from controller.lookout import Changes
from controller.rule import Grant, Rule
from controller.scale import Colour
from controller.spot import SpotSection
from firmware_bridge import profile
from firmware_bridge.event import Begin, Ended
from firmware_bridge.machine import S, Woken
from firmware_bridge.reading import NoValue, Quality, Reading, Took

ROOT = Path(__file__).parents[1]
SCALE = scale.load(ROOT / "configs" / "flood" / "scale-15-27-40.toml")
PROFILES = {id: profile.load(ROOT / "configs" / "profiles" / f"{name}.toml")
            for id, name in {"relay-1": "waveshare_rtu_relay", "sign-1": "cpower_sign"}.items()}
WALL_US = 1_789_696_800_000_000
"""Ten in the morning in Zhengzhou."""
GRANT = Grant(Colour.RED, ("s-1",), "flood", "0" * 32, 180, "policy 1: Li, Wang", ("Li", "Wang"))
SPOT: dict[str, Any] = {
    "id": "spot-1", "scale": "scale.toml", "release_min": 5,
    "gauge": [
        {"id": "pressure", "kind": "pressure", "point": "gauge-1.level", "unit": "cm", "range": [-20, 300]},
        {"id": "radar", "kind": "radar", "point": "gauge-2.distance", "unit": "cm", "range": [20, 600],
         "mount_cm": 520},
        {"id": "staff", "kind": "staff", "point": "gauge-3.level", "unit": "cm", "range": [0, 100]},
    ],
    "sign": {"device": "sign-1"}, "beacon": {"drive": "relay-1.1"}, "boom": {"drive": "relay-1.2"},
    "voice": {"device": "voice-1", "from": "orange", "tracks": {"orange": 1, "red": 2}},
}


class Waterside:
    """One rule, second by second."""

    def __init__(self, grant: Grant = GRANT, wall_us: int = WALL_US, kept: Mapping[str, Any] | None = None,
                 boot: str = "boot", now_us: int = 100 * S, trust: Trust = Trust.ASSUMED, **more: Any) -> None:
        self.rule = Rule("gw-1", boot, 8.0, SpotSection.model_validate(SPOT | more), SCALE, PROFILES, count(1))
        self.now_us = now_us
        self.wall_us = wall_us
        self.ripple = 0
        self.sees: dict[str, Callable[[float], float | None]] = dict.fromkeys(self.rule.lookout.gauges, float)
        """What each gauge makes of the depth; None: it is silent."""
        self.begun: list[tuple[float, str, Mapping[str, Any]]] = []
        self.asked: list[Alarmed] = []
        self.notices: list[Notice] = []
        self.works = True
        self.kept: dict[str, Any] = {}
        """The newest entry of the book."""
        if kept is not None:
            self.rule.restore(kept)
        self.tell(grant)
        self.tell(Clock(self.wall_us, 0, trust))

    def tell(self, event: Any) -> None:
        for effect in self.rule.handle(self.now_us, event):
            match effect:
                case Begin():
                    self.begun.append((self.now_us / S, f"{effect.device}.{effect.channel or ''} {effect.action}".
                                       replace(". ", " "), effect.args or {}))
                    edge_us = self.now_us if self.works else None
                    self.tell(Ended(effect.device, effect.token, effect.action, self.works, "", edge_us))
                case Alarmed():
                    self.asked.append(effect)
                case Notice():
                    self.notices.append(effect)
                case Changes():
                    self.kept = self.rule.snapshot
                case Changed():
                    pass

    def water(self, cm: float, seconds: float, to_cm: float | None = None) -> "Waterside":
        """The water stands so deep for so long, or goes evenly to another depth; gauges are read each second."""
        for n in range(round(seconds)):
            self.now_us += S
            depth = cm if to_cm is None else cm + (to_cm - cm) * n / seconds
            self.ripple = 1 - self.ripple
            for gauge in self.rule.lookout.gauges.values():
                seen = self.sees[gauge.id](depth)
                device, _, point = gauge.section.point.partition(".")
                if seen is None:
                    reading = Reading(device, point, None, Quality.BAD, self.now_us, NoValue.SILENT)
                else:
                    seen += 0.1 * self.ripple
                    mount = gauge.section.mount_cm
                    value = seen if mount is None else mount - seen
                    reading = Reading(device, point, value, Quality.GOOD, self.now_us)
                self.tell(Took(device, (reading,)))
            while self.rule.deadline <= self.now_us:
                self.tell(Woken())
        return self

    @property
    def local(self) -> str:
        return self.rule.lookout.local.name

    @property
    def loud(self) -> str:
        return self.rule.lookout.loud.name

    @property
    def sign(self) -> str:
        assert self.rule.sign is not None
        return self.rule.sign.shown

    def did(self, what: str) -> list[float]:
        """When an action of a device was begun."""
        return [at for at, action, _ in self.begun if action == what]

    def told(self, what: str) -> list[Notice]:
        return [n for n in self.notices if n.what == what]
