"""An alarm put on the shelf from afar: what a hydrologist, or two persons, signed for this gateway, for a while."""

import json
from pathlib import Path

import pytest

from controller import admission, wire
from controller.shelf import FRESH_US, LONGEST_US, Refused, Shelving, admit
from controller.signers import Signer, TrustList
from firmware_bridge.machine import S
from hub import keys

DEMO = Path(__file__).parents[2] / "configs/demo"
LISTED = admission.load(DEMO / "trust.json", None, "demo").list
COMMANDER, FIRST, SECOND = (keys.load_key(DEMO / f"keys/{name}.jwk")
                            for name in ("commander", "operator-1", "operator-2"))
WALL = 1_789_696_800_000_000
AREA = "41/01/05/001/001"


def wish(**other: object) -> Shelving:
    body = {"id": "ab" * 16, "deployment": "demo", "gateway": "gw-jinshui", "area": AREA, "spot": "nongye",
            "alarm": "red", "issued_at": wire.to_text(WALL), "until": wire.to_text(WALL + 3600 * S),
            "reason": "探头检修 the probe is being mended"}
    return Shelving.model_validate(body | other)


def judged(data: bytes, wall_us: int | None = WALL + S) -> tuple[Shelving, str, int]:
    return admit(data, LISTED, "gw-jinshui", AREA, wall_us)


def test_two_persons_one_of_them_a_commander_shelve_until_an_instant() -> None:
    found, persons, us = judged(keys.sign(wish(), [FIRST, COMMANDER]))
    assert (found, persons, us) == (wish(), "Li Wei, Zhang Min", 3599 * S)
    again = judged(keys.sign(wish(), [FIRST, COMMANDER]), WALL + 500 * S)
    assert again[2] == 3100 * S, "what comes again ends no later"
    back = judged(keys.sign(wish(until=wire.to_text(WALL)), [FIRST, COMMANDER]))
    assert back[2] == 0


CHEN = keys.new_key("Chen Lu")


def with_hydrologist(**other: object) -> TrustList:
    entry = {"person": "Chen Lu", "key": keys.public(CHEN), "roles": ["hydrologist"], "areas": ["41"],
             "actions": ["sound"], "mode": "live", "not_before": "2025-01-01T00:00:00.000Z",
             "not_after": "2099-12-31T23:59:59.000Z"}
    return LISTED.model_copy(update={"keys": LISTED.keys | {CHEN["kid"]: Signer.model_validate(entry | other)}})


def hushed(minutes: float, *signers: dict[str, str], **other: object) -> int:
    until = wire.to_text(WALL + round(minutes * 60) * S)
    return admit(keys.sign(wish(until=until), list(signers)), with_hydrologist(**other), "gw-jinshui", AREA, WALL)[2]


def test_one_hydrologist_shelves_for_an_hour_at_most() -> None:
    assert hushed(60, CHEN) == 3600 * S
    assert hushed(0, CHEN) == 0
    for minutes, signers in ((61, [CHEN]), (61, [CHEN, FIRST]), (480, [CHEN, CHEN])):
        with pytest.raises(Refused, match="too-few-persons"):
            hushed(minutes, *signers)
    assert hushed(480, CHEN, COMMANDER) == 8 * 3600 * S, "a commander's second person may be the hydrologist"


@pytest.mark.parametrize(("other", "told"), [
    ({"areas": ["41/02"]}, "wrong-area"), ({"mode": "drill"}, "wrong-mode"), ({"actions": ["stop"]}, "wrong-action"),
    ({"not_after": "2025-02-01T00:00:00.000Z"}, "key-not-valid"), ({"roles": ["tester"]}, "too-few-persons"),
    ({"roles": ["operator"]}, "too-few-persons"),
])
def test_a_hydrologist_whose_key_does_not_reach_shelves_nothing(other: dict[str, object], told: str) -> None:
    with pytest.raises(Refused, match=told):
        hushed(10, CHEN, **other)


@pytest.mark.parametrize(("signers", "told"), [
    ([COMMANDER], "too-few-persons"), ([FIRST, SECOND], "too-few-persons"), ([FIRST, FIRST], "too-few-persons"),
    ([keys.new_key("Nobody"), COMMANDER], "unknown-key"),
])
def test_who_may_not(signers: list[dict[str, str]], told: str) -> None:
    with pytest.raises(Refused, match=told):
        judged(keys.sign(wish(), signers))


@pytest.mark.parametrize(("other", "told"), [
    ({"gateway": "gw-other"}, "another gateway"), ({"deployment": "city"}, "another gateway"),
    ({"area": "41/01"}, "another gateway"), ({"until": wire.to_text(WALL + LONGEST_US + S)}, "eight hours"),
    ({"issued_at": wire.to_text(WALL - FRESH_US)}, "signed at another time"),
    ({"issued_at": wire.to_text(WALL + 120 * S)}, "signed at another time"),
])
def test_what_is_not_for_here_and_now(other: dict[str, object], told: str) -> None:
    with pytest.raises(Refused, match=told):
        judged(keys.sign(wish(**other), [FIRST, COMMANDER]))


def test_without_a_clock_that_is_believed_nothing_is_shelved_from_afar() -> None:
    with pytest.raises(Refused, match="no-time"):
        judged(keys.sign(wish(), [FIRST, COMMANDER]), None)


def test_what_was_altered_or_is_no_wish() -> None:
    whole = json.loads(keys.sign(wish(), [FIRST, COMMANDER]))
    other = json.loads(keys.sign(wish(alarm="orange"), [FIRST, COMMANDER]))
    with pytest.raises(Refused, match="bad-signature"):
        judged(json.dumps(whole | {"payload": other["payload"]}).encode())
    for data in (b"", b"{}", b"\xff", json.dumps(whole | {"more": 1}).encode(), wish().encode(),
                 keys.sign(wire.Ack(spot="nongye", by="x"), [FIRST, COMMANDER])):
        with pytest.raises(Refused, match="malformed"):
            judged(data)
