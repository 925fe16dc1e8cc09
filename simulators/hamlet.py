"""A small place drawn by chance: one to three gateways, four to twelve devices, and how they are wired.

What comes of it are the two documents of life, `site.toml` and a `gateway.toml` each, as plain data, so that a place
can be kept in a file and built again when the drawing has changed. It refuses to know what happens there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from controller import config, scale, signal
from controller.config import Config, GatewayFile
from controller.scale import ScaleFile
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
FLOODED_UNITS = 3
"""Those of a place with a low-lying spot, which has five to seven of its own: its life is twice as long."""
SPOT = "spot-1"
SCALE = "scale-15-27-40"
BOARDS = "waveshare_rtu_relay", "wirenboard_mr6c", "generic_coil_board", "eletechsup_r4d8"
"""Whose relays drive motors, and cut them off."""
APART = 1 / 3
"""Of second off-paths for which there is another board, so many are there: what ails the drive leaves them alone."""
MOUNT_CM = 420
"""So high over the road hangs the gauge that looks down."""


class Chance(Protocol):
    """A seeded `random.Random`, as far as it is needed here."""

    def random(self) -> float: ...
    def randint(self, a: int, b: int, /) -> int: ...
    def choice(self, seq: Sequence[Any], /) -> Any: ...
    def choices(self, seq: Sequence[Any], /, *, weights: Sequence[float], k: int) -> list[Any]: ...
    def uniform(self, a: float, b: float, /) -> float: ...


Place = Mapping[str, Any]
"""`{"site": site.toml as data, "gateways": [gateway.toml as data, ...]}`; with a spot whose sirens may sound of
themselves also `"policy"`: from which colour, which sirens, what, how long, and whether the right persons signed."""


@dataclass
class _Gateway:
    """One in the making."""

    n: int
    bus: list[dict[str, Any]] = field(default_factory=list)
    device: list[dict[str, Any]] = field(default_factory=list)
    siren: list[dict[str, Any]] = field(default_factory=list)
    spot: list[dict[str, Any]] = field(default_factory=list)


class _Maker:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._line: list[dict[str, Any]] = []
        self._unit: list[dict[str, Any]] = []
        self._wire: list[dict[str, Any]] = []
        self._gauge: list[dict[str, Any]] = []
        self._gateways: list[_Gateway] = []

    def flooded(self) -> Place:
        """One gateway with a low-lying spot, and a policy by which its sirens may sound of themselves, or none."""
        gateway = _Gateway(1)
        self._gateways.append(gateway)
        while len(self._unit) < FLOODED_UNITS:
            self._add_line(gateway)
        at = self._add_spot(gateway)
        return self._drawn() | {"policy": self._policy(gateway, at)}

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
        return self._drawn()

    def part(self, chance: Chance) -> None:
        """Move second off-paths of what is drawn to other boards."""
        for gateway in self._gateways:
            boards = {d["id"]: (4, 5) if d["profile"] == "wirenboard_mr6c" else (4, 5, 6, 7)
                      for d in gateway.device if d["profile"] in BOARDS}
            taken = set[str]()
            for siren in (s for s in gateway.siren if "second_off" in s):
                here = siren["drive"].partition(".")[0]
                free = [ref for board, channels in boards.items() if board != here
                        for ref in (f"{board}.{n}" for n in channels) if ref not in taken]
                if free and chance.random() < APART:
                    before, siren["second_off"] = siren["second_off"], chance.choice(free)
                    taken.add(siren["second_off"])
                    for wire in self._wire:
                        if wire.get("cut_by") == before:
                            wire["cut_by"] = siren["second_off"]

    def _drawn(self) -> dict[str, Any]:
        site: dict[str, Any] = {"site": {"id": "hamlet", "profiles": "profiles"}, "line": self._line,
                                "unit": self._unit, "wire": self._wire}
        return {"site": site | ({"gauge": self._gauge} if self._gauge else {}),
                "gateways": [_document(one) for one in self._gateways]}

    def _add_line(self, gateway: _Gateway) -> None:
        chance, n = self._chance, len(self._line) + 1
        id = f"line-{n}"
        kind = chance.choices(("board", "heads", "mixed"), weights=(5, 3, 2), k=1)[0]
        if kind == "heads" and chance.random() < 0.7:
            self._line.append({"id": id, "kind": "tcp", "port": 15000 + n, "refuse_silent": chance.random() < 0.3})
            gateway.bus.append({"id": id, "link": f"tcp:127.0.0.1:{15000 + n}"})
        else:
            self._add_serial(gateway, id)
        if kind != "heads":
            self._add_board(gateway, id)
        for _ in range(chance.randint(1, 2) if kind == "heads" else kind == "mixed"):
            self._add_head(gateway, id)
        if chance.random() < 0.4 and self._line[-1]["kind"] == "rtu":
            self._add_unit(gateway, id, chance.choice(("qdy30a", "dyp_ultrasonic", "sonbest_sm7901")))

    def _add_serial(self, gateway: _Gateway, id: str) -> None:
        chance = self._chance
        baud = chance.choice((9600, 19200, 38400))
        self._line.append({"id": id, "kind": "rtu", "path": f"run/{id}", "baud": baud, "chunks": chance.randint(1, 3),
                           "strict": chance.random() < 0.3, "seed": len(self._line) + 1})
        gateway.bus.append({"id": id, "link": f"serial:run/{id}", "baud": baud})

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
        board = chance.choices(BOARDS, weights=(5, 3, 1, 1), k=1)[0]
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

    # A low-lying spot.

    def _add_spot(self, gateway: _Gateway) -> str:
        """Three gauges of unlike kinds, a beacon and perhaps a boom on one line, a sign and perhaps a voice on others.

        Tells the colour at whose depth the float hangs: from there on sirens may sound.
        """
        chance, colour = self._chance, self._chance.choice(("red", "red", "orange"))
        depth_cm = _scale().colours[scale.colour_of(colour)].at_cm
        wet = f"line-{len(self._line) + 1}"
        self._add_serial(gateway, wet)
        press, sonar, contacts, relay = (self._add_well(gateway, wet, profile) for profile in (
            "qdy30a", "dyp_ultrasonic", "generic_input_module", "waveshare_rtu_relay"))
        self._gauge += [
            {"point": f"{press}.level", "shows": "level"},
            {"point": f"{sonar}.distance", "shows": "distance", "height_m": MOUNT_CM / 100},
            {"point": f"{contacts}.contact_1", "shows": "contact", "height_m": depth_cm / 100},
        ]
        spot: dict[str, Any] = {
            "id": SPOT, "scale": f"{SCALE}.toml", "release_min": 1, "cool_down_min": chance.choice((1, 30)),
            "gauge": [
                {"id": "press", "kind": "pressure", "point": f"{press}.level", "unit": "m", "range": [-0.2, 5.0]},
                {"id": "sonar", "kind": "ultrasonic", "point": f"{sonar}.distance", "unit": "m", "range": [0.2, 6.0],
                 "mount_cm": MOUNT_CM},
                {"id": "float", "kind": "float", "point": f"{contacts}.contact_1", "wet_cm": depth_cm},
            ],
            "sign": {"device": self._add_alone(gateway, "cpower_sign")}, "beacon": {"drive": f"{relay}.1"},
        }
        if chance.random() < 0.5:
            spot["boom"] = {"drive": f"{relay}.2", "closed": f"{contacts}.contact_2", "from": colour}
            self._wire.append({"from": f"{relay}.2", "to": f"{contacts}.contact_2", "rise_ms": 3000, "fall_ms": 3000})
        if chance.random() < 0.4:
            spot["voice"] = {"device": self._add_alone(gateway, "jq8900_voice"), "from": "orange",
                             "tracks": {"orange": 1, "red": 2}, "track_s": 4, "times": 2, "pause_s": 5}
        if chance.random() < 0.2:
            spot["latch"] = [colour]
        gateway.spot.append(spot)
        return str(colour)

    def _add_alone(self, gateway: _Gateway, profile: str) -> str:
        """A unit with a line of its own."""
        line = f"line-{len(self._line) + 1}"
        self._line.append({"id": line, "kind": "rtu", "path": f"run/{line}", "seed": len(self._line) + 1})
        gateway.bus.append({"id": line, "link": f"serial:run/{line}"})
        return self._add_well(gateway, line, profile)

    def _add_well(self, gateway: _Gateway, line: str, profile: str) -> str:
        id = self._add_unit(gateway, line, profile)
        self._unit[-1]["dead"] = False
        return id

    def _policy(self, gateway: _Gateway, colour: str) -> dict[str, Any] | None:
        chance = self._chance
        if chance.random() < 0.1:
            return None
        sirens = sorted({one["id"] for one in chance.choices(gateway.siren, weights=[1] * len(gateway.siren), k=2)})
        return {"from": colour, "sirens": sirens, "sound": chance.choice(("demo-air-raid", "demo-pre-alert")),
                "max_duration_s": chance.choice((8, 20)), "good": chance.random() < 0.85}

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
    } | ({"spot": one.spot} if one.spot else {})


def draw(chance: Chance, flooded: bool, apart: Chance) -> Place:
    """What `apart` draws changes nothing else of the place."""
    maker = _Maker(chance)
    place = maker.flooded() if flooded else maker.place()
    maker.part(apart)
    return place


def build(place: Place) -> tuple[Plan, list[Config]]:
    """The field and the gateways of a place."""
    file = CONFIGS / "hamlet"
    spec = document.check(SiteFile, place["site"], "site.toml")
    gateways = [document.check(GatewayFile, one, "gateway.toml") for one in place["gateways"]]
    return (Plan(file, spec, _profiles()), [Config(file, one, _profiles(), signals(), {f"{SCALE}.toml": _scale()})
                                           for one in gateways])


def problems(place: Place) -> list[str]:
    """What is wrong with it, by the gateways' own checks."""
    return [str(problem) for one in build(place)[1] for problem in config.problems(one)]


@cache
def _profiles() -> dict[str, Profile]:
    return profile.load_all(CONFIGS / "profiles")


@cache
def _scale() -> ScaleFile:
    return scale.load(CONFIGS / "flood" / f"{SCALE}.toml")


@cache
def signals() -> Signals:
    return signal.load([CONFIGS / "signals" / f"{name}.toml" for name in SIGNALS])
