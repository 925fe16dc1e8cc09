"""A small place drawn by chance: one to three gateways, four to twelve devices, and how they are wired.

What comes of it are the two documents of life, `site.toml` and a `gateway.toml` each, as plain data, so that a place
can be kept in a file and built again when the drawing has changed. It refuses to know what happens there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from controller import config, signal
from controller.config import Config, GatewayFile
from controller.signal import Signals
from firmware_bridge import document, profile
from firmware_bridge.profile import Profile
from simulators.site import Plan, SiteFile

CONFIGS = Path(__file__).parents[1] / "configs"
SIGNALS = ("national", "henan", "jiangsu", "provinces", "demo")
AREA = "41/01/03"
"""Every gateway lies in this county: the office may order there."""
ROOTS = "vjrv11EsyfNSifK_aEpzFk0497QvcuzFS08Lczbpal4", "TvBg6hB9AlhaP5SxiXiO35921gCR2BtxRderXjTA_s0", \
    "imDCw2fnxeqkQHEfzv9DxJu9gbub-b9jA9mXNTHDloo"
"""The demo's."""
MOST_UNITS = 12
"""The larger a place, the slower its time; what goes wrong between devices takes two of them."""
SPOOL_MS = 800, 1500
"""A motor's current rises and falls so long after its contactor."""





class Chance(Protocol):
    """A seeded `random.Random`, as far as it is needed here."""

    def random(self) -> float: ...
    def randint(self, a: int, b: int, /) -> int: ...
    def choice(self, seq: Sequence[Any], /) -> Any: ...
    def choices(self, seq: Sequence[Any], /, *, weights: Sequence[float], k: int) -> list[Any]: ...
    def uniform(self, a: float, b: float, /) -> float: ...


Place = Mapping[str, Any]
"""`{"site": site.toml as data, "gateways": [gateway.toml as data, ...]}`."""


@dataclass
class _Gateway:
    """One in the making."""

    n: int
    bus: list[dict[str, Any]] = field(default_factory=list)
    device: list[dict[str, Any]] = field(default_factory=list)
    siren: list[dict[str, Any]] = field(default_factory=list)


class _Maker:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._line: list[dict[str, Any]] = []
        self._unit: list[dict[str, Any]] = []
        self._wire: list[dict[str, Any]] = []
        self._gateways: list[_Gateway] = []

    def place(self) -> Place:
        chance = self._chance
        wanted = min(chance.randint(4, MOST_UNITS), chance.randint(4, MOST_UNITS))
        for n in range(1, chance.choices((1, 2, 3), weights=(6, 3, 1), k=1)[0] + 1):
            self._gateways.append(_Gateway(n))
        n = 0
        while len(self._unit) < wanted or n < len(self._gateways):
            self._add_line(self._gateways[n % len(self._gateways)])
            n += 1
        # Every gateway has a siren, or it would have nothing to answer for.
        return {"site": {"site": {"id": "hamlet", "profiles": "profiles"}, "line": self._line, "unit": self._unit,
                         "wire": self._wire},
                "gateways": [_document(one) for one in self._gateways]}

    def _add_line(self, gateway: _Gateway) -> None:
        chance, n = self._chance, len(self._line) + 1
        id = f"line-{n}"
        kind = chance.choices(("board", "heads", "mixed"), weights=(5, 3, 2), k=1)[0]
        if kind == "heads" and chance.random() < 0.7:
            self._line.append({"id": id, "kind": "tcp", "port": 15000 + n, "refuse_silent": chance.random() < 0.3})
            gateway.bus.append({"id": id, "link": f"tcp:127.0.0.1:{15000 + n}"})
        else:
            baud = chance.choice((9600, 19200, 38400))
            self._line.append({"id": id, "kind": "rtu", "path": f"run/{id}", "baud": baud,
                               "chunks": chance.randint(1, 3), "strict": chance.random() < 0.3, "seed": n})
            gateway.bus.append({"id": id, "link": f"serial:run/{id}", "baud": baud})
        if kind != "heads":
            self._add_board(gateway, id)
        for _ in range(chance.randint(1, 2) if kind == "heads" else kind == "mixed"):
            self._add_head(gateway, id)
        if chance.random() < 0.4 and self._line[-1]["kind"] == "rtu":
            self._add_unit(gateway, id, chance.choice(("qdy30a", "dyp_ultrasonic", "sonbest_sm7901")))

    def _add_unit(self, gateway: _Gateway, line: str, profile: str) -> str:
        unit = 1 + sum(u["line"] == line for u in self._unit)
        id = f"u-{len(self._unit) + 1}"
        dead = profile in ("qdy30a", "sonbest_sm7901") and self._chance.random() < 0.3
        self._unit.append({"id": id, "line": line, "unit": unit, "profile": profile, "seed": len(self._unit),
                           "dead": dead, "boot_ms": self._chance.choice((500, 2000, 5000))})
        gateway.device.append({"id": id, "bus": line, "unit": unit, "profile": profile})
        return id

    def _add_board(self, gateway: _Gateway, line: str) -> None:
        """A board of relays that drive motors, and a meter that sees their currents."""
        chance = self._chance
        board = chance.choices(("waveshare_rtu_relay", "wirenboard_mr6c", "generic_coil_board", "eletechsup_r4d8"),
                               weights=(5, 3, 1, 1), k=1)[0]
        relay = self._add_unit(gateway, line, board)
        meter = self._add_unit(gateway, line, "generic_input_module")
        rise_ms, fall_ms = SPOOL_MS
        for channel in range(1, chance.randint(1, 3) + 1):
            latching = board in ("generic_coil_board", "eletechsup_r4d8")
            siren = self._siren(gateway, "motor", f"{relay}.{channel}")
            siren |= {"feedback": [{"point": f"{meter}.current_{channel}", "above": 2.0}],
                      "spool_up_s": 1.0, "spool_down_s": 2.0, "starts_per_hour": 60}
            wire: dict[str, Any] = {"from": f"{relay}.{channel}", "to": f"{meter}.current_{channel}", "value_on": 8.5,
                                    "value_off": 0.0, "rise_ms": rise_ms, "fall_ms": fall_ms}
            bound: dict[str, Any] = {}
            if latching:
                siren["hard_limit_s"] = bound["hard_limit_s"] = 200
            if chance.random() < 0.4:
                siren["isolator"] = bound["locked_by"] = f"{meter}.contact_{channel}"
            if channel == 1 and chance.random() < 0.4:
                siren["second_off"] = bound["cut_by"] = f"{relay}.6" if board == "wirenboard_mr6c" else f"{relay}.8"
            self._wire.append(wire | bound)
            if chance.random() < 0.3:
                siren["contactor"] = f"{meter}.contact_{channel + 4}"
                self._wire.append({"from": f"{relay}.{channel}", "to": f"{meter}.contact_{channel + 4}",
                                   "rise_ms": 40, "fall_ms": 40} | bound)

    def _add_head(self, gateway: _Gateway, line: str) -> None:
        """A head that sounds by itself and tells what it does."""
        if self._line[-1]["kind"] == "rtu" and self._chance.random() < 0.3:
            head = self._add_unit(gateway, line, "evikon_ek61")
            siren = self._siren(gateway, "electronic", head)
            siren |= {"spool_up_s": 0.3, "spool_down_s": 0.5}
            return
        head = self._add_unit(gateway, line, "federal_signal_informer")
        siren = self._siren(gateway, "electronic", head)
        siren |= {"feedback": [{"point": f"{head}.activation"}], "spool_up_s": 1.0, "spool_down_s": 1.0}

    def _siren(self, gateway: _Gateway, type: str, drive: str) -> dict[str, Any]:
        made: dict[str, Any] = {"id": f"s-{gateway.n}{len(gateway.siren) + 1:02}", "type": type, "drive": drive,
                                "layer": "underground" if self._chance.random() < 0.2 else "surface"}
        gateway.siren.append(made)
        return made


def _document(one: _Gateway) -> dict[str, Any]:
    return {
        "gateway": {"id": f"gw-{one.n}", "area": f"{AREA}/{one.n:03}/001", "deployment": "demo"},
        "clock": {"source": "assumed"}, "journal": {"path": "run/journal.db"},
        "mqtt": {"host": "127.0.0.1", "port": 1883},
        "local": {"socket": "run/door.sock", "technicians": {"tech": "Tech"}, "commanders": {"chief": "Chief"}},
        "trust": {"list": "trust.json", "roots": list(ROOTS), "threshold": 2},
        "profiles": {"folder": "profiles"}, "signals": {"files": ["signals.toml"]},
        "bus": one.bus, "device": one.device, "siren": one.siren,
    }


def draw(chance: Chance) -> Place:
    return _Maker(chance).place()


def build(place: Place) -> tuple[Plan, list[Config]]:
    """The field and the gateways of a place."""
    file = CONFIGS / "hamlet"
    spec = document.check(SiteFile, place["site"], "site.toml")
    gateways = [document.check(GatewayFile, one, "gateway.toml") for one in place["gateways"]]
    return (Plan(file, spec, _profiles()), [Config(file, one, _profiles(), signals()) for one in gateways])


def problems(place: Place) -> list[str]:
    """What is wrong with it, by the gateways' own checks."""
    return [str(problem) for one in build(place)[1] for problem in config.problems(one)]


@cache
def _profiles() -> dict[str, Profile]:
    return profile.load_all(CONFIGS / "profiles")


@cache
def signals() -> Signals:
    return signal.load([CONFIGS / "signals" / f"{name}.toml" for name in SIGNALS])
