"""Several activations of one siren: what waits beside what, and which takes the siren of which."""

import pytest

from controller import siren
from controller.conduct import TRANSITIONS, Move, State
from controller.event import Rank
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S
from simulators.visits import Counting
from tests.controller.bench_siren import T0, Field, phases


def test_a_drill_of_next_week_blocks_nothing() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", id="week", start_us=T0 + 7 * 86400 * S)
    f.live("demo-air-raid", id="now")
    assert (f.shown[-1].state, f.shown[-1].activation) == ("STARTING", "now/s-1")
    f.run(T0 + 60 * S)
    assert f.end("now").stage is Stage.FINISHED
    assert (f.state(), f.shown[-1].activation, f.shown[-1].mode) == (State.ARMED, "week/s-1", Mode.DRILL)
    f.poll_us = 10**12
    f.run(T0 + 7 * 86400 * S + 60 * S)
    assert f.ons()[3:] == phases("demo-air-raid", T0 + 7 * 86400 * S)


def test_one_after_the_other_without_a_gap() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-all-clear", id="o-1", start_us=T0 + 10 * S)
    f.order("demo-air-raid", id="o-2", start_us=T0 + 190 * S)
    f.run(T0 + 300 * S)
    assert f.end("o-1").stage is Stage.FINISHED
    assert f.end("o-2").stage is Stage.FINISHED
    assert len(f.ons()) == 4
    assert f.ons()[0] == (T0 + 10 * S, T0 + 190 * S)
    assert f.ons()[1][0] <= T0 + 190 * S + 300 * MS


def test_only_so_many_wait() -> None:
    f = Field().run(T0)
    f.clock()
    for n in range(17):
        f.order(id=f"o-{n}", start_us=T0 + (1000 + n * 1000) * S)
    assert f.end("o-16").stage is Stage.REJECTED
    assert all(f.stages(f"o-{n}") == [] for n in range(16))


def test_drills_cannot_fill_a_warnings_place() -> None:
    f = Field().run(T0)
    f.clock()
    for n in range(16):
        f.order(id=f"o-{n}", start_us=T0 + (1000 + n * 1000) * S)
    for n in range(17):
        f.live(id=f"l-{n}", start_us=T0 + (1500 + n * 1000) * S)
    assert all(f.stages(f"l-{n}") == [] for n in range(16))
    assert f.end("l-16").stage is Stage.REJECTED
    f.live("demo-air-raid", id="now")
    f.run(T0 + 60 * S)
    assert f.end("now").stage is Stage.FINISHED


def test_the_same_activation_again_is_no_second_one() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid")
    f.run(T0 + 3 * S)
    f.order("demo-air-raid")
    f.run(T0 + 100 * S)
    assert f.ons() == phases("demo-air-raid", T0)
    assert f.stages() == ["started", "sensed", "finished"]


@pytest.mark.parametrize(("rank", "reason"), [(Rank.AIR_RAID, "outranked"), (Rank.DISASTER, "superseded")])
def test_what_outranks_takes_the_siren(rank: Rank, reason: str) -> None:
    f = Field().run(T0)
    f.live("all-clear", id="o-1", rank=Rank.DISASTER)
    f.run(T0 + 10 * S)
    f.live("demo-air-raid", id="o-2", rank=rank)
    f.run(T0 + 100 * S)
    assert (f.end("o-1").stage, f.end("o-1").reason) == (Stage.STOPPED, reason)
    assert f.end("o-2").stage is Stage.FINISHED
    assert f.ons()[0] == (T0, T0 + 10 * S)
    assert f.ons()[1][0] <= T0 + 10 * S + 500 * MS
    # The lease is counted in tenths, rounded down.
    assert T0 + 15_900 * MS <= f.ons()[1][1] <= T0 + 16 * S


def test_what_outranks_takes_the_siren_of_a_dead_line_too() -> None:
    f = Field().run(T0)
    f.order("all-clear", id="o-1")
    f.run(T0 + 10 * S)
    f.deaf = lambda b: b.action == "cancel"
    f.live("demo-air-raid", id="o-2")
    f.run(T0 + 13 * S)
    assert [t for t, b in f.writes if b.action == "activate"][-1] <= T0 + 11 * S
    assert f.end("o-1").stage is Stage.STOPPED


def test_what_is_lower_is_refused_now_and_fails_later() -> None:
    f = Field().run(T0)
    f.clock()
    f.live("all-clear", id="o-1")
    f.order("demo-air-raid", id="o-2")
    f.order("demo-air-raid", id="o-3", start_us=T0 + 60 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "outranked")
    assert f.stages("o-3") == []
    f.run(T0 + 61 * S)
    assert (f.end("o-3").stage, f.end("o-3").reason) == (Stage.FAILED, "outranked")
    f.run(T0 + 200 * S)
    assert f.ons() == phases("all-clear", T0)


def test_two_drills_at_once_are_one() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid", id="o-1")
    f.run(T0 + S)
    f.order("demo-air-raid", id="o-2")
    assert f.end("o-2").reason == "outranked"


def test_a_programme_that_outranks_ends_the_drill_just_before_its_first_edge() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("all-clear", id="o-1")
    f.live("demo-air-raid", id="o-2", start_us=T0 + 60 * S)
    f.run(T0 + 100 * S)
    assert f.ons() == [(T0, T0 + 59_500 * MS), *phases("demo-air-raid", T0 + 60 * S)]


def test_what_is_starting_loses_the_siren_before_another_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no start finds the siren STARTING: in between it is to be silent."""
    taken = Counting(TRANSITIONS)
    monkeypatch.setattr(siren, "TRANSITIONS", taken)
    f = Field(dead=True).run(T0)
    f.live(id="o-1")
    f.run(T0 + S)
    assert f.state() is State.STARTING, "nobody acknowledged its edge"
    f.live(id="o-2")
    assert (f.state(), f.shown[-1].activation) == (State.STARTING, "o-2/s-1")
    assert {(State.STARTING, Move.END), (State.STOPPING, Move.START)} <= taken.seen
    assert (State.STARTING, Move.START) not in taken.seen
