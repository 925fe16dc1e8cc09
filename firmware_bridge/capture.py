"""What was said and heard on a line, as captures: requests with their answers, and what was believed of them.

A `Tape` takes frames in the order they had on the wire and puts each answer to its request. `document` makes of the
exchanges with one model a file for `tests/captures/`, which holds the model's profile to them from then on. Only what
proves something is kept: a read whose values follow from this one answer and are what the gateway believed, a write
that a point and a value explain. It refuses to know where frames come from, and to write a value nobody believed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from firmware_bridge import modbus, scan
from firmware_bridge.belief import Belief
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Read, Refused, Write
from firmware_bridge.machine import S
from firmware_bridge.plan import Block
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality, Value

OUT_LIMIT = 64
"""Requests without an answer that are remembered of a TCP connection: more than any endpoint takes at once."""
EXCHANGES_LIMIT = 10_000
"""Exchanges of one tape: an hour of a busy line. What comes later is counted, not kept."""

DECIMALS = 6
"""Of a value in the file: 52 raw at a scale of 0.001 is 0.052, and not 0.052000000000000005."""


@dataclass(slots=True)
class Exchange:
    """A request and its answer, as they were on the wire; `values` is what was believed of it."""

    unit: int
    request: Read | Write
    asked: bytes
    answered: bytes
    reply: tuple[int, ...]
    values: Mapping[str, Value] = field(default_factory=dict)


class Tape:
    """Frames of one line in, exchanges out."""

    def __init__(self, tcp: bool) -> None:
        self.exchanges: list[Exchange] = []
        self.unanswered: dict[int, int] = {}
        """Unit -> its requests to which no answer was heard."""
        self.refused: dict[int, int] = {}
        self.dropped = 0
        """Exchanges beyond the limit."""
        self._tcp = tcp
        self._out: dict[int, tuple[int, Read | Write, bytes]] = {}
        self._sent: int | None = None
        self._scanner = scan.Scanner()
        self._buffer = b""
        """Of a TCP connection."""
        self._fresh: dict[int, Exchange] = {}

    def sent(self, frame: bytes) -> None:
        """A request left; without octets, the one before it did not leave after all."""
        if not frame:
            if self._sent is not None:
                self._out.pop(self._sent, None)
            return
        if not self._tcp:
            for id in list(self._out):
                self._forget(id)
            self._scanner.clear()
        try:
            cut = modbus.mbap_split(frame) if self._tcp else modbus.rtu_split(frame)
            if cut is None:
                return  # no Modbus request: another protocol's, which no capture here can hold
            id, unit, pdu = (cut[0], cut[1], cut[2]) if len(cut) == 4 else (0, cut[0], cut[1])
            self._out[id] = unit, modbus.parse_request(pdu), frame
            self._sent = id
        except Malformed:
            return
        if len(self._out) > OUT_LIMIT:
            self._forget(next(iter(self._out)))

    def heard(self, data: bytes) -> None:
        """Octets came in, perhaps a piece of an answer, perhaps several."""
        for id, unit, pdu, frame in self._frames(data):
            asked = self._out.get(id)
            if asked is None or asked[0] != unit:
                continue
            try:
                answer = modbus.reply_of(asked[1], pdu)
            except Malformed:
                continue
            del self._out[id]
            if isinstance(answer, Refused):
                self.refused[unit] = self.refused.get(unit, 0) + 1
            elif len(self.exchanges) < EXCHANGES_LIMIT:
                self._fresh[unit] = Exchange(unit, asked[1], asked[2], frame, answer.values)
                self.exchanges.append(self._fresh[unit])
            else:
                self.dropped += 1

    def believed(self, unit: int, values: Mapping[str, Value]) -> None:
        """What the newest answer of a unit was taken for."""
        newest = self._fresh.pop(unit, None)
        if newest is not None:
            newest.values = values

    def _forget(self, id: int) -> None:
        unit, _, _ = self._out.pop(id)
        self.unanswered[unit] = self.unanswered.get(unit, 0) + 1
        self._fresh.pop(unit, None)

    def _frames(self, data: bytes) -> list[tuple[int, int, bytes, bytes]]:
        """(id, unit, pdu, frame) of the answers that are whole with these octets."""
        if not self._tcp:
            return [(0, frame[0], frame[1:-2], frame) for frame in self._scanner.feed(data) if scan.is_reply(frame)]
        found = []
        self._buffer += data
        try:
            while (cut := modbus.mbap_split(self._buffer)) is not None:
                id, unit, pdu, rest = cut
                found.append((id, unit, pdu, self._buffer[: len(self._buffer) - len(rest)]))
                self._buffer = rest
        except Malformed:
            self._buffer = b""  # the link is opened anew, and its next octet begins a frame
        return found


def proofs(profile: Profile, exchanges: Iterable[Exchange]) -> list[dict[str, object]]:
    """Each different exchange that proves something of the profile, with the keys of a capture."""
    out: dict[tuple[bytes, bytes], dict[str, object]] = {}
    for one in exchanges:
        frames: dict[str, object] = {"request": one.asked.hex(" ").upper(), "reply": one.answered.hex(" ").upper()}
        # A TCP frame begins with a number that is another each time.
        key = (one.asked, one.answered) if modbus.crc16(one.asked) == 0 else (one.asked[2:], one.answered[2:])
        if isinstance(one.request, Write):
            writes = explained(profile, one.request)
            if writes:
                out.setdefault(key, frames | {"writes": writes})
        else:
            alone = understood(profile, one.request, one.reply)
            values = {name: value for name, value in one.values.items() if name in alone and alone[name] == value}
            if values:
                out.setdefault(key, frames | {"values": values})
    return list(out.values())


def understood(profile: Profile, request: Read, reply: tuple[int, ...]) -> dict[str, Value]:
    """What one answer says to somebody who has heard nothing before it."""
    end = request.address + request.count
    points = tuple(p for p in profile.points.values() if p.table is request.table and p.spec.readable
                   and request.address <= p.address and p.address + p.width <= end)
    belief = Belief("captured", profile, S)
    taken = belief.take(S, Block(request.table, request.address, request.count, points), reply, S)
    return {r.point: r.value for r in taken if r.quality is Quality.GOOD and r.value is not None}


def explained(profile: Profile, request: Write) -> dict[str, Value]:
    """The point and the value whose write makes exactly this request; nothing when there is none."""
    pdu = modbus.request_pdu(request)
    for point in profile.points.values():
        here = (point.table, point.address, point.width) == (request.table, request.address, len(request.values))
        # One bit of a register is written with all the others, which another point may have meant.
        if not here or not point.spec.write or point.bit is not None:
            continue
        value = point.decode(request.values)
        try:
            mine = Write(point.table, point.address, point.encode(value), point.spec.multiple)
        except ValueError:
            continue
        if modbus.request_pdu(mine) == pdu:
            return {point.name: value}
    return {}


def document(profile: Profile, source: str, found: Iterable[Mapping[str, object]]) -> str:
    """The captures file."""
    lines = [f'profile = {_toml(profile.id)}', f"source = {_toml(source)}", 'kind = "recorded"']
    for one in found:
        lines += ["", "[[exchange]]", *(f"{key} = {_toml(value)}" for key, value in one.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, float):
        value = round(value, DECIMALS)
    # A text, a number and a truth look in TOML as they do in JSON.
    return json.dumps(value, ensure_ascii=False)
