"""An office to be attacked: its persons and their keys, the trust list that names them, and the orders they sign.

Keys are derived from names, so that a seed gives the same bytes everywhere; they guard nothing. The deployment is that
of the demo, because the gateways that are attacked are the demo's.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import admission, config, envelope, targets, wire
from controller.admission import SignedList
from controller.config import Config
from controller.signal import Signals
from controller.site import Target
from controller.wire import Action, OrderBody
from firmware_bridge.machine import S
from hub import keys
from hub.draft import EARLY_US

DEMO = Path(__file__).parents[1] / "configs" / "demo"
DEPLOYMENT, PROVINCE, DISTRICT = "demo", "41", "41/01/03"
VERSION = 7
Key = Mapping[str, str]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key(name: str) -> Key:
    secret = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"bench {name}".encode()).digest())
    x = b64(secret.public_key().public_bytes_raw())
    return {"name": name, "x": x, "d": b64(secret.private_bytes_raw()), "kid": envelope.thumbprint(x)}


LI, WANG, ZHANG, CHEN = key("li"), key("wang"), key("zhang"), key("chen")
LI_SECOND, TESTER, NARROW, DRILLS, STOPS, OLD = (
    key("li-second"), key("tester"), key("narrow"), key("drills"), key("stops"), key("old"))
GAO = key("gao")
MALLORY, EVE = key("mallory"), key("eve")
OUTSIDERS = (MALLORY, EVE)


def _signer(one: Key, person: str, role: str, **changes: Any) -> dict[str, Any]:
    return {"person": person, "key": {"kty": "OKP", "crv": "Ed25519", "x": one["x"]}, "roles": [role],
            "areas": [PROVINCE], "actions": ["sound", "stop", "quiet-test"], "mode": "live",
            "not_before": "2026-01-01T00:00:00.000Z", "not_after": "2027-01-01T00:00:00.000Z"} | changes


SIGNERS: Mapping[str, dict[str, Any]] = {
    LI["kid"]: _signer(LI, "Li", "operator"),
    LI_SECOND["kid"]: _signer(LI_SECOND, "Li", "commander"),
    WANG["kid"]: _signer(WANG, "Wang", "operator"),
    ZHANG["kid"]: _signer(ZHANG, "Zhang", "commander"),
    CHEN["kid"]: _signer(CHEN, "Chen", "commander"),
    TESTER["kid"]: _signer(TESTER, "Tester", "tester"),
    NARROW["kid"]: _signer(NARROW, "Narrow", "commander", areas=["41/01/05"]),
    DRILLS["kid"]: _signer(DRILLS, "Drills", "commander", mode="drill"),
    STOPS["kid"]: _signer(STOPS, "Stops", "commander", actions=["stop"]),
    OLD["kid"]: _signer(OLD, "Old", "commander", not_after="2026-02-01T00:00:00.000Z"),
    GAO["kid"]: _signer(GAO, "Gao", "hydrologist"),
}
"""Two operators, three commanders, one of whom is an operator's second key, who may less than it seems, and the
hydrologist, whose name stands under policies."""
INSIDERS = (LI, LI_SECOND, WANG, ZHANG, CHEN, TESTER, NARROW, DRILLS, STOPS, OLD)


@cache
def roots() -> tuple[dict[str, str], ...]:
    """Private halves of the demo's root keys: two of the three sign a list."""
    return tuple(keys.load_key(path, root=True) for path in sorted((DEMO / "roots").glob("*.jwk")))


def listed(signers: Sequence[Mapping[str, str]] | None = None, **changes: Any) -> bytes:
    """The office's trust list, signed by two roots, unless it is said otherwise."""
    plain = {"v": 1, "version": VERSION, "deployment": DEPLOYMENT, "issued_at": "2026-09-01T00:00:00.000Z",
             "roots": {"keys": [one["x"] for one in roots()], "threshold": 2}, "keys": SIGNERS} | changes
    return dump(enveloped(dump(plain), roots()[:2] if signers is None else signers))


@cache
def trusted() -> SignedList:
    return admission.admit(listed(), None, DEPLOYMENT)


def prepared(body: OrderBody, *gateways: Config) -> OrderBody:
    """The same order with the list of these gateways' sirens, as the hub makes it of what they told of themselves."""
    if body.action is Action.STOP:
        return body
    meant = {g.id: targets.meant(body, [Target(s.id, g.area_of(s), s.layer) for s in g.spec.siren]) for g in gateways}
    return body.model_copy(update={"prepared": {id: targets.digest(id, own) for id, own in meant.items() if own}})


@cache
def demo() -> tuple[Config, ...]:
    """The demo's gateways."""
    return tuple(config.load(path) for path in sorted(DEMO.glob("gateway*.toml")))


@dataclass(frozen=True, slots=True)
class Order:
    """What was signed by whom, as it goes over the wire."""

    body: OrderBody
    data: bytes

    @property
    def topic(self) -> str:
        return wire.order_topic(self.body.area, self.body.action is wire.Action.STOP)


def protected(one: Key, **changes: object) -> dict[str, object]:
    return {"alg": "Ed25519", "kid": one["kid"]} | changes


def member(payload: str, one: Key, header: object = None) -> dict[str, str]:
    """One signature over a payload (base64url) under any header, as its holder or a thief can make it."""
    head = b64(json.dumps(protected(one) if header is None else header, separators=(",", ":")).encode())
    secret = Ed25519PrivateKey.from_private_bytes(unb64(one["d"]))
    return {"protected": head, "signature": b64(secret.sign(f"{head}.{payload}".encode()))}


def enveloped(payload: bytes, signers: Sequence[Key]) -> dict[str, Any]:
    text = b64(payload)
    return {"payload": text, "signatures": [member(text, one) for one in signers]}


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Desk:
    """Where orders are written: every one gets an id of its own, and is issued at the instant it is told."""

    def __init__(self, signals: Signals, prefix: str = "0ff1ce", gateways: Sequence[Config] | None = None) -> None:
        """`gateways`: those that it orders for; the demo's unless told otherwise."""
        self._signals = signals
        self._gateways = demo() if gateways is None else gateways
        self._prefix = prefix
        self._n = 0

    def order(self, wall_us: int, *signers: Key, sound: str | None = "demo-air-raid", in_s: float | None = None,
              life_s: float = 240, digest: str | None = None, **changes: Any) -> Order:
        """Issued now; begins at once or in `in_s` seconds, and may begin from as early as the hub's desk says, for
        `life_s`. What is given as None is left out."""
        self._n += 1
        early_us = wall_us - EARLY_US
        plain: dict[str, Any] = {
            "v": 1, "id": self._prefix + f"{self._n:0{32 - len(self._prefix)}x}", "deployment": DEPLOYMENT,
            "issuer": "office", "issued_at": wire.to_text(wall_us), "not_before": wire.to_text(early_us),
            "expires_at": wire.to_text(early_us + round(life_s * S)), "area": DISTRICT, "action": "sound",
            "mode": "live", "sequence": self._n, "trust_version": VERSION,
        }
        if sound is not None:
            plain["sound"] = {"name": sound, "digest": digest or self._signals.digest(sound)}
            if in_s is not None:
                plain["sound"]["start_at"] = wire.to_text(wall_us + round(in_s * S))
        body = wire.validate(OrderBody, {k: v for k, v in (plain | changes).items() if v is not None})
        if "prepared" not in changes:
            body = prepared(body, *self._gateways)
        return Order(body, dump(enveloped(body.encode(), signers)))

    def live(self, wall_us: int, **changes: Any) -> Order:
        return self.order(wall_us, LI, ZHANG, **changes)

    def drill(self, wall_us: int, **changes: Any) -> Order:
        return self.order(wall_us, LI, **{"mode": "drill"} | changes)

    def stop(self, wall_us: int, *signers: Key, **changes: Any) -> Order:
        return self.order(wall_us, *(signers or (ZHANG,)), **{"action": "stop", "sound": None} | changes)

    def quiet(self, wall_us: int, **changes: Any) -> Order:
        return self.order(wall_us, TESTER, **{"action": "quiet-test", "mode": "silent", "sound": None} | changes)

    def a_day(self, wall_us: int) -> list[Order]:
        """One of each kind that the office gives, and some that want a second signature."""
        live, drill = self.live, self.drill
        return [
            live(wall_us), self.order(wall_us, WANG, CHEN, LI, sound="air-raid"), live(wall_us, in_s=60),
            live(wall_us, sound="disaster-gansu", max_duration_s=20), drill(wall_us), drill(wall_us, area=PROVINCE),
            drill(wall_us, sound="demo-918", in_s=90, life_s=3600), self.stop(wall_us), self.stop(wall_us, LI),
            self.stop(wall_us, LI, WANG, stops="0" * 32), self.quiet(wall_us), self.order(wall_us, LI),
            self.order(wall_us, ZHANG), self.order(wall_us, DRILLS, mode="drill"), drill(wall_us, sirens=["s-301"]),
        ]
