"""One connection to a Modbus TCP device or gateway: no collisions and no character times, but segments.

Several requests may come in one segment, and answers may leave cut over several or several in one. It is a machine,
and refuses to know what a unit answers and what hurts that: it calls `ask`.
"""

from dataclasses import dataclass

from firmware_bridge.errors import Malformed
from firmware_bridge.machine import MS, Woken
from firmware_bridge.modbus import mbap_frame, mbap_split, refusal_pdu
from simulators.line import Answer, Ask, Heard, Put, Rng, Seen

TARGET_SILENT = 0x0B
"""The Modbus exception of a TCP gateway whose unit does not answer."""
TARGET_PATIENCE_US = 500 * MS
"""How long such a gateway waits for its unit before it says so; in the field 0.3 to 1 s, as it was set up."""
SPLIT_PIECES = 4
SPLIT_US = (1 * MS, 20 * MS)
"""An answer that comes in several segments: into how many at most, and how far apart they are."""
JOINED_US = 50 * MS
"""How long an endpoint that saves segments waits for more to say (Nagle's algorithm waits for an acknowledgement,
which the other end may hold back for 40 to 200 ms)."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """Out of an endpoint: it closes the connection, for what came is no Modbus TCP."""

    why: str


@dataclass(slots=True)
class Segments:
    """How the connections of an endpoint deal with TCP segments. It may change at any time."""

    one_request: bool = False
    """Of several requests in one segment only the first is served, as pymodbus's server does it."""
    split: bool = False
    """An answer comes in several segments."""
    joined: bool = False
    """Several answers come in one segment."""


class Endpoint:
    """One connection; it serves one request after the other.

    `refuse_silent`: where no unit answers, the gateway says so (exception 0x0B) instead of saying nothing.
    """

    def __init__(self, ask: Ask, rng: Rng, *, refuse_silent: bool = False, segments: Segments | None = None) -> None:
        self._ask = ask
        self._rng = rng
        self._refuse_silent = refuse_silent
        self._segments = segments or Segments()
        self._buffer = b""
        self._free_us = 0
        self._due: list[tuple[int, bytes]] = []

    @property
    def deadline(self) -> int | None:
        """What is due leaves at once, or waits for company."""
        return self._due[0][0] + (JOINED_US if self._segments.joined else 0) if self._due else None

    def handle(self, now_us: int, event: Put | Woken) -> list[Heard | Seen | HungUp]:
        out: list[Heard | Seen | HungUp] = []
        if isinstance(event, Put):
            self._buffer += event.data
            try:
                while (one := mbap_split(self._buffer)) is not None:
                    transaction, unit, pdu, self._buffer = one
                    seen = Seen(unit, pdu, now_us)
                    out.append(seen)
                    self._serve(now_us, transaction, seen)
                    if self._segments.one_request:
                        self._buffer = b""
            except Malformed as error:
                out.append(HungUp(str(error)))
        while (due_us := self.deadline) is not None and due_us <= now_us:
            ready = sum(at_us <= due_us for at_us, _ in self._due) if self._segments.joined else 1
            out.append(Heard(b"".join(data for _, data in self._due[:ready])))
            del self._due[:ready]
        return out

    def _serve(self, now_us: int, transaction: int, seen: Seen) -> None:
        answers = self._ask(now_us, seen)
        if not answers and self._refuse_silent:
            answers = [Answer(TARGET_PATIENCE_US, seen.unit, refusal_pdu(seen.pdu[0], TARGET_SILENT))]
        self._free_us = max(now_us, self._free_us)
        for answer in answers:
            frame = mbap_frame(transaction, answer.unit, answer.pdu)
            for after_us in (answer.turnaround_us, *(() if answer.again_us is None else (answer.again_us,))):
                self._free_us += after_us
                self._say(frame)

    def _say(self, frame: bytes) -> None:
        """In one segment or in several, from `_free_us` on."""
        pieces = self._rng.randint(2, SPLIT_PIECES) if self._segments.split else 1
        cuts = sorted(self._rng.sample(range(1, len(frame)), pieces - 1))
        for first, last in zip([0, *cuts], [*cuts, len(frame)], strict=True):
            self._free_us += self._rng.randint(*SPLIT_US) if first else 0
            self._due.append((self._free_us, frame[first:last]))
