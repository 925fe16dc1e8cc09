"""A stop that no disk knew is forgiven by what was injected, and by nothing else."""

from dataclasses import replace

from controller.wire import to_text
from simulators.promises import sound
from tests.simulators.bench_judges import lived


def test_a_stop_that_died_with_its_process_forbids_nothing_after_that() -> None:
    history = lived("stopped-and-known-to-no-disk")
    assert list(sound.stop_wins(history)) == []
    knew = [t for t in history.troubles if t.kind != "no-disk"]
    assert len(list(sound.stop_wins(replace(history, troubles=knew)))) == 1
    earlier = [replace(t, to_us=t.to_us - 4_000_000) if t.kind == "no-disk" else t for t in history.troubles]
    assert len(list(sound.stop_wins(replace(history, troubles=earlier)))) == 1


def test_a_stop_at_the_cabinet_that_died_with_its_process_forbids_nothing_after_that() -> None:
    history = lived("stopped-at-the-cabinet-and-known-to-no-disk")
    assert list(sound.stop_wins(history)) == []
    knew = [t for t in history.troubles if t.kind != "no-disk"]
    assert list(sound.stop_wins(replace(history, troubles=knew))) != []


def test_a_stop_ends_a_flood_that_began_before_it_was_issued_and_no_later_one() -> None:
    history = lived("stop-that-is-older-than-the-flood")
    assert list(sound.stop_wins(history)) == []
    (stop,) = history.stops()
    began_us = min(c.on_wall_us for c in history.contacts if c.siren in stop.sirens)
    (came,) = [a for a in history.arrivals if a.order == stop.id]
    assert stop.issued_us < began_us < came.at_us
    later = replace(stop, body=stop.body.model_copy(update={"issued_at": to_text(began_us + 500_000)}))
    others = [o for o in history.orders if o is not stop]
    (still,) = sound.stop_wins(replace(history, orders=[*others, later]))
    assert "still sounded" in still


def test_a_stop_ends_what_was_asked_for_at_the_cabinet_before_it_was_issued_and_nothing_later() -> None:
    history = lived("stop-that-is-older-than-a-wish")
    assert list(sound.stop_wins(history)) == []
    (stop,) = history.stops()
    (asked,) = (a for a in history.asks if a.verb == "activate")
    later = replace(stop, body=stop.body.model_copy(update={"issued_at": to_text(asked.at_us + 500_000)}))
    others = [o for o in history.orders if o is not stop]
    (still,) = sound.stop_wins(replace(history, orders=[*others, later]))
    assert "still sounded" in still
