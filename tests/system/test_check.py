"""What a person wrote wrong is told before anything is started: every problem of every file, a line each, exit 2.

`broken/` holds a file for each mistake that people make. Its comments that begin with `says` are what must be said,
whole: file, key, value and remedy. Nothing else may be said, and nothing may be made: no journal, socket or log.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import controller.daemon
import hub.__main__
import simulators.__main__

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.toml"))
PROBLEM = re.compile(r"(?P<file>\S+): (?P<key>[^=]+) = (?P<value>.+?): (?P<remedy>.+)")


def sirend_check(file: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        controller.daemon.main(["check", str(file)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


CHECKED_BY: dict[str, Callable[[Path], int]] = {
    "gateway": sirend_check,
    "site": lambda file: simulators.__main__.main(["serve", str(file), "--seconds", "1"]),
    "hub": lambda file: hub.__main__.main(["fleet", "--config", str(file)]),
}


def expected(file: Path) -> list[str]:
    return sorted(re.findall(r"^# says (.+)$", file.read_text(), flags=re.M))


def said(text: str) -> list[str]:
    """The lines, with files named from `broken/`."""
    return sorted(line.replace(f"{BROKEN}/", "") for line in text.splitlines())


def everything_there() -> set[Path]:
    return set(BROKEN.rglob("*"))


def mistakes(*kinds: str) -> list[Path]:
    return [f for f in FILES if f.name.partition("-")[0] in kinds]


def test_each_kind_of_file_has_its_mistakes() -> None:
    assert {kind: len(mistakes(kind)) for kind in CHECKED_BY} == {"gateway": 25, "site": 6, "hub": 6}


@pytest.mark.parametrize("file", mistakes(*CHECKED_BY), ids=lambda f: f.stem)
def test_it_says_what_is_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_there()
    code = CHECKED_BY[file.name.partition("-")[0]](file)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert said(err) == expected(file)
    assert expected(file), "a file that is in order does not belong here"
    for line in err.splitlines():
        assert PROBLEM.fullmatch(line), line
    assert everything_there() == before


@pytest.mark.parametrize(("command", "name"), [
    (("controller.daemon", "run"), "gateway-everything.toml"),
    (("simulators", "serve"), "site-everything.toml"),
    (("hub", "run"), "hub-everything.toml"),
])
def test_what_is_wrong_is_not_started(command: tuple[str, str], name: str) -> None:
    before = everything_there()
    done = subprocess.run([sys.executable, "-m", *command, str(BROKEN / name)],
                          capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout, said(done.stderr)) == (2, "", expected(BROKEN / name))
    assert everything_there() == before


def test_several_files_are_checked_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    good = ROOT / "configs" / "demo" / "gateway.toml"
    bad = [BROKEN / "gateway-wrong-unit.toml", BROKEN / "gateway-ttyusb.toml"]
    with pytest.raises(SystemExit) as ended:
        controller.daemon.main(["check", str(bad[0]), str(good), str(bad[1])])
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert said(err) == sorted(expected(bad[0]) + expected(bad[1]))
    assert f"{good}: 正确 ok: gw-jinshui" in out


@pytest.mark.parametrize("name", ["gateway.toml", "gateway-2.toml", "gateway-3.toml"])
def test_the_demo_is_in_order(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        controller.daemon.main(["check", str(ROOT / "configs" / "demo" / name)])
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(("setting", "key"), [
    ("mqtt.port=x", "mqtt.port"), ("mqtt.prot=1884", "mqtt.prot"), ("bus[line-7].baud=19200", "--set bus[line-7].baud"),
    ("nonsense", "--set"),
])
def test_an_override_is_checked_like_the_file(setting: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        controller.daemon.main(["check", str(ROOT / "configs" / "demo" / "gateway.toml"), "--set", setting])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert f": {key} = " in line
