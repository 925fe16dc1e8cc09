"""The probe on a served site: what it finds, what it never does, and when it refuses."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.wiring import BusSection
from firmware_bridge import modbus, probe, profile
from firmware_bridge.document import check, parse
from firmware_bridge.probe import Found, Unprobed
from firmware_bridge.profile import Profile, ProfileSpec
from simulators import site
from simulators.serve import Server

ROOT = Path(__file__).parents[2]
LIBRARY = profile.load_all(ROOT / "configs/profiles")
PROFILES = {model: LIBRARY[model] for model in (
    "apg_mnu", "dyp_ultrasonic", "evikon_ek61", "generic_coil_board", "generic_input_module", "qdy30a", "qdy30a_length",
    "waveshare_rtu_relay")}
"""Some, so that a new model in the library changes nothing here."""
MODELS = {"relay": ("waveshare_rtu_relay", 1), "meter": ("generic_input_module", 2), "gauge": ("qdy30a", 3),
          "sonic": ("dyp_ultrasonic", 5), "dead": ("waveshare_rtu_relay", 6),
          "horn": ("evikon_ek61", 8)}
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
    assert found[1].said["waveshare_rtu_relay"] == "version = 200"
    # Models of one family answer alike; the technician tells them apart by their label.
    assert "qdy30a" in found[3].fits
    assert found[5].fits == ("dyp_ultrasonic",)
    assert found[2].fits == ()
    assert all("refused (illegal" in said for said in found[2].said.values())


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


async def test_who_shows_a_like_register_and_no_other_point_is_not_taken_for_that_model(served: Site) -> None:
    (found,) = await probed(served.bus("wire"), range(8, 9))
    assert found.fits == (), "a horn is no gauge because its register 3 is a small number"
    assert {"qdy30a", "qdy30a_length"} <= set(found.like)
    assert found.said["qdy30a"] == "decimals = 0, but refuses the read of unit_code, decimals, level"
    assert {f["function"] for f in served.frames} <= {1, 2, 3, 4}


async def test_two_models_that_fit_are_both_told(served: Site) -> None:
    twin = Profile("twin", "x", PROFILES["qdy30a"].spec)
    (found,) = await probed(served.bus("wire"), range(3, 4), {"qdy30a": PROFILES["qdy30a"], "twin": twin})
    assert found.fits == ("qdy30a", "twin")
    assert len(served.frames) == 2, "asked once for both: who it is, and all its points"


class Loner:
    """A unit on a pty of its own that answers one question and says nothing to any other; somebody may cut in."""

    def __init__(self, unit: int, function: int, address: int, word: int) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.bus = BusSection(id="b", link=f"serial:{os.ttyname(self.slave)}", baud=115200)
        self.asked = 0
        self.cut_in: bytes = b""
        self._knows = bytes([function, *address.to_bytes(2, "big"), 0, 1])
        self._unit, self._answer = unit, bytes([function, 2, *word.to_bytes(2, "big")])
        asyncio.get_running_loop().add_reader(self.master, self._heard)

    def _heard(self) -> None:
        split = modbus.rtu_split(os.read(self.master, 4096))
        assert split is not None
        self.asked += 1
        if self.cut_in:
            os.write(self.master, self.cut_in)
        elif split[:2] == (self._unit, self._knows):
            # Not at once: no line carries octets that fast, and the bus knows it.
            frame = modbus.rtu_frame(self._unit, self._answer)
            asyncio.get_running_loop().call_later(0.005, os.write, self.master, frame)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)


async def test_a_unit_that_says_nothing_to_what_it_does_not_know_is_found_when_asked_thoroughly() -> None:
    loner = Loner(2, 3, 0x8000, 200)
    assert await probed(loner.bus, range(2, 3)) == []
    assert loner.asked == 2
    (found,) = [f async for f in probe.probe(loner.bus, PROFILES, [2], thorough=True)]
    assert found.fits == ("waveshare_rtu_relay",)
    assert "no answer" in found.said["apg_mnu"]
    loner.close()


async def test_another_master_that_begins_later_ends_it() -> None:
    loner = Loner(2, 3, 0x8000, 200)
    loner.cut_in = b"\x01\x03\x00\x00\x00\x01\x84\x0a"
    with pytest.raises(Unprobed, match="somebody else asks unit 1 on this line"):
        await probed(loner.bus, range(2, 6))
    assert loner.asked == 1
    loner.close()


async def test_every_model_that_can_be_known_is_known_by_its_own_simulation(tmp_path: Path) -> None:
    known = [LIBRARY[model] for model in probe.identities(LIBRARY)]
    assert len(known) >= 11
    (tmp_path / "site.toml").write_text(f"""
[site]
id = "library"
profiles = "{ROOT}/configs/profiles"
[[line]]
id = "net"
kind = "tcp"
port = 0
""" + "".join(f'[[unit]]\nid = "u-{n}"\nline = "net"\nunit = {n}\nprofile = "{p.id}"\n'
              for n, p in enumerate(known, 1)))
    server = Server(site.load(tmp_path / "site.toml"))
    await server.start()
    section = BusSection(id="net", link=server.links["net"])
    found = {f.unit: f.fits for f in await probed(section, range(1, len(known) + 1), LIBRARY)}
    await server.stop()
    assert [(p.id, found[n]) for n, p in enumerate(known, 1) if p.id not in found.get(n, ())] == []


async def test_who_waits_is_told_where_it_is(served: Site) -> None:
    told: list[int] = []
    async for _ in probe.probe(served.bus("net"), PROFILES, [1, 2], asking=told.append):
        pass
    assert told == [1, 2]


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
