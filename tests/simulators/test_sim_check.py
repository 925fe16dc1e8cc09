"""`siren-sim check` on several files: each is told, a bad one hides none, and the exit code is that of the worst."""

from pathlib import Path

import pytest

from simulators.__main__ import main

PROFILES = Path(__file__).parents[2] / "configs" / "profiles"
GOOD = PROFILES / "waveshare_rtu_relay.toml"


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A quiet test that sounds."""
    text = (PROFILES / "federal_signal_informer.toml").read_text(encoding="utf-8")
    begin, end = text.index("quiet_test = ["), text.index("]\n", text.index("quiet_test = ["))
    sounding = text[text.index("activate = [") + len("activate = [") : text.index("]\n", text.index("activate = ["))]
    path = tmp_path / "failing.toml"
    path.write_text(text[:begin] + "quiet_test = [" + sounding + text[end:], encoding="utf-8")
    return path


@pytest.fixture
def invalid(tmp_path: Path) -> Path:
    path = tmp_path / "invalid.toml"
    path.write_text(GOOD.read_text(encoding="utf-8").replace("poll_ms", "pol_ms"), encoding="utf-8")
    return path


def test_every_profile_there_is_passes(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(PROFILES.glob("*.toml"))
    assert main(["check", *map(str, files)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line for line in lines if line.endswith(".toml")] == list(map(str, files))
    assert lines[-1] == f"{len(files)} files: {len(files)} ok, 0 fail, 0 invalid"


def test_one_file_has_its_heading_and_no_sum(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(GOOD)]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading == str(GOOD)
    assert {row[:4] for row in rows} == {"ok  "}


def test_a_quiet_test_that_sounds_fails(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(failing)]) == 1
    assert any(line.startswith("FAIL  quiet_test") and line.endswith("sounding")
               for line in capsys.readouterr().out.splitlines())


def test_bad_files_hide_nobody_and_the_worst_decides(
        failing: Path, invalid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "gone.toml"
    assert main(["check", str(invalid), str(failing), str(gone), str(GOOD)]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [lines.index(str(p)) for p in (invalid, failing, gone, GOOD)] == sorted(
        lines.index(str(p)) for p in (invalid, failing, gone, GOOD)), "each with its heading, in the order given"
    assert lines[-4:] == ["4 files: 1 ok, 1 fail, 2 invalid", f"  {failing}", f"  {invalid}", f"  {gone}"]
    assert lines.count("INVALID") == 2
    assert "unknown key; did you mean 'poll_ms'?" in err
    assert f"{gone}: file = 'missing'" in err
    assert main(["check", str(failing), str(GOOD)]) == 1
