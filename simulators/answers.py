"""What happens to requests and answers on their way, drawn from a seeded source of chance.

`Answers` holds what is wrong with one unit, or with all that stand on one line, and may be changed at any time. It
refuses to know baud rates and collisions (`line.py`), segments (`endpoint.py`) and what a unit itself does wrong
(`device.py`).
"""

from collections import Counter
from collections.abc import Callable
from functools import reduce

from firmware_bridge.machine import MS
from firmware_bridge.modbus import refusal_pdu
from simulators.endpoint import TARGET_PATIENCE_US, TARGET_SILENT
from simulators.faults import TABLE, Fault, On
from simulators.line import Answer, Rng, Seen

LATE_US = (200 * MS, 900 * MS)
"""Between 'a slow unit' and 'as long as a bus must distrust it' (DESIGN §5: at most 1 s)."""
DOUBLED_US = (0, 50 * MS)
NOISE_OCTETS = 6
BUSY, NO_PATH = 6, 0x0A
ILLEGAL = (1, 3)
"""From illegal function to illegal value: which of them a firmware says is its maker's taste."""

SHARED = {fault for fault, entry in TABLE.items()
          if entry.number.startswith("share") and On.GAUGE not in entry.on} - {Fault.BABBLE}
"""What is done here; the table's order is the order of chance."""


class Answers:
    """Which faults meet the requests to a target and its answers: each with its own share, several at once."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.shares: dict[Fault, float] = {}
        self.happened: Counter[Fault] = Counter()
        self._dazed: set[int] = set()
        """Units that refused slowly, and whose next answer is slow as well."""

    def change(self, fault: Fault, share: float) -> None:
        """From now on so many meet this fault; 0: none."""
        self.shares.pop(fault, None)
        if share > 0:
            self.shares[fault] = share

    def diverted(self, request: Seen) -> Answer | None:
        """What a TCP gateway answers by itself, without asking a unit."""
        if self._meets(Fault.NO_PATH):
            return Answer(0, request.unit, refusal_pdu(request.pdu[0], NO_PATH))
        if self._meets(Fault.NO_TARGET):
            return Answer(TARGET_PATIENCE_US, request.unit, refusal_pdu(request.pdu[0], TARGET_SILENT))
        return None

    def refused(self) -> int | None:
        """The exception code with which a unit refuses a request that it could do."""
        if not self.shares:
            return None
        if self._meets(Fault.BUSY):
            return BUSY
        return self._rng.randint(*ILLEGAL) if self._meets(Fault.ILLEGAL) else None

    def hurt(self, answer: Answer) -> Answer | None:
        """What comes in the place of an answer."""
        if not self.shares and not self._dazed:
            return answer
        answer = self._slowed(answer)
        if self._meets(Fault.DROPPED):
            return None
        if self._meets(Fault.LATE):
            answer = answer._replace(turnaround_us=answer.turnaround_us + self._rng.randint(*LATE_US))
        if self._meets(Fault.DOUBLED):
            answer = answer._replace(again_us=self._rng.randint(*DOUBLED_US))
        if self._meets(Fault.WRONG_UNIT):
            answer = answer._replace(unit=answer.unit % 247 + 1)
        if self._meets(Fault.SHORT):
            answer = answer._replace(pdu=_shortened(answer.pdu))
        wears = [answer.wear] if answer.wear else []
        wears += [wear for fault, wear in self._wears().items() if self._meets(fault)]
        return answer._replace(wear=lambda frame: reduce(lambda octets, wear: wear(octets), wears, frame))

    def _slowed(self, answer: Answer) -> Answer:
        slow = answer.unit in self._dazed
        self._dazed.discard(answer.unit)
        if answer.pdu[0] & 0x80 and self._meets(Fault.SLOW_REFUSAL):
            slow = True
            self._dazed.add(answer.unit)
        if not slow:
            return answer
        return answer._replace(turnaround_us=answer.turnaround_us + self._rng.randint(*LATE_US))

    def _meets(self, fault: Fault) -> bool:
        share = self.shares.get(fault)
        meets = share is not None and self._rng.random() < share
        self.happened[fault] += meets
        return meets

    # Octets on a serial line.

    def _wears(self) -> dict[Fault, Callable[[bytes], bytes]]:
        return {Fault.CUT: self._cut, Fault.GARBLED: self._garbled, Fault.NOISE: self._noise}

    def _cut(self, frame: bytes) -> bytes:
        return frame[: self._rng.randint(1, max(1, len(frame) - 1))]

    def _garbled(self, frame: bytes) -> bytes:
        octets = bytearray(frame)
        for place in self._rng.sample(range(len(octets)), self._rng.randint(1, min(3, len(octets)))):
            octets[place] ^= self._rng.randint(1, 255)
        return bytes(octets)

    def _noise(self, frame: bytes) -> bytes:
        return self._rng.randbytes(self._rng.randint(1, NOISE_OCTETS)) + frame


def _shortened(pdu: bytes) -> bytes:
    """A read's answer with its last register (or octet of bits) missing; any other answer without its last octet."""
    if pdu[0] in (1, 2, 3, 4) and pdu[1] > 2:
        less = 2 if pdu[0] >= 3 else 1
        return bytes([pdu[0], pdu[1] - less]) + pdu[2:-less]
    return pdu[:-1]
