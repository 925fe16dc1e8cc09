"""What the judge of HONEST forgives hangs on what was injected, and on nothing else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from simulators import hamlet
from simulators.promises import word
from simulators.promises.history import History
from tests.simulators.bench_judges import SEEDS, lived


@pytest.fixture(scope="module")
def burnt() -> History:
    return lived("burnt-head-says-it-sounds")


def with_feedback(history: History, siren: str, points: list[str]) -> History:
    """The same, had the siren had these for feedback."""
    place: dict[str, Any] = json.loads((SEEDS / "burnt-head-says-it-sounds.json").read_text(encoding="utf-8"))["place"]
    for gateway in place["gateways"]:
        for section in gateway["siren"]:
            if section["id"] == siren:
                section["feedback"] = [{"point": point} for point in points]
    return replace(history, configs=hamlet.build(place)[1])


def test_a_burnt_head_that_tells_of_itself_is_forgiven(burnt: History) -> None:
    assert list(word.honest(burnt)) == []


def test_without_the_fault_it_is_not(burnt: History) -> None:
    assert len(list(word.honest(replace(burnt, troubles=())))) == 1
    early = [replace(t, to_us=t.from_us + 1) for t in burnt.troubles]
    assert len(list(word.honest(replace(burnt, troubles=early)))) == 1
    elsewhere = [replace(t, on="u-1") for t in burnt.troubles]
    assert len(list(word.honest(replace(burnt, troubles=elsewhere)))) == 1


@pytest.mark.parametrize("points", [["u-2.contact_1"], ["u-6.activation", "u-2.contact_1"], ["u-6.input_1"]])
def test_another_witness_would_have_seen_it(burnt: History, points: list[str]) -> None:
    assert len(list(word.honest(with_feedback(burnt, "s-106", points)))) == 1


def test_an_order_that_came_to_a_welded_siren_cannot_be_placed() -> None:
    history = lived("welded-when-the-order-came")
    assert list(word.honest(history)) == []
    assert len(list(word.honest(replace(history, troubles=())))) == 1


def test_a_head_that_joins_late_is_placed_by_the_arrival_where_its_line_was_in_trouble() -> None:
    history = lived("joined-in-the-third-phase")
    assert list(word.honest(history)) == []
    assert len(list(word.honest(replace(history, troubles=())))) >= 1
    silent = [one for one in history.soundings if one.on_wall_us != max(s.on_wall_us for s in history.soundings)]
    assert len(list(word.honest(replace(history, soundings=silent)))) >= 1
