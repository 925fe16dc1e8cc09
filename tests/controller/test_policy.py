"""The policy: two persons, one gateway, the spot as it was signed for; and every way in which one is refused."""

import json
from typing import Any

import pytest

from controller.policy import Ground, PolicyReason, Refused, SignedPolicy, admit, spot_digest
from controller.spot import SpotSection
from hub import keys
from tests.ceremony import DEPLOYMENT, LI, PERSONS, WANG, ZHANG, entry, listed
from tests.waterside import SCALE, SPOT

CHEN = keys.new_key("chen")
TRUST = listed(keys=PERSONS | {CHEN["kid"]: entry(CHEN, "hydrologist")}).list
WATER = spot_digest(SpotSection.model_validate(SPOT), SCALE)
AREA = "41/01/05/001/001"
GROUND = Ground("gw-1", DEPLOYMENT, AREA, {"spot-1": WATER}, frozenset({"s-1"}), {"flood": "0" * 32})
RULE: dict[str, Any] = {"spot": "spot-1", "digest": WATER, "from": "red", "sirens": ["s-1"], "sound": "flood",
                        "sound_digest": "0" * 32, "max_duration_s": 180}


def draft(rule: dict[str, Any] | None = None, **changes: Any) -> bytes:
    body = {"v": 1, "version": 3, "deployment": DEPLOYMENT, "gateway": "gw-1", "area": AREA,
            "issued_at": "2026-09-01T00:00:00.000Z", "rule": [RULE | (rule or {})]}
    return json.dumps(body | changes).encode()


def signed(*signers: dict[str, str], rule: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return keys.sign_list(draft(rule, **changes), list(signers or (ZHANG, CHEN)))


def refused(data: bytes, **more: Any) -> PolicyReason:
    with pytest.raises(Refused) as caught:
        admit(data, **{"trust": TRUST, "ground": GROUND, **more})
    problem = caught.value.problem
    assert problem.key
    assert " / " in problem.remedy, "in two languages"
    return caught.value.reason


def test_a_commander_and_a_hydrologist_make_it_rule():
    found = admit(signed(), TRUST, GROUND)
    assert isinstance(found, SignedPolicy)
    assert found.by == "policy 3: chen, zhang"


@pytest.mark.parametrize(("data", "reason"), [
    (b"", PolicyReason.MALFORMED),
    (b"[]", PolicyReason.MALFORMED),
    (draft(), PolicyReason.UNSIGNED),
    (signed(ZHANG), PolicyReason.TOO_FEW_PERSONS),
    (signed(CHEN), PolicyReason.TOO_FEW_PERSONS),
    (signed(LI, WANG), PolicyReason.TOO_FEW_PERSONS),
    (signed(ZHANG, LI), PolicyReason.TOO_FEW_PERSONS),
    (signed(CHEN, LI), PolicyReason.TOO_FEW_PERSONS),
    (signed(ZHANG, CHEN, keys.new_key("stranger")), PolicyReason.UNKNOWN_KEY),
    (signed(gateway="gw-2"), PolicyReason.WRONG_GATEWAY),
    (signed(deployment="elsewhere"), PolicyReason.WRONG_DEPLOYMENT),
    (signed(area="41/01/05/001/002"), PolicyReason.WRONG_AREA),
    (signed(issued_at="2025-09-01T00:00:00.000Z"), PolicyReason.KEY_NOT_VALID),
    (signed(issued_at="yesterday"), PolicyReason.MALFORMED),
    (signed(rule={"spot": "spot-9"}), PolicyReason.UNKNOWN_SPOT),
    (signed(rule={"digest": "1" * 32}), PolicyReason.SPOT_CHANGED),
    (signed(rule={"sirens": ["s-1", "s-9"]}), PolicyReason.UNKNOWN_SIREN),
    (signed(rule={"sound_digest": "1" * 32}), PolicyReason.SIGNAL_MISMATCH),
    (signed(rule={"sound": "mozart"}), PolicyReason.SIGNAL_MISMATCH),
    (signed(rule={"from": "violet"}), PolicyReason.MALFORMED),
    (signed(rule={"max_duration_s": 3600}), PolicyReason.MALFORMED),
    (signed(colour="green"), PolicyReason.MALFORMED),
])
def test_what_is_refused_and_why(data: bytes, reason: PolicyReason):
    assert refused(data) is reason


def test_a_version_that_was_passed_does_not_come_back():
    assert refused(signed(), floor=4) is PolicyReason.OLDER
    assert admit(signed(), TRUST, GROUND, floor=3)


def test_another_content_of_the_version_that_rules_is_a_fork_and_only_two_persons_can_make_one():
    ruled = signed().decode()
    other = signed(rule={"max_duration_s": 60})
    assert refused(other, floor=3, ruled=ruled) is PolicyReason.FORK
    assert refused(signed(ZHANG, rule={"max_duration_s": 60}), floor=3, ruled=ruled) is PolicyReason.TOO_FEW_PERSONS
    assert admit(signed(CHEN, ZHANG), TRUST, GROUND, 3, ruled=ruled), "the same content, signed in another order"
    assert admit(signed(version=4), TRUST, GROUND, 3, ruled=ruled)
    for damaged in ("", "{", "\ud800"):
        assert admit(other, TRUST, GROUND, 3, ruled=damaged)


def test_a_changed_depth_in_it_is_a_bad_signature():
    members = json.loads(signed())
    payload = keys.envelope.unb64(members["payload"])
    assert payload is not None
    members["payload"] = keys.envelope.b64(payload.replace(b'"red"', b'"blue"'))
    assert refused(json.dumps(members).encode()) is PolicyReason.BAD_SIGNATURE


def test_one_person_in_both_roles_is_one_person():
    other = keys.new_key("zhang")
    both = PERSONS | {other["kid"]: entry(other, "hydrologist")}
    assert refused(signed(ZHANG, other), trust=listed(keys=both).list) is PolicyReason.TOO_FEW_PERSONS
    alone = PERSONS | {ZHANG["kid"]: entry(ZHANG, "commander", roles=["commander", "hydrologist"])}
    assert refused(signed(ZHANG, LI), trust=listed(keys=alone).list) is PolicyReason.TOO_FEW_PERSONS


@pytest.mark.parametrize("changes", [{"areas": ["32"]}, {"mode": "drill"}, {"actions": ["stop"]}])
def test_a_signer_needs_the_area_and_the_right_to_sound_live(changes: dict[str, Any]):
    trust = listed(keys=PERSONS | {CHEN["kid"]: entry(CHEN, "hydrologist", **changes)}).list
    assert refused(signed(), trust=trust) is PolicyReason.TOO_FEW_PERSONS


@pytest.mark.parametrize(("changes", "same"), [
    ({"name": "another name"}, True), ({"sign": {"device": "sign-2"}}, True), ({"quorum": 1.5}, False),
    ({"hysteresis_cm": 3}, False), ({"gauge": SPOT["gauge"][:2]}, False), ({"cool_down_min": 5}, False),
])
def test_the_digest_of_a_spot_is_of_what_decides(changes: dict[str, Any], same: bool):
    assert (spot_digest(SpotSection.model_validate(SPOT | changes), SCALE) == WATER) is same
    deeper = SCALE.model_copy(update={"red": SCALE.colours[max(SCALE.colours)].model_copy(update={"at_cm": 50.0})})
    assert spot_digest(SpotSection.model_validate(SPOT), deeper) != WATER
