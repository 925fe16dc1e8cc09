"""One motor siren with everything that can be wired to it, as a whole gateway on a simulated site.

Its contactor, the current of each phase, a microphone on a line of its own, and a second off-path; judged by what the
site logged.
"""

import argparse
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bench.office import prepared
from controller import admission, config, wire
from controller.ctl import growl
from controller.event import Ask
from controller.wire import Action, Event, Mode, OrderBody, Receipt, Sound, Stage, State
from firmware_bridge.machine import MS, S
from hub import keys
from simulators import promises, site
from simulators.promises import History, Ordered
from simulators.world import World

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo"
TRUST = admission.load(DEMO / "trust.json", None, "demo")
KEYS = {name: keys.load_key(DEMO / "keys" / f"{name}.jwk") for name in ("operator-1", "commander")}

SITE = """
[site]
id = "motor"
profiles = "{profiles}"

[[line]]
id = "line-1"
kind = "rtu"
path = "line-1"

[[line]]
id = "line-2"
kind = "rtu"
path = "line-2"
baud = 4800

[[unit]]
id = "relay-1"
line = "line-1"
unit = 1
profile = "waveshare_rtu_relay"

[[unit]]
id = "legs-1"
line = "line-1"
unit = 2
profile = "generic_input_module"

[[unit]]
id = "ear-1"
line = "line-2"
unit = 1
profile = "taidacent_decibel"
"""
WIRES = {"legs-1.current_1": (8.2, 0.0), "legs-1.current_2": (8.1, 0.0), "legs-1.current_3": (8.3, 0.0),
         "legs-1.contact_1": ("true", "false"), "ear-1.level": (104.0, 48.0)}
GATEWAY = """
[gateway]
id = "gw-1"
area = "41/01/05/001/001"
deployment = "demo"

[clock]
source = "assumed"

[journal]
path = "gw-1.db"

[mqtt]
host = "127.0.0.1"

[local]
socket = "gw-1.sock"
technicians = {{ pi = "Li Ming" }}

[trust]
list = "{demo}/trust.json"
roots = [
    "vjrv11EsyfNSifK_aEpzFk0497QvcuzFS08Lczbpal4",
    "TvBg6hB9AlhaP5SxiXiO35921gCR2BtxRderXjTA_s0",
    "imDCw2fnxeqkQHEfzv9DxJu9gbub-b9jA9mXNTHDloo",
]
threshold = 2

[profiles]
folder = "{profiles}"

[signals]
files = ["{signals}/national.toml", "{signals}/demo.toml"]

[[bus]]
id = "line-1"
link = "serial:line-1"

[[bus]]
id = "line-2"
link = "serial:line-2"
baud = 4800

[[device]]
id = "relay-1"
bus = "line-1"
unit = 1
profile = "waveshare_rtu_relay"

[[device]]
id = "legs-1"
bus = "line-1"
unit = 2
profile = "generic_input_module"

[[device]]
id = "ear-1"
bus = "line-2"
unit = 1
profile = "taidacent_decibel"

[[siren]]
id = "s-1"
type = "motor"
drive = "relay-1.1"
feedback = [
    {{ point = "legs-1.current_1", above = 2.0 }},
    {{ point = "ear-1.level", above = 85, proves = "heard" }},
]
second_off = "relay-1.8"
spool_up_s = 1.0
spool_down_s = 2.0
contactor = "legs-1.contact_1"
contactor_ms = 900
phase_currents = ["legs-1.current_1", "legs-1.current_2", "legs-1.current_3"]
phase_above = 2.0
"""


class Place:
    """The site, its gateway, and a hub that remembers what it ordered. `cut` are inputs whose wire is missing."""

    def __init__(self, folder: Path, *cut: str, settings: tuple[str, ...] = ()) -> None:
        names = {"profiles": ROOT / "configs/profiles", "signals": ROOT / "configs/signals", "demo": DEMO}
        wires = "".join(
            f'\n[[wire]]\nfrom = "relay-1.1"\nto = "{to}"\nvalue_on = {on}\nvalue_off = {off}\nrise_ms = 300\n'
            f'fall_ms = 300\ncut_by = "relay-1.8"\n' for to, (on, off) in WIRES.items() if to not in cut)
        (folder / "site.toml").write_text(SITE.format(**names) + wires)
        (folder / "gateway.toml").write_text(GATEWAY.format(**names))
        self.config = config.load(folder / "gateway.toml", list(settings))
        self.world = World(site.load(folder / "site.toml"), [self.config], TRUST)
        self.orders: list[Ordered] = []
        self._ids = count(1)
        self.world.run(8)

    def order(self, name: str = "demo-air-raid", mode: Mode = Mode.DRILL) -> str:
        now = self.world.wall_us
        body = OrderBody(
            v=1, id=f"{next(self._ids):032x}", deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now), expires_at=wire.to_text(now + 240 * S), area="41", action=Action.SOUND,
            mode=mode, sound=Sound(name=name, digest=self.config.signals.digest(name)), sequence=next(self._ids),
            trust_version=TRUST.version)
        body = prepared(body, self.config)
        self.orders.append(Ordered(body, ("s-1",)))
        signers = ("operator-1", "commander") if mode is Mode.LIVE else ("operator-1",)
        self.world.order(keys.sign(body, [KEYS[name] for name in signers]), wire.order_topic("41", False))
        return body.id

    def ask(self, verb: str, user: str = "pi", **args: Any) -> None:
        station = self.world.stations["gw-1"]
        self.world.tell(station, Ask(7, 1000, user, verb, {"siren": "s-1"} | args))

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(p.payload) for _, p in self.world.stations["gw-1"].published if p.client == 7]

    def receipts(self, order: str) -> list[Receipt]:
        return [r for r in self.world.stations["gw-1"].receipts() if r.order == order and r.siren]

    def end(self, order: str) -> Receipt:
        (end,) = [r for r in self.receipts(order) if r.stage.terminal]
        return end

    def troubles(self, order: str) -> list[str]:
        return [r.reason for r in self.receipts(order) if r.stage is Stage.TROUBLE]

    def events(self) -> list[tuple[str, str, str]]:
        said = (wire.decode(Event, p.payload) for _, p in self.world.stations["gw-1"].published
                if p.topic.endswith("/event"))
        return [(e.what, e.subject, e.detail) for e in said if e.subject == "s-1"]

    def state(self) -> State:
        told = [p.payload for _, p in self.world.stations["gw-1"].published if p.topic.endswith("/s-1/state")]
        return wire.decode(State, told[-1])

    def sounds(self) -> list[tuple[float, bool]]:
        return [(round((s.t_us - self.world.sounds[0].t_us) / S, 1), s.on) for s in self.world.sounds
                if (s.unit, s.channel) == ("relay-1", 1)]

    def breaches(self) -> dict[str, list[str]]:
        offset = self.world.wall_offset_us
        log = [{"unit": s.unit, "channel": s.channel, "on": s.on, "cause": s.cause, "wall_us": s.t_us + offset}
               for s in self.world.sounds]
        journals = {id: [(t + offset, r) for t, r in s.records] for id, s in self.world.stations.items()}
        receipts = [r for s in self.world.stations.values() for r in s.receipts()]
        told = promises.judge(History([self.config], self.orders, receipts, promises.soundings(log, [self.config]),
                                      journals))
        return {name: found for name, found in told.items() if found}


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Place]:
    return lambda *cut, settings=(): Place(tmp_path, *cut, settings=settings)


def test_a_drill_is_commanded_sensed_and_heard(place: Callable[..., Place]) -> None:
    p = place()
    order = p.order()
    p.world.run(60)
    evidence = p.end(order).evidence
    assert evidence is not None
    assert (evidence.phases, evidence.commanded, evidence.sensed, evidence.heard) == (3, 3, 3, 3)
    assert [r.stage for r in p.receipts(order)].count(Stage.HEARD) == 1
    assert (p.end(order).stage, p.troubles(order), p.events(), p.breaches()) == (Stage.FINISHED, [], [], {})
    assert p.state().state == "IDLE"


def test_a_siren_that_the_microphone_alone_hears_did_not_sound(place: Callable[..., Place]) -> None:
    """The wire of the ear stands for a neighbour that sounds in step; our own motor draws nothing."""
    currents = ("legs-1.current_1", "legs-1.current_2", "legs-1.current_3")
    p = place(*currents)
    order = p.order()
    p.world.run(60)
    evidence = p.end(order).evidence
    assert evidence is not None
    assert (evidence.sensed, evidence.heard, evidence.sounded) == (0, 3, False)
    assert (p.end(order).stage, p.end(order).reason) == (Stage.FAILED, "not sensed: 3 of 3")
    assert p.events() == []


def test_a_contactor_that_welds_is_found_and_cut(place: Callable[..., Place]) -> None:
    p = place()
    order = p.order("demo-pre-alert")
    p.world.run(20)
    # The relay's output is the coil of the contactor: that it stays closed is seen by the contact alone.
    p.world.inject("relay-1.1", "stuck-on")
    p.world.run(60)
    assert ("still-on", "s-1", "contactor did not open") in p.events()
    assert p.state().state == "FAULT"
    assert p.state().why == "contactor did not open, held off by the second path"
    assert p.sounds()[-1][1] is False, "silent, by the second path"
    assert p.end(order).stage is Stage.FINISHED
    drill = p.order()
    p.world.run(5)
    assert p.end(drill).stage is Stage.REJECTED


def test_a_contactor_that_does_not_close_is_told(place: Callable[..., Place]) -> None:
    p = place()
    p.world.inject("relay-1.1", "stuck-off")
    order = p.order(mode=Mode.LIVE)
    p.world.run(4)
    assert p.troubles(order) == ["contactor did not close"]
    p.world.run(60)
    assert (p.end(order).stage, p.end(order).reason) == (Stage.FAILED, "not sensed: 3 of 3")


def test_on_two_phases_a_drill_ends_and_a_warning_goes_on(place: Callable[..., Place]) -> None:
    p = place("legs-1.current_3")
    drill = p.order("demo-pre-alert")
    p.world.run(40)
    why = "phase loss: L3 (legs-1.current_3)"
    assert (p.end(drill).stage, p.end(drill).reason) == (Stage.FAILED, why)
    (on, off) = p.sounds()
    assert 2 <= off[0] - on[0] <= 4
    assert p.events() == [("phase-loss", "s-1", why)]
    assert p.state().why == why
    live = p.order("demo-air-raid", Mode.LIVE)
    p.world.run(60)
    assert (p.end(live).stage, p.troubles(live)) == (Stage.FINISHED, [f"{why}; goes on"])
    assert len(p.sounds()) == 8


# An answer that is lost at the off. What has its shape is not asked for a second (docs/decisions/0010).


def at_the_off(p: Place, order: str) -> int:
    """When the relay goes off after its last phase, if all is well; the world stands 0.6 s before that."""
    p.world.run(3)
    on_us = next(s.t_us for s in p.world.sounds if s.on)
    length_us = p.config.signals.timeline("demo-air-raid").phases[-1].off_us
    p.world.run((on_us + length_us - 600 * MS - p.world.now_us) / S)
    return on_us + length_us


def asked(p: Place, since_us: int) -> list[bytes]:
    """What the relay board was asked since then."""
    return [f.seen.pdu for f in p.world.frames if f.line == "line-1" and f.seen.unit == 1
            and f.seen.first_byte_us >= since_us]


def loses(p: Place, answer: int) -> bytes:
    """The board's answer to the so-manieth request from now on is lost; which one that was."""
    since_us = p.world.now_us
    while len(asked(p, since_us)) < answer:
        p.world.run(0.001)
    p.world.inject("relay-1", "dropped", 1.0)
    while len(asked(p, since_us)) == answer:
        p.world.run(0.001)
    p.world.run(0.03)
    p.world.inject("relay-1", "dropped", 0)
    return asked(p, since_us)[answer]


OFF, CUT = bytes.fromhex("0500000000"), bytes.fromhex("050207")


@pytest.mark.parametrize(("phase_s", "answer", "lost"), [
    (0.15, 0, "0100000008"), (0.3, 0, "0100000008"), (0.45, 0, "0100000008"),
    (0.0, 1, "0500000000"), (0.0, 2, "0100000001"), (0.15, 2, "0100000001"), (0.3, 2, "0100000001"),
])
def test_a_lost_answer_at_the_last_off_makes_no_fault_of_a_silent_siren(
        place: Callable[..., Place], phase_s: float, answer: int, lost: str) -> None:
    """The poll before the off, the off itself, and its read-back, at several places among the polls."""
    p = place()
    p.world.run(phase_s)
    order = p.order()
    off_us = at_the_off(p, order)
    assert loses(p, answer).hex() == lost
    p.world.run(8)
    assert OFF in asked(p, off_us - 100 * MS)
    assert [pdu.hex() for pdu in asked(p, off_us) if pdu.startswith(CUT)] == [], "its power is not cut"
    assert (p.end(order).stage, p.troubles(order), p.events(), p.breaches()) == (Stage.FINISHED, [], [], {})
    assert p.state().state == "IDLE"


@pytest.mark.parametrize("answer", [None, 0, 2])
def test_a_siren_that_does_not_stop_is_cut_in_time_whatever_answer_is_lost(
        place: Callable[..., Place], answer: int | None) -> None:
    """A relay that stays closed and reads so: cut after a second, and half a second later behind a lost answer."""
    p = place()
    p.world.run(0.15)
    order = p.order()
    off_us = at_the_off(p, order)
    p.world.inject("relay-1.1", "stuck-on")
    if answer is not None:
        loses(p, answer)
    p.world.run(3 + (off_us - p.world.now_us) / S)
    assert [what for what, *_ in p.events()][:1] == ["still-on"]
    off = next(s for s in p.world.sounds if not s.on and s.t_us > off_us)
    assert (off.t_us - off_us) / S < (1.2 if answer is None else 1.7)


# Growls, from the door to the motor.


def test_a_technician_lets_it_growl(place: Callable[..., Place]) -> None:
    p = place(settings=("siren[s-1].growl_ms=1800",))
    verb, args = growl.question(argparse.Namespace(siren="s-1"))
    p.ask(verb, **args, seconds=60)
    p.world.run(15)
    stages = [a["stage"] for a in p.answers()]
    assert (stages[0], stages[-1]) == ("received", "finished"), p.answers()
    assert p.sounds() == [(0.0, True), (1.8, False)], "the gateway decides how long"
    last = p.answers()[-1]
    assert (last["evidence"]["sensed"], last["mode"]) == (1, "drill")
    order = last["order"]
    assert p.end(order).stage is Stage.FINISHED, "the hub is told like of any order"
    assert ("local-growl", "s-1", "Li Ming") in p.events()
    kinds = [r.kind for _, r in p.world.stations["gw-1"].records if r.body.get("order") == order]
    assert kinds[0] == "accept"


def test_who_is_no_technician_makes_nothing_growl(place: Callable[..., Place]) -> None:
    p = place()
    p.ask("growl", user="guest")
    p.world.run(5)
    assert [(a["stage"], a["reason"]) for a in p.answers()] == [("rejected", "not-permitted")]
    assert p.world.sounds == []


def test_anybody_stops_a_growl(place: Callable[..., Place]) -> None:
    p = place(settings=("siren[s-1].growl_ms=3000",))
    p.ask("growl")
    p.world.run(1)
    p.ask("stop", user="guest")
    p.world.run(10)
    (_, off) = p.sounds()
    assert off[0] <= 1.5
    assert {a["stage"] for a in p.answers()} >= {"stopped"}
