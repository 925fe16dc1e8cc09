"""What is on without a cause is caught, also when nobody can read that it is."""

from dataclasses import replace

from firmware_bridge.machine import S
from simulators.promises import authority
from tests.simulators.bench_judges import lived


def test_who_lost_his_journal_and_hears_no_answers_feeds_a_board_and_nobody_else_does() -> None:
    history = lived("fed-by-our-own-questions")
    assert list(authority.no_unauth(history)) == []
    unheard = next(t for t in history.troubles if t.kind == "dropped")
    others = [t for t in history.troubles if t is not unheard]
    for known in (others, [*others, replace(unheard, kind="dead")]):
        assert any("s-101 was on for" in what for what in authority.no_unauth(replace(history, troubles=known)))
    longest = max(history.contacts, key=lambda c: c.end_us)
    later = replace(longest, off_wall_us=unheard.to_us + 6 * S)
    assert len(list(authority.no_unauth(replace(history, contacts=[later])))) == 1


def test_a_vote_by_a_fault_between_two_seconds_is_known_and_what_it_sounds_is_not_the_drills() -> None:
    history = lived("float-that-was-noisy-for-a-moment")
    assert list(authority.at_most_once(history)) == []
    (spot,) = history.watched
    seconds = replace(spot, rows=[row for row in spot.rows if row.at_us % S == 0])
    assert len(seconds.rows) < len(spot.rows)
    assert (spot.starts != [], seconds.starts) == (True, [])
    (twice,) = authority.at_most_once(replace(history, watched=[seconds]))
    assert "began phase 2" in twice
