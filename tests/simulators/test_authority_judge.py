"""What is on without a cause is caught, and for how long a board may be fed by our own questions."""

from dataclasses import replace

from firmware_bridge.machine import S
from simulators.promises import authority
from tests.simulators.bench_judges import lived


def test_a_board_that_answers_now_and_then_is_fed_for_a_while_and_no_other() -> None:
    history = lived("fed-by-our-own-questions")
    assert list(authority.no_unauth(history)) == []
    whole = [replace(t, share=1.0) for t in history.troubles]
    late = [*authority.no_unauth(replace(history, troubles=whole))]
    assert late
    assert all("was on for" in what for what in late)
    longest = max(history.contacts, key=lambda c: c.end_us)
    later = replace(longest, off_wall_us=longest.end_us + 6 * S)
    assert len(list(authority.no_unauth(replace(history, contacts=[later])))) == 1
