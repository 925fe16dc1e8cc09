"""An underpass under water, in processes: what the centre sees, and a person's hand on an alarm from there."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from controller import wire
from hub.spots import SpotNews
from simulators.city import ROOT, City
from simulators.flood_demo import SPOT, door, sign, state

pytestmark = pytest.mark.system

RISE = "time_s,level_m\n0,0\n10,0.31\n9000,0.31\n"
"""To orange in ten seconds, and there it stands."""


@pytest.fixture(scope="module")
def city() -> Iterator[City]:
    city = City(gateways=("gateway.toml",), demo="flood")
    scale = city.demo / "scale-15-27-40.toml"
    scale.write_text(scale.read_text(encoding="utf-8").replace("at_cm = 27", "at_cm = 27\non_delay_s = 0"))
    persons = sign(city.demo)
    for role, key in persons.items():
        (city.demo / f"{role}.jwk").write_text(json.dumps(key))
    (city.demo / "rise.csv").write_text(RISE)
    with city:
        city.wait_for(lambda: (now := state(city)) is not None and now.state == "DRY", "a dry road")
        door(city, {"do": "storm", "file": str(city.demo / "rise.csv")})
        for what in ("flood-suspected", "flood-confirmed"):
            city.wait_for(lambda what=what: any(e.what == what for e in city.events()), what)  # type: ignore[misc]
        yield city


def flood(city: City, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "hub", "flood", *words, *city.hub_arguments], capture_output=True,
                          text=True, cwd=ROOT, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_the_centre_sees_the_spot_and_tells_others(city: City) -> None:
    code, out, _ = flood(city, "list")
    assert code == 0
    assert f"gw-nongye/{SPOT}" in out
    assert "yellow 15" in out
    told = [wire.decode(SpotNews, p) for _, topic, p in city.messages
            if topic == f"siren/1/h/flood/spot/gw-nongye/{SPOT}"]
    assert told[-1].colour in ("ORANGE", "RED")
    assert told[-1].level_cm == pytest.approx(31, abs=4)


def test_somebody_knows_and_the_gateway_says_so(city: City) -> None:
    code, out, err = flood(city, "ack", SPOT, "--by", "值班员 Wang")
    assert (code, err) == (0, "")
    assert "已确认" in out
    assert "值班员 Wang" in out
    code, _, err = flood(city, "ack", "nowhere")
    assert code == 2
    assert "no such spot" in err


def test_an_alarm_is_kept_silent_by_a_hydrologist_for_an_hour_and_by_two_persons_for_a_shift(city: City) -> None:
    def inhibit(minutes: str, *roles: str, alarm: str = "orange") -> tuple[int, str, str]:
        return flood(city, "inhibit", SPOT, "--alarm", alarm, "--minutes", minutes, "--reason", "检修",
                     *(part for role in roles for part in ("--key", str(city.demo / f"{role}.jwk"))))

    code, out, _ = inhibit("5", "operator")
    assert code == 1
    assert "one hydrologist signs" in out
    code, out, err = inhibit("5", "hydrologist")
    assert (code, err) == (0, "")
    assert "Chen Lu: 检修" in out
    assert inhibit("0", "hydrologist")[0] == 0
    assert inhibit("61", "hydrologist")[0] == 1
    code, out, err = inhibit("480", "operator", "commander", alarm="yellow")
    assert (code, err) == (0, "")
    assert "已搁置" in out
    assert inhibit("0", "operator", "commander", alarm="yellow")[0] == 0
    assert inhibit("481", "operator", "commander")[0] == 2


def test_the_book_tells_what_happened_and_what_the_gauges_showed(city: City) -> None:
    def confirmed() -> list[dict[str, object]]:
        code, out, _ = flood(city, "events", SPOT, "--json")
        told = [json.loads(line) for line in out.splitlines()] if code == 0 else []
        return [one for one in told if one["what"] == "flood-confirmed"]

    city.wait_for(lambda: bool(confirmed()), "the hub's book")
    samples = confirmed()[0]["samples"]
    assert isinstance(samples, dict)
    assert set(samples) == {"press", "sonar", "float"}
