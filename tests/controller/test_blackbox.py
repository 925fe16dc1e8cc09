"""The black box: what a gateway went through is on the disk, within its bound, and lives again as it was."""

import gzip
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.office import prepared
from controller import admission, blackbox, config, origin, relive, segment, snapshot, wire
from controller.admission import SignedList
from controller.blackbox import Blackbox
from controller.config import Config
from controller.event import Arrived, Ask, Record
from controller.gateway import Gateway
from controller.moment import Moment
from controller.origin import Origin
from controller.segment import Segment
from controller.wire import Action, Mode, OrderBody, Sound
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Begin, Received
from firmware_bridge.machine import S, Woken
from hub import keys
from simulators import site
from simulators.world import World

DEMO = Path(__file__).parents[2] / "configs" / "demo"
CONFIG = config.load(DEMO / "gateway.toml")
TRUST = admission.load(DEMO / "trust.json", None, "demo")
KEY = keys.load_key(DEMO / "keys" / "operator-1.jwk")
PROFILES = {d.profile: Path(CONFIG.profile_of(d.id).file).read_text() for d in CONFIG.spec.device}


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Noted:
    """A gateway whose black box is kept."""

    def __init__(self, gateway: Gateway, box: Blackbox) -> None:
        self.gateway, self._box = gateway, box
        self.moments = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gateway, name)

    def handle(self, now_us: int, event: object) -> list[Any]:
        effects = self.gateway.handle(now_us, event)
        self._box.note(now_us, event, effects)
        self.moments += 1
        return list(effects)


class Flight:
    """A gateway in the world, from its start on, with a black box of so many bytes."""

    def __init__(self, folder: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.folder, self.size = folder, size
        monkeypatch.setattr("simulators.world.Gateway", self.begin)
        self.world = World(site.load(DEMO / "site.toml"), [CONFIG], TRUST)

    def begin(self, config: Config, file: SignedList, records: list[Record], session: str, version: str,
              safe_min: str, chance: str, policy: str) -> "Noted":
        """What the world makes in place of a gateway."""
        made = Origin(config, file, session, version, safe_min=safe_min, chance=chance, policy=policy)
        gateway = made.gateway(records)
        self.box = Blackbox(self.folder, self.size, 0, origin.told(made, PROFILES), records,
                            partial(snapshot.take, gateway), self.said.append)
        self.noted = Noted(gateway, self.box)
        return self.noted

    def order(self, action: Action, signal: str | None = None) -> None:
        now = self.world.wall_us
        sound = Sound(name=signal, digest=CONFIG.signals.digest(signal), start_at=None) if signal else None
        body = OrderBody(
            v=1, id=f"{now:032x}", deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now), expires_at=wire.to_text(now + 240 * S), area="41", action=action,
            mode=Mode.DRILL, sound=sound, sequence=now, trust_version=TRUST.version)
        body = prepared(body, CONFIG)
        self.world.order(keys.sign(body, [KEY]), wire.order_topic("41", action is Action.STOP))


Fly = Callable[..., Flight]


@pytest.fixture
def fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fly:
    def begin(folder: Path = tmp_path, size: int = 2**26) -> Flight:
        return Flight(folder, size, monkeypatch)
    return begin


def restored(one: Segment) -> Gateway:
    made = origin.read(one.header["origin"])
    return made.gateway(one.records) if one.state is None else snapshot.restore(one.state, made.config)


def lived(folder: Path) -> Iterator[relive.Step]:
    for one in segment.segments(folder):
        yield from relive.steps(restored(one), one.moments())


def test_a_day_with_an_order_a_stop_and_a_torn_line_lives_again(fly: Fly, tmp_path: Path) -> None:
    flight = fly(tmp_path, 8 * blackbox.LEAST_BYTES)
    world = flight.world
    world.run(5)
    flight.order(Action.SOUND, "demo-air-raid")
    world.run(30)
    flight.order(Action.STOP)
    world.run(5)
    station = world.stations[CONFIG.id]
    for verb, args in (("status", {}), ("bus", {"bus": "line-1"}), ("read", {"device": "gauge-1"}), ("nonsense", {})):
        world.tell(station, Ask(1, 0, "root", verb, args))
    world.inject("line-1", "unplug")
    world.run(10)
    flight.box.close()
    assert flight.said == []
    steps = list(lived(tmp_path))
    assert len(steps) == flight.noted.moments > 400
    assert [s.moment for s in steps if not s.same] == []
    sent = [e for s in steps for e in s.effects if type(e).__name__ == "Send"]
    assert len(sent) > 200
    assert any(type(s.moment.event) is Arrived and s.effects for s in steps)


def test_from_its_start_with_what_its_journal_held(tmp_path: Path) -> None:
    records = [Record("accept", {"order": "a" * 32, "n": n}) for n in range(100)]
    made = Origin(CONFIG, TRUST, "run-1", "test", True, "three crashes", "chance")
    gateway = made.gateway(records)
    box = Blackbox(tmp_path, 2**26, 0, origin.told(made, PROFILES), records, lambda: snapshot.take(gateway), print)
    for n in range(1, 50):
        box.note(n * S, Woken(), gateway.handle(n * S, Woken()))
    box.close()
    (one,) = segment.segments(tmp_path)
    assert (one.records, one.state, one.run, one.torn) == (records, None, "run-1", False)
    again = origin.read(one.header["origin"])
    assert again.config.spec == CONFIG.spec
    assert again.config.signals.signals == CONFIG.signals.signals
    assert again.config.signals.programmes == CONFIG.signals.programmes
    assert (again.trust, again.forgot, again.safe_min, again.chance) == (TRUST, True, "three crashes", "chance")
    steps = list(lived(tmp_path))
    assert len(steps) == 49
    assert all(s.same for s in steps)
    assert any(s.effects for s in steps)


def test_another_machine_is_found_at_its_first_step(fly: Fly, tmp_path: Path) -> None:
    flight = fly(tmp_path)
    flight.world.run(5)
    flight.box.close()
    (one,) = segment.segments(tmp_path)
    moments = list(one.moments())
    n = next(n for n, m in enumerate(moments) if isinstance(m.event, Received) and m.check)
    event = moments[n].event
    assert isinstance(event, Received)
    moments[n] = Moment(moments[n].at_us, Received(event.bus, event.data[:-1] + b"\x00"), moments[n].check)
    steps = list(relive.steps(restored(one), moments))
    assert next(k for k, s in enumerate(steps) if not s.same) == n


def test_the_step_that_killed_it_is_there_and_kills_again(tmp_path: Path) -> None:
    gateway = Origin(CONFIG, TRUST, "run-1", "test").gateway([])
    box = Blackbox(tmp_path, 2**26, 0, origin.told(Origin(CONFIG, TRUST, "run-1", "test"), PROFILES), [],
                   lambda: snapshot.take(gateway), print)
    bad = Received("no-such-line", b"")
    with pytest.raises(KeyError) as died:
        gateway.handle(S, bad)
    box.note(S, bad, died.value)
    box.note(2 * S, Woken(), [])
    box.close()
    (step,) = lived(tmp_path)
    assert step.same
    assert step.died == "KeyError: 'no-such-line'"


def test_what_one_siren_is_told(fly: Fly, tmp_path: Path) -> None:
    flight = fly(tmp_path)
    flight.world.run(3)
    flight.order(Action.SOUND, "demo-air-raid")
    flight.world.run(3)
    flight.box.close()
    (one,) = segment.segments(tmp_path)
    gateway = restored(one)
    assert relive.watch(gateway, "s-999") is None
    seen = relive.watch(gateway, "s-101")
    assert seen is not None
    assert all(step.same for step in relive.steps(gateway, one.moments()))
    assert [type(i.event).__name__ for i in seen].count("Activate") == 1
    assert any(isinstance(effect, Begin) for i in seen for effect in i.effects)


# The disk.


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_it_keeps_its_bound_and_every_file_lives_by_itself(fly: Fly, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blackbox, "LEAST_BYTES", 20_000)
    monkeypatch.setattr(blackbox, "FLUSH_S", 0.01)
    bound, chance = 160_000, Random(1)
    flight = fly(tmp_path, bound)
    station = flight.world.stations[CONFIG.id]
    for _ in range(80):
        # What no packer makes smaller.
        flight.world.tell(station, Arrived("siren/1/o/41/order", chance.randbytes(4000)))
        flight.world.run(0.5)
        until(lambda: flight.box._put == flight.box._got)
        # A file may grow by what waited when it was found full.
        assert folder_bytes(tmp_path) < bound + 30_000
    flight.box.close()
    names = [path.name for path in segment.files(tmp_path)]
    assert len(names) > 2
    assert "000001.jsonl.gz" not in names
    for one in segment.segments(tmp_path):
        assert one.state is not None
        steps = list(relive.steps(restored(one), one.moments()))
        assert all(s.same for s in steps)
    assert flight.said == []


@pytest.mark.parametrize("cut", [1, 7, 100, 1000])
def test_a_torn_tail_costs_what_is_torn(fly: Fly, tmp_path: Path, cut: int) -> None:
    flight = fly(tmp_path)
    flight.world.run(20)
    flight.box.close()
    whole = len(list(lived(tmp_path)))
    last = segment.files(tmp_path)[-1]
    os.truncate(last, last.stat().st_size - cut)
    *_, one = segment.segments(tmp_path)
    assert one.torn
    left = len(list(lived(tmp_path)))
    assert 0 < left <= whole
    assert all(s.same for s in lived(tmp_path))
    saved = tmp_path / "saved.gz"
    assert segment.save(tmp_path, saved) == len(segment.files(tmp_path))
    assert gzip.decompress(saved.read_bytes())
    assert [len(s.lines) for s in segment.segments(saved)] == [len(s.lines) for s in segment.segments(tmp_path)]


@pytest.mark.parametrize("at", [0, 5, 2000, -400])
def test_a_damaged_file_is_told_or_ends_where_it_is_damaged(fly: Fly, tmp_path: Path, at: int) -> None:
    flight = fly(tmp_path)
    flight.world.run(10)
    flight.box.close()
    last = segment.files(tmp_path)[-1]
    data = bytearray(last.read_bytes())
    data[at] ^= 0x55
    last.write_bytes(data)
    try:
        for one in segment.segments(tmp_path):
            for step in relive.steps(restored(one), one.moments()):
                assert step.same
    except Malformed:
        pass


@pytest.mark.parametrize("text", ["", "nothing", "{}", '{"blackbox":1}', '{"blackbox":9,"at_us":1}',
                                  '{"blackbox":1,"at_us":1,"wall_us":1,"code":"","records":5,"snapshot":null,'
                                  '"origin":{}}', '{"blackbox":1,"at_us":1,"wall_us":1,"code":"","records":0,'
                                  '"snapshot":"!","origin":{}}'])
def test_what_is_no_black_box_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress((text + "\n").encode()) if text else b"no gzip at all")
    if not text:
        assert list(segment.segments(path)) == []
        return
    with pytest.raises(Malformed, match=r"x\.gz"):
        list(segment.segments(path))


@pytest.mark.parametrize("key", ["config", "profiles", "signals", "trust", "session"])
def test_an_origin_without_one_of_its_parts_is_malformed(key: str) -> None:
    whole = origin.told(Origin(CONFIG, TRUST, "run-1", "test"), PROFILES)
    assert origin.read(whole).session == "run-1"
    for wrong in ({**whole, key: None}, {k: v for k, v in whole.items() if k != key}):
        if key == "session" and key in wrong:
            continue
        with pytest.raises(Malformed, match="no origin"):
            origin.read(wrong)


def test_a_disk_that_refuses_is_told_once_and_asked_again(fly: Fly, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blackbox, "FLUSH_S", 0.01)
    monkeypatch.setattr(blackbox, "RETRY_S", 0.05)
    folder = tmp_path / "box"
    folder.write_text("in the way")
    flight = fly(folder)
    for _ in range(20):
        flight.world.run(1)
        time.sleep(0.01)
    until(lambda: len(flight.said) == 1)
    assert "File exists" in flight.said[0]
    folder.unlink()

    def again() -> bool:
        flight.world.run(1)
        return folder.is_dir() and any(segment.files(folder))

    until(again)
    flight.world.run(5)
    flight.box.close()
    assert len(flight.said) == 1
    steps = list(lived(folder))
    assert len(steps) > 10
    assert all(s.same for s in steps)


def test_little_room_is_left_to_the_journal(fly: Fly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blackbox, "FLUSH_S", 0.01)
    room = [2**40]
    monkeypatch.setattr(blackbox, "_free", lambda folder: room[0])
    flight = fly(tmp_path)
    flight.world.run(5)
    until(lambda: flight.box._put == flight.box._got)
    room[0] = 1000
    flight.world.run(5)
    until(lambda: flight.said != [])
    assert "MiB are free; nothing is recorded" in flight.said[0]
    assert segment.files(tmp_path) == []
    flight.box.close()


def test_more_than_can_wait_is_lost_and_a_snapshot_goes_on(fly: Fly, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blackbox, "WAITING_BYTES", 50 * blackbox.MOMENT_BYTES)
    held = threading.Event()
    real = Blackbox._drain
    monkeypatch.setattr(blackbox, "FLUSH_S", 0.01)
    monkeypatch.setattr(Blackbox, "_drain", lambda self: held.wait() and real(self))
    flight = fly(tmp_path)

    def overflown() -> bool:
        return flight.box._deaf

    flight.world.run(20)
    assert overflown()
    held.set()
    until(lambda: flight.box._put == flight.box._got)
    flight.world.run(1)
    assert not overflown()
    until(lambda: flight.box._put == flight.box._got)
    flight.world.run(1)
    flight.box.close()
    steps = list(lived(tmp_path))
    assert 20 < len(steps) < flight.noted.moments - 50
    assert all(s.same for s in steps)


# Snapshots.


def gateway() -> Gateway:
    return Origin(CONFIG, TRUST, "run-1", "test").gateway([])


class Opens:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


class Makes:
    def __init__(self, what: Any, *args: Any) -> None:
        self._what, self._args = what, args

    def __reduce__(self) -> Any:
        return self._what, self._args


@pytest.mark.parametrize("wanted", [
    Opens(), Makes(Blackbox, Path("/nowhere")), Makes(eval, "1"), Makes(Path, "/"), Makes(config.load, Path("/x")),
    Makes(getattr, "a", "upper"),
], ids=["a program", "a shell of ours", "eval", "a path", "a function of ours", "getattr"])
def test_a_snapshot_makes_nothing_but_machines(wanted: object) -> None:
    with pytest.raises(Malformed, match="no part of a machine"):
        snapshot.restore([pickle.dumps(wanted)], CONFIG)


@pytest.mark.parametrize("data", [b"", b"nothing", pickle.dumps(5), pickle.dumps({"a": [1]}), b"\x80\x05."])
def test_what_is_no_snapshot_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        snapshot.restore([data], CONFIG)


def test_a_snapshot_of_another_configuration_is_malformed() -> None:
    data = [*snapshot.take(gateway())]
    other = config.load(DEMO / "gateway-3.toml")
    with pytest.raises(Malformed, match="which its configuration does not have"):
        snapshot.restore(data, config.Config(other.file, other.spec, {}, other.signals))


def test_a_snapshot_is_cut_anywhere_and_is_malformed() -> None:
    (data,) = snapshot.take(gateway())
    assert len(data) < 1_000_000
    for n in range(0, len(data), len(data) // 50):
        with pytest.raises(Malformed):
            snapshot.restore([data[:n]], CONFIG)
