"""The water of a site through its gauges: registers follow the level by mounting, model and what is wrong with them."""

import asyncio
import json
import struct
from pathlib import Path
from random import Random

import pytest

from firmware_bridge.errors import BadDocument
from firmware_bridge.event import Read, Table
from firmware_bridge.machine import S
from firmware_bridge.modbus import reply_of, request_pdu, rtu_frame
from firmware_bridge.point import Scalar
from firmware_bridge.scan import replies
from simulators import site
from simulators.__main__ import main
from simulators.faults import Fault, NoSuch
from simulators.field import Field, Inject, Rise, SetPoint, ToLine, ToMaster, Woken
from simulators.serve import Server
from simulators.storm import Storm, parse

ROOT = Path(__file__).parents[2]
SITE = f"""
[site]
id = "underpass"
profiles = "{ROOT}/configs/profiles"
control = "run/door"
[[line]]
id = "line"
kind = "rtu"
path = "run/line"
"""
UNITS = {"press": "qdy30a", "sonar": "dfrobot_urm14", "radar": "vega_vegapuls", "mbar": "aquaread_leveline",
         "io": "generic_input_module"}
GAUGES = {"press.level": 'shows = "level"', "sonar.distance": 'shows = "distance"\nheight_m = 4.2',
          "radar.level": 'shows = "level"\nheight_m = -0.1', "mbar.pressure": 'shows = "pressure"',
          "io.contact_1": 'shows = "contact"\nheight_m = 0.15',
          "io.contact_2": 'shows = "contact"\nheight_m = 0.15\ninverted = true'}
ADDRESSES = {name: n for n, name in enumerate(UNITS, 1)}


@pytest.fixture
def plan(tmp_path: Path) -> site.Plan:
    text = SITE + "".join(f'[[unit]]\nid = "{name}"\nline = "line"\nunit = {ADDRESSES[name]}\nprofile = "{of}"\n'
                          for name, of in UNITS.items())
    text += "".join(f'[[gauge]]\npoint = "{point}"\n{how}\n' for point, how in GAUGES.items())
    (tmp_path / "site.toml").write_text(text)
    return site.load(tmp_path / "site.toml")


def storm(rows: str = "0,0\n100,1\n", head: str = "time_s,level_m") -> Storm:
    return parse(f"{head}\n{rows}", "s.csv")[0]


class Ground:
    def __init__(self, plan: site.Plan) -> None:
        self.field = Field(plan, Random)
        self.now_us = S

    def tell(self, event: Rise | Inject | SetPoint) -> None:
        self.field.handle(self.now_us, event)

    def at(self, seconds: float) -> None:
        self.now_us = S + round(seconds * S)
        self.field.handle(self.now_us, Woken())

    def ask(self, unit: str, request: Read) -> tuple[int, ...]:
        asked = ToLine("line", rtu_frame(ADDRESSES[unit], request_pdu(request)))
        out = list(self.field.handle(self.now_us, asked))
        while not (found := replies(b"".join(e.data for e in out if isinstance(e, ToMaster)))):
            due_us = self.field.deadline
            assert due_us is not None
            self.now_us = due_us
            out += self.field.handle(due_us, Woken())
        reply = reply_of(request, found[0][1])
        return reply.values  # type: ignore[union-attr]

    def value(self, point: str) -> Scalar:
        unit, _, name = point.partition(".")
        return self.field.value(unit, name)


@pytest.fixture
def ground(plan: site.Plan) -> Ground:
    return Ground(plan)


def test_registers_follow_the_water_by_model_and_mounting(ground: Ground) -> None:
    ground.tell(Rise(storm("0,0.5\n1,0.5\n")))
    ground.at(10)
    # Each within five deviations of its model's own noise.
    assert ground.ask("press", Read(Table.HOLDING, 4, 1))[0] == pytest.approx(500, abs=10)
    assert ground.ask("sonar", Read(Table.HOLDING, 5, 1))[0] == pytest.approx(37_000, abs=100)
    low, high = ground.ask("radar", Read(Table.INPUT, 106, 2))
    assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == pytest.approx(0.6, abs=0.01)
    high, low = ground.ask("mbar", Read(Table.INPUT, 1, 2))
    assert (high << 16 | low) == pytest.approx(490, abs=3)
    assert ground.ask("io", Read(Table.DISCRETE, 0, 3)) == (1, 0, 0)


def test_a_road_is_dry_without_a_storm_and_by_speed_it_comes_sooner(ground: Ground) -> None:
    assert ground.value("press.level") == pytest.approx(0.0, abs=0.01)
    assert ground.value("io.contact_1") is False
    ground.tell(Rise(storm(), speed=20))
    for at_s, level_m in ((0, 0.0), (1, 0.2), (2.5, 0.5), (5, 1.0), (900, 1.0)):
        ground.at(at_s)
        assert ground.field.waters.level_m(ground.now_us, "road") == pytest.approx(level_m)
        assert ground.value("press.level") == pytest.approx(level_m, abs=0.011)
    ground.tell(Rise(None))
    assert ground.value("press.level") == pytest.approx(0.0, abs=0.01)


def test_a_point_fed_by_hand_is_not_moved_until_it_is_handed_back(ground: Ground) -> None:
    ground.tell(SetPoint("press", "level", 0.42))
    ground.tell(Rise(storm("0,1\n1,1\n")))
    ground.at(5)
    assert ground.value("press.level") == pytest.approx(0.42)
    ground.tell(SetPoint("press", "level", None))
    assert ground.value("press.level") == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("fault", "share", "point", "shown"), [
    (Fault.STUCK, 1, "press.level", 0.1),
    (Fault.DRIFTING, 0.36, "press.level", 0.56), (Fault.DRIFTING, -0.36, "sonar.distance", 3.76),
    (Fault.DEBRIS, 0.8, "sonar.distance", 3.4), (Fault.DEBRIS, 0.05, "sonar.distance", 3.7),
    (Fault.FLOODED, 1, "press.level", 5.0), (Fault.FLOODED, 1, "sonar.distance", 0.25),
    (Fault.VEHICLES, 1, "press.level", 0.62),
    # What the unit itself has.
    (Fault.FROZEN, 1, "press.level", 0.5),
])
def test_what_is_wrong_with_a_sensor_is_seen_in_what_it_shows(ground: Ground, fault: Fault, share: float, point: str,
                                                               shown: float) -> None:
    unit = point.partition(".")[0]
    ground.tell(Rise(storm("0,0.1\n600,0.1\n601,0.5\n")))
    ground.tell(Inject(unit, fault, share))
    on, can = ground.field.faults(unit)
    assert on == {unit: {fault: share}}
    assert fault in can
    ground.at(600 + 2)
    assert ground.value(point) == pytest.approx(shown, abs=0.08 if fault is Fault.VEHICLES else 0.012)
    ground.tell(Inject(unit, "all", 0))
    assert ground.value(point) == pytest.approx(3.7 if unit == "sonar" else 0.5, abs=0.011)
    assert ground.field.faults(unit)[0] == {}


def test_a_frozen_unit_shows_on_the_line_what_it_showed(ground: Ground) -> None:
    ground.ask("press", Read(Table.HOLDING, 4, 1))
    ground.tell(Inject("press", Fault.FROZEN))
    ground.tell(Rise(storm("0,0.5\n1,0.5\n")))
    assert ground.ask("press", Read(Table.HOLDING, 4, 1))[0] == pytest.approx(0, abs=10)


def test_vehicles_and_noise_come_by_chance_and_always_the_same(plan: site.Plan) -> None:
    def shown(fault: Fault, share: float, level_m: float) -> list[float]:
        ground = Ground(plan)
        ground.tell(Rise(storm(f"0,{level_m}\n1,{level_m}\n")))
        ground.tell(Inject("sonar", fault, share))
        out = []
        for second in range(0, 2000, 2):
            ground.at(second)
            out.append(4.2 - float(ground.value("sonar.distance")))
        return out

    seen = shown(Fault.VEHICLES, 0.2, 0.1)
    assert seen == shown(Fault.VEHICLES, 0.2, 0.1)
    under = [height for height in seen if height > 1.0]
    assert len(under) == pytest.approx(200, abs=60)
    assert all(1.3 < height < 3.3 for height in under)
    assert all(height == pytest.approx(0.1, abs=0.012) for height in seen if height < 1.0)
    noisy = shown(Fault.NOISY, 0.05, 0.5)
    mean = sum(noisy) / len(noisy)
    assert mean == pytest.approx(0.5, abs=0.01)
    assert (sum((one - mean) ** 2 for one in noisy) / len(noisy)) ** 0.5 == pytest.approx(0.05, abs=0.01)


def test_a_float_hangs_on_debris_and_is_water_when_it_is_full(ground: Ground) -> None:
    ground.tell(Inject("io", Fault.DEBRIS, 0.5))
    assert (ground.value("io.contact_1"), ground.value("io.contact_2")) == (True, False)
    ground.tell(Inject("io", Fault.DEBRIS, 0))
    assert ground.value("io.contact_1") is False
    ground.tell(Inject("io", Fault.FLOODED))
    assert (ground.value("io.contact_1"), ground.value("io.contact_2")) == (True, False)


def test_the_faults_of_a_storm_come_and_go_with_it(ground: Ground) -> None:
    ground.tell(Rise(storm("0,0,\n10,0,level dead; contact debris\n20,0,level dead off\n60,0,contact debris off\n",
                           "time_s,level_m,fault"), speed=2))
    assert ground.field.faults("press")[0] == {}
    ground.at(6)
    assert [ground.field.faults(u)[0] for u in ("press", "radar", "io", "sonar")] == [
        {"press": {"dead": 1.0}}, {"radar": {"dead": 1.0}}, {"io": {"debris": 0.5}}, {}]
    ground.at(11)
    assert [ground.field.faults(u)[0] for u in ("press", "io")] == [{}, {"io": {"debris": 0.5}}]
    ground.tell(Rise(None))
    assert ground.field.faults("io")[0] == {}


def test_what_cannot_be_is_refused(ground: Ground) -> None:
    for event, told in ((Rise(storm(), "lake"), "'lake' is no water; waters: road"),
                        (Rise(storm(), speed=0), "speed 0"), (Rise(storm(), speed=1e9), "1000 at most"),
                        (Inject("press", Fault.NOISY, 11), "metres"),
                        (Inject("press", "wet"), "no fault of press")):
        with pytest.raises(NoSuch, match=told):
            ground.tell(event)
    with pytest.raises(NoSuch, match="give the site a"):
        Field(site.load(ROOT / "configs/demo/site.toml", ()), Random).handle(0, Rise(storm()))


@pytest.mark.parametrize(("gauge", "told"), [
    ('point = "io.current_1"\nshows = "level"', "is in 'A'"), ('point = "io.contact_1"\nshows = "level"', "bool point"),
    ('point = "press.level"\nshows = "contact"', "bool point"),
    ('point = "press.depth"\nshows = "level"', "no such point"),
    ('point = "gone.level"\nshows = "level"', "no such unit"),
    ('point = "press.level"\nshows = "level"', "stands 2 times"),
])
def test_a_gauge_that_cannot_be_is_told(plan: site.Plan, gauge: str, told: str) -> None:
    text = plan.file.read_text()
    plan.file.write_text(f"{text}\n[[gauge]]\n{gauge}\n")
    with pytest.raises(BadDocument, match=told):
        site.load(plan.file)


async def test_a_served_site_plays_a_storm_by_its_door(plan: site.Plan, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "up.csv").write_text("time_s,level_cm\n0,30\n100,30\n")
    server = Server(plan)
    await server.start()
    try:
        async def say(*words: str) -> int:
            return await asyncio.to_thread(main, [*words, "--control", str(tmp_path / "run/door")])

        assert await say("storm", str(tmp_path / "up.csv"), "--speed", "10") == 0
        assert json.loads(capsys.readouterr().out)["waters"]["road"]["level_m"] == 0.3
        assert await say("get", "press", "level") == 0
        assert float(capsys.readouterr().out) == pytest.approx(0.3, abs=0.011)
        assert await say("fault", "io", "debris") == 0
        assert await say("fault", "io") == 0
        assert "io: debris 0.5" in capsys.readouterr().out
        assert await say("storm", "off") == 0
        assert json.loads(capsys.readouterr().out)["waters"]["road"] == {"level_m": 0.0, "rain_mm_h": 0.0}
        (tmp_path / "up.csv").write_text("time_s,level_cm\n0,30\n100,deep\n")
        assert await say("storm", str(tmp_path / "up.csv")) == 2
        assert "up.csv: line 3 = 'deep': no number" in capsys.readouterr().err
    finally:
        await server.stop()
