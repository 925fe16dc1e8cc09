"""One identity on two machines, as a stolen card gives it: two real sirends at a real mosquitto, and a hub."""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from controller.wire import JournalHead
from hub import __main__ as command
from hub import acl, clone
from hub import config as hub_config
from hub.client import Client
from hub.event import Note
from tests.transport.authority import CONFIGS, MOSQUITTO, Authority, Broker

ROOT = CONFIGS.parent
GATEWAY = "gw-jinshui"
FLEET = f"""
[[hub]]
id = "demo-hub"
area = "41"
[[gateway]]
id = "{GATEWAY}"
area = "41/01/05/001/001"
[[operator]]
name = "duty-1"
hub = "demo-hub"
"""
NAMED_S = 60


class Machine:
    """A folder with a sirend's configuration, certificate and journal: the whole of a card."""

    def __init__(self, folder: Path, broker: Broker, certificate: str) -> None:
        self.folder = folder
        self._broker = broker
        shutil.copytree(CONFIGS, folder / "configs", ignore=shutil.ignore_patterns("run"))
        self.demo = folder / "configs/demo"
        (self.demo / "run").mkdir()
        self.certify(certificate)
        # The name of a socket has at most 107 octets, and the folder of a test may have more.
        self._door = Path(tempfile.mkdtemp(prefix="clone-"))
        self.process: subprocess.Popen[bytes] | None = None

    def certify(self, certificate: str) -> None:
        for ending in ("pem", "key"):
            shutil.copy(self._broker.folder / f"{certificate}.{ending}", self.demo / f"own.{ending}")

    def copy(self, folder: Path, certificate: str) -> "Machine":
        """What a thief has: the files as they are."""
        out = Machine(folder, self._broker, certificate)
        for file in (self.demo / "run").glob("*.db*"):
            if file.is_file():
                shutil.copy(file, out.demo / "run")
        return out

    def newest_row(self) -> int:
        with contextlib.closing(sqlite3.connect(self.demo / "run" / f"{GATEWAY}.db")) as journal:
            return int(journal.execute("SELECT max(n) FROM record").fetchone()[0])

    def start(self) -> None:
        settings = [f"mqtt.port={self._broker.port}", "mqtt.tls=true", "mqtt.cert_file=own.pem",
                    "mqtt.key_file=own.key", f"local.socket={self._door}/gw.sock",
                    f"mqtt.ca_file={self._broker.folder}/gateways-ca.pem"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "controller.daemon", "run", str(self.demo / "gateway.toml"),
                 *(part for one in settings for part in ("--set", one))], cwd=ROOT, stdout=log, stderr=log)

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self._door)


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: clones were NOT tried")
async def test_a_clone_is_named_and_ended_by_revocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone, "CLEAR_US", 15_000_000)
    gateways, centre = Authority(tmp_path), Authority(tmp_path, "centre")
    gateways.issue("broker", host="127.0.0.1")
    gateways.issue(GATEWAY)
    centre.issue("duty-1")
    (tmp_path / "fleet.toml").write_text(FLEET)
    broker = Broker(tmp_path, acl.text(acl.load(tmp_path / "fleet.toml")))
    broker.start()
    notes: list[Note] = []
    true = Machine(tmp_path / "true", broker, GATEWAY)
    stolen = None
    conf = hub_config.load(CONFIGS / "demo/hub.toml", [
        f"mqtt.port={broker.centre_port}", "mqtt.tls=true", f"mqtt.ca_file={tmp_path}/gateways-ca.pem",
        f"mqtt.cert_file={tmp_path}/duty-1.pem", f"mqtt.key_file={tmp_path}/duty-1.key"])

    def noted(what: str) -> list[Note]:
        return [n for n in notes if n.what == what]

    try:
        async with Client(conf, notes.append) as client:
            def status_session() -> str | None:
                known = client.fleet.gateways.get(GATEWAY)
                return known.status.session if known and known.status and known.status.state == "online" else None

            true.start()
            await client.until(status_session, 60)
            session = status_session()
            # A restart of the true one is no clone.
            await asyncio.to_thread(true.stop)
            true.start()
            await client.until(lambda: status_session() not in (None, session), 60)
            true_session = status_session()
            assert noted("clone") == []

            stolen = await asyncio.to_thread(true.copy, tmp_path / "stolen", GATEWAY)
            common = stolen.newest_row()
            stolen.start()
            await client.until(lambda: status_session() not in (None, true_session), 60)
            began_s = time.monotonic()
            await client.until(lambda: noted("clone"), NAMED_S)
            assert time.monotonic() - began_s < NAMED_S
            known = client.fleet.gateways[GATEWAY]
            (named,) = noted("clone")
            assert known.identity.pair
            assert true_session in known.identity.pair
            assert all(session in named.detail for session in known.identity.pair)
            assert {s.state for s in client.fleet.sirens()} == {"UNKNOWN"}

            # A new certificate for the true one; the old one is revoked, and its session ends with the next visit.
            gateways.issue(GATEWAY, "new")
            true.certify("new")
            gateways.revoke(GATEWAY)
            broker.reload()
            await client.until(lambda: noted("clone-gone"), 100)
            assert status_session() == true_session
            assert "mqtt.cert_file = 'own.pem': is revoked" in stolen.said()
            assert "is revoked" not in true.said()
            assert client.fleet.gateways[GATEWAY].presence.value == "online"
            # What it told of its journal holds, while it goes on writing; the thief's went another way.
            def head_after() -> JournalHead | None:
                head = client.fleet.gateways[GATEWAY].head
                return head if head is not None and head.n > common else None

            await client.until(head_after, 90)
            head = head_after()
            assert head
            told = f"{head.hash}@{head.n}"
            audit = ["audit", "verify", "--head", told]
            assert command.main([*audit, str(true.demo / "run" / f"{GATEWAY}.db")]) == 0
            assert command.main([*audit, str(stolen.demo / "run" / f"{GATEWAY}.db")]) == 1
    finally:
        true.end()
        if stolen is not None:
            stolen.end()
        broker.stop()
