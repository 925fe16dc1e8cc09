"""`sirenctl record` on a running gateway: what it writes passes the checks of tests/captures as it is."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.profile import load
from simulators.city import ROOT, City
from tests.captures import test_captures
from tests.system.shortened import ctl, door, run

pytestmark = pytest.mark.system

USER = pwd.getpwuid(os.getuid()).pw_name
OURS, OTHERS = "gw-jinshui", "gw-erqi"
MODELS = {"waveshare_rtu_relay": "relay-1 (unit 1)", "generic_input_module": "meter-1 (unit 2)",
          "qdy30a": "gauge-1 (unit 3)", "generic_coil_board": "coil-1 (unit 4)"}


@pytest.fixture(scope="module")
def city() -> Iterator[City]:
    with City(["gateway.toml", "gateway-3.toml"], broker="none",
              settings={"gateway.toml": [f"local.technicians.{USER}=Li Ming"]}) as city:
        yield city


def held(path: Path) -> dict[str, Any]:
    """A file as it would be among the captures."""
    capture = tomllib.loads(path.read_text(encoding="utf-8"))
    test_captures.test_a_capture_says_whose_it_is(capture)
    test_captures.check_frames(load(ROOT / "configs" / "profiles" / f"{capture['profile']}.toml"), capture)
    return capture


def started(city: City, gateway: str, *arguments: str) -> "subprocess.Popen[str]":
    def heeding() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen([sys.executable, "-m", "controller.ctl", "--socket", str(door(city, gateway)), "--json",
                             "record", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=heeding)


def begun(recorder: "subprocess.Popen[str]") -> dict[str, Any]:
    """Its first line: from now on it records."""
    assert recorder.stdout is not None
    begin: dict[str, Any] = json.loads(recorder.stdout.readline())
    return begin


def test_some_seconds_of_a_line_with_a_sounding_in_it(city: City, tmp_path: Path) -> None:
    recorder = started(city, OURS, "line-1", "--seconds", "9", "-o", str(tmp_path / "line.toml"))
    begin = begun(recorder)
    assert (begin["kind"], begin["gateway"], begin["bus"]) == ("recording", OURS, "line-1")
    assert ctl(city, OURS, "activate", "s-102", "--seconds", "5", "--maintenance").returncode == 0
    out, err = recorder.communicate(timeout=60)
    assert (recorder.returncode, err) == (0, "")
    answer = json.loads(out)
    assert {unit: had["device"] for unit, had in answer["units"].items()} == {
        "1": "relay-1", "2": "meter-1", "3": "gauge-1", "4": "coil-1"}
    assert all(had["answered"] >= 3 for had in answer["units"].values())
    files = {one["profile"]: Path(one["file"]) for one in answer["files"]}
    assert files == {model: tmp_path / f"line-{model}.toml" for model in MODELS}
    for model, path in files.items():
        capture = held(path)
        where, _, when = capture["source"].partition(", recorded ")
        assert where == f"{MODELS[model]} on line-1 (serial:run/line-1) of gw-jinshui"
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT.*Z", when)
    board = held(files["waveshare_rtu_relay"])["exchange"]
    assert any("pulse_2" in one.get("writes", {}) for one in board), "the lease that sounded it"
    assert {"relay_2": True}.items() <= {k: v for one in board for k, v in one.get("values", {}).items() if v}.items()
    currents = [one["values"]["current_2"] for one in held(files["generic_input_module"])["exchange"]
                if "current_2" in one.get("values", {})]
    assert max(currents) == pytest.approx(8.1, abs=0.2)
    assert min(currents) == 0
    frames = [(one["request"], one["reply"]) for one in board]
    assert len(frames) == len(set(frames)), "what was said again is there once"


def test_over_tcp_into_one_named_file(city: City, tmp_path: Path) -> None:
    done = ctl(city, OTHERS, "record", "net-3", "--seconds", "3", "--unit", "2", "-o", str(tmp_path / "head.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "head-302" in done.stdout
    assert "head-301" not in done.stdout
    capture = held(tmp_path / "head.toml")
    assert {one["request"].split()[6] for one in capture["exchange"]} == {"02"}
    again = ctl(city, OTHERS, "record", "net-3", "--seconds", "3", "--unit", "2", "-o", str(tmp_path / "head.toml"))
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already" in again.stderr


def test_an_interrupt_keeps_what_there_is(city: City, tmp_path: Path) -> None:
    recorder = started(city, OTHERS, "net-3", "--seconds", "600", "-o", str(tmp_path / "head.toml"))
    begun(recorder)
    frames = city.folder / "frames.jsonl"
    before = frames.read_text().count('"net-3"')
    city.wait_for(lambda: frames.read_text().count('"net-3"') > before + 12, "polls of the line")
    recorder.send_signal(signal.SIGINT)
    out, err = recorder.communicate(timeout=60)
    assert (recorder.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["files"][0]["exchanges"] == len(held(tmp_path / "head.toml")["exchange"])


def test_a_gateway_that_ends_meanwhile_is_told_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    with City(["gateway-3.toml"], broker="none") as city:
        recorder = started(city, OTHERS, "net-3", "--seconds", "600", "-o", str(tmp_path / "head.toml"))
        begun(recorder)
        frames = city.folder / "frames.jsonl"
        before = frames.read_text().count('"net-3"')
        city.wait_for(lambda: frames.read_text().count('"net-3"') > before + 12, "polls of the line")
        city.stop("gateway-3.toml")
        out, _ = recorder.communicate(timeout=60)
    answer = json.loads(out.splitlines()[-1])
    assert recorder.returncode == 1
    assert "what came after that is lost" in answer["error"]
    assert held(tmp_path / "head.toml")["exchange"]


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("line-7",), 1, "没有此线路 / no such line; lines: line-1"),
    (("line-1", "--unit", "77"), 2, "this line has no such device; units: 1, 2, 3, 4"),
    (("line-1", "--seconds", "0"), 2, "--seconds: 1 … 3600"),
    (("line-1", "-o", "/nowhere/at/all.toml"), 2, "没有此目录 / no such folder"),
    (("line-1", "--profiles", "nowhere"), 2, "nowhere"),
])
def test_what_cannot_be_recorded_is_told_at_once(city: City, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = ctl(city, OURS, "record", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert list(ROOT.glob(f"{OURS}*.toml")) == []


def test_a_line_on_which_nobody_answers_gives_no_file(city: City, tmp_path: Path) -> None:
    unplug = ("fault", "--control", str(city.demo / "run" / "site.sock"), "net-3", "unplug")
    assert run("simulators", *unplug).returncode == 0
    try:
        city.wait_for(lambda: "down" in ctl(city, OTHERS, "--json", "status").stdout, "the line to be down")
        done = ctl(city, OTHERS, "record", "net-3", "--seconds", "1", "-o", str(tmp_path / "head.toml"))
    finally:
        run("simulators", *unplug, "off")
    assert done.returncode == 1
    assert "没有可用的应答 / no answer that proves anything" in done.stderr
    assert list(tmp_path.iterdir()) == []


BEGIN = {"kind": "recording", "gateway": "gw", "bus": "b", "link": "serial:x", "state": "idle", "wall": "2026-11-22",
         "profiles": str(ROOT / "configs" / "profiles"), "devices": {"3": {"device": "g", "profile": "qdy30a"}}}


def recorded_from(folder: Path, said: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    """What comes of a door that says so much and then hangs up."""
    path = folder / "door.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))

        server = threading.Thread(target=serve)
        server.start()
        done = run("controller.ctl", "--socket", str(path), "record", "b", "-o", str(folder / "g.toml"))
        server.join()
    return done


def test_a_line_that_is_not_modbus_is_told_at_once(tmp_path: Path) -> None:
    plain = next(p.stem for p in sorted((ROOT / "configs" / "profiles").glob("*.toml"))
                 if 'protocol = "plain"' in p.read_text(encoding="utf-8"))
    done = recorded_from(tmp_path, [BEGIN | {"devices": {"3": {"device": "voice", "profile": plain}}}])
    assert done.returncode == 1
    assert f"{plain} does not speak Modbus" in done.stderr


def test_who_does_not_read_is_told_that_frames_were_lost(tmp_path: Path) -> None:
    """A gateway hangs up on a slow recorder."""
    done = recorded_from(tmp_path, [
        BEGIN, {"kind": "frame", "ours": True, "hex": "03 03 00 02 00 03 a5 e9"},
        {"kind": "frame", "ours": False, "hex": "03 03 06 00 07 00 03 00 34 7c 02"},
        {"kind": "believed", "unit": 3, "values": {"decimals": 3}}])
    assert done.returncode == 1
    assert "此后的帧没有录到 / what came after that is lost" in done.stderr
    assert held(tmp_path / "g.toml")["exchange"][0]["values"] == {"decimals": 3}
