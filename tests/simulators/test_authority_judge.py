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
