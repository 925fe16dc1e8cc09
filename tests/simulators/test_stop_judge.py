"""A stop that no disk knew is forgiven by what was injected, and by nothing else."""

from dataclasses import replace

from simulators.promises import sound
from tests.simulators.bench_judges import lived


def test_a_stop_that_died_with_its_process_forbids_nothing_after_that() -> None:
    history = lived("stopped-and-known-to-no-disk")
    assert list(sound.stop_wins(history)) == []
    knew = [t for t in history.troubles if t.kind != "no-disk"]
    assert len(list(sound.stop_wins(replace(history, troubles=knew)))) == 1
    earlier = [replace(t, to_us=t.to_us - 4_000_000) if t.kind == "no-disk" else t for t in history.troubles]
    assert len(list(sound.stop_wins(replace(history, troubles=earlier)))) == 1
