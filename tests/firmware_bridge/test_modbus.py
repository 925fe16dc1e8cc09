"""The codec against itself, against the standard's printed examples, and against pymodbus's own framers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

from firmware_bridge import modbus, scan
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Read, Refused, Reply, Request, Table, Write

addresses = st.integers(0, 0xFFFF)
registers = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=123)
bits = st.lists(st.integers(0, 1), min_size=1, max_size=100)
reads = st.one_of(
    st.builds(Read, st.sampled_from([Table.COIL, Table.DISCRETE]), addresses, st.integers(1, 2000)),
    st.builds(Read, st.sampled_from([Table.HOLDING, Table.INPUT]), addresses, st.integers(1, 125)),
)
writes = st.one_of(
    st.builds(lambda a, v: Write(Table.COIL, a, tuple(v), len(v) > 1), addresses, bits),
    st.builds(lambda a, v: Write(Table.HOLDING, a, tuple(v), len(v) > 1), addresses, registers),
    st.builds(lambda a, v: Write(Table.HOLDING, a, (v,), True), addresses, st.integers(0, 0xFFFF)),
    st.builds(lambda a, v: Write(Table.PULSE, a, (v,)), addresses, st.integers(1, 0xFEFF)),
)


@given(st.one_of(reads, writes))
def test_a_request_is_read_back_as_itself(request: Request) -> None:
    assert modbus.parse_request(modbus.request_pdu(request)) == request


@given(reads, st.data())
def test_a_read_is_answered_with_its_values(request: Read, data: st.DataObject) -> None:
    top = 1 if request.table in (Table.COIL, Table.DISCRETE) else 0xFFFF
    values = tuple(data.draw(st.lists(st.integers(0, top), min_size=request.count, max_size=request.count)))
    pdu = modbus.reply_pdu(request, values)
    assert len(pdu) == modbus.reply_length(request)
    assert modbus.reply_of(request, pdu) == Reply(values)


@given(reads, st.data())
def test_the_values_of_an_answer_are_those_that_pymodbus_finds(request: Read, data: st.DataObject) -> None:
    """Our own decoder, against its peer: any octets behind a right head, also bits that nobody asked for."""
    size = modbus.reply_length(request) - 2
    pdu = bytes([modbus.function_of(request), size]) + data.draw(st.binary(min_size=size, max_size=size))
    peer = DecodePDU(is_server=False).decode(pdu)
    assert peer is not None
    values = peer.bits if request.table in (Table.COIL, Table.DISCRETE) else peer.registers
    assert modbus.reply_of(request, pdu) == Reply(tuple(map(int, values[: request.count])))


@given(writes)
def test_a_write_is_answered_with_its_echo(request: Write) -> None:
    assert modbus.reply_of(request, modbus.reply_pdu(request)) == Reply(request.values)


@given(writes, st.integers(1, 4), st.integers(1, 255))
def test_a_write_is_not_confirmed_by_another_echo(request: Write, place: int, change: int) -> None:
    echo = bytearray(modbus.reply_pdu(request))
    echo[place] ^= change
    with pytest.raises(Malformed):
        modbus.reply_of(request, bytes(echo))


@given(reads, st.binary(max_size=20))
def test_any_bytes_are_an_answer_or_malformed(request: Read, pdu: bytes) -> None:
    try:
        answer = modbus.reply_of(request, pdu)
    except Malformed:
        return
    assert isinstance(answer, Refused) or len(answer.values) == request.count


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(pdu: bytes) -> None:
    try:
        modbus.parse_request(pdu)
    except Malformed:
        pass


def test_the_standards_examples() -> None:
    """Application Protocol V1.1b3, clauses 6.3 and 6.5."""
    read = Read(Table.HOLDING, 0x6B, 3)
    assert modbus.request_pdu(read).hex() == "03006b0003"
    assert modbus.reply_of(read, bytes.fromhex("0306022b00000064")) == Reply((0x22B, 0, 0x64))
    assert modbus.request_pdu(Write(Table.COIL, 0xAC, (1,))).hex() == "0500acff00"


def test_a_pulse_is_function_05_with_its_length_as_data() -> None:
    """Waveshare: flash-on of channel 0 for 0.7 s."""
    assert modbus.rtu_frame(1, modbus.request_pdu(Write(Table.PULSE, 0x200, (7,)))).hex() == "0105020000078db0"


@given(st.binary(max_size=64))
def test_the_crc_is_pymodbuss(data: bytes) -> None:
    assert modbus.crc16(data) == int.from_bytes(FramerRTU.compute_CRC(data).to_bytes(2, "big"), "little")


@given(st.binary(max_size=12), st.integers(1, 247), reads)
def test_noise_before_a_request_is_passed_over(noise: bytes, unit: int, request: Read) -> None:
    frame = modbus.rtu_frame(unit, modbus.request_pdu(request))
    found = modbus.rtu_split(noise + frame)
    assert found is not None
    assert (unit, modbus.request_pdu(request)) == found[:2]


@given(st.binary(max_size=8), st.integers(1, 247), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20))
def test_noise_before_a_reply_does_not_hide_it(noise: bytes, unit: int, values: list[int]) -> None:
    pdu = modbus.reply_pdu(Read(Table.HOLDING, 0, len(values)), tuple(values))
    assert (unit, pdu) in scan.replies(noise + modbus.rtu_frame(unit, pdu))


def test_a_frame_inside_a_frame_is_data() -> None:
    """Unit 9's reply carries, as register values, a whole valid reply of unit 1."""
    inner = modbus.rtu_frame(1, modbus.reply_pdu(Read(Table.HOLDING, 0, 1), (5,))) + b"\0"
    words = tuple(int.from_bytes(inner[i : i + 2], "big") for i in range(0, len(inner), 2))
    outer = modbus.rtu_frame(9, modbus.reply_pdu(Read(Table.HOLDING, 0, len(words)), words))
    assert [unit for unit, _ in scan.replies(outer)] == [9]


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.one_of(reads, writes), st.binary(max_size=9))
def test_tcp_frames_split_where_they_were_joined(tid: int, unit: int, request: Request, rest: bytes) -> None:
    pdu = modbus.request_pdu(request)
    whole = modbus.mbap_frame(tid, unit, pdu)
    assert modbus.mbap_split(whole + rest) == (tid, unit, pdu, rest)
    assert modbus.mbap_split(whole[:-1]) is None


def test_a_stream_that_is_no_modbus_is_malformed() -> None:
    with pytest.raises(Malformed):
        modbus.mbap_split(b"GET / HTTP/1.1\r\n")
