"""Models of which the sources give too little to be driven, and what they do give, held to it."""

import re
from pathlib import Path

import pytest

from firmware_bridge.profile import Profile, load
from firmware_bridge.reading import Value

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "profiles"
STATUS = 'status = { ask = "3F", answer = "{flags:1} {volts:1}" }'
"""Made up, so that the points can be tried: the octets around them are what is not published."""


@pytest.fixture
def whelen(tmp_path: Path) -> Profile:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    (known,) = re.findall(r"^```\n(\[points\]\nfull = .*?)^```", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "whelen_esc.toml"
    head = 'make = "Whelen"\nmodel = "ESC"\nkind = "siren"\nprotocol = "plain"\nsource = "test"\n'
    file.write_text(f"{head}[messages]\n{STATUS}\n{known}", encoding="utf-8")
    return load(file)


def said(profile: Profile, octets: bytes) -> dict[str, Value]:
    found = profile.messages["status"].answer
    assert found is not None
    matched = found.match(octets)
    assert matched is not None
    return {p.name: p.decode(tuple(matched[0][p.field])) for p in profile.points.values()}


HEALTHY = {"full": True, "partial": True, "rotor": True, "mains_in_tone": True, "tone": False, "reports": True,
           "power_up": True, "mains": True}


@pytest.mark.parametrize(("flags", "differs"), [
    (0xEF, {}),
    (0xFF, {"tone": True}),
    (0xEE, {"full": False}),
    (0xEC, {"full": False, "partial": False}),
    (0x2F, {"mains": False, "power_up": False}),
])
def test_a_whelen_status_is_read_bit_by_bit(whelen: Profile, flags: int, differs: dict[str, bool]) -> None:
    values = said(whelen, bytes([flags, 0xCC]))
    assert values.pop("battery") == pytest.approx(28.0)
    assert values == HEALTHY | differs


def test_whelen_volts_reach_from_0_to_35(whelen: Profile) -> None:
    assert [said(whelen, bytes([0, raw]))["battery"] for raw in (0, 255)] == [0, pytest.approx(35.0)]
    assert whelen.output is None


def test_there_is_no_file_of_what_was_not_published() -> None:
    ids = {p.stem for p in FOLDER.glob("*.toml")}
    assert not {i for i in ids if i.startswith(("whelen", "icpdas", "hycontrol", "yengear"))}


def test_a_board_whose_outputs_are_one_register_is_read_and_not_driven() -> None:
    profile = load(FOLDER / "isma_sfar_6ro.toml")
    assert profile.output is None
    assert {n for n, p in profile.points.items() if p.spec.write} == {"watchdog", "default_outputs"}
    assert profile.point("watchdog").encode(5) == (5000,)
    assert [profile.point("relay", n).decode((0b100010,)) for n in range(1, 7)] == [
        False, True, False, False, False, True]


def test_an_amplifier_of_the_other_edition_shows_a_fault_and_no_proof() -> None:
    profile = load(FOLDER / "monacor_pa1250d.toml")
    vu, fault = profile.point("vu"), profile.point("over_current")
    assert vu.spec.evidence == "sampled"
    assert (vu.decode((0x3200,)), fault.decode((0x3200,))) == (50, False)
    other = 0b00001  # there, input 2 is the state of the second channel, and bit 0 that it is on
    assert (vu.decode((other,)), fault.decode((other,))) == (0, True)
