"""Short runs of what `bench kills` and `bench reconnects` do for hours, and a disk that fills up."""

import os
import pwd
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench import kills, office, reconnects
from controller import wire
from controller.ctl import door
from controller.journal import verify
from controller.wire import Action, Mode, OrderBody, Receipt, Sound, Stage
from firmware_bridge.machine import S
from hub import keys
from simulators.city import City, mosquitto
from tests.system.shortened import configs
from tests.system.shortened import door as place

pytestmark = pytest.mark.system

needs_mosquitto = pytest.mark.skipif(mosquitto() is None, reason="NO MOSQUITTO: no kill and no reconnect was tried")
USER = pwd.getpwuid(os.getuid()).pw_name
DISK_KIB = 600
KILLS = 20
"""Every one of the seventeen points is a fuse once, and three twice."""


@needs_mosquitto
@pytest.mark.timeout(300)
def test_a_kill_at_any_point_breaks_no_promise() -> None:
    found = kills.batch(4, KILLS, alive_s=1.0)
    assert found["kills"] == KILLS
    assert len(found["points"]) > KILLS // 4, found["points"]
    assert found["soundings"] > 0
    assert found["broken"] == {}, f"kept in {found.get('kept')}"


@needs_mosquitto
def test_a_session_is_never_deaf_after_a_reconnect() -> None:
    found = reconnects.work(5, 12, False)
    assert found["deaf"] == []
    assert not found["crash"]
    assert len(found["took"]) == 12
    assert {"hole", "deaf", "mute"} & found["kinds"].keys()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, small enough to fill."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(place)],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"NO MOUNT ({mounted.stderr.strip()}): a full disk was NOT tried; run it as root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Office:
    """Signs orders and sends them, and asks at the door: no process for each, or a busy machine takes minutes."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._keys = [keys.load_key(city.demo / "keys" / f"{name}.jwk") for name in ("operator-1", "commander")]
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="office", protocol=paho.MQTTv311)
        self._client.connect("127.0.0.1", city.port)
        self._client.loop_start()

    def ask(self, verb: str, **args: str) -> dict[str, Any]:
        return list(door.ask(place(self._city, "gw-jinshui"), verb, args, 60))[-1]

    @property
    def modes(self) -> set[str]:
        return {*self.ask("status")["modes"]} - {"CLOCK-ASSUMED"}

    def sound(self, mode: Mode) -> tuple[Stage, str]:
        """Three seconds on one siren: the last word on it."""
        now, name = time.time_ns() // 1000, "short-once"
        sound = Sound(name=name, digest=self._city.configs[0].signals.digest(name))
        body = OrderBody(
            v=1, id=uuid.uuid4().hex, deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now - S), expires_at=wire.to_text(now + 60 * S), area="41/01/05",
            sirens=("s-102",), action=Action.SOUND, mode=mode, sound=sound, sequence=now, trust_version=1)
        body = office.prepared(body, *self._city.configs)
        signed = keys.sign(body, self._keys if mode is Mode.LIVE else self._keys[:1])
        self._client.publish(wire.order_topic("41/01/05", stop=False), signed, qos=1)
        ends: list[Receipt] = []

        def ended() -> bool:
            ends[:] = [r for r in self._city.receipts() if r.order == body.id and r.stage.terminal]
            return ends != []

        self._city.wait_for(ended, "a last word")
        return ends[0].stage, ends[0].reason

    def close(self) -> None:
        self._client.loop_stop()


def test_a_full_disk_is_told_a_live_order_sounds_and_room_ends_it(disk: Path, tmp_path: Path) -> None:
    if mosquitto() is None:
        pytest.skip("NO MOSQUITTO: a full disk was NOT tried")
    settings = [f"journal.path={disk / 'journal.db'}", f"local.technicians.{USER}=Li Ming"]
    with City(["gateway.toml"], configs(tmp_path), broker="mosquitto", settings={"gateway.toml": settings}) as city:
        # The black box leaves what room there is to the journal.
        assert "MiB are free; nothing is recorded" in city.said("gateway.toml")
        duty = Office(city)
        try:
            assert duty.modes == set()
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass

            def noticed() -> bool:
                # What SQLite had taken of the disk before is written to once more; then there is no more.
                duty.ask("tag", siren="s-103", reason="换喇叭 " * 10)
                duty.ask("untag", siren="s-103")
                return "NO-JOURNAL" in duty.modes

            city.wait_for(noticed, "NO-JOURNAL")
            sounds = len(list(city.sound_log()))
            assert duty.sound(Mode.LIVE) == (Stage.FINISHED, "")
            assert len(list(city.sound_log())) == sounds + 2
            assert duty.sound(Mode.DRILL) == (Stage.REJECTED, "no-journal")
            assert [e for e in city.events() if e.what == "no-journal"] != []
            ballast.unlink()
            city.wait_for(lambda: duty.modes == set(), "an end of NO-JOURNAL")  # asked each 20 s
            assert duty.sound(Mode.DRILL) == (Stage.FINISHED, "")
        finally:
            duty.close()
        assert verify(disk / "journal.db") == []
        stages = [r.body["stage"] for _, r in city.journal(city.configs[0]) if r.kind == "receipt" and r.body["siren"]]
        assert stages.count("finished") == 2, "what the disk refused stands in the journal afterwards"
