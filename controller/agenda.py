"""The agenda of a siren: its activations, from waiting for their instant to having been told how they ended.

    armed     waits for its instant; a drill of next week stands beside a warning for now
    run       has the siren, from the handing over of its first edge to the end of its timeline
    closing   has lost it, and is not told of: its off is not confirmed, or samples may still come

Each leaves by exactly one way, with one terminal stage. It refuses to know devices, and how the siren comes to be
locked out or in a fault.
"""

from collections.abc import Iterator

from controller import allowance
from controller.allowance import Allowance
from controller.event import Clock, Progress, Stop
from controller.evidence import Witness
from controller.sounding import Closing, Sounding
from controller.strain import Strain
from controller.switch import PREPARE_US, TOUCH_US
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S, earliest

LIMIT = 16
"""Drills that wait at once: a year's. As many live ones find room beside them."""
PREEMPT_US = 500 * MS
"""What sounds is ended this long before the first edge of what outranks it, so that the two are heard apart."""
LOCKED = "isolated; sounds only if released by then"
ALLOWED_MIN = allowance.ALLOWED_US // (60 * S)


class Agenda:
    """The activations of one siren. `not_before_us`: until then nothing starts (the isolator is not read yet)."""

    def __init__(self, starts_per_hour: int | None) -> None:
        self.armed: dict[str, Sounding] = {}
        self.run: Sounding | None = None
        self.not_before_us = 0
        self.allowance = Allowance()
        self._closing: list[Closing] = []
        self.strain = Strain(starts_per_hour)

    def knows(self, activation: str) -> bool:
        return any(s.order.activation == activation for s in (*self.armed.values(), *self.sounded()))

    def sounded(self) -> list[Sounding]:
        """What has the siren, then what had it last."""
        return ([] if self.run is None else [self.run]) + [c.sounding for c in reversed(self._closing)]

    def full(self, new: Sounding) -> bool:
        """Whether `new` finds no place to wait. Drills cannot fill a warning's."""
        return len(self.armed) >= (2 * LIMIT if new.order.mode is Mode.LIVE else LIMIT)

    @property
    def first(self) -> Sounding | None:
        """The one that waits for the earliest instant."""
        return min(self.armed.values(), key=_first_us, default=None)

    @property
    def more(self) -> bool:
        """What has the siren has phases that were not handed over yet."""
        return self.run is not None and self.run.next < len(self.run.phases)

    @property
    def live(self) -> bool:
        """What has the siren is a warning."""
        return self.run is not None and self.run.order.mode is Mode.LIVE

    @property
    def deadline(self) -> int | None:
        if self.run is None and not self.armed and not self._closing:
            return None
        times = [self._due_us(s) for s in self.armed.values()] + [c.due_us for c in self._closing]
        times += [s.tally.doubt_us for s in self.sounded()]
        if self.run is not None:
            times += [self.run.end_us, self.run.limit_us]
        return earliest(*times)

    # Waiting.

    def place(self, now_us: int, clock: Clock) -> None:
        """The clock was heard: what waits is placed by it."""
        for sounding in self.armed.values():
            sounding.place(now_us, clock, now_us)
        self.allowance.place(now_us, clock)
        self.strain.place(now_us, clock)

    def locked(self) -> Iterator[Progress]:
        """It is locked out from now on. Whether it is free is looked at when what waits would start."""
        for sounding in self.armed.values():
            yield from sounding.in_trouble(LOCKED)

    def stopped(self, stop: Stop) -> list[Sounding]:
        """Take out what a stop speaks of and what has not sounded yet."""
        out = [s for s in self.armed.values() if stop.order in (None, s.order.order)]
        for sounding in out:
            del self.armed[sounding.order.activation]
        return out

    def due(self, now_us: int) -> Sounding | None:
        """One whose instant has come; it is taken out."""
        for sounding in sorted(self.armed.values(), key=_first_us) if self.armed else ():
            if self.is_due(now_us, sounding):
                return self.armed.pop(sounding.order.activation)
        return None

    def is_due(self, now_us: int, new: Sounding) -> bool:
        due_us = self._due_us(new)
        return due_us is not None and due_us <= now_us

    def _due_us(self, new: Sounding) -> int | None:
        """When it is decided whether and how `new` sounds: ahead of its first edge, or when the siren is free."""
        first_us = new.first_us
        if first_us is None:
            return new.start_us
        due_us = max(first_us - PREPARE_US, self.not_before_us)
        if self.run is not None:
            due_us = max(due_us, first_us - PREEMPT_US if self.blocks(new) else self.run.last_us)
        return due_us

    def blocks(self, new: Sounding) -> bool:
        """Whether what has the siren would still have a phase when `new` begins."""
        first_us = new.first_us
        return self.run is not None and first_us is not None and self.run.last_us > first_us + TOUCH_US

    # Being let in, and being let sound. `locked`: the isolator; `fault`: the siren's, empty where it has none.

    def admit(self, now_us: int, new: Sounding, locked: bool, fault: str) -> list[Progress]:
        """Let it wait for its instant, or refuse it at once."""
        # What was cut by a restart may have sounded: that is not taken back.
        stage, refusal = Stage.FAILED if new.order.resumed else Stage.REJECTED, ""
        if new.silent:
            refusal = "nothing in it sounds"
        elif locked and not new.later(now_us + PREPARE_US):
            refusal = "isolated"
        elif not new.phases:
            stage, refusal = Stage.FAILED, new.past
        elif self.is_due(now_us, new):
            refusal = self.refusal(now_us, new, locked, fault)
        elif self.full(new):
            refusal = f"{len(self.armed)} activations wait already"
        else:
            refusal = self._refuses(now_us, new, now=False)
        if refusal:
            return [new.progress(stage, refusal)]
        self.armed[new.order.activation] = new
        return new.in_trouble(LOCKED) if locked else []

    def refusal(self, now_us: int, new: Sounding, locked: bool, fault: str) -> str:
        """Why `new`, whose instant has come, does not sound; empty: it does."""
        if not new.phases or now_us >= new.limit_us:
            return new.past
        if locked:
            return "isolated"
        if self.run is not None and self.blocks(new) and not new.outranks(self.run):
            return "outranked"
        if fault and new.order.mode is not Mode.LIVE:
            return f"fault: {fault}"
        if not new.order.fresh and allowance.refuses(new.order.mode, new.phases, self._left_us(now_us)):
            return allowance.REASON
        return self._refuses(now_us, new, now=True)

    def _left_us(self, now_us: int) -> int:
        """Of the day's allowance, what has the siren now counted in."""
        return max(0, self.allowance.left_us(now_us) - (0 if self.run is None else self.run.commanded_us(now_us)))

    # Having the siren, and losing it.

    def begin(self, now_us: int, new: Sounding) -> str:
        """`new` takes the siren. Why it will be ended early, where the day's allowance does not reach for it."""
        if new.order.fresh:
            self.allowance.renew()
        left_us = self.allowance.left_us(now_us)
        offset_us = allowance.exhausted_us(new.phases, left_us)
        assert new.start_us is not None
        new.cut_us = None if offset_us is None else new.start_us + offset_us
        self.run = new
        return "" if offset_us is None else f"{round(left_us / S)} s are left of the day's {ALLOWED_MIN} min"

    def close(self, now_us: int, stage: Stage, reason: str) -> None:
        """What has the siren loses it now; it is told so when the off is confirmed, or has not been for too long."""
        assert self.run is not None
        self._spend(now_us, self.run)
        self._closing.append(Closing(self.run, now_us, now_us, stage, reason))
        self.run = None

    def finish(self, confirmed: bool) -> None:
        """What has the siren has come to the end of its phases, or of its timeline."""
        assert self.run is not None
        self._spend(self.run.last_us, self.run)
        self._closing.append(Closing.of(self.run, confirmed))
        self.run = None

    def _spend(self, end_us: int, run: Sounding) -> None:
        run.on_us = run.commanded_us(end_us)
        self.allowance.spend(end_us, run.on_us)

    def confirm(self, off_us: int) -> None:
        """An off was confirmed."""
        for closing in self._closing:
            closing.confirmed = closing.confirmed or off_us >= closing.since_us

    def told(self, now_us: int) -> Iterator[tuple[Progress, bool]]:
        """The ends that are to be told now, each with whether its off was confirmed."""
        for closing in [c for c in self._closing if c.due_us <= now_us]:
            self._closing.remove(closing)
            yield closing.told(), closing.confirmed

    # What became of it.

    def edge(self, n: int, edge_us: int) -> Iterator[Progress]:
        """An on-edge was acknowledged; the first one is told."""
        self.strain.edge(edge_us)
        if self.run is not None:
            yield from self.run.edge(n, edge_us)

    def count(self, witness: Witness, says: bool, at_us: int) -> Iterator[Progress]:
        """A witness was read; the first phases that it proves are told.

        It speaks of the activation whose phase began last: what had the siren before is not proved by the sound of
        what has it since.
        """
        spoken = False
        for sounding in self.sounded():
            if not spoken:
                sounding.tally.took(witness, says, at_us)
            spoken = spoken or sounding.tally.begun(at_us)
            yield from sounding.proved(at_us)

    def doubts(self, now_us: int) -> Iterator[Progress]:
        """Phases that should have been seen by now."""
        for sounding in self.sounded():
            if sounding.tally.doubt_us is not None and sounding.tally.doubt_us <= now_us:
                sounding.tally.doubted = True
                yield from sounding.in_trouble("no feedback in an on-phase")

    def unclosed(self, n: int) -> None:
        """The contactor did not close in the phase `n` of what has the siren."""
        for sounding in self.sounded()[:1]:
            sounding.tally.unclosed(n)

    def trouble(self, why: str, balked: bool = False) -> Iterator[Progress]:
        """Something went wrong with what has the siren, or had it last; `balked`: a phase could not be commanded."""
        for sounding in self.sounded()[:1]:
            yield from sounding.balked(why) if balked else sounding.in_trouble(why)

    # Starts of a motor.

    def strained(self, now_us: int, new: Sounding, now: bool) -> str:
        """Why `new` would start the motor too often within an hour; `now`: with the starts of the last one."""
        return self.strain.too_much(now_us, len(new.phases), now)

    def _refuses(self, now_us: int, new: Sounding, now: bool) -> str:
        """A drill that asks too much of a motor is refused; a live one goes on, and is told of."""
        return "" if new.order.mode is Mode.LIVE else self.strained(now_us, new, now)


def _first_us(sounding: Sounding) -> int:
    return sounding.first_us or 0
