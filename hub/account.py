"""What a gateway's journal tells of each order: who gave it, who was the second, why, as it came, and what it proves.

It reads records as anybody could who has the file, whatever version wrote them: what is missing is shown as missing,
and what is no order is passed over. It refuses to know files and whether the journal can be believed (`audit.py`).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.strictjson import is_number

TERMINAL = frozenset({"rejected", "finished", "failed", "stopped", "expired"})


@dataclass(frozen=True, slots=True)
class Row:
    """A record, and where and when it was written."""

    n: int
    wall_us: int
    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A receipt."""

    n: int
    at: str
    siren: str
    stage: str
    reason: str
    evidence: Mapping[str, Any]
    first_edge: str


@dataclass(slots=True)
class Account:
    """One order on one gateway. `n` is its record's row; 0 for one that was refused before it was believed."""

    order: str
    n: int = 0
    at: str = ""
    late: bool = False
    """Whether the disk did not take it when it came, and its record was written afterwards."""
    taken: bool = False
    action: str = ""
    mode: str = ""
    sound: str = ""
    door: str = ""
    persons: tuple[str, ...] = ()
    """Whose valid signatures it bore; at the cabinet, who asked."""
    sirens: tuple[str, ...] = ()
    why: str = ""
    """The reason its issuer gave."""
    refused: str = ""
    """Why it was not done."""
    raw: str = ""
    """The signed document as it came; at the cabinet there is none."""
    signed: Mapping[str, Any] = field(default_factory=dict)
    """What was signed, read from `raw`."""
    matches: bool = True
    """Whether `raw` is what this gateway acted upon."""
    steps: list[Step] = field(default_factory=list)

    @property
    def who(self) -> str:
        return self.persons[0] if self.persons else ""

    @property
    def second(self) -> str:
        return ", ".join(self.persons[1:])

    @property
    def endings(self) -> list[Step]:
        """The last word on each siren; one without a siren speaks of the whole order."""
        return [s for s in self.steps if s.stage in TERMINAL]


def accounts(rows: Iterable[Row]) -> list[Account]:
    """Every order of which the journal tells, in the order in which it first does."""
    found: dict[str, Account] = {}

    def of(order: object) -> Account:
        return found.setdefault(str(order), Account(str(order)))

    for row in rows:
        body = row.body
        match row.kind:
            case "accept" | "refuse":
                _order(of(body.get("order")), row)
            case "receipt":
                evidence = body.get("evidence")
                of(body.get("order")).steps.append(Step(
                    row.n, _text(body, "at"), _text(body, "siren"), _text(body, "stage"), _text(body, "reason"),
                    evidence if isinstance(evidence, dict) else {}, _text(body, "first_edge")))
            case "event" if body.get("what") == "order-refused" and body.get("subject"):
                account = of(body["subject"])
                account.refused = account.refused or _text(body, "detail")
    return list(found.values())


def _order(account: Account, row: Row) -> None:
    body = row.body
    account.n, account.at, account.taken = row.n, _text(body, "at"), row.kind == "accept"
    account.late = "late" in body
    account.action, account.mode, account.door = _text(body, "action"), _text(body, "mode"), _text(body, "door")
    account.sound = _text(body, "sound") or (f"{body['seconds']:g} s" if is_number(body.get("seconds")) else "")
    account.persons, account.sirens = _texts(body, "persons"), _texts(body, "sirens")
    account.refused = _text(body, "reason") or account.refused
    account.raw = _text(body, "raw")
    if account.raw:
        payload = _payload(account.raw)
        account.signed = _object(payload)
        account.matches = hashlib.sha256(payload).hexdigest()[:32] == body.get("digest")
        account.why = _text(account.signed, "reason")


def _payload(raw: str) -> bytes:
    """The bytes that were signed; none where `raw` is no JWS."""
    text = _object(raw.encode(errors="replace")).get("payload")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if isinstance(text, str) else b""
    except (ValueError, binascii.Error):
        return b""


def _object(data: bytes) -> dict[str, Any]:
    try:
        out = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return out if isinstance(out, dict) else {}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _texts(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key)
    return tuple(str(one) for one in value) if isinstance(value, list) else ()
