"""The emulated wire, to the microsecond: when a unit sees a request, when the master hears the answer, who is hurt."""

from collections import Counter
from random import Random

import pytest

from firmware_bridge import scan
from firmware_bridge.event import Read, Table
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.modbus import crc16, reply_pdu, request_pdu, rtu_frame
from simulators.line import Answer, Ask, Heard, Line, Put, Seen

ASKED = Read(Table.HOLDING, 4, 3)
REQUEST = rtu_frame(3, request_pdu(ASKED))
ANSWER = reply_pdu(ASKED, (7, 8, 9))
REPLY = rtu_frame(3, ANSWER)
TURNAROUND_US = 20 * MS
CHAR_US = 11e6 / 9600
T35_US = 4010
REQUEST_US, REPLY_US = round(8 * CHAR_US), round(11 * CHAR_US)
START = 1_000_000

When = tuple[int, Heard | Seen]


def answering(unit: int = 3, turnaround_us: int = TURNAROUND_US) -> Ask:
    return lambda now_us, seen: [Answer(turnaround_us, unit, ANSWER)] if seen.unit == unit else []


def play(line: Line, puts: list[tuple[int, Put]]) -> list[When]:
    """Everything that comes out, each with its instant; the line is woken exactly at its deadlines."""
    out: list[When] = []
    puts = sorted(puts, key=lambda p: p[0])
    while puts or line.deadline is not None:
        due = line.deadline
        if puts and (due is None or puts[0][0] < due):
            now, event = puts.pop(0)
            out += [(now, e) for e in line.handle(now, event)]
        else:
            assert due is not None
            out += [(due, e) for e in line.handle(due, Woken())]
            now = due
        assert line.deadline is None or line.deadline > now
    return out


def heard(out: list[When]) -> bytes:
    return b"".join(e.data for _, e in out if isinstance(e, Heard))


def test_one_exchange_takes_its_time() -> None:
    line = Line(9600, answering(), Random(1))
    assert line.t35_us == T35_US
    seen_us = START + REQUEST_US + T35_US
    heard_us = START + REQUEST_US + TURNAROUND_US + REPLY_US
    assert play(line, [(START, Put(REQUEST))]) == [
        (seen_us, Seen(3, request_pdu(ASKED), START)),
        (heard_us, Heard(REPLY)),
    ]
    assert line.busy_us == REQUEST_US + TURNAROUND_US + REPLY_US + T35_US
    assert line.requests == 1


@pytest.mark.parametrize(("baud", "t35_us"), [(1200, 32083), (19200, 2005), (38400, 1750), (115200, 1750)])
def test_silence_of_the_standard(baud: int, t35_us: int) -> None:
    line = Line(baud, answering(turnaround_us=0), Random(1))
    assert line.t35_us == t35_us
    out = play(line, [(START, Put(REQUEST))])
    # A unit that is faster than t3.5 waits for it.
    assert out[-1][0] == START + round(8 * 11e6 / baud) + t35_us + round(11 * 11e6 / baud)


def test_nobody_at_that_address_is_silence() -> None:
    line = Line(9600, answering(unit=4), Random(1))
    out = play(line, [(START, Put(REQUEST))])
    assert [type(e) for _, e in out] == [Seen]
    assert line.busy_us == REQUEST_US + T35_US


def test_a_late_shell_changes_no_instant() -> None:
    """All is due at its own time, however late the machine is told of it."""
    line = Line(9600, answering(), Random(1))
    line.handle(START, Put(REQUEST))
    assert line.handle(START + 10 * S, Woken()) == [Seen(3, request_pdu(ASKED), START), Heard(REPLY)]
    assert line.busy_us == REQUEST_US + TURNAROUND_US + REPLY_US + T35_US


def test_a_frame_put_in_two_pieces_is_one_frame() -> None:
    line = Line(9600, answering(), Random(1))
    out = play(line, [(START, Put(REQUEST[:3])), (START + 5 * MS, Put(REQUEST[3:]))])
    assert heard(out) == REPLY
    assert out[0][1] == Seen(3, request_pdu(ASKED), START)


def test_octets_that_no_unit_can_read_are_silence() -> None:
    line = Line(9600, answering(), Random(1))
    spoilt = bytearray(REQUEST)
    spoilt[3] ^= 1
    assert play(line, [(START, Put(bytes(spoilt))), (START + S, Put(b"\x00")), (START + 2 * S, Put(bytes(300)))]) == []
    assert line.unread == 3


def test_requests_without_silence_between_them_run_together() -> None:
    double = REQUEST + REQUEST
    assert play(Line(9600, answering(), Random(1), strict=True), [(START, Put(double))]) == []
    forgiving = Line(9600, answering(turnaround_us=0), Random(1))
    play(forgiving, [(START, Put(double))])
    assert forgiving.requests == 2
    assert forgiving.collisions == 1, "both answers come at once"


@pytest.mark.parametrize(("gap_us", "strict", "answers"), [(T35_US, True, 2), (T35_US - 100, True, 1), (0, False, 2)])
def test_a_request_too_soon_after_an_answer(gap_us: int, strict: bool, answers: int) -> None:
    line = Line(9600, answering(), Random(1), strict=strict)
    again = START + REQUEST_US + TURNAROUND_US + REPLY_US + gap_us
    out = play(line, [(START, Put(REQUEST)), (again, Put(REQUEST))])
    assert heard(out) == REPLY * answers
    assert line.too_soon == (gap_us < T35_US)


def test_a_master_that_talks_into_an_answer_hurts_both() -> None:
    line = Line(9600, answering(), Random(1))
    # The answer is on the wire for 12.6 ms; the second request begins in its 6th octet.
    begins = START + REQUEST_US + TURNAROUND_US + round(5.5 * CHAR_US)
    out = play(line, [(START, Put(REQUEST)), (begins, Put(REQUEST))])
    got = heard(out)
    assert got[:5] == REPLY[:5]
    assert all(a != b for a, b in zip(got[5:], REPLY[5:], strict=True)), "every octet from the overlap on is hurt"
    assert crc16(got) != 0
    assert line.collisions == 1
    assert line.unread == 1, "and no unit understood the second request"


def test_two_units_at_one_address_hurt_each_other() -> None:
    line = Line(9600, lambda now, seen: [Answer(TURNAROUND_US, 3, ANSWER)] * 2, Random(1))
    out = play(line, [(START, Put(REQUEST))])
    assert line.collisions == 1
    assert scan.replies(heard(out)) == []


def test_another_master_is_heard_and_answered() -> None:
    """Listening is how a gateway finds out that it is not alone on its line."""
    line = Line(9600, answering(), Random(1))
    out = play(line, [(START, Put(REQUEST, foreign=True))])
    assert out == [
        (START + REQUEST_US, Heard(REQUEST)),
        (START + REQUEST_US + T35_US, Seen(3, request_pdu(ASKED), START, foreign=True)),
        (START + REQUEST_US + TURNAROUND_US + REPLY_US, Heard(REPLY)),
    ]


@pytest.mark.parametrize("foreign", [True, False])
def test_whose_request_it_is_says_its_first_octet(foreign: bool) -> None:
    """Two masters without a silence between them: to the units one frame, in which each request has its talker."""
    line = Line(9600, answering(), Random(1))
    out = play(line, [(START, Put(REQUEST, foreign=foreign)), (START + 5 * MS, Put(REQUEST, foreign=not foreign))])
    assert [e.foreign for _, e in out if isinstance(e, Seen)] == [foreign, not foreign]


def test_an_adapter_that_hears_itself() -> None:
    assert heard(play(Line(9600, answering(), Random(1), echo=True), [(START, Put(REQUEST))])) == REQUEST + REPLY


def test_pieces_come_as_their_octets_pass() -> None:
    sizes: Counter[int] = Counter()
    for seed in range(60):
        out = play(Line(9600, answering(), Random(seed), chunks=4), [(START, Put(REQUEST))])
        pieces = [(at, e.data) for at, e in out if isinstance(e, Heard)]
        sizes[len(pieces)] += 1
        passed = 0
        for at, data in pieces:
            passed += len(data)
            assert at == START + REQUEST_US + TURNAROUND_US + round(passed * CHAR_US)
        assert heard(out) == REPLY
    assert set(sizes) == {1, 2, 3, 4}


def test_bit_errors_are_seeded() -> None:
    def outcome(seed: int) -> tuple[bytes, int]:
        line = Line(9600, answering(), Random(seed), error_rate=0.002)
        return heard(play(line, [(START + n * S, Put(REQUEST)) for n in range(50)])), line.unread

    assert outcome(1) == outcome(1)
    assert outcome(1) != outcome(2)
    got, unread = outcome(1)
    assert 0 < unread < 50
    assert 0 < len(scan.replies(got)) < 50 - unread


def test_pulled_out_all_on_the_wire_is_gone() -> None:
    line = Line(9600, answering(), Random(1))
    line.handle(START, Put(REQUEST))
    line.reset()
    assert line.deadline is None
    assert heard(play(line, [(START + S, Put(REQUEST))])) == REPLY


def test_a_master_that_never_stops_fills_a_bounded_queue() -> None:
    line = Line(9600, answering(), Random(1))
    for n in range(1000):
        line.handle(START + n, Put(bytes(256)))
    assert line.deadline is not None
    assert line.deadline <= START + round(4096 * CHAR_US) + T35_US


def test_the_second_of_two_requests_that_ran_together_began_where_its_octets_did() -> None:
    out = play(Line(9600, answering(), Random(1)), [(START, Put(REQUEST + REQUEST)), (START + 1, Put(REQUEST))])
    begins = [e.first_byte_us for _, e in out if isinstance(e, Seen)]
    assert begins == [START + round(8 * n * CHAR_US) for n in range(3)]


# What an answer may be.


def said(answer: Answer) -> list[When]:
    return [(at, e) for at, e in play(Line(9600, lambda now, seen: [answer], Random(1)), [(START, Put(REQUEST))])
            if isinstance(e, Heard)]


def test_an_answer_that_is_said_again_follows_itself() -> None:
    first_us = START + REQUEST_US + TURNAROUND_US + REPLY_US
    for again_us in (0, 7 * MS):
        assert said(Answer(TURNAROUND_US, 3, ANSWER, again_us=again_us)) == [
            (first_us, Heard(REPLY)), (first_us + again_us + REPLY_US, Heard(REPLY))]


def test_an_answer_has_the_address_that_its_unit_says_and_is_worn_on_the_wire() -> None:
    (_, heard_),  = said(Answer(TURNAROUND_US, 9, ANSWER))
    assert heard_ == Heard(rtu_frame(9, ANSWER))
    ((at, heard_),) = said(Answer(TURNAROUND_US, 3, ANSWER, wear=lambda frame: frame[:4]))
    assert heard_ == Heard(REPLY[:4])
    assert at == START + REQUEST_US + TURNAROUND_US + round(4 * CHAR_US), "fewer octets take less time"


# Babble.


def babbled(share: float, length_us: int, seed: int = 1) -> tuple[Line, bytes]:
    line = Line(9600, answering(), Random(seed))
    line.babble(START, "u", share)
    out = b""
    while (due := line.deadline) is not None and due <= START + length_us:
        out += b"".join(e.data for e in line.handle(due, Woken()) if isinstance(e, Heard))
        assert line.deadline is None or line.deadline > due
    return line, out


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_babble_takes_its_share_of_the_time_and_is_the_same_again(share: float) -> None:
    line, octets = babbled(share, 60 * S)
    assert len(octets) == pytest.approx(share * 60e6 / CHAR_US, rel=0.15)
    assert line.busy_us == pytest.approx(share * 60e6, rel=0.15)
    assert babbled(share, 60 * S)[1] == octets != babbled(share, 60 * S, seed=2)[1]
    assert len(set(octets)) > 200


def test_babble_without_a_pause_lets_nothing_through_and_ends_when_it_is_told() -> None:
    line = Line(9600, answering(), Random(1))
    line.babble(0, "u", 1.0)
    assert line.babblers == {"u": 1.0}
    line.handle(START, Woken())
    line.handle(START, Put(REQUEST))
    assert not [e for e in line.handle(START + S, Woken()) if isinstance(e, Seen)]
    assert line.collisions > 0
    assert line.unread == 1
    line.babble(START + S, "u", 0)
    assert line.babblers == {}
    line.handle(START + 2 * S, Woken())
    assert line.deadline is None
    assert heard(play(line, [(START + 3 * S, Put(REQUEST))])) == REPLY


def test_who_babbles_into_an_answer_hurts_it() -> None:
    hurt = 0
    for seed in range(40):
        line = Line(9600, answering(), Random(seed))
        line.babble(0, "u", 0.3)
        line.handle(START, Woken())
        line.handle(START, Put(REQUEST))
        out = line.handle(START + 200 * MS, Woken())
        if any(isinstance(e, Seen) for e in out):
            hurt += REPLY not in b"".join(e.data for e in out if isinstance(e, Heard))
    assert 0 < hurt < 40


@pytest.mark.parametrize(("strict", "seen"), [(True, 0), (False, 1)])
def test_what_follows_babble_too_soon_is_not_understood_by_a_strict_unit(strict: bool, seen: int) -> None:
    line = Line(9600, answering(), Random(1), strict=strict)
    line.babble(START, "u", 0.001)
    now_us = START
    while not heard(out := [(now_us, e) for e in line.handle(now_us, Woken())]):
        assert line.deadline is not None
        now_us = line.deadline
    line.babble(now_us, "u", 0)
    out = play(line, [(now_us + 1, Put(REQUEST))])
    assert sum(isinstance(e, Seen) for _, e in out) == seen
    assert line.too_soon == 1
