"""What systemd hears, on a real datagram socket that stands in for it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.watchdog import Watchdog
from firmware_bridge.machine import MS, S


class Systemd:
    """The far end of NOTIFY_SOCKET."""

    def __init__(self, place: str) -> None:
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind("\0" + place[1:] if place.startswith("@") else place)
        self.door.settimeout(0.1)

    def heard(self) -> list[str]:
        out = []
        try:
            while True:
                out.append(self.door.recv(4096).decode())
        except TimeoutError:
            return out


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    place = str(tmp_path / "notify") if request.param == "path" else f"@siren-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    monkeypatch.setenv("WATCHDOG_USEC", str(9 * S))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    out = Systemd(place)
    yield out
    out.door.close()


def test_it_says_ready_how_it_goes_and_stopping(systemd: Systemd) -> None:
    dog = Watchdog()
    assert dog.ready("gw-7: 2 sirens")
    assert dog.status("sounding\nair-raid")
    assert dog.stopping()
    assert systemd.heard() == ["READY=1\nSTATUS=gw-7: 2 sirens", "STATUS=sounding air-raid", "STOPPING=1"]


def test_it_kicks_on_beats_and_only_as_often_as_needed(systemd: Systemd) -> None:
    dog = Watchdog()
    kicks = [at for at in range(0, 30 * S, 100 * MS) if dog.beat(at)]
    assert kicks == list(range(0, 30 * S, 3 * S))
    assert systemd.heard() == ["WATCHDOG=1"] * 10
    # No beat, no kick: a loop that hangs says nothing.
    assert systemd.heard() == []


def test_another_process_of_ours_does_not_kick(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert not Watchdog().beat(0)
    assert systemd.heard() == []


def test_without_a_watchdog_it_only_notifies(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    dog = Watchdog()
    assert not dog.beat(0)
    assert dog.ready()
    assert systemd.heard() == ["READY=1\nSTATUS="]


@pytest.mark.parametrize("usec", ["", "soon", "-5"])
def test_a_senseless_interval_is_none(usec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert Watchdog().interval_us is None


def test_without_systemd_every_call_is_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", str(9 * S))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Watchdog().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    dog = Watchdog()
    assert not dog.ready()
    assert not dog.beat(0)
    # A kick that did not arrive is tried again at the next beat.
    listening = Systemd(str(tmp_path / "nobody"))
    assert dog.beat(1 * S)
    assert listening.heard() == ["WATCHDOG=1"]
    listening.door.close()
