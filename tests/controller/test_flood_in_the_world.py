"""A flooded underpass as a whole gateway on a simulated site: gauges, sign, beacon, voice, boom and a siren.

The water rises in the field; what the gateway made of it is judged by the wire and by what the site logged.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from controller import config, origin, shelf, snapshot, wire
from controller.config import Config
from controller.ctl import flood, flood_ack, flood_wetcheck, status
from controller.event import Ask, BrokerDown, BrokerUp, Publish
from controller.floods import BAD_DEPTH, ground
from controller.origin import Origin
from controller.shelf import Shelving
from controller.wire import Event, State
from firmware_bridge.machine import S, Woken
from hub import keys
from simulators import site
from simulators.storm import parse
from simulators.world import World
from tests.ceremony import DEPLOYMENT, LI, OLD_ROOTS, PERSONS, ZHANG, entry, listed

ROOT = Path(__file__).parents[2]
CHEN = keys.new_key("chen")
TRUST = listed(keys=PERSONS | {CHEN["kid"]: entry(CHEN, "hydrologist")})
LINES = {"line-1": 9600, "line-2": 9600, "line-3": 9600}
UNITS = {  # id: line, unit, profile
    "relay-1": ("line-1", 1, "waveshare_rtu_relay"), "press-1": ("line-1", 2, "qdy30a"),
    "sonar-1": ("line-1", 3, "dyp_ultrasonic"), "io-1": ("line-1", 4, "generic_input_module"),
    "sign-1": ("line-2", 1, "cpower_sign"), "voice-1": ("line-3", 1, "jq8900_voice"),
}
SITE = """
[site]
id = "underpass"
profiles = "{root}/configs/profiles"
{lines}{units}
[[gauge]]
point = "press-1.level"
shows = "level"
[[gauge]]
point = "sonar-1.distance"
shows = "distance"
height_m = 4.2
[[gauge]]
point = "io-1.contact_1"
shows = "contact"
height_m = 0.4
[[wire]]
from = "relay-1.3"
to = "io-1.contact_2"
rise_ms = 4000
fall_ms = 4000
[[wire]]
from = "relay-1.1"
to = "io-1.current_1"
value_on = 8.0
value_off = 0.0
"""
GATEWAY = """
[gateway]
id = "gw-1"
area = "41/01/05/001/001"
deployment = "{deployment}"
[clock]
source = "kernel"
[journal]
path = "gw-1.db"
[mqtt]
host = "127.0.0.1"
[local]
socket = "gw-1.sock"
technicians = {{ pi = "Li Ming" }}
[trust]
list = "trust.json"
roots = {roots}
threshold = 2
[profiles]
folder = "{root}/configs/profiles"
[signals]
files = ["{root}/configs/signals/demo.toml"]
{buses}{devices}
[[siren]]
id = "s-1"
type = "electronic"
drive = "relay-1.1"
feedback = [{{ point = "io-1.current_1", above = 2.0 }}]
[[spot]]
id = "spot-1"
name = "农业路下穿"
scale = "{root}/configs/flood/scale-15-27-40.toml"
release_min = 1
sign = {{ device = "sign-1" }}
beacon = {{ drive = "relay-1.2" }}
boom = {{ drive = "relay-1.3", closed = "io-1.contact_2" }}
voice = {{ device = "voice-1", tracks = {{ orange = 1, red = 2 }}, track_s = 5, pause_s = 5 }}
[[spot.gauge]]
id = "pressure"
kind = "pressure"
point = "press-1.level"
unit = "m"
range = [-0.2, 5.0]
[[spot.gauge]]
id = "sonar"
kind = "ultrasonic"
point = "sonar-1.distance"
unit = "m"
range = [0.2, 6.0]
mount_cm = 420
[[spot.gauge]]
id = "float"
kind = "float"
point = "io-1.contact_1"
wet_cm = 40
"""
PLAY = bytes.fromhex("AA 07 02")
"""What a JQ8900 is told before the number of a track."""
FLASH = "time_s,level_m\n0,0\n10,0\n70,0.6\n130,0.6\n150,0\n"
"""Sixty centimetres in a minute, a minute of them, drained in twenty seconds: short, for the sake of the test."""
STANDS = "time_s,level_m\n0,0\n10,0\n70,0.6\n4000,0.6\n"


def load(folder: Path) -> tuple[site.Plan, Config]:
    units = "".join(f'[[unit]]\nid = "{id}"\nline = "{line}"\nunit = {n}\nprofile = "{of}"\n'
                    for id, (line, n, of) in UNITS.items())
    lines = "".join(f'[[line]]\nid = "{id}"\nkind = "rtu"\npath = "{id}"\nbaud = {baud}\n'
                    for id, baud in LINES.items())
    (folder / "site.toml").write_text(SITE.format(root=ROOT, lines=lines, units=units))
    buses = "".join(f'[[bus]]\nid = "{id}"\nlink = "serial:{id}"\nbaud = {baud}\n' for id, baud in LINES.items())
    devices = units.replace("[[unit]]", "[[device]]").replace("line = ", "bus = ")
    roots = json.dumps([k["x"] for k in OLD_ROOTS])
    (folder / "gateway.toml").write_text(GATEWAY.format(root=ROOT, deployment=DEPLOYMENT, roots=roots, buses=buses,
                                                        devices=devices))
    return site.load(folder / "site.toml"), config.load(folder / "gateway.toml")


def policy(of: Config, *signers: dict[str, str], rule_s: int = 120, **changes: Any) -> str:
    here = ground(of)
    rule = {"spot": "spot-1", "digest": here.spots["spot-1"], "from": "red", "sirens": ["s-1"],
            "sound": "demo-air-raid", "sound_digest": here.signals["demo-air-raid"], "max_duration_s": rule_s}
    body = {"v": 1, "version": 1, "deployment": DEPLOYMENT, "gateway": "gw-1", "area": of.area,
            "issued_at": "2026-09-01T00:00:00.000Z", "rule": [rule]} | changes
    return keys.sign_list(json.dumps(body).encode(), list(signers or (ZHANG, CHEN))).decode()


class Underpass:
    def __init__(self, folder: Path, with_policy: bool = True) -> None:
        self.plan, self.config = load(folder)
        self.world = World(self.plan, [self.config], TRUST,
                           policy=policy(self.config) if with_policy else "")
        self.world.run(20)

    def storm(self, text: str = FLASH) -> None:
        self.world.storm(parse(text, "flash.csv")[0])

    @property
    def published(self) -> list[tuple[int, Publish]]:
        return self.world.stations["gw-1"].published

    def events(self, what: str) -> list[Event]:
        told = (wire.decode(Event, p.payload) for _, p in self.published if p.topic.endswith("/event"))
        return [e for e in {e.seq: e for e in told}.values() if e.what == what]

    @property
    def spot(self) -> State:
        return [wire.decode(State, p.payload) for _, p in self.published if p.topic.endswith("/spot-1/state")][-1]

    def sounds(self, unit: str, channel: int | None = None) -> list[tuple[float, bool]]:
        return [(s.t_us / S, s.on) for s in self.world.sounds if (s.unit, s.channel) == (unit, channel)]

    @property
    def spoken(self) -> list[float]:
        """When the module was told to play a track."""
        return [f.seen.first_byte_us / S for f in self.world.frames if f.line == "line-3" and PLAY in f.seen.pdu]

    def on(self, contact: int) -> bool:
        """Whether a relay of the field is closed."""
        return bool(self.world.field.value("relay-1", f"relay_{contact}"))

    def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        station = self.world.stations["gw-1"]
        before = len(station.published)
        self.world.tell(station, Ask(7, 1000, "pi", verb, args))
        return next(json.loads(p.payload) for _, p in station.published[before:] if p.client == 7)


@pytest.fixture
def underpass(tmp_path: Path) -> Underpass:
    return Underpass(tmp_path)


def test_a_flash_flood_from_the_first_centimetre_to_the_dry_road(underpass: Underpass):
    world = underpass.world
    assert (underpass.spot.state, underpass.spot.points["sign"]) == ("DRY", "前方隧桥 谨慎驾驶")
    began_s = world.now_us / S
    underpass.storm()
    world.run(45)
    assert underpass.spot.points["to_red_s"] is not None
    world.run(60)
    assert underpass.spot.state == "RED"
    assert "禁止通行" in str(underpass.spot.points["sign"])
    assert underpass.spot.points["boom_closed"] is True
    assert (underpass.on(2), underpass.on(3)) == (True, True)
    assert underpass.spoken
    siren = underpass.sounds("relay-1", 1)
    assert siren[0][1]
    # Forty centimetres at 50 s; the gauge overhead is ten seconds behind, and red is waited for ten.
    assert 50 <= siren[0][0] - began_s <= 50 + 30
    world.run(140)
    assert [r.stage for r in world.stations["gw-1"].receipts() if r.stage.terminal] == ["finished"]
    assert (underpass.spot.state, underpass.spot.points["sign"]) == ("DRY", "前方隧桥 谨慎驾驶")
    assert (underpass.on(2), underpass.on(3), underpass.spot.points["boom_closed"]) == (False, False, False)
    for event in underpass.events("flood-confirmed"):
        assert event.samples is not None
        assert set(event.samples) == {"pressure", "sonar", "float"}


def test_without_a_policy_the_siren_waits_for_people(tmp_path: Path):
    underpass = Underpass(tmp_path, with_policy=False)
    underpass.storm()
    underpass.world.run(100)
    assert underpass.spot.state == "RED"
    assert underpass.sounds("relay-1", 1) == []


@pytest.mark.parametrize(("target", "fault"), [
    ("press-1", "stuck"), ("press-1", "flooded"), ("sonar-1", "dead"), ("io-1", "debris"),
])
def test_with_one_gauge_failed_either_way_it_does_the_same(underpass: Underpass, target: str, fault: str):
    underpass.world.inject(target, fault)
    underpass.storm()
    underpass.world.run(110)
    assert underpass.spot.state == "RED"
    assert "禁止通行" in str(underpass.spot.points["sign"])
    assert underpass.sounds("relay-1", 1)[0][1]


def test_without_a_broker_it_does_the_same_and_tells_it_all_when_there_is_one_again(underpass: Underpass):
    world, station = underpass.world, underpass.world.stations["gw-1"]
    world.tell(station, BrokerDown("the line to the centre is cut"))
    told = len(station.published)
    underpass.storm(STANDS)
    world.run(90)
    assert not [p for _, p in station.published[told:] if p.client is None], "nobody hears of it"
    assert underpass.sounds("relay-1", 1)[0][1]
    assert (underpass.on(2), underpass.on(3)) == (True, True)
    assert underpass.spoken
    assert any("禁止通行".encode("gb2312") in f.seen.pdu for f in world.frames if f.line == "line-2")
    world.tell(station, BrokerUp())
    world.run(5)
    assert underpass.spot.state == "RED"
    assert len(underpass.events("flood-siren")) == 1
    assert {e.detail.partition(";")[0] for e in underpass.events("flood-confirmed")} >= {"orange", "red"}


def test_vehicles_and_one_flooded_gauge_sound_nothing(underpass: Underpass):
    underpass.world.inject("sonar-1", "vehicles", 0.3)
    underpass.world.inject("press-1", "flooded")
    underpass.world.run(150)
    assert underpass.sounds("relay-1", 1) == underpass.spoken == []
    assert not underpass.on(3)


def test_a_restart_in_the_flood_leaves_no_silence_and_makes_no_second_siren(underpass: Underpass):
    underpass.storm(STANDS)
    underpass.world.run(78)
    assert underpass.sounds("relay-1", 1)
    orders = set()
    for _ in range(2):
        back_us = underpass.world.now_us + 3 * S
        underpass.world.restart("gw-1", away_s=3)
        underpass.world.run(13)
        assert (underpass.on(2), underpass.on(3)) == (True, True)
        spoke = [t for t in underpass.spoken if t >= back_us / S]
        assert spoke
        assert spoke[0] - back_us / S <= 10
        underpass.world.run(40)
        assert "禁止通行" in str(underpass.spot.points["sign"])
        orders |= {r.body["order"] for _, r in underpass.world.stations["gw-1"].records if r.kind == "accept"}
    assert len(orders) == 1
    assert underpass.spot.points["confirmed"] == "RED"


def test_a_dead_sign_is_a_fault_within_half_a_minute(underpass: Underpass):
    underpass.world.inject("sign-1", "dead")
    underpass.world.run(31)
    assert underpass.events("sign-unconfirmed")[0].urgent
    assert underpass.spot.points["sign"] == ""
    underpass.world.inject("sign-1", "dead", 0)
    underpass.world.run(20)
    assert underpass.spot.points["sign"] == "前方隧桥 谨慎驾驶"


def test_people_look_acknowledge_shelve_and_check(underpass: Underpass, capsys: pytest.CaptureFixture[str]):
    look = underpass.ask("flood")
    assert look["policy"]["version"] == 1
    assert look["spots"]["spot-1"]["gauges"]["pressure"]["good"]
    underpass.storm("time_s,level_m\n0,0.3\n9999,0.3\n")
    underpass.world.run(40)
    assert underpass.ask("flood")["spots"]["spot-1"]["alarms"]["orange"]["state"] == "UNACKED"
    underpass.world.order(wire.Ack(spot="spot-1", alarm="orange", by="Wang").encode(), wire.ack_topic("gw-1"))
    assert underpass.ask("flood")["spots"]["spot-1"]["alarms"]["orange"]["state"] == "ACKED"
    underpass.world.order(b"{}", wire.ack_topic("gw-1"))
    ack = underpass.ask("ack", spot="spot-1")
    assert {a["state"] for a in ack["spots"]["spot-1"]["alarms"].values()} <= {"ACKED", "NORMAL"}
    shelved = underpass.ask("shelve", spot="spot-1", alarm="orange", minutes=5)
    assert shelved["spots"]["spot-1"]["alarms"]["orange"]["state"] == "OUT_OF_SERVICE"
    back = underpass.ask("unshelve", spot="spot-1", alarm="orange")
    assert back["spots"]["spot-1"]["alarms"]["orange"]["state"] == "UNACKED"
    assert "error" in underpass.ask("shelve", spot="spot-1", alarm="orange", minutes=481)
    assert "error" in underpass.ask("ack", spot="spot-9")
    assert "error" in underpass.ask("ack", spot="spot-1", alarm="mauve")
    wet = underpass.ask("wetcheck", spot="spot-1", gauge="pressure", depth_cm=28.0)
    assert wet["off_cm"] == pytest.approx(2.0, abs=0.6)
    assert wet["set"]["zero_cm"] == pytest.approx(2.0, abs=0.6)
    assert "mount_cm" in underpass.ask("wetcheck", spot="spot-1", gauge="sonar", depth_cm=30)["set"]
    assert "doubt" in underpass.ask("wetcheck", spot="spot-1", gauge="pressure", depth_cm=3)
    assert "error" in underpass.ask("wetcheck", spot="spot-1", gauge="nose")
    # Who asks may be anybody, and may say anything that is JSON.
    for depth in (10**400, -(10**400), float("inf"), -1, 3001, "30", True, [30]):
        assert underpass.ask("wetcheck", spot="spot-1", gauge="pressure", depth_cm=depth)["error"] == BAD_DEPTH
    for alarm in ([], ["orange"], {}, 7):
        assert "error" in underpass.ask("shelve", spot="spot-1", alarm=alarm)
    for told, module in ((look, flood), (ack, flood_ack), (wet, flood_wetcheck), (underpass.ask("status"), status)):
        module.show(told)
        assert not module.failed(told)
    shown = capsys.readouterr().out
    assert "spot-1" in shown
    assert "zero_cm = " in shown
    assert "积水点 Spots" in shown
    # From the centre two persons' hands are needed to keep it silent, and it names its end.
    until = wire.to_text(underpass.world.wall_us + 600 * S)
    wish = Shelving(id="1" * 32, deployment=DEPLOYMENT, gateway="gw-1", area=underpass.config.area, spot="spot-1",
                    alarm="orange", issued_at=wire.to_text(underpass.world.wall_us), until=until, reason="works")
    underpass.world.order(keys.sign_list(wish.encode(), [ZHANG]), shelf.topic("gw-1"))
    assert underpass.ask("flood")["spots"]["spot-1"]["alarms"]["orange"]["state"] == "UNACKED"
    underpass.world.order(keys.sign_list(wish.encode(), [ZHANG, LI]), shelf.topic("gw-1"))
    assert underpass.ask("flood")["spots"]["spot-1"]["alarms"]["orange"]["state"] == "OUT_OF_SERVICE"
    underpass.world.run(2)
    assert underpass.events("ack-refused")
    assert underpass.events("shelf-refused")


def test_one_operator_may_stop_what_a_rule_started(underpass: Underpass):
    underpass.storm(STANDS)
    underpass.world.run(70)
    while not underpass.sounds("relay-1", 1):
        underpass.world.run(1)
    underpass.ask("stop", siren="s-1")
    underpass.world.run(5)
    assert not underpass.on(1)
    underpass.world.run(60)
    assert len([on for _, on in underpass.sounds("relay-1", 1) if on]) == 1, "and it does not begin again"


def test_a_policy_brought_to_the_cabinet_rules_and_an_older_one_does_not(tmp_path: Path):
    underpass = Underpass(tmp_path, with_policy=False)
    assert "两人" in underpass.ask("policy", text=policy(underpass.config, ZHANG))["error"]
    assert underpass.ask("policy", text=policy(underpass.config, version=2))["policy"] == 2
    assert underpass.ask("policy", text=policy(underpass.config))["reason"] == "older"
    underpass.world.run(1)
    underpass.world.restart("gw-1")
    underpass.world.run(5)
    assert underpass.ask("flood")["policy"]["version"] == 2
    assert underpass.events("policy")


def test_two_policies_of_one_version_are_told_and_the_first_rules_on(tmp_path: Path):
    underpass = Underpass(tmp_path)
    first, other = (policy(underpass.config, rule_s=n) for n in (120, 60))
    assert underpass.ask("policy", text=first)["policy"] == 1
    assert underpass.ask("policy", text=other)["reason"] == "fork"
    underpass.world.run(1)
    (told,) = underpass.events("policy-refused")
    assert (told.subject, told.urgent) == ("fork", True)
    assert "两份同版本" in told.detail
    assert underpass.world.stations["gw-1"].gateway.floods.policy.policy.rule[0].max_duration_s == 120
    # Somebody puts it into the file: after a restart the journal still knows which was there first.
    underpass.world.policy = other
    underpass.world.run(1)
    underpass.world.restart("gw-1")
    underpass.world.run(5)
    assert len(underpass.events("policy-refused")) == 2
    assert underpass.world.stations["gw-1"].gateway.floods.policy.policy.rule[0].max_duration_s == 120


def test_a_gateway_with_a_flood_lives_again_from_its_origin_and_from_a_snapshot(underpass: Underpass):
    underpass.storm(STANDS)
    underpass.world.run(75)
    station = underpass.world.stations["gw-1"]
    made = Origin(underpass.config, TRUST, "again", "world", policy=policy(underpass.config))
    texts = {d.profile: Path(underpass.config.profile_of(d.id).file).read_text() for d in underpass.config.spec.device}
    again = origin.read(json.loads(json.dumps(origin.told(made, texts)))).gateway([r for _, r in station.records])
    assert again.floods.rules["spot-1"].lookout.local.name == "RED"
    shot = snapshot.restore([*snapshot.take(station.gateway)], underpass.config)
    now_us = underpass.world.now_us + S
    assert shot.handle(now_us, Woken()) == station.gateway.handle(now_us, Woken())
