"""The wire between a master and its units, with the time that octets take on it.

`Line` is a half-duplex RS-485 line at a baud rate: what is put on it takes its 11 bits a character, units see a frame
when t3.5 of silence ends it, an answer begins after the unit's turnaround and reaches the master when its octets have
passed. Two talkers at once hurt each other's octets. `Endpoint` is one Modbus TCP connection: no collisions, no
character times, but several requests in one segment.

Both are machines, and refuse to know what a unit answers: they call `ask`. Both account their time, for benches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from firmware_bridge.errors import Malformed
from firmware_bridge.machine import Woken, earliest
from firmware_bridge.modbus import crc16, mbap_frame, mbap_split, refusal_pdu, rtu_frame, rtu_split

BITS_A_CHARACTER = 11
"""Start, 8 data, parity or second stop, stop (Modbus over Serial Line V1.02, 2.5.1)."""
T35_FIXED_US = 1750
"""Above 19200 baud t3.5 is fixed (same, 2.5.1.1)."""
MAX_QUEUED_BYTES = 4096
"""What a master's UART and driver hold for it; more is lost, as it would be there."""
TARGET_SILENT = 0x0B
"""The Modbus exception of a TCP gateway whose unit does not answer."""

Ask = Callable[[int, int, bytes], list[tuple[int, bytes]]]
"""(now_us, unit, pdu) -> (turnaround_us, answering pdu) of each unit that answers there; usually one or none."""

Mangle = Callable[[int, bytes], list[tuple[int, bytes]]]
"""(now_us, answering frame) -> what goes on the wire in its place: (delay beyond the usual, octets), in order."""


class Rng(Protocol):
    """Where chance comes from: a seeded `random.Random` of whoever makes the line."""

    def random(self) -> float: ...
    def randint(self, a: int, b: int, /) -> int: ...
    def sample(self, population: Sequence[int], k: int, /) -> list[int]: ...
    def randbytes(self, n: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Put:
    """Into a line: octets leave a talker. `foreign`: not our master but another one on the same wire."""

    data: bytes
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """Out of a line: octets reach the master."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """Out of a line: the units saw a whole request, whose first octet began at `first_byte_us`."""

    unit: int
    pdu: bytes
    first_byte_us: int
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class HungUp:
    """Out of an endpoint: it closes the connection, for what came is no Modbus TCP."""

    why: str


@dataclass(slots=True)
class _Burst:
    """Octets of one talker on the wire from `start_us` to `end_us`."""

    start_us: int
    end_us: int
    data: bytes
    hits: list[tuple[int, int]] = field(default_factory=list)
    """Stretches in which somebody else talked."""


class Line:
    """A half-duplex line. `chunks`: an answer reaches the master in up to so many pieces. `error_rate` is per bit.

    `strict`: a request that begins less than t3.5 after an answer is not understood, as the standard has it. Many
    masters begin earlier and most units forgive them, so it is off, but always counted in `too_soon`.
    """

    def __init__(self, baud: int, ask: Ask, rng: Rng, *, chunks: int = 1, error_rate: float = 0.0,
                 echo: bool = False, strict: bool = False) -> None:
        self._baud = baud
        self._ask = ask
        self._rng = rng
        self._chunks = chunks
        self._error_rate = error_rate
        self._echo = echo
        self._strict = strict
        self.mangle: Mangle | None = None
        self.t35_us = T35_FIXED_US if baud > 19200 else round(3.5 * BITS_A_CHARACTER * 1e6 / baud)
        # Accounts.
        self.busy_us = 0
        self.requests = 0
        self.collisions = 0
        self.too_soon = 0
        self.unread = 0
        """Frames that no unit could read."""
        self.reset()

    def reset(self) -> None:
        """Everything on the wire is gone: the adapter was pulled out."""
        self._bursts: list[_Burst] = []
        self._pieces: list[tuple[int, _Burst, int, int]] = []
        # What the units hear of the frame that is being sent.
        self._frame: list[_Burst] = []
        self._frame_lost = False
        self._frame_foreign = False
        self._answered_us: int | None = None

    def time_of(self, octets: int) -> int:
        """How long so many octets take."""
        return round(octets * BITS_A_CHARACTER * 1e6 / self._baud)

    @property
    def deadline(self) -> int | None:
        frame_us = self._frame[-1].end_us + self.t35_us if self._frame else None
        return earliest(frame_us, *(piece[0] for piece in self._pieces))

    def handle(self, now_us: int, event: Put | Woken) -> list[Heard | Seen]:
        out: list[Heard | Seen] = []
        while (due := self.deadline) is not None and due <= now_us:
            self._step(due, out)
        if isinstance(event, Put):
            self._put(now_us, event)
        return out

    def _put(self, now_us: int, event: Put) -> None:
        """Octets of a master; they follow what it is still sending, and then belong to the same frame."""
        start = max(now_us, self._frame[-1].end_us) if self._frame else now_us
        room = MAX_QUEUED_BYTES - sum(len(b.data) for b in self._frame)
        if room <= 0 or not event.data:
            return
        if not self._frame:
            self._frame_lost, self._frame_foreign = False, event.foreign
            if self._answered_us is not None and start - self._answered_us < self.t35_us:
                self.too_soon += 1
                self._frame_lost = self._strict
        burst = self._talk(start, event.data[:room])
        self._frame.append(burst)
        if self._echo or event.foreign:
            self._pieces.append((burst.end_us, burst, 0, len(burst.data)))

    def _talk(self, start_us: int, data: bytes) -> _Burst:
        """Put a burst on the wire; whom it meets there, it hurts, and is hurt."""
        burst = _Burst(start_us, start_us + self.time_of(len(data)), data)
        for other in self._bursts:
            low, high = max(other.start_us, burst.start_us), min(other.end_us, burst.end_us)
            if low < high:
                self.collisions += 1
                other.hits.append((low, high))
                burst.hits.append((low, high))
        self._bursts.append(burst)
        return burst

    def _step(self, now_us: int, out: list[Heard | Seen]) -> None:
        """The one thing that is due now."""
        for piece in self._pieces:
            if piece[0] <= now_us:
                self._pieces.remove(piece)
                _, burst, first, last = piece
                out.append(Heard(self._worn(burst, first, last)))
                break
        else:
            self._end_of_frame(now_us, out)
        self._bursts = [b for b in self._bursts if b.end_us > now_us]

    def _end_of_frame(self, now_us: int, out: list[Heard | Seen]) -> None:
        """t3.5 of silence: the units judge what they heard, and answer."""
        bursts, self._frame = self._frame, []
        heard = b"".join(self._worn(b, 0, len(b.data)) for b in bursts)
        self.busy_us += self.time_of(len(heard)) + self.t35_us
        end_us = bursts[-1].end_us
        found: list[tuple[int, bytes]] = []
        if not self._frame_lost:
            if len(heard) >= 4 and crc16(heard) == 0:
                found = [(heard[0], heard[1:-2])]
            elif not self._strict:
                # A forgiving unit looks for a request in what ran together.
                while (one := rtu_split(heard)) is not None:
                    found.append(one[:2])
                    heard = one[2]
        if not found:
            self.unread += 1
        for unit, pdu in found:
            self.requests += 1
            out.append(Seen(unit, pdu, bursts[0].start_us, self._frame_foreign))
            for turnaround_us, answer in self._ask(now_us, unit, pdu):
                self._answer(now_us, end_us + max(turnaround_us, self.t35_us), rtu_frame(unit, answer))

    def _answer(self, now_us: int, start_us: int, frame: bytes) -> None:
        request_end_us = now_us - self.t35_us
        self.busy_us += start_us - request_end_us - self.t35_us
        for delay_us, data in self.mangle(now_us, frame) if self.mangle else [(0, frame)]:
            burst = self._talk(start_us + delay_us, data)
            self.busy_us += burst.end_us - burst.start_us + self.t35_us
            self._answered_us = max(self._answered_us or 0, burst.end_us)
            # Never on top of itself: what follows of this answer follows it on the wire.
            start_us = max(start_us, burst.end_us - delay_us)
            cuts = sorted(self._rng.sample(range(1, len(data)), min(self._rng.randint(1, self._chunks), len(data)) - 1))
            for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
                self._pieces.append((burst.start_us + self.time_of(last), burst, first, last))

    def _worn(self, burst: _Burst, first: int, last: int) -> bytes:
        """Octets `first` to `last` of a burst as they arrive: hurt where somebody else talked, and by bit errors."""
        octets = bytearray(burst.data[first:last])
        for n in range(len(octets)):
            start = burst.start_us + self.time_of(first + n)
            end = burst.start_us + self.time_of(first + n + 1)
            if any(start < high and low < end for low, high in burst.hits):
                octets[n] ^= self._rng.randint(1, 255)
        if self._error_rate:
            for n in range(len(octets)):
                for bit in range(8):
                    if self._rng.random() < self._error_rate:
                        octets[n] ^= 1 << bit
        return bytes(octets)


class Endpoint:
    """One connection to a Modbus TCP device or gateway, which serves one request after the other.

    `refuse_silent`: where no unit answers, the gateway says so (exception 0x0B) instead of saying nothing.
    """

    def __init__(self, ask: Ask, *, refuse_silent: bool = False) -> None:
        self._ask = ask
        self._refuse_silent = refuse_silent
        self._buffer = b""
        self._free_us = 0
        self._due: list[tuple[int, bytes]] = []

    @property
    def deadline(self) -> int | None:
        return self._due[0][0] if self._due else None

    def handle(self, now_us: int, event: Put | Woken) -> list[Heard | Seen | HungUp]:
        out: list[Heard | Seen | HungUp] = []
        if isinstance(event, Put):
            self._buffer += event.data
            try:
                while (one := mbap_split(self._buffer)) is not None:
                    transaction, unit, pdu, self._buffer = one
                    out.append(Seen(unit, pdu, now_us))
                    self._serve(now_us, transaction, unit, pdu)
            except Malformed as error:
                out.append(HungUp(str(error)))
        while self._due and self._due[0][0] <= now_us:
            out.append(Heard(self._due.pop(0)[1]))
        return out

    def _serve(self, now_us: int, transaction: int, unit: int, pdu: bytes) -> None:
        answers = self._ask(now_us, unit, pdu)
        if not answers and self._refuse_silent:
            answers = [(0, refusal_pdu(pdu[0], TARGET_SILENT))]
        for turnaround_us, answer in answers:
            self._free_us = max(now_us, self._free_us) + turnaround_us
            self._due.append((self._free_us, mbap_frame(transaction, unit, answer)))
