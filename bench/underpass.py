"""The demo's underpass as a whole gateway over simulated lines, on virtual time: when does the sign warn?

The same configuration as `make demo-flood`. Instants are those of the field: when the water truly came to a depth, and
when the first octet of another text for the sign was on its line.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller import admission, config
from controller.config import Config
from firmware_bridge.machine import S
from simulators import site
from simulators.flood_demo import SPOT, sign
from simulators.storm import Storm
from simulators.world import World

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SETTLE_S = 40.0
"""Until the gauges are believed and the sign shows the dry road."""
SIREN = ("relay-1", 1)


@dataclass(frozen=True, slots=True)
class Ground:
    """A configuration with its trust list and policy, from which worlds are made."""

    plan: site.Plan
    config: Config
    folder: Path

    def world(self) -> "Underpass":
        listed = admission.load(self.folder / "run/trust.json", self.config.spec.trust.pinned, "demo")
        text = (self.folder / "run/policy.json").read_text(encoding="utf-8")
        return Underpass(World(self.plan, [self.config], listed, policy=text), self.config)


def at_once(folder: Path) -> None:
    """No colour waits out a delay, so that only the machine's own time is measured."""
    scale = folder / "scale-15-27-40.toml"
    lines = [line for line in scale.read_text(encoding="utf-8").splitlines() if "on_delay_s" not in line]
    scale.write_text("\n".join(f"{line}\non_delay_s = 0" if line.startswith("at_cm") else line for line in lines),
                     encoding="utf-8")


def ground(folder: Path, hasty: bool = False) -> Ground:
    """Made in `folder`; `hasty`: `at_once`."""
    for name in ("flood", "profiles", "signals"):
        shutil.copytree(CONFIGS / name, folder / name, ignore=shutil.ignore_patterns("run"))
    here = folder / "flood"
    if hasty:
        at_once(here)
    sign(here)
    return Ground(site.load(here / "site.toml"), config.load(here / "gateway.toml"), here)


class Underpass:
    """One world, settled on a dry road."""

    def __init__(self, world: World, of: Config) -> None:
        self.world = world
        spot = next(s for s in of.spec.spot if s.id == SPOT)
        self.depths = of.depths_of(spot)
        self._dry = of.scales[spot.scale].dry.encode("gb2312")
        world.run(SETTLE_S)
        self._began_us = world.now_us

    def play(self, storm: Storm, seconds: float, faults: Sequence[tuple[str, str, float]] = ()) -> None:
        """A storm from now on; the faults were there before it."""
        for target, fault, share in faults:
            self.world.inject(target, fault, share)
        self.world.run(SETTLE_S)
        self._began_us = self.world.now_us
        self.world.storm(storm)
        self.world.run(seconds)

    def warned_s(self) -> float | None:
        """When the first text other than that of a dry road went to the sign, in seconds of the storm."""
        shown = (f.seen.first_byte_us for f in self.world.frames if f.line == "line-2"
                 and f.seen.first_byte_us >= self._began_us and b"\x12\x00\x00" in f.seen.pdu
                 and self._dry not in f.seen.pdu)
        first = next(shown, None)
        return None if first is None else (first - self._began_us) / S

    def siren_s(self) -> list[float]:
        return [(s.t_us - self._began_us) / S for s in self.world.sounds if (s.unit, s.channel) == SIREN and s.on]


def reaches_s(storm: Storm, cm: float) -> float | None:
    """When the true water first stands at a depth; None: never."""
    for t_us in range(0, storm.end_us + 1, S // 10):
        if storm.level_m(t_us) * 100 >= cm:
            return t_us / S
    return None
