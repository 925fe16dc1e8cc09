"""What is wrong with a field: it begins, ends and tells faults, and hands requests and answers to those that are on.

A fault is kept by the thing that has it (a contact, a line, a connection), so what is told is what is. It refuses to
know when anything happens: that is for the field, whose parts it is given.
"""

import hashlib
from collections.abc import Callable, Mapping

from controller.config import Drive
from simulators.answers import SHARED, Answers
from simulators.device import SimDevice
from simulators.endpoint import Segments
from simulators.faults import ALL, TABLE, Fault, NoSuch, On, meant, number
from simulators.line import Answer, Line, Rng, Seen
from simulators.water import Waters

_MODBUS = {Fault.BUSY, Fault.ILLEGAL, Fault.SLOW_REFUSAL, Fault.WRONG_UNIT, Fault.SHORT}
"""What is done to Modbus's own frames: another protocol has no such codes, or has them elsewhere."""
_SEGMENTS = {Fault.ONE_A_SEGMENT: "one_request", Fault.SPLIT: "split", Fault.JOINED: "joined"}


class Damage:
    """Over the units of each line (by the line's id), the serial lines, the TCP lines' manners, and the waters."""

    def __init__(self, units: Mapping[str, list[SimDevice]], lines: Mapping[str, Line],
                 segments: Mapping[str, Segments], waters: Waters, rng: Callable[[int], Rng]) -> None:
        self._lines = lines
        self._waters = waters
        self._segments = segments
        self._devices = {device.id: device for on_line in units.values() for device in on_line}
        self._line_of = {device.id: line for line, on_line in units.items() for device in on_line}
        self._plain = {line for line, on_line in units.items()
                       if any(device.profile.spec.protocol == "plain" for device in on_line)}
        """Lines whose protocol is not Modbus."""
        self._answers = {target: Answers(rng(_seed(target))) for target in (*units, *self._devices)}
        self.unplugged: set[str] = set()

    # What may be said.

    def can(self, target: str) -> tuple[Fault, ...]:
        """The faults that a unit (`relay-1`), an output (`relay-1.2`) or a line can have. NoSuch for another target."""
        if target in self._segments or target in self._lines:
            line, kinds = target, {On.TCP if target in self._segments else On.LINE}
        else:
            device, channel = self._place(target)
            line = self._line_of[device.id]
            kinds = {On.OUTPUT} if device.outputs() else set()
            if channel is None:
                kinds.add(On.TCP_UNIT if line in self._segments else On.UNIT)
        cannot = (_MODBUS if line in self._plain else set()) | (set() if On.OUTPUT in kinds else {Fault.BROWN_OUT})
        can = tuple(fault for fault, entry in TABLE.items() if kinds.intersection(entry.on) and fault not in cannot)
        return can if target not in self._devices else can + self._waters.can(target)

    def _place(self, target: str) -> tuple[SimDevice, int | None]:
        try:
            drive = Drive.of(target)
        except ValueError:
            drive = Drive(target, None)
        device = self._devices.get(drive.device)
        if device is None:
            raise NoSuch(f"{target!r} is no unit and no line; units: {', '.join(self._devices)};"
                         f" lines: {', '.join([*self._lines, *self._segments])}")
        if drive.channel is not None and drive.channel not in device.outputs():
            channels = ", ".join(str(channel) for channel in device.outputs() if channel is not None)
            raise NoSuch(f"{target}: no such channel; channels: {channels or 'none'}")
        return device, drive.channel

    def inject(self, now_us: int, target: str, fault: str, share: float, seconds: float | None) -> None:
        """Begin or (share 0) end a fault. NoSuch when that cannot be; nothing has happened then."""
        known = self.can(target)
        if fault != ALL:
            one = meant(fault, target, known)
            number(one, share, seconds)
            self._change(now_us, target, one, share, seconds)
        elif share != 0:
            raise NoSuch(f"say `{ALL} off` to end whatever is wrong with {target}; faults: {', '.join(known)}")
        else:
            for place, faults in self.on(target).items():
                for word in faults:
                    self._change(now_us, place, Fault(word), 0, None)

    def _change(self, now_us: int, target: str, fault: Fault, share: float, seconds: float | None) -> None:
        if fault in SHARED:
            self._answers[target].change(fault, share)
        elif fault is Fault.BABBLE:
            self._lines[self._line_of.get(target, target)].babble(now_us, target, share)
        elif fault is Fault.ECHO:
            self._lines[target].echo = share > 0
        elif fault is Fault.UNPLUG:
            (self.unplugged.add if share > 0 else self.unplugged.discard)(target)
        elif On.GAUGE in TABLE[fault].on:
            self._waters.inject(now_us, target, fault, share)
        elif fault in _SEGMENTS:
            setattr(self._segments[target], _SEGMENTS[fault], share > 0)
        else:
            device, channel = self._place(target)
            device.inject(now_us, fault, share > 0, channel, seconds)

    def on(self, target: str) -> dict[str, dict[str, float]]:
        """What is wrong now with a target and with its outputs: place -> fault -> share (1 for what has none)."""
        self.can(target)
        found: dict[str, dict[Fault, float]] = {target: {}}
        if target in self._devices or target not in self._answers:
            device, channel = self._place(target)
            for of, faults in device.faults().items():
                if channel in (None, of):
                    place = device.id if of is None else f"{device.id}.{of}"
                    found.setdefault(place, {}).update(dict.fromkeys(faults, 1.0))
        if target in self._answers:
            found[target] |= self._answers[target].shares
        line = self._lines.get(self._line_of.get(target, target))
        if line is not None and target in line.babblers:
            found[target][Fault.BABBLE] = line.babblers[target]
        flags = {Fault.ECHO: target in self._lines and self._lines[target].echo, Fault.UNPLUG: target in self.unplugged}
        if target in self._segments:
            flags |= {fault: getattr(self._segments[target], name) for fault, name in _SEGMENTS.items()}
        found[target] |= {fault: 1.0 for fault, is_on in flags.items() if is_on} | dict(self._waters.on(target))
        return {place: {str(f): share for f, share in faults.items()} for place, faults in found.items() if faults}

    @property
    def hits(self) -> int:
        """How many requests and answers met a fault, and how often somebody talked unasked."""
        met = sum(sum(answers.happened.values()) for answers in self._answers.values())
        return met + sum(line.bursts for line in self._lines.values())

    # What becomes of a request and its answer.

    def diverted(self, line: str, request: Seen) -> Answer | None:
        """What a TCP gateway answers without asking a unit."""
        if line not in self._segments:
            return None
        targets = [line, *(d.id for d in self._devices.values()
                           if self._line_of[d.id] == line and d.unit == request.unit)]
        return next((said for t in targets if (said := self._answers[t].diverted(request)) is not None), None)

    def refused(self, device: SimDevice) -> int | None:
        """The exception code with which a unit refuses what it could do."""
        targets = (device.id, self._line_of[device.id])
        return next((code for t in targets if (code := self._answers[t].refused()) is not None), None)

    def hurt(self, device: SimDevice, answer: Answer) -> Answer | None:
        """What comes in the place of an answer: the faults of its unit meet it, then those of its line."""
        hurt = self._answers[device.id].hurt(answer)
        return hurt and self._answers[self._line_of[device.id]].hurt(hurt)


def _seed(target: str) -> int:
    """Each target has its own chance, so that a fault on one does not change what happens to another."""
    return int.from_bytes(hashlib.blake2b(target.encode(), digest_size=6).digest(), "big")
