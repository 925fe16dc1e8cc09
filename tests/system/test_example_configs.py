"""The example configurations of the field are read by what they are for. (The broker's: tests/transport.)"""

from pathlib import Path

import pytest

from controller import config
from hub import config as hub_config

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_gateways_example_is_whole() -> None:
    found = config.load(CONFIGS / "gateway.toml")
    assert found.spec.clock.source == "kernel"
    assert found.spec.siren[0].isolator_locked is False


def test_the_hubs_example_lacks_nothing_but_its_trust_list() -> None:
    with pytest.raises(Exception, match=r"trust\.json: file = 'missing'") as caught:
        hub_config.load(CONFIGS / "hub.toml", [])
    assert len(getattr(caught.value, "problems", ())) == 1
