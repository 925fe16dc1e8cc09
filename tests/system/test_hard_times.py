"""Short runs of what `bench kills` and `bench reconnects` do for hours, and a disk that fills up."""

import json
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench import kills, reconnects
from simulators.city import City, mosquitto
from tests.system.shortened import configs, ctl, run, status

pytestmark = pytest.mark.system

needs_mosquitto = pytest.mark.skipif(mosquitto() is None, reason="NO MOSQUITTO: neither kills nor reconnects were tried")
USER = pwd.getpwuid(os.getuid()).pw_name
DISK_KIB = 600


@needs_mosquitto
@pytest.mark.parametrize("seed", [4, 3], ids=["serial", "tcp"])
def test_kill_nine_at_any_point_breaks_no_promise(seed: int) -> None:
    found = kills.batch(seed, 9)
    assert found["kills"] == 9
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


def test_a_full_disk_is_told_a_live_order_sounds_and_room_ends_it(disk: Path, tmp_path: Path) -> None:
    if mosquitto() is None:
        pytest.skip("NO MOSQUITTO: a full disk was NOT tried")
    settings = [f"journal.path={disk / 'journal.db'}", f"local.technicians.{USER}=Li Ming"]
    with City(["gateway.toml"], configs(tmp_path), broker="mosquitto", settings={"gateway.toml": settings}) as city:
        assert "MiB are free; nothing is recorded" in city.said("gateway.toml"), "the black box leaves it to the journal"

        def modes() -> set[str]:
            return {*status(city, "gw-jinshui")["modes"]} - {"CLOCK-ASSUMED"}

        def ordered(*more: str) -> dict[str, int]:
            done = run("hub", "order", "sound", "--signal", "short-once", "--area", "41/01/05", "--siren", "s-102",
                       "--json", *more, *city.hub_arguments)
            endings: dict[str, int] = json.loads(done.stdout.splitlines()[-1])["endings"]
            return endings

        assert modes() == set()
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        # What SQLite had taken of the disk before is written to once more; then there is no more.
        end = time.monotonic() + 60
        while "NO-JOURNAL" not in modes():
            assert time.monotonic() < end, "a full disk was not noticed"
            ctl(city, "gw-jinshui", "tag", "s-103", "--reason", "x" * 150)
            ctl(city, "gw-jinshui", "untag", "s-103")
        keys = [f"--key={city.demo / 'keys' / name}.jwk" for name in ("operator-1", "commander")]
        live = ["--mode", "live", "--yes", *keys]
        assert ordered(*live) == {"finished": 1}
        assert ordered("--mode", "drill") == {"rejected": 1}
        assert [e for e in city.events() if e.what == "no-journal"] != []
        ballast.unlink()
        city.wait_for(lambda: modes() == set(), "an end of NO-JOURNAL")
        assert ordered("--mode", "drill") == {"finished": 1}
        journal = str(disk / "journal.db")
        assert run("hub", "audit", "verify", journal).returncode == 0
        stages = [r.body["stage"] for _, r in city.journal(city.configs[0]) if r.kind == "receipt"]
        assert stages.count("finished") == 2, "what was refused by the disk stands in the journal afterwards"
