"""How requests and replies lie on one kind of wire: RTU octets with time and silence, or TCP frames with ids.

It keeps what has come and is not yet a frame. It refuses to know which request is out; whether a frame is an answer
is the bus's judgement.
"""

from firmware_bridge import modbus
from firmware_bridge.event import Request
from firmware_bridge.machine import MS

BUFFER_LIMIT = 512
"""Octets kept of a line that says nothing valid: two of the longest frames."""
ADDRESS_AND_CRC = 3
"""Octets of an RTU frame around its PDU."""

Frame = tuple[int, int, bytes]
"""(transaction id, unit, pdu); on RTU the id is always 0."""


class Rtu:
    """A serial line, or RTU frames through a tunnel. `char_bits` is start, data, parity and stop bits together."""

    listen_us = 300 * MS
    """A line is listened to for so long before it is taken: another master that talks is heard first."""
    mistakable = True
    """A late answer looks like the answer to whatever is asked next: there is no id."""

    def __init__(self, baud: int, char_bits: int) -> None:
        self._char_us = char_bits * 1e6 / baud
        # Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits, fixed at 1.75 ms above 19200 baud.
        self.silence_us = 1750 if baud > 19200 else round(3.5 * 11e6 / baud)
        self.foreign: int | None = None
        """The unit that the last octets show somebody else to ask: the line has another master."""
        self._sent = b""
        self._buffer = b""

    def wrap(self, unit: int, pdu: bytes) -> tuple[int, bytes]:
        """The id that the answer of a request will carry, and its frame."""
        self._sent = modbus.rtu_frame(unit, pdu)
        return 0, self._sent

    def left(self) -> None:
        """A request leaves: what came before it is no answer to it."""
        self._buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The whole valid frames that these octets complete."""
        frames, end = modbus.rtu_replies(self._buffer + data)
        self._buffer = (self._buffer + data)[end:][-BUFFER_LIMIT:]
        self.foreign = self._request_of_another()
        return [(0, unit, pdu) for unit, pdu in frames]

    def _request_of_another(self) -> int | None:
        """The unit of a read request in what is no reply. Ours may come back from an adapter that echoes."""
        found = modbus.rtu_split(self._buffer)
        if found is None:
            return None
        unit, pdu, self._buffer = found
        is_read = pdu[0] in (1, 2, 3, 4)
        return unit if is_read and modbus.rtu_frame(unit, pdu) != self._sent else None

    def time_us(self, pdu_octets: int) -> int:
        """How long the frame of a PDU takes."""
        return round((pdu_octets + ADDRESS_AND_CRC) * self._char_us)

    @property
    def begun(self) -> bool:
        """Whether octets came that are no whole frame yet, or never will be."""
        return bool(self._buffer)

    def garbled(self, request: Request) -> bool:
        """As many octets as the answer has came, and it is not among them."""
        return len(self._buffer) >= modbus.reply_length(request) + ADDRESS_AND_CRC

    def clear(self) -> None:
        self._buffer = b""


class Tcp:
    """A Modbus TCP connection."""

    listen_us = 0
    mistakable = False
    silence_us = 0
    foreign = None

    def __init__(self) -> None:
        self._tid = 0
        self._buffer = b""

    def wrap(self, unit: int, pdu: bytes) -> tuple[int, bytes]:
        self._tid = self._tid % 0xFFFF + 1
        return self._tid, modbus.mbap_frame(self._tid, unit, pdu)

    def left(self) -> None:
        """Answers carry the id of their request: nothing to forget."""

    def feed(self, data: bytes) -> list[Frame]:
        """As for RTU; Malformed when the stream has lost its place, which it cannot find again."""
        self._buffer += data
        frames: list[Frame] = []
        while (frame := modbus.mbap_split(self._buffer)) is not None:
            tid, unit, pdu, self._buffer = frame
            frames.append((tid, unit, pdu))
        return frames

    def time_us(self, pdu_octets: int) -> int:
        return 0

    @property
    def begun(self) -> bool:
        return bool(self._buffer)

    def garbled(self, request: Request) -> bool:
        return False

    def clear(self) -> None:
        self._buffer = b""
