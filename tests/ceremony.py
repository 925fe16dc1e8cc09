"""Root holders, persons, and trust lists that they sign: for every test that needs one."""

import json
from collections.abc import Sequence
from typing import Any

from controller import admission
from controller.admission import SignedList
from controller.roots import Roots
from hub import keys

Key = dict[str, str]

DEPLOYMENT = "test-net"
OLD_ROOTS = [keys.new_key(f"root {n}", root=True) for n in range(3)]
NEW_ROOTS = [keys.new_key(f"new root {n}", root=True) for n in range(3)]
LI, WANG, ZHANG = (keys.new_key(name) for name in ("li", "wang", "zhang"))


def roots(holders: Sequence[Key] = OLD_ROOTS, threshold: int = 2) -> Roots:
    return Roots(keys=tuple(k["x"] for k in holders), threshold=threshold)


def entry(key: Key, role: str, **changes: Any) -> dict[str, Any]:
    return {"person": key["person"], "key": keys.public(key), "roles": [role], "areas": ["41"],
            "actions": ["sound", "stop", "quiet-test"], "mode": "live",
            "not_before": "2026-01-01T00:00:00.000Z", "not_after": "2027-12-31T00:00:00.000Z"} | changes


PERSONS = {LI["kid"]: entry(LI, "operator"), WANG["kid"]: entry(WANG, "operator"),
           ZHANG["kid"]: entry(ZHANG, "commander")}


def plain(version: int = 1, holders: Sequence[Key] = OLD_ROOTS, threshold: int = 2, **changes: Any) -> dict[str, Any]:
    """The list as it is drafted."""
    return {"v": 1, "version": version, "deployment": DEPLOYMENT, "issued_at": "2026-09-01T00:00:00.000Z",
            "roots": {"keys": [k["x"] for k in holders], "threshold": threshold}, "keys": PERSONS} | changes


def signed(draft: dict[str, Any], *signers: Key) -> bytes:
    """A draft as these signed it; by default the first two of the old roots."""
    return keys.sign_list(json.dumps(draft).encode(), list(signers or OLD_ROOTS[:2]))


def listed(version: int = 1, **changes: Any) -> SignedList:
    """A list that is in order."""
    return admission.admit(signed(plain(version, **changes)), None, None)
