"""Who may order what, written a second time: the judge of the attack bench.

It is written from the words of `docs/orders.md` and shares no code with `controller/trust.py`: its own strict JSON,
joserfc in place of a bare Ed25519, and sets of persons tried one by one in place of counting. What it calls authorised
is no attack, whoever made it, and is left out; everything else must be refused.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import combinations
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

MINUTE, DAY = 60.0, 24 * 3600.0
DUTY = {"operator", "commander"}
MAY: Mapping[tuple[str, str], tuple[set[str], int, int, float]] = {
    # (action, mode): roles that count, so many persons, so many commanders among them, longest life in seconds.
    ("sound", "live"): (DUTY, 2, 1, 5 * MINUTE),
    ("sound", "drill"): (DUTY, 1, 0, DAY),
    ("stop", "live"): (DUTY, 1, 0, 10 * MINUTE),
    ("stop", "drill"): (DUTY, 1, 0, 10 * MINUTE),
    ("quiet-test", "silent"): (DUTY | {"tester"}, 1, 0, DAY),
}
HEIGHT = {"silent": 0, "drill": 1, "live": 2}
AHEAD_S, EARLY_S = 60 * DAY, 2.0
AREA = re.compile(r"[0-9]{1,3}(/[0-9]{1,3}){0,4}")
CODE, HEX = r"[a-z0-9][a-z0-9-]{0,31}", r"[0-9a-f]{32}"
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z"


def _text(form: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(form, value, re.ASCII | re.DOTALL) is not None


def _number(least: int, most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _sound(value: Any) -> bool:
    forms = {"name": _text(r"[a-z][a-z0-9-]{0,39}"), "digest": _text(HEX), "start_at": _text(INSTANT)}
    return isinstance(value, dict) and {"name", "digest"} <= set(value) <= set(forms) and all(
        forms[name](one) for name, one in value.items() if name != "start_at" or one is not None)


def _sirens(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 256 and all(map(_text(CODE), value))


def _prepared(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text(CODE), value)) and all(
        map(_text(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]"), value.values()))


MEMBERS: Mapping[str, Callable[[Any], bool]] = {
    "v": lambda value: value == 1, "id": _text(HEX), "deployment": _text(r"[a-z0-9-]{1,40}"),
    "issuer": _text(".{1,64}"), "issued_at": _text(INSTANT), "not_before": _text(INSTANT), "expires_at": _text(INSTANT),
    "area": _text(AREA.pattern), "layer": _text("surface|underground"), "sirens": _sirens, "prepared": _prepared,
    "action": _text("sound|stop|quiet-test"), "mode": _text("live|drill|silent"), "sound": _sound,
    "max_duration_s": _number(1, 45 * 60), "sequence": _number(0, 2**53 - 1), "trust_version": _number(0, float("inf")),
    "stops": _text(HEX), "nonce": _text(HEX), "reason": _text(".{0,200}"),
}
"""The members of an order and their forms."""
LEFT_OUT = frozenset({"layer", "sirens", "prepared", "sound", "max_duration_s", "stops", "nonce", "reason"})
"""Those that an order may do without."""


def authorised(data: bytes, signers: Mapping[str, dict[str, Any]], deployment: str, wall_us: int | None) -> bool:
    """Whether the office itself could have sent this now. `signers` is the trust list's `keys`, as plain JSON.

    `wall_us` None: for who does not know the time. Nothing is too old or too young then, and no key.
    """
    try:
        outer = _strict(data, 16 * 1024)
        if set(outer) != {"payload", "signatures"} or not 1 <= len(outer["signatures"]) <= 4:
            return False
        kids = [_signed(one, outer["payload"], signers) for one in outer["signatures"]]
        body = _strict(_canonical(outer["payload"]), 16 * 1024)
        now_s = None if wall_us is None else wall_us / 1e6
        if not (_whole(body) and _in_time(body, now_s) and body["deployment"] == deployment):
            return False
        return _permitted(body, [signers[kid] for kid in kids if kid], now_s) and all(kids)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _strict(data: bytes, limit: int) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def never(text: str) -> Any:
        raise ValueError(text)

    if len(data) > limit:
        raise ValueError("long")
    found = json.loads(data.decode("utf-8", "strict"), object_pairs_hook=once, parse_constant=never)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _canonical(text: str) -> bytes:
    data = base64.b64decode(text.replace("-", "+").replace("_", "/") + "==="[: -len(text) % 4])
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise ValueError("another spelling")
    return data


def _signed(one: Any, payload: str, signers: Mapping[str, dict[str, Any]]) -> str:
    """The key that made this signature; empty when none of the list did."""
    header = _strict(_canonical(one["protected"]), 512)
    if set(one) != {"protected", "signature"} or set(header) != {"alg", "kid"} or header["alg"] != "Ed25519":
        raise ValueError("header")
    signer = signers.get(header["kid"])
    if signer is None:
        return ""
    public = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": signer["key"]["x"]})
    _canonical(one["signature"])
    try:
        jws.deserialize_json({"payload": payload, "signatures": [one]}, public, algorithms=["Ed25519"])
    except JoseError:
        return ""
    return str(header["kid"])


def _at(text: str) -> float:
    if not text.endswith("Z") or not text.isascii():
        raise ValueError("no instant")
    return datetime.fromisoformat(text).timestamp()


def _whole(body: dict[str, Any]) -> bool:
    """Whether it says what is to sound, and that alone; what a stop stops is a stop's to say. Each member is of its
    form, and there is none that no order has."""
    sounds, stops = body.get("sound") is not None, body.get("stops") is not None
    return (sounds == (body["action"] == "sound") and (not stops or body["action"] == "stop")
            and set(MEMBERS) - LEFT_OUT <= set(body) <= set(MEMBERS)
            and all((value is None and name in LEFT_OUT) or MEMBERS[name](value) for name, value in body.items()))


def _in_time(body: dict[str, Any], now_s: float | None) -> bool:
    issued, first, last = _at(body["issued_at"]), _at(body["not_before"]), _at(body["expires_at"])
    start = (body.get("sound") or {}).get("start_at")
    begins = first if start is None else _at(start)
    return (
        first <= begins <= last and issued <= last and last - issued <= AHEAD_S
        and last - first <= MAY[body["action"], body["mode"]][3]
        and (now_s is None or (issued <= now_s + EARLY_S and now_s <= last and (start is not None or first <= now_s)))
    )


def _permitted(body: dict[str, Any], signers: list[dict[str, Any]], now_s: float | None) -> bool:
    """Whether some of them, all different persons with different keys, are those that the table asks for."""
    roles, persons, commanders, _ = MAY[body["action"], body["mode"]]
    # A stop says of itself what it stops; whether it may stop what sounds is asked when it is known what does.
    asked = 1 if body["action"] == "stop" else HEIGHT[body["mode"]]
    if now_s is not None and any(not _at(s["not_before"]) <= now_s <= _at(s["not_after"]) for s in signers):
        return False
    able = [
        s for s in signers
        if AREA.fullmatch(body["area"]) and any((body["area"] + "/").startswith(own + "/") for own in s["areas"])
        and body["action"] in s["actions"] and HEIGHT[s["mode"]] >= asked and set(s["roles"]) & roles
    ]
    return any(
        len({s["person"] for s in some}) == len({s["key"]["x"] for s in some}) == persons
        and sum("commander" in s["roles"] for s in some) >= commanders
        for some in combinations(able, persons)
    )
