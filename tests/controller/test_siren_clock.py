"""A siren in step with the clock of the city: what a restart or a late order leaves of a programme, and clock steps."""

import pytest

from controller.conduct import State
from controller.event import Trust
from controller.wire import Stage
from firmware_bridge.machine import MS, S
from tests.controller.bench_siren import T0, Field, phases


def test_a_resumed_warning_sounds_the_rest_of_its_phase() -> None:
    f = Field().run(T0)
    f.clock()
    f.live("pre-alert", start_us=T0 - 20 * S, resumed=True)
    f.run(T0 + 200 * S)
    assert f.ons() == [(T0, T0 + 16 * S), *phases("pre-alert", T0 - 20 * S)[1:]]
    assert f.end().stage is Stage.FINISHED


def test_a_resumed_drill_goes_on_with_its_next_signal() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("jiangsu-918", start_us=T0 - 100 * S, resumed=True)
    f.run(T0 + 1100 * S)
    assert f.ons() == phases("jiangsu-918", T0 - 100 * S)[3:]
    assert (f.evidence().phases, f.evidence().commanded) == (19, 16)
    # 16 of 19 are proved, which is four of five; what was cut is said.
    assert (f.end().stage, f.end().reason) == (Stage.FINISHED, "commanded 16 of 19: cut by restart")


def test_a_drill_of_which_nothing_is_left_fails() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 - 20 * S, resumed=True)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "cut by restart")
    f.live("air-raid", id="o-2", start_us=T0 - 500 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.FAILED, "its time is past")


def test_an_order_that_comes_late_stays_in_step_with_the_city() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 - 3 * S)
    f.run(T0 + 200 * S)
    assert f.ons() == [(T0, T0 + 3 * S), *phases("air-raid", T0 - 3 * S)[1:]]


@pytest.mark.parametrize("step_s", [-3600, -7, 7, 30])
def test_a_clock_step_before_the_first_edge_moves_the_start(step_s: int) -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + 10 * S)
    f.clock(step_s * S)
    f.run(T0 + 4000 * S)
    assert f.ons() == phases("demo-air-raid", T0 + (60 - step_s) * S)


def test_a_clock_step_over_the_start_fails_it() -> None:
    f = Field().run(T0)
    f.clock()
    f.order(start_us=T0 + 60 * S)
    f.clock(3600 * S)
    f.run(T0 + S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "its time is past")


@pytest.mark.parametrize("after_ms", [58_600, 59_900, 65_000, 67_500])
def test_from_the_first_edge_on_no_clock_step_moves_anything(after_ms: int) -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + after_ms * MS)
    f.clock(-1800 * S)
    f.run(f.now + S)
    f.clock(+1800 * S)
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)


def test_a_clock_that_is_not_trusted_does_not_move_what_a_trusted_one_placed() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.clock(+50 * S, Trust.UNTRUSTED)
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)


def test_without_a_clock_an_armed_activation_waits() -> None:
    f = Field().run(T0)
    f.order("demo-air-raid", start_us=T0 + 60 * S)
    f.run(T0 + 30 * S)
    assert f.state() == State.ARMED
    f.clock()
    f.run(T0 + 200 * S)
    assert f.ons() == phases("demo-air-raid", T0 + 60 * S)
