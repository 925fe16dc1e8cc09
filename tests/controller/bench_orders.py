"""A gateway's orders on a bench: made-up time, real signatures, the demo persons and the national signals."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller import admission, signal, targets, wire
from controller.event import (
    Activate,
    Append,
    Arrived,
    Ask,
    Clock,
    Durable,
    Progress,
    Publish,
    QuietTest,
    Record,
    Say,
    Trust,
)
from controller.orders import Orders
from controller.site import Target
from controller.wire import Layer, Mode, OrderBody, Receipt, Stage
from firmware_bridge.machine import MS, S
from hub import keys

ROOT = Path(__file__).parents[2]
LI, WANG, ZHANG = (
    keys.load_key(ROOT / f"configs/demo/keys/{n}.jwk") for n in ("operator-1", "operator-2", "commander"))
TRUST = admission.load(ROOT / "configs/demo/trust.json", None, "demo").list
SIGNALS = signal.load([ROOT / f"configs/signals/{n}.toml" for n in ("national", "provinces", "henan", "demo")])
HERE = "41/1/2/3/4"
GATEWAYS = {"gw-1": ("s-1", "s-2"), "gw-alone": ("s-1",)}
WALL = wire.to_wall_us("2026-09-18T02:00:00.000Z")
MINUTE = 60 * S


def order(*who: dict[str, str], n: int = 1, sound: str | None = "air-raid", start_s: float | None = None,
          issued_s: float = 0, digest: str | None = None, **changes: Any) -> bytes:
    """An order that is issued at WALL and good for five minutes, unless told otherwise, and prepared for the gateways
    of this bench."""
    from_s = min(issued_s, 0)
    data: dict[str, Any] = {
        "v": 1, "id": f"{n:032x}", "deployment": "demo", "issuer": "Zhengzhou",
        "issued_at": wire.to_text(WALL + round(issued_s * S)), "not_before": wire.to_text(WALL + round(from_s * S)),
        "expires_at": wire.to_text(WALL + round(from_s * S) + 5 * MINUTE), "area": "41/1", "action": "sound",
        "mode": "live", "sequence": n, "trust_version": 1,
    }
    if sound is not None:
        known = SIGNALS.digest(sound) if sound in SIGNALS else "0" * 32
        data["sound"] = {"name": sound, "digest": digest or known}
        if start_s is not None:
            data["sound"]["start_at"] = wire.to_text(WALL + round(start_s * S))
    if (data | changes)["action"] == "sound":
        data["prepared"] = {gateway: targets.digest(gateway, [
            Target(s, HERE, Layer.SURFACE) for s in sirens if s in changes.get("sirens", sirens)
        ]) for gateway, sirens in GATEWAYS.items()}
    body = wire.validate(OrderBody, {k: v for k, v in (data | changes).items() if v is not None})
    return keys.sign(body, list(who))


def live(n: int = 1, **changes: Any) -> bytes:
    return order(LI, ZHANG, n=n, **changes)


def drill(n: int = 1, **changes: Any) -> bytes:
    return order(LI, n=n, **{"mode": "drill"} | changes)


def stop(n: int = 99, who: tuple[dict[str, str], ...] = (ZHANG,), **changes: Any) -> bytes:
    return order(*who, n=n, **{"action": "stop", "sound": None} | changes)


def name(n: int) -> str:
    return f"{n:032x}"


@dataclass
class Desk:
    """A gateway's orders with the hands of its neighbours: journal, sirens, session. Time moves only by `at`."""

    sirens: tuple[str, ...] = ("s-1", "s-2")
    technicians: dict[str, str] = field(default_factory=lambda: {"tech": "Zhao Tech"})
    now: int = 1_000 * S
    clock: bool = True
    boot: str = "one"
    layers: dict[str, Layer] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    wall_s: float = 0

    def __post_init__(self) -> None:
        targets = [Target(s, HERE, self.layers.get(s, Layer.SURFACE)) for s in self.sirens]
        gateway = next((id for id, sirens in GATEWAYS.items() if sirens == self.sirens), "gw-1")
        self.orders = Orders(gateway, "demo", targets, SIGNALS, TRUST, self.technicians, self.boot,
                             chance=f"chance of {self.boot}")
        self.orders.restore(self.records)
        self.born = self.now
        self.first: list[Any] = []
        if self.clock:
            self.first = self.tick(self.wall_s)

    def do(self, event: Any, after_s: float = 0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.orders.handle(self.now, event)
        for effect in out:
            if isinstance(effect, Append):
                self.records.append(effect.record)
            if isinstance(effect, Say):
                body = effect.message.model_dump(mode="json", exclude_none=True)
                self.records.append(Record("receipt", json.loads(json.dumps(body))))
        return out

    def tick(self, wall_s: float, after_s: float = 0, level: Trust = Trust.TRUSTED) -> list[Any]:
        return self.do(Clock(WALL + round(wall_s * S), 10 * MS, level), after_s)

    def arrives(self, data: bytes, after_s: float = 0, **more: Any) -> list[Any]:
        return self.do(Arrived("siren/1/o/41/1/order", data, **more), after_s)

    def written(self, out: list[Any]) -> list[Any]:
        """The journal's answer to what `out` asked for."""
        return [e for a in out if isinstance(a, Append) for e in self.do(Durable(a.token))]

    def sounds(self, data: bytes) -> list[Any]:
        """Arrives, is durable, and starts on every siren."""
        given = self.written(self.arrives(data))
        for a in given:
            if isinstance(a, Activate):
                self.progress(a, Stage.STARTED)
        return given

    def progress(self, a: Activate | QuietTest, stage: Stage, **more: Any) -> list[Any]:
        mode = a.mode if isinstance(a, Activate) else Mode.SILENT
        return self.do(Progress(a.siren, a.activation, a.order, stage, mode, **more))

    def asks(self, verb: str, user: str = "tech", client: int = 7, **args: Any) -> list[Any]:
        return self.do(Ask(client, 1000, user, verb, args))


def said(out: list[Any]) -> list[tuple[str, Stage, str]]:
    return [(e.message.siren, e.message.stage, e.message.reason) for e in out
            if isinstance(e, Say) and isinstance(e.message, Receipt)]


def of(kind: type[Any], out: list[Any]) -> list[Any]:
    return [e for e in out if isinstance(e, kind)]


def lines(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in of(Publish, out)]


def refused(out: list[Any]) -> str:
    """The reason of the one order-level refusal."""
    (one,) = said(out)
    assert one[:2] == ("", Stage.REJECTED)
    return one[2]
