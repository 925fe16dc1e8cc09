"""One alarm: its delays, its ISA-18.2 states, its shelf and its latch, and that what nobody knows changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.alarm import (
    CHATTER,
    SHELF_LIMIT_US,
    TABLE,
    Acknowledge,
    Alarm,
    Heard,
    Kind,
    Says,
    Shelve,
    State,
    Turn,
    Unshelve,
)
from firmware_bridge.machine import S, Woken

ON, OFF = 10 * S, 600 * S


class Run:
    def __init__(self, latch: bool = False, on_us: int = ON, off_us: int = OFF) -> None:
        self.alarm = Alarm("red", on_us, off_us, latch)
        self.now_us = 0
        self.turns: list[Turn] = []

    def tell(self, event: object) -> "Run":
        self.turns += self.alarm.handle(self.now_us, event)  # type: ignore[arg-type]
        assert self.alarm.deadline is None or self.alarm.deadline > self.now_us
        return self

    def hear(self, says: Says, seconds: float = 0.0) -> "Run":
        """It is told so now, and time passes with wake-ups at its deadlines."""
        self.tell(Heard(says))
        end_us = self.now_us + round(seconds * S)
        while (due_us := self.alarm.deadline) is not None and due_us <= end_us:
            self.now_us = due_us
            self.tell(Woken())
        self.now_us = end_us
        return self

    @property
    def state(self) -> State:
        return self.alarm.state


def test_it_is_raised_after_its_on_delay_and_goes_after_its_off_delay():
    run = Run().hear(Says.HIGH, 9.9)
    assert run.state is State.NORMAL
    run.hear(Says.HIGH, 0.1)
    assert (run.state, run.alarm.in_force) == (State.UNACKED, True)
    run.tell(Acknowledge("Li Ming"))
    assert run.state is State.ACKED
    run.hear(Says.LOW, 599)
    assert run.state is State.ACKED
    run.hear(Says.LOW, 1)
    assert (run.state, run.alarm.in_force) == (State.NORMAL, False)


def test_a_wave_shorter_than_the_delay_raises_nothing():
    run = Run()
    for _ in range(50):
        run.hear(Says.HIGH, 9).hear(Says.BETWEEN, 1)
    assert run.turns == []


def test_the_deadband_holds():
    run = Run().hear(Says.HIGH, 10)
    for _ in range(100):
        run.hear(Says.LOW, 500).hear(Says.BETWEEN, 1)
    assert run.state is State.UNACKED


def test_what_nobody_knows_neither_raises_nor_ends():
    run = Run().hear(Says.UNKNOWN, 10_000)
    assert run.state is State.NORMAL
    run.hear(Says.HIGH, 10).hear(Says.LOW, 599).hear(Says.UNKNOWN, 10_000)
    assert run.alarm.high
    run.hear(Says.LOW, 599)
    assert run.alarm.high, "the end is waited for anew"
    run.hear(Says.LOW, 1)
    assert not run.alarm.high


def test_a_moment_in_which_nobody_knows_does_not_put_off_a_rise():
    run = Run().hear(Says.HIGH, 8).hear(Says.UNKNOWN, 3)
    assert run.state is State.NORMAL
    run.hear(Says.HIGH)
    assert run.state is State.UNACKED


def test_gone_and_unacknowledged_waits_for_a_person():
    run = Run().hear(Says.HIGH, 10).hear(Says.LOW, 600)
    assert (run.state, run.alarm.in_force) == (State.RTN_UNACKED, False)
    run.tell(Acknowledge("hub"))
    assert run.state is State.NORMAL


def test_a_latched_one_holds_until_the_cabinet_acknowledges_that_it_is_over():
    run = Run(latch=True).hear(Says.HIGH, 10).tell(Acknowledge("hub", cabinet=False)).hear(Says.LOW, 600)
    assert (run.state, run.alarm.in_force) == (State.RTN_UNACKED, True)
    run.tell(Acknowledge("hub", cabinet=False))
    assert run.alarm.in_force, "from afar nobody sees whether the road is free"
    run.tell(Acknowledge("Li Ming"))
    assert (run.state, run.alarm.in_force) == (State.NORMAL, False)


@pytest.mark.parametrize("shelved_s", [0, 5, 500])
def test_the_shelf_ends_nothing_that_latched(shelved_s: float):
    run = Run(latch=True).hear(Says.HIGH, 10)
    if shelved_s < 100:  # before the water falls, or after
        run.hear(Says.HIGH, shelved_s).tell(Shelve("hub", 900 * S)).hear(Says.LOW, 600)
    else:
        run.hear(Says.LOW, shelved_s).tell(Shelve("hub", 900 * S)).hear(Says.LOW, 100)
    assert (run.state, run.alarm.in_force) == (State.OUT_OF_SERVICE, True)
    after = Alarm("red", ON, OFF, latch=True)
    after.restore(*run.alarm.snapshot)
    assert (after.state, after.in_force) == (State.RTN_UNACKED, True), "a shelf does not outlive a restart"
    run.tell(Acknowledge("hub", cabinet=False))
    assert run.alarm.in_force
    if shelved_s:  # whoever stands there sees that the road is free, on the shelf or not
        run.tell(Acknowledge("Li Ming"))
        assert (run.state, run.alarm.in_force, run.turns[-1].by) == (State.OUT_OF_SERVICE, False, "Li Ming")
        assert run.hear(Says.LOW, 900).state is State.NORMAL
    else:
        assert (run.hear(Says.LOW, 900).state, run.alarm.in_force) == (State.RTN_UNACKED, True)
        assert (run.tell(Acknowledge("Li Ming")).state, run.alarm.in_force) == (State.NORMAL, False)


def test_the_shelf_has_a_limit_and_its_condition_is_still_watched():
    run = Run().tell(Shelve("Li Ming", 10**12))
    assert run.alarm.shelf_us == SHELF_LIMIT_US
    run.hear(Says.HIGH, 10)
    assert (run.state, run.alarm.high) == (State.OUT_OF_SERVICE, True)
    assert [t.kind for t in run.turns] == [Kind.SHELVED, Kind.RAISED]
    run.hear(Says.HIGH, SHELF_LIMIT_US / S)
    assert run.state is State.UNACKED


def test_back_from_the_shelf_by_hand():
    run = Run().tell(Shelve("Li Ming", 60 * S)).tell(Unshelve("Li Ming"))
    assert (run.state, run.alarm.deadline) == (State.NORMAL, None)


def test_it_counts_how_often_it_is_raised():
    run = Run(off_us=60 * S)
    for _ in range(CHATTER):
        assert run.alarm.raises(run.now_us) < CHATTER
        run.hear(Says.HIGH, 10).hear(Says.LOW, 60)
    assert run.alarm.raises(run.now_us) == CHATTER
    run.now_us += 3600 * S
    assert run.alarm.raises(run.now_us) == 0


def test_after_a_restart_it_is_as_it_was_and_the_shelf_is_empty():
    for state in State:
        alarm = Alarm("red", ON, OFF)
        alarm.restore(state.value, high=True)
        assert alarm.in_force
        assert alarm.state is (State.UNACKED if state is State.OUT_OF_SERVICE else state)
    alarm.restore("of another version", high=True)
    assert alarm.state is State.UNACKED


EVENTS = st.one_of(st.sampled_from(Says).map(Heard), st.just(Acknowledge("a")), st.just(Shelve("a", 30 * S)),
                   st.just(Unshelve("a")), st.just(Woken()))


@given(st.lists(st.tuples(EVENTS, st.floats(0, 900)), max_size=80), st.booleans())
def test_in_any_course_of_things_its_rules_hold(course: list[tuple[object, float]], latch: bool):
    run, low_since = Run(latch), None
    for event, seconds in course:
        was = run.alarm.high
        run.tell(event)
        if isinstance(event, Heard):
            low_since = (run.now_us if low_since is None else low_since) if event.says is Says.LOW else None
        if was and not run.alarm.high:
            assert low_since is not None
            assert run.now_us - low_since >= OFF, "only a known low of the whole delay ends it"
        run.now_us += round(seconds * S)
    for turn in run.turns:
        assert TABLE.get((turn.before, turn.kind), turn.before) is turn.after
