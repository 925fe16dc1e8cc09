"""The probe on a served site: what it finds, what it never does, and when it refuses."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.config import BusSection
from firmware_bridge import probe, profile
from firmware_bridge.document import check, parse
from firmware_bridge.probe import Found, Unprobed
from firmware_bridge.profile import Profile, ProfileSpec
from simulators import site
from simulators.serve import Server

ROOT = Path(__file__).parents[2]
PROFILES = profile.load_all(ROOT / "configs/profiles")
MODELS = {"relay": ("waveshare_rtu_relay", 1), "meter": ("generic_input_module", 2), "gauge": ("qdy30a", 3),
          "sonic": ("dyp_ultrasonic", 5), "dead": ("waveshare_rtu_relay", 6)}
SITE = f"""
[site]
id = "probed"
profiles = "{ROOT}/configs/profiles"
[[line]]
id = "wire"
kind = "rtu"
path = "wire"
baud = 38400
strict = true
[[line]]
id = "net"
kind = "tcp"
port = 0
""" + "".join(f"""
[[unit]]
id = "{id}-{line}"
line = "{line}"
unit = {unit}
profile = "{model}"
dead = {str(id == "dead").lower()}
""" for line in ("wire", "net") for id, (model, unit) in MODELS.items())


@pytest.fixture(autouse=True)
def _short_ear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LISTEN_S", 0.5)


class Site:
    def __init__(self, folder: Path) -> None:
        self.frames: list[dict[str, Any]] = []
        (folder / "site.toml").write_text(SITE)
        self.server = Server(site.load(folder / "site.toml"), frames=self.frames.append)

    def bus(self, line: str) -> BusSection:
        return BusSection(id=line, link=self.server.links[line], baud=38400)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Site]:
    one = Site(tmp_path)
    await one.server.start()
    yield one
    await one.server.stop()


async def probed(section: BusSection, units: range = range(1, 8),
                 profiles: dict[str, Profile] = PROFILES) -> list[Found]:
    return [found async for found in probe.probe(section, profiles, units)]


@pytest.mark.parametrize("line", ["wire", "net"])
async def test_each_unit_that_answers_is_found_and_named(served: Site, line: str) -> None:
    found = {f.unit: f for f in await probed(served.bus(line))}
    assert set(found) == {1, 2, 3, 5}, "the dead one is not there, and nor is who never was"
    assert found[1].fits == ("waveshare_rtu_relay",)
    assert "version = 200" in found[1].said
    # Models of one family answer alike; the technician tells them apart by their label.
    assert "qdy30a" in found[3].fits
    assert found[5].fits == ("dyp_ultrasonic",)
    assert found[2].fits == ()
    assert "refused (illegal" in found[2].said


async def test_it_only_reads_and_asks_a_silent_address_twice(served: Site) -> None:
    await probed(served.bus("wire"))
    assert {f["function"] for f in served.frames} <= {1, 2, 3, 4}
    asked = [f["unit"] for f in served.frames]
    assert asked == sorted(asked)
    assert asked.count(4) == asked.count(6) == asked.count(7) == 2
    assert served.server.field.lines["wire"].too_soon == 0
    assert served.server.field.lines["wire"].collisions == 0


async def test_an_address_at_which_anybody_answers_is_left_out(served: Site) -> None:
    text = (ROOT / "configs/profiles/qdy30a.toml").read_text()
    text = text.replace("[points]", "[line]\nwildcards = [3]\n\n[points]", 1)
    anybody = Profile("anybody", "x", check(ProfileSpec, parse(text, "x"), "x"))
    found = await probed(served.bus("wire"), range(2, 6), {**PROFILES, "anybody": anybody})
    assert [f.unit for f in found] == [2, 5]
    assert 3 not in {f["unit"] for f in served.frames}
    assert found[1].fits == ("dyp_ultrasonic",)


async def test_a_lost_frame_hides_nobody(served: Site) -> None:
    # The first answer of the unit is dropped, the second is not.
    task = asyncio.create_task(probed(served.bus("wire"), range(1, 2)))
    served.server.command({"do": "fault", "target": "relay-wire", "fault": "dropped"})
    while not served.frames:  # noqa: ASYNC110 - the list is plain on purpose
        await asyncio.sleep(0.005)
    served.server.command({"do": "fault", "target": "relay-wire", "fault": "dropped", "share": 0})
    assert [f.unit for f in await task] == [1]


async def test_two_models_that_fit_are_both_told(served: Site) -> None:
    twin = Profile("twin", "x", PROFILES["qdy30a"].spec)
    (found,) = await probed(served.bus("wire"), range(3, 4), {"qdy30a": PROFILES["qdy30a"], "twin": twin})
    assert found.fits == ("qdy30a", "twin")
    assert len(served.frames) == 1, "asked once for both"


async def test_a_line_with_a_master_is_not_touched(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)

    async def talk() -> None:
        while True:
            os.write(master, b"\x01\x03\x00\x00\x00\x01\x84\x0a")
            await asyncio.sleep(0.05)

    talker = asyncio.create_task(talk())
    with pytest.raises(Unprobed, match="somebody talks on this line"):
        await probed(BusSection(id="b", link=f"serial:{os.ttyname(slave)}"))
    talker.cancel()
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 100)  # not one octet of ours
    os.close(master)
    os.close(slave)


async def test_a_line_that_does_not_open_or_breaks_is_told(served: Site, tmp_path: Path) -> None:
    with pytest.raises(Unprobed, match="No such file"):
        await probed(BusSection(id="b", link=f"serial:{tmp_path}/nothing"))
    with pytest.raises(Unprobed, match="no profile has an `identity`"):
        await probed(served.bus("wire"), profiles={"coil": PROFILES["generic_coil_board"]})
    task = asyncio.create_task(probed(served.bus("wire"), range(7, 200)))
    while not served.frames:  # noqa: ASYNC110 - the list is plain on purpose
        await asyncio.sleep(0.005)
    served.server.command({"do": "fault", "target": "wire", "fault": "unplug"})
    with pytest.raises(Unprobed, match=r"hung up|errno"):
        await task
