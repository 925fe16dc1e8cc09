"""`sirenctl probe` as a technician runs it: on a pty at 9600, an RTU tunnel and Modbus TCP, against siren-sim's log."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulators.city import ROOT, City
from tests.system.shortened import run

pytestmark = pytest.mark.system

ANYBODY = 4
"""An address at which a model of these profiles answers whoever it is."""
UNITS = {1: "waveshare_rtu_relay", 2: "qdy30a", 3: "generic_coil_board", ANYBODY: "waveshare_rtu_relay"}
MODELS = {*UNITS.values(), "qdy30a_length", "dyp_ultrasonic", "evikon_ek61"}
START_S = 60


@dataclass(frozen=True)
class Field:
    """A running siren-sim, and where its lines are."""

    links: dict[str, str]
    frames: Path
    profiles: Path

    def asked(self, line: str) -> list[dict[str, Any]]:
        seen = [json.loads(text) for text in self.frames.read_text().splitlines()]
        return [frame for frame in seen if frame["line"] == line]

    def probe(self, line: str, *more: str) -> "subprocess.CompletedProcess[str]":
        return run("controller.ctl", "--json", "--socket", str(self.frames.parent / "no.sock"), "probe",
                   self.links[line], "--profiles", str(self.profiles), *more)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("probe")
    profiles = folder / "profiles"
    profiles.mkdir()
    for model in MODELS:
        path = ROOT / "configs" / "profiles" / f"{model}.toml"
        (profiles / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    text = (profiles / "dyp_ultrasonic.toml").read_text(encoding="utf-8")
    assert "[line]" not in text
    (profiles / "dyp_ultrasonic.toml").write_text(
        text.replace("[points]", f"[line]\nwildcards = [{ANYBODY}]\n\n[points]", 1), encoding="utf-8")
    site = folder / "site.toml"
    site.write_text('[site]\nid = "probed"\nprofiles = "profiles"\n' + "".join(
        f'[[line]]\nid = "{line}"\nkind = "{kind}"\n{where}\n' + "".join(
            f'[[unit]]\nid = "{line}-{unit}"\nline = "{line}"\nunit = {unit}\nprofile = "{model}"\n'
            for unit, model in UNITS.items())
        for line, kind, where in (("wire", "rtu", 'path = "wire"\nstrict = true'), ("tunnel", "rtu-tcp", "port = 0"),
                                  ("net", "tcp", "port = 0"))), encoding="utf-8")
    frames, log = folder / "frames.jsonl", folder / "site.log"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "simulators", "serve", str(site), "--frames", str(frames)],
                                   cwd=ROOT, stdout=subprocess.PIPE, stderr=out, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready "), log.read_text()
        yield Field(dict(re.findall(r"(\w+)=(\S+)", ready)), frames, profiles)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


@pytest.mark.parametrize("line", ["wire", "tunnel", "net"])
def test_models_are_named_and_nothing_is_written(field: Field, line: str) -> None:
    done = field.probe(line, "--units", "1-5")
    assert (done.returncode, done.stderr) == (0, "")
    *found, last = map(json.loads, done.stdout.splitlines())
    assert {one["unit"]: one["fits"] for one in found} == {
        1: ["waveshare_rtu_relay"], 2: ["qdy30a", "qdy30a_length"], 3: []}
    assert last == {"link": field.links[line], "asked": [1, 2, 3, 5], "left_out": [ANYBODY], "found": 3, "last": True}
    asked = field.asked(line)
    assert {frame["function"] for frame in asked} <= {1, 2, 3, 4}, "it only reads"
    assert {frame["unit"] for frame in asked} == {1, 2, 3, 5}, "at an address where anybody answers nobody is asked"


def test_what_a_person_sees(field: Field) -> None:
    done = run("controller.ctl", "--socket", str(field.frames.parent / "no.sock"), "probe", field.links["net"],
               "--profiles", str(field.profiles), "--units", "1-2,4")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines == [
        f"线路 Line  {field.links['net']}",
        "先听 listens 2 s，再读 then reads units 1-2",
        "1  waveshare_rtu_relay  (version = 200)",
        "2  qdy30a | qdy30a_length  (decimals = 3)",
        "读不出是哪一种，看铭牌 / cannot be told apart by reading: see the plate",
        "未问 not asked  4：同型单元皆应答 / all units of a model answer",
        "找到 found 2；其余无应答 / the others are silent",
    ]


def test_nobody_there_is_a_failure_with_its_remedy(field: Field) -> None:
    done = field.probe("net", "--units", "77")
    assert done.returncode == 1
    (last,) = map(json.loads, done.stdout.splitlines())
    assert (last["found"], last["asked"]) == (0, [77])
    assert "无应答 / nobody answered: " in last["error"]
    assert "--baud and --parity" in last["error"]
    done = run("controller.ctl", "--json", "probe", f"serial:{field.frames.parent}/nothing", "--profiles",
               str(field.profiles))
    assert done.returncode == 1
    assert "No such file" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(("arguments", "said"), [
    (("tcp:127.0.0.1:9", "--units", "0-3"), "--units '0-3': 1 … 247"),
    (("tcp:127.0.0.1:9", "--units", "all"), "--units 'all': 例如 / say 1-32 or 1,3,7-9"),
    (("tcp:127.0.0.1:9", "--profiles", "nowhere"), "nowhere"),
    (("serial:/dev/ttyUSB0",), "ttyUSB numbers change at replugging; use /dev/serial/by-path/..."),
    (("line-7", "--config", "configs/demo/gateway.toml"), "no such line 'line-7'; lines: line-1"),
    (("line-1", "--config", "nowhere.toml"), "nowhere.toml: file = 'missing'"),
])
def test_bad_arguments_are_told(arguments: tuple[str, ...], said: str) -> None:
    done = run("controller.ctl", "probe", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_line_with_another_master_is_refused_before_a_word_of_ours(field: Field) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    over = threading.Event()

    def talk() -> None:
        while not over.wait(0.3):
            os.write(master, b"\x01\x03\x00\x00\x00\x01\x84\x0a")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        done = run("controller.ctl", "probe", f"serial:{os.ttyname(slave)}", "--profiles", str(field.profiles))
    finally:
        over.set()
        talker.join()
    assert done.returncode == 1
    assert "it has a master" in done.stderr
    assert "先让该主站停止 / stop that master first" in done.stderr
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 100)
    os.close(master)
    os.close(slave)


def test_a_line_that_a_sirend_drives_is_refused_by_it_and_free_when_it_has_ended() -> None:
    with City(["gateway.toml", "gateway-3.toml"], broker="none") as city:
        config, other = str(city.demo / "gateway.toml"), str(city.demo / "run" / "gw-erqi.sock")
        by_id = run("controller.ctl", "probe", "line-1", "--config", config)
        by_link = run("controller.ctl", "probe", f"serial:{city.demo}/run/../run/line-1", "--config", config)
        tcp = run("controller.ctl", "--socket", other, "probe", f"tcp:127.0.0.1:{city.tcp_port}")
        for done, gateway in ((by_id, "gw-jinshui"), (by_link, "gw-jinshui"), (tcp, "gw-erqi")):
            assert (done.returncode, done.stdout) == (1, "")
            assert f"the sirend of {gateway} is the master of this line" in done.stderr
            assert "systemctl stop sirend.service" in done.stderr
            assert "this gateway carries out no order" in done.stderr
        # Asked at another gateway's door, the port itself is what refuses.
        done = run("controller.ctl", "--socket", other, "probe", f"serial:{city.demo}/run/line-1",
                   "--profiles", "configs/profiles")
        assert done.returncode == 1
        assert "线路被占用，停止使用它的程序 / another program has the line" in done.stderr
        city.stop("gateway.toml")
        done = run("controller.ctl", "--json", "probe", "line-1", "--config", config, "--units", "1-3")
        assert done.returncode == 0, done.stderr
        board, _, gauge, _ = map(json.loads, done.stdout.splitlines())
        assert "waveshare_rtu_relay" in board["fits"]
        assert {"qdy30a", "qdy30a_length"} <= set(gauge["fits"])
