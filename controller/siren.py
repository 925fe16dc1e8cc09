"""One siren of the field: what it is asked to sound, what it does, and what it can prove of it.

A siren is not a device: it is composed of a drive, feedback, an isolator and a second off-path on any devices.
It decides which of its activations sounds (`agenda.py` keeps them), hands the phases to its switch, has what its
points tell counted (`evidence.py`) and judged (`watch.py`), and acts on it; its states are in `conduct.py`.
It refuses to know who may order what, the wire, the journal, and how an output is switched (`switch.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from controller import allowance
from controller.agenda import Agenda
from controller.allowance import Before
from controller.arming import Arming
from controller.conduct import TRANSITIONS, UNKNOWN, Move, State
from controller.config import Drive, SirenSection
from controller.event import Activate, Changed, Clock, Degraded, Lock, Notice, Progress, QuietTest, Stop, Turned
from controller.evidence import Witness
from controller.fault import PATIENCE_US, Fault
from controller.grade import Grading
from controller.isolator import Isolator
from controller.motor import Ill, Motor
from controller.phase import Balked, Off, On, Seen, Switched
from controller.quiet import Quiet
from controller.sounding import Sounding
from controller.strain import Began
from controller.switch import PREPARE_US, Switch, SwitchEvent
from controller.watch import Says, Stand, Watch
from controller.wire import Stage
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Reading, Took

AHEAD_US = PREPARE_US + 500 * MS
"""The switch knows of a phase before it prepares the end of the one before: two that touch have no off between."""
STUCK_US = 1 * S
"""An off that is not confirmed after this calls for the second off-path."""
READ_BACK_US = 1500 * MS
"""One that the device acknowledged: behind a lost answer the bus cannot read it back for a second."""

NOT_OPEN = "contactor did not open"

SirenEvent = Activate | Stop | QuietTest | Lock | Clock | Took | Edged | Ended | Presence | Woken
SirenEffect = Begin | Abort | Progress | Notice | Degraded | Turned | Changed


class Siren:
    """A machine for one siren. `others` are the profiles of the other devices it is composed of, by device.

    The tokens of its Begins are unique for this siren alone.
    """

    def __init__(self, section: SirenSection, profile: Profile, off_profile: Profile | None = None,
                 others: Mapping[str, Profile] | None = None) -> None:
        output = profile.output
        assert output is not None, "config admits only drives with an output"
        self.id = section.id
        self.state = State.IDLE
        self.isolator = Isolator(section.id, section.isolator, section.isolator_locked)
        self._section = section
        self._output = output.model_copy(update={"self_limit_s": profile.longest_s})
        tokens, drive = count(1), Drive.of(section.drive)
        self._drive = Switch(drive, profile, tokens)
        self._fault = Fault(section.id, section.second_off, off_profile, tokens)
        self._watch = Watch(section, profile, others or {})
        self._motor = Motor(section)
        self._grading = Grading(section.id, drive, profile)
        self._arming = Arming(section.id, drive, profile)
        self._quiet = Quiet(drive, profile, tokens, self._grading)
        self._growls = "growl" in profile.actions
        self._agenda = Agenda(section.starts_per_hour)
        self._clock: Clock | None = None
        self._clock_us = 0
        self._online: bool | None = None
        self._off_why = ""
        """Why the last off did not succeed."""
        self._out: list[SirenEffect] = []
        self._shown: Changed | None = None
        self._refs = frozenset({*self._motor.refs, *self._watch.refs, *self._grading.refs, *self._arming.refs,
                                *self._fault.refs, section.isolator})
        """The points that any of these looks at."""
        self.deadline: int | None = None

    @property
    def known(self) -> bool:
        """Its output was read, or was found to be unreadable: start-up need not wait for it any longer."""
        return self._watch.known or self._online is False

    def restore(self, sounded: Sequence[Before], held: str | None = None, began: Sequence[Began] = ()) -> None:
        """As the journal tells: what it sounded before the restart, why its second path held it off, if it did, and
        when its motor was started."""
        self._agenda.allowance.before.restore(sounded)
        self._agenda.strain.before.restore(began)
        if held is not None and self._fault.restore(held):
            self.state = State.FAULT
        self.deadline = self._due()

    def _due(self) -> int | None:
        return earliest(self._agenda.deadline, self._hand_over_us(), self._drive.deadline, self._fault.deadline,
                        self._stuck_us(), self._quiet.deadline, self._motor.deadline, self._watch.deadline)

    def handle(self, now_us: int, event: SirenEvent) -> list[SirenEffect]:
        self.isolator.born(now_us)
        match event:
            case Activate():
                self._activate(now_us, event)
            case Stop():
                self._stop(now_us, event)
            case QuietTest():
                busy = self._agenda.run is not None or self.state in (State.SOUNDING, State.STOPPING)
                look = (self._watch.wrong(now_us) or self._arming.why) if self._online else "drive silent"
                self._out += self._quiet.ask(now_us, event, busy, self.isolator.locked, look or self._motor.wrong)
            case Lock(_, tags):
                locked, self.isolator.tags = self.isolator.locked, tags
                self._obey_lock(now_us, locked)
            case Clock():
                self._clock, self._clock_us = event, now_us
                self._agenda.place(now_us, event)
            case Took():
                readings = [r for r in event.readings if f"{r.device}.{r.point}" in self._refs]
                if not readings and self._shown is not None and (self.deadline is None or now_us < self.deadline):
                    # Its devices have many more points than these.
                    return []
                for reading in readings:
                    self._took(now_us, reading)
                self._out += self._grading.took(readings) + self._arming.took(readings)
            case Edged() | Ended() | Presence():
                self._answered(now_us, event)
            case Woken():
                pass
        while True:
            self._advance(now_us)
            self.deadline = self._due()
            if self.deadline is None or self.deadline > now_us:
                break
        out, self._out = self._out, []
        shown = self._show()
        if shown != self._shown:
            self._shown = shown
            out.append(shown)
        return out

    def _advance(self, now_us: int) -> None:
        """Look at everything that may be due, once."""
        agenda, run = self._agenda, self._agenda.run
        agenda.not_before_us = self.isolator.wait_us
        if run is not None and now_us >= run.limit_us:
            used_up = run.cut_us is not None and now_us >= run.cut_us
            self._close(now_us, Stage.STOPPED, allowance.REASON if used_up else "limit")
        elif run is not None and now_us >= run.end_us:
            self._finish()
        while (new := agenda.due(now_us)) is not None:
            self._start(now_us, new)
        while (hand_over_us := self._hand_over_us()) is not None and hand_over_us <= now_us:
            self._hand_over(now_us)
        self._switch(now_us, Woken())
        self._out += self._fault.handle(now_us, Woken())
        stuck_us = self._stuck_us()
        if stuck_us is not None and stuck_us <= now_us:
            self._stuck(now_us, f"off not confirmed: {self._off_why or 'no answer'}")
        self._out += agenda.doubts(now_us)
        for told, confirmed in agenda.told(now_us):
            self._out.append(told)
            if told.stage is Stage.STOPPED and not confirmed:
                self._out.append(Notice("stop-unconfirmed", self.id, told.reason, urgent=True))
        self._out += self._quiet.look(now_us)
        self._out += self._watch.look(now_us)
        self._ail(now_us, self._motor.look(now_us))

    # Activations.

    def _activate(self, now_us: int, order: Activate) -> None:
        if self._agenda.knows(order.activation):
            return
        new = Sounding(order, self._output, self._section, self._watch.proofs)
        new.place(now_us, self._clock, self._clock_us)
        self._out += self._agenda.admit(now_us, new, self.isolator.locked, self._unfit)
        if self.state is State.IDLE and self._agenda.armed:
            self._go(Move.ARM)

    def _start(self, now_us: int, new: Sounding) -> None:
        """The instant of an activation has come: refuse it, or let it take the siren."""
        refusal = self._agenda.refusal(now_us, new, self.isolator.locked, self._unfit)
        if refusal:
            self._out.append(new.progress(Stage.FAILED, refusal))
            self._disarm()
            return
        run = self._agenda.run
        if run is not None and self._agenda.blocks(new):
            higher = new.order.rank > run.order.rank
            self._close(now_us, Stage.STOPPED, "outranked" if higher else "superseded")
        elif run is not None:
            self._finish()
        self._out += self._quiet.give_up(Stage.FAILED, "a sounding comes first")
        strain = self._agenda.strained(now_us, new, now=True)
        if strain:
            self._out.append(Notice("starts-per-hour", self.id, strain))
        if self.state is State.FAULT:
            self._out += self._fault.end(now_us, "ordered to sound")
        short = self._agenda.begin(now_us, new)
        if short:
            self._out.append(Notice(allowance.REASON, self.id, short, urgent=True))
        self._go(Move.START)
        if self._arming.why:
            # A warning is worth more than the bound of a board that may outlive us.
            self._out += self._agenda.trouble(self._arming.why)

    @property
    def _unfit(self) -> str:
        """What speaks against a sounding that is no warning; empty: nothing does."""
        return self._fault.why or self._arming.why

    def _hand_over_us(self) -> int | None:
        """When the switch is given the next phase."""
        run = self._agenda.run
        if run is None or not self._agenda.more or not self._drive.ready:
            return None
        return run.edges_us(run.next)[0] - AHEAD_US

    def _hand_over(self, now_us: int) -> None:
        run = self._agenda.run
        assert run is not None
        n, (on_us, off_us) = run.next, run.edges_us(run.next)
        run.next += 1
        run.tally.open(n, on_us, off_us)
        action = "growl" if run.order.growl and self._growls else "activate"
        self._switch(now_us, On(n, on_us, off_us, run.phases[n].tone, action))

    def _close(self, now_us: int, stage: Stage, reason: str) -> None:
        """End what sounds, now."""
        self._agenda.close(now_us, stage, reason)
        self._off(now_us)

    def _finish(self) -> None:
        """What sounds has come to its end by itself."""
        self._agenda.finish(self._drive.idle)
        if self.state is not State.FAULT:
            self._go(Move.END)
            if self._drive.idle:
                self._go(Move.SILENT)
                self._rest()

    def _off(self, now_us: int) -> None:
        """Silence, before everything else on the line."""
        self._motor.end()
        self._watch.claim()
        if self.state is not State.FAULT:
            self._go(Move.END)
        self._switch(now_us, Off())

    def _rest(self) -> None:
        """It is silent as far as we are concerned: what is next?"""
        if self._watch.foreign:
            self._go(Move.ADOPT)
        elif self._agenda.armed:
            self._go(Move.ARM)

    def _disarm(self) -> None:
        if self.state is State.ARMED and not self._agenda.armed:
            self._go(Move.DISARM)

    def _stop(self, now_us: int, stop: Stop) -> None:
        reason = f"by {stop.by}" + (f": {stop.reason}" if stop.reason else "")
        self._out += [s.progress(Stage.STOPPED, reason) for s in self._agenda.stopped(stop)]
        if self._quiet.test is not None and stop.order in (None, self._quiet.test.order):
            self._out += self._quiet.give_up(Stage.STOPPED, reason)
        self._disarm()
        run = self._agenda.run
        if run is not None:
            if stop.order in (None, run.order.order):
                self._close(now_us, Stage.STOPPED, reason)
        elif stop.of_nobody or self.state is not State.SOUNDING:
            # Off even if it is believed to be off; but a stop of one order leaves alone what is nobody's.
            self._off(now_us)

    # Answers of devices.

    def _answered(self, now_us: int, event: Edged | Ended | Presence) -> None:
        if event.device == self._drive.drive.device:
            if isinstance(event, Presence):
                self._online = event.online
            if isinstance(event, Ended):
                self._out += self._quiet.ended(now_us, event)
            self._switch(now_us, event)
        self._out += self._fault.handle(now_us, event)

    def _switch(self, now_us: int, event: SwitchEvent) -> None:
        for effect in self._drive.handle(now_us, event):
            match effect:
                case Begin() | Abort():
                    self._out.append(effect)
                case Balked(True, why):
                    self._out += self._agenda.trouble(why, balked=True)
                case Balked(False, why):
                    self._off_why = why
                    self._out += self._agenda.trouble(f"off: {why}")
                case Switched(True, n, edge_us):
                    if self.state is State.STARTING:
                        self._go(Move.EDGE)
                    self._out += self._agenda.edge(n, edge_us)
                    if self._agenda.run is not None:
                        self._motor.begin(n, edge_us, self._agenda.run.edges_us(n)[1])
                case Switched(False, _, off_us):
                    self._off_why = ""
                    self._motor.end()
                    self._agenda.confirm(off_us)
                    if self.state is State.STOPPING:
                        self._go(Move.SILENT)
                        self._rest()
                    self._try_clear(now_us)

    # Readings.

    def _took(self, now_us: int, reading: Reading) -> None:
        turned, locked, notice = self.isolator.turned, self.isolator.locked, self.isolator.took(reading)
        if notice is not None:
            self._out.append(notice)
        if self.isolator.turned is not turned:
            self._out.append(Turned(self.id, self.isolator.turned))
        self._obey_lock(now_us, locked)
        barred = self.isolator.locked or now_us < self.isolator.wait_us
        self._out += self._fault.took(now_us, reading, barred)
        self._ail(now_us, self._motor.took(reading))
        for witness in self._watch.of(reading):
            says = witness.hear(reading)
            if says is not None:
                self._out += self._agenda.count(witness, says, reading.at_us)
                self._act(now_us, self._watch.sound(witness, says, reading.at_us, self._stand), witness)
        if self._watch.is_own(reading):
            says = self._watch.hear_own(reading)
            if says is not None:
                self._switch(now_us, Seen(says, reading.at_us))
                self._act(now_us, self._watch.state(says, reading.at_us, self._stand), self._watch.own)

    def _obey_lock(self, now_us: int, was: bool) -> None:
        """`was` it locked before?"""
        if was and not self.isolator.locked and self._fault.held:
            # Who had it in hand gives it back: mended, or it will be held off anew.
            self._out += self._fault.end(now_us, "freed by who locked it out")
            self._try_clear(now_us)
        if self.isolator.locked:
            self._out += [] if was else self._agenda.locked()
            self._out += self._quiet.give_up(Stage.FAILED, "isolated")
            if self._agenda.run is not None:
                self._close(now_us, Stage.FAILED, "isolated")

    @property
    def _stand(self) -> Stand:
        return Stand(self._agenda.more, self._drive.idle, self._drive.quiet_us)

    def _act(self, now_us: int, says: Says, witness: Witness) -> None:
        """Do what the judgement of the watch asks for."""
        match says:
            case Says.SILENT:
                if self.state is State.SOUNDING and self._agenda.run is None and not self._watch.foreign:
                    self._out.append(Notice("sounding-ended", self.id, "it was not ours"))
                    self._go(Move.RELEASE)
                    self._rest()
                self._try_clear(now_us)
            case Says.BROKEN:
                self._broken(now_us, witness)
            case Says.STILL:
                self._still(now_us, witness)
            case Says.FOREIGN:
                self._out.append(Notice("sounding-without-order", self.id, str(witness), urgent=True))
                if self.state in (State.IDLE, State.ARMED) and self._watch.foreign:
                    self._go(Move.ADOPT)
            case Says.UNEXPECTED:
                self._out.append(Notice("unexpected-on", self.id, str(self._drive.drive), urgent=True))
                self._off(now_us)

    # What does not stop.

    def _ail(self, now_us: int, ills: Iterable[Ill]) -> None:
        """Tell what is wrong with the motor. On two phases it burns: only a warning is worth that."""
        for ill in ills:
            if ill.unclosed:
                self._agenda.unclosed(ill.n)
            ends = ill.lost and not self._agenda.live
            self._out += self._agenda.trouble(f"{ill.why}; goes on" if ill.lost and not ends else ill.why)
            if ill.new:
                self._out.append(Notice("phase-loss", self.id, ill.why, urgent=True))
            if ends and self._agenda.run is not None:
                self._close(now_us, Stage.FAILED, ill.why)

    def _broken(self, now_us: int, witness: Witness) -> None:
        """It is not silent between two phases. A drill of a siren whose contactor welded has no next one."""
        contact = witness is self._watch.contactor
        self._out += self._agenda.trouble(NOT_OPEN if contact else "sound in a silence")
        if contact and not self._agenda.live:
            self._close(now_us, Stage.FAILED, NOT_OPEN)

    def _still(self, now_us: int, witness: Witness) -> None:
        """It was turned off and is not, says its own output's state, its contactor or another witness."""
        own, contact = witness is self._watch.own, witness is self._watch.contactor
        why = NOT_OPEN if contact else "feedback shows sound after the off"
        why = "the output reads on after its off" if own else why
        self._out += self._agenda.trouble(why)
        self._stuck(now_us, why)
        self._out += self._fault.still(now_us, hold=not own, sounds=not contact)
        cut = contact and self._fault.held
        if not cut and self._drive.quiet_us is not None and now_us > self._drive.quiet_us + PATIENCE_US:
            self._off(now_us)

    def _stuck_us(self) -> int | None:
        """When an off that is not confirmed becomes a fault; before another phase it does not."""
        off_us = self._drive.off_us
        if off_us is None or self._agenda.more or not self._drive.ready or self.state is State.FAULT:
            return None
        return off_us + (READ_BACK_US if self._drive.reading_back and not self._off_why else STUCK_US)

    def _stuck(self, now_us: int, why: str) -> None:
        if self.state is not State.FAULT:
            self._go(Move.STUCK)
            self._out += self._fault.begin(now_us, why)

    def _try_clear(self, now_us: int) -> None:
        """Whether a fault is over: the off is confirmed, nothing sounds, and it does not need to be held."""
        calm = self._drive.idle and self._watch.silent and not self._fault.held
        if self.state is State.FAULT and calm:
            self._out.append(Notice("silent-after-all", self.id, self._fault.why))
            self._out += self._fault.end(now_us)
            self._go(Move.CLEAR)
            self._rest()

    # Telling.

    def _show(self) -> Changed:
        """What hub and technician see."""
        shown = self._agenda.first if self.state is State.ARMED else self._agenda.run
        why = (self.isolator.why, self._fault.why, "drive silent" if self._online is False else "", self._watch.why,
               self._motor.why, self._grading.why, self._arming.why)
        # Idle is a claim: silent, and nothing waits. Of a siren whose output nobody reads it is not made.
        unread = self._online is False or self._watch.own_us is None
        state = UNKNOWN if self.state is State.IDLE and unread else self.state.value
        return Changed(self.id, state, "; ".join([part for part in why if part]),
                       None if shown is None else shown.order.activation,
                       None if shown is None else shown.order.mode, *self._grading.shown)

    def _go(self, move: Move) -> None:
        self.state = TRANSITIONS[self.state, move]
