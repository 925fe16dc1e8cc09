"""A simulated device: it plays a profile, request in and reply out, with the faults a real one has.

It switches its outputs by the output class of the profile and lets `[simulate]` move the rest. Time is what it is
told; between two events nothing is computed, and at the next one everything that was due happens, each thing at its
own instant. It refuses to know its line (framing, noise, wrong units) and whether anybody wanted it to sound.

    class A     off when nobody has spoken to it for `watchdog_s`, if its registers have the watchdog `armed`
    class B     a write to the lease point is ON for that long; a write of the state point latches, or ends the lease
    class B'    on while its state point says so; ends by itself after `self_limit_s` or the seconds of `limit`
    class C     latches; only the site's timer relay (`hard_limit_s`) bounds it
"""

from collections.abc import Mapping

from firmware_bridge import modbus
from firmware_bridge.errors import BadDocument, Malformed, Problem
from firmware_bridge.event import Ask, Outcome, Read, Request, Sent, Silent
from firmware_bridge.framing import Plain, Rtu
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.point import Point
from firmware_bridge.profile import OutputClass, Profile, Ramp, Wave
from firmware_bridge.reading import Value
from simulators.behaviour import Reactions, ramp, wave
from simulators.faults import Fault
from simulators.fields import Fields
from simulators.memory import ILLEGAL_FUNCTION, ILLEGAL_VALUE, Memory
from simulators.output import Cause, Output, Switched

BOOT_MS = 2000
"""How long a rebooting board is silent, unless said otherwise."""
BROWN_OUT_US = 50 * MS
"""From a contact that closes to the supply that fails: a contactor pulls in (20 ms), then its motor draws."""
CHAIN_LIMIT = 1000
"""Happenings at one instant (64 channels with a dozen rules each are fewer): more, and rules chase each other."""


class SimDevice:
    """One device at a unit address. `hard_limit_s` is the site's wiring: seconds a channel's timer relay allows.

    `initial` is what it powers up with, over the profile's.
    """

    def __init__(self, id: str, unit: int, profile: Profile, seed: int, *,
                 hard_limit_s: Mapping[int | None, float] | None = None, boot_ms: int = BOOT_MS,
                 initial: Mapping[str, Value] | None = None) -> None:
        self.id = id
        self.unit = unit
        self.profile = profile
        self.log: list[Switched] = []
        """Every change of an output. It grows: whoever reads it clears it."""
        self._seed = seed
        self._boot_us = boot_ms * MS
        self._now_us = 0
        self._heard_us = 0
        self._boots_us: int | None = None
        self._dead = False
        self._frozen = False
        self._brown_out = False
        self._sags_us: int | None = None
        self._initial = dict(initial or {})
        self._memory = Fields(profile) if profile.spec.protocol == "plain" else Memory(profile)
        self._fed: dict[str, Value] = {}
        self._exact: dict[str, float] = {}
        self._reactions = Reactions(profile)
        rules = profile.spec.simulate.values()
        self._waves = [(r, p) for r in rules if isinstance(r, Wave) for p in self._memory.named(r.wave)]
        self._ramps = [(r, p) for r in rules if isinstance(r, Ramp) for p in self._memory.named(r.ramp)]
        self._outputs: dict[int | None, Output] = {}
        self.deadline: int | None = None
        """When something changes by itself. Ramps and waves are computed when somebody looks."""
        if profile.output is not None:
            for channel in range(1, profile.channels + 1) if profile.channels else (None,):
                limit_s = (hard_limit_s or {}).get(channel)
                self._outputs[channel] = Output(channel, None if limit_s is None else round(limit_s * S))
        self._power_up()
        self.deadline = self._due()

    # What the world asks and tells.

    def handle(self, now_us: int, event: bytes | Woken) -> bytes | None:
        """A request PDU (a whole frame where the protocol is not Modbus), answered by another or by silence; or its
        own deadline."""
        self._advance(now_us)
        if isinstance(event, Woken) or not event or self.silent:
            return None
        self._heard_us = now_us
        memory = self._memory
        reply = self._say(memory, event) if isinstance(memory, Fields) else self._answer(event)
        self._touched(now_us)
        return reply

    def outcome(self, now_us: int, request: Request) -> Outcome:
        """What a master next to it, without a line between, makes of its answer."""
        plain = isinstance(request, Ask)
        answer = self.handle(now_us, request.data if isinstance(request, Ask) else modbus.request_pdu(request))
        if answer is None:
            return Sent() if isinstance(request, Ask) and request.answer is None else Silent()
        framing = Plain(self.profile.line.baud) if plain else Rtu(self.profile.line.baud)
        return framing.answer(request, answer) or Silent("garbled")

    @property
    def silent(self) -> bool:
        """It answers nothing: it is dead, or it boots."""
        return self._dead or self._boots_us is not None

    def outputs(self) -> dict[int | None, bool]:
        """What sounds electrically, by channel (None: the device has none), as of the last event."""
        return {channel: output.on for channel, output in self._outputs.items()}

    def value(self, name: str) -> Value:
        """The true value of a point as of the last event, whatever a frozen device shows."""
        self._wave()
        return self._memory.value(self.profile.points[name])

    def shown(self, name: str) -> Value:
        """... and what it shows."""
        self._wave()
        return self._memory.shown(self.profile.points[name])

    def set_point(self, now_us: int, name: str, value: Value | None) -> None:
        """The site feeds a point: a current, a contact, a level. None hands it back to `[simulate]`."""
        self._advance(now_us)
        if value is None:
            self._fed.pop(name, None)
            return
        point = self.profile.points[name]
        if not point.spec.write:
            self._fed[name] = value
        self._put(point, value, Cause.PANEL)
        self._touched(now_us)

    def inject(self, now_us: int, fault: Fault, on: bool = True, channel: int | None = None,
               seconds: float | None = None) -> None:
        """Begin or end a fault; of outputs, on one channel or (None) on all. A reboot, of `seconds`, ends by itself."""
        self._advance(now_us)
        outputs = [o for o in self._outputs.values() if channel is None or o.channel == channel]
        match fault:
            case Fault.DEAD:
                self._dead = on
            case Fault.FROZEN:
                self._frozen = on
                self._wave()
                self._memory.freeze(on)
            case Fault.STUCK_ON | Fault.STUCK_OFF:
                stuck = fault is Fault.STUCK_ON
                for output in outputs:
                    # A contact that is welded is not mended by mending what burnt.
                    if on or output.stuck is stuck:
                        output.stuck = stuck if on else None
                    self._settle(output, Cause.FAULT)
            case Fault.PANEL if self.profile.output and self.profile.output.class_ is OutputClass.B_PRIME:
                for output in outputs:
                    self._put(self._state(output), self._state_value(on), Cause.PANEL)
            case Fault.PANEL:
                for output in outputs:
                    output.panel = on
                    self._settle(output, Cause.PANEL)
            case Fault.BROWN_OUT:
                self._brown_out = on
                self._sags_us = None
            case Fault.REBOOT if on:
                self._reboot(self._boot_us if seconds is None else round(seconds * S))
        self._touched(now_us)

    def faults(self) -> dict[int | None, list[Fault]]:
        """What is wrong now, by channel; None: with the unit. A panel that is a head's own function is none."""
        unit = {Fault.DEAD: self._dead, Fault.FROZEN: self._frozen, Fault.REBOOT: self._boots_us is not None,
                Fault.BROWN_OUT: self._brown_out}
        found: dict[int | None, list[Fault]] = {None: [fault for fault, on in unit.items() if on]}
        for channel, output in self._outputs.items():
            of = {Fault.STUCK_ON: output.stuck is True, Fault.STUCK_OFF: output.stuck is False,
                  Fault.PANEL: output.panel}
            found.setdefault(channel, []).extend(fault for fault, on in of.items() if on)
        return found

    # Time.

    @property
    def _watchdog_us(self) -> int | None:
        spec = self.profile.output
        if spec is None or spec.class_ is not OutputClass.A or spec.watchdog_s is None:
            return None
        running = any(o.commanded and self._armed(o) for o in self._outputs.values())
        return self._heard_us + round(spec.watchdog_s * S) if running else None

    def _due(self) -> int | None:
        moving = [o.deadline for o in self._outputs.values() if not o.at_rest]
        return earliest(self._boots_us, self._sags_us, self._watchdog_us, self._reactions.deadline, *moving)

    def _touched(self, now_us: int) -> None:
        """Somebody did something to it: what follows at once happens now."""
        self.deadline = self._due()
        self._advance(now_us)

    def _advance(self, now_us: int) -> None:
        """Let everything happen that was due until now, each thing at its own instant."""
        assert now_us >= self._now_us, f"{self.id}: time went back from {self._now_us} to {now_us}"
        chain = 0
        while (due_us := self.deadline) is not None and due_us <= now_us:
            chain = chain + 1 if due_us <= self._now_us else 0
            if chain > CHAIN_LIMIT:
                raise BadDocument([Problem(self.profile.file, "simulate", list(self.profile.spec.simulate),
                                           "rules set each other off without end; give one an after_ms or drop it")])
            self._pass(max(due_us, self._now_us))
            self._happen()
            self.deadline = self._due()
        self._pass(now_us)

    def _pass(self, now_us: int) -> None:
        """Nothing happens until `now_us`, but ramps move."""
        elapsed_us = now_us - self._now_us
        self._now_us = now_us
        if elapsed_us == 0:
            return
        for rule, point in self._ramps:
            if point.name in self._fed or (rule.while_ and not self._memory.holds(rule.while_, point.channel)):
                continue
            # Words are too coarse to add small steps to, so the exact value is kept beside them.
            value = self._exact.get(point.name, self._memory.value(point))
            self._exact[point.name] = ramp(rule, 0.0 if isinstance(value, str) else float(value), elapsed_us)
            self._memory.store(point, self._exact[point.name])

    def _happen(self) -> None:
        """The first thing that is due now."""
        now_us = self._now_us
        if self._boots_us is not None and now_us >= self._boots_us:
            self._boots_us = None
            self._power_up()
        elif self._sags_us is not None and now_us >= self._sags_us:
            self._reboot(self._boot_us)
        elif self._watchdog_us is not None and now_us >= self._watchdog_us:
            for output in self._outputs.values():
                if self._armed(output):
                    self._end(output, Cause.WATCHDOG)
        elif (changes := self._reactions.due(now_us, self._memory.holds, self.value)) is not None:
            for name, value in changes.items():
                self._put(self.profile.points[name], value, Cause.WRITE)
        else:
            for output in self._outputs.values():
                if output.until_us is not None and now_us >= output.until_us:
                    self._end(output, output.ends)
                self._settle(output, Cause.HARD_LIMIT)

    def _reboot(self, boot_us: int) -> None:
        """Power is gone: outputs open, what had begun is forgotten, and nothing is answered until it has booted."""
        self._sags_us = None
        self._reactions.clear()
        for output in self._outputs.values():
            output.command(False)
            self._settle(output, Cause.POWER)
        self._boots_us = self._now_us + boot_us

    def _power_up(self) -> None:
        """Memory as after switching on; outputs follow it, which on some boards means ON."""
        self._heard_us = self._now_us
        self._exact.clear()
        self._memory.clear()
        for name, value in (self._initial | self._fed).items():
            self._memory.store(self.profile.points[name], value)
        for output in self._outputs.values():
            self._switch(self._state(output), Cause.POWER)

    def _wave(self) -> None:
        for rule, point in self._waves:
            if point.name not in self._fed:
                self._memory.store(point, wave(rule, self._now_us, self._seed))

    # Outputs.

    def _armed(self, output: Output) -> bool:
        """Whether the board's watchdog is set to drop this output."""
        assert self.profile.output is not None
        return all(self._memory.holds(one, output.channel) for one in self.profile.output.armed)

    def _state(self, output: Output) -> Point:
        assert self.profile.output is not None
        return self.profile.point(self.profile.output.state, output.channel)

    def _state_value(self, on: bool) -> Value:
        """A value of the state point that means on, or off."""
        spec = self.profile.output
        assert spec is not None
        if on:
            return spec.on[0]
        names = self._memory.named(spec.state)[0].spec.values
        return next((name for name in names if name not in spec.on), False)

    def _switch(self, point: Point, cause: Cause) -> None:
        """A point changed or was written again; if an output hangs on it, that follows."""
        spec = self.profile.output
        if spec is None or point.channel not in self._outputs:
            return
        output = self._outputs[point.channel]
        if point.base == spec.lease:
            seconds = self._memory.value(point)
            assert not isinstance(seconds, str), point
            self._put(self._state(output), self._state_value(on=True), cause)
            output.command(True, self._now_us + round(seconds * S), Cause.LEASE_END)
        elif point is self._state(output):
            on = self.profile.is_on(self._memory.value(point)) is True
            output.command(on, self._self_limit_us(point.channel) if on else None, Cause.SELF_LIMIT)
        self._settle(output, cause)

    def _self_limit_us(self, channel: int | None) -> int | None:
        """When a head that begins now ends by itself; a limit of 0 is none, as on the EK61."""
        spec = self.profile.output
        assert spec is not None
        if spec.class_ is not OutputClass.B_PRIME:
            return None
        limits = [spec.self_limit_s] if spec.self_limit_s else []
        if spec.limit is not None:
            value = self._memory.value(self.profile.point(spec.limit, channel))
            limits += [float(value)] if value and not isinstance(value, str) else []
        return self._now_us + round(min(limits) * S) if limits else None

    def _end(self, output: Output, cause: Cause) -> None:
        """It stops by itself. A latched bit goes on telling that it sounded."""
        state = self._state(output)
        output.command(False)
        if state.spec.evidence != "latched":
            self._put(state, self._state_value(on=False), cause)
        self._settle(output, cause)

    def _settle(self, output: Output, cause: Cause) -> None:
        switched = output.settle(self._now_us, cause)
        if switched is not None:
            self.log.append(switched)
            if switched.on and self._brown_out and not output.panel and self._sags_us is None:
                self._sags_us = self._now_us + BROWN_OUT_US

    # Points and requests.

    def _put(self, point: Point, value: Value, cause: Cause) -> None:
        """A point becomes `value` by the device itself or by the site; what depends on it follows."""
        before = self._memory.value(point)
        self._exact.pop(point.name, None)
        self._memory.store(point, value)
        if self._memory.value(point) != before:
            self._said(point, written=False, cause=cause)

    def _said(self, point: Point, written: bool, cause: Cause) -> None:
        # A board without power remembers what the site feeds it, and does nothing about it.
        if self._boots_us is None:
            self._switch(point, cause)
            self._reactions.said(self._now_us, point, self._memory.value(point), written, self._memory.holds)

    def _say(self, memory: Fields, frame: bytes) -> bytes | None:
        """What a device of a protocol of its own says."""
        heard = memory.hear(frame)
        if heard is None:
            return None
        self._wave()
        for point in heard.written:
            self._exact.pop(point.name, None)
            self._said(point, written=True, cause=Cause.WRITE)
        return memory.answer(heard)

    def _answer(self, pdu: bytes) -> bytes:
        """The reply of a strict slave."""
        try:
            request = modbus.parse_request(pdu)
        except Malformed as error:
            code = ILLEGAL_FUNCTION if isinstance(error, modbus.IllegalFunction) else ILLEGAL_VALUE
            return modbus.refusal_pdu(pdu[0] & 0x7F, code)
        if isinstance(request, Read):
            self._wave()
            words = self._memory.read(request)
            return modbus.refusal_pdu(pdu[0], words) if isinstance(words, int) else modbus.reply_pdu(request, words)
        written = self._memory.write(request)
        if isinstance(written, int):
            return modbus.refusal_pdu(pdu[0], written)
        for point in written:
            self._exact.pop(point.name, None)
            self._said(point, written=True, cause=Cause.WRITE)
        return modbus.reply_pdu(request)
