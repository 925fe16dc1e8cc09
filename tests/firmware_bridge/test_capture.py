"""The tape puts answers to their requests, and a capture is written of what proves something, and of nothing else."""

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import capture, modbus
from firmware_bridge.capture import Exchange, Tape
from firmware_bridge.event import Read, Request, Table, Write
from firmware_bridge.profile import load
from tests.captures.test_captures import check_frames

FOLDER = Path(__file__).parents[2] / "configs" / "profiles"
GAUGE = load(FOLDER / "qdy30a.toml")
BOARD = load(FOLDER / "waveshare_rtu_relay.toml")
HORN = load(FOLDER / "evikon_ek61.toml")
ASKED = Read(Table.HOLDING, 2, 3)
SAYS_52 = (7, 3, 52)
M_52, M_53 = 52 * 0.001, 53 * 0.001
"""What a gateway makes of it; in the file it is rounded."""


def asks(unit: int, request: Request) -> bytes:
    return modbus.rtu_frame(unit, modbus.request_pdu(request))


def answers(unit: int, request: Request, values: tuple[int, ...] = ()) -> bytes:
    return modbus.rtu_frame(unit, modbus.reply_pdu(request, values))


def pairs(tape: Tape) -> list[tuple[int, tuple[int, ...]]]:
    return [(one.unit, one.reply) for one in tape.exchanges]


def level(unit: int = 3, values: tuple[int, ...] = SAYS_52, believed: float | None = M_52) -> Exchange:
    tape = Tape(tcp=False)
    tape.sent(asks(unit, ASKED))
    tape.heard(answers(unit, ASKED, values))
    if believed is not None:
        tape.believed(unit, {"level": believed, "decimals": values[1], "unit_code": values[0]})
    (one,) = tape.exchanges
    return one


# The tape.


def test_an_answer_in_pieces_with_noise_around_it_is_put_to_its_request() -> None:
    tape = Tape(tcp=False)
    frame = answers(3, ASKED, SAYS_52)
    tape.sent(asks(3, ASKED))
    tape.heard(b"\x00" + frame[:4])
    tape.heard(frame[4:] + b"\xff")
    assert pairs(tape) == [(3, SAYS_52)]
    assert (tape.exchanges[0].asked, tape.exchanges[0].answered) == (asks(3, ASKED), frame)
    assert tape.unanswered == {}


def test_what_is_no_answer_to_what_is_out_is_left() -> None:
    tape = Tape(tcp=False)
    tape.heard(answers(3, ASKED, SAYS_52))  # before the recording began
    tape.sent(asks(3, ASKED))
    tape.sent(asks(4, ASKED))
    tape.heard(answers(3, ASKED, SAYS_52))  # late
    tape.heard(answers(4, Read(Table.INPUT, 2, 3), SAYS_52))  # another function
    tape.heard(answers(4, Read(Table.HOLDING, 2, 1), (7,)))  # another length
    assert pairs(tape) == []
    tape.heard(answers(4, ASKED, SAYS_52))
    assert pairs(tape) == [(4, SAYS_52)]
    tape.heard(answers(4, ASKED, SAYS_52))  # said twice
    assert len(tape.exchanges) == 1
    assert tape.unanswered == {3: 1}


def test_a_frame_that_was_taken_back_was_never_asked() -> None:
    tape = Tape(tcp=False)
    tape.sent(asks(3, ASKED))
    tape.sent(b"")
    tape.heard(answers(3, ASKED, SAYS_52))
    tape.sent(asks(4, ASKED))
    assert pairs(tape) == []
    assert tape.unanswered == {}


def test_a_refusal_is_counted() -> None:
    tape = Tape(tcp=False)
    tape.sent(asks(3, ASKED))
    tape.heard(modbus.rtu_frame(3, modbus.refusal_pdu(3, 2)))
    tape.sent(asks(3, ASKED))
    assert (pairs(tape), tape.refused, tape.unanswered) == ([], {3: 1}, {})


def test_over_tcp_answers_come_in_any_order_and_are_told_by_their_number() -> None:
    tape = Tape(tcp=True)
    for id, unit in ((7, 1), (8, 2), (9, 1)):
        tape.sent(modbus.mbap_frame(id, unit, modbus.request_pdu(ASKED)))
    came = b"".join(modbus.mbap_frame(id, unit, modbus.reply_pdu(ASKED, (id, 0, 0)))
                    for id, unit in ((9, 1), (8, 2), (7, 2), (99, 1)))
    for n in range(len(came)):
        tape.heard(came[n : n + 1])
    assert pairs(tape) == [(1, (9, 0, 0)), (2, (8, 0, 0))]
    assert tape.exchanges[0].answered == came[: len(came) // 4]


def test_what_was_believed_goes_to_the_answer_it_came_of() -> None:
    tape = Tape(tcp=False)
    tape.sent(asks(3, ASKED))
    tape.heard(answers(3, ASKED, SAYS_52))
    tape.believed(4, {"level": 9.0})
    tape.believed(3, {"level": M_52})
    tape.sent(asks(3, ASKED))
    tape.believed(3, {})  # what a failure took away is no word on the answer before
    assert tape.exchanges[0].values == {"level": M_52}


def test_a_tape_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(capture, "EXCHANGES_LIMIT", 3)
    tape = Tape(tcp=False)
    for _ in range(5):
        tape.sent(asks(3, ASKED))
        tape.heard(answers(3, ASKED, SAYS_52))
    assert (len(tape.exchanges), tape.dropped) == (3, 2)
    tape = Tape(tcp=True)
    for id in range(200):
        tape.sent(modbus.mbap_frame(id, 1, modbus.request_pdu(ASKED)))
    assert tape.unanswered == {1: 200 - capture.OUT_LIMIT}


ODD = st.one_of(st.binary(max_size=40), st.sampled_from([asks(3, ASKED), answers(3, ASKED, SAYS_52), b""]))


@given(st.booleans(), st.lists(st.tuples(st.booleans(), ODD), max_size=20))
def test_no_octets_break_it(tcp: bool, said: list[tuple[bool, bytes]]) -> None:
    tape = Tape(tcp)
    for ours, data in said:
        (tape.sent if ours else tape.heard)(data)
    for one in tape.exchanges:
        assert modbus.reply_of(one.request, one.answered[7:] if tcp else one.answered[1:-2])
    assert capture.proofs(GAUGE, tape.exchanges) == [], "nothing of it was believed"


# What proves something.


def test_a_different_answer_is_kept_once() -> None:
    found = capture.proofs(GAUGE, [level(), level(), level(values=(7, 3, 53), believed=M_53), level()])
    assert [one["values"] for one in found] == [
        {"level": M_52, "decimals": 3, "unit_code": 7}, {"level": M_53, "decimals": 3, "unit_code": 7}]


def test_a_value_nobody_believed_is_not_written() -> None:
    assert capture.proofs(GAUGE, [level(believed=None)]) == []
    (found,) = capture.proofs(GAUGE, [level(believed=5.2)])
    assert found["values"] == {"decimals": 3, "unit_code": 7}, "this answer does not say so"


def test_a_value_that_needs_an_earlier_answer_is_not_written() -> None:
    alone = Read(Table.HOLDING, 4, 1)
    tape = Tape(tcp=False)
    tape.sent(asks(3, alone))
    tape.heard(answers(3, alone, (52,)))
    tape.believed(3, {"level": M_52})
    assert capture.proofs(GAUGE, tape.exchanges) == []


def test_the_same_over_tcp_is_the_same_whatever_its_number() -> None:
    tape = Tape(tcp=True)
    for id in (1, 2):
        tape.sent(modbus.mbap_frame(id, 3, modbus.request_pdu(ASKED)))
        tape.heard(modbus.mbap_frame(id, 3, modbus.reply_pdu(ASKED, SAYS_52)))
        tape.believed(3, {"level": M_52})
    assert len(capture.proofs(GAUGE, tape.exchanges)) == 1


def test_a_write_is_explained_by_its_point_or_left_out() -> None:
    lease = BOARD.point("pulse", 2)
    name = HORN.point("mode").spec.values["flash"]
    assert capture.explained(BOARD, Write(lease.table, lease.address, lease.encode(5.0))) == {"pulse_2": 5.0}
    assert capture.explained(BOARD, Write(Table.COIL, 1, (0,))) == {"relay_2": False}
    assert capture.explained(HORN, Write(Table.HOLDING, HORN.point("mode").address, (name,))) == {"mode": "flash"}
    assert capture.explained(BOARD, Write(Table.COIL, 0, (1, 0))) == {}, "two points at once"
    assert capture.explained(BOARD, Write(Table.HOLDING, 900, (1,))) == {}, "no such point"


def test_the_file_is_one_that_holds_the_profile_to_it() -> None:
    off = Write(Table.COIL, 1, (0,))
    tape = Tape(tcp=False)
    tape.sent(asks(3, off))
    tape.heard(answers(3, off))
    text = capture.document(BOARD, "relay-2 “东风路” on the bench", capture.proofs(BOARD, tape.exchanges))
    found = tomllib.loads(text)
    assert (found["profile"], found["kind"], found["source"]) == (
        "waveshare_rtu_relay", "recorded", "relay-2 “东风路” on the bench")
    assert found["exchange"] == [{"request": "03 05 00 01 00 00 9D E8", "reply": "03 05 00 01 00 00 9D E8",
                                  "writes": {"relay_2": False}}]
    check_frames(BOARD, found)
    text = capture.document(GAUGE, "gauge", capture.proofs(GAUGE, [level()]))
    assert "level = 0.052," in text or "level = 0.052 }" in text
    check_frames(GAUGE, tomllib.loads(text))
