"""Orders that must not be believed, by name, and by the thousand."""

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from controller import admission, signers, trust, wire
from controller.signers import TrustList
from controller.trust import Reason, Rejected
from controller.wire import Action, Mode, OrderBody
from firmware_bridge.errors import BadDocument, Malformed
from hub import keys

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs/demo"
AT = "2026-09-18T02:00:00.000Z"
AT_US = wire.to_wall_us(AT)

LI = keys.new_key("li")
LI_SECOND = keys.new_key("li")
WANG = keys.new_key("wang")
ZHANG = keys.new_key("zhang")
TEST = keys.new_key("test")
NARROW = keys.new_key("narrow")
DRILLS = keys.new_key("drills")
STOPS = keys.new_key("stops")
OLD = keys.new_key("old")
ROOTS = {"keys": [keys.new_key("root", root=True)["x"] for _ in range(3)], "threshold": 2}


def signer(key: dict[str, str], role: str, **changes: Any) -> dict[str, Any]:
    return {"person": key["person"], "key": keys.public(key), "roles": [role], "areas": ["41"],
            "actions": ["sound", "stop", "quiet-test"], "mode": "live",
            "not_before": "2026-01-01T00:00:00.000Z", "not_after": "2026-12-31T00:00:00.000Z"} | changes


def trust_list(**extra: Any) -> dict[str, Any]:
    return {"v": 1, "version": 3, "deployment": "test-net", "issued_at": AT, "roots": ROOTS, "keys": {
        LI["kid"]: signer(LI, "operator"), LI_SECOND["kid"]: signer(LI_SECOND, "commander"),
        WANG["kid"]: signer(WANG, "operator"), ZHANG["kid"]: signer(ZHANG, "commander"),
        TEST["kid"]: signer(TEST, "tester"), NARROW["kid"]: signer(NARROW, "commander", areas=["41/01"]),
        DRILLS["kid"]: signer(DRILLS, "commander", mode="drill"),
        STOPS["kid"]: signer(STOPS, "commander", actions=["stop"]),
        OLD["kid"]: signer(OLD, "commander", not_after="2026-02-01T00:00:00.000Z"),
    } | extra}


TRUST = signers.parse(json.dumps(trust_list()), "trust.json")


def body(**changes: Any) -> OrderBody:
    plain: dict[str, Any] = {
        "v": 1, "id": "0123456789abcdef" * 2, "deployment": "test-net", "issuer": "Zhengzhou", "issued_at": AT,
        "not_before": AT, "expires_at": "2026-09-18T02:05:00.000Z", "area": "41/01", "action": "sound",
        "mode": "live", "sound": {"name": "air-raid", "digest": "0" * 32}, "sequence": 1, "trust_version": 3,
    }
    return wire.validate(OrderBody, {k: v for k, v in (plain | changes).items() if v is not None})


def signed(*signers: dict[str, str], **changes: Any) -> bytes:
    return keys.sign(body(**changes), list(signers))


def reason_of(data: bytes, list_: TrustList = TRUST) -> Reason:
    with pytest.raises(Rejected) as rejected:
        trust.verify(data, list_, AT_US)
    return rejected.value.reason


def envelope(*members: tuple[dict[str, Any], dict[str, str]], payload: bytes | None = None) -> dict[str, Any]:
    """A JWS as an attacker may make it: any headers, any number of times."""
    text = b64(body().encode() if payload is None else payload)
    return {"payload": text, "signatures": [signature(b64(dump(header)), text, key) for header, key in members]}


def signature(protected: str, payload: str, key: dict[str, str]) -> dict[str, str]:
    secret = OKPKey.import_key({n: key[n] for n in ("kty", "crv", "x", "d")}).private_key
    return {"protected": protected, "signature": b64(secret.sign(f"{protected}.{payload}".encode()))}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def head(key: dict[str, str]) -> dict[str, str]:
    return {"alg": "Ed25519", "kid": key["kid"]}


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


# What is believed.


def test_two_persons_one_of_them_a_commander_may_sound_live() -> None:
    order = trust.verify(signed(LI, ZHANG), TRUST, AT_US)
    assert order.body == body()
    assert order.persons == {"li", "zhang"}
    assert order.keys == {LI["kid"], ZHANG["kid"]}
    assert json.loads(order.raw)["payload"] == b64(body().encode())


@pytest.mark.parametrize(("who", "changes"), [
    ([LI], {"mode": "drill"}),
    ([ZHANG], {"mode": "drill"}),
    ([DRILLS], {"mode": "drill"}),
    ([LI], {"action": "stop", "sound": None}),
    ([STOPS], {"action": "stop", "sound": None}),
    ([TEST], {"action": "quiet-test", "mode": "silent", "sound": None}),
    ([WANG], {"action": "quiet-test", "mode": "silent", "sound": None}),
    ([LI, NARROW], {}),
])
def test_the_role_table_lets(who: list[dict[str, str]], changes: dict[str, Any]) -> None:
    trust.verify(signed(*who, **changes), TRUST, AT_US)


@pytest.mark.parametrize(("who", "may"), [([LI], False), ([LI, WANG], True), ([ZHANG], True), ([DRILLS], False)])
def test_who_may_stop_what_is_live(who: list[dict[str, str]], may: bool) -> None:
    order = trust.verify(signed(*who, action="stop", sound=None), TRUST, AT_US)
    assert (order.may(Action.STOP, Mode.LIVE) is None) is may


def test_a_second_person_may_sign_later() -> None:
    half = signed(LI)
    assert reason_of(half) is Reason.TOO_FEW_PERSONS
    assert trust.verify(keys.cosign(half, [ZHANG]), TRUST, AT_US).persons == {"li", "zhang"}
    with pytest.raises(Malformed):
        keys.cosign(b"{}", [ZHANG])


def test_an_independent_implementation_agrees_on_a_good_order() -> None:
    public = {k["kid"]: OKPKey.import_key(keys.public(k)) for k in (LI, ZHANG)}
    obj = jws.deserialize_json(json.loads(signed(LI, ZHANG)), lambda m: public[m.headers()["kid"]],
                               algorithms=["Ed25519"])
    assert obj.payload == body().encode()


# Named attacks.


def test_a_bad_second_signature_refuses_the_whole() -> None:
    order = envelope((head(LI), LI), (head(ZHANG), ZHANG), (head(WANG), WANG))
    trust.verify(dump(order), TRUST, AT_US)
    order["signatures"][2]["signature"] = order["signatures"][1]["signature"]
    assert reason_of(dump(order)) is Reason.BAD_SIGNATURE


def test_another_keys_signature_under_a_trusted_name() -> None:
    assert reason_of(dump(envelope((head(LI), LI), (head(ZHANG), keys.new_key("mallory"))))) is Reason.BAD_SIGNATURE


def test_one_unknown_key_beside_two_good_ones() -> None:
    assert reason_of(signed(LI, ZHANG, keys.new_key("mallory"))) is Reason.UNKNOWN_KEY


def test_the_same_signer_twice_is_one_person() -> None:
    assert reason_of(dump(envelope((head(ZHANG), ZHANG), (head(ZHANG), ZHANG)))) is Reason.TOO_FEW_PERSONS


def test_one_person_with_two_keys_is_one_person() -> None:
    assert reason_of(signed(LI, LI_SECOND)) is Reason.TOO_FEW_PERSONS
    assert trust.verify(signed(LI, LI_SECOND, WANG), TRUST, AT_US).persons == {"li", "wang"}


def test_one_key_under_two_names_is_one_signer() -> None:
    twice = trust_list(**{"other-name": signer(ZHANG, "operator", person="somebody else")})
    # Such a list is refused when it is read; and were it not, the key counts once.
    with pytest.raises(BadDocument, match="the same key as"):
        signers.parse(json.dumps(twice), "trust.json")
    unchecked = TrustList.model_validate(twice)
    order = envelope((head(ZHANG), ZHANG), ({"alg": "Ed25519", "kid": "other-name"}, ZHANG))
    assert reason_of(dump(order), unchecked) is Reason.TOO_FEW_PERSONS


@pytest.mark.parametrize(("who", "changes", "reason"), [
    ([LI, WANG], {}, Reason.TOO_FEW_PERSONS),
    ([ZHANG], {}, Reason.TOO_FEW_PERSONS),
    ([LI, TEST], {}, Reason.TOO_FEW_PERSONS),
    ([TEST], {"mode": "drill"}, Reason.TOO_FEW_PERSONS),
    ([TEST], {"action": "stop", "sound": None}, Reason.TOO_FEW_PERSONS),
    ([LI, NARROW], {"area": "41/02"}, Reason.WRONG_AREA),
    ([LI, NARROW], {"area": "41"}, Reason.WRONG_AREA),
    ([LI, NARROW], {"area": "41/011"}, Reason.WRONG_AREA),
    ([LI, ZHANG], {"area": "4"}, Reason.WRONG_AREA),
    ([LI, STOPS], {}, Reason.WRONG_ACTION),
    ([LI, DRILLS], {}, Reason.WRONG_MODE),
    ([LI, OLD], {}, Reason.KEY_NOT_VALID),
    ([LI, ZHANG], {"deployment": "city"}, Reason.WRONG_DEPLOYMENT),
])
def test_signers_who_do_not_suffice(who: list[dict[str, str]], changes: dict[str, Any], reason: Reason) -> None:
    assert reason_of(signed(*who, **changes)) is reason


def test_without_a_believable_clock_the_dates_of_keys_are_left_out() -> None:
    assert trust.verify(signed(OLD, action="stop", sound=None), TRUST, None).persons == {"old"}


@pytest.mark.parametrize("changes", [
    {"area": "41"}, {"mode": "live"}, {"expires_at": "2027-01-01T00:00:00.000Z"}, {"deployment": "other"},
    {"id": "f" * 32}, {"sirens": ["s-1"]}, {"layer": "underground"},
])
def test_what_is_signed_cannot_be_changed(changes: dict[str, Any]) -> None:
    """A widened area, a drill turned live, a longer life ...: the old signatures do not fit the new payload."""
    order = json.loads(signed(LI, ZHANG, mode="drill"))
    changed = json.loads(body(mode="drill").encode()) | changes
    order["payload"] = b64(dump(changed))
    assert reason_of(dump(order)) in {Reason.BAD_SIGNATURE, Reason.WRONG_DEPLOYMENT}


@pytest.mark.parametrize("header", [
    {"alg": "none", "kid": LI["kid"]},
    {"alg": "EdDSA", "kid": LI["kid"]},
    {"alg": "HS256", "kid": LI["kid"]},
    {"alg": "Ed25519"},
    {"kid": LI["kid"]},
    {"alg": "Ed25519", "kid": 7},
    {"alg": "Ed25519", "kid": LI["kid"], "jwk": keys.public(LI)},
    {"alg": "Ed25519", "kid": LI["kid"], "crit": ["b64"], "b64": False},
    {"alg": "Ed25519", "kid": LI["kid"], "x5u": "https://attacker.example/"},
])
def test_headers_other_than_the_one(header: dict[str, Any]) -> None:
    assert reason_of(dump(envelope((header, LI), (head(ZHANG), ZHANG)))) is Reason.MALFORMED


def test_a_public_key_is_no_shared_secret() -> None:
    """The old trick: sign HS256 with the public key's bytes."""
    key = OctKey.import_key(LI["x"])
    order = jws.serialize_json([{"protected": {"alg": "HS256", "kid": LI["kid"]}}], body(mode="drill").encode(), key,
                               algorithms=["HS256"])
    assert reason_of(dump(order)) is Reason.MALFORMED


def test_a_key_name_outside_the_protected_header() -> None:
    order = envelope(({"alg": "Ed25519"}, LI), (head(ZHANG), ZHANG))
    order["signatures"][0]["header"] = {"kid": LI["kid"]}
    assert reason_of(dump(order)) is Reason.MALFORMED


def test_a_member_twice_is_no_json_of_ours() -> None:
    text = signed(LI, ZHANG).decode()
    assert reason_of(text.replace('{"payload"', '{"payload":"e30","payload"', 1).encode()) is Reason.MALFORMED
    payload = body().encode().replace(b'"mode":"live"', b'"mode":"drill","mode":"live"')
    assert reason_of(dump(envelope((head(LI), LI), (head(ZHANG), ZHANG), payload=payload))) is Reason.MALFORMED
    protected = f'{{"alg":"Ed25519","kid":"x","kid":"{LI["kid"]}"}}'
    order = envelope((head(LI), LI), (head(ZHANG), ZHANG))
    order["signatures"][0]["protected"] = b64(protected.encode())
    assert reason_of(dump(order)) is Reason.MALFORMED


def test_an_unknown_member_refuses() -> None:
    payload = dump(json.loads(body().encode()) | {"priority": 9})
    assert reason_of(dump(envelope((head(LI), LI), (head(ZHANG), ZHANG), payload=payload))) is Reason.MALFORMED
    assert reason_of(dump(json.loads(signed(LI, ZHANG)) | {"header": {}})) is Reason.MALFORMED


def test_sizes_and_counts() -> None:
    long = signed(LI, ZHANG) + b" " * wire.MAX_ORDER_BYTES
    assert reason_of(long) is Reason.TOO_LARGE
    many = envelope(*[(head(k), k) for k in (LI, WANG, ZHANG, LI_SECOND, DRILLS)])
    assert reason_of(dump(many)) is Reason.MALFORMED
    assert reason_of(dump(envelope())) is Reason.MALFORMED
    nested = b'{"payload":' + b"[" * 5000 + b"]" * 5000 + b',"signatures":[]}'
    assert reason_of(nested) is Reason.MALFORMED


def test_as_much_as_there_may_be_is_believed() -> None:
    four = envelope(*[(head(k), k) for k in (LI, WANG, ZHANG, LI_SECOND)])
    assert trust.verify(dump(four), TRUST, AT_US).persons == {"li", "wang", "zhang"}
    for size, reason in ((512, Reason.TOO_FEW_PERSONS), (513, Reason.MALFORMED)):
        payload = b64(body().encode())
        one = signature(b64(dump(head(LI)).ljust(size)), payload, LI)
        assert reason_of(dump({"payload": payload, "signatures": [one]})) is reason


def test_the_digest_of_an_order_is_one_that_journals_hold() -> None:
    """Another spelling of it would make every known order another one."""
    assert trust.peek(dump(envelope((head(LI), LI)))).digest == hashlib.sha256(body().encode()).hexdigest()[:32]


@pytest.mark.parametrize("change", ["padding", "alphabet", "unused bits", "short"])
def test_one_signature_has_one_spelling(change: str) -> None:
    order = envelope((head(LI), LI), (head(ZHANG), ZHANG))
    text = order["signatures"][0]["signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    order["signatures"][0]["signature"] = {
        "padding": text + "==",
        "alphabet": text.replace("-", "+").replace("_", "/") + "+",
        "unused bits": text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1],
        "short": text[:-2],
    }[change]
    assert reason_of(dump(order)) is Reason.MALFORMED


@pytest.mark.parametrize("changes", [
    {"id": "short"}, {"area": "41/"}, {"issued_at": "2026-02-30T00:00:00.000Z"}, {"sequence": -1}, {"mode": "silent"},
    {"sound": None}, {"v": 2}, {"expires_at": "2026-09-18 02:05:00"},
])
def test_a_payload_that_is_no_order(changes: dict[str, Any]) -> None:
    inner = {k: v for k, v in (json.loads(body().encode()) | changes).items() if v is not None}
    order = dump(envelope((head(LI), LI), (head(ZHANG), ZHANG), payload=dump(inner)))
    assert reason_of(order) is Reason.MALFORMED


def test_no_mutation_of_a_signed_order_is_believed() -> None:
    order = signed(LI, ZHANG)
    meaning = json.loads(order)
    rng = random.Random(918)
    counted = 0
    for _ in range(4000):
        mutant = bytearray(order)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(mutant))
            match rng.randrange(5):
                case 0:
                    mutant[at] ^= 1 << rng.randrange(8)
                case 1:
                    del mutant[at : at + rng.randint(1, 40)]
                case 2:
                    mutant[at:at] = mutant[at : at + rng.randint(1, 40)]
                case 3:
                    mutant[at] = rng.choice(b'{}[],:"AZaz09-_= ')
                case _:
                    to = rng.randrange(len(mutant))
                    mutant[at], mutant[to] = mutant[to], mutant[at]
        try:
            same = json.loads(mutant) == meaning
        except ValueError:
            same = False
        if same:
            continue
        counted += 1
        with pytest.raises(Rejected):
            trust.verify(bytes(mutant), TRUST, AT_US)
    assert counted > 3000


# Keys and pages.


@pytest.mark.parametrize(("change", "remedy"), [
    ({"kid": "x"}, "thumbprint"), ({"d": WANG["d"]}, "private half"), ({"d": "AA"}, "private half"),
    ({"crv": "X25519"}, "Ed25519"), ({"d": None}, "required"),
])
def test_a_key_file_that_was_changed(tmp_path: Path, change: dict[str, Any], remedy: str) -> None:
    path = tmp_path / "li.jwk"
    path.write_text(json.dumps(LI))
    assert keys.load_key(path) == LI
    path.write_text(json.dumps(LI | change))
    with pytest.raises(BadDocument, match=remedy):
        keys.load_key(path)


def test_a_roots_key_signs_no_order_and_an_operators_no_list(tmp_path: Path) -> None:
    root = keys.new_key("zhao", root=True)
    for key, as_root in ((root, False), (LI, True)):
        path = tmp_path / "key.jwk"
        path.write_text(json.dumps(key))
        assert keys.load_key(path, root=not as_root) == key
        with pytest.raises(BadDocument, match=r"use = .*root key" if as_root else "use = 'root'.*operator"):
            keys.load_key(path, root=as_root)


def test_every_reason_is_explained_in_the_docs() -> None:
    text = (ROOT / "docs/orders.md").read_text(encoding="utf-8")
    assert [r for r in Reason if f"`{r}`" not in text] == []


def test_the_example_in_the_docs_is_an_order() -> None:
    text = (ROOT / "docs/orders.md").read_text(encoding="utf-8")
    first, second = (json.loads(block.split("```")[0]) for block in text.split("```json\n")[1:])
    example = wire.validate(OrderBody, first)
    own = [keys.load_key(DEMO / f"keys/{n}.jwk") for n in ("operator-1", "commander")]
    made = json.loads(keys.sign(example, own))
    assert made["signatures"] == second["signatures"]
    assert made["payload"].startswith(second["payload"].removesuffix("..."))
    trust.verify(dump(made), admission.load(DEMO / "trust.json", None, "demo").list, AT_US)
