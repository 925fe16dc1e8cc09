"""Two persons on two machines: the commands of docs/orders.md, word for word, until the sirens sound."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import trust
from hub import prepared
from simulators import promises
from simulators.city import ROOT, City, mosquitto
from tests.system.shortened import WAIT_S, configs

pytestmark = pytest.mark.system

DISTRICT = "41/01/03"
"""Of the one gateway that stands here; its signal is a short one."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    if mosquitto() is None:
        pytest.skip("NO MOSQUITTO: two steps through a real broker were NOT tried")
    with City(["gateway-3.toml"], configs(tmp_path_factory.mktemp("two")), broker="mosquitto") as city:
        yield city


def page() -> list[str]:
    """What the page tells a new user to type."""
    text = (ROOT / "docs/orders.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(mkdir .*?)```", text, re.DOTALL)
    return [line.replace("demo-air-raid", "short-once").replace("41/01/05", DISTRICT) for line in block.splitlines()]


@pytest.fixture(scope="module")
def machines(city: City, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "configs").symlink_to(city.demo.parent)
    return folder


def typed(city: City, machines: Path, line: str, *more: str) -> "subprocess.CompletedProcess[str]":
    command = shlex.split(line)
    if command[0] == "siren-hub":
        command = [sys.executable, "-m", "hub", *command[1:], *more, *city.hub_arguments]
    return subprocess.run(command, cwd=machines, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=WAIT_S)


def test_two_persons_sign_in_two_folders_and_the_city_sounds(city: City, machines: Path) -> None:
    mkdir, draft, first, copy, second, send = page()
    assert typed(city, machines, mkdir).returncode == 0
    drafted = typed(city, machines, draft)
    assert drafted.returncode == 0, drafted.stderr
    for part in ("实战 LIVE", "short-once", DISTRICT, "gw-erqi", "s-301 s-302", "2 台"):
        assert part in drafted.stdout
    asked = typed(city, machines, first)
    assert asked.returncode == 2, "a live order is typed"
    one = typed(city, machines, first, "--yes")
    assert (one.returncode, "Li Wei" in one.stdout, "too-few-persons" in one.stdout) == (0, True, True), one.stderr
    assert typed(city, machines, copy).returncode == 0
    early = typed(city, machines, send, "--yes")
    assert (early.returncode, "too-few-persons" in early.stderr) == (2, True), early.stdout
    two = typed(city, machines, second, "--yes")
    assert (two.returncode, "签名已够" in two.stdout) == (0, True), two.stderr
    assert city.orders() == []
    done = typed(city, machines, send, "--yes", "--json")
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["endings"], report["mode"]) == (0, {"finished": 2}, "live"), done.stderr
    (order,) = city.orders()
    file = prepared.read((machines / "zhang/order.json").read_bytes(), "f")
    assert order.body == file.body
    assert set(order.body.prepared or ()) == {"gw-erqi"}
    assert len(trust.peek(file.raw).kids) == 2
    sounded = {s.siren for s in promises.soundings(city.sound_log(), city.configs)}
    assert sounded == {"s-301", "s-302"}
    assert {name: found for name, found in promises.judge(city.history()).items() if found} == {}
    assert not any(e.what == "targets-mismatch" for e in city.events())


def test_a_drill_that_was_prepared_for_other_sirens_is_warned_of_and_refused(city: City, machines: Path) -> None:
    """Somebody drafted it before a siren was moved; the file is whole, and the fleet is not as it was."""
    before = len(promises.soundings(city.sound_log(), city.configs))
    line = (f"siren-hub order draft sound --signal short-once --area {DISTRICT} --mode drill --out drill.json")
    assert typed(city, machines, line).returncode == 0
    found = prepared.read((machines / "drill.json").read_bytes(), "f")
    moved = {"gw-erqi": [s.model_copy(update={"area": "41/01/03/009/009"}) for s in found.file.sirens["gw-erqi"]]}
    (machines / "drill.json").write_text(prepared.text(prepared.draft(prepared.prepare(found.body, moved), moved)))
    signed = typed(city, machines, "siren-hub order sign drill.json --key configs/demo/keys/operator-1.jwk")
    assert signed.returncode == 0, signed.stderr
    assert "41/01/03/009/009" in signed.stdout
    sent = typed(city, machines, "siren-hub order send drill.json", "--json")
    assert "gw-erqi 与拟制时不符" in sent.stderr
    report = json.loads(sent.stdout.splitlines()[-1])
    assert (sent.returncode, report["endings"]) == (1, {"rejected": 2})
    assert "targets-mismatch" in sent.stderr
    assert len(promises.soundings(city.sound_log(), city.configs)) == before
    city.wait_for(lambda: any(e.what == "targets-mismatch" and e.urgent for e in city.events()), "the event")
