"""Actions: what is written when, what is tried again and what never, and how each ends exactly once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.action import GRACE_US, LOOK_US, RETRY_US, WRITE_TRIES
from firmware_bridge.event import (
    Abort,
    Edged,
    Ended,
    Expired,
    LinkLost,
    Outcome,
    Priority,
    Read,
    ReadNow,
    Refused,
    Silent,
    Skipped,
    Table,
    Transaction,
    Withdraw,
    Withdrawn,
    Write,
)
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile, load_all
from tests.firmware_bridge.bench_action import BOARD, HEAD, C, begin, end, on_write, requests
from tests.firmware_bridge.bench_device import LAG_US, SILENT, Bench, H, profile_of


@pytest.fixture
def board(tmp_path: Path) -> Bench:
    return Bench(profile_of(tmp_path, BOARD)).link_up()


@pytest.fixture
def head(tmp_path: Path) -> Bench:
    return Bench(profile_of(tmp_path, HEAD)).link_up()


# What goes out.


def test_an_action_writes_its_channel_and_reads_it_back(board: Bench) -> None:
    board.memory[C, 2] = 1
    begin(board, "activate", 9, 3, args={"lease_s": 4.96})
    board.run(1 * S)
    assert requests(board) == [Write(Table.PULSE, 0x202, (49,)), Read(C, 2, 1)]
    write, look = (t for _, t in board.wire)
    assert (write.priority, write.repeatable, look.priority) == (Priority.ORDER, True, Priority.READ_BACK)
    assert board.all(Edged) == [Edged("dev", 9, "activate", 0)]
    assert end(board) == Ended("dev", 9, "activate", True, "", 0)


def test_a_stop_is_a_stop_on_the_bus(board: Bench) -> None:
    begin(board, "cancel", channel=1, priority=Priority.STOP)
    board.run(1 * S)
    assert [t.priority for _, t in board.wire] == [Priority.STOP, Priority.READ_BACK]
    assert end(board).done


def test_the_edge_goes_out_at_its_instant_and_the_rest_around_it(head: Bench) -> None:
    head.fault = lambda t: head.memory.update({(C, 0): 1}) if t.request == Write(H, 2, (4,)) else None
    begin(head, "activate", args={"tone": 4}, at_us=5 * S, expires_us=7 * S)
    head.run(1 * S)
    edge = head.pending[0].transaction
    assert (edge.request, edge.at_us, edge.repeatable) == (Write(H, 2, (4,)), 5 * S, False)
    head.run(9 * S)
    assert [(at, t.request) for at, t in head.wire] == [
        (0, Write(H, 4, (30,))),
        (5 * S, Write(H, 2, (4,))),
        (5 * S + LAG_US, Read(C, 0, 1)),
        (5 * S + 2 * LAG_US, Write(H, 4, (10,))),
    ]
    assert [t.expires_us for t in head.writes()] == [7 * S, 7 * S, None], "expiry bounds the start only"
    assert [at for at, e in head.said if isinstance(e, Edged)] == [5 * S + LAG_US]
    assert end(head) == Ended("dev", 1, "activate", True, "", 5 * S)


def test_an_instant_that_has_passed_is_now(board: Bench) -> None:
    board.run(2 * S)
    begin(board, "cancel", channel=1, at_us=1 * S)
    assert board.pending[0].transaction.at_us is None


def test_without_an_edge_nothing_is_reserved_and_no_edge_told(board: Bench) -> None:
    begin(board, "renew", channel=1, args={"lease_s": 5.0}, at_us=9 * S)
    board.run(1 * S)
    assert board.all(Edged) == []
    assert end(board) == Ended("dev", 1, "renew", True)


def test_a_single_value_goes_out_as_the_profile_says(board: Bench) -> None:
    begin(board, "set_hours", args={"seconds": 8})
    board.run(1 * S)
    assert requests(board) == [Write(H, 50, (8,), multiple=True)]


@pytest.mark.parametrize(
    ("action", "channel", "args", "why"),
    [
        ("actuate", 1, {}, "no action 'actuate'; actions: activate, renew, cancel, set_hours"),
        ("activate", 1, {}, "missing argument $lease_s"),
        ("activate", 1, {"lease_s": 1e6}, "does not fit u16"),
        ("activate", 1, {"lease_s": "long"}, "'long' is not one of"),
        ("activate", 5, {"lease_s": 5}, "no channel 5; made has 4"),
        ("activate", 0, {"lease_s": 5}, "no channel 0"),
        ("activate", None, {"lease_s": 5}, "pulse needs a channel, 1 to 4"),
        ("set_hours", None, {"seconds": 25}, "outside 0.0 to 24.0"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    board: Bench, action: str, channel: int | None, args: dict[str, object], why: str
) -> None:
    begin(board, action, 4, channel, args=args)
    board.run(1 * S)
    assert board.wire == []
    assert (end(board).token, end(board).done) == (4, False)
    assert why in end(board).why


def test_what_does_not_fit_leaves_the_running_action_alone(board: Bench) -> None:
    board.memory[C, 0] = 1
    begin(board, "activate", 1, 1, args={"lease_s": 5})
    begin(board, "renew", 2, 1)
    board.run(1 * S)
    assert [(e.token, e.done) for e in board.all(Ended)] == [(2, False), (1, True)]


# Silence and refusals.


def test_a_level_is_tried_again_and_again_and_then_no_more(head: Bench) -> None:
    on_write(head, SILENT, SILENT)
    begin(head, "loud")
    head.run(1 * S)
    assert requests(head) == [Write(H, 4, (30,))] * 3
    assert end(head) == Ended("dev", 1, "loud", True, "", 2 * LAG_US)
    assert WRITE_TRIES == 3
    on_write(head, SILENT, SILENT, SILENT)
    begin(head, "loud", 2)
    head.run(5 * S)
    assert len(head.wire) == 6
    assert (head.all(Ended)[1].done, head.all(Ended)[1].why) == (False, "no answer")
    assert head.all(Ended)[1].edge_us is not None, "it may have been heard"


def test_a_trigger_is_never_repeated(head: Bench) -> None:
    on_write(head, SILENT)
    begin(head, "blind")
    head.run(5 * S)
    assert requests(head) == [Write(H, 2, (4,))]
    assert head.all(Edged) == []
    assert end(head) == Ended("dev", 1, "blind", False, "no answer", 0)


@pytest.mark.parametrize("heard", [True, False])
def test_the_read_back_decides_over_an_unanswered_trigger(head: Bench, heard: bool) -> None:
    def fault(t: Transaction) -> Outcome | None:
        if t.request == Write(H, 2, (4,)):
            head.memory[C, 0] = int(heard)
            return SILENT
        return None

    head.fault = fault
    begin(head, "activate", args={"tone": 4})
    head.run(5 * S)
    assert head.writes()[1].request == Write(H, 2, (4,))
    assert [t.request for t in head.writes()].count(Write(H, 2, (4,))) == 1
    assert end(head).done is heard
    assert end(head).edge_us == 220 * MS


def test_an_unanswered_trigger_does_not_hold_up_the_next_step(head: Bench) -> None:
    """An arm whose answer was lost: the tone is still asked for, and the read-back judges the whole."""
    head.memory[C, 0] = 1
    on_write(head, SILENT)
    begin(head, "armed")
    head.run(1 * S)
    assert [t.request for t in head.writes()] == [Write(H, 3, (4,)), Write(H, 2, (4,))]
    assert end(head).done


@pytest.mark.parametrize(("before", "done"), [(None, False), (1, False), (0, True)])
def test_a_latch_that_was_set_before_proves_nothing(head: Bench, before: int | None, done: bool) -> None:
    if before is not None:
        head.memory[C, 1] = before
        begin(head, "look")
        head.tell(ReadNow("dev", ("latch",), 77))
        head.run(2 * S)
    head.memory[C, 1] = 1
    on_write(head, SILENT)
    begin(head, "latched", 5)
    head.run(2 * S)
    assert [e.done for e in head.all(Ended) if e.token == 5] == [done]


def test_a_refusal_ends_it_in_words(head: Bench) -> None:
    on_write(head, Refused(2))
    begin(head, "loud")
    head.run(1 * S)
    assert len(head.wire) == 1
    assert end(head) == Ended("dev", 1, "loud", False, "volume refused: illegal address (2)", 0)


def test_a_gateways_exception_for_a_silent_unit_is_silence(head: Bench) -> None:
    on_write(head, Refused(11), Refused(11))
    begin(head, "loud")
    head.run(1 * S)
    assert len(head.wire) == 3
    assert end(head).done


@pytest.mark.parametrize("outcome", [LinkLost("unplugged"), Skipped("queue full"), Withdrawn()])
def test_a_level_that_never_left_is_tried_again_after_a_pause(head: Bench, outcome: Outcome) -> None:
    on_write(head, outcome, outcome)
    begin(head, "loud")
    head.run(2 * S)
    assert [at for at, _ in head.wire] == [0, LAG_US + RETRY_US, 2 * (LAG_US + RETRY_US)]
    assert end(head).done


def test_a_lost_link_ends_a_trigger_at_once_and_a_level_in_the_end(head: Bench) -> None:
    head.fault = lambda _: LinkLost("unplugged")
    begin(head, "blind", 1)
    head.run(5 * S)
    begin(head, "loud", 2)
    head.run(5 * S)
    assert len(head.wire) == 1 + WRITE_TRIES
    assert [(e.done, e.why) for e in head.all(Ended)] == [(False, "link lost")] * 2


def test_an_expired_order_is_not_begun(head: Bench) -> None:
    head.run(2 * S)
    begin(head, "loud", expires_us=1 * S)
    head.run(1 * S)
    assert head.wire == []
    assert end(head) == Ended("dev", 1, "loud", False, "expired")


# Expectations.


def test_an_expectation_looks_about_each_100_ms_until_it_holds(head: Bench) -> None:
    begin(head, "look")
    head.run(430 * MS)
    head.memory[C, 0] = 1
    head.run(1 * S)
    assert [at for at, _ in head.wire] == [n * LOOK_US for n in range(6)]
    assert end(head).done


def test_an_expectation_that_does_not_come_true_fails_in_its_time(head: Bench) -> None:
    begin(head, "look")
    head.run(5 * S)
    (ended_us,) = [at for at, e in head.said if isinstance(e, Ended)]
    assert ended_us == 1050 * MS
    assert end(head).why == "active not True within 1050 ms: it is False"


@pytest.mark.parametrize("outcome", [SILENT, Refused(6), LinkLost("x"), Expired(), Withdrawn()])
def test_failed_looks_are_repeated_in_the_time_there_is(head: Bench, outcome: Outcome) -> None:
    head.memory[C, 0] = 1
    failures = [outcome] * 4
    head.fault = lambda _: failures.pop() if failures else None
    begin(head, "look")
    head.run(5 * S)
    assert len(head.wire) == 5
    assert end(head).done
    head.fault = lambda _: outcome
    begin(head, "look", 2)
    head.run(5 * S)
    last = head.all(Ended)[1]
    assert not last.done
    assert last.why.startswith("active not True within 1050 ms: ")


def test_a_look_that_the_bus_held_back_says_nothing_of_the_unit(head: Bench) -> None:
    """Behind a lost answer nothing of its shape is asked for a second, which is longer than most expect for."""
    head.memory[C, 0] = 1
    head.fault = lambda _: Expired() if head.now_us < 1950 * MS else None
    begin(head, "look")
    head.run(2100 * MS)
    assert end(head).done


def test_a_look_that_was_answered_otherwise_gains_no_time_by_one_that_was_held_back(head: Bench) -> None:
    head.fault = lambda _: Expired() if head.now_us > 100 * MS else None
    begin(head, "look")
    head.run(1200 * MS)
    assert (end(head).done, end(head).why) == (False, "active not True within 1050 ms: expired")


def test_an_old_reading_fulfils_no_expectation(head: Bench) -> None:
    head.memory[C, 0] = 1
    begin(head, "look", 1)
    head.run(1 * S)
    assert head.value("active") is True
    head.fault = lambda t: SILENT if isinstance(t.request, Read) else None
    begin(head, "look", 2)
    head.run(3 * S)
    assert [e.done for e in head.all(Ended)] == [True, False]


def test_a_bus_that_never_answers_does_not_hold_an_expectation_for_ever(head: Bench) -> None:
    begin(head, "look")
    head.pending.clear()
    head.run(5 * S)
    (ended_us,) = [at for at, e in head.said if isinstance(e, Ended)]
    assert ended_us == 1050 * MS + 100 * MS + GRACE_US
    assert len(head.all(Withdraw)) == 1


# One action a channel.


def test_a_newer_action_supersedes_the_older_on_its_channel(board: Bench) -> None:
    begin(board, "activate", 1, 1, args={"lease_s": 5}, at_us=5 * S)
    begin(board, "activate", 2, 2, args={"lease_s": 5}, at_us=5 * S)
    begin(board, "cancel", 3, 1)
    board.run(9 * S)
    assert board.all(Ended)[0] == Ended("dev", 1, "activate", False, "superseded")
    assert {e.token: e.why for e in board.all(Ended)} == {
        1: "superseded", 2: "relay_2 not True within 500 ms: it is False", 3: ""}
    assert [t.request for t in board.writes()] == [Write(C, 0, (0,)), Write(Table.PULSE, 0x201, (50,))]


def test_answers_of_a_superseded_action_are_nobodys(board: Bench) -> None:
    board.memory[C, 0] = 1
    begin(board, "activate", 1, 1, args={"lease_s": 5})
    board.run(LAG_US // 2)
    begin(board, "cancel", 2, 1)
    board.run(5 * S)
    assert [(e.token, e.done) for e in board.all(Ended)] == [(1, False), (2, True)]
    assert [e.token for e in board.all(Edged)] == [2]


def test_abort_takes_back_what_is_queued(board: Bench) -> None:
    begin(board, "activate", 6, 1, args={"lease_s": 5}, at_us=5 * S)
    board.run(1 * S)
    board.tell(Abort("dev", 5))
    board.tell(Abort("other", 6))
    assert board.all(Ended) == []
    board.tell(Abort("dev", 6))
    board.tell(Abort("dev", 6))
    board.run(9 * S)
    assert board.wire == []
    assert end(board) == Ended("dev", 6, "activate", False, "aborted")
    assert board.device.deadline is None


def test_abort_while_nothing_is_out_withdraws_nothing(head: Bench) -> None:
    begin(head, "activate")
    head.run(100 * MS)
    head.tell(Abort("dev", 1))
    assert head.all(Withdraw) == []
    head.run(2 * S)
    assert len(head.wire) == 1
    assert end(head).why == "aborted"


OUTCOMES: list[Outcome | None] = [
    None, None, None, None, SILENT, Silent("garbled"), Refused(2), Refused(11), Expired(), Skipped("x"), Withdrawn(),
    LinkLost("x")]
ACTIONS = ["activate", "blind", "latched", "armed", "loud", "look"]


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1500), st.booleans()), min_size=1, max_size=8),
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=40),
)
def test_whatever_happens_each_action_ends_once_and_no_trigger_goes_out_twice(
    steps: list[tuple[str, int, bool]], outcomes: list[Outcome | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench(profile_of(tmp_path_factory.mktemp("p"), HEAD)).link_up()
    answers = iter(outcomes)
    bench.fault = lambda _: next(answers, None)
    for token, (action, ms, abort) in enumerate(steps):
        begin(bench, action, token, args={"tone": token})
        bench.run(ms * MS)
        if abort:
            bench.tell(Abort("dev", token))
            bench.run(100 * MS)
    bench.run(10 * S)
    triggers = [t.request for t in bench.writes() if not t.repeatable]
    assert len(triggers) == len(set(triggers)), "each action has a tone of its own here"
    assert sorted(e.token for e in bench.all(Ended)) == list(range(len(steps)))
    assert all(e.why for e in bench.all(Ended) if not e.done)
    assert bench.pending == []


@pytest.mark.parametrize(
    "profile", [p for p in load_all(Path(__file__).parents[2] / "configs" / "profiles").values() if p.output],
    ids=lambda p: p.id)
def test_every_output_of_the_project_is_written_once_when_the_unit_is_deaf(profile: Profile) -> None:
    """A trigger of a real profile, unanswered: one write, and no success."""
    assert profile.output is not None
    bench = Bench(profile).link_up()
    bench.fault = lambda _: SILENT
    tone = profile.output.tones.get("steady", "steady")
    begin(bench, "activate", 1, 1 if profile.channels else None, args={"lease_s": 5.0, "rest_s": 6.0, "tone": tone})
    bench.run(10 * S)
    assert not end(bench).done
    triggers = [t.request for t in bench.writes() if not t.repeatable]
    assert len(triggers) == len(set(triggers))
