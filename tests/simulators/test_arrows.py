"""Lives made by hand take the arrows that chance seldom takes, or never: each file says which, and keeps every promise.

Files in `tests/seeds/arrows/`, in the form of the other seeds: `what` is a sentence, `takes` names the arrows by file.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulators import hamlet, live, swarm, visits
from simulators.scenario import Scenario

FILES = sorted((Path(__file__).parents[1] / "seeds" / "arrows").glob("*.json"))


@contextmanager
def counted() -> Iterator[set[str]]:
    """The arrows that are taken within, as `file STATE EVENT`; afterwards the machines have their own tables again."""
    found = set[str]()
    before = [(module, name, value) for module in swarm.machines() for name, value in vars(module).items()
              if isinstance(value, dict)]
    counting = visits.count(swarm.machines())
    try:
        yield found
        found.update(arrow for table in counting for arrow in table.arrows())
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_takes_its_arrows_and_keeps_every_promise(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    said, scenario = json.loads(text), Scenario.decode(text)
    assert said["what"].endswith(".")
    assert hamlet.problems(scenario.place) == []
    with counted() as taken:
        lived = live.live(scenario)
    assert lived.breaches == {}
    claimed = {f"{of} {arrow}" for of, arrows in said["takes"].items() for arrow in arrows}
    assert claimed
    assert claimed - taken == set(), "it goes otherwise now: move its instants until it takes them again"


def test_nothing_is_counted_afterwards() -> None:
    with counted() as taken:
        live.live(Scenario.decode(FILES[0].read_text(encoding="utf-8")))
    assert taken
    assert not any(isinstance(value, visits.Counting) for m in swarm.machines() for value in vars(m).values())
