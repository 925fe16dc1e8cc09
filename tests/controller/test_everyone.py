"""A line that is spoken to as one: two boards of one model that obey unit 0, and a stop of all or of one."""

import shutil
from itertools import count
from pathlib import Path

import pytest

from bench.office import prepared
from controller import admission, config, wire
from controller.config import Config
from controller.event import Stop
from controller.everyone import Everyone
from controller.wire import Action, Mode, OrderBody, Sound
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import BROADCAST
from firmware_bridge.machine import S
from hub import keys
from simulators import site
from simulators.world import World

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo"
TRUST = admission.load(DEMO / "trust.json", None, "demo")
KEY = keys.load_key(DEMO / "keys" / "operator-1.jwk")

GATEWAY = f"""
[gateway]
id = "gw-one"
area = "41/01/05/003/001"
deployment = "demo"
[clock]
source = "assumed"
[journal]
path = "journal.db"
[mqtt]
host = "127.0.0.1"
[local]
socket = "door.sock"
[trust]
list = "{DEMO}/trust.json"
roots = [
    "vjrv11EsyfNSifK_aEpzFk0497QvcuzFS08Lczbpal4",
    "TvBg6hB9AlhaP5SxiXiO35921gCR2BtxRderXjTA_s0",
    "imDCw2fnxeqkQHEfzv9DxJu9gbub-b9jA9mXNTHDloo",
]
threshold = 2
[profiles]
folder = "profiles"
[signals]
files = ["{ROOT}/configs/signals/national.toml"]
[[bus]]
id = "line"
link = "serial:line"
broadcast = true
"""
SITE = """
[site]
id = "one"
profiles = "profiles"
[[line]]
id = "line"
kind = "rtu"
path = "line"
"""


def written(folder: Path, boards: int = 5, channels: int = 1, gateway: str = GATEWAY, obeys: bool = True) -> Config:
    shutil.copytree(ROOT / "configs" / "profiles", folder / "profiles")
    board = folder / "profiles" / "waveshare_rtu_relay.toml"
    if obeys:
        text = board.read_text(encoding="utf-8")
        assert "[line]" not in text
        board.write_text(text + "\n[line]\nbroadcast = true\n", encoding="utf-8")
    units = ""
    for n in range(1, boards + 1):
        gateway += f'[[device]]\nid = "relay-{n}"\nbus = "line"\nunit = {n}\nprofile = "waveshare_rtu_relay"\n'
        units += f'[[unit]]\nid = "relay-{n}"\nline = "line"\nunit = {n}\nprofile = "waveshare_rtu_relay"\n'
        for channel in range(1, channels + 1):
            gateway += (f'[[siren]]\nid = "s-{n}{channel}"\ntype = "electronic"\ndrive = "relay-{n}.{channel}"\n')
    (folder / "gateway.toml").write_text(gateway, encoding="utf-8")
    wires = (f'[[wire]]\nfrom = "relay-{n}.{c}"\n' for n in range(1, boards + 1) for c in range(1, channels + 1))
    (folder / "site.toml").write_text(SITE + units + "".join(wires), encoding="utf-8")
    return config.load(folder / "gateway.toml")


class One:
    """A gateway and its line, on virtual time."""

    def __init__(self, folder: Path, boards: int = 5, channels: int = 1) -> None:
        self.config = written(folder, boards, channels)
        self.world = World(site.load(folder / "site.toml"), [self.config], TRUST)
        self._ids = count(1)
        self.world.run(8)

    def order(self, action: Action, **more: object) -> str:
        now = self.world.wall_us
        name = "air-raid" if action is Action.SOUND else None
        sound = Sound(name=name, digest=self.config.signals.digest(name)) if name else None
        body = OrderBody(
            v=1, id=f"{next(self._ids):032x}", deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now), expires_at=wire.to_text(now + 240 * S), area="41", action=action,
            mode=Mode.DRILL, sound=sound, sequence=next(self._ids), trust_version=TRUST.version, **more)
        body = prepared(body, self.config)
        self.world.order(keys.sign(body, [KEY]), wire.order_topic("41", action is Action.STOP))
        return body.id

    def said_to_all(self) -> list[bytes]:
        return [frame.seen.pdu for frame in self.world.frames if frame.seen.unit == BROADCAST]

    def sounding(self) -> set[tuple[str, int | None]]:
        return {place for place, on in self.world.field.sounding().items() if on}


def test_a_stop_of_all_is_first_said_to_all_at_once(tmp_path: Path) -> None:
    one = One(tmp_path)
    one.order(Action.SOUND)
    one.world.run(3)
    assert len(one.sounding()) == 5
    assert one.said_to_all() == [], "nothing is ever turned on so"
    one.world.frames.clear()
    one.order(Action.STOP)
    one.world.run(0.1)
    assert one.sounding() == set()
    assert one.said_to_all() == [b"\x05\x00\x00\x00\x00"]
    one.world.run(5)
    offs = {f.seen.unit for f in one.world.frames if f.seen.pdu[:2] == b"\x05\x00" and f.seen.unit}
    assert offs == {1, 2, 3, 4, 5}, "and each is turned off by itself as ever"
    assert len(one.said_to_all()) == 1
    assert one.world.stations["gw-one"].gateway.buses["line"].counters.silent == 0


def test_a_stop_of_one_order_or_one_siren_is_said_to_nobody_else(tmp_path: Path) -> None:
    one = One(tmp_path)
    one.order(Action.SOUND)
    one.world.run(2)
    one.order(Action.STOP, sirens=("s-11",))
    one.world.run(1)
    assert one.sounding() == {(f"relay-{n}", 1) for n in range(2, 6)}
    assert one.said_to_all() == []


def test_where_one_by_one_is_faster_nothing_is_said_to_all(tmp_path: Path) -> None:
    one = One(tmp_path, boards=2, channels=3)
    one.order(Action.SOUND)
    one.world.run(2)
    assert len(one.sounding()) == 6
    one.order(Action.STOP)
    one.world.run(1)
    assert one.sounding() == set()
    assert one.said_to_all() == []


@pytest.mark.parametrize(("channel", "said"), [(1, 0), (8, 1)])
def test_a_line_where_something_else_would_be_opened_is_not_spoken_to_as_one(tmp_path: Path, channel: int,
                                                                             said: int) -> None:
    """A second off-path on the channel that drives the sirens of the other boards: a welded siren would sound."""
    written(tmp_path, boards=6)
    file = tmp_path / "gateway.toml"
    text = file.read_text(encoding="utf-8").partition('[[siren]]\nid = "s-61"')[0]
    second = f'id = "s-11"\ntype = "electronic"\nsecond_off = "relay-6.{channel}"\n'
    file.write_text(text.replace('id = "s-11"\ntype = "electronic"\n', second), encoding="utf-8")
    loaded = config.load(file)
    stops = [Stop(s.id, "the officer") for s in loaded.spec.siren]
    assert len(stops) == 5
    assert len(Everyone(loaded).stopped(0, stops)) == said


@pytest.mark.parametrize(("gateway", "obeys", "says"), [
    (GATEWAY, False, "waveshare_rtu_relay is not known to obey it; only for a line of one model that does"),
    (GATEWAY + '[[device]]\nid = "g"\nbus = "line"\nunit = 9\nprofile = "qdy30a"\n', True,
     "qdy30a is not known to obey it"),
    (GATEWAY.replace("serial:line", "tcp:127.0.0.1:502"), True, "only a Modbus RTU line has it; drop it"),
    (GATEWAY.replace("broadcast = true", "rtu_behind = true"), True, "only a tcp: link has a box behind it; drop it"),
])
def test_a_line_that_must_not_be_spoken_to_as_one_is_refused(tmp_path: Path, gateway: str, obeys: bool,
                                                             says: str) -> None:
    with pytest.raises(BadDocument) as told:
        written(tmp_path, gateway=gateway, obeys=obeys)
    assert says in str(told.value)
    assert "bus[line]." in str(told.value)
