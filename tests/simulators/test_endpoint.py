"""A connection to a Modbus TCP device: many requests in one segment, one answer in many, and what a gateway says."""

from itertools import pairwise
from random import Random

import pytest

from firmware_bridge.event import Read, Table
from firmware_bridge.machine import MS, Woken
from firmware_bridge.modbus import mbap_frame, mbap_split, reply_pdu, request_pdu
from simulators.endpoint import JOINED_US, SPLIT_US, TARGET_PATIENCE_US, Endpoint, HungUp, Segments
from simulators.line import Answer, Heard, Put, Seen

ASKED = Read(Table.HOLDING, 4, 3)
ANSWER = reply_pdu(ASKED, (7, 8, 9))
TURNAROUND_US = 20 * MS
START = 1_000_000
THREE = b"".join(mbap_frame(n, 3, request_pdu(ASKED)) for n in (5, 6, 7))
REPLIES = [mbap_frame(n, 3, ANSWER) for n in (5, 6, 7)]


def endpoint(segments: Segments | None = None, again_us: int | None = None, refuse: bool = False) -> Endpoint:
    def ask(now_us: int, seen: Seen) -> list[Answer]:
        return [Answer(TURNAROUND_US, 3, ANSWER, again_us)] if seen.unit == 3 else []

    return Endpoint(ask, Random(1), refuse_silent=refuse, segments=segments)


def play(one: Endpoint, *puts: bytes) -> list[tuple[int, bytes]]:
    """What leaves it, segment by segment, with its instant."""
    out = [(START, e) for put in puts for e in one.handle(START, Put(put))]
    while (due := one.deadline) is not None:
        out += [(due, e) for e in one.handle(due, Woken())]
        assert one.deadline is None or one.deadline > due
    return [(at, e.data) for at, e in out if isinstance(e, Heard)]


def test_several_requests_in_one_segment_are_all_answered_one_after_the_other() -> None:
    for puts in ((THREE,), (THREE[:20], THREE[20:])):
        assert play(endpoint(), *puts) == [(START + (n + 1) * TURNAROUND_US, REPLIES[n]) for n in range(3)]


def test_a_server_that_serves_one_request_a_segment_loses_the_others() -> None:
    """As pymodbus's does: one request a data_received."""
    segments = Segments(one_request=True)
    one = endpoint(segments)
    assert [data for _, data in play(one, THREE)] == REPLIES[:1]
    assert [data for _, data in play(one, THREE[:12], THREE[12:24], THREE[24:])] == REPLIES
    assert [data for _, data in play(one, THREE[:20], THREE[20:])] == REPLIES[:1], "the half of the second is lost"
    segments.one_request = False
    one = endpoint(segments)
    assert [data for _, data in play(one, THREE)] == REPLIES


def test_an_answer_may_come_in_several_segments() -> None:
    out = play(endpoint(Segments(split=True)), THREE)
    assert 6 <= len(out) <= 12
    assert b"".join(data for _, data in out) == b"".join(REPLIES)
    assert all(len(data) < len(REPLIES[0]) for _, data in out), "none is whole"
    gaps = [b - a for (a, _), (b, _) in pairwise(out)]
    assert all(gap >= SPLIT_US[0] for gap in gaps), "two at one instant would be one segment"


def test_several_answers_may_come_in_one_segment() -> None:
    out = play(endpoint(Segments(joined=True)), THREE)
    assert out == [(START + TURNAROUND_US + JOINED_US, b"".join(REPLIES))]


def test_an_answer_that_is_said_again() -> None:
    out = play(endpoint(again_us=30 * MS), THREE[:12])
    assert out == [(START + TURNAROUND_US, REPLIES[0]), (START + TURNAROUND_US + 30 * MS, REPLIES[0])]


@pytest.mark.parametrize("refuse", [True, False])
def test_a_unit_that_is_not_there_is_refused_after_a_while_or_silent(refuse: bool) -> None:
    out = play(endpoint(refuse=refuse), mbap_frame(1, 9, request_pdu(ASKED)))
    assert [(at, mbap_split(data)) for at, data in out] == (
        [(START + TARGET_PATIENCE_US, (1, 9, b"\x83\x0b", b""))] if refuse else [])


def test_what_is_no_modbus_tcp_is_hung_up_on() -> None:
    out = endpoint().handle(START, Put(b"GET / HTTP/1.1\r\n\r\n"))
    assert [type(e) for e in out] == [HungUp]
