"""The trust list as a document: what may stand in it, every problem at once, and what is allowed and hardly meant."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import admission, signers, wire
from controller.roots import DEMO_ROOTS, Roots, TrustSection, demo_roots, pinned
from controller.signers import DEMO_KEYS, MAX_AREAS, MAX_KEYS, TrustList
from firmware_bridge import document
from firmware_bridge.errors import BadDocument
from hub import keys
from tests.ceremony import LI, NEW_ROOTS, OLD_ROOTS, PERSONS, WANG, ZHANG, entry, plain

DEMO = Path(__file__).parents[2] / "configs/demo"


def parsed(**changes: Any) -> TrustList:
    return signers.parse(json.dumps(plain(**changes)), "trust.json")


def problems(data: dict[str, Any] | str) -> str:
    with pytest.raises(BadDocument) as bad:
        signers.parse(data if isinstance(data, str) else json.dumps(data), "trust.json")
    assert all(p.file == "trust.json" and p.remedy for p in bad.value.problems)
    return str(bad.value)


def test_a_list_in_order() -> None:
    trust = parsed(version=7)
    assert trust.version == 7
    assert {s.person for s in trust.keys.values()} == {"li", "wang", "zhang"}
    assert signers.warnings(trust) == []


def test_the_demo_list_its_keys_and_its_roots() -> None:
    roots = [keys.load_key(p, root=True) for p in sorted((DEMO / "roots").glob("*.jwk"))]
    demo = admission.load(DEMO / "trust.json", Roots(keys=tuple(k["x"] for k in roots), threshold=2), "demo").list
    own = [keys.load_key(p) for p in sorted((DEMO / "keys").glob("*.jwk"))]
    assert {k["kid"] for k in own} == set(demo.keys) == DEMO_KEYS
    assert {k["kid"] for k in roots} == set(demo.roots.by_name) == DEMO_ROOTS
    # Journals hold it: another spelling of it would be other roots to every gateway that is brought up to date.
    assert demo.roots.digest == "38825303cea6a2f487aab332664df553"


def test_the_demo_keys_and_roots_work_nowhere_else() -> None:
    demo = admission.load(DEMO / "trust.json", None, "demo").list
    moved = demo.model_dump(mode="json") | {"deployment": "city"}
    with pytest.raises(BadDocument) as bad:
        signers.parse(json.dumps(moved), "trust.json")
    assert len(bad.value.problems) == 6
    assert all("a demo key" in p.remedy or "a demo root" in p.remedy for p in bad.value.problems)
    assert demo_roots(demo.roots.keys, "demo") == []


def test_every_problem_of_a_list_is_told_at_once() -> None:
    text = problems(plain(keys={
        "private": entry(LI, "operator") | {"key": {**keys.public(LI), "d": LI["d"]}},
        "role": entry(WANG, "general"), "typo": entry(ZHANG, "operator") | {"area": "41"},
    }))
    assert "keys.private.key.d" in text
    assert LI["d"] not in text
    assert "keys.role.roles" in text
    assert "did you mean 'areas'?" in text


DATES = {"not_before": "2026-02-30T00:00:00.000Z", "not_after": "2026-03-01T00:00:00.000Z"}
NO_KEY = keys.public(LI) | {"x": LI["x"][:-1] + ("B" if LI["x"][-1] != "B" else "C")}


@pytest.mark.parametrize(("changes", "says"), [
    ({"keys": {}}, f"list 1 to {MAX_KEYS} keys"),
    ({"issued_at": "2026-02-30T00:00:00.000Z"}, "issued_at"),
    ({"keys": {LI["kid"]: entry(LI, "operator", **DATES)}}, "no dates there are"),
    ({"keys": {LI["kid"]: entry(LI, "operator", not_after="2025-01-01T00:00:00.000Z")}}, "not after not_before"),
    ({"keys": {WANG["kid"]: entry(LI, "operator")}}, "listed under its thumbprint"),
    ({"keys": {LI["kid"]: entry(LI, "operator"), "other": entry(LI, "operator", person="x")}}, "the same key as"),
    ({"keys": {OLD_ROOTS[0]["kid"]: entry(OLD_ROOTS[0], "operator")}}, "a root key: it signs lists only"),
    ({"keys": {LI["kid"]: entry(LI, "operator") | {"key": NO_KEY}}}, "no base64url of 32 bytes"),
    ({"keys": {LI["kid"]: entry(LI, "operator", areas=[])}}, "areas"),
    ({"keys": {LI["kid"]: entry(LI, "operator", areas=["41"] * 17)}}, "areas"),
    ({"keys": {"no kid": entry(LI, "operator")}}, "keys.no kid"),
    ({"version": 0}, "version"), ({"version": "7"}, "version"), ({"version": True}, "version"),
    ({"version": 1.0}, "version"), ({"version": 2**53}, "version"), ({"v": 2}, "v = 2"), ({"colour": "red"}, "colour"),
    ({"roots": {"keys": [], "threshold": 1}}, "roots.keys"),
    ({"roots": {"keys": [LI["x"]] * 2, "threshold": 1}}, "stands twice"),
    ({"roots": {"keys": [LI["x"]], "threshold": 2}}, "nobody could sign a list"),
    ({"roots": {"keys": [LI["x"]], "threshold": 0}}, "roots.threshold"),
    ({"roots": {"keys": [LI["x"]], "threshold": True}}, "roots.threshold"),
    ({"roots": {"keys": [LI["x"]] * 10, "threshold": 1}}, "roots.keys"),
    ({"roots": {"keys": [NO_KEY["x"]], "threshold": 1}}, "no base64url of 32 octets"),
    ({"roots": {"keys": ["short"], "threshold": 1}}, "roots.keys[0]"),
])
def test_what_may_not_stand_in_a_list(changes: dict[str, Any], says: str) -> None:
    assert says in problems(plain(**changes))


def test_how_much_may_stand_in_a_list() -> None:
    signer = parsed(keys={LI["kid"]: entry(LI, "operator", areas=["41"] * 16)}).keys[LI["kid"]]
    assert len(signer.areas) == MAX_AREAS
    text = json.dumps(plain()).ljust(384 * 1024)
    assert signers.parse(text, "trust.json").version == 1
    assert "393217 bytes, more than" in problems(text + " ")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version":1,"version":2}', "{}", '{"keys":[]}', '{"keys":{"x":7}}',
                                  '{"keys":{"x":{"key":7}}}', "\ud800"])
def test_a_text_that_is_no_list(text: str) -> None:
    problems(text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=8)


@given(st.sampled_from(sorted(TrustList.model_fields)), JSON)
def test_any_value_in_a_list_is_a_list_or_a_bad_document(member: str, value: object) -> None:
    try:
        found = signers.parse(json.dumps(plain() | {member: value}), "trust.json")
    except BadDocument:
        return
    assert found.version >= 1


@pytest.mark.parametrize(("persons", "threshold", "says"), [
    ({LI["kid"]: entry(LI, "operator"), WANG["kid"]: entry(WANG, "operator")}, 2, ["no commander"]),
    ({ZHANG["kid"]: entry(ZHANG, "commander")}, 2, ["no two persons"]),
    ({LI["kid"]: entry(LI, "operator"), ZHANG["kid"]: entry(ZHANG, "commander", mode="drill")}, 2, ["no two persons"]),
    ({LI["kid"]: entry(LI, "tester"), ZHANG["kid"]: entry(ZHANG, "commander")}, 2, ["no two persons"]),
    ({k: e | {"actions": ["sound"]} for k, e in PERSONS.items()}, 2, ["nobody in it may stop"]),
    (PERSONS, 1, ["one root key alone"]),
])
def test_what_is_allowed_and_hardly_meant(persons: dict[str, Any], threshold: int, says: list[str]) -> None:
    found = signers.warnings(parsed(keys=persons, threshold=threshold))
    assert [part in text for part, text in zip(says, found, strict=True)] == [True] * len(says)


def test_a_key_may_order_for_several_areas() -> None:
    signer = parsed(keys={LI["kid"]: entry(LI, "operator", areas=["41/01/05", "41/02"])}).keys[LI["kid"]]
    assert [a for a in ("41/01/05", "41/01/05/001", "41/02/03", "41/01", "41", "41/01/06") if signer.covers(a)] == [
        "41/01/05", "41/01/05/001", "41/02/03"]
    first, last = wire.to_wall_us(signer.not_before), wire.to_wall_us(signer.not_after)
    assert [signer.valid_at(t) for t in (first - 1, first, last, last + 1)] == [False, True, True, False]


# Pins.


def test_what_a_file_pins() -> None:
    good = {"trust": {"list": "x", "roots": [k["x"] for k in OLD_ROOTS], "threshold": 2}}
    section = document.check(TrustSection, good["trust"], "gateway.toml")
    assert pinned(good) == section.pinned
    assert section.pinned.digest == Roots(keys=tuple(k["x"] for k in reversed(OLD_ROOTS)), threshold=2).digest
    assert section.pinned.digest != Roots(keys=section.roots, threshold=3).digest
    assert section.pinned.digest != Roots(keys=tuple(k["x"] for k in NEW_ROOTS), threshold=2).digest
    for bad in ({}, {"trust": 7}, {"trust": {}}, {"trust": good["trust"] | {"threshold": 4}}):
        assert pinned(bad) is None
    with pytest.raises(BadDocument, match=r"threshold = 4: more than the 3"):
        document.check(TrustSection, good["trust"] | {"threshold": 4}, "gateway.toml")
    with pytest.raises(BadDocument, match="roots"):
        document.check(TrustSection, good["trust"] | {"roots": [LI["x"]] * 2}, "gateway.toml")
