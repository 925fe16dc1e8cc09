"""What units did against what a bus says they did: the judge of `bench/faults.py`.

It knows each request that a unit understood and what the unit answered, by the instant at which the request began on
the wire; each frame that anybody made; and each octet the master heard. A belief is wrong when it is not what the unit
answered to that very request. An acknowledgement may be that of an earlier copy of the same level write, as long as
the level stands; a trigger's may not. A wrong belief is a true collision of check sums when octets were changed on the
way, and what came of them was a valid frame that nobody had made: no master can tell that.

It refuses to know how a bus decides.
"""

from collections import Counter, deque

from firmware_bridge import modbus
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Finished, Read, Refused, Reply, Table, Write
from firmware_bridge.machine import S

MADE_US = 5 * S
"""A frame that was made so long ago is on no wire any more: no fault delays one by more than a second."""
HEARD_US = 2 * S
"""What a belief is made of came since; less than MADE_US, or a frame long forgotten would look like nobody's."""
WRONG = ("wrong values believed", "wrong acknowledgements believed", "wrong refusals believed")
BOOLS = {Table.COIL, Table.DISCRETE}


class Judge:
    """One bus, one line. `found` counts; `stories` tells each wrong belief in words."""

    def __init__(self, trigger: int) -> None:
        """`trigger` is the holding register of each unit whose every write is an event."""
        self.found: Counter[str] = Counter()
        self.stories: list[str] = []
        self.longest_run = 0
        """Wrong readings of one bool point, one after the other."""
        self._trigger = trigger
        self._did: dict[int, tuple[int, bytes, bytes | None]] = {}
        self._sent: dict[int, bytes] = {}
        self._made: deque[tuple[int, bytes, str]] = deque()
        self._heard: deque[tuple[int, bytes]] = deque()
        self._written: Counter[tuple[int, int]] = Counter()
        self._levels: dict[tuple[int, int, int], bytes] = {}
        self._runs: Counter[tuple[int, Table, int]] = Counter()

    # What happens on the wire.

    def sent(self, at_us: int, frame: bytes) -> None:
        """The master put a request on the wire."""
        # Kept beyond its end: an earlier copy's echo may end it before the unit has heard it whole.
        self._sent = {sent_us: one for sent_us, one in self._sent.items() if at_us - sent_us < MADE_US}
        self._sent[at_us] = frame

    def did(self, first_byte_us: int, unit: int, pdu: bytes, answer: bytes | None) -> None:
        """A unit understood a request, and did what its answer says."""
        self._did[first_byte_us] = unit, pdu, answer
        if modbus.rtu_frame(unit, pdu) != self._sent.get(first_byte_us):
            self.found["requests that nobody made"] += 1
        if answer == pdu and pdu[0] in (5, 6):
            self._levels[unit, pdu[0], int.from_bytes(pdu[1:3], "big")] = pdu
        if answer == pdu and pdu[0] == 6 and int.from_bytes(pdu[1:3], "big") == self._trigger:
            written = unit, int.from_bytes(pdu[3:5], "big")
            self._written[written] += 1
            self.found["triggers written"] += 1
            self.found["triggers written twice"] += self._written[written] == 2

    def made(self, now_us: int, frame: bytes, fault: str) -> None:
        """A unit, or a fault, made a valid frame, which is on its way to the master."""
        self._made.append((now_us, frame, fault))

    def garbled(self, frame: bytes) -> None:
        """Octets of an answer were changed on purpose; this came of it."""
        self.found["answers garbled"] += 1
        self.found["answers garbled, CRC right"] += modbus.crc16(frame) == 0

    def heard(self, now_us: int, octets: bytes) -> None:
        self._heard.append((now_us, octets))
        while self._heard[0][0] < now_us - HEARD_US:
            self._heard.popleft()

    # What the bus says.

    def finished(self, now_us: int, end: Finished) -> None:
        kind = type(end.outcome).__name__.lower()
        self.found[f"ended {kind}"] += 1
        if end.sent_us is None:
            return
        self.found["transactions"] += 1
        did = self._did.pop(end.sent_us, None)
        if isinstance(end.outcome, Reply | Refused):
            txn = end.transaction
            right = did is not None and did[0] == txn.unit and did[2] is not None and self._same(end, did[1], did[2])
            self._note(txn.unit, txn.request, right)
            if not right:
                self._wrong(now_us, end, did)

    def _same(self, end: Finished, asked: bytes, answered: bytes) -> bool:
        request = end.transaction.request
        assert isinstance(request, Read | Write), "Modbus is spoken here"
        try:
            return asked == modbus.request_pdu(request) and modbus.reply_of(request, answered) == end.outcome
        except Malformed:
            return False

    def _note(self, unit: int, request: object, right: bool) -> None:
        """How often in a row one bool was read wrongly."""
        if isinstance(request, Read) and request.table in BOOLS:
            key = unit, request.table, request.address
            self._runs[key] = 0 if right else self._runs[key] + 1
            self.longest_run = max(self.longest_run, self._runs[key])

    def _wrong(self, now_us: int, end: Finished, did: tuple[int, bytes, bytes | None] | None) -> None:
        request = end.transaction.request
        assert isinstance(request, Read | Write), "Modbus is spoken here"
        while self._made and self._made[0][0] < now_us - MADE_US:
            self._made.popleft()
        if self._stands(end):
            self.found["acknowledged by an earlier copy's echo, and it stands"] += 1
            return
        frames = self._frames(end)
        known = [f"{(now_us - at) / 1000:.0f} ms before ({how})" for at, frame, how in self._made if frame in frames]
        if frames and not known:
            self.found["collisions believed"] += 1
            self.found["collisions believed, of a bool"] += isinstance(request, Read) and request.table in BOOLS
            why = "a true collision of check sums"
        else:
            self.found[WRONG[0] if isinstance(request, Read) else WRONG[1]] += isinstance(end.outcome, Reply)
            self.found[WRONG[2]] += isinstance(end.outcome, Refused)
            why = f"a frame made {', '.join(known)}" if known else "no frame that was heard"
        unit = "did not understand" if did is None else "is silent" if did[2] is None else f"answered {did[2].hex()}"
        self.stories.append(f"at {now_us} us: unit {end.transaction.unit} {request} sent {end.sent_us}, believed "
                            f"{end.outcome}, but the unit {unit}: {why}")

    def _stands(self, end: Finished) -> bool:
        """Whether a level that was acknowledged is the one that the unit was told last, though by another copy."""
        txn = end.transaction
        if not isinstance(txn.request, Write) or not txn.repeatable or not isinstance(end.outcome, Reply):
            return False
        pdu = modbus.request_pdu(txn.request)
        return self._levels.get((txn.unit, pdu[0], txn.request.address)) == pdu

    def _frames(self, end: Finished) -> set[bytes]:
        """The valid frames among what was heard that say what is believed."""
        request, found = end.transaction.request, set[bytes]()
        assert isinstance(request, Read | Write), "Modbus is spoken here"
        length = 5 if isinstance(end.outcome, Refused) else modbus.reply_length(request) + 3
        heard = b"".join(octets for _, octets in self._heard)
        for start in range(len(heard) - length + 1):
            frame = heard[start : start + length]
            if frame[0] == end.transaction.unit and modbus.crc16(frame) == 0:
                try:
                    if modbus.reply_of(request, frame[1:-2]) == end.outcome:
                        found.add(frame)
                except Malformed:
                    continue
        return found
