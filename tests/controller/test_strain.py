"""Starts of a motor within the hour: counted through restarts, whether a sounding ended or a crash cut it."""

from dataclasses import replace
from pathlib import Path

import pytest

from controller import config, signal, wire
from controller.event import Clock, Record, Trust
from controller.strain import HOUR_US, Began, Strain, restored
from controller.wire import Mode, Stage
from firmware_bridge.machine import S
from simulators import site
from simulators.world import World
from tests.controller.bench_siren import WALL
from tests.controller.test_gateway import CONFIGS, DEMO, TRUST, City

OURS, HERE, MOTOR = "gw-jinshui", "41/01/05", "s-101"
SIGNALS = signal.load([Path(__file__).parents[2] / "configs/signals/demo.toml"])
SHORT = "demo-air-raid"
EDGES = tuple(p.on_us for p in SIGNALS.timeline(SHORT).phases)


def city(limit: int) -> City:
    """The demo's, with a motor that may be started so often."""
    def hurried(one: config.Config) -> config.Config:
        sirens = tuple(s.model_copy(update={"starts_per_hour": limit}) if s.id == MOTOR else s for s in one.spec.siren)
        return replace(one, spec=one.spec.model_copy(update={"siren": sirens}))

    out = City()
    out.world = World(site.load(DEMO / "site.toml"), [hurried(c) for c in CONFIGS], TRUST)
    out.world.run(8)
    return out


@pytest.mark.parametrize("cut", [False, True])
def test_a_restart_gives_a_motor_no_starts_back(cut: bool) -> None:
    town = city(limit=4)
    first = town.order(area=HERE)
    town.world.run(18 if cut else 60)
    town.world.restart(OURS)
    town.world.run(10)
    if not cut:
        assert town.ends(first)[MOTOR][0] is Stage.FINISHED
    made = sum(s.on for s in town.world.sounds if (s.unit, s.channel) == ("relay-1", 1))
    assert made == (2 if cut else 3)
    again = town.order(area=HERE)
    town.world.run(5)
    assert town.ends(again)[MOTOR] == (Stage.REJECTED, f"{made + 3} starts per hour, 4 allowed")
    live = town.order(area=HERE, mode=Mode.LIVE, signers=("operator-1", "commander"))
    town.world.run(5)
    assert town.world.field.sounding()["relay-1", 1], "a warning goes on"
    assert town.ends(live).get(MOTOR) is None
    assert [e.subject for e in town.events(OURS) if e.what == "starts-per-hour"] == [MOTOR]


# What the journal tells.


def at(second: float) -> str:
    return wire.to_text(WALL + round(second * S))


def accept(order: str = "o", **more: object) -> Record:
    return Record("accept", {"order": order, "sound": SHORT, "sound_digest": SIGNALS.digest(SHORT)} | more)


def receipt(stage: Stage, second: float, order: str = "o", **more: object) -> Record:
    return Record("receipt", {"order": order, "siren": "s-1", "stage": stage, "at": at(second)} | more)


def sounded(second: float | None, order: str = "o", **more: object) -> Record:
    return Record("sounded", {"order": order, "siren": "s-1", "us": S} | more | ({} if second is None
                                                                                else {"at": at(second)}))


def starts(records: list[Record], second: float, trust: Trust = Trust.TRUSTED) -> int:
    """What counts for a gateway that hears the clock then."""
    strain = Strain(1)
    strain.before.restore(restored(records, SIGNALS).get("s-1", ()))
    strain.place(5 * S, Clock(WALL + round(second * S), 0, trust))
    told = strain.too_much(5 * S, 1000, True)
    return int(told.split()[0]) - 1000


def test_each_start_counts_for_an_hour() -> None:
    done = [accept(), receipt(Stage.STARTED, 0), receipt(Stage.SENSED, 1), sounded(40, starts=3),
            receipt(Stage.FINISHED, 40)]
    assert starts(done, 50) == starts(done, 40 + 3599) == 3
    assert starts(done, 40 + 3600) == 0
    assert starts(done, 40 + 7200, Trust.UNTRUSTED) == 3, "nobody knows how long ago"
    assert starts([sounded(40)], 50) == 1, "an older version did not say how many"
    assert starts([sounded(None, starts=2)], 50) == starts([sounded(9000, starts=2)], 50) == 2
    assert starts([sounded(40, starts=-1), Record("receipt", {"stage": Stage.STARTED}), Record("alive", {})], 50) == 0


def test_of_what_a_crash_cut_the_pattern_tells() -> None:
    _, second, third = (one / S for one in EDGES)
    begun = [accept(), receipt(Stage.STARTED, 0), receipt(Stage.SENSED, 1)]
    assert [starts(begun, when) for when in (0.1, second + 0.1, third + 0.1, 300)] == [1, 2, 3, 3]
    assert starts(begun, third + 3599) == 1
    # It goes on after the restart: what lay before it counts, and what follows as it was done.
    on = [*begun, receipt(Stage.STARTED, second + 1)]
    assert starts(on, 300) == 3
    assert starts([*on, sounded(third + 9, starts=2)], 300) == 4, "the phase that was cut was begun again"
    # Its last word without a record of how it was.
    over = [*begun, receipt(Stage.FAILED, second + 1)]
    assert starts(over, 300) == 2
    assert starts([*over, receipt(Stage.FAILED, second + 1)], 300) == 2


def test_what_means_nothing_here_any_more_was_one_start() -> None:
    for body in (accept(sound_digest="0" * 32), accept(sound=[1]), accept("another")):
        assert starts([body, receipt(Stage.STARTED, 0)], 300) == 1
    assert first_of([accept(), receipt(Stage.STARTED, 0, at="1970-01-01T00:00:09.000Z")]) == Began(None, planned=True)
    undated = [accept(), receipt(Stage.STARTED, 0), receipt(Stage.FAILED, 0, at="1970-01-01T00:00:09.000Z")]
    assert starts(undated, 300) == 3


def first_of(records: list[Record]) -> Began:
    return restored(records, SIGNALS)["s-1"][0]


def test_a_clock_places_them_once_and_who_has_no_limit_has_none() -> None:
    strain = Strain(2)
    strain.before.restore([Began(WALL), Began(None)])
    assert strain.too_much(0, 1, now=True) == "3 starts per hour, 2 allowed"
    assert strain.too_much(0, 1, now=False) == ""
    strain.place(0, Clock(WALL + HOUR_US, 0, Trust.TRUSTED))
    assert strain.too_much(0, 1, now=True) == ""
    strain.place(S, Clock(WALL, 0, Trust.TRUSTED))
    strain.edge(2 * S)
    assert strain.too_much(3 * S, 1, now=True) == "3 starts per hour, 2 allowed"
    assert strain.too_much(HOUR_US + S, 1, now=True) == ""
    assert Strain(None).too_much(0, 1000, now=True) == ""
