"""`sirenctl blackbox` and `sirenctl replay`: what a real sirend went through lives again, its death included."""

import datetime
import json
import os
import pwd
import signal
from pathlib import Path
from typing import Any

import pytest

from simulators.city import free_port
from tests.system.shortened import configs, run
from tests.system.test_daemon import RAISES, Sirend

pytestmark = pytest.mark.system


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the black box of two runs: one that ended in order, and one that a question killed."""
    folder = configs(tmp_path)
    for bug in ("", RAISES):
        (folder / "notify").unlink(missing_ok=True)
        sirend = Sirend(folder, f"mqtt.port={free_port()}", bug=bug)
        try:
            sirend.await_ready()
            asked = sirend.ask_status()
            assert asked.returncode == (2 if bug else 0)
            if not bug:
                (one,) = answers(run("controller.ctl", "--json", "--socket", str(sirend.socket), "blackbox").stdout)
                assert one["begins"] == "start"
        finally:
            sirend.end(signal.SIGTERM)
    return folder / "demo" / "run" / "gw-jinshui.db.blackbox"


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_lives_again_and_so_does_its_death(site: Path, tmp_path: Path) -> None:
    first, second = answers(run("controller.ctl", "--json", "blackbox", "--folder", str(site)).stdout)
    assert (first["torn"], second["torn"]) == (False, False)
    saved = tmp_path / "saved.gz"
    done = run("controller.ctl", "blackbox", "--folder", str(site), "-o", str(saved))
    assert done.stdout.startswith(f"{saved}: 2 段 segments"), done.stderr
    assert run("controller.ctl", "blackbox", "--folder", str(site), "-o", str(saved)).returncode == 2

    done = run("controller.ctl", "replay", str(saved), "--run", str(first["run"]))
    assert done.returncode == 0, done.stdout + done.stderr
    uid = os.getuid()
    assert f"进 in   ask 1 {uid} {pwd.getpwuid(uid).pw_name} status" in done.stdout
    assert "出 out  publish - to client 1" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("与当时一致 / all as it was then")
    # Half of it, however long it took; of one siren; and nothing but the comparison.
    steps = answers(run("controller.ctl", "--json", "replay", str(saved), "--run", str(first["run"])).stdout)[1:-1]
    instants = sorted({step["wall_us"] for step in steps})
    half_us = instants[len(instants) // 2 - 1]
    half = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=half_us)
    lines = answers(run("controller.ctl", "--json", "replay", str(saved), "--run", str(first["run"]),
                        "--until", half.isoformat(), "--only", "s-101").stdout)
    assert lines[-1]["steps"] == sum(step["wall_us"] <= half_us for step in steps) < first["moments"] == len(steps)
    assert all(line["inner"] for line in lines[1:-1])
    assert any("'s-101'" in said for line in lines[1:-1] for one in line["inner"] for said in one["does"])
    quiet = run("controller.ctl", "replay", str(saved), "--run", str(first["run"]), "--quiet").stdout
    assert len(quiet.splitlines()) == 2

    # The last run died of a bug that this program does not have.
    done = run("controller.ctl", "replay", str(saved), "--quiet")
    assert done.returncode == 1
    assert "崩溃 died: RuntimeError: a bug of ours" in done.stdout
    assert "NOT what it did then" in done.stdout
    last = answers(run("controller.ctl", "--json", "replay", str(saved)).stdout)[-1]
    assert (last["different"], last["first_different"]) == (1, last["steps"])


@pytest.mark.parametrize(("arguments", "said"), [
    (["blackbox", "--folder", "/nowhere"], "没有黑匣子 / no black box"),
    (["replay", "/nowhere.gz"], "No such file"),
    (["replay", "README.md"], "没有黑匣子 / no black box"),
])
def test_what_is_not_there_is_told(arguments: list[str], said: str) -> None:
    done = run("controller.ctl", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
