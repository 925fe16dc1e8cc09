"""What judges are tried with: a kept seed lived again, and its history, which a test then changes."""

from pathlib import Path

from simulators import live
from simulators.promises.history import History
from simulators.scenario import Scenario

SEEDS = Path(__file__).parents[1] / "seeds"


def lived(name: str) -> History:
    history = live.live(Scenario.decode((SEEDS / f"{name}.json").read_text(encoding="utf-8"))).history
    assert history is not None
    return history
