"""Broken gateways, one a file in `broken/`: each is told by file, key, value and remedy, and all at once.

A line `#! key | value | remedy` in such a file is one problem it has: the key as it is told, the value's repr, and
a part of the remedy. Adding a file adds its test.
"""

import re
from pathlib import Path

import pytest

from controller import config
from firmware_bridge.errors import BadDocument

ROOT = Path(__file__).parents[2]
BROKEN = Path(__file__).parent / "broken"
DEMO = ROOT / "configs/demo"


def expected(path: Path) -> list[tuple[str, str, str]]:
    marks = re.findall(r"(?m)^#! (.*)$", path.read_text(encoding="utf-8"))
    return [tuple(part.strip() for part in mark.split("|")) for mark in marks]


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.toml")), ids=lambda p: p.stem)
def test_a_broken_gateway_is_told_by_file_key_value_and_remedy(path: Path) -> None:
    wanted = expected(path)
    if not wanted:
        assert config.load(path).id == "gw-1"
        return
    with pytest.raises(BadDocument) as bad:
        config.load(path)
    told = {p.key: p for p in bad.value.problems}
    assert sorted(told) == sorted(key for key, _, _ in wanted)
    for key, value, remedy in wanted:
        assert remedy in told[key].remedy, told[key]
        if value:
            assert repr(told[key].value) == value
        if key not in ("file", "folder"):
            assert told[key].file == str(path)
        assert str(told[key]) in str(bad.value)


def test_there_are_broken_gateways_and_a_whole_one() -> None:
    assert len(list(BROKEN.glob("*.toml"))) > 25
    assert [p.stem for p in BROKEN.glob("*.toml") if not expected(p)] == ["none"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, word in ((tmp_path / "none.toml", "missing"), (tmp_path, "a folder")):
        with pytest.raises(BadDocument, match=word):
            config.load(path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadDocument, match="UTF-8"):
        config.load(tmp_path / "binary.toml")


@pytest.mark.parametrize("path", sorted(DEMO.glob("gateway*.toml")), ids=lambda p: p.stem)
def test_the_demo_gateways_are_whole(path: Path) -> None:
    gateway = config.load(path)
    assert gateway.spec.gateway.deployment == "demo"
    for siren in gateway.spec.siren:
        assert gateway.area_of(siren).startswith("41/")
        assert gateway.profile_of(config.Drive.of(siren.drive).device).output is not None
    assert gateway.path(gateway.spec.trust.list) == (DEMO / "trust.json").resolve()


def test_a_setting_on_the_command_line_is_checked_like_the_file() -> None:
    gateway = config.load(BROKEN / "none.toml", ["bus[line-1].link=tcp:127.0.0.1:502", "mqtt.port=1884"])
    assert gateway.spec.bus[0].link == "tcp:127.0.0.1:502"
    assert gateway.spec.bus[0].tcp
    assert gateway.spec.mqtt.port == 1884
    for setting, word in (("mqtt.port=many", "mqtt.port"), ("mqtt.prot=1", "did you mean 'port'"),
                          ("bus[line-9].link=x", "no such part"), ("nonsense", "key.key=value")):
        with pytest.raises(BadDocument, match=word):
            config.load(BROKEN / "none.toml", [setting])


@pytest.mark.parametrize(("ref", "device", "channel"), [("relay-1.8", "relay-1", 8), ("head-1", "head-1", None)])
def test_a_drive_is_a_device_or_a_channel_of_it(ref: str, device: str, channel: int | None) -> None:
    drive = config.Drive.of(ref)
    assert (drive.device, drive.channel, str(drive)) == (device, channel, ref)


def test_an_output_has_one_spelling_so_that_it_has_one_purpose(tmp_path: Path) -> None:
    twice = 'drive = "relay-1.1"\nsecond_off = "relay-1.01"\n'
    path = tmp_path / "gateway.toml"
    text = (BROKEN / "none.toml").read_text(encoding="utf-8").replace('"../', f'"{BROKEN.parent}/')
    path.write_text(text.replace('drive = "relay-1.1"\n', twice), encoding="utf-8")
    with pytest.raises(BadDocument, match="an output has one purpose"):
        config.load(path)
    path.write_text(text.replace('drive = "relay-1.1"\n', twice.replace(".01", ".08")), encoding="utf-8")
    assert config.load(path).spec.siren[0].second_off == "relay-1.8"
