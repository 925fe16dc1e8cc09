"""Which lists are let in: whose signatures count, what never goes back, and how roots change hands."""

import base64
import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import admission, wire
from controller.admission import (
    MAX_LIST_BYTES,
    MAX_LIST_SIGNATURES,
    ListReason,
    Refused,
    SignedList,
    admit,
)
from controller.roots import Roots
from controller.signers import MAX_KEYS, MAX_PAYLOAD_BYTES
from firmware_bridge.errors import BadDocument
from hub import keys
from tests.ceremony import DEPLOYMENT, LI, NEW_ROOTS, OLD_ROOTS, PERSONS, Key, entry, listed, plain, roots, signed

ROOT = Path(__file__).parents[2]
PINS = roots()
A, B, C = OLD_ROOTS
X, Y, Z = NEW_ROOTS
MALLORY = keys.new_key("mallory", root=True)


def refusal(data: bytes, ruling: SignedList | None = None, pins: Roots | None = PINS) -> ListReason:
    with pytest.raises(Refused) as refused:
        admit(data, pins, DEPLOYMENT, ruling)
    assert refused.value.problems
    assert len(refused.value.detail) <= 200
    refused.value.detail.encode()
    return refused.value.reason


def forged(data: bytes, n: int) -> bytes:
    """With its n-th signature another's."""
    envelope = json.loads(data)
    other = json.loads(signed(plain(999), *OLD_ROOTS))
    envelope["signatures"][n]["signature"] = other["signatures"][n]["signature"]
    return json.dumps(envelope).encode()


def again(data: bytes, n: int) -> bytes:
    """With its n-th signature once more."""
    envelope = json.loads(data)
    envelope["signatures"].append(envelope["signatures"][n])
    return json.dumps(envelope).encode()


# Signatures.


@pytest.mark.parametrize("holders", [(A, B), (B, A), (A, C), (B, C), (A, B, C), (A, B, MALLORY), (MALLORY, A, B)])
def test_enough_roots_let_a_list_in(holders: tuple[Key, ...]) -> None:
    found = admit(signed(plain(3), *holders), PINS, DEPLOYMENT)
    assert found.version == 3
    assert found.kids == tuple(k["kid"] for k in holders)
    assert admit(found.text.encode(), PINS, DEPLOYMENT) == found


@pytest.mark.parametrize(("data", "reason"), [
    (signed(plain(), A), ListReason.TOO_FEW_ROOTS),
    (signed(plain(), MALLORY), ListReason.TOO_FEW_ROOTS),
    (signed(plain(), A, MALLORY), ListReason.TOO_FEW_ROOTS),
    (signed(plain(), X, Y), ListReason.TOO_FEW_ROOTS),
    (again(signed(plain(), A), 0), ListReason.TOO_FEW_ROOTS),
    (again(again(signed(plain(), A, MALLORY), 0), 0), ListReason.TOO_FEW_ROOTS),
    (signed(plain(), LI), ListReason.TOO_FEW_ROOTS),
    (forged(signed(plain(), A, B), 1), ListReason.BAD_SIGNATURE),
    (forged(signed(plain(), A, B, C), 2), ListReason.BAD_SIGNATURE),
    (forged(again(signed(plain(), A, B), 0), 0), ListReason.BAD_SIGNATURE),
    (signed(plain(deployment="city")), ListReason.WRONG_DEPLOYMENT),
    (signed(plain() | {"deployment": 7}), ListReason.WRONG_DEPLOYMENT),
    (signed(plain() | {"deployment": "\ud800" * 300}), ListReason.WRONG_DEPLOYMENT),
    (signed(plain() | {"colour": "red"}), ListReason.MALFORMED),
    (signed(plain() | {"version": "3"}), ListReason.MALFORMED),
    (signed(plain() | {"version": None}), ListReason.MALFORMED),
    (keys.sign_list(b"no list", [A, B]), ListReason.MALFORMED),
    (keys.sign_list(b'{"deployment":"test-net","deployment":"test-net"}', [A, B]), ListReason.MALFORMED),
    (json.dumps(plain()).encode(), ListReason.UNSIGNED),
    (json.dumps(plain(), indent=2).encode(), ListReason.UNSIGNED),
    (b"", ListReason.MALFORMED), (b"{}", ListReason.MALFORMED), (b"\xff", ListReason.MALFORMED),
    (b'{"payload":"e30","signatures":[]}', ListReason.MALFORMED),
    (signed(plain()) + b" " * MAX_LIST_BYTES, ListReason.TOO_LARGE),
    (signed(plain(), *[keys.new_key("x", root=True) for _ in range(MAX_LIST_SIGNATURES + 1)]), ListReason.MALFORMED),
])
def test_a_list_that_is_not_let_in(data: bytes, reason: ListReason) -> None:
    assert refusal(data) is reason


def test_one_key_under_two_names_is_one_root() -> None:
    """A name of a root is its thumbprint: another name for the same key is no root's."""
    payload = base64.urlsafe_b64encode(json.dumps(plain()).encode()).rstrip(b"=").decode()
    envelope = json.loads(signed(plain(), A))
    alias = json.loads(keys.sign_list(base64.urlsafe_b64decode(payload + "=="), [A | {"kid": "another-name"}]))
    envelope["signatures"] += alias["signatures"]
    assert refusal(json.dumps(envelope).encode()) is ListReason.TOO_FEW_ROOTS


def test_what_is_signed_cannot_be_changed() -> None:
    envelope = json.loads(signed(plain(3)))
    widened = plain(3) | {"keys": {k: e | {"areas": ["4"]} for k, e in PERSONS.items()}}
    envelope["payload"] = json.loads(signed(widened, MALLORY))["payload"]
    assert refusal(json.dumps(envelope).encode()) is ListReason.BAD_SIGNATURE


def test_no_mutation_of_a_signed_list_is_let_in() -> None:
    whole = signed(plain(3))
    meaning, rng = json.loads(whole), random.Random(7)
    counted = 0
    for _ in range(1500):
        mutant = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(mutant))
            match rng.randrange(3):
                case 0:
                    mutant[at] ^= 1 << rng.randrange(8)
                case 1:
                    del mutant[at : at + rng.randint(1, 40)]
                case _:
                    mutant[at:at] = mutant[at : at + rng.randint(1, 40)]
        try:
            same = json.loads(mutant) == meaning
        except ValueError:
            same = False
        if not same:
            counted += 1
            refusal(bytes(mutant))
    assert counted > 1200


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    refusal(data)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.sampled_from([*range(7)]), max_size=9), st.integers(1, 3))
def test_distinct_roots_are_counted_whoever_else_signed(who: list[int], threshold: int) -> None:
    holders = [A, B, C, X, Y, MALLORY, LI]
    if not who:
        return
    data = signed(plain(threshold=threshold), *[holders[n] for n in dict.fromkeys(who)])
    for n in [n for n in range(1, len(who)) if who[n] in who[:n]]:
        data = again(data, list(dict.fromkeys(who)).index(who[n]))
    pins = roots(threshold=threshold)
    if len({n for n in who if n < 3}) >= threshold:
        assert admit(data, pins, DEPLOYMENT).version == 1
    else:
        assert refusal(data, pins=pins) is ListReason.TOO_FEW_ROOTS


def test_a_refusal_says_what_is_missing_and_whose() -> None:
    def said(data: bytes) -> str:
        with pytest.raises(Refused) as refused:
            admit(data, PINS, DEPLOYMENT)
        return str(refused.value)

    assert said(signed(plain(), A)) == "too-few-roots: signatures '1 of 2': of the trusted roots"
    assert said(signed(plain(holders=NEW_ROOTS), A, B, X)) == (
        "too-few-new-roots: signatures '1 of 2': of the roots it names")
    assert refusal(b'{"version":1,"keys":{}}') is ListReason.UNSIGNED, "a draft, and a bad one"


# Versions.


def test_trust_never_goes_back() -> None:
    ruling = listed(7)
    assert admit(ruling.text.encode(), PINS, DEPLOYMENT, ruling) is ruling
    assert admit(signed(plain(8)), PINS, DEPLOYMENT, ruling).version == 8
    assert admit(signed(plain(2**53 - 1)), PINS, DEPLOYMENT, ruling).version == 2**53 - 1
    assert refusal(signed(plain(6)), ruling) is ListReason.OLDER
    assert refusal(signed(plain(1), A), ruling) is ListReason.OLDER
    assert refusal(signed(plain(-1)), ruling) is ListReason.OLDER


def test_the_same_list_with_other_signatures_is_the_same_list() -> None:
    ruling = listed(7)
    assert admit(signed(plain(7), A, C), PINS, DEPLOYMENT, ruling) is ruling
    assert admit(signed(plain(7), MALLORY), PINS, DEPLOYMENT, ruling) is ruling


def test_another_list_of_the_same_version_is_a_fork_and_only_roots_can_make_one() -> None:
    ruling = listed(7)
    other = plain(7, keys={LI["kid"]: entry(LI, "operator")})
    assert refusal(signed(other), ruling) is ListReason.FORK
    assert refusal(signed(other, A), ruling) is ListReason.TOO_FEW_ROOTS
    assert refusal(signed(other, A, MALLORY), ruling) is ListReason.TOO_FEW_ROOTS


# Roots that change.


ROTATED = plain(8, holders=NEW_ROOTS)


@pytest.mark.parametrize(("holders", "let_in"), [
    ((A, B, X, Y), True), ((A, C, Y, Z), True), ((A, B, C, X, Y, Z), True), ((X, Y, A, B), True),
    ((A, B), ListReason.TOO_FEW_NEW_ROOTS), ((A, B, X), ListReason.TOO_FEW_NEW_ROOTS),
    ((X, Y), ListReason.TOO_FEW_ROOTS), ((A, X, Y), ListReason.TOO_FEW_ROOTS), ((A, X), ListReason.TOO_FEW_ROOTS),
])
def test_roots_change_by_enough_of_the_old_and_enough_of_the_new(holders: tuple[Key, ...],
                                                                let_in: bool | ListReason) -> None:
    if let_in is True:
        found = admit(signed(ROTATED, *holders), PINS, DEPLOYMENT, listed(7))
        assert found.list.roots.digest == roots(NEW_ROOTS).digest
    else:
        assert refusal(signed(ROTATED, *holders), listed(7)) is let_in


def test_after_a_rotation_the_old_roots_count_for_nothing() -> None:
    ruling = admit(signed(ROTATED, A, B, X, Y), PINS, DEPLOYMENT, listed(7))
    now = ruling.list.roots
    assert refusal(signed(plain(9)), ruling, now) is ListReason.TOO_FEW_ROOTS
    assert refusal(signed(plain(9, holders=NEW_ROOTS), A, B), ruling, now) is ListReason.TOO_FEW_ROOTS
    assert admit(signed(plain(9, holders=NEW_ROOTS), X, Z), now, DEPLOYMENT, ruling).version == 9


def test_a_bad_signature_of_a_new_root_refuses() -> None:
    data = json.loads(signed(ROTATED, A, B, X, Y))
    data["signatures"][3]["signature"] = data["signatures"][2]["signature"]
    assert refusal(json.dumps(data).encode(), listed(7)) is ListReason.BAD_SIGNATURE


def test_one_list_serves_gateways_that_missed_a_rotation_and_those_that_did_not() -> None:
    both = signed(plain(9, holders=NEW_ROOTS), A, B, X, Y)
    rotated = admit(signed(ROTATED, A, B, X, Y), PINS, DEPLOYMENT, listed(7))
    assert admit(both, PINS, DEPLOYMENT, listed(7)).version == 9
    assert admit(both, rotated.list.roots, DEPLOYMENT, rotated).version == 9


def test_a_lower_threshold_is_another_set_of_roots() -> None:
    easier = plain(8, threshold=1)
    assert refusal(signed(easier, A), listed(7)) is ListReason.TOO_FEW_ROOTS
    assert admit(signed(easier, A, B), PINS, DEPLOYMENT, listed(7)).list.roots.threshold == 1
    harder = plain(8, threshold=3)
    assert refusal(signed(harder, A, B), listed(7)) is ListReason.TOO_FEW_NEW_ROOTS
    assert admit(signed(harder, A, B, C), PINS, DEPLOYMENT, listed(7)).list.roots.threshold == 3


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_roots_means_nothing(order: tuple[int, ...]) -> None:
    shuffled = plain(8, holders=[OLD_ROOTS[n] for n in order])
    assert admit(signed(shuffled, B, C), PINS, DEPLOYMENT, listed(7)).version == 8


# Without pins, for who looks.


def test_a_list_may_be_asked_only_whether_it_is_whole() -> None:
    assert admit(signed(plain(3, deployment="city"), A, B), None, None).list.deployment == "city"
    assert refusal(signed(plain(3), A), pins=None) is ListReason.TOO_FEW_NEW_ROOTS
    assert refusal(forged(signed(plain(3)), 0), pins=None) is ListReason.BAD_SIGNATURE


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with pytest.raises(BadDocument, match="missing"):
        admission.load(path, PINS, DEPLOYMENT)
    path.write_bytes(signed(plain(3)) + b"\n")
    assert admission.load(path, PINS, DEPLOYMENT).version == 3
    path.write_text(json.dumps(plain(3)))
    with pytest.raises(BadDocument, match=r"trust\.json: signatures = None: .*siren-hub trust sign"):
        admission.load(path, PINS, DEPLOYMENT)
    broken = plain(3, keys={LI["kid"]: entry(LI, "general", mode="loud")})
    path.write_bytes(signed(broken))
    with pytest.raises(BadDocument) as bad:
        admission.load(path, PINS, DEPLOYMENT)
    assert [p.key.rpartition(".")[2] for p in bad.value.problems] == ["roles[0]", "mode"]


def test_what_names_a_list() -> None:
    whole = signed(plain(3))
    assert admission.digest(whole) == listed(3).digest == admission.digest(signed(plain(3), MALLORY))
    order = keys.sign_list(b'{"id":"x"}', [A])
    assert admission.digest(keys.sign_list(b'{"keys":{},"roots":{},"version":1}', [A])), "whatever is in it"
    assert [admission.digest(data) for data in (b"", order, keys.sign_list(b"x", [A]))] == ["", "", ""]


# Size and cost.


def many(n: int) -> dict[str, Any]:
    """Persons with long names and several areas."""
    made = [keys.new_key(f"张三丰李四光{i:03}") for i in range(n)]
    places = ["41/01/05", "41/01/08/002", "41/01/22/003/001"]
    return {k["kid"]: entry(k, "commander" if i % 7 == 0 else "operator", areas=places) for i, k in enumerate(made)}


def test_a_list_of_as_many_keys_as_there_may_be_passes_every_door() -> None:
    draft = plain(8, keys=many(MAX_KEYS))
    whole = signed(draft, *OLD_ROOTS)
    assert 150_000 < len(whole) <= MAX_LIST_BYTES
    found = admit(whole, PINS, DEPLOYMENT, listed(7))
    assert len(found.list.keys) == MAX_KEYS
    assert len(json.dumps(draft, ensure_ascii=False).encode()) <= MAX_PAYLOAD_BYTES
    more = plain(8, keys=many(1) | draft["keys"])
    assert refusal(signed(more), listed(7)) is ListReason.MALFORMED


def test_what_is_too_large_inside_is_refused() -> None:
    fat = plain(8) | {"colour": "x" * MAX_PAYLOAD_BYTES}
    assert refusal(signed(fat)) in (ListReason.MALFORMED, ListReason.TOO_LARGE)


def test_a_list_of_just_the_size_is_let_in() -> None:
    whole = signed(plain(8)).ljust(520 * 1024)
    assert admit(whole, PINS, DEPLOYMENT, listed(7)).version == 8
    assert refusal(whole + b" ") is ListReason.TOO_LARGE


# The page.


def test_every_reason_is_explained_in_the_docs() -> None:
    text = (ROOT / "docs/trust.md").read_text(encoding="utf-8")
    assert [r for r in ListReason if f"| `{r}` |" not in text] == []
    assert f"at most {MAX_LIST_SIGNATURES} and {MAX_LIST_BYTES // 1024} KiB" in text


def test_the_example_in_the_docs_is_a_list() -> None:
    text = (ROOT / "docs/trust.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    data = keys.sign_list(json.dumps(example).encode(), [A])
    assert refusal(data, pins=None) is ListReason.WRONG_DEPLOYMENT
    with pytest.raises(Refused) as refused:
        admit(data, None, None)
    assert refused.value.reason is ListReason.TOO_FEW_NEW_ROOTS
    (pinned,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    assert all(x in pinned for x in example["roots"]["keys"])
    assert wire.to_wall_us(example["issued_at"])
