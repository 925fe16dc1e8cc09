"""What can happen to an answer on its way back: the words for line faults, and a seeded schedule of them.

`LineFaults.mangle` takes a whole RTU reply frame and gives what reaches the master in its place. It refuses to know
baud rates and collisions (`line.py`) and what a device itself does wrong (`device.py`).
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from firmware_bridge.machine import MS
from firmware_bridge.modbus import rtu_frame
from simulators.line import Rng


class LineFault(StrEnum):
    """One way to hurt an answer."""

    DROPPED = "dropped"
    """Nothing comes."""
    GARBLED = "garbled"
    """One to three octets changed, so that the CRC is wrong."""
    CUT = "cut"
    """Only the beginning comes."""
    LATE = "late"
    """It comes when the master no longer waits, and perhaps asks something else."""
    DOUBLED = "doubled"
    """It comes twice."""
    FOREIGN = "foreign"
    """A valid answer of another unit comes in its place."""
    NOISE = "noise"
    """Octets nobody sent come before it."""
    SHORT = "short"
    """A valid frame with less data than was asked for."""


LATE_US = (200 * MS, 900 * MS)
"""Between 'a slow unit' and 'as long as a bus must distrust it' (DESIGN §5: at most 1 s)."""
DOUBLED_US = (0, 50 * MS)
NOISE_OCTETS = 6


class LineFaults:
    """Which fault the next answer meets, drawn from `rng` with a probability for each kind (together at most 1)."""

    def __init__(self, rng: Rng, probabilities: Mapping[LineFault, float]) -> None:
        assert sum(probabilities.values()) <= 1 + 1e-9, probabilities
        self._rng = rng
        self.probabilities = dict(probabilities)
        self.happened: Counter[LineFault] = Counter()

    def mangle(self, now_us: int, reply: bytes) -> list[tuple[int, bytes]]:
        """What comes in place of `reply`: (delay beyond the usual in microseconds, octets), in order."""
        draw = self._rng.random()
        for kind, probability in self.probabilities.items():
            draw -= probability
            if draw < 0:
                self.happened[kind] += 1
                return hurt(kind, reply, self._rng)
        return [(0, reply)]


def hurt(kind: LineFault, reply: bytes, rng: Rng) -> list[tuple[int, bytes]]:
    """`reply` after one fault of this kind."""
    match kind:
        case LineFault.DROPPED:
            return []
        case LineFault.GARBLED:
            octets = bytearray(reply)
            for place in rng.sample(range(len(octets)), rng.randint(1, min(3, len(octets)))):
                octets[place] ^= rng.randint(1, 255)
            return [(0, bytes(octets))]
        case LineFault.CUT:
            return [(0, reply[: rng.randint(1, len(reply) - 1)])]
        case LineFault.LATE:
            return [(rng.randint(*LATE_US), reply)]
        case LineFault.DOUBLED:
            return [(0, reply), (rng.randint(*DOUBLED_US), reply)]
        case LineFault.FOREIGN:
            return [(0, rtu_frame(reply[0] % 247 + 1, reply[1:-2]))]
        case LineFault.NOISE:
            return [(0, rng.randbytes(rng.randint(1, NOISE_OCTETS)) + reply)]
        case LineFault.SHORT:
            return [(0, _shortened(reply))]


def _shortened(reply: bytes) -> bytes:
    """A read's answer with its last register (or octet of bits) missing; any other answer without its last octet."""
    unit, pdu = reply[0], reply[1:-2]
    if pdu[0] in (1, 2, 3, 4) and pdu[1] > 2:
        less = 2 if pdu[0] >= 3 else 1
        return rtu_frame(unit, bytes([pdu[0], pdu[1] - less]) + pdu[2:-less])
    return rtu_frame(unit, pdu[:-1])
