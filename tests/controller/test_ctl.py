"""sirenctl against a running daemon with hardware behind it, and no broker: what a technician sees at the cabinet."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.site import Target
from controller.wire import Action, Mode
from hub import config as hub_config
from hub import prepared
from hub.draft import Wish, draft
from simulators import promises
from simulators.city import ROOT, City
from simulators.promises import Sounding
from tests.system.shortened import configs, ctl, door, run

pytestmark = pytest.mark.system

USER = pwd.getpwuid(os.getuid()).pw_name
OURS, OTHERS = "gw-jinshui", "gw-erqi"
"""We are a technician of the one, and nobody at the other."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with City(["gateway.toml", "gateway-3.toml"], configs(tmp_path_factory.mktemp("ctl")), broker="none",
              settings={"gateway.toml": [f"local.technicians.{USER}=Li Ming"]}) as city:
        yield city


def answers(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def soundings(city: City) -> list[Sounding]:
    return promises.soundings(city.sound_log(), city.configs)


def started(city: City, *arguments: str) -> "subprocess.Popen[str]":
    # A test that runs in somebody's background has interrupts ignored, and so would its children.
    def heeding() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen([sys.executable, "-m", "controller.ctl", "--socket", str(door(city, OURS)), "--json",
                             *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=heeding)


def test_status_shows_everything(city: City) -> None:
    done = ctl(city, OURS, "status")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (OURS, "41/01/05/001/001", "assumed", "CLOCK-ASSUMED", "offline", "line-1", "relay-1",
                 "waveshare_rtu_relay", "s-101", "东风路", "在线 online", "静默 IDLE"):
        assert word in done.stdout, word
    (answer,) = answers(ctl(city, OURS, "--json", "status"))
    assert answer["last"] is True
    assert answer["gateway"] == OURS
    assert set(answer["sirens"]) == {"s-101", "s-102", "s-103"}
    assert answer["devices"]["gauge-1"]["state"] == "online"


def test_a_device_is_read_now(city: City) -> None:
    done = ctl(city, OURS, "read", "gauge-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "good" in done.stdout
    (answer,) = answers(ctl(city, OURS, "--json", "read", "gauge-1", "level"))
    (row,) = answer["points"]
    assert (row["point"], row["quality"]) == ("level", "good")
    assert isinstance(row["value"], float)
    assert row["age_s"] < 5


@pytest.mark.parametrize(("arguments", "said"), [
    (("read", "gauge-7"), "没有此设备 / no such device; devices: relay-1, meter-1, gauge-1, coil-1"),
    (("read", "gauge-1", "depth"), "没有此点 / no such point; points: "),
])
def test_what_is_not_there_cannot_be_read(city: City, arguments: tuple[str, ...], said: str) -> None:
    done = ctl(city, OURS, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    done = ctl(city, OURS, "--json", *arguments)
    assert done.returncode == 1
    assert said in answers(done)[-1]["error"]


def test_a_technician_sounds_for_three_seconds_and_who_watches_sees_it(city: City) -> None:
    watch = started(city, "watch")
    assert watch.stdout is not None
    assert watch.stdout.readline(), "it is in when the first state of a device comes"
    before = len(soundings(city))
    done = ctl(city, OURS, "--json", "activate", "s-102")
    assert done.returncode == 0, done.stdout
    stages = [a["stage"] for a in answers(done)]
    assert (stages[0], stages[-1]) == ("received", "finished")
    assert "sensed" in stages
    assert answers(done)[-1]["evidence"]["sensed"] == 1
    (mine,) = soundings(city)[before:]
    assert mine.siren == "s-102"
    assert mine.off_wall_us is not None
    # (A machine may stall for some seconds; how exact an edge is, is measured by `bench start`.)
    assert 2.5e6 < mine.off_wall_us - mine.on_wall_us < 8e6
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=60)
    assert (watch.returncode, err) == (130, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {"started", "sensed", "finished"} <= {a["stage"] for a in lines if a["kind"] == "progress"}
    assert ("local-activate", "s-102", "Li Ming") in {
        (a["what"], a.get("subject"), a.get("detail")) for a in lines if a["kind"] == "notice"}
    assert {"SOUNDING", "IDLE"} <= {a["state"] for a in lines if a["kind"] == "changed" and a["id"] == "s-102"}


def test_anybody_stops_what_sounds(city: City) -> None:
    before = len(soundings(city))
    long = started(city, "activate", "s-101", "--seconds", "15", "--maintenance")
    city.wait_for(lambda: len(soundings(city)) > before, "the sound")
    done = ctl(city, OURS, "stop", "s-101")
    assert (done.returncode, done.stderr) == (0, "")
    assert "完成 finished" in done.stdout
    out, _ = long.communicate(timeout=60)
    assert (long.returncode, json.loads(out.splitlines()[-1])["stage"]) == (1, "stopped")
    (mine,) = soundings(city)[before:]
    assert mine.off_wall_us is not None
    assert mine.off_wall_us - mine.on_wall_us < 10e6


def test_a_stop_where_nothing_sounds_is_no_failure(city: City) -> None:
    done = ctl(city, OTHERS, "stop", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("完成 finished  nothing sounded") == 2


def test_a_quiet_test_makes_no_sound(city: City) -> None:
    before = len(soundings(city))
    done = ctl(city, OURS, "--json", "quiet-test", "s-102")
    assert (done.returncode, answers(done)[-1]["stage"]) == (0, "finished"), done.stdout
    assert len(soundings(city)) == before


@pytest.mark.parametrize(("gateway", "arguments", "reason", "said"), [
    (OTHERS, ("activate", "s-301"), "not-permitted", "只有授权的技术员可以这样做 / only a technician"),
    (OTHERS, ("quiet-test", "s-301"), "not-permitted", "只有授权的技术员可以这样做 / only a technician"),
    (OURS, ("activate", "s-102", "--seconds", "4"), "too-long", "at most 3 s"),
    (OURS, ("activate", "s-102", "--seconds", "16", "--maintenance"), "too-long", "under maintenance 15 s"),
    (OURS, ("activate", "s-999"), "no-target", "本网关没有这个警报器 / this gateway has no such siren"),
    (OURS, ("stop", "s-999"), "no-target", "本网关没有这个警报器 / this gateway has no such siren"),
])
def test_what_is_not_allowed_is_refused_with_its_reason(
    city: City, gateway: str, arguments: tuple[str, ...], reason: str, said: str,
) -> None:
    before = len(soundings(city))
    done = ctl(city, gateway, "--json", *arguments)
    (answer,) = answers(done)
    assert (done.returncode, answer["stage"], answer["reason"]) == (1, "rejected", reason)
    assert said in answer["text"]
    done = ctl(city, gateway, *arguments)
    assert done.returncode == 1
    assert "拒绝 rejected" in done.stdout
    assert reason in done.stdout
    assert said in done.stdout
    assert len(soundings(city)) == before


def test_a_signed_order_on_a_stick_is_carried_out_once(city: City, tmp_path: Path) -> None:
    file, before = tmp_path / "order.json", len(soundings(city))
    # Drafted where there was a broker, for the sirens that this gateway told of itself.
    gateway = next(c for c in city.configs if c.id == OTHERS)
    wish = Wish(Action.SOUND, Mode.DRILL, "41/01/03", "short-once")
    plain = draft(wish, hub_config.load(city.demo / "hub.toml"), "d" * 32, time.time_ns() // 1000)
    sirens = {OTHERS: [Target(one.id, gateway.area_of(one), one.layer) for one in gateway.spec.siren]}
    file.write_text(prepared.text(prepared.draft(prepared.prepare(plain, sirens), sirens)))
    unsigned = ctl(city, OTHERS, "--json", "order", str(file))
    assert (unsigned.returncode, answers(unsigned)[-1]["reason"]) == (1, "malformed")
    key = str(city.demo / "keys/operator-1.jwk")
    signed = run("hub", "order", "sign", str(file), "--key", key, *city.hub_arguments)
    assert signed.returncode == 0, signed.stderr
    done = ctl(city, OTHERS, "--json", "order", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {a["siren"]: a["stage"] for a in answers(done) if "siren" in a}
    assert ends == {"s-301": "finished", "s-302": "finished"}
    assert len(soundings(city)) == before + 2
    again = ctl(city, OTHERS, "order", str(file))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("完成 finished") == 2
    assert len(soundings(city)) == before + 2


def test_a_file_that_is_no_order(city: City, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"payload": "e30", "signatures": []}')
    done = ctl(city, OURS, "--json", "order", str(file))
    assert (done.returncode, answers(done)[-1]["reason"]) == (1, "malformed")
    done = ctl(city, OURS, "order", str(tmp_path / "nothing.json"))
    assert done.returncode == 2
    assert "nothing.json" in done.stderr


def test_a_verb_that_there_is_not_is_answered(city: City) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(door(city, OURS)))
        raw.sendall(b'{"verb": "dance"}\n')
        answer = json.loads(raw.makefile().readline())
    assert answer == {"error": "没有此命令 / no such verb", "last": True}


def test_nobody_at_the_door(tmp_path: Path) -> None:
    nowhere = tmp_path / "sirend.sock"
    done = run("controller.ctl", "--socket", str(nowhere), "status")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(nowhere) in done.stderr
    assert "sirend 在运行吗？/ is sirend running?" in done.stderr
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(nowhere))  # what a killed daemon leaves: a name at which nobody listens
        done = run("controller.ctl", "--socket", str(nowhere), "status")
    assert done.returncode == 2
    assert "is sirend running?" in done.stderr


def test_no_door_is_named_and_none_is_found(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "controller.ctl", "status"], capture_output=True, text=True,
                          cwd=tmp_path, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT), "SIREN_SOCKET": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert "找不到网关的本地接口；先启动 sirend，或用 --socket 指明 / no gateway's door found" in done.stderr


def test_a_line_is_shown_with_its_use_its_errors_and_its_frames(city: City) -> None:
    city.wait_for(lambda: answers(ctl(city, OURS, "--json", "bus", "line-1"))[0]["use"] is not None, "a second of use")
    done = ctl(city, OURS, "bus", "line-1")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("使用率 use", "% (近 last", "无应答 silent", "乱码 garbled 0", "拒绝 refused", "迟到 late",
                 "重复 early", "外来 foreign 0", "应答时间 turnaround, ms", "<=50", "最近帧 Last frames", "-> 0",
                 "<- 0", "unit 2: reads"):
        assert word in done.stdout, word
    (answer,) = answers(ctl(city, OURS, "--json", "bus", "line-1"))
    figures = answer["figures"]
    assert figures["silent"] <= figures["late"] + 1, "on a machine that stalls an answer may be late, and none is lost"
    assert figures["answered"] > 20 * figures["silent"]
    assert 0.1 < answer["use"]["share"] <= 0.95, "four units that are polled at 9600 baud"
    assert answer["use"]["over_s"] <= 61
    assert sum(answer["turnaround_ms"]["answers"]["3"]) > 0


def test_a_tag_outlives_a_killed_daemon_and_its_journal(tmp_path: Path) -> None:
    with City(["gateway.toml"], configs(tmp_path), broker="none",
              settings={"gateway.toml": [f"local.technicians.{USER}=Li Ming"]}) as alone:
        done = ctl(alone, OURS, "tag", "s-102", "--reason", "换喇叭")
        assert (done.returncode, done.stderr) == (0, "")
        assert "挂牌 tag Li Ming" in done.stdout
        alone.stop("gateway.toml", signal.SIGKILL)
        for lost in ("db", "db-wal", "db-shm"):
            (alone.demo / "run" / f"{OURS}.{lost}").unlink()
        alone.start_gateway("gateway.toml")
        done = ctl(alone, OURS, "status")
        assert "已锁定 locked out: 挂牌 tag Li Ming" in done.stdout
        assert ctl(alone, OURS, "activate", "s-102").returncode == 1
        assert ctl(alone, OURS, "stop", "s-102").returncode == 0
        done = ctl(alone, OURS, "untag", "s-102")
        assert (done.returncode, done.stderr) == (0, "")
        assert "无锁定 free" in done.stdout
        done = ctl(alone, OURS, "untag", "s-102")
        assert (done.returncode, done.stdout) == (1, "")
        assert "没有挂牌 / it bears no tag" in done.stderr
        assert ctl(alone, OURS, "activate", "s-102").returncode == 0
