"""The judge of the bad line: it finds a broken bus out, knows a true collision, and says nothing of a good line."""

from collections import deque

import pytest

from bench import faults
from bench.episode import BusLike, Episode, Plan, Result
from bench.judge import WRONG, Judge
from firmware_bridge import modbus, scan
from firmware_bridge.bus import Bus
from firmware_bridge.event import (
    BusEffect,
    BusEvent,
    Finished,
    Priority,
    Read,
    Received,
    Reply,
    Send,
    Silent,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Write,
)
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import MS

TRANSACTIONS = 600
BAD = Plan(1, 9600, 0.5, 3000)


class Gullible(Bus):
    """A real bus whose matcher is broken: where it hears as many octets as an answer has, it believes them."""

    def __init__(self, id: str, framing: Rtu) -> None:
        super().__init__(id, framing)
        self._heard = b""

    def handle(self, now_us: int, event: BusEvent) -> list[BusEffect]:
        if isinstance(event, Received):
            self._heard += event.data
        out = [self._believe(effect) for effect in super().handle(now_us, event)]
        if any(isinstance(effect, Send) for effect in out):
            self._heard = b""
        return out

    def _believe(self, effect: BusEffect) -> BusEffect:
        if not isinstance(effect, Finished) or not isinstance(effect.outcome, Silent):
            return effect
        request = effect.transaction.request
        assert isinstance(request, Read | Write)
        length = modbus.reply_length(request)
        pdu = self._heard[1 : 1 + length]
        if not isinstance(request, Read) or len(pdu) < length:
            return effect
        shaped = bytes([modbus.function_of(request), length - 2]) + pdu[2:]
        believed = modbus.reply_of(request, shaped)
        return Finished(effect.bus, effect.transaction, believed, effect.sent_us)


class Naive:
    """A master as one is written in an afternoon: ask, wait, take the first valid answer of that length, ask again."""

    timeout_us = 300 * MS

    def __init__(self, id: str) -> None:
        self.deadline: int | None = None
        self._id = id
        self._waiting: deque[Transaction] = deque()
        self._out: tuple[int, Transaction] | None = None
        self._tries = 0
        self._heard = b""

    def handle(self, now_us: int, event: BusEvent) -> list[BusEffect]:
        effects: list[BusEffect] = []
        match event:
            case Submit(_, txn):
                self._waiting.append(txn)
            case Withdraw():
                pass
            case Received(_, data):
                self._heard += data
                effects += self._answer()
        if self._out is not None and self.deadline is not None and now_us >= self.deadline:
            sent_us, txn = self._out
            self._out = None
            self._tries += 1
            if self._tries < 3:
                self._waiting.appendleft(txn)
            else:
                effects.append(Finished(self._id, txn, Silent(), sent_us))
        if self._out is None and self._waiting:
            txn = self._waiting.popleft()
            if self._tries == 3:
                self._tries = 0
            self._out, self._heard, self.deadline = (now_us, txn), b"", now_us + self.timeout_us
            assert isinstance(txn.request, Read | Write)
            effects.append(Send(self._id, modbus.rtu_frame(txn.unit, modbus.request_pdu(txn.request))))
        if self._out is None:
            self.deadline = None
        return effects

    def _answer(self) -> list[BusEffect]:
        if self._out is None:
            return []
        sent_us, txn = self._out
        assert isinstance(txn.request, Read | Write)
        for unit, pdu in scan.replies(self._heard):
            if unit == txn.unit and pdu[0] == modbus.function_of(txn.request):
                try:
                    outcome = modbus.reply_of(txn.request, pdu)
                except modbus.Malformed:
                    continue
                self._out, self._tries = None, 0
                return [Finished(self._id, txn, outcome, sent_us)]
        return []


def gullible(id: str, baud: int) -> BusLike:
    return Gullible(id, Rtu(baud, 11))


def naive(id: str, baud: int) -> BusLike:
    return Naive(id)


def wrong(result: Result) -> int:
    return sum(result.found[what] for what in WRONG)


def test_a_bus_that_believes_whatever_has_the_right_length_is_found_wrong() -> None:
    result = Episode(BAD, gullible).run()
    assert result.found["wrong values believed"] >= 3
    assert len(result.stories) >= wrong(result)
    assert result.found["collisions believed"] == 0


def test_a_master_without_memory_believes_late_answers_and_repeats_triggers() -> None:
    result = Episode(Plan(1, 9600, 0.6, 6000), naive).run()
    assert result.found["wrong values believed"] >= 1
    assert result.found["triggers written twice"] > 5
    assert any("(late" in story for story in result.stories)


def test_on_a_good_line_even_they_are_right() -> None:
    for make in (gullible, naive):
        # One in which no poll gave way to an order while its answer was already on the wire.
        result = Episode(Plan(2, 9600, 0.0, TRANSACTIONS), make).run()
        assert (wrong(result), result.found["ended reply"] > TRANSACTIONS / 2) == (0, True), result.stories


@pytest.mark.parametrize("baud", [9600, 115200])
def test_on_a_good_line_our_bus_is_right_and_every_trigger_is_written_once(baud: int) -> None:
    result = Episode(Plan(3, baud, 0.0, TRANSACTIONS)).run()
    assert result.stories == []
    assert result.found["triggers written"] > 20
    assert result.found["triggers written twice"] == 0


def test_an_episode_can_be_played_again() -> None:
    plan = Plan(7, 115200, 0.2, 200)
    assert Episode(plan).run() == Episode(plan).run()


# A belief at a time, on octets made by hand.

ASKED = Read(Table.DISCRETE, 3, 1)
FULL = Read(Table.HOLDING, 0, 2)


def judged(request: Read | Write, answered: bytes | None, heard: bytes, believed: tuple[int, ...],
           made: tuple[bytes, ...] = (), repeatable: bool = True) -> Judge:
    judge = Judge(trigger=32)
    pdu = modbus.request_pdu(request)
    judge.sent(1000, modbus.rtu_frame(5, pdu))
    judge.did(1000, 5, pdu, answered)
    for frame in made:
        judge.made(1000, frame, "as it was")
    judge.heard(8000, heard)
    txn = Transaction("test", 1, 5, request, Priority.POLL, repeatable)
    judge.finished(9000, Finished("line", txn, Reply(believed), 1000))
    return judge


def test_what_the_unit_answered_is_right() -> None:
    pdu = modbus.reply_pdu(FULL, (7, 8))
    judge = judged(FULL, pdu, modbus.rtu_frame(5, pdu), (7, 8), (modbus.rtu_frame(5, pdu),))
    assert judge.stories == []


def test_a_valid_frame_that_nobody_made_is_a_true_collision() -> None:
    pdu, hurt = modbus.reply_pdu(ASKED, (0,)), modbus.rtu_frame(5, modbus.reply_pdu(ASKED, (1,)))
    judge = judged(ASKED, pdu, b"\x00" + hurt, (1,), (modbus.rtu_frame(5, pdu),))
    assert judge.found["collisions believed"] == judge.found["collisions believed, of a bool"] == 1
    assert sum(judge.found[what] for what in WRONG) == 0
    assert judge.longest_run == 1


def test_the_same_frame_made_earlier_is_no_collision() -> None:
    pdu, stale = modbus.reply_pdu(FULL, (7, 8)), modbus.rtu_frame(5, modbus.reply_pdu(FULL, (5, 6)))
    judge = judged(FULL, pdu, stale, (5, 6), (stale, modbus.rtu_frame(5, pdu)))
    assert judge.found["wrong values believed"] == 1
    assert judge.found["collisions believed"] == 0


def test_what_was_never_heard_is_no_collision() -> None:
    judge = judged(FULL, modbus.reply_pdu(FULL, (7, 8)), b"", (5, 6))
    assert judge.found["wrong values believed"] == 1


def test_an_acknowledgement_without_the_write_is_wrong_and_a_trigger_is_counted_at_the_unit() -> None:
    trigger = Write(Table.HOLDING, 32, (9,))
    judge = judged(trigger, None, b"", (9,), repeatable=False)
    assert judge.found["wrong acknowledgements believed"] == 1
    pdu = modbus.request_pdu(trigger)
    for at_us in (2000, 3000):
        judge.sent(at_us, modbus.rtu_frame(5, pdu))
        judge.did(at_us, 5, pdu, pdu)
    assert (judge.found["triggers written"], judge.found["triggers written twice"]) == (2, 1)


def test_a_request_that_the_line_made_out_of_another_is_told() -> None:
    judge = Judge(trigger=32)
    judge.sent(1000, modbus.rtu_frame(5, modbus.request_pdu(FULL)))
    judge.did(1000, 5, modbus.request_pdu(ASKED), None)
    assert judge.found["requests that nobody made"] == 1


def test_each_bar_can_fall() -> None:
    none: dict[str, object] = {"faulty": {}, "control": {}, "longest_run_of_a_bool": 0}
    assert set(faults.bars(none).values()) == {True}
    assert set(faults.bars({**none, "faulty": {"wrong refusals believed": 1}}).values()) == {True}
    for what in (*(w for w in WRONG if "refusals" not in w), "triggers written twice", "requests that nobody made"):
        for where in ("faulty", "control"):
            assert list(faults.bars({**none, where: {what: 1}}).values()).count(False) == 1
    assert list(faults.bars({**none, "longest_run_of_a_bool": 2}).values()).count(False) == 1
