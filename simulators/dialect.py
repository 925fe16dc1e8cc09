"""How requests and answers lie on a serial line, from the units' side: as Modbus RTU, or as a protocol of their own.

It refuses to know who answers what.
"""

from collections.abc import Iterable
from typing import Protocol

from firmware_bridge.message import Message
from firmware_bridge.modbus import crc16, rtu_frame, rtu_split
from firmware_bridge.text import UNIT, unit_of

ANY = -1
"""The address of a request that has none: whoever stands on the line is meant."""


class Dialect(Protocol):
    """What a line is told of its protocol."""

    def requests(self, heard: bytes, strict: bool) -> list[tuple[int, int, bytes]]:
        """(place of its first octet, unit, pdu) of each request among octets without a silence between them."""
        ...

    def frame(self, unit: int, pdu: bytes) -> bytes:
        """An answer as it goes on the wire."""
        ...


class Rtu:
    """Modbus RTU. A forgiving unit looks for a request in what ran together; a strict one does not."""

    def requests(self, heard: bytes, strict: bool) -> list[tuple[int, int, bytes]]:
        if len(heard) >= 4 and crc16(heard) == 0:
            return [(0, heard[0], heard[1:-2])]
        found: list[tuple[int, int, bytes]] = []
        rest = heard
        while not strict and (one := rtu_split(rest)) is not None:
            unit, pdu, rest = one
            found.append((len(heard) - len(rest) - len(rtu_frame(unit, pdu)), unit, pdu))
        return found

    def frame(self, unit: int, pdu: bytes) -> bytes:
        return rtu_frame(unit, pdu)


class Plain:
    """The messages of the models on the line: what fits one of them is a request, everything else is noise."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._forms = [message.ask for message in messages]

    def requests(self, heard: bytes, strict: bool) -> list[tuple[int, int, bytes]]:
        found: list[tuple[int, int, bytes]] = []
        start = 0
        while start < len(heard):
            matches = (form.match(heard, start) for form in self._forms)
            match = next((m for m in matches if m is not None), None)
            if match is None:
                start += 1
                continue
            fields, end = match
            found.append((start, unit_of(fields[UNIT]) if UNIT in fields else ANY, heard[start:end]))
            start = end
        return found

    def frame(self, unit: int, pdu: bytes) -> bytes:
        return pdu
