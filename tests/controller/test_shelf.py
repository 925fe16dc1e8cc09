"""An alarm put on the shelf from afar: what two persons signed, for this gateway, for a while."""

import json
from pathlib import Path

import pytest

from controller import admission, wire
from controller.shelf import FRESH_US, LONGEST_US, Refused, Shelving, admit
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
