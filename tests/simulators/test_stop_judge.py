"""A stop that no disk knew is forgiven by what was injected, and by nothing else."""

from dataclasses import replace
from pathlib import Path

from simulators import live
from simulators.promises import sound
from simulators.scenario import Scenario

FILE = Path(__file__).parents[1] / "seeds" / "stopped-and-known-to-no-disk.json"


def test_a_stop_that_died_with_its_process_forbids_nothing_after_that() -> None:
    history = live.live(Scenario.decode(FILE.read_text(encoding="utf-8"))).history
    assert history is not None
    assert list(sound.stop_wins(history)) == []
    knew = [t for t in history.troubles if t.kind != "no-disk"]
    assert len(list(sound.stop_wins(replace(history, troubles=knew)))) == 1
    earlier = [replace(t, to_us=t.to_us - 4_000_000) if t.kind == "no-disk" else t for t in history.troubles]
    assert len(list(sound.stop_wins(replace(history, troubles=earlier)))) == 1
