"""An order for an exact list of sirens, its file, its size; and two persons who sign it by the command."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import targets, trust, wire
from controller.trust import MAX_SIGNATURES, Reason
from controller.wire import MAX_ORDER_BYTES, Action, Layer, Mode, OrderBody, SirenCard
from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S
from hub import __main__ as command
from hub import config, keys, prepared
from hub.draft import Wish, draft
from hub.prepared import Prepared, prepare, split

DEMO = Path(__file__).resolve().parents[2] / "configs/demo"
CONFIG = config.load(DEMO / "hub.toml")
KEYS = {name: keys.load_key(DEMO / f"keys/{name}.jwk") for name in ("operator-1", "operator-2", "commander")}
WALL = wire.to_wall_us("2026-09-18T01:30:00.250Z")
ID = "b" * 32


def card(id: str, area: str = "41/01/05/001/001", layer: Layer = Layer.SURFACE) -> SirenCard:
    return SirenCard(id=id, name=id.upper(), type="motor", area=area, layer=layer, feedback=True)


TWO = {"gw-1": [card("s-1"), card("s-2", layer=Layer.UNDERGROUND)], "gw-2": [card("s-3", "41/01/03/001/001")]}


def body(action: Action = Action.SOUND, mode: Mode = Mode.LIVE, wall_us: int = WALL, **more: Any) -> OrderBody:
    sound = "demo-air-raid" if action is Action.SOUND else None
    return draft(Wish(action, mode, "41/01", sound, **more), CONFIG, ID, wall_us)


def sheet(wall_us: int = WALL, mode: Mode = Mode.LIVE) -> Prepared:
    return prepared.draft(prepare(body(mode=mode, wall_us=wall_us), TWO), TWO)


def test_a_list_becomes_a_digest_for_each_gateway() -> None:
    found = prepare(body(), TWO)
    assert found.prepared == {id: targets.digest(id, cards) for id, cards in TWO.items()}
    assert prepare(body(Action.STOP), TWO).prepared is None, "a stop ends whatever sounds"
    assert prepare(body(), {}).prepared is None


def test_a_file_comes_back_as_it_was_with_every_signature() -> None:
    first = sheet()
    assert first.kids == ()
    found = prepared.read(prepared.text(first).encode(), "f")
    assert found == first
    for n, name in enumerate(("operator-1", "commander"), 1):
        found = prepared.signed(found, keys.cosign(found.raw, [KEYS[name]]))
        found = prepared.read(prepared.text(found).encode(), "f")
        assert len(found.kids) == n
    assert trust.verify(found.raw, CONFIG.trusted, WALL).persons == {"Li Wei", "Zhang Min"}


def spoilt(change: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(prepared.text(sheet()))
    match change:
        case "a siren more":
            data["sirens"]["gw-1"].append({"id": "s-9", "area": "41/01/05/001/001", "layer": "surface"})
        case "a siren less":
            data["sirens"]["gw-1"].pop()
        case "a siren elsewhere":
            data["sirens"]["gw-1"][0]["area"] = "41/01/05/001/002"
        case "a gateway less":
            del data["sirens"]["gw-2"]
        case "a gateway more":
            data["sirens"]["gw-3"] = data["sirens"]["gw-2"]
        case "no list":
            data["sirens"] = {}
        case "no order":
            data["order"]["payload"] = "e30"
        case "a bad spelling":
            data["order"]["payload"] += "="
        case "half a signature":
            data["order"]["signatures"] = [{"protected": "e30", "signature": ""}]
        case "too many signatures":
            signed = json.loads(keys.sign(sheet().body, [KEYS["commander"]]))["signatures"]
            data["order"]["signatures"] = signed * (MAX_SIGNATURES + 1)
        case "more":
            data["hidden"] = 1
    return data


@pytest.mark.parametrize("change", [
    "a siren more", "a siren less", "a siren elsewhere", "a gateway less", "a gateway more", "no list", "no order",
    "a bad spelling", "half a signature", "too many signatures", "more",
])
def test_a_file_whose_list_is_not_what_is_signed_is_none(change: str) -> None:
    with pytest.raises(BadDocument, match=r"order\.json"):
        prepared.read(json.dumps(spoilt(change)).encode(), "order.json")


@given(st.binary(max_size=200))
def test_any_bytes_are_no_file_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(BadDocument):
        prepared.read(data, "f")


@pytest.mark.parametrize(("who", "lacking", "spoiled"), [
    ((), Reason.TOO_FEW_PERSONS, False), (("operator-1",), Reason.TOO_FEW_PERSONS, False),
    (("operator-1", "operator-2"), Reason.TOO_FEW_PERSONS, False), (("commander",), Reason.TOO_FEW_PERSONS, False),
    (("operator-1", "commander"), None, False), (("stranger", "commander"), Reason.UNKNOWN_KEY, True),
])
def test_how_it_stands_with_the_signatures(who: tuple[str, ...], lacking: Reason | None, spoiled: bool) -> None:
    own = KEYS | {"stranger": keys.new_key("stranger")}
    found = sheet()
    if who:
        found = prepared.signed(found, keys.cosign(found.raw, [own[name] for name in who]))
    stands = prepared.standing(found, CONFIG.trusted, WALL)
    assert (stands.lacking, stands.spoiled) == (lacking, spoiled)
    if not spoiled:
        assert len(stands.persons) == len(who)


def test_a_stop_is_told_what_it_can_end() -> None:
    """One operator ends a drill, and no warning: who drafts a stop for the worst case asks for a commander."""
    stop = prepared.draft(body(Action.STOP), {})
    for name, lacking in (("operator-1", Reason.TOO_FEW_PERSONS), ("commander", None)):
        found = prepared.signed(stop, keys.cosign(stop.raw, [KEYS[name]]))
        assert prepared.standing(found, CONFIG.trusted, WALL).lacking is lacking


# Size.


def county(gateways: int, width: int) -> dict[str, list[SirenCard]]:
    """Gateways with names of so many characters, four sirens each, over thirty streets of three districts."""
    return {f"g{n:0{width - 1}}": [card(f"s-{n}-{i}", f"41/01/{n % 3:02}/{n % 10:03}/001") for i in range(4)]
            for n in range(gateways)}


@pytest.mark.parametrize(("gateways", "width"), [(215, 32), (370, 12)])
def test_a_countys_gateways_fit_with_four_signatures(gateways: int, width: int) -> None:
    found = prepare(body(mode=Mode.DRILL, at="+86400", reason="9·18 试鸣" * 10), county(gateways, width))
    assert found.prepared is not None
    signers = [*KEYS.values(), keys.new_key("fourth")]
    raw = keys.sign(found, signers)
    assert len(signers) == MAX_SIGNATURES
    assert len(raw) <= MAX_ORDER_BYTES
    assert trust.peek(raw).body == found


def test_a_drill_for_too_many_is_refused_with_its_parts_and_a_warning_goes_without_a_list() -> None:
    many = county(600, 12)
    with pytest.raises(BadDocument, match=r"600 gateways.*41/01/00 \(200\), 41/01/01 \(200\).*--split"):
        prepare(body(mode=Mode.DRILL), many)
    assert prepare(body(mode=Mode.LIVE), many).prepared is None


@pytest.mark.parametrize(("gateways", "width", "mode"), [
    (1, 12, Mode.DRILL), (200, 32, Mode.DRILL), (500, 12, Mode.DRILL), (900, 32, Mode.DRILL), (900, 32, Mode.LIVE),
])
def test_parts_are_for_every_siren_once(gateways: int, width: int, mode: Mode) -> None:
    whole = county(gateways, width)
    parts = split(body(mode=mode), whole)
    assert all(prepared.fits(one) and one.prepared for one in parts)
    for gateway, cards in whole.items():
        for one in cards:
            mine = [p for p in parts if p.targets(one.id, one.area, one.layer)]
            assert len(mine) == 1
            assert mine[0].prepared is not None
            assert mine[0].prepared[gateway] == targets.digest(gateway, targets.meant(mine[0], cards))
    assert len(parts) == 1 or not prepared.fits(prepared._listed(body(mode=mode), whole))


def test_where_nothing_lies_below_there_is_nothing_to_split() -> None:
    one_place = {f"gateway-with-a-very-long-name-{n}": [card(f"s-{n}")] for n in range(100, 600)}
    drill = body(mode=Mode.DRILL).model_copy(update={"area": "41/01/05/001/001"})
    with pytest.raises(BadDocument, match="--siren"):
        split(drill, one_place)


# The command, without any network.


def sign(capsys: pytest.CaptureFixture[str], file: Path, name: str, *more: str) -> tuple[int, str, str]:
    key = name if "/" in name else str(DEMO / f"keys/{name}.jwk")
    rc = command.main(["order", "sign", str(file), "--config", str(DEMO / "hub.toml"), "--key", key, *more])
    told = capsys.readouterr()
    return rc, told.out, told.err


@pytest.fixture
def drafted(tmp_path: Path) -> Path:
    file = tmp_path / "order.json"
    file.write_text(prepared.text(sheet(time.time_ns() // 1000)))
    return file


def test_two_persons_sign_in_two_folders(
    drafted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    rc, out, err = sign(capsys, drafted, "operator-1", "--yes")
    assert (rc, err) == (0, "")
    for part in ("实战 LIVE", "demo-air-raid", "gw-1", "s-1 s-2(地下 underground)", "41/01/03/001/001", "3 台",
                 "signed by Li Wei", "too-few-persons"):
        assert part in out
    other = tmp_path / "other"
    other.mkdir()
    (other / "order.json").write_bytes(drafted.read_bytes())
    rc, out, _ = sign(capsys, other / "order.json", "commander", "--yes", "--out", str(other / "signed.json"))
    assert rc == 0
    assert "签名已够" in out
    found = prepared.read((other / "signed.json").read_bytes(), "f")
    assert trust.verify(found.raw, CONFIG.trusted, None).persons == {"Li Wei", "Zhang Min"}
    assert len(prepared.read((other / "order.json").read_bytes(), "f").kids) == 1, "--out leaves what was there"


def test_who_has_signed_signs_no_second_time(drafted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sign(capsys, drafted, "operator-1", "--yes")[0] == 0
    before = drafted.read_bytes()
    rc, _, err = sign(capsys, drafted, "operator-1", "--yes")
    assert rc == 2
    assert "another person" in err
    assert drafted.read_bytes() == before


def test_a_live_order_is_not_signed_unseen(drafted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = drafted.read_bytes()
    rc, out, err = sign(capsys, drafted, "operator-1")
    assert rc == 2
    assert "confirmed by hand" in err
    assert "s-1" in out, "what it would do was shown"
    assert drafted.read_bytes() == before


def test_a_signature_that_would_spoil_it_is_not_added(
    drafted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    stranger = tmp_path / "stranger.jwk"
    stranger.write_text(json.dumps(keys.new_key("stranger")))
    before = drafted.read_bytes()
    rc, _, err = sign(capsys, drafted, str(stranger), "--yes")
    assert rc == 2
    assert "unknown-key" in err
    assert drafted.read_bytes() == before
    found = prepared.read(before, "f")
    drafted.write_text(prepared.text(prepared.signed(found, keys.cosign(found.raw, [keys.load_key(stranger)]))))
    rc, _, err = sign(capsys, drafted, "commander", "--yes")
    assert rc == 2
    assert "draft it anew" in err


def test_what_is_too_late_is_not_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "order.json"
    file.write_text(prepared.text(sheet(time.time_ns() // 1000 - 3600 * S)))
    rc, _, err = sign(capsys, file, "operator-1", "--yes")
    assert rc == 2
    assert "expires_at" in err


def test_a_changed_list_is_told_before_anybody_signs(drafted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(drafted.read_text())
    data["sirens"]["gw-2"][0]["id"] = "s-school"
    drafted.write_text(json.dumps(data))
    rc, out, err = sign(capsys, drafted, "operator-1", "--yes")
    assert (rc, out) == (2, "")
    assert "sirens.gw-2" in err


@pytest.mark.parametrize("unsigned", [True, False])
def test_what_is_not_signed_or_is_no_draft_is_not_sent(
    unsigned: bool, drafted: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    if not unsigned:
        drafted.write_text("{}")
    rc = command.main(["order", "send", str(drafted), "--config", str(DEMO / "hub.toml"), "--set", "mqtt.port=9"])
    assert rc == 2
    assert str(drafted) in capsys.readouterr().err


def test_a_stop_is_drafted_without_a_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "stop.json"
    line = ["order", "draft", "stop", "--area", "41/01", "--out", str(out), "--config", str(DEMO / "hub.toml"),
            "--set", "mqtt.port=9"]
    assert command.main(line) == 0
    assert "停止 stop" in capsys.readouterr().out
    assert prepared.read(out.read_bytes(), "f").body.action is Action.STOP
    assert command.main(line) == 2, "a draft overwrites nothing"
    assert "--out" in capsys.readouterr().err
