"""A siren is stopped: at any time, whatever its device answers, and by its limit."""

from itertools import pairwise

import pytest

from controller.conduct import State
from controller.wire import Stage
from firmware_bridge.event import Presence, Priority
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile
from tests.controller.bench_siren import BOARD, COILS, HEAD, HORN, T0, Field, phases


@pytest.mark.parametrize("drive", [BOARD, COILS, HEAD, HORN], ids=["B", "C", "B' trigger", "B' level"])
@pytest.mark.parametrize("after_ms", [0, 10, 40, 2500, 3000, 4600, 4999, 5000, 5010, 5030, 5100, 8000, 9900, 10999,
                                      11020, 13000, 15600, 16999])
def test_stop_at_any_time(drive: Profile, after_ms: int) -> None:
    f = Field(drive).run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 + 5 * S)
    f.run(T0 + after_ms * MS)
    before = len(f.begins)
    f.stop()
    (us, cancel), = f.begins[before:]
    assert (us, cancel.action, cancel.priority, cancel.at_us) == (f.now, "cancel", Priority.STOP, None)
    f.run(f.now + 2 * S)
    assert not f.out.on
    assert (f.end().stage, f.end().reason) == (Stage.STOPPED, "by the officer")
    assert f.state() == State.IDLE
    f.run(T0 + 240 * S)
    assert not any(b.action in ("activate", "renew") for _, b in f.begins[before:])
    assert f.notices == []


def test_stop_when_idle_writes_the_off_all_the_same() -> None:
    f = Field().run(T0)
    f.stop()
    f.run(T0 + S)
    assert [b.action for _, b in f.begins] == ["cancel"]
    assert f.state() == State.IDLE


def test_a_stop_of_another_order_touches_only_that_one() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", id="o-1")
    f.order("air-raid", id="o-2", start_us=T0 + 1000 * S)
    f.run(T0 + 5 * S)
    f.stop(order="o-2")
    f.run(T0 + 250 * S)
    assert f.end("o-2").stage is Stage.STOPPED
    assert f.end("o-1").stage is Stage.FINISHED
    assert f.ons() == phases("air-raid", T0)


def test_a_stop_that_nobody_confirms_is_told_and_repeated_until_it_is() -> None:
    f = Field(COILS, section={"second_off": "cutter.1"}).run(T0)
    f.order("all-clear")
    f.run(T0 + 10 * S)
    f.dead = True
    f.stop()
    f.run(T0 + 15 * S)
    assert f.end().stage is Stage.STOPPED
    assert f.end().reason.endswith("; unconfirmed")
    assert f.notice("stop-unconfirmed")[0] == T0 + 12 * S
    assert f.notice("still-on")[0] == T0 + 11 * S
    assert f.state() == State.FAULT
    assert not f.audible()
    f.run(T0 + 600 * S)
    offs = [t for t, b in f.begins if b.action == "cancel" and b.device == "board"]
    assert max(b - a for a, b in pairwise(offs)) <= 6 * S
    f.dead = False
    f.siren_told(Presence("board", True))
    f.run(f.now + S)
    assert not f.out.on
    assert not f.cut()
    assert f.state() == State.IDLE


def test_a_device_that_never_says_how_an_off_ended_does_not_stop_the_stop() -> None:
    f = Field(silence_us=10**12).run(T0)
    f.order("all-clear")
    f.run(T0 + 10 * S)
    f.dead = True
    f.stop()
    f.run(T0 + 30 * S)
    assert sum(b.action == "cancel" for _, b in f.begins) >= 4
    assert f.end().stage is Stage.STOPPED


def test_the_limit_ends_it() -> None:
    f = Field().run(T0)
    f.order("all-clear", limit_us=20 * S)
    f.run(T0 + 30 * S)
    assert f.ons() == [(T0, T0 + 20 * S)]
    assert (f.end().stage, f.end().reason) == (Stage.STOPPED, "limit")
