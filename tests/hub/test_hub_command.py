"""The command and its file: bad input ends with exit 2 and lines that name file, key and remedy."""

import json
import stat
from pathlib import Path

import pytest

from hub import __main__ as command
from hub import config
from hub.keys import load_key

DEMO = Path(__file__).resolve().parents[2] / "configs/demo"
HUB = str(DEMO / "hub.toml")
NOWHERE = "mqtt.port=9"
"""The discard service's port: nothing listens there in a test."""


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    rc = command.main(args)
    told = capsys.readouterr()
    return rc, told.out, told.err


def test_the_demo_file_is_whole() -> None:
    loaded = config.load(DEMO / "hub.toml")
    assert loaded.spec.hub.timezone == "Asia/Shanghai"
    assert [load_key(k)["kty"] for k in loaded.keys] == ["OKP", "OKP"]
    assert "henan-918" in loaded.signals


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "hub.toml"
    bad.write_text('[hub]\nid = "H"\ndeployment = "demo"\narea = "41"\ntimezone = "Mars/Olympus"\ncolour = "red"\n'
                   '[mqtt]\nport = 70000\n[signals]\nfiles = ["none.toml"]\n[trust]\nlist = "none.json"\n')
    rc, _, err = run(capsys, "fleet", "--config", str(bad))
    assert rc == 2
    for part in ("hub.id", "hub.timezone", "hub.colour", "mqtt.host", "mqtt.port", "none.toml", "none.json"):
        assert part in err
    assert "Traceback" not in err


def test_a_trust_list_of_another_deployment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    rc, _, err = run(capsys, "fleet", "--config", HUB, "--set", "hub.deployment=other")
    assert rc == 2
    assert "trust.json: deployment = 'demo': here is other" in err


@pytest.mark.parametrize(("args", "part"), [
    (("--set", "mqtt.port=many"), "mqtt.port"), (("--set", "mqtt.port"), "--set"),
    (("--set", "hub.colour=red"), "unknown key"),
])
def test_a_setting_is_checked_like_the_file(
    args: tuple[str, str], part: str, capsys: pytest.CaptureFixture[str],
) -> None:
    rc, _, err = run(capsys, "fleet", "--config", HUB, *args)
    assert rc == 2
    assert part in err


def test_the_file_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(command.ENVIRONMENT, raising=False)
    rc, _, err = run(capsys, "fleet")
    assert rc == 2
    assert command.ENVIRONMENT in err
    monkeypatch.setenv(command.ENVIRONMENT, str(tmp_path / "there.toml"))
    rc, _, err = run(capsys, "fleet")
    assert rc == 2
    assert "there.toml" in err


@pytest.mark.parametrize("args", [
    (), ("dance",), ("order",), ("order", "draft"), ("order", "sign", "order.json"),
    ("order", "sound"), ("order", "sound", "--area", "41", "--signal", "air-raid"),
    ("order", "draft", "sound", "--area", "41", "--signal", "air-raid", "--mode", "drill"),
    ("order", "programme", "henan-918", "--area", "41", "--mode", "drill"), ("stop",),
    ("order", "sound", "--area", "41", "--signal", "air-raid", "--mode", "silent"),
])
def test_a_command_that_lacks_something_ends_with_its_usage(args: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(args)
    assert ended.value.code == 2


def test_a_bad_wish_is_told_before_anything_is_asked_of_the_broker(capsys: pytest.CaptureFixture[str]) -> None:
    rc, _, err = run(capsys, "order", "sound", "--signal", "noise", "--area", "99", "--mode", "drill", "--config", HUB,
                     "--set", NOWHERE)
    assert rc == 2
    assert "--signal = 'noise'" in err
    assert "henan-918" in err
    assert "--area = '99'" in err


def test_a_key_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.jwk").write_text("{}")
    rc, _, err = run(capsys, "stop", "--area", "41", "--config", HUB, "--key", str(tmp_path / "k.jwk"),
                     "--key", str(tmp_path / "none.jwk"))
    assert rc == 2
    assert "k.jwk" in err
    assert "none.jwk" in err


def test_a_new_key_is_its_owners_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wang.jwk"
    rc, out, _ = run(capsys, "key", "new", "Wang", "--out", str(file))
    assert rc == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = load_key(file)
    assert json.loads(out)[made["kid"]]["person"] == "Wang"
    assert made["d"] not in out
    rc, _, err = run(capsys, "key", "new", "Wang", "--out", str(file))
    assert rc == 2
    assert load_key(file) == made
    assert "--out" in err
