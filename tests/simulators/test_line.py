"""The emulated wire, to the microsecond: when a unit sees a request, when the master hears the answer, who is hurt."""

from collections import Counter
from random import Random

import pytest

from firmware_bridge.event import Read, Table
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.modbus import crc16, mbap_frame, mbap_split, reply_pdu, request_pdu, rtu_frame, rtu_replies
from simulators.faults import LineFault, LineFaults, hurt
from simulators.line import Ask, Endpoint, Heard, HungUp, Line, Put, Seen

ASKED = Read(Table.HOLDING, 4, 3)
REQUEST = rtu_frame(3, request_pdu(ASKED))
ANSWER = reply_pdu(ASKED, (7, 8, 9))
REPLY = rtu_frame(3, ANSWER)
TURNAROUND_US = 20 * MS
CHAR_US = 11e6 / 9600
T35_US = 4010
REQUEST_US, REPLY_US = round(8 * CHAR_US), round(11 * CHAR_US)
START = 1_000_000

When = tuple[int, Heard | Seen | HungUp]


def answering(unit: int = 3, turnaround_us: int = TURNAROUND_US) -> Ask:
    return lambda now_us, asked, pdu: [(turnaround_us, ANSWER)] if asked == unit else []


def play(line: Line | Endpoint, puts: list[tuple[int, Put]]) -> list[When]:
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
    line = Line(9600, lambda now, unit, pdu: [(TURNAROUND_US, ANSWER), (TURNAROUND_US, ANSWER)], Random(1))
    out = play(line, [(START, Put(REQUEST))])
    assert line.collisions == 1
    assert rtu_replies(heard(out))[0] == []


def test_another_master_is_heard_and_answered() -> None:
    """Listening is how a gateway finds out that it is not alone on its line."""
    line = Line(9600, answering(), Random(1))
    out = play(line, [(START, Put(REQUEST, foreign=True))])
    assert out == [
        (START + REQUEST_US, Heard(REQUEST)),
        (START + REQUEST_US + T35_US, Seen(3, request_pdu(ASKED), START, foreign=True)),
        (START + REQUEST_US + TURNAROUND_US + REPLY_US, Heard(REPLY)),
    ]


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
    assert 0 < len(rtu_replies(got)[0]) < 50 - unread


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


# Faults of answers.


def mangled(kind: LineFault, seed: int = 1) -> list[When]:
    rng = Random(seed)
    line = Line(9600, answering(), rng)
    line.mangle = LineFaults(rng, {kind: 1.0}).mangle
    return play(line, [(START, Put(REQUEST))])


def test_each_fault_is_what_its_word_says() -> None:
    usual_us = START + REQUEST_US + TURNAROUND_US + REPLY_US
    for seed in range(50):
        assert heard(mangled(LineFault.DROPPED, seed)) == b""
        garbled = heard(mangled(LineFault.GARBLED, seed))
        assert len(garbled) == len(REPLY)
        assert crc16(garbled) != 0
        cut = heard(mangled(LineFault.CUT, seed))
        assert 0 < len(cut) < len(REPLY)
        assert REPLY.startswith(cut)
        late = mangled(LineFault.LATE, seed)
        assert heard(late) == REPLY
        assert usual_us + 200 * MS <= late[-1][0] <= usual_us + 900 * MS
        assert heard(mangled(LineFault.DOUBLED, seed)) == REPLY * 2
        (unit, pdu), = rtu_replies(heard(mangled(LineFault.FOREIGN, seed)))[0]
        assert (unit, pdu) == (4, ANSWER)
        noisy = heard(mangled(LineFault.NOISE, seed))
        assert noisy.endswith(REPLY)
        assert len(noisy) > len(REPLY)
        (unit, pdu), = rtu_replies(heard(mangled(LineFault.SHORT, seed)))[0]
        assert (unit, pdu) == (3, b"\x03\x04\x00\x07\x00\x08")


def test_faults_come_as_often_as_they_should_and_the_same_again() -> None:
    def happened(seed: int) -> Counter[LineFault]:
        faults = LineFaults(Random(seed), {LineFault.DROPPED: 0.1, LineFault.LATE: 0.2})
        for n in range(5000):
            faults.mangle(n, REPLY)
        return faults.happened

    assert happened(7) == happened(7)
    assert happened(7)[LineFault.DROPPED] == pytest.approx(500, rel=0.2)
    assert happened(7)[LineFault.LATE] == pytest.approx(1000, rel=0.2)
    assert set(happened(7)) == {LineFault.DROPPED, LineFault.LATE}


@pytest.mark.parametrize("kind", LineFault)
@pytest.mark.parametrize("pdu", [b"\x83\x02", b"\x01\x01\x00", b"\x05\x00\x00\xff\x00"])
def test_short_answers_can_be_hurt_too(kind: LineFault, pdu: bytes) -> None:
    reply = rtu_frame(1, pdu)
    for seed in range(100):
        for delay_us, data in hurt(kind, reply, Random(seed)):
            assert delay_us >= 0
            assert data


# Modbus TCP.


def test_several_requests_in_one_segment_are_all_answered_one_after_the_other() -> None:
    endpoint = Endpoint(answering())
    segment = b"".join(mbap_frame(n, 3, request_pdu(ASKED)) for n in (5, 6, 7))
    out = play(endpoint, [(START, Put(segment[:20])), (START, Put(segment[20:]))])
    answers = [(at, e.data) for at, e in out if isinstance(e, Heard)]
    assert answers == [(START + (n + 1) * TURNAROUND_US, mbap_frame(5 + n, 3, ANSWER)) for n in range(3)]


@pytest.mark.parametrize("refuse", [True, False])
def test_a_unit_that_is_not_there_is_refused_or_silent(refuse: bool) -> None:
    out = play(Endpoint(answering(), refuse_silent=refuse), [(START, Put(mbap_frame(1, 9, request_pdu(ASKED))))])
    answers = [mbap_split(e.data) for _, e in out if isinstance(e, Heard)]
    assert answers == ([(1, 9, b"\x83\x0b", b"")] if refuse else [])


def test_what_is_no_modbus_tcp_is_hung_up_on() -> None:
    out = Endpoint(answering()).handle(START, Put(b"GET / HTTP/1.1\r\n\r\n"))
    assert [type(e) for e in out] == [HungUp]
