"""A sirend that crashes on what somebody asks: it is refused the third time, and three crashes lead to SAFE-MIN."""

import json
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.city import free_port
from tests.system.shortened import configs, run
from tests.system.test_daemon import END_S, Sirend

pytestmark = pytest.mark.system

USER = pwd.getpwuid(os.getuid()).pw_name
POISON = """
from controller import gateway
from controller.event import Ask
real = gateway.Gateway.handle
def handle(self, now_us, event):
    if isinstance(event, Ask) and event.verb == "read" and event.args.get("device", "").startswith("poison"):
        {what}
    return real(self, now_us, event)
gateway.Gateway.handle = handle
"""
"""A bug in a machine that an event from outside sets off."""
RAISES = POISON.format(what='raise RuntimeError("a bug of ours")')
DIES = POISON.format(what="__import__('os').kill(__import__('os').getpid(), 9)")


class Site:
    """One gateway's folder, and its daemons one after the other, as systemd would start them."""

    def __init__(self, folder: Path, bug: str) -> None:
        self.folder, self.bug, self.port = folder, bug, free_port()
        self.sirend = self.start()

    def start(self) -> Sirend:
        (self.folder / "notify").unlink(missing_ok=True)
        sirend = Sirend(self.folder, f"mqtt.port={self.port}", f"local.technicians.{USER}=Li Ming", bug=self.bug)
        sirend.await_ready()
        return sirend

    def ctl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run("controller.ctl", "--json", "--socket", str(self.sirend.socket), *arguments)

    def dies(self, poison: str) -> None:
        """Somebody asks what it dies of, and it is started again."""
        assert self.ctl("read", poison).returncode == 2
        self.sirend.process.wait(END_S)
        self.sirend.end()
        self.sirend = self.start()

    def modes(self) -> set[str]:
        """But for those of a gateway that has neither hub nor hardware."""
        return {*json.loads(self.ctl("status").stdout)["modes"]} - {"CLOCK-ASSUMED", "NO-HUB", "NO-FEEDBACK"}

    def told(self, what: str) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in self.sirend.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("what") == what]


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    out = Site(configs(tmp_path), request.param)
    yield out
    out.sirend.end(signal.SIGKILL)


@pytest.mark.parametrize("site", [RAISES, DIES], indirect=True, ids=["raises", "dies"])
def test_crashes_on_events(site: Site) -> None:
    site.dies("poison-1")
    site.dies("poison-1")
    done = site.ctl("read", "poison-1")
    assert done.returncode == 1
    assert "两次使程序崩溃，不再执行 / it crashed us twice" in json.loads(done.stdout)["error"]
    (told,) = site.told("event-refused")
    assert (told["subject"], told["urgent"]) == (f"{USER} read", True)
    (kept,) = site.sirend.socket.parent.glob("*.event-*")
    assert b"poison-1" in kept.read_bytes()
    assert site.modes() == set()
    site.dies("poison-2")
    assert site.modes() == {"SAFE-MIN"}
    (begun,) = site.told("safe-min")
    assert begun["detail"].startswith("3 crashes in 300 s")
    assert ("a bug of ours" in begun["detail"]) is (site.bug is RAISES)
    # An ordered restart does not end it; a technician does.
    site.sirend.end()
    site.sirend = site.start()
    assert site.modes() == {"SAFE-MIN"}
    refused = json.loads(site.ctl("growl", "s-101").stdout.splitlines()[-1])
    assert (refused["stage"], refused["reason"]) == ("rejected", "safe-min")
    assert "poison" not in site.ctl("read", "gauge-1").stderr
    assert site.ctl("leave-safe-min").returncode == 0
    assert site.modes() == set()
    site.sirend.end()
    site.sirend = site.start()
    assert site.modes() == set()
