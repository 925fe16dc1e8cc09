"""The policy: by which rules the sirens of one gateway may sound of themselves, at which colour of which spot.

A document that a commander and a hydrologist have signed, two persons with two keys of the trust list that rules, in
the same envelope as an order. It is for one gateway, and says for each spot what the spot was when it was signed
(depths, gauges, votes): another depth in gateway.toml afterwards needs another signature. What is refused says how to
mend it, in two languages.
It refuses to know water, and when something sounds (`rule.py`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from controller import envelope, strictjson, wire
from controller.envelope import BadSignature, Envelope
from controller.scale import ColourName, ScaleFile
from controller.signers import Role, Signer, TrustList
from controller.spot import SpotSection
from controller.wire import Action, Code, Digest, FullArea, Instant, Mode
from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Malformed, Problem

MAX_POLICY_BYTES = 64 * 1024
MAX_SIGNATURES = 8
PERSONS = 2
"""Distinct persons, and distinct keys."""


class RuleSection(Document):
    """What one spot may start."""

    spot: Code
    digest: Digest
    """Of the spot as it was signed for: `sirenctl flood` shows what it is now."""
    from_: Annotated[ColourName, Field(alias="from")]
    """A confirmed colour, from this on."""
    sirens: Annotated[tuple[Code, ...], Field(min_length=1, max_length=64)]
    sound: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    sound_digest: Digest
    max_duration_s: Annotated[int, Field(ge=1, le=600)]


class Policy(Document):
    """What is signed. Of two the one with the higher version counts."""

    v: Literal[1]
    version: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    gateway: Code
    area: FullArea
    issued_at: Instant
    """The signers' keys were valid then."""
    rule: Annotated[tuple[RuleSection, ...], Field(min_length=1, max_length=64)]


class PolicyReason(StrEnum):
    """Why a policy is refused. The text is what stands in an event."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    WRONG_DEPLOYMENT = "wrong-deployment"
    WRONG_GATEWAY = "wrong-gateway"
    WRONG_AREA = "wrong-area"
    OLDER = "older"
    FORK = "fork"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_KEY = "unknown-key"
    KEY_NOT_VALID = "key-not-valid"
    TOO_FEW_PERSONS = "too-few-persons"
    SPOT_CHANGED = "spot-changed"
    UNKNOWN_SPOT = "unknown-spot"
    UNKNOWN_SIREN = "unknown-siren"
    SIGNAL_MISMATCH = "signal-mismatch"


_REMEDY = {
    PolicyReason.MALFORMED: "不是规则文件 / not a signed policy; sign it anew",
    PolicyReason.UNSIGNED: "没有签名，须指挥员与水文人员签署 / nobody signed it; a commander and a hydrologist must",
    PolicyReason.WRONG_DEPLOYMENT: "属于另一套系统 / it is another installation's; take this one's",
    PolicyReason.WRONG_GATEWAY: "属于另一网关 / it is for another gateway; draft and sign one for this",
    PolicyReason.WRONG_AREA: "区域与本网关不符 / it is for another area than this gateway's; draft it anew",
    PolicyReason.OLDER: "版本低于曾用的 / a higher version was in use; give it a higher one, and sign again",
    PolicyReason.FORK: "两份同版本而内容不同的规则，原有的继续有效 / two persons signed another policy of this version,"
                       " and the first rules on; find out who signed both, and sign one of a higher version",
    PolicyReason.BAD_SIGNATURE: "签名无效，文件被改动 / the document was changed after it was signed; sign it anew",
    PolicyReason.UNKNOWN_KEY: "签名人不在信任名单 / a signer is not in the trust list; sign with listed keys",
    PolicyReason.KEY_NOT_VALID: "签发时密钥不在有效期 / a signer's key was not valid on that day; sign it anew",
    PolicyReason.TOO_FEW_PERSONS: "须指挥员与水文人员两人签署 / two persons must sign: a commander and a hydrologist"
                                  " of this area, whose keys may sound live",
    PolicyReason.SPOT_CHANGED: "积水点配置在签署后改过 / gateway.toml changed the spot since it was signed; check it,"
                               " and have it signed again",
    PolicyReason.UNKNOWN_SPOT: "没有这个积水点 / gateway.toml has no such spot",
    PolicyReason.UNKNOWN_SIREN: "没有这个警报器 / gateway.toml has no such siren",
    PolicyReason.SIGNAL_MISMATCH: "信号与本机不同 / the signal means another pattern here; use the same signal files",
}


class Refused(Exception):
    """A policy that does not rule. `problem` names file, key and remedy."""

    def __init__(self, reason: PolicyReason, file: str, key: str, value: object) -> None:
        self.reason = reason
        self.problem = Problem(file, key, value, _REMEDY[reason])
        super().__init__(f"{reason}: {self.problem}")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a policy is judged against: the gateway as it is. `spots` and `signals` are digests by name."""

    gateway: str
    deployment: str
    area: str
    spots: Mapping[str, str]
    sirens: frozenset[str]
    signals: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """One that rules."""

    policy: Policy
    digest: str
    persons: tuple[str, ...]
    text: str

    @property
    def by(self) -> str:
        return f"policy {self.policy.version}: {', '.join(self.persons)}"


def spot_digest(spot: SpotSection, scale: ScaleFile) -> str:
    """What a spot is, as far as a siren may sound for it: its gauges, votes and depths. Its roadside is left out."""
    what = spot.model_dump(mode="json", exclude={"sign", "beacon", "voice", "boom", "name", "scale",
                                                   "position"})
    depths = {colour.name: section.at_cm for colour, section in scale.colours.items()}
    delays = {colour.name: section.on_delay_s for colour, section in scale.colours.items()}
    whole = json.dumps([what, depths, delays], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def admit(data: bytes, trust: TrustList, ground: Ground, floor: int = 0, file: str = "policy",
          ruled: str = "") -> SignedPolicy:
    """`data` as a policy that rules here, or Refused. `floor`: the highest version that ever ruled here; `ruled`: the
    text of that one, where it is known."""
    opened, policy = _opened(data, file)

    def refuse(reason: PolicyReason, key: str, value: object) -> Refused:
        return Refused(reason, file, key, value)

    if policy.deployment != ground.deployment:
        raise refuse(PolicyReason.WRONG_DEPLOYMENT, "deployment", policy.deployment)
    if policy.gateway != ground.gateway:
        raise refuse(PolicyReason.WRONG_GATEWAY, "gateway", policy.gateway)
    if policy.area != ground.area:
        raise refuse(PolicyReason.WRONG_AREA, "area", policy.area)
    if policy.version < floor:
        raise refuse(PolicyReason.OLDER, "version", policy.version)
    persons = _persons(opened, policy, trust, file)
    # Told only of what is rightly signed: nobody else can make one.
    if policy.version == floor and _content(ruled) not in ("", opened.digest):
        raise refuse(PolicyReason.FORK, "version", policy.version)
    for rule in policy.rule:
        key = f"rule[{rule.spot}]"
        if rule.spot not in ground.spots:
            raise refuse(PolicyReason.UNKNOWN_SPOT, f"{key}.spot", rule.spot)
        if rule.digest != ground.spots[rule.spot]:
            raise refuse(PolicyReason.SPOT_CHANGED, f"{key}.digest", rule.digest)
        if strangers := [s for s in rule.sirens if s not in ground.sirens]:
            raise refuse(PolicyReason.UNKNOWN_SIREN, f"{key}.sirens", strangers[0])
        if ground.signals.get(rule.sound) != rule.sound_digest:
            raise refuse(PolicyReason.SIGNAL_MISMATCH, f"{key}.sound", rule.sound)
    return SignedPolicy(policy, opened.digest, persons, data.decode())


def _content(text: str) -> str:
    """The digest of one that ruled; empty where there is none, or its text is damaged."""
    try:
        return envelope.opened(text.encode(errors="replace"), MAX_POLICY_BYTES, MAX_SIGNATURES).digest
    except Malformed:
        return ""


def _opened(data: bytes, file: str) -> tuple[Envelope, Policy]:
    try:
        opened = envelope.opened(data, MAX_POLICY_BYTES, MAX_SIGNATURES)
    except Malformed as error:
        unsigned = b'"signatures"' not in data and b'"rule"' in data
        reason = PolicyReason.UNSIGNED if unsigned else PolicyReason.MALFORMED
        raise Refused(reason, file, "signatures" if unsigned else "file", None if unsigned else str(error)) from None
    try:
        wire.to_wall_us(str(strictjson.load(opened.payload, MAX_POLICY_BYTES).get("issued_at")))
        policy = document.check(Policy, strictjson.load(opened.payload, MAX_POLICY_BYTES), file)
    except Malformed as error:
        raise Refused(PolicyReason.MALFORMED, file, "payload", str(error)) from None
    except BadDocument as bad:
        first = bad.problems[0]
        raise Refused(PolicyReason.MALFORMED, file, first.key, f"{first.value!r}: {first.remedy}") from None
    return opened, policy


def _persons(opened: Envelope, policy: Policy, trust: TrustList, file: str) -> tuple[str, ...]:
    """The persons who signed; Refused where they are not two, a commander and a hydrologist of this area."""
    signers: list[Signer] = []
    issued_us = wire.to_wall_us(policy.issued_at)
    for kid in opened.kids:
        signer = trust.keys.get(kid)
        if signer is None:
            raise Refused(PolicyReason.UNKNOWN_KEY, file, "signatures", kid)
        if not signer.valid_at(issued_us):
            raise Refused(PolicyReason.KEY_NOT_VALID, file, "signatures", f"{kid} of {signer.person}")
        signers.append(signer)
    try:
        opened.verify({kid: trust.keys[kid].key.x for kid in opened.kids})
    except BadSignature as error:
        raise Refused(PolicyReason.BAD_SIGNATURE, file, "signatures", str(error)) from None
    fit = [s for s in signers if s.covers(policy.area) and s.mode is Mode.LIVE and Action.SOUND in s.actions
           and s.roles & {Role.COMMANDER, Role.HYDROLOGIST}]
    # One person with two keys counts once, and so does one key under two names: the two roles need two people.
    pairs = any(c.person != h.person and c.key.x != h.key.x for c in fit if Role.COMMANDER in c.roles
                for h in fit if Role.HYDROLOGIST in h.roles)
    persons = tuple(sorted({s.person for s in fit}))
    if not pairs or len(persons) < PERSONS:
        raise Refused(PolicyReason.TOO_FEW_PERSONS, file, "signatures", ", ".join(persons) or None)
    return persons
