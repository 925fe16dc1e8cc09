"""The switch works one output of one device: on for a phase, off at its end, and off until that is confirmed.

It hands each edge to the device ahead of its instant, writes leases that end with the phase, renews them, and
tries again what failed, within the phase and no longer. An off is tried for ever. BOUNDED-ON is kept here.
It refuses to know what sounds, by whose order, and whether anybody heard it (`siren.py`, `evidence.py`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from controller.config import Drive
from controller.phase import Balked, Off, On, Seen, Switched
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence, Priority
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.profile import OutputClass, Profile
from firmware_bridge.reading import Quality, Reading

PREPARE_US = 1500 * MS
"""An edge is handed over this long before its instant: the steps before it (arm, set tone) take a few writes."""
LAST_CALL_US = 200 * MS
"""What still runs on the output this long before an edge is overtaken by it: several writes at 9600 baud."""
OFF_WAIT_US = 500 * MS
"""How long a new phase waits for an off under way, so that one sounding does not run into the next."""
TOUCH_US = 100 * MS
"""Phases nearer than this are not parted by an off: no siren could be heard to pause."""
LATE_US = 500 * MS
"""A prepared on-edge may be this late: one write each of the eight sirens of a board, and the GOLDEN tolerance."""
START_LATE_US = 2 * S
"""An on-edge without an instant may be this late: LIVENESS allows it, and arming a head takes several writes."""
LEASE_LIMIT_S = 5.0
"""No lease is longer, whatever the board could do (BOUNDED-ON)."""
COVER_US = 150 * MS
"""A lease that ends this near the end of the phase covers it: boards count in 0.1 s, rounded down."""
RETRY_ON_US = 2 * S
"""Between tries of an on that failed twice; a dead unit must not fill its line."""
WORTH_US = 1 * S
"""With less than this left of a phase, a failed on is not tried again."""
RENEW_RETRY_US = 500 * MS
"""Between tries of a renewal that failed: some fit into what the lease has left."""
RETRY_OFF_US = 500 * MS
"""Between tries of an off ..."""
RETRY_OFF_FAST_US = 10 * S
"""... for this long; then the lease is over, and a dead unit must not starve the others on its line."""
RETRY_OFF_SLOW_US = 5 * S
"""Between later tries of an off, for ever. A unit that comes back is tried at once."""
FLIGHT_LIMIT_US = 3 * S
"""An off that has not ended by now is begun anew: a device that never answers must not stop a stop."""
SETTLE_US = 1 * S
"""A state read this soon after an edge may still be the one before it."""
HELD_S = 3600.0
"""What an action is told to be left of a phase without an end."""


class State(Enum):
    """How the output stands, as far as we commanded it.

    UNKNOWN: nothing was commanded since the start. It may be on from before.

    TURNING_ON: an activate is with the device, or failed and waits for its next try.

    ON: the device acknowledged the edge. Leases are renewed.

    TURNING_OFF: a cancel is with the device (perhaps for a later instant), or failed and waits for its next try.

    OFF: the device confirmed the off.
    """

    UNKNOWN = "unknown"
    TURNING_ON = "turning on"
    ON = "on"
    TURNING_OFF = "turning off"
    OFF = "off"


class Move(Enum):
    ACTIVATE = "an activate is begun"
    EDGE = "the device acknowledged the on-edge"
    FALL = "the on turned out not to hold"
    CANCEL = "a cancel is begun"
    CONFIRM = "the device did the cancel"


TRANSITIONS: dict[tuple[State, Move], State] = {
    **{(state, Move.ACTIVATE): State.TURNING_ON for state in State},
    **{(state, Move.CANCEL): State.TURNING_OFF for state in State},
    (State.TURNING_ON, Move.EDGE): State.ON,
    (State.TURNING_ON, Move.FALL): State.TURNING_ON,
    (State.ON, Move.FALL): State.TURNING_ON,
    (State.TURNING_OFF, Move.CONFIRM): State.OFF,
}


SwitchEvent = On | Off | Seen | Edged | Ended | Presence | Woken
SwitchEffect = Begin | Abort | Switched | Balked


@dataclass(slots=True)
class _Flight:
    """The action that is with the device."""

    begin: Begin
    limit_us: int
    lease_us: int = 0
    edged: bool = False


class Switch:
    """A machine for one output. Two phases at most are known to it: the one in force and the next."""

    def __init__(self, drive: Drive, profile: Profile, tokens: Iterator[int]) -> None:
        output = profile.output
        assert output is not None, "config admits only devices with an output"
        self.drive = drive
        self.state = State.UNKNOWN
        self.off_us: int | None = None
        """From when on it should be off, while that is not confirmed."""
        self.quiet_us: int | None = None
        """When it was last turned off, confirmed."""
        self._output = output
        self._tokens = tokens
        self._renews = output.class_ is OutputClass.B or (
            output.class_ is OutputClass.A and "renew" in profile.actions)
        # The edge is the step that is marked so, else the last write.
        writes = [step.set for step in sorted(profile.actions["activate"], key=lambda s: s.edge) if step.set]
        self._trigger = profile.point(writes[-1], drive.channel).spec.write == "trigger"
        state = profile.point(output.state, drive.channel)
        self.point = f"{drive.device}.{state.name}"
        """What tells of it."""
        self._latched = state.spec.evidence == "latched"
        self._profile = profile
        self._lease_max_s = min(LEASE_LIMIT_S, output.lease_max_s)
        # A renewal may be lost once: two fit into every lease, whatever the profile says.
        self._renew_us = min(output.renew_ms * MS, round(self._lease_max_s * S / 2))
        self._phase: On | None = None
        self._next: On | None = None
        self._flight: _Flight | None = None
        self._tries = 0
        self._tried_us = 0
        self._again_us: int | None = None
        self._edge_us = 0
        self._lease_end_us = 0

    @property
    def idle(self) -> bool:
        """Nothing is on, nothing is to come, and no off is outstanding."""
        return self.state in (State.UNKNOWN, State.OFF) and self._next is None

    @property
    def ready(self) -> bool:
        """It can take the next phase."""
        return self._next is None

    def read(self, reading: Reading) -> Seen | None:
        """What a reading says of this output now. A latched bit tells of the past."""
        if f"{reading.device}.{reading.point}" != self.point or reading.quality is not Quality.GOOD or self._latched:
            return None
        on = self._profile.is_on(reading.value)
        return None if on is None else Seen(on, reading.at_us)

    @property
    def reading_back(self) -> bool:
        """Whether the device acknowledged the off and has not said yet how it reads."""
        return self.state is State.TURNING_OFF and self._flight is not None and self._flight.edged

    def on_for_us(self, now_us: int) -> int:
        """How long it has been on without a break, as far as it acknowledged."""
        return now_us - self._edge_us if self.state is State.ON else 0

    @property
    def deadline(self) -> int | None:
        calm = self._phase is None and self._next is None and self._flight is None
        return self._again_us if calm else earliest(
            self._begin_us(), self._cancel_us(), self._again_us, self._overdue_us())

    def handle(self, now_us: int, event: SwitchEvent) -> list[SwitchEffect]:
        out: list[SwitchEffect] = []
        match event:
            case On():
                self._next = event
            case Off():
                self._phase = self._next = None
                out += self._cut(now_us)
            case Seen():
                out += self._seen(now_us, event)
            case Edged() if self._flight is not None and event.token == self._flight.begin.token:
                out += self._edged(self._flight, event.edge_us)
            case Ended() if self._flight is not None and event.token == self._flight.begin.token:
                out += self._ended(now_us, self._flight, event)
            case Presence(device, True) if device == self.drive.device and self._again_us is not None:
                self._again_us = now_us
        return out + self._step(now_us)

    # What is due, and when.

    def _begin_us(self) -> int | None:
        """When the next phase's activate may be handed over."""
        phase, nxt = self._phase, self._next
        if nxt is None:
            return None
        match self.state:
            case State.UNKNOWN | State.OFF:
                return nxt.at_us - PREPARE_US
            case State.TURNING_OFF:
                assert self.off_us is not None
                if self._flight is None:
                    return max(nxt.at_us - OFF_WAIT_US, self.off_us)
                return max(nxt.at_us - LAST_CALL_US, self.off_us + OFF_WAIT_US)
            case State.ON | State.TURNING_ON:
                if not self._touching or phase is None or phase.until_us is None:
                    return None
                return nxt.at_us - (PREPARE_US if self._at_rest and self._covered else LAST_CALL_US)

    def _cancel_us(self) -> int | None:
        """When the cancel that ends the phase is handed over: early, but not over the head of an activate or renew."""
        phase = self._phase
        if phase is None or phase.until_us is None or self._touching or self.state not in (State.ON, State.TURNING_ON):
            return None
        return phase.until_us - (PREPARE_US if self._at_rest and self._covered else LAST_CALL_US)

    def _overdue_us(self) -> int | None:
        """When a cancel that never ended is begun anew."""
        return self._flight.limit_us if self._flight is not None and self.state is State.TURNING_OFF else None

    @property
    def _touching(self) -> bool:
        """Whether the next phase follows this one without a pause."""
        phase, nxt = self._phase, self._next
        return phase is not None and nxt is not None and phase.until_us is not None \
            and nxt.at_us - phase.until_us < TOUCH_US

    @property
    def _at_rest(self) -> bool:
        return self._flight is None or self._flight.edged

    @property
    def _covered(self) -> bool:
        """Whether what was written lasts to the end of the phase, so that nothing more is written in it."""
        phase = self._phase
        if self._output.class_ is not OutputClass.B:
            return self.state is State.ON or self._again_us is None
        return phase is not None and phase.until_us is not None and self._lease_end_us >= phase.until_us - COVER_US

    def _step(self, now_us: int) -> list[SwitchEffect]:
        """Do what is due; each act takes away its own reason, so this ends."""
        out: list[SwitchEffect] = []
        while (due_us := self.deadline) is not None and due_us <= now_us:
            begin_us, cancel_us, overdue_us = self._begin_us(), self._cancel_us(), self._overdue_us()
            if begin_us is not None and begin_us <= now_us:
                out += self._begin(now_us)
            elif cancel_us is not None and cancel_us <= now_us:
                phase = self._phase
                assert phase is not None
                assert phase.until_us is not None
                out.append(self._cancel(now_us, phase.until_us))
            elif overdue_us is not None and overdue_us <= now_us:
                self._flight = None
                out.append(Balked(False, "no end of the cancel"))
                self._again_us = now_us
            elif self._again_us is not None and self._again_us <= now_us:
                out += self._again(now_us)
        return out

    # Acts.

    def _begin(self, now_us: int) -> list[SwitchEffect]:
        """Put the next phase in force."""
        phase, self._next = self._next, None
        assert phase is not None
        if phase.until_us is not None and phase.until_us - max(now_us, phase.at_us) < LAST_CALL_US:
            return [Balked(True, "no time left in the phase")]
        self._phase = phase
        self._tries = self._lease_end_us = 0
        self.off_us = None
        return [self._activate(now_us)]

    def _activate(self, now_us: int) -> Begin:
        phase = self._phase
        assert phase is not None
        self._go(Move.ACTIVATE)
        self._tries += 1
        self._tried_us = now_us
        ahead = phase.at_us > now_us
        at_us = phase.at_us if ahead else now_us
        expires_us = at_us + (LATE_US if ahead else START_LATE_US)
        if phase.until_us is not None:
            expires_us = min(expires_us, phase.until_us)
        return self._fly(phase.action, at_us, phase.at_us if ahead else None, expires_us)

    def _renew(self, now_us: int) -> Begin:
        phase = self._phase
        assert phase is not None, "it is on"
        expires_us = now_us + LATE_US if phase.until_us is None else min(now_us + LATE_US, phase.until_us)
        # After a lapse the output is off: the whole action is needed again, not the lease alone.
        lapsed = self._output.class_ is OutputClass.B and self._lease_end_us <= now_us
        return self._fly(phase.action if lapsed else "renew", now_us, None, expires_us)

    def _fly(self, action: str, from_us: int, at_us: int | None, expires_us: int) -> Begin:
        """Hand an activate or a renew to the device; its lease is counted from `from_us` and ends with the phase."""
        phase = self._phase
        assert phase is not None
        rest_s = HELD_S if phase.until_us is None else (phase.until_us - from_us) / S
        lease_s = min(self._lease_max_s, rest_s)
        # A lease ends with the phase at the latest. A head's own limit is only a net under the off-edge, and many
        # count whole seconds: cut to them it would end a phase that was tried twice before its time.
        args: dict[str, float | int | bool | str] = {"lease_s": lease_s, "rest_s": math.ceil(rest_s)}
        tones = self._output.tones
        if tones:
            args["tone"] = tones.get(phase.tone, next(iter(tones.values())))
        begin = Begin(self.drive.device, action, next(self._tokens), self.drive.channel, args, Priority.ORDER,
                      at_us, expires_us)
        self._flight = _Flight(begin, from_us + FLIGHT_LIMIT_US, round(lease_s * S))
        self._again_us = None
        return begin

    def _cancel(self, now_us: int, off_us: int) -> Begin:
        """Off at `off_us`: ahead of it as an ordered edge, from then on as a stop."""
        self._go(Move.CANCEL)
        self._phase = None
        self.off_us = off_us
        self._again_us = None
        ahead = off_us > now_us
        begin = Begin(self.drive.device, "cancel", next(self._tokens), self.drive.channel, None,
                      Priority.ORDER if ahead else Priority.STOP, off_us if ahead else None, None)
        self._flight = _Flight(begin, max(off_us, now_us) + FLIGHT_LIMIT_US)
        return begin

    def _cut(self, now_us: int) -> list[SwitchEffect]:
        """Off now; what is with the device is taken back first."""
        out: list[SwitchEffect] = []
        if self._flight is not None:
            out.append(Abort(self.drive.device, self._flight.begin.token))
        return [*out, self._cancel(now_us, now_us)]

    def _again(self, now_us: int) -> list[SwitchEffect]:
        """The retry or renewal whose time has come."""
        self._again_us = None
        if self.state is State.TURNING_OFF:
            assert self.off_us is not None
            # The pace is counted from the first try, so `off_us` stays what it was.
            return [self._cancel(now_us, self.off_us)]
        if self.state is State.ON:
            return [self._renew(now_us)]
        return [self._activate(now_us)] if self._worth(now_us) else []

    # Answers.

    def _edged(self, flight: _Flight, edge_us: int) -> list[SwitchEffect]:
        """The device acknowledged the edge of what it was given."""
        before, flight.edged = flight.edged, True
        if before or flight.begin.action == "cancel":
            return []
        phase = self._phase
        assert phase is not None, "a phase ends with a cancel, and that takes the flight"
        self._lease_end_us = edge_us + flight.lease_us
        if self._renews and not (self._covered and self._output.class_ is OutputClass.B):
            self._again_us = edge_us + self._renew_us
        if self.state is not State.TURNING_ON:
            return []
        self._go(Move.EDGE)
        self._edge_us = edge_us
        return [Switched(True, phase.n, edge_us)]

    def _ended(self, now_us: int, flight: _Flight, ended: Ended) -> list[SwitchEffect]:
        if flight.begin.action == "cancel":
            self._flight = None
            return [self._cancelled(now_us, ended)]
        # An action whose edge is not marked, or whose answer was lost and read back, is done without an Edged.
        edge_us = now_us if ended.edge_us is None else ended.edge_us
        out = self._edged(flight, edge_us) if ended.done else []
        self._flight = None
        if not ended.done:
            out.append(Balked(True, ended.why))
            if flight.begin.action == "renew" or (self.state is State.ON and not flight.edged):
                self._again_us = now_us + RENEW_RETRY_US
            else:
                self._go(Move.FALL)
                self._retry_on(now_us, left=ended.edge_us is not None)
        return out

    def _cancelled(self, now_us: int, ended: Ended) -> SwitchEffect:
        assert self.off_us is not None
        if not ended.done:
            pace_us = RETRY_OFF_US if now_us - self.off_us < RETRY_OFF_FAST_US else RETRY_OFF_SLOW_US
            self._again_us = now_us + pace_us
            if self.off_us > now_us:
                self._again_us = min(self._again_us, self.off_us)
            return Balked(False, ended.why)
        self._go(Move.CONFIRM)
        self.quiet_us = max(self.off_us, now_us if ended.edge_us is None else ended.edge_us)
        self.off_us = None
        return Switched(False, 0, self.quiet_us)

    def _retry_on(self, now_us: int, left: bool) -> None:
        """Once at once, then slowly. What left for the wire and must not be heard twice waits for a read-back."""
        if left and (self._trigger or (self._phase is not None and self._phase.action == "growl")):
            self._again_us = None
        else:
            self._again_us = now_us if self._tries == 1 else max(now_us, self._tried_us) + RETRY_ON_US

    def _seen(self, now_us: int, seen: Seen) -> list[SwitchEffect]:
        """What the output's own state point says of what we commanded."""
        phase = self._phase
        if seen.on and self._untouched and not self._latched:
            return self._clear(now_us, phase or self._next)
        if phase is None:
            return []
        if self.state is State.TURNING_ON and self._flight is None and self._again_us is None \
                and seen.at_us > self._tried_us:
            if not seen.on:
                self._again_us = now_us if self._tries == 1 else max(now_us, self._tried_us + RETRY_ON_US)
            elif not self._latched:
                # The answer was lost, not the trigger.
                self._go(Move.EDGE)
                self._edge_us = self._tried_us
                return [Switched(True, phase.n, self._tried_us)]
        elif self.state is State.ON and self._at_rest and not seen.on and not self._latched \
                and self._output.class_ is not OutputClass.B and seen.at_us >= self._edge_us + SETTLE_US \
                and self._worth(now_us):
            # A brown-out, or a board watchdog. A lease is written again anyhow.
            self._flight = None
            self._go(Move.FALL)
            self._again_us = max(now_us, self._tried_us + RETRY_ON_US)
            return [Balked(True, "the output fell back")]
        return []

    @property
    def _untouched(self) -> bool:
        """Whether no edge of ours, on or off, is known yet: what is on now is on from before this start."""
        return self.quiet_us is None and not self._edge_us and self.state in (State.UNKNOWN, State.TURNING_ON)

    def _clear(self, now_us: int, coming: On | None) -> list[SwitchEffect]:
        """It is on from before, in the silence ahead of our first phase: off first, or that silence is not heard."""
        if coming is None or coming.at_us - now_us < LAST_CALL_US or None not in (self._phase, self._next):
            return []
        self._next = coming
        return [Balked(False, "on from before this start"), *self._cut(now_us)]

    def _worth(self, now_us: int) -> bool:
        """Whether enough of the phase is left for another try."""
        until_us = None if self._phase is None else self._phase.until_us
        return until_us is None or until_us - now_us >= WORTH_US

    def _go(self, move: Move) -> None:
        self.state = TRANSITIONS[self.state, move]
