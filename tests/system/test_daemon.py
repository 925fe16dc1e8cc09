"""One sirend as a process: how it starts when nothing is there, how it ends, and what a bug of ours does to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from controller import wire
from controller.journal import verify
from controller.wire import Status
from simulators.city import ROOT, City, free_port, mosquitto
from tests.system.shortened import configs, run

pytestmark = pytest.mark.system

READY_S = 60.0
"""Two time-outs of the bus and Python's start, on a machine that others use."""
END_S = 30.0

ASKED = """
from controller import gateway
from controller.event import Ask
real = gateway.Gateway.handle
def handle(self, now_us, event):
    if isinstance(event, Ask) and event.verb == "status":
        {what}
    return real(self, now_us, event)
gateway.Gateway.handle = handle
"""
"""A bug in a machine, which anybody can set off by asking for the gateway's status."""
RAISES = ASKED.format(what='raise RuntimeError("a bug of ours")')
HANGS = ASKED.format(what="time.sleep(4)")
IN_A_LINK = """
from firmware_bridge import link
async def _open(self):
    raise RuntimeError("a bug of ours")
link.SerialLine.open = link.Endpoint.open = _open
"""
IN_THE_CLOCK = """
from controller import clock
def read(source):
    raise RuntimeError("a bug of ours")
clock.read = read
"""


def program(bug: str) -> list[str]:
    """A sirend with this bug."""
    return [sys.executable, "-c", f"import sys, time\n{bug}\nfrom controller import daemon\ndaemon.main()"]


class Sirend:
    """A process, and what it tells systemd and when."""

    def __init__(self, folder: Path, *settings: str, file: str = "gateway.toml", bug: str = "",
                 watchdog_us: int = 0) -> None:
        self.file = folder / "demo" / file
        self.log = folder / "sirend.log"
        self.told: list[tuple[float, str]] = []
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(str(folder / "notify"))
        self._door.settimeout(0.05)
        command = program(bug) if bug else [sys.executable, "-m", "controller.daemon"]
        overrides = [part for one in settings for part in ("--set", one)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        if watchdog_us:
            environment["WATCHDOG_USEC"] = str(watchdog_us)
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*command, "run", str(self.file), *overrides], cwd=ROOT, env=environment,
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def listen(self, until: Callable[[], bool], seconds: float, what: str) -> None:
        """Hear what it tells systemd until something holds."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n{self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            try:
                said = self._door.recv(4096).decode()
            except TimeoutError:
                continue
            self.told.append((time.monotonic(), said))

    def await_ready(self) -> None:
        self.listen(lambda: self.when("READY=1") != [], READY_S, "READY=1")

    def when(self, word: str) -> list[float]:
        return [at for at, said in self.told if word in said.splitlines()]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def ask_status(self) -> "subprocess.CompletedProcess[str]":
        return run("controller.ctl", "--json", "--socket", str(self.socket), "status")

    @property
    def socket(self) -> Path:
        return next(self.file.parent.glob("run/*.sock"), self.file.parent / "run" / "none.sock")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(END_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._door.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return configs(tmp_path)


@pytest.fixture
def nothing(folder: Path) -> Iterator[Sirend]:
    """No line, no broker."""
    sirend = Sirend(folder, f"mqtt.port={free_port()}")
    yield sirend
    sirend.end(signal.SIGKILL)


def test_with_nothing_there_it_is_ready_and_says_what_is_missing(nothing: Sirend) -> None:
    nothing.await_ready()
    events = [line for line in nothing.lines() if line["event"] == "event"]
    (down,) = [e for e in events if e["what"] == "link-down"]
    assert (down["subject"], down["urgent"]) == ("line-1", True)
    assert "No such file" in down["detail"]
    answer = json.loads(nothing.ask_status().stdout)
    assert answer["online"] is False
    assert answer["buses"]["line-1"]["state"] == "down"
    assert {d["state"] for d in answer["devices"].values()} == {"unlinked"}
    assert {s["state"] for s in answer["sirens"].values()} != {"IDLE"}, "nobody knows whether they are silent"


def test_a_line_that_comes_later_is_taken_up(folder: Path) -> None:
    sirend = Sirend(folder, f"mqtt.port={free_port()}")
    try:
        sirend.await_ready()
        with (folder / "hardware.log").open("w") as log:
            hardware = subprocess.Popen(
                [sys.executable, "-m", "simulators", "serve", str(folder / "demo" / "site.toml"),
                 "--set", "line[net-3].port=0"], cwd=ROOT, stdout=log, stderr=log)
        try:
            sirend.listen(lambda: any(line.get("what") == "link-up" for line in sirend.lines()), 30, "link-up")
            sirend.listen(lambda: _states(sirend) == {"online"}, 30, "devices that answer")
        finally:
            hardware.terminate()
            assert hardware.wait(END_S) == 0
    finally:
        assert sirend.end() == 0


def _states(sirend: Sirend) -> set[str]:
    return {d["state"] for d in json.loads(sirend.ask_status().stdout)["devices"].values()}


def test_an_endpoint_that_swallows_everything_keeps_nobody_waiting(folder: Path) -> None:
    """A TCP endpoint behind a firewall that neither takes nor refuses: here one whose queue is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        queued = [socket.socket() for _ in range(3)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        sirend = Sirend(folder, f"mqtt.port={free_port()}", f"bus[net-3].link=tcp:127.0.0.1:{deaf.getsockname()[1]}",
                        file="gateway-3.toml")
        try:
            sirend.await_ready()
        finally:
            assert sirend.end() == 0
            for one in queued:
                one.close()


def test_it_ends_in_order_and_leaves_nothing(nothing: Sirend) -> None:
    nothing.await_ready()
    door = nothing.socket
    assert door.is_socket()
    assert nothing.end() == 0
    assert not door.exists()
    assert verify(nothing.file.parent / "run" / "gw-jinshui.db") == []


def test_it_ends_in_order_from_when_its_door_is_there(folder: Path) -> None:
    """Also before it listens for that: else the door stays behind, and the end counts as a crash."""
    sirend = Sirend(folder, f"mqtt.port={free_port()}")
    while not sirend.socket.exists():
        assert sirend.process.poll() is None
    assert sirend.end() == 0
    assert not sirend.socket.exists()


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.45, 0.6, 0.8, 1.1])
def test_it_ends_while_it_starts(folder: Path, after_s: float) -> None:
    sirend = Sirend(folder, f"mqtt.port={free_port()}")
    time.sleep(after_s)  # whatever it is doing by then
    # Before it has a hand on the signal there is nothing to end in order.
    assert sirend.end() in (0, -signal.SIGTERM)
    assert list((folder / "demo").glob("run/*.sock")) == []
    assert "Traceback" not in sirend.log.read_text()


def test_a_second_one_is_kept_out(folder: Path) -> None:
    first = Sirend(folder, f"mqtt.port={free_port()}")
    try:
        first.await_ready()
        done = run("controller.daemon", "run", str(first.file))
        assert done.returncode == 1
        assert "another sirend listens there; end it first" in done.stderr
        assert "Traceback" not in done.stderr
        assert first.ask_status().returncode == 0
    finally:
        assert first.end() == 0


def test_a_journal_that_cannot_be_opened_keeps_nobody_from_being_ready(folder: Path) -> None:
    (folder / "demo" / "run").mkdir()
    (folder / "demo" / "run" / "gw-jinshui.db").mkdir()
    sirend = Sirend(folder, f"mqtt.port={free_port()}")
    try:
        sirend.await_ready()
        (told,) = [line for line in sirend.lines() if line["event"] == "journal"]
        assert told["level"] == "error"
        assert "gw-jinshui.db cannot be opened" in told["why"]
        sirend.listen(lambda: "NO-JOURNAL" in json.loads(sirend.ask_status().stdout)["modes"], 20, "NO-JOURNAL")
    finally:
        assert sirend.end() == 0


def test_a_bug_in_a_machine_ends_the_process_and_is_one_record_of_the_log(folder: Path) -> None:
    sirend = Sirend(folder, f"mqtt.port={free_port()}", bug=RAISES)
    try:
        sirend.await_ready()
        done = sirend.ask_status()
        assert done.returncode == 2
        assert "挂断" in done.stderr
        assert sirend.process.wait(END_S) == 1
    finally:
        sirend.end()
    assert_crashed(sirend)


@pytest.mark.parametrize("bug", [IN_A_LINK, IN_THE_CLOCK], ids=["link", "clock"])
def test_a_bug_in_a_shell_ends_the_process_as_well(folder: Path, bug: str) -> None:
    sirend = Sirend(folder, f"mqtt.port={free_port()}", bug=bug)
    try:
        assert sirend.process.wait(END_S) == 1
    finally:
        sirend.end(signal.SIGKILL)
    assert_crashed(sirend)


def assert_crashed(sirend: Sirend) -> None:
    (crash,) = [line for line in sirend.lines() if line["event"] == "crash"]
    assert crash["level"] == "critical"
    assert "Traceback" in crash["exception"]
    assert "RuntimeError: a bug of ours" in crash["exception"]


def test_a_gateway_that_crashed_is_lost_and_not_offline(tmp_path: Path) -> None:
    if mosquitto() is None:
        pytest.skip("NO MOSQUITTO: what a crash says to the hub was NOT tried")
    with City([], configs(tmp_path), broker="mosquitto") as city:
        command = [*program(RAISES), "run", str(city.demo / "gateway.toml"), "--set", f"mqtt.port={city.port}"]
        process = city.start("bug", command, notify=True)

        def statuses() -> list[str]:
            return [wire.decode(Status, payload).state for _, topic, payload in city.messages
                    if topic.endswith("/gw-jinshui/status")]

        city.wait_for(lambda: "online" in statuses(), "a status")
        run("controller.ctl", "--socket", str(city.demo / "run" / "gw-jinshui.sock"), "status")
        assert process.wait(END_S) == 1
        city.wait_for(lambda: statuses()[-1] == "lost", "the last word")
        assert "offline" not in statuses()


def test_a_loop_that_hangs_tells_systemd_nothing(folder: Path) -> None:
    sirend = Sirend(folder, f"mqtt.port={free_port()}", bug=HANGS, watchdog_us=1_500_000)
    try:
        sirend.await_ready()
        sirend.listen(lambda: len(sirend.when("WATCHDOG=1")) >= 3, 20, "three beats")
        beats = sirend.when("WATCHDOG=1")
        assert median(b - a for a, b in pairwise(beats)) < 3
        asked = time.monotonic()
        command = subprocess.Popen([sys.executable, "-m", "controller.ctl", "--socket", str(sirend.socket), "status"],
                                   cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sirend.listen(lambda: len(sirend.when("WATCHDOG=1")) >= 2 + len(beats)
                      and sirend.when("WATCHDOG=1")[-1] > asked + 4, 30, "beats after the hang")
        command.wait(END_S)
        beats = sirend.when("WATCHDOG=1")
        assert max(b - a for a, b in pairwise(beats)) > 3.5
    finally:
        assert sirend.end() == 0


