"""The scanner finds what a plain search over all stretches finds, however the octets come."""

import random

from firmware_bridge import modbus, scan
from firmware_bridge.event import Read, Table
from firmware_bridge.scan import KEPT, Scanner


def by_search(data: bytes) -> list[bytes]:
    """Every valid frame from the left, added up octet by octet."""
    found: list[bytes] = []
    start = 0
    while start < len(data) - 4:
        function = data[start + 1]
        reply = modbus.rtu_length_of_reply(data[start : start + 3])
        for size in [reply, 8] if 1 <= function <= 4 else [reply]:
            frame = data[start : start + size]
            if size and len(frame) == size and modbus.crc16(frame) == 0:
                found.append(frame)
                start += size - 1
                break
        start += 1
    return found


def a_line(chance: random.Random) -> bytes:
    out = b""
    for _ in range(chance.randint(1, 6)):
        unit = chance.randint(1, 247)
        words = tuple(chance.randint(0, 0xFFFF) for _ in range(chance.randint(1, 30)))
        read = Read(chance.choice([Table.HOLDING, Table.INPUT]), chance.randint(0, 999), len(words))
        frames = [modbus.rtu_frame(unit, modbus.reply_pdu(read, words)), modbus.rtu_frame(unit, b"\x83\x02"),
                  modbus.rtu_frame(unit, modbus.request_pdu(read)),
                  modbus.rtu_frame(unit, b"\x05\x00\x01\xff\x00"), modbus.rtu_frame(unit, b"\x10\x00\x01\x00\x02")]
        out += chance.choice(frames) + chance.randbytes(chance.choice([0, 0, 1, 7]))
    return out


def test_it_finds_what_a_search_finds_in_whatever_pieces() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        line = a_line(chance)
        scanner, found, at = Scanner(), list[bytes](), 0
        assert scanner.feed(line) == by_search(line), seed
        scanner.clear()
        while at < len(line):
            size = chance.randint(1, 9)
            found += scanner.feed(line[at : at + size])
            at += size
        # In pieces a frame inside another may come first; nothing else differs, and nothing is invented.
        assert all(modbus.crc16(frame) == 0 and frame in line for frame in found), seed
        assert len(found) >= len(by_search(line)), seed


def test_an_answer_that_ends_in_zero_is_no_read_of_somebody_else() -> None:
    """Its first eight octets are valid by themselves: the sum of a valid frame and a 00 is right as well."""
    answers = (modbus.rtu_frame(3, modbus.reply_pdu(Read(Table.HOLDING, 0, 2), (n >> 8, n))) for n in range(0x8000))
    answer = next(frame for frame in answers if frame[-1] == 0)
    assert modbus.crc16(answer[:8]) == 0
    scanner = Scanner()
    assert scanner.feed(answer[:8]) == []
    assert scanner.feed(answer[8:]) == [answer]


def test_of_noise_it_keeps_no_more_than_it_says() -> None:
    scanner, chance = Scanner(), random.Random(5)
    for _ in range(2000):
        scanner.feed(chance.randbytes(50))
        assert len(scanner) <= 2 * KEPT
    frame = modbus.rtu_frame(9, b"\x03\x02\x00\x07")
    assert scanner.feed(frame) == [frame]
    assert len(scanner) == 0


def test_an_answer_is_told_from_a_question() -> None:
    question = modbus.rtu_frame(7, modbus.request_pdu(Read(Table.HOLDING, 0x0100, 2)))
    answer = modbus.rtu_frame(7, b"\x03\x02\x00\x07")
    assert [scan.is_reply(frame) for frame in Scanner().feed(question + answer)] == [False, True]
    assert scan.replies(question + answer) == [(7, b"\x03\x02\x00\x07")]
