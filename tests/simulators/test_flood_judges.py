"""The judges of floods see what was wrong beside the road: a life in which all was right, and changed records of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from controller.config import Drive
from firmware_bridge.machine import S
from simulators import live, scenario
from simulators.promises import flood
from simulators.promises.facts import Sounding, Written
from simulators.promises.gauges import Watched
from simulators.promises.history import History

SEED = 93
"""A flash flood with sign, beacon, boom and voice, that has its siren."""


@pytest.fixture(scope="module")
def lived() -> History:
    # Nothing but the water: what is wrong with units and lines is an excuse.
    drawn = scenario.draw(SEED)
    history = live.live(replace(drawn, steps=tuple(s for s in drawn.steps if s.do == "storm"))).history
    assert history is not None
    return history


@pytest.fixture
def spot(lived: History) -> Watched:
    return lived.watched[0]


def device_line(history: History, unit: str) -> str:
    return history.configs[0].device(unit).bus


def siren(history: History, spot: Watched) -> Iterator[tuple[str, list[Sounding]]]:
    for id in spot.sirens:
        for stretches in flood.begun(history, id):
            yield id, stretches


def test_a_flood_that_was_right_is_called_right(lived: History, spot: Watched) -> None:
    assert [*siren(lived, spot)], "no siren sounded"
    assert {c.siren.partition(".")[2] for c in lived.roadside} == {"beacon", "boom"}
    assert any(flood.PLAY in f.pdu for f in lived.frames)
    assert [*flood.vote(lived), *flood.no_flap(lived)] == []


def test_a_siren_without_vote_or_policy_is_seen(lived: History, spot: Watched) -> None:
    id, stretches = next(siren(lived, spot))
    early = Sounding(id, spot.starts[0][0] - 2 * S, spot.starts[0][0] - S, "write")
    assert "no vote" in next(flood.vote(replace(lived, contacts=[early])))
    unsigned = replace(spot, sirens=())
    assert "no policy" in next(flood.vote(replace(lived, watched=[unsigned], contacts=stretches)))


@pytest.mark.parametrize("what", ["boom", "voice"])
def test_what_needs_a_vote_beside_the_road_and_came_before_it_is_seen(lived: History, spot: Watched, what: str) -> None:
    before = spot.rows[10].at_us
    assert spot.spot.voice is not None
    play = Written(device_line(lived, spot.spot.voice.device), before, 1, flood.PLAY, False)
    shut = Sounding(f"{spot.spot.id}.boom", before, None, "write")
    wrong = replace(lived, frames=[play]) if what == "voice" else replace(lived, roadside=[shut])
    assert f"the {what} of" in next(flood.vote(wrong))


def test_a_second_siren_of_one_flood_is_seen(lived: History, spot: Watched) -> None:
    _, (first, *_) = next(siren(lived, spot))
    after_us = first.on_wall_us + spot.length_us + 2 * S
    again = replace(first, on_wall_us=after_us, off_wall_us=after_us + S)
    assert "a second siren" in next(flood.no_flap(replace(lived, contacts=[first, again])))


def test_more_stretches_than_the_pattern_has_are_seen(lived: History, spot: Watched) -> None:
    _, (first, *_) = next(siren(lived, spot))
    times = [replace(first, on_wall_us=first.on_wall_us + n * S, off_wall_us=first.on_wall_us + n * S + S // 2)
             for n in range(spot.phases + 1)]
    assert "its pattern has" in next(flood.no_flap(replace(lived, contacts=times)))


def test_a_light_that_goes_too_soon_and_a_sign_that_flickers_are_seen(lived: History, spot: Watched) -> None:
    assert spot.spot.beacon is not None
    assert Drive.of(spot.spot.beacon.drive).channel == 1
    lit = next(c for c in lived.roadside if c.siren.endswith(".beacon"))
    short = replace(lit, off_wall_us=lit.on_wall_us + 20 * S)
    assert "the beacon of" in next(flood.no_flap(replace(lived, roadside=[short])))
    assert spot.spot.sign is not None
    line = device_line(lived, spot.spot.sign.device)
    told = [f for f in lived.frames if f.line == line]
    dry = lived.configs[0].scales[spot.spot.scale].dry.encode("gb2312")
    raised = next(n for n, f in enumerate(told) if "禁止通行".encode("gb2312") in f.pdu)
    flicker = Written(line, told[raised].at_us + 5 * S, 1, dry, False)
    assert "the sign of" in next(flood.no_flap(replace(lived, frames=[*told[: raised + 1], flicker])))
