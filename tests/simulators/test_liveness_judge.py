"""What must sound within two seconds, and what may have sounded before."""

from dataclasses import replace

from controller.wire import to_text
from firmware_bridge.machine import S
from simulators.promises import sound
from simulators.promises.history import History
from tests.simulators.bench_judges import lived


def issued(history: History, before_s: float) -> History:
    """The order came when it was so old."""
    (order,), came_us = history.orders, history.arrivals[0].at_us
    at = to_text(came_us - round(before_s * S))
    return replace(history, orders=[replace(order, body=order.body.model_copy(update={"issued_at": at}))])


def test_an_old_warning_need_not_sound_without_a_disk_and_a_young_one_must() -> None:
    history = lived("old-warning-without-a-disk")
    assert list(sound.liveness(history)) == []
    assert list(sound.liveness(issued(history, 121))) == []
    (young,) = sound.liveness(issued(history, 119))
    assert "was not on" in young
    assert list(sound.liveness(replace(history, troubles=[]))) != []
