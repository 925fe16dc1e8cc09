"""What the judge of SINGLE-MASTER forgives: that nobody could be told, and nothing more."""

from dataclasses import replace

from controller.wire import Event
from firmware_bridge.machine import S
from simulators.promises import line
from tests.simulators.bench_judges import lived


def test_who_cannot_be_told_is_told_afterwards() -> None:
    history = lived("foreign-master-without-a-broker")
    assert list(line.single_master(history)) == []
    untroubled = [t for t in history.troubles if t.kind != "net"]
    assert len(list(line.single_master(replace(history, troubles=untroubled)))) == 1
    slow = [replace(t, on="slow") if t.kind == "net" else t for t in history.troubles]
    assert len(list(line.single_master(replace(history, troubles=slow)))) == 1, "it could have said so"
    for less_s, breaches in ((25, 0), (35, 1)):
        shorter = [replace(t, to_us=t.to_us - less_s * S) if t.kind == "net" else t for t in history.troubles]
        assert len(list(line.single_master(replace(history, troubles=shorter)))) == breaches
    never = [t for t in history.told if not isinstance(t.message, Event) or t.message.what != "foreign-master"]
    assert len(list(line.single_master(replace(history, told=never)))) == 1
