"""From what an operator says to the document that is signed."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import wire
from controller.intake import AHEAD_US, FUTURE_US, LIFETIME_US
from controller.wire import Action, Mode
from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S
from hub import config
from hub.draft import Wish, draft, instant

CONFIG = config.load(Path(__file__).resolve().parents[2] / "configs/demo/hub.toml")
ZONE = ZoneInfo("Asia/Shanghai")
WALL = wire.to_wall_us("2026-09-18T01:30:00.250Z")
ID = "b" * 32


@pytest.mark.parametrize(("said", "meant"), [
    ("10:00", "2026-09-18T02:00:00.000Z"), ("10:00:30", "2026-09-18T02:00:30.000Z"),
    ("9:18", "2026-09-19T01:18:00.000Z"), ("+90", "2026-09-18T01:31:30.250Z"),
    ("2026-09-20T10:00", "2026-09-20T02:00:00.000Z"), ("2026-09-20T10:00:00Z", "2026-09-20T10:00:00.000Z"),
    ("2026-09-20 10:00+09:00", "2026-09-20T01:00:00.000Z"),
])
def test_an_instant_is_meant_in_the_centres_zone(said: str, meant: str) -> None:
    assert wire.to_text(instant(said, WALL, ZONE)) == meant


@pytest.mark.parametrize("said", ["", "25:00", "10:61", "tomorrow", "2026-09-20", "-5", "+1h", "2026-02-30T10:00"])
def test_what_is_no_instant_is_told_so(said: str) -> None:
    with pytest.raises(BadDocument, match="--at"):
        draft(Wish(Action.SOUND, Mode.DRILL, "41", "air-raid", said), CONFIG, ID, WALL)


@given(st.sampled_from([(Action.SOUND, Mode.LIVE), (Action.SOUND, Mode.DRILL), (Action.QUIET_TEST, Mode.SILENT),
                        (Action.STOP, Mode.LIVE)]),
       st.one_of(st.none(), st.integers(1, 59 * 24 * 3600)))
def test_no_gateway_finds_its_window_wrong(what: tuple[Action, Mode], ahead_s: int | None) -> None:
    """The same sums that `intake.py` does, for a gateway whose clock is right."""
    action, mode = what
    sounds = action is Action.SOUND
    at = f"+{ahead_s}" if sounds and ahead_s is not None else None
    body = draft(Wish(action, mode, "41/01", "demo-918" if sounds else None, at), CONFIG, ID, WALL)
    issued, not_before, expires = (wire.to_wall_us(t) for t in (body.issued_at, body.not_before, body.expires_at))
    start = wire.to_wall_us(body.sound.start_at) if body.sound and body.sound.start_at else not_before
    assert not_before <= start <= expires
    assert expires - not_before <= LIFETIME_US[action, mode]
    assert expires - issued <= AHEAD_US
    assert issued <= expires
    assert issued <= WALL + FUTURE_US
    if at is None:
        assert not_before < WALL < expires


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(BadDocument) as caught:
        draft(Wish(Action.SOUND, Mode.LIVE, "42", "noise", "2020-01-01T10:00"), CONFIG, ID, WALL)
    assert [p.key for p in caught.value.problems] == ["--area", "--signal", "--at"]


@pytest.mark.parametrize(("wish", "option"), [
    (Wish(Action.STOP, Mode.LIVE, "41", stops="short"), "--order"),
    (Wish(Action.QUIET_TEST, Mode.SILENT, "41", sirens=("S 1",)), "--siren"),
    (Wish(Action.QUIET_TEST, Mode.SILENT, "41/abc"), "--area"),
    (Wish(Action.SOUND, Mode.DRILL, "41", "air-raid", "+9999999"), "--at"),
    (Wish(Action.SOUND, Mode.LIVE, "41", "air-raid", nonce="8F0C"), "--nonce"),
    (Wish(Action.SOUND, Mode.LIVE, "41", "air-raid", "+60", nonce="0" * 32), "--nonce"),
])
def test_a_wish_that_makes_no_order_names_its_option(wish: Wish, option: str) -> None:
    with pytest.raises(BadDocument) as caught:
        draft(wish, CONFIG, ID, WALL)
    assert [p.key for p in caught.value.problems] == [option]


def test_a_nonce_is_signed_with_it() -> None:
    body = draft(Wish(Action.SOUND, Mode.LIVE, "41", "air-raid", nonce="12" * 16), CONFIG, ID, WALL)
    assert json.loads(body.encode())["nonce"] == "12" * 16


def test_it_carries_what_the_name_means_here() -> None:
    body = draft(Wish(Action.SOUND, Mode.DRILL, "41/01", "henan-918", "10:00"), CONFIG, ID, WALL)
    assert body.sound is not None
    assert body.sound.digest == CONFIG.signals.digest("henan-918")
    assert body.trust_version == CONFIG.trusted.version
    assert body.sequence < draft(Wish(Action.STOP, Mode.LIVE, "41"), CONFIG, ID, WALL + S).sequence
