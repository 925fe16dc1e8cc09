"""Each checker is itself tested: a gateway that breaks a promise is caught at it, and one that keeps it is not."""

import pytest

from simulators import live, scenario
from simulators.promises import PROMISES
from tests.simulators.broken_gateways import BROKEN


def test_every_promise_has_a_gateway_that_breaks_it() -> None:
    assert {broken.breaks for broken in BROKEN.values()} == set(PROMISES)
    assert all(seed < 200 for broken in BROKEN.values() for seed in broken.seeds)


@pytest.mark.parametrize("name", BROKEN)
def test_a_gateway_that(name: str) -> None:
    broken = BROKEN[name]
    for seed in broken.seeds:
        with pytest.MonkeyPatch.context() as patch:
            broken.make(patch)
            if broken.breaks in live.live(scenario.draw(seed)).breaches:
                return
    pytest.fail(f"{broken.breaks} was broken, and its checker saw nothing")


@pytest.mark.parametrize("seed", sorted({seed for broken in BROKEN.values() for seed in broken.seeds}))
def test_whole_gateways_break_nothing_there(seed: int) -> None:
    assert live.live(scenario.draw(seed)).breaches == {}
