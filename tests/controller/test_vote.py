"""The vote: unlike gauges, weights, one that fails either way, and a rise that is taken for one colour more."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.alarm import Says
from controller.level import Sight
from controller.scale import Colour
from controller.vote import Poll, Vote, early

DEPTHS = {Colour.BLUE: 5.0, Colour.YELLOW: 15.0, Colour.ORANGE: 27.0, Colour.RED: 40.0}


def sees(kind: str, cm: float, weight: float = 1.0, id: str = "", **more: object) -> Sight:
    return Sight(id or kind, kind, weight, True, low_cm=cm, high_cm=cm, value=cm, **more)  # type: ignore[arg-type]


def lost(kind: str, worst_cm: float | None = None) -> Sight:
    return Sight(kind, kind, 1.0, False, "unit silent", worst_cm=worst_cm)


def float_(closed: bool, at_cm: float = 15.0) -> Sight:
    low, high = (at_cm, None) if closed else (None, at_cm)
    return Sight("float", "float", 1.0, True, low_cm=low, high_cm=high, value=low or 0.0, from_cm=at_cm)


def rain(heavy: bool) -> Sight:
    return Sight("rain", "rain", 0.5, True, heavy=heavy, value=30.0)


def said(sights: list[Sight], at_cm: float = 40.0, quorum: float = 2.0) -> tuple[Says, Says]:
    vote = Vote(sights, quorum)
    return vote.suspected(at_cm, at_cm - 4), vote.confirmed(at_cm, at_cm - 4)


HIGH, BETWEEN, LOW, UNKNOWN = Says.HIGH, Says.BETWEEN, Says.LOW, Says.UNKNOWN
WATER = {"high": 45.0, "low": 10.0}


@pytest.mark.parametrize("kinds", list(permutations(("pressure", "radar", "staff"))))
@pytest.mark.parametrize(("truth", "fails", "expected"), [
    ("high", "high", (HIGH, HIGH)), ("high", "low", (HIGH, HIGH)), ("high", "lost", (HIGH, HIGH)),
    ("low", "low", (LOW, LOW)), ("low", "high", (LOW, LOW)), ("low", "lost", (LOW, LOW)),
])
def test_of_three_one_may_fail_either_way(kinds: tuple[str, ...], truth: str, fails: str,
                                          expected: tuple[Says, Says]):
    failed = lost(kinds[2], 99.0) if fails == "lost" else sees(kinds[2], WATER[fails])
    assert said([sees(kinds[0], WATER[truth]), sees(kinds[1], WATER[truth]), failed]) == expected


def test_one_gauge_is_a_suspicion_and_no_more():
    assert said([sees("pressure", 45)]) == (HIGH, BETWEEN)
    assert said([sees("pressure", 45), sees("radar", 10)]) == (HIGH, BETWEEN), "one against one"


def test_two_gauges_of_one_kind_are_one_opinion():
    assert said([sees("pressure", 45, id="a"), sees("pressure", 46, id="b")])[1] is BETWEEN
    assert said([sees("pressure", 45, weight=9.0), sees("pressure", 46, weight=9.0, id="b")])[1] is BETWEEN


def test_weights_count():
    pair = [sees("pressure", 45, 1.0), sees("radar", 45, 0.5)]
    assert said(pair)[1] is BETWEEN
    assert said(pair, quorum=1.5)[1] is HIGH


def test_rain_supports_and_says_nothing_alone():
    pair = [sees("pressure", 45, 1.0), sees("radar", 45, 0.5)]
    assert said([*pair, rain(True)])[1] is HIGH
    assert said([*pair, rain(False)])[1] is BETWEEN
    assert said([sees("pressure", 45), rain(True)], quorum=1.0)[1] is BETWEEN, "two gauges of the water, always"
    assert said([sees("pressure", 10), sees("radar", 10), rain(True)]) == (LOW, LOW)


def test_a_float_says_no_more_than_its_height():
    assert said([sees("pressure", 20), float_(True)], at_cm=15.0) == (HIGH, HIGH)
    assert said([sees("pressure", 45), float_(True)], at_cm=40.0)[1] is BETWEEN
    assert said([float_(False), sees("pressure", 5)], at_cm=19.0) == (LOW, LOW)


def test_an_open_float_ends_what_it_can_tell_of():
    assert said([float_(False), sees("pressure", 5)], at_cm=15.0) == (LOW, LOW)
    assert said([float_(False), sees("pressure", 5)], at_cm=10.0) == (LOW, LOW), "it hangs higher: pressure alone"
    assert said([float_(False), lost("pressure")], at_cm=10.0) == (UNKNOWN, UNKNOWN)
    assert said([float_(False), lost("pressure"), sees("radar", 5)], at_cm=15.0) == (LOW, LOW)
    assert said([float_(False)], at_cm=10.0)[0] is LOW, "where there is nothing but a float"
    assert said([float_(True), sees("pressure", 5)], at_cm=15.0) == (HIGH, BETWEEN)


def test_nothing_is_over_while_too_few_know():
    assert said([sees("pressure", 10), lost("radar"), lost("staff")]) == (UNKNOWN, UNKNOWN)
    assert said([lost("pressure"), lost("radar")]) == (UNKNOWN, UNKNOWN)
    assert said([sees("pressure", 10), lost("radar"), sees("staff", 10)]) == (LOW, LOW)


def test_a_spot_with_one_gauge_is_over_by_that_gauge():
    assert said([sees("pressure", 10)]) == (LOW, LOW)


def test_a_lost_gauge_is_taken_at_its_worst_where_nobody_knows_better():
    assert said([lost("pressure", 41.0), lost("radar", 20.0)]) == (HIGH, UNKNOWN)
    assert said([lost("pressure", 41.0), sees("radar", 10), sees("staff", 10)]) == (LOW, LOW)
    assert said([lost("pressure", 41.0), sees("radar", 10)])[0] is UNKNOWN, "one that sees says otherwise"


def test_within_the_deadband_nothing_changes():
    assert said([sees("pressure", 38), sees("radar", 38)]) == (BETWEEN, BETWEEN)


def test_water_that_rises_fast_is_one_colour_deeper():
    slow = sees("pressure", 20, rise_1_cm=1.0, rise_5_cm=4.0)
    fast = sees("radar", 20, rise_1_cm=6.0)
    long = sees("staff", 20, rise_1_cm=1.5, rise_5_cm=9.0)
    dry = sees("pressure", -3, rise_1_cm=6.0, id="dry")
    drained = sees("radar", 20, rise_1_cm=-2.0, rise_5_cm=30.0)
    red = sees("radar", 55, rise_1_cm=6.0, id="red")
    found = early([slow, fast, long, dry, drained, red, lost("float")], DEPTHS, 3.0, 8.0)
    assert [s.low_cm for s in found] == [20, 27.0, 27.0, -3, 20, 55, None]
    assert all(s.high_cm is None or s.low_cm is None or s.low_cm <= s.high_cm for s in found)
    assert [s.value for s in found] == [20, 20, 20, -3, 20, 55, None], "what is shown is what is measured"


def test_what_is_shown_is_the_middle_or_the_deeper_of_two():
    assert Vote([sees("pressure", 10), sees("radar", 30), sees("staff", 12)], 2).level_cm == 12
    assert Vote([sees("pressure", 10), sees("radar", 30)], 2).level_cm == 30
    assert Vote([float_(True)], 2).level_cm is None


def test_the_time_to_red():
    rising = [sees("pressure", 25, rise_1_cm=6.0), sees("radar", 24, rise_1_cm=5.0)]
    assert Vote(rising, 2).to_s(40) == 150
    assert Vote([sees("pressure", 25)], 2).to_s(40) is None
    assert Vote([sees("pressure", 45, rise_1_cm=6.0)], 2).to_s(40) is None, "it is there"
    assert Vote([sees("pressure", 1, rise_1_cm=0.2)], 2).to_s(40) is None, "not within the hour"


def test_who_is_far_from_the_others_is_named():
    three = [sees("pressure", 10), sees("radar", 30), sees("staff", 12)]
    assert Vote(three, 2).disagree(10) == "radar"
    assert Vote(three, 2).disagree(25) == ""
    assert Vote([sees("pressure", 40), float_(False)], 2).disagree(10) in ("pressure", "float")
    assert Vote([sees("pressure", 40), float_(True)], 2).disagree(10) == ""


CM = st.sampled_from([None, -5.0, 0.9, 1.0, 4.9, 5.0, 5.1, 11.0, 12.0, 15.0, 16.0, 26.9, 27.0, 36.0, 39.9, 40.0, 90.0])


def tells(kind: str) -> st.SearchStrategy[Sight]:
    """What a gauge of this kind may say."""
    if kind == "rain":
        return st.one_of(st.builds(rain, st.booleans()), st.just(lost(kind)))
    if kind == "float":
        return st.one_of(st.builds(lambda closed: float_(closed, 27.0), st.booleans()),
                         st.builds(lambda cm: lost(kind, cm)._replace(from_cm=27.0), CM))
    sees = st.builds(lambda cm, end: Sight(kind, kind, 1.0, True, low_cm=None if end == "low" else cm, value=cm,
                                           high_cm=None if end == "high" else cm),
                     CM, st.sampled_from(["", "", "low", "high"]))
    return st.one_of(sees, st.builds(lambda cm: lost(kind, cm), CM))


SPOT = st.lists(st.sampled_from(["pressure", "radar", "float", "rain"]), min_size=1, max_size=4)
"""Its gauges stay what they are; what they say is of each second."""
SECONDS = SPOT.flatmap(lambda kinds: st.lists(st.tuples(*map(tells, kinds)), min_size=2, max_size=12))


@settings(max_examples=400, deadline=None)
@given(SECONDS, st.sampled_from([1.0, 2.0, 2.5]))
def test_a_poll_says_what_a_vote_would_say_whatever_it_was_told_before(seconds: list[tuple[Sight, ...]],
                                                                         quorum: float) -> None:
    poll = Poll(DEPTHS.values(), 4.0, quorum)
    for sights in seconds:
        before = poll.says
        asked = poll.take(sights)
        vote = Vote(sights, quorum)
        says = [(vote.suspected(cm, cm - 4), vote.confirmed(cm, cm - 4)) for cm in DEPTHS.values()]
        if not vote.known(5.0) and vote.heavy and says[0][0] is UNKNOWN:
            says[0] = HIGH, says[0][1]
        assert poll.says == says
        assert asked or says == before
        assert poll.blind is not vote.known(5.0)


def test_nobody_is_asked_again_while_no_gauge_passes_a_depth():
    poll = Poll(DEPTHS.values(), 4.0, 2.0)
    assert poll.take([sees("pressure", 6), sees("radar", 7)])
    assert not poll.take([sees("pressure", 10.9), sees("radar", 5)])
    assert poll.take([sees("pressure", 11), sees("radar", 5)]), "from here on it denies no yellow"
