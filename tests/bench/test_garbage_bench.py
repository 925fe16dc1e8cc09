"""The garbage goes to a bus that works: it asks, waits for an answer among what comes, and would take one."""

import pytest

from bench import garbage
from bench.garbage import BAUD, OCTETS, RTU, TCP, VALID, Fed, worst
from firmware_bridge import modbus
from firmware_bridge.bus import State


@pytest.mark.parametrize("make", [*RTU.values(), *TCP.values(), *VALID.values()])
def test_every_kind_is_64_kib(make: garbage.Make) -> None:
    assert len(make()) == OCTETS


@pytest.mark.parametrize(("baud", "kinds"), [(BAUD, RTU), (None, TCP)])
def test_a_read_is_out_whatever_comes_and_nothing_is_believed(baud: int | None, kinds: dict[str, garbage.Make]) -> None:
    for kind, make in kinds.items():
        fed = Fed(baud)
        fed.feed(make()[:16384], 256)
        # It waits for an answer, or until a late one can no longer be taken for the next.
        assert fed.bus.state is not State.DOWN, kind
        assert fed.bus.deadline is not None, kind
        assert fed.bus.counters.sent >= 1, kind
        assert fed.bus.counters.answered == 0, kind


def test_an_answer_among_the_garbage_is_taken_and_the_next_read_goes_out() -> None:
    fed = Fed(BAUD)
    # As long as the request takes, and its answer.
    fed.feed(bytes(256), 16)
    fed.feed(modbus.rtu_frame(1, modbus.reply_pdu(garbage.LONGEST, tuple(range(125)))), 16)
    assert fed.bus.counters.answered == 1
    assert fed.bus.deadline is not None


def test_the_worst_kind_is_named() -> None:
    found = {"rtu": {"a": {16: 3.0, 256: 9.0}, "b": {16: 4.0, 256: 1.0}}}
    assert worst(found, "rtu", 16) == (4.0, "b")
    assert worst(found, "rtu", 256) == (9.0, "a")
