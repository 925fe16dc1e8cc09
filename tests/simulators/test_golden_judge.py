"""An order for now begins when the line lets it; from then on it keeps to its pattern, and the judge sees if not."""

from dataclasses import replace

import pytest

from firmware_bridge.machine import MS, S
from simulators.promises import sound
from simulators.promises.history import History
from tests.simulators.bench_judges import lived

LATE = "s-105"
"""The head that began last."""
WAITED_US = 318_593
"""So much later it began before the bus let a read-back wait for it; the judge is tried on that."""


@pytest.fixture(scope="module")
def slow() -> History:
    return moved(lived("first-edge-on-a-slow-line"), 0, WAITED_US, 0)


def moved(history: History, n: int, on_us: int, off_us: int) -> History:
    """The n-th stretch of the late head with its edges elsewhere."""
    mine = [c for c in history.contacts if c.siren == LATE]
    other = replace(mine[n], on_wall_us=mine[n].on_wall_us + on_us, off_wall_us=mine[n].end_us + off_us)
    return replace(history, contacts=[other if c is mine[n] else c for c in history.contacts])


def test_a_late_first_edge_moves_no_other(slow: History) -> None:
    assert list(sound.golden(slow)) == []


def test_all_its_edges_count_from_one_instant(slow: History) -> None:
    """The first phase ends by an instant 0.7 s before its first edge; a second that ends by the edge is too late."""
    assert len([c for c in slow.contacts if c.siren == LATE]) > 1
    (late,) = sound.golden(moved(slow, 1, 0, 1200 * MS))
    assert late.startswith(f"{LATE}: off-edge of phase 2")


def test_an_edge_that_no_instant_explains_is_caught(slow: History) -> None:
    (early,) = sound.golden(moved(slow, 0, 0, -900 * MS))
    assert early.startswith(f"{LATE}: off-edge of phase 1")


def test_a_first_edge_later_than_the_line_allows_is_caught(slow: History) -> None:
    assert any(what.startswith(f"{LATE}: off-edge of phase 1") for what in sound.golden(moved(slow, 0, 1500 * MS, 0)))


def test_a_line_on_which_all_is_well_allows_a_second(slow: History) -> None:
    """With nobody in trouble beside it, 1.2 s is too late."""
    later = moved(slow, 0, 450 * MS, 0)
    assert list(sound.golden(later)) == []
    assert list(sound.golden(replace(later, troubles=[t for t in later.troubles if t.on != "u-3"]))) != []


def test_an_edge_waits_for_a_neighbour_that_has_just_fallen_silent_and_for_no_other() -> None:
    history = lived("no-target-just-before-the-edge")
    assert list(sound.golden(history)) == []
    (one,) = history.troubles
    for known in (replace(one, share=1.0, from_us=one.from_us - 3 * S), replace(one, kind="frozen")):
        assert list(sound.golden(replace(history, troubles=[known]))) != []
    assert list(sound.golden(replace(history, troubles=[replace(one, share=1.0)]))) == []


def test_a_siren_is_held_off_by_a_meter_that_froze_while_it_sounded_and_by_no_other() -> None:
    history = lived("froze-while-it-sounded")
    assert list(sound.golden(history)) == []
    (froze,) = history.troubles
    missed = [*sound.golden(replace(history, troubles=[replace(froze, kind="dead")]))]
    assert missed
    assert all("0 stretches of sound in phase 3" in what for what in missed)
    before_us = min(c.on_wall_us for c in history.contacts) - S
    assert list(sound.golden(replace(history, troubles=[replace(froze, from_us=before_us)]))) == missed
