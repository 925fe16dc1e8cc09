"""The wire between a master and its units, with the time that octets take on it.

`Line` is a half-duplex RS-485 line at a baud rate: what is put on it takes its 11 bits a character, units see a frame
when t3.5 of silence ends it, an answer begins after the unit's turnaround and reaches the master when its octets have
passed. Two talkers at once hurt each other's octets, and some talk unasked.

It is a machine, and refuses to know what a unit answers and what hurts that: it calls `ask`. What its
protocol looks like is the dialect's business. It accounts its time, for benches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from firmware_bridge.machine import Woken, earliest
from simulators.dialect import Dialect, Rtu

BITS_A_CHARACTER = 11
"""Start, 8 data, parity or second stop, stop (Modbus over Serial Line V1.02, 2.5.1)."""
T35_FIXED_US = 1750
"""Above 19200 baud t3.5 is fixed (same, 2.5.1.1)."""
MAX_QUEUED_BYTES = 4096
"""What a master's UART and driver hold for it; more is lost, as it would be there."""
BABBLE_OCTETS = 32
"""The longest burst of a unit that talks unasked."""


class Rng(Protocol):
    """Where chance comes from: a seeded `random.Random` of whoever makes the line."""

    def random(self) -> float: ...
    def randint(self, a: int, b: int, /) -> int: ...
    def sample(self, population: Sequence[int], k: int, /) -> list[int]: ...
    def randbytes(self, n: int, /) -> bytes: ...


class Put(NamedTuple):
    """Into a line: octets leave a talker. `foreign`: not our master but another one on the same wire."""

    data: bytes
    foreign: bool = False


class Heard(NamedTuple):
    """Out of a line: octets reach the master."""

    data: bytes


class Seen(NamedTuple):
    """Out of a line: the units saw a whole request, whose first octet began at `first_byte_us`."""

    unit: int
    pdu: bytes
    first_byte_us: int
    foreign: bool = False


class Answer(NamedTuple):
    """What a unit says to a request. `turnaround_us` runs from the end of the request to its first octet."""

    turnaround_us: int
    unit: int
    pdu: bytes
    again_us: int | None = None
    """It says it a second time, so long after the first."""
    wear: Callable[[bytes], bytes] | None = None
    """What becomes of its octets on a serial line."""


Ask = Callable[[int, Seen], list[Answer]]
"""(now_us, request) -> the answer of each unit that answers there; usually one or none."""


@dataclass(slots=True)
class _Burst:
    """Octets of one talker on the wire from `start_us` to `end_us`."""

    start_us: int
    end_us: int
    data: bytes
    foreign: bool = False
    hits: list[tuple[int, int]] = field(default_factory=list)
    """Stretches in which somebody else talked."""


@dataclass(slots=True)
class _Babbler:
    """Somebody who talks unasked: for which share of the time, and when next."""

    share: float
    next_us: int


class Line:
    """A half-duplex line. `chunks`: an answer reaches the master in up to so many pieces. `error_rate` is per bit.

    `strict`: a request that begins less than t3.5 after other octets is not understood, as the standard has it. Many
    masters begin earlier and most units forgive them, so it is off, but always counted in `too_soon`.
    """

    def __init__(self, baud: int, ask: Ask, rng: Rng, *, chunks: int = 1, error_rate: float = 0.0,
                 echo: bool = False, strict: bool = False, dialect: Dialect | None = None) -> None:
        self._baud = baud
        self._dialect = dialect or Rtu()
        self._ask = ask
        self._rng = rng
        self._chunks = chunks
        self._error_rate = error_rate
        self._strict = strict
        self._babblers: dict[str, _Babbler] = {}
        self._times: dict[int, int] = {}
        """How long so many octets take; no more are ever sent at once than `MAX_QUEUED_BYTES`."""
        self.deadline: int | None
        self.echo = echo
        """The adapter hears what it sends."""
        self.t35_us = T35_FIXED_US if baud > 19200 else round(3.5 * BITS_A_CHARACTER * 1e6 / baud)
        # Accounts.
        self.busy_us = 0
        self.requests = 0
        self.collisions = 0
        self.bursts = 0
        """Of those who talk unasked."""
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
        self._talked_us: int | None = None
        self.deadline = self._due()

    def babble(self, now_us: int, talker: str, share: float) -> None:
        """`talker` talks unasked for this share of the time from now on; 0: no longer, 1: without a pause."""
        self._babblers.pop(talker, None)
        if share > 0:
            self._babblers[talker] = _Babbler(share, now_us + 1)
        self.deadline = self._due()

    @property
    def babblers(self) -> dict[str, float]:
        """Who talks unasked, and for which share of the time."""
        return {talker: one.share for talker, one in self._babblers.items()}

    def time_of(self, octets: int) -> int:
        """How long so many octets take."""
        us = self._times.get(octets)
        if us is None:
            us = self._times[octets] = round(octets * BITS_A_CHARACTER * 1e6 / self._baud)
        return us

    def _due(self) -> int | None:
        frame_us = self._frame[-1].end_us + self.t35_us if self._frame else None
        if not self._pieces and not self._babblers:
            return frame_us
        return earliest(frame_us, *[piece[0] for piece in self._pieces], *[b.next_us for b in self._babblers.values()])

    def handle(self, now_us: int, event: Put | Woken) -> list[Heard | Seen]:
        out: list[Heard | Seen] = []
        while self.deadline is not None and self.deadline <= now_us:
            self._step(self.deadline, out)
            self.deadline = self._due()
        if isinstance(event, Put):
            self._put(now_us, event)
            self.deadline = self._due()
        return out

    def _put(self, now_us: int, event: Put) -> None:
        """Octets of a master; they follow what it is still sending, and then belong to the same frame."""
        start = max(now_us, self._frame[-1].end_us) if self._frame else now_us
        room = MAX_QUEUED_BYTES - sum(len(b.data) for b in self._frame)
        if room <= 0 or not event.data:
            return
        if not self._frame:
            self._frame_lost = False
            if self._talked_us is not None and start - self._talked_us < self.t35_us:
                self.too_soon += 1
                self._frame_lost = self._strict
        burst = self._talk(start, event.data[:room])
        burst.foreign = event.foreign
        self._frame.append(burst)
        if self.echo or event.foreign:
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
            babbler = next((b for b in self._babblers.values() if b.next_us <= now_us), None)
            if babbler is not None:
                self._babbled(now_us, babbler)
            else:
                self._end_of_frame(now_us, out)
        if self._bursts:
            self._bursts = [b for b in self._bursts if b.end_us > now_us]

    def _babbled(self, now_us: int, babbler: _Babbler) -> None:
        """A burst of what nobody asked for, and a pause as long as the share wants."""
        burst = self._talk(now_us, self._rng.randbytes(self._rng.randint(1, BABBLE_OCTETS)))
        length_us = burst.end_us - burst.start_us
        self.bursts += 1
        self.busy_us += length_us
        self._talked_us = max(self._talked_us or 0, burst.end_us)
        self._pieces.append((burst.end_us, burst, 0, len(burst.data)))
        pause_us = 2 * self._rng.random() * length_us * (1 - babbler.share) / babbler.share
        babbler.next_us = burst.end_us + round(pause_us)

    def _end_of_frame(self, now_us: int, out: list[Heard | Seen]) -> None:
        """t3.5 of silence: the units judge what they heard, and answer."""
        bursts, self._frame = self._frame, []
        heard = b"".join(self._worn(b, 0, len(b.data)) for b in bursts)
        self.busy_us += self.time_of(len(heard)) + self.t35_us
        end_us = bursts[-1].end_us
        found = [] if self._frame_lost else self._dialect.requests(heard, self._strict)
        if not found:
            self.unread += 1
        for place, unit, pdu in found:
            self.requests += 1
            # Two masters may talk without t3.5 between them: whose request it is says the octet that it begins with.
            seen = Seen(unit, pdu, *self._begun(bursts, place))
            out.append(seen)
            for answer in self._ask(now_us, seen):
                self._answer(end_us, answer)

    def _begun(self, bursts: list[_Burst], place: int) -> tuple[int, bool]:
        """When the octet at this place of several bursts began, and whether another master sent it."""
        for burst in bursts:
            if place < len(burst.data):
                break
            place -= len(burst.data)
        return burst.start_us + self.time_of(place), burst.foreign

    def _answer(self, request_end_us: int, answer: Answer) -> None:
        frame = self._dialect.frame(answer.unit, answer.pdu)
        start_us = request_end_us + max(answer.turnaround_us, self.t35_us)
        self.busy_us += start_us - request_end_us - self.t35_us
        for after_us in (0,) if answer.again_us is None else (0, answer.again_us):
            burst = self._talk(start_us + after_us, answer.wear(frame) if answer.wear else frame)
            start_us = burst.end_us
            self.busy_us += burst.end_us - burst.start_us + self.t35_us
            self._talked_us = max(self._talked_us or 0, burst.end_us)
            octets = len(burst.data)
            pieces = min(self._rng.randint(1, self._chunks), octets)
            cuts = sorted(self._rng.sample(range(1, octets), pieces - 1)) if pieces > 1 else []
            for first, last in zip([0, *cuts], [*cuts, octets], strict=True):
                self._pieces.append((burst.start_us + self.time_of(last), burst, first, last))

    def _worn(self, burst: _Burst, first: int, last: int) -> bytes:
        """Octets `first` to `last` of a burst as they arrive: hurt where somebody else talked, and by bit errors."""
        if not burst.hits and not self._error_rate:
            return burst.data[first:last]
        octets = bytearray(burst.data[first:last])
        for n in range(len(octets)) if burst.hits else ():
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
