"""A siren that does not become silent: cut by its second path, held off through a restart, and let go."""

import pytest

from controller.conduct import State
from controller.event import Lock, Record
from controller.fault import held
from controller.wire import Stage
from firmware_bridge.event import Presence
from firmware_bridge.machine import S
from firmware_bridge.profile import Profile
from tests.controller.bench_siren import BOARD, COILS, FED, T0, Field, beat


def test_a_welded_relay_is_cut_by_the_second_path_and_held_until_an_order() -> None:
    f = Field(section={"second_off": "cutter.1"}).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.run(T0 + 14 * S)
    assert f.state() == State.FAULT
    assert len(f.notice("still-on")) == 1
    assert "feedback shows sound after the off" in [p.reason for p in f.told]
    f.run(T0 + 60 * S)
    assert f.cut()
    assert not f.audible()
    assert "held off" in f.shown[-1].why
    f.order("demo-air-raid", id="o-2")
    assert f.end("o-2").stage is Stage.REJECTED
    f.live("demo-air-raid", id="o-3")
    f.run(T0 + 63 * S)
    assert f.audible()
    assert not f.cut()
    f.run(T0 + 110 * S)
    assert f.end("o-3").stage is Stage.FINISHED
    assert f.cut()
    assert not f.audible()


def test_an_output_that_does_not_obey_is_cut_by_the_second_path() -> None:
    f = Field(COILS, section={"second_off": "cutter.1"}).run(T0)
    f.deaf_output = True
    f.out.on = True
    f.run(T0 + 10 * S)
    assert f.state() == State.FAULT
    assert not f.audible()
    assert len(f.notice("still-on")) == 1


def test_a_second_path_that_does_not_cut_is_told() -> None:
    f = Field(section={"second_off": "cutter.1"}, dead_second=True).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.run(T0 + 60 * S)
    assert len(f.notice("second-off-failed")) == 1


def test_a_fault_without_a_second_path_ends_when_it_is_silent() -> None:
    f = Field().run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    f.later(T0 + 40 * S, lambda: setattr(f, "welded", False))
    f.run(T0 + 39 * S)
    assert f.state() == State.FAULT
    f.run(T0 + 45 * S)
    assert f.state() == State.IDLE
    assert len(f.notice("silent-after-all")) == 1


# Held off.


def held_off(cutter: Profile = BOARD) -> Field:
    f = Field(cutter=cutter, section={"second_off": "cutter.1"}, isolated=False).run(T0)
    f.order(beat(6, 4))
    f.later(T0 + 3 * S, lambda: setattr(f, "welded", True))
    return f.run(T0 + 60 * S)


@pytest.mark.parametrize("cutter", [BOARD, FED, COILS], ids=lambda p: p.id)
def test_a_siren_that_was_held_off_is_held_off_after_a_restart(cutter: Profile) -> None:
    before = held_off(cutter)
    said = [Record("event", {"what": n.what, "subject": n.subject, "detail": n.detail}) for _, n in before.notices]
    assert held(said) == {"s-1": "feedback shows sound after the off"}
    f = Field(cutter=cutter, section={"second_off": "cutter.1"}, welded=True)
    f.second.on = cutter is not BOARD
    f.siren.restore((), held(said).get("s-1"))
    f.run(T0)
    assert f.cut()
    assert [b.action for _, b in f.begins if b.device == "cutter"].count("cancel") == 0
    assert not f.audible()
    assert (f.state(), "held off" in f.shown[-1].why) == (State.FAULT, True)
    assert f.notice("sounding-without-order") == []
    f.live("demo-air-raid")
    f.run(T0 + 5 * S)
    assert f.audible()
    assert held([*said, *(Record("event", {"what": n.what, "subject": n.subject}) for _, n in f.notices)]) == {}


def test_a_siren_without_a_second_path_any_more_is_not_held_by_it() -> None:
    f = Field()
    f.siren.restore((), "feedback shows sound after the off")
    f.run(T0)
    assert f.state() == State.IDLE


def test_a_siren_that_was_mended_under_lock_out_is_let_go() -> None:
    f = held_off()
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.welded = False
    f.run(f.now + 5 * S)
    assert f.cut(), "while the tag hangs"
    f.siren_told(Lock("s-1", ""))
    f.run(f.now + 5 * S)
    assert (f.cut(), f.state()) == (False, State.IDLE)
    assert [n.detail for _, n in f.notices if n.what == "let-go"] == ["freed by who locked it out"]


def test_a_siren_that_was_freed_and_not_mended_is_told_and_silenced_by_a_stop() -> None:
    f = held_off()
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(f.now + 5 * S)
    f.siren_told(Lock("s-1", ""))
    f.run(f.now + 5 * S)
    assert f.audible()
    assert f.notice("sounding-without-order")
    f.stop()
    f.run(f.now + 10 * S)
    assert (f.cut(), f.audible()) == (True, False)


# What its own output reads.


@pytest.mark.parametrize("cutter", [FED, COILS], ids=lambda p: p.id)
def test_a_second_path_that_is_on_from_before_a_restart_is_let_go(cutter: Profile) -> None:
    before = Field(cutter=cutter, section={"second_off": "cutter.1"}, isolated=False).run(T0)
    before.order(beat(6, 4))
    before.later(T0 + 5 * S, lambda: setattr(before, "dead", True))
    before.run(T0 + 60 * S)
    assert (before.state(), before.cut(), before.notice("held-off")) == (State.FAULT, True, [])
    f = Field(cutter=cutter, section={"second_off": "cutter.1"}, isolated=False)
    f.second.on = True
    f.run(T0)
    assert (f.cut(), f.state(), f.shown[-1].why) == (False, State.IDLE, "")
    assert [n.detail for _, n in f.notices if n.what == "unexpected-cut"] == ["cutter.1"]
    f.live(beat(6, 4))
    f.run(T0 + 20 * S)
    assert f.end().stage is Stage.FINISHED


def test_a_second_path_that_cannot_be_let_go_is_told_once_and_shown_and_let_go_when_its_board_obeys() -> None:
    f = Field(cutter=COILS, section={"second_off": "cutter.1"}, isolated=False)
    f.second.on = True
    f.deaf = lambda begin: begin.device == "cutter"
    f.run(T0)
    assert f.shown[-1].why == "cut off by the second path"
    f.order(beat(6, 4))
    assert (f.end().stage, f.end().reason) == (Stage.REJECTED, "fault: cut off by the second path")
    f.run(T0 + 120 * S)
    assert (len(f.notice("unexpected-cut")), len(f.notice("second-off-failed"))) == (1, 1)
    f.deaf = lambda begin: False
    f.run(T0 + 130 * S)
    assert (f.cut(), f.state(), f.shown[-1].why) == (False, State.IDLE, "")


def test_a_second_path_is_not_let_go_while_the_siren_is_locked_out() -> None:
    f = Field(cutter=COILS, section={"second_off": "cutter.1"}, isolated=True)
    f.second.on = f.welded = True
    f.run(T0)
    assert f.cut()
    assert len(f.notice("unexpected-cut")) == 1
    f.isolated = False
    f.run(T0 + 3 * S)
    assert not f.cut()


@pytest.mark.parametrize("cutter", [BOARD, FED, COILS], ids=lambda p: p.id)
def test_a_second_path_that_falls_back_while_it_is_held_is_used_again(cutter: Profile) -> None:
    f = held_off(cutter)

    def dips() -> None:
        f.second.on, f.second.until_us = False, None

    f.later(f.now + S, dips)
    f.later(f.now + 2 * S, lambda: f.siren_told(Presence("cutter", False, "no answer")))
    f.later(f.now + 3 * S, lambda: f.siren_told(Presence("cutter", True)))
    f.run(f.now + 8 * S)
    assert (f.cut(), f.audible(), f.state()) == (True, False, State.FAULT)
    assert "held off" in f.shown[-1].why
    told = [n.detail for _, n in f.notices if n.what == "second-off-failed"]
    assert told == ([] if cutter is BOARD else ["the output fell back"])
