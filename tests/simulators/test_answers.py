"""What happens to requests and answers: each fault is what its word says, several meet at once, and all is seeded."""

from collections import Counter
from random import Random

import pytest

from firmware_bridge.event import Read, Table
from firmware_bridge.machine import MS
from firmware_bridge.modbus import crc16, reply_pdu, request_pdu, rtu_frame
from simulators.answers import SHARED, Answers
from simulators.faults import Fault
from simulators.line import Answer, Seen

ASKED = Read(Table.HOLDING, 4, 3)
PDU = reply_pdu(ASKED, (7, 8, 9))
ANSWER = Answer(20 * MS, 3, PDU)
REFUSAL = Answer(20 * MS, 3, b"\x83\x02")
REPLY = rtu_frame(3, PDU)
REQUEST = Seen(3, request_pdu(ASKED), 0)


def on(*faults: Fault, seed: int = 1, share: float = 1.0) -> Answers:
    answers = Answers(Random(seed))
    for fault in faults:
        answers.change(fault, share)
    return answers


def hurt(fault: Fault, answer: Answer = ANSWER, seed: int = 1) -> Answer:
    found = on(fault, seed=seed).hurt(answer)
    assert found is not None
    return found


def worn(answer: Answer | None) -> bytes:
    assert answer is not None
    frame = rtu_frame(answer.unit, answer.pdu)
    return answer.wear(frame) if answer.wear else frame


def test_nothing_is_wrong() -> None:
    answers = on()
    assert answers.refused() is None
    assert answers.diverted(REQUEST) is None
    found = answers.hurt(ANSWER)
    assert found is not None
    assert found._replace(wear=None) == ANSWER
    assert worn(found) == REPLY


def test_each_fault_is_what_its_word_says() -> None:
    for seed in range(50):
        assert on(Fault.DROPPED, seed=seed).hurt(ANSWER) is None
        assert 200 * MS <= hurt(Fault.LATE, seed=seed).turnaround_us - ANSWER.turnaround_us <= 900 * MS
        assert 0 <= (hurt(Fault.DOUBLED, seed=seed).again_us or 0) <= 50 * MS
        assert hurt(Fault.WRONG_UNIT, seed=seed).unit == 4
        assert hurt(Fault.SHORT, seed=seed).pdu == b"\x03\x04\x00\x07\x00\x08"
        cut = worn(hurt(Fault.CUT, seed=seed))
        assert 0 < len(cut) < len(REPLY)
        assert REPLY.startswith(cut)
        garbled = worn(hurt(Fault.GARBLED, seed=seed))
        assert len(garbled) == len(REPLY)
        assert crc16(garbled) != 0
        noisy = worn(hurt(Fault.NOISE, seed=seed))
        assert noisy.endswith(REPLY)
        assert 1 <= len(noisy) - len(REPLY) <= 6


def test_refusals_of_what_a_unit_could_do() -> None:
    assert on(Fault.BUSY).refused() == 6
    assert {on(Fault.ILLEGAL, seed=seed).refused() for seed in range(50)} == {1, 2, 3}
    assert on(Fault.BUSY).diverted(REQUEST) is None


def test_what_a_gateway_says_by_itself() -> None:
    assert on(Fault.NO_PATH).diverted(REQUEST) == Answer(0, 3, b"\x83\x0a")
    silent = on(Fault.NO_TARGET).diverted(REQUEST)
    assert silent is not None
    assert silent.pdu == b"\x83\x0b"
    assert silent.turnaround_us == 500 * MS


def test_after_a_slow_refusal_the_next_answer_is_slow_and_no_other() -> None:
    answers = on(Fault.SLOW_REFUSAL)
    other = ANSWER._replace(unit=9)
    waits = []
    for answer in (ANSWER, REFUSAL, other, ANSWER, ANSWER):
        found = answers.hurt(answer)
        assert found is not None
        waits.append(found.turnaround_us - answer.turnaround_us)
    assert [wait > 0 for wait in waits] == [False, True, False, True, False]
    assert all(wait == 0 or 200 * MS <= wait <= 900 * MS for wait in waits)


def test_several_faults_meet_one_answer() -> None:
    found = on(Fault.LATE, Fault.DOUBLED, Fault.WRONG_UNIT, Fault.SHORT, Fault.NOISE).hurt(ANSWER)
    assert found is not None
    assert found.turnaround_us >= 220 * MS
    assert found.again_us is not None
    assert worn(found).endswith(rtu_frame(4, b"\x03\x04\x00\x07\x00\x08"))
    assert len(worn(found)) > len(rtu_frame(4, found.pdu))
    # And those of a line meet what those of its unit left.
    twice = on(Fault.NOISE, seed=2).hurt(found)
    assert len(worn(twice)) > len(rtu_frame(4, found.pdu)) + 1


def test_faults_come_as_often_as_they_should_and_the_same_again() -> None:
    def happened(seed: int) -> Counter[Fault]:
        answers = on(Fault.DROPPED, seed=seed, share=0.1)
        answers.change(Fault.LATE, 0.2)
        for _ in range(5000):
            answers.hurt(ANSWER)
        return +answers.happened

    assert happened(7) == happened(7) != happened(8)
    assert happened(7)[Fault.DROPPED] == pytest.approx(500, rel=0.2)
    assert happened(7)[Fault.LATE] == pytest.approx(0.9 * 1000, rel=0.2), "what is dropped is not late as well"
    assert set(happened(7)) == {Fault.DROPPED, Fault.LATE}


def test_a_fault_that_is_ended_meets_nothing() -> None:
    answers = on(*SHARED)
    for fault in SHARED:
        answers.change(fault, 0)
    assert answers.shares == {}
    assert worn(answers.hurt(ANSWER)) == REPLY
    assert answers.refused() is None


@pytest.mark.parametrize("fault", sorted(SHARED))
@pytest.mark.parametrize("pdu", [b"\x83\x02", b"\x01\x01\x00", b"\x05\x00\x00\xff\x00"])
def test_short_answers_can_be_hurt_too(fault: Fault, pdu: bytes) -> None:
    for seed in range(100):
        found = on(fault, seed=seed).hurt(Answer(0, 1, pdu))
        if found is not None:
            assert found.turnaround_us >= 0
            assert found.pdu
            assert worn(found)
