"""The whole demo of a flood in some seconds: processes, ptys, from the gauges to the siren, the book and the sheet."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.underpass import at_once
from simulators.city import City
from simulators.flood_demo import SPOT, Show, play, sign, state

pytestmark = pytest.mark.system

RISE = "time_s,level_m\n# to red in two seconds\n0,0\n2,0.48\n9000,0.48\n"


@pytest.fixture(scope="module")
def city() -> "City":
    """Gauges that believe so fast a rise, and colours that wait for nothing."""
    city = City(gateways=("gateway.toml",), demo="flood")
    at_once(city.demo)
    gateway = city.demo / "gateway.toml"
    text = gateway.read_text(encoding="utf-8")
    gateway.write_text(text.replace("unit = \"m\"", "unit = \"m\"\nslew_cm_per_s = 50"))
    (city.demo / "rise.csv").write_text(RISE)
    return city


def test_a_storm_from_the_gauges_to_the_proof(city: City, tmp_path: Path) -> None:
    said: list[str] = []
    sign(city.demo, longest_s=4)
    with city:
        found = play(city, Show("rise.csv", 60.0, -60.0, short=True), said.append, False, tmp_path)
        shown = state(city)
    assert found["kept"], (found, said)
    assert shown is not None
    assert "禁止通行" in str(shown.points["sign"]), "the sign confirms what it shows"
    assert found["sounds"] == 1
    told = [e.what for e in city.events() if e.subject == SPOT]
    assert told.count("flood-siren") == 1
    first = [e for e in city.events() if e.seq <= 3]
    assert not any("link down" in e.detail for e in first), "a line that is not open yet is no silence"
    assert all(e.at[:4] >= "2025" for e in first), "what is told first bears an instant"
    rows = list(csv.reader((tmp_path / "demo-flood.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {"flood-confirmed", "flood-siren", "siren-sensed"} <= {row[3] for row in rows if row[2] == "action"}
    ElementTree.fromstring((tmp_path / "demo-flood.svg").read_text(encoding="utf-8"))
