"""Modbus on the wire: frames of RTU and TCP, and the requests and replies inside them, for both ends.

pymodbus encodes the PDUs and decodes requests, and is seen by no other file. Framing and matching are ours and
strict: a reply is one only if unit, function, length and CRC fit the request, and a write's echo repeats address and
value. pymodbus's own client accepts less (docs/decisions/0002), and the values of a read are taken out here, where
their place is known (docs/decisions/0009). Functions 01-06, 15, 16 and the exceptions.

It refuses to know about time: how long a frame takes and when it may be believed is the bus's business.
Source: Modbus Application Protocol V1.1b3; Modbus over Serial Line V1.02; Modbus Messaging on TCP/IP V1.0b.
"""

import struct
from functools import lru_cache

from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
)

from firmware_bridge.errors import Malformed
from firmware_bridge.event import Read, Refused, Reply, Table, Write

Request = Read | Write
"""What can be asked in Modbus."""

REQUESTS_KEPT = 256
"""PDUs of requests remembered: polls ask the same again and again. A gateway has tens of them."""

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target silent",
}
"""Exception codes in words (Application Protocol V1.1b3, clause 7)."""
ON_BEHALF = {10, 11}
"""Those that a Modbus TCP gateway makes because the unit behind it said nothing."""

_READ_FUNCTION = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
_READ_TABLE = {function: table for table, function in _READ_FUNCTION.items()}
_READ_REQUEST = {
    Table.COIL: ReadCoilsRequest,
    Table.DISCRETE: ReadDiscreteInputsRequest,
    Table.HOLDING: ReadHoldingRegistersRequest,
    Table.INPUT: ReadInputRegistersRequest,
}
_BITS = {Table.COIL, Table.DISCRETE}
_MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
"""Values of one request (Application Protocol V1.1b3, clauses 6.1 to 6.12)."""
_requests = DecodePDU(is_server=True)


class IllegalFunction(Malformed):
    """A well-formed request for a function that we do not serve."""


# Requests and replies.


def function_of(request: Request) -> int:
    """The function code a request goes out with."""
    if isinstance(request, Read):
        return _READ_FUNCTION[request.table]
    several = len(request.values) > 1 or request.multiple
    if request.table is Table.HOLDING:
        return 16 if several else 6
    return 15 if several else 5


@lru_cache(REQUESTS_KEPT)
def request_pdu(request: Request) -> bytes:
    """The PDU of a request, function code first."""
    function = function_of(request)
    address = request.address
    match request:
        case Read(table, _, count):
            body = _READ_REQUEST[table](address=address, count=count).encode()
        case Write(Table.PULSE, _, values):
            body = struct.pack(">HH", address, values[0])
        case Write(Table.COIL, _, values):
            bits = [bool(v) for v in values]
            coils = WriteMultipleCoilsRequest if function == 15 else WriteSingleCoilRequest
            body = coils(address=address, bits=bits).encode()
        case Write(Table.HOLDING, _, values):
            registers = WriteMultipleRegistersRequest if function == 16 else WriteSingleRegisterRequest
            body = registers(address=address, registers=list(values)).encode()
        case _:
            raise ValueError(f"{request} is no Modbus request")
    return bytes([function]) + body


def request_length(request: Request) -> int:
    """Octets of the PDU of `request`."""
    if isinstance(request, Write) and (len(request.values) > 1 or request.multiple):
        count = len(request.values)
        return 6 + ((count + 7) // 8 if request.table is Table.COIL else 2 * count)
    return 5


def reply_length(request: Request) -> int:
    """Octets of the PDU that answers `request`, when it is no exception."""
    if isinstance(request, Read):
        return 2 + ((request.count + 7) // 8 if request.table in _BITS else 2 * request.count)
    return 5


def reply_of(request: Request, pdu: bytes) -> Reply | Refused:
    """What `pdu` answers to `request`; Malformed when it answers something else."""
    function = function_of(request)
    if len(pdu) != reply_length(request) or pdu[0] != function:
        if len(pdu) == 2 and pdu[0] == function | 0x80:
            return Refused(pdu[1])
        raise Malformed(f"function {pdu[:1].hex()} with {len(pdu)} octets is no answer to {request}")
    if isinstance(request, Read):
        if pdu[1] != len(pdu) - 2:
            raise Malformed(f"says {pdu[1]} octets of data, has {len(pdu) - 2}")
        if request.table in _BITS:
            # The first bit is the lowest of the first octet.
            bits = int.from_bytes(pdu[2:], "little")
            return Reply(tuple([bits >> n & 1 for n in range(request.count)]))
        return Reply(struct.unpack_from(f">{request.count}H", pdu, 2))
    echo = request_pdu(request)[:5]
    if pdu != echo:
        raise Malformed(f"echo {pdu.hex()} of a write that said {echo.hex()}")
    return Reply(request.values)


@lru_cache(REQUESTS_KEPT)
def parse_request(pdu: bytes) -> Request:
    """The slave's side: what a master asks. Malformed, or IllegalFunction for one we do not serve."""
    if not pdu:
        raise Malformed("an empty PDU")
    function = pdu[0]
    if function not in (1, 2, 3, 4, 5, 6, 15, 16):
        raise IllegalFunction(f"function {function}")
    if len(pdu) != (6 + pdu[5] if function >= 15 and len(pdu) > 5 else 5):
        raise Malformed(f"function {function} with {len(pdu)} octets")
    address, word = struct.unpack(">HH", pdu[1:5])
    most = _MOST.get(function)
    # pymodbus logs what it refuses; and it believes the octets of a write more than their count.
    if most is not None and not 1 <= word <= most:
        raise Malformed(f"function {function} for {word} values")
    if function >= 15 and (len(pdu) < 6 or pdu[5] != ((word + 7) // 8 if function == 15 else 2 * word)):
        raise Malformed(f"function {function} for {word} values in {len(pdu) - 6} octets")
    if function == 5 and word not in (0x0000, 0xFF00):
        return Write(Table.PULSE, address, (word,))
    request = _requests.decode(pdu)
    if request is None:
        raise Malformed(f"no PDU: {pdu.hex()}")
    if function in _READ_TABLE:
        return Read(_READ_TABLE[function], address, word)
    if function in (5, 15):
        bits = tuple(map(int, request.bits[: word if function == 15 else 1]))
        return Write(Table.COIL, address, bits, multiple=function == 15)
    return Write(Table.HOLDING, address, tuple(request.registers), multiple=function == 16)


@lru_cache(REQUESTS_KEPT)
def reply_pdu(request: Request, values: tuple[int, ...] = ()) -> bytes:
    """The slave's side: the PDU that answers `request`, with the values read."""
    function = function_of(request)
    address = request.address
    match request:
        case Read(Table.COIL):
            body = ReadCoilsResponse(bits=[bool(v) for v in values]).encode()
        case Read(Table.DISCRETE):
            body = ReadDiscreteInputsResponse(bits=[bool(v) for v in values]).encode()
        case Read(Table.HOLDING):
            body = ReadHoldingRegistersResponse(registers=list(values)).encode()
        case Read(Table.INPUT):
            body = ReadInputRegistersResponse(registers=list(values)).encode()
        case Write() if function == 15:
            body = WriteMultipleCoilsResponse(address=address, count=len(request.values)).encode()
        case Write() if function == 16:
            body = WriteMultipleRegistersResponse(address=address, count=len(request.values)).encode()
        case _:
            return request_pdu(request)
    return bytes([function]) + body


def refusal_pdu(function: int, code: int) -> bytes:
    """The slave's side: an exception."""
    return bytes([function | 0x80, code])


# RTU frames.

CRC_TABLE: list[int] = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ 0xA001 if _byte & 1 else _byte >> 1
    CRC_TABLE.append(_byte)


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; on the wire its low octet goes first."""
    crc = 0xFFFF
    table = CRC_TABLE
    for octet in data:
        crc = crc >> 8 ^ table[(crc ^ octet) & 0xFF]
    return crc


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    body = bytes([unit]) + pdu
    return body + crc16(body).to_bytes(2, "little")


@lru_cache(REQUESTS_KEPT)
def rtu_request(unit: int, request: Request) -> bytes:
    """The frame of a request."""
    return rtu_frame(unit, request_pdu(request))


def rtu_length_of_request(buffer: bytes) -> int | None:
    """Octets of the request frame that begins `buffer`; None while it cannot be told, 0 when it is none."""
    if len(buffer) < 2:
        return None
    function = buffer[1]
    if function in (15, 16):
        return 9 + buffer[6] if len(buffer) > 6 else None
    return 8 if 1 <= function <= 6 else 0


def rtu_length_of_reply(frame: bytes) -> int:
    """Octets of the reply frame that begins with these three octets; 0 when it is none."""
    function = frame[1]
    if function & 0x80:
        return 5 if 1 <= function & 0x7F <= 16 else 0
    if function <= 4:
        return 5 + frame[2] if function else 0
    return 8 if function in (5, 6, 15, 16) else 0


def rtu_split(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    """The slave's side: (unit, pdu, rest) of the first whole request in `buffer`; None when there is none yet.

    Octets that begin no valid frame are passed over, as a slave does that lost its place on the line.
    """
    for start in range(len(buffer)):
        length = rtu_length_of_request(buffer[start:])
        if length and len(buffer) - start >= length:
            frame = buffer[start : start + length]
            if crc16(frame) == 0:
                return frame[0], frame[1:-2], buffer[start + length :]
    return None


# TCP frames.


def mbap_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def mbap_split(buffer: bytes) -> tuple[int, int, bytes, bytes] | None:
    """(transaction id, unit, pdu, rest) of the first frame; None while it is not whole.

    Malformed when the header is none: a TCP stream cannot be picked up again, the connection must be.
    """
    if len(buffer) < 8:
        return None
    transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
    if protocol != 0 or not 2 <= length <= 254:
        raise Malformed(f"no MBAP header: {buffer[:7].hex()}")
    if len(buffer) < 6 + length:
        return None
    return transaction, unit, buffer[7 : 6 + length], buffer[6 + length :]
