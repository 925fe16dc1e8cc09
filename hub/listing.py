"""A trust list in the making and on the page: drafts, what changes, and who is in it, as text.

It refuses to know files, keys' private halves, and what time it is (the caller says).
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from controller import signers, wire
from controller.admission import SignedList
from controller.signers import Signer, TrustList
from firmware_bridge.errors import BadDocument, Problem

SOON_US = 60 * 24 * 3600 * 1_000_000
"""A key that ends within this is marked: a new list takes its ceremony."""
YEAR_US = 396 * 24 * 3600 * 1_000_000
"""Thirteen months: how long a new key is proposed to be valid."""


def entry(key: Mapping[str, str], wall_us: int) -> dict[str, Any]:
    """What a new key's person is proposed to be allowed: little. To be edited by hand."""
    return {key["kid"]: {
        "person": key["person"], "key": {"kty": key["kty"], "crv": key["crv"], "x": key["x"]}, "roles": ["operator"],
        "areas": ["41/01"], "actions": ["sound", "stop", "quiet-test"], "mode": "drill",
        "not_before": wire.to_text(wall_us), "not_after": wire.to_text(wall_us + YEAR_US)}}


def first(deployment: str, wall_us: int) -> dict[str, Any]:
    """A list of nobody, before the first."""
    return {"v": 1, "version": 0, "deployment": deployment, "issued_at": wire.to_text(wall_us),
            "roots": {"keys": [], "threshold": 0}, "keys": {}}


def draft(before: Mapping[str, Any], wall_us: int, add: Iterable[Mapping[str, Any]], remove: Sequence[str],
          roots: Sequence[str], threshold: int | None) -> dict[str, Any]:
    """The list that follows `before`, as a person may go on editing it; BadDocument for a name that is not in it."""
    keys: dict[str, Any] = dict(before["keys"])
    for named in remove:
        gone = [kid for kid, one in keys.items() if named in (kid, one.get("person"))]
        if not gone:
            known = ", ".join(sorted({str(one.get("person")) for one in keys.values()}))
            raise BadDocument([Problem("siren-hub", "--remove", named, f"no such person or key; persons: {known}")])
        for kid in gone:
            del keys[kid]
    for entries in add:
        keys |= entries
    own = before["roots"]
    return {**before, "version": before["version"] + 1, "issued_at": wire.to_text(wall_us), "keys": keys,
            "roots": {"keys": list(roots) or own["keys"], "threshold": threshold or own["threshold"]}}


def text(draft: Mapping[str, Any]) -> str:
    """A draft as it is edited: one line a value."""
    return json.dumps(draft, ensure_ascii=False, indent=2) + "\n"


def payload(draft: Mapping[str, Any]) -> bytes:
    """The exact bytes that are signed."""
    return json.dumps(draft, ensure_ascii=False, separators=(",", ":")).encode()


def page(trust: TrustList, kids: Sequence[str], wall_us: int) -> str:
    """The whole list for people: signatures, persons, and what may be wrong with it."""
    names = trust.roots.by_name
    signed = [kid for kid in names if kid in kids]
    lines = [
        f"信任名单 trust list  {trust.deployment}  版本 version {trust.version}  {trust.issued_at}",
        f"根密钥签名 signed by {len(signed)} of its {len(names)} roots, {trust.roots.threshold} needed",
        *(f"  {'✓' if kid in kids else '-'} {kid}  {x}" for kid, x in names.items()),
        *(f"  + {kid}  其他根 another root" for kid in kids if kid not in names),
        "",
    ]
    rows: list[tuple[str, ...]] = [
        ("姓名 person", "角色 roles", "区域 areas", "动作 actions", "至 mode", "有效期 valid", "密钥 key")]
    rows += [_row(kid, signer) for kid, signer in sorted(trust.keys.items(), key=lambda one: one[1].person)]
    widths = [max(_width(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines += ["  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(row, widths, strict=True)).rstrip()
              for row in rows]
    lines += [f"注意 mind: {warning}" for warning in [*signers.warnings(trust), *_ending(trust, wall_us)]]
    return "\n".join(lines)


def news(before: SignedList, after: TrustList) -> list[str]:
    """What one list changes of another, a line each."""
    old, new = before.list.keys, after.keys
    out = [f"- 删除 removed: {s.person} {kid}" for kid, s in old.items() if kid not in new]
    out += [f"+ 新增 new: {s.person} {kid}" for kid, s in new.items() if kid not in old]
    out += [f"~ 变更 changed: {s.person} {kid}: {', '.join(_changed(old[kid], s))}"
            for kid, s in new.items() if kid in old and old[kid] != s]
    if before.list.roots.digest != after.roots.digest:
        out.append(f"~ 根密钥 roots: {before.list.roots.threshold} of {len(before.list.roots.keys)} ->"
                   f" {after.roots.threshold} of {len(after.roots.keys)}")
    return out or ["= 无变化 no change"]


def _changed(old: Signer, new: Signer) -> list[str]:
    return [name for name in Signer.model_fields if getattr(old, name) != getattr(new, name)]


def _row(kid: str, signer: Signer) -> tuple[str, ...]:
    return (signer.person, ",".join(sorted(signer.roles)), ",".join(signer.areas), ",".join(sorted(signer.actions)),
            signer.mode.value, f"{signer.not_before[:10]}..{signer.not_after[:10]}", kid[:12])


def _ending(trust: TrustList, wall_us: int) -> list[str]:
    out = []
    for signer in trust.keys.values():
        end_us = wire.to_wall_us(signer.not_after)
        if end_us < wall_us:
            out.append(f"{signer.person}: 已过期 ended {signer.not_after[:10]}")
        elif end_us < wall_us + SOON_US:
            out.append(f"{signer.person}: 将到期 ends {signer.not_after[:10]}")
    return out


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
