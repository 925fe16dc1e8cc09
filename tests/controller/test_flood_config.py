"""A spot in gateway.toml: what is wrong is told by file, key and remedy; drafts of policies, and signed ones."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from controller import config, daemon, scale
from controller.floods import draft, ground
from controller.policy import PolicyReason, admit
from controller.spot import FloodSection, SpotSection
from firmware_bridge.errors import BadDocument, Problem
from hub import __main__ as hub
from hub import keys
from tests.ceremony import ZHANG
from tests.controller.test_flood_in_the_world import CHEN, TRUST, load

ROOT = Path(__file__).parents[2]


def problems(folder: Path, *changes: tuple[str, str]) -> list[Problem]:
    load(folder)
    text = (folder / "gateway.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadDocument) as caught:
        config.load(folder / "gateway.toml")
    return list(caught.value.problems)


@pytest.mark.parametrize(("old", "new", "key"), [
    ('range = [-0.2, 5.0]', '', "spot[spot-1].gauge[pressure].range"),
    ('range = [-0.2, 5.0]', 'range = [5.0, -0.2]', "spot[spot-1].gauge[pressure].range"),
    ('unit = "m"\nrange = [-0.2', 'unit = "cm"\nrange = [-0.2', "spot[spot-1].gauge[pressure].unit"),
    ('unit = "m"\nrange = [-0.2', 'range = [-0.2', "spot[spot-1].gauge[pressure].unit"),
    ('unit = "m"\nrange = [-0.2', 'unit = "ell"\nrange = [-0.2', "spot[spot-1].gauge[pressure].unit"),
    ('mount_cm = 420', '', "spot[spot-1].gauge[sonar].mount_cm"),
    ('wet_cm = 40', '', "spot[spot-1].gauge[float].wet_cm"),
    ('point = "press-1.level"', 'point = "press-1.depth"', "spot[spot-1].gauge[pressure].point"),
    ('point = "press-1.level"', 'point = "press-9.level"', "spot[spot-1].gauge[pressure].point"),
    ('point = "io-1.contact_1"\nwet', 'point = "io-1.current_2"\nwet', "spot[spot-1].gauge[float].point"),
    ('release_min = 1', 'release_min = 1\nhysteresis_cm = 10', "spot[spot-1].hysteresis_cm"),
    ('release_min = 1', 'release_min = 1\nquorum = 4', "spot[spot-1].quorum"),
    ('release_min = 1', 'release_min = 1\nlatch = ["mauve"]', "spot[spot-1].latch[0]"),
    ('id = "sonar"', 'id = "pressure"', "spot[spot-1].gauge[pressure].id"),
    ('id = "spot-1"', 'id = "s-1"', "spot[s-1].id"),
    ('drive = "relay-1.2"', 'drive = "relay-1.1"', "spot[spot-1].beacon.drive"),
    ('drive = "relay-1.2"', 'drive = "relay-1.01"', "spot[spot-1].beacon.drive"),
    ('drive = "relay-1.2"', 'drive = "relay-1.9"', "spot[spot-1].beacon.drive"),
    ('drive = "relay-1.2"', 'drive = "press-1"', "spot[spot-1].beacon.drive"),
    ('closed = "io-1.contact_2"', 'closed = "io-1.current_2"', "spot[spot-1].boom.closed"),
    ('device = "sign-1"', 'device = "voice-1"', "spot[spot-1].sign.device"),
    ('tracks = { orange = 1, red = 2 }', 'tracks = { red = 2 }', "spot[spot-1].voice.tracks"),
    ('scale-15-27-40', 'scale-of-nobody', "file"),
])
def test_what_is_wrong_in_a_spot(tmp_path: Path, old: str, new: str, key: str):
    found = problems(tmp_path, (old, new))
    assert key in {p.key for p in found}, found
    assert all(p.remedy for p in found)


def test_what_the_operator_meets_is_said_in_two_languages(tmp_path: Path):
    found = problems(tmp_path, ("range = [-0.2, 5.0]", ""), ("mount_cm = 420", ""), ("release_min = 1", "quorum = 9"))
    assert len(found) == 3
    assert all(re.search(r"[\u4e00-\u9fff].* / [a-z]", p.remedy) for p in found)


SCALE: dict[str, Any] = {"dry": "慢", "yellow": (15, "黄"), "red": (40, "红")}


@pytest.mark.parametrize(("changes", "key"), [
    ({"yellow": (45, "黄")}, "red.at_cm"),
    ({"yellow": (40, "黄")}, "red.at_cm"),
    ({"yellow": None, "red": None}, "red"),
    ({"dry": "安全" * 30}, "dry"),
    ({"red": (40, "水" * 33)}, "red.text"),
    ({"red": (40, "水深{cm}")}, "red.text"),
    ({"red": (40, "Ünter")}, "red.text"),
])
def test_what_is_wrong_in_a_scale(tmp_path: Path, changes: dict[str, Any], key: str):
    made = SCALE | changes
    text = f'name = "x"\nsource = "x"\ndry = "{made["dry"]}"\n'
    text += "".join(f'[{name}]\nat_cm = {made[name][0]}\ntext = "{made[name][1]}"\n' for name in ("yellow", "red")
                    if made[name])
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadDocument) as caught:
        scale.load(tmp_path / "x.toml")
    assert [p.key for p in caught.value.problems] == [key]


def test_the_places_that_come_with_it():
    found = {name: scale.load(ROOT / "configs" / "flood" / f"{name}.toml")
             for name in ("scale-15-27-40", "shanghai", "chengdu")}
    depths = {name: {c.name: s.at_cm for c, s in one.colours.items()} for name, one in found.items()}
    assert depths["scale-15-27-40"] == {"BLUE": 5, "YELLOW": 15, "ORANGE": 27, "RED": 40}
    assert depths["shanghai"]["RED"] == 25
    assert depths["chengdu"]["RED"] == 30
    assert found["shanghai"].dry == "前方隧桥，谨慎驾驶"
    assert "default" in found["scale-15-27-40"].source


def test_a_policy_from_its_draft_to_the_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    _, of = load(tmp_path)
    with pytest.raises(SystemExit) as ended:
        daemon.main(["policy", str(of.file), "--sound", "demo-air-raid"])
    assert not ended.value.code
    (tmp_path / "draft.json").write_text(capsys.readouterr().out, encoding="utf-8")
    for key in (ZHANG, CHEN):
        (tmp_path / f"{key['person']}.jwk").write_text(json.dumps(key), encoding="utf-8")
    signed = tmp_path / "policy.json"
    assert hub.main(["policy", "sign", str(tmp_path / "draft.json"), "--key", str(tmp_path / "zhang.jwk"),
                     "--out", str(signed)]) == 0
    assert hub.main(["policy", "sign", str(signed), "--key", str(tmp_path / "chen.jwk")]) == 0
    assert hub.main(["policy", "show", str(signed)]) == 0
    assert "spot-1" in capsys.readouterr().out
    found = admit(signed.read_bytes(), TRUST.list, ground(of))
    assert found.persons == ("chen", "zhang")
    assert hub.main(["policy", "show", str(of.file)]) == 2


def test_a_draft_for_a_signal_that_is_not_there(tmp_path: Path):
    _, of = load(tmp_path)
    with pytest.raises(BadDocument, match="did you mean"):
        draft(of, "2026-09-01T00:00:00.000Z", "demo-air-rade", 1)


def test_a_check_tells_what_is_wrong_with_the_policy(tmp_path: Path):
    _, of = load(tmp_path)
    made = json.dumps(draft(of, "2026-09-01T00:00:00.000Z", "demo-air-raid", 1)).encode()
    text = of.file.read_text(encoding="utf-8")
    of.file.write_text(text + '\n[flood]\npolicy = "policy.json"\n', encoding="utf-8")
    named = config.load(of.file)
    assert [p.value for p in daemon.policy_problems(named, TRUST)] == ["missing"]
    assert daemon.policy_text(named) == ""
    (tmp_path / "policy.json").write_bytes(keys.sign_list(made, [ZHANG]))
    assert "two persons" in str(daemon.policy_problems(named, TRUST)[0])
    (tmp_path / "policy.json").write_bytes(keys.sign_list(made, [ZHANG, CHEN]))
    assert daemon.policy_problems(named, TRUST) == []


def test_the_example_on_the_page_is_one():
    page = (ROOT / "docs" / "flood.md").read_text(encoding="utf-8")
    made = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    FloodSection.model_validate(made["flood"])
    spot = SpotSection.model_validate(made["spot"][0])
    assert [g.kind for g in spot.gauge] == ["pressure", "radar", "float"]
    assert spot.voice is not None
    assert spot.voice.depth_tracks == {"20": 20, "30": 30}


def test_the_page_names_every_reason_of_a_refusal():
    page = (ROOT / "docs" / "flood.md").read_text(encoding="utf-8")
    assert [r for r in PolicyReason if f"`{r}`" not in page] == []
