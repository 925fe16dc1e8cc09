"""How requests and replies lie on one kind of wire: RTU octets with time and silence, TCP frames with ids, or plain.

It keeps what has come and is not yet a frame, and says what a frame answers to a request. It refuses to know which
request is out, and whether an answer may be believed: that is the bus's judgement.
"""

from functools import lru_cache
from typing import NamedTuple

from firmware_bridge import modbus
from firmware_bridge.errors import Malformed
from firmware_bridge.event import BROADCAST, Ask, Outcome, Refused, Reply, Request
from firmware_bridge.machine import MS
from firmware_bridge.scan import Scanner, is_one_reply, is_reply
from firmware_bridge.sift import Sieve
from firmware_bridge.text import UNIT, unit_of

AROUND_RTU = 3
"""Octets of an RTU frame around its PDU: address and CRC."""
BROADCAST_REST_US = 150 * MS
"""Silence after a broadcast, in which every unit does what it was told (Serial Line V1.02, 2.4.1: 100 to 200 ms)."""

Frame = tuple[int, int, bytes]
"""(transaction id, unit, pdu); where the wire has no ids, the id is always 0."""


class Span(NamedTuple):
    """How long a request and its answer take on the wire."""

    request_us: int
    reply_us: int
    """When it is no refusal."""
    rest_us: int | None = None
    """How long the line rests after a request that nobody answers; None for one that is to be answered."""


NO_TIME = Span(0, 0)
"""Over TCP."""


def silence_us(baud: int) -> int:
    """The silence that ends a frame: 3.5 characters of 11 bits, fixed above 19200 baud (Serial Line V1.02, 2.5.1.1)."""
    return 1750 if baud > 19200 else round(3.5 * 11e6 / baud)


class Rtu:
    """A serial line, or RTU frames through a tunnel. `char_bits` is start, data, parity and stop bits together."""

    listen_us = 300 * MS
    """A line is listened to for so long before it is taken: another master that talks is heard first."""
    mistakable = True
    """A late answer looks like the answer to whatever is asked next: there is no id."""

    def __init__(self, baud: int, char_bits: int = 10) -> None:
        self._char_us = char_bits * 1e6 / baud
        self.silence_us = silence_us(baud)
        self.foreign: int | None = None
        """The unit that the last octets show somebody else to ask: the line has another master."""
        self._sent = b""
        self._scanner = Scanner()

    def frame(self, unit: int, request: Request) -> tuple[int, bytes]:
        """The id that the answer of a request will carry, and its frame."""
        self._sent = modbus.rtu_request(unit, _modbus(request))
        return 0, self._sent

    def answer(self, request: Request, pdu: bytes) -> Outcome | None:
        """What `pdu` answers to `request`; None when it is no answer to it."""
        return _modbus_answer(request, pdu)

    def span(self, unit: int, request: Request) -> Span:
        return _rtu_span(self._char_us, unit, request)

    def left(self) -> None:
        """A request leaves: what came before it is no answer to it."""
        self._scanner.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """The whole valid frames that these octets complete."""
        self.foreign = None
        if not self._scanner and is_one_reply(data):
            # The scanner would look at each octet as the head of another.
            return [(0, data[0], data[1:-2])]
        found: list[Frame] = []
        for frame in self._scanner.feed(data):
            if is_reply(frame):
                found.append((0, frame[0], frame[1:-2]))
            elif frame != self._sent:
                # A request, and not ours, which an adapter that echoes gives back.
                self.foreign = frame[0]
        return found

    def pdu_us(self, pdu: bytes) -> int:
        """How long the frame of a PDU took."""
        return round((len(pdu) + AROUND_RTU) * self._char_us)

    @property
    def begun(self) -> bool:
        """Whether octets came that are no whole frame yet, or never will be."""
        return len(self._scanner) > 0

    def garbled(self, request: Request) -> bool:
        """As many octets as the answer has came, and it is not among them."""
        return len(self._scanner) >= modbus.reply_length(_modbus(request)) + AROUND_RTU

    def clear(self) -> None:
        self._scanner.clear()


class Tcp:
    """A Modbus TCP connection."""

    listen_us = 0
    mistakable = False
    silence_us = 0
    foreign = None

    def __init__(self) -> None:
        self._tid = 0
        self._buffer = b""

    def frame(self, unit: int, request: Request) -> tuple[int, bytes]:
        self._tid = self._tid % 0xFFFF + 1
        return self._tid, modbus.mbap_frame(self._tid, unit, modbus.request_pdu(_modbus(request)))

    def answer(self, request: Request, pdu: bytes) -> Outcome | None:
        return _modbus_answer(request, pdu)

    def span(self, unit: int, request: Request) -> Span:
        """Over TCP every request is answered, whatever its unit address (Messaging on TCP/IP V1.0b, 4.4.2)."""
        return NO_TIME

    def left(self) -> None:
        """Answers carry the id of their request: nothing to forget."""

    def feed(self, data: bytes) -> list[Frame]:
        """As for RTU; Malformed when the stream has lost its place, which it cannot find again."""
        buffer = self._buffer + data
        frames: list[Frame] = []
        while (frame := modbus.mbap_split(buffer)) is not None:
            tid, unit, pdu, buffer = frame
            frames.append((tid, unit, pdu))
        self._buffer = buffer
        return frames

    def pdu_us(self, pdu: bytes) -> int:
        return 0

    @property
    def begun(self) -> bool:
        return bool(self._buffer)

    def garbled(self, request: Request) -> bool:
        return False

    def clear(self) -> None:
        self._buffer = b""


class Plain:
    """A serial line whose protocol is not Modbus: what a frame looks like stands in the requests themselves.

    There is no frame but what answers one of the last requests; everything else is noise.
    """

    listen_us = 300 * MS
    mistakable = True
    foreign = None

    def __init__(self, baud: int, char_bits: int = 10) -> None:
        self._char_us = char_bits * 1e6 / baud
        self.silence_us = silence_us(baud)
        self._unit = 0
        self._sieve = Sieve()

    def frame(self, unit: int, request: Request) -> tuple[int, bytes]:
        ask = _ask(request)
        self._unit = unit
        for form in (ask.answer, ask.refusal):
            if form is not None:
                self._sieve.expect(form)
        return 0, ask.data

    def answer(self, request: Request, pdu: bytes) -> Outcome | None:
        ask = _ask(request)
        found = None if ask.answer is None else ask.answer.match(pdu)
        if found is not None and found[1] == len(pdu):
            return Reply(tuple(pdu)) if all(found[0].get(name, said) == said for name, said in ask.echo) else None
        found = None if ask.refusal is None else ask.refusal.match(pdu)
        if found is not None and found[1] == len(pdu):
            return Refused(int.from_bytes(found[0].get("code", b""), "big"), modbus=False)
        return None

    def span(self, unit: int, request: Request) -> Span:
        ask = _ask(request)
        request_us = round(len(ask.data) * self._char_us)
        if ask.answer is None:
            return Span(request_us, 0, 0)
        return Span(request_us, round(ask.answer.longest * self._char_us))

    def left(self) -> None:
        self._sieve.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these octets complete, those of the newest request's form first."""
        found = [(fields.get(UNIT), frame) for fields, frame in self._sieve.feed(data)]
        return [(0, self._unit if address is None else unit_of(address), frame) for address, frame in found]

    def pdu_us(self, pdu: bytes) -> int:
        return round(len(pdu) * self._char_us)

    @property
    def begun(self) -> bool:
        return len(self._sieve) > 0

    def garbled(self, request: Request) -> bool:
        form = _ask(request).answer
        return form is not None and len(self._sieve) >= form.longest

    def clear(self) -> None:
        self._sieve.clear()


Framing = Rtu | Tcp | Plain


@lru_cache(modbus.REQUESTS_KEPT)
def _rtu_span(char_us: float, unit: int, request: Request) -> Span:
    asks = _modbus(request)
    request_us, reply_us = (round((length + AROUND_RTU) * char_us)
                            for length in (modbus.request_length(asks), modbus.reply_length(asks)))
    return Span(request_us, reply_us, BROADCAST_REST_US if unit == BROADCAST else None)


def _ask(request: Request) -> Ask:
    assert isinstance(request, Ask), "the devices of a bus speak its protocol: config sees to that"
    return request


def _modbus(request: Request) -> modbus.Request:
    assert not isinstance(request, Ask), "the devices of a bus speak its protocol: config sees to that"
    return request


def _modbus_answer(request: Request, pdu: bytes) -> Outcome | None:
    try:
        return modbus.reply_of(_modbus(request), pdu)
    except Malformed:
        return None
