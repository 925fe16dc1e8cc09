"""What is on the wire: WRITE-SHAPE, SINGLE-MASTER. Judged from the requests that units understood."""

from bisect import bisect_left

from controller.wire import Event
from firmware_bridge.machine import S
from simulators.promises.history import Breaches, History

COIL, REGISTER, COILS, REGISTERS = 5, 6, 15, 16
FLIP = 0x5500
"""From here on the value of a function 05 flips a relay on common boards; FF00 latches it on, 0 is off."""
ALL = 0x00FF
"""Function 05 at this address is every relay at once on common boards."""
ALARM_US = 30 * S
ECHO_US = 300_000
"""Octets that a dead process gave to its port may still leave it."""


def write_shape(history: History) -> Breaches:
    """WRITE-SHAPE: no toggle, no write to all relays or to several coils at once; broadcast only where the bus is
    configured for it, and then never ON."""
    broadcast = {bus.id for c in history.configs for bus in c.spec.bus if bus.broadcast}
    for one in history.frames:
        code = one.pdu[0]
        if one.foreign or code not in (COIL, REGISTER, COILS, REGISTERS):
            continue
        address, value = int.from_bytes(one.pdu[1:3], "big"), int.from_bytes(one.pdu[3:5], "big")
        if one.unit == 0 and (one.line not in broadcast or (code == COIL and value)):
            yield f"{one.line}: broadcast {one.pdu.hex()} at {one.at_us}"
        if code == COIL and address == ALL:
            yield f"{one.line}: unit {one.unit} was told to switch all relays: {one.pdu.hex()}"
        if code == COIL and FLIP <= value < 0xFF00:
            yield f"{one.line}: unit {one.unit} was told to flip a relay: {one.pdu.hex()}"
        if code == COILS and value > 1:
            yield f"{one.line}: unit {one.unit} was written {value} coils at once: {one.pdu.hex()}"


def single_master(history: History) -> Breaches:
    """SINGLE-MASTER: a line is spoken to only while the process that owns it lives; and who else speaks there is told
    of as an alarm within 30 s in which the broker was not gone, if the gateway lives on and its adapter is in."""
    owners = {bus.id: c.id for c in history.configs for bus in c.spec.bus}
    alarms: dict[str, list[int]] = {}
    for told in history.told:
        if isinstance(told.message, Event) and told.message.what == "foreign-master":
            alarms.setdefault(told.message.subject, []).append(told.at_us)
    heard: dict[str, list[int]] = {}
    for one in history.frames:
        owner = owners.get(one.line)
        if owner is None:
            continue
        if one.foreign:
            heard.setdefault(one.line, []).append(one.at_us)
        elif history.wired and not any(start <= one.at_us <= end + ECHO_US for start, end in history.lives[owner]):
            yield f"{one.line}: a request of nobody at {one.at_us}"
    for line, instants in heard.items():
        first, owner = instants[0], owners[line]
        due_us = _due(history, first)
        calm = history.alive(owner, first - 8 * S, due_us) and not any(
            t.on == line and t.kind != "foreign" for t in history.troubles)
        said = sorted(alarms.get(line, ()))
        n = bisect_left(said, first - S)
        if calm and len(instants) > 2 and (n == len(said) or said[n] > due_us):
            yield f"{line}: another master since {first}, and {owner} did not say so"


def _due(history: History, from_us: int) -> int:
    """When 30 s have passed in which the broker was not gone. Nothing else that is wrong on the way keeps a gateway
    from saying something: whose connection broke has another in seconds."""
    due_us, counted_us = from_us + ALARM_US, from_us
    for gone in sorted((t.from_us, t.to_us) for t in history.troubles if t.kind == "net" and t.on == "gone"):
        since_us = max(gone[0], counted_us)
        if since_us <= due_us and gone[1] > since_us:
            due_us, counted_us = due_us + gone[1] - since_us, gone[1]
    return due_us
