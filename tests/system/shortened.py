"""The demo's configuration with signals of seconds beside the real ones; and how to run what a person would type."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from simulators.city import ROOT, City, configs_with

WAIT_S = 60


def configs(folder: Path) -> Path:
    """A copy of `configs` in `folder` whose gateways and hub know the signals of short.toml as well."""
    return configs_with(folder, Path(__file__).with_name("short.toml"))


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=ROOT,
                          timeout=WAIT_S, stdin=subprocess.DEVNULL)


def ctl(city: City, gateway: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sirenctl` at the door of one gateway of a city."""
    return run("controller.ctl", "--socket", str(door(city, gateway)), *arguments)


def door(city: City, gateway: str) -> Path:
    return city.demo / "run" / f"{gateway}.sock"


def status(city: City, gateway: str) -> dict[str, Any]:
    done = ctl(city, gateway, "--json", "status")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer
