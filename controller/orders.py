"""Orders: from bytes that somebody sent to sirens that are told, and to the answers.

An order comes from the broker, or from the local door as a file. Cheap checks come first (size, shape, deployment,
known id, time), then at most CHECKS signatures a WINDOW, stops before all others, then what this gateway knows
(signal, targets, rank). What is believed goes to the journal, and only when it is durable to the sirens; a live order
goes on without the disk after a while, and a stop never waits. The same id gets the same answer and no second action.
`ledger.py` remembers; its table is the state of each siren's part.

What a technician asks for at the cabinet, or a signed rule at a flood, becomes an order of the gateway's own
(`asking.py`), with a short bound, and a stop there always works. It refuses to know devices, how a siren is driven, and
how a receipt travels.
"""

from collections.abc import Iterable, Mapping

from controller import answers, asking
from controller import trust as trust_list
from controller.dating import Dating
from controller.event import (
    Activate,
    Alarmed,
    Append,
    AppendFailed,
    Arrived,
    Ask,
    Clock,
    Degraded,
    Durable,
    Full,
    Gone,
    Notice,
    Offered,
    Poisonous,
    Progress,
    Publish,
    QuietTest,
    Record,
    Say,
    SayAgain,
    Stop,
    Trusted,
)
from controller.intake import Intake, Refusal
from controller.ledger import DATED, Accept, Entry, Kind, Ledger, Part, State
from controller.pulse import Pulse
from controller.regime import LOST, Regime
from controller.restart import GoesOn, Over, fate
from controller.signal import Signals
from controller.signers import TrustList
from controller.site import Site, Target
from controller.stopping import Plan, again, plan, released
from controller.trust import Reason, Rejected, Unverified
from controller.wall import Wall
from controller.wire import Action, Mode, Stage
from controller.withdrawal import withdrawn
from controller.writing import PULSE, Writing
from firmware_bridge.machine import MS, S, Woken, earliest

LIVE_PATIENCE_US = 200 * MS
"""A live order waits so long for the disk: the two seconds until it sounds are spent on the bus."""
DRILL_PATIENCE_US = 5 * S
"""A drill waits so long: a card that erases a block may take a second, and nobody is warned by a drill."""
STOP_PATIENCE_US = 90 * S
"""A siren that is not off by then will not be: a motor runs down in 60 s."""

OrdersEvent = (Arrived | Ask | Alarmed | Gone | Durable | AppendFailed | Progress | Clock | Trusted | Full | Poisonous
               | Woken)
OrdersEffect = Append | Activate | Stop | QuietTest | Say | SayAgain | Notice | Degraded | Publish | Offered


class Orders:
    """The machine. `boot` tells this run of the gateway from all others; `technicians` maps unix user to person;
    `chance` is what nobody can guess, for nonces."""

    def __init__(self, gateway: str, deployment: str, sirens: list[Target], signals: Signals, trust: TrustList,
                 technicians: Mapping[str, str], boot: str, safe_min: bool = False, chance: str = "") -> None:
        self.trust = trust
        self._gateway = gateway
        self._site = Site(gateway, sirens, signals, technicians, boot)
        self._intake = Intake(deployment, chance)
        self._ledger = Ledger()
        self._wall = Wall()
        self._born_us: int | None = None
        self._waiting: dict[str, Entry] = {}
        """Orders whose record is on the way to the disk, and stops whose sirens are not yet off."""
        self._writing = Writing()
        self._regime = Regime(safe_min)
        self._pulse = Pulse()
        self._dating = Dating()
        self._now_us = 0
        self._out: list[OrdersEffect] = []

    @property
    def deadline(self) -> int | None:
        return earliest(self._intake.deadline, self._pulse.deadline, *(e.until_us for e in self._waiting.values()))

    def restore(self, records: Iterable[Record], forgot: bool = False) -> None:
        """Take up what the journal holds, before the first event. What is open goes on when the clock is known.

        `forgot`: there was a journal and it is lost. What was issued before now may have been carried out already.
        """
        records = list(records)
        self._regime.restore(records, forgot)
        self._ledger.restore(records)
        self._intake.restore(records)

    def handle(self, now_us: int, event: OrdersEvent) -> list[OrdersEffect]:
        self._now_us = self._wall.now_us = now_us
        self._out = []
        if self._born_us is None:
            self._born_us = now_us
            for entry, siren, stage, reason in self._ledger.unsaid(self._site.sirens):
                self._end(entry, siren, stage, reason)
            self._stop_again()
            self._dating.take_up(now_us, self._ledger)
            self._withdraw()
        match event:
            case Arrived():
                self._arrived(event)
            case Ask() | Alarmed():
                self._asked(event)
            case Gone(client):
                self._ledger.gone(client)
            case Durable(token):
                self._durable(token)
            case AppendFailed(token, why):
                self._append_failed(token, why)
            case Progress():
                self._progressed(event)
            case Clock():
                self._wall.take(event)
                self._resume()
            case Trusted(trust):
                self.trust = trust
                self._withdraw()
            case Full():
                self._regime.safe_min = False
                self._resume()
            case Poisonous(_, why, str(id)) if self._ledger.get(id) is None:
                self._refuse(Refusal(Reason.CRASHED, id, why), None)
        for order, whose in self._intake.take(now_us):
            self._check(order, whose)
        self._due()
        self._out += self._intake.offer(now_us, self._regime.timeless)
        assert (deadline := self.deadline) is None or deadline > now_us, (deadline, now_us, event)
        return self._out

    # Arrival, and what is believed.

    def _arrived(self, event: Arrived) -> None:
        if not event.payload:
            # Somebody cleared what the broker had retained: no order.
            return
        read = self._intake.read(event)
        if isinstance(read, Unverified):
            if self._known(read, event.client):
                return
            refusal = self._intake.put(self._now_us, read, event.client, self._wall.believed_us, self._wall.error_us)
        else:
            refusal = read
        if refusal is not None:
            self._refuse(refusal, event.client)

    def _known(self, order: Unverified, client: int | None) -> bool:
        """The same id gets the same answer; another content under it gets none but a notice."""
        entry = self._ledger.get(order.body.id)
        if entry is None:
            return False
        if entry.accept.digest != order.digest:
            self._refuse(Refusal(Reason.DUPLICATE, entry.id), client)
            return True
        self._out.append(SayAgain(entry.id))
        if client is not None:
            self._out.extend(answers.standing(client, entry))
            if entry.open:
                entry.clients.add(client)
        return True

    def _refuse(self, refusal: Refusal, client: int | None) -> None:
        """Refuse what is not believed (yet): nothing is remembered by its id, so a false copy blocks no true order."""
        order, reason = refusal.order, refusal.reason
        self._out += answers.refused(order, reason, refusal.detail, client)
        if order is None or not refusal.answer or self._ledger.get(order) is not None:
            # A false copy of an order that is believed: that has an answer, and gets no second last word.
            return
        if self._intake.answered(order):
            self._out.append(SayAgain(order))
        elif self._intake.may_answer(self._now_us, order):
            at = self._wall.text
            self._out.append(Say(answers.receipt(self._gateway, order, "", Stage.REJECTED, reason, None, at)))

    def _check(self, order: Unverified, client: int | None) -> None:
        """Its turn has come: believe it or not, and if so, do it."""
        if self._known(order, client):
            return
        try:
            signed = trust_list.check(order, self.trust, self._wall.believed_us)
            self._intake.use(self._now_us, order)
        except Rejected as rejected:
            self._refuse(Refusal(rejected.reason, rejected.order, rejected.detail), client)
            return
        # Without a clock of our own the signers' is the only one there is.
        wall_us = order.issued_us if self._wall.believed_us is None else self._wall.us
        accept = self._site.accept(order, signed, client is not None, self._wall.text, wall_us)
        reason, told = self._site.judge(order.body, accept, self.trust.version)
        self._out += told
        reason = reason or self._regime.refuses(accept)
        urgent = accept.action is Action.STOP or accept.mode is Mode.LIVE
        # A stop is done even when it cannot be remembered by its id: doing it twice is doing it once.
        if accept.action is not Action.STOP and not self._ledger.make_room(urgent, self._wall.us):
            self._refuse(Refusal(Reason.BUSY, accept.order, "too many orders are known"), client)
        elif reason is not None:
            self._reject(accept, reason, client)
        elif accept.action is Action.STOP:
            self._stop(accept, client)
        else:
            self._accept(accept, client)

    def _reject(self, accept: Accept, reason: Reason, client: int | None) -> None:
        """Refuse as a whole what is believed: remembered, so that the same id gets the same answer."""
        entry = Entry.new(accept.model_copy(update={"sirens": (), "reason": reason}), (), State.DONE, client)
        self._remember(entry, "refuse")
        # What was refused before it was believed has had its last word.
        if not self._intake.answered(accept.order):
            self._answer(entry, "", Stage.REJECTED, reason)
        elif client is not None:
            self._out.extend(answers.standing(client, entry))

    def _remember(self, entry: Entry, kind: str, room: bool = True) -> None:
        """On the way to the disk, and, where there is room, into the ledger."""
        self._keep(kind, entry.accept.model_dump(mode="json", exclude_none=True), entry)
        entry.token = self._writing.token
        entry.accept = entry.accept.model_copy(update={"raw": None})
        if room:
            self._ledger.add(entry)

    # Sounding and quiet tests.

    def _accept(self, accept: Accept, client: int | None) -> None:
        refused: dict[str, Reason] = {}
        for siren in accept.sirens:
            if self._ledger.stopped(accept, siren):
                refused[siren] = Reason.STOPPED
            elif self._ledger.outranked(accept, siren, self._wall.us):
                refused[siren] = Reason.OUTRANKED
        sirens = tuple(s for s in accept.sirens if s not in refused)
        kept = {"sirens": sirens, "refused": {s: str(r) for s, r in refused.items()} or None}
        entry = Entry.new(accept.model_copy(update=kept), accept.sirens, State.WAITING, client)
        self._answer(entry, "", Stage.RECEIVED)
        entry.until_us = self._now_us + (LIVE_PATIENCE_US if accept.mode is Mode.LIVE else DRILL_PATIENCE_US)
        self._remember(entry, "accept" if sirens else "refuse")
        for siren, reason in refused.items():
            self._end(entry, siren, Stage.REJECTED, reason)
        if sirens:
            self._waiting[entry.id] = entry

    def _durable(self, token: int) -> None:
        self._disk(True)
        self._out += self._writing.took(token)
        for entry in [e for e in self._waiting.values() if e.token <= token and e.awaits_disk]:
            self._go(entry)

    def _append_failed(self, token: int, why: str) -> None:
        self._disk(False, why)
        self._writing.refused(token)
        for entry in [e for e in self._waiting.values() if e.token == token and e.awaits_disk]:
            self._go_without_disk(entry)

    def _go_without_disk(self, entry: Entry) -> None:
        self._disk(False, "no answer from the journal")
        if self._regime.goes_unwritten(entry.accept, self._wall.believed_us):
            self._go(entry)
            return
        for part in entry.parts.values():
            if part.state is State.WAITING:
                self._end(entry, part.siren, Stage.REJECTED, Reason.NO_JOURNAL)

    def _go(self, entry: Entry) -> None:
        """The record is on the disk, or a warning cannot wait for it: tell the sirens."""
        self._waiting.pop(entry.id, None)
        for part in entry.parts.values():
            if part.state is State.WAITING:
                self._give(entry, part)
                self._answer(entry, part.siren, Stage.ACCEPTED)

    def _give(self, entry: Entry, part: Part, since_us: int | None = None) -> None:
        part.step(Kind.GO)
        activation = entry.activation(part.siren)
        self._out.append(self._site.task(entry.accept, part.siren, activation, part.started, since_us))

    def _progressed(self, event: Progress) -> None:
        entry = self._ledger.get(event.order)
        part = entry.parts.get(event.siren) if entry else None
        if entry is None or part is None or part.state not in (State.GIVEN, State.SOUNDING):
            return
        if event.stage in (Stage.STARTED, Stage.SENSED, Stage.HEARD):
            part.step(Kind.STARTED)
        if event.stage not in (Stage.RECEIVED, Stage.ACCEPTED):
            if event.on_us:
                self._keep("sounded", answers.sounded(event, self._wall))
            told = self._end if event.stage.terminal else self._answer
            told(entry, part.siren, event.stage, event.reason, answers.proof(event, self._wall))

    # Stops.

    def _stop(self, accept: Accept, client: int | None) -> None:
        """End what was issued before, at once. The disk is told alongside."""
        # A stop dated by a clock that is wrong by years would forbid warnings for years.
        accept = accept.model_copy(update={"forbids": self._wall.believed_us is not None})
        entry = Entry.new(accept, accept.sirens, State.GIVEN, client)
        entry.until_us = self._now_us + STOP_PATIENCE_US
        room = self._ledger.make_room(True, self._wall.us)
        plans = {s: plan(self._ledger, accept, s) for s in accept.sirens}
        for one in plans.values():
            self._out.extend(one.told)
        if accept.forbids:
            self._ledger.remember_stop(accept)
        self._dating.wait(self._now_us, accept)
        self._remember(entry, "accept", room)
        self._answer(entry, "", Stage.RECEIVED)
        self._waiting[entry.id] = entry
        for siren, one in plans.items():
            if one.refused is not None:
                self._end(entry, siren, Stage.REJECTED, one.refused)
            else:
                self._answer(entry, siren, Stage.ACCEPTED)
            for other, part in one.cancelled:
                self._end(other, part.siren, Stage.STOPPED, accept.by)
            if one.awaited and one.refused is None:
                entry.parts[siren].awaits = set(one.awaited)
            elif one.refused is None:
                self._end(entry, siren, Stage.FINISHED, "" if one.cancelled else "nothing sounded")

    def _stop_again(self) -> None:
        """After a restart: a stop whose answer is open is done once more, before anything is taken up again."""
        for entry in [e for e in self._ledger.open() if e.accept.action is Action.STOP]:
            for part in [p for p in entry.parts.values() if p.state is State.CUT]:
                self._carry_out(entry.accept, plan(self._ledger, entry.accept, part.siren))
                self._end(entry, part.siren, Stage.FINISHED, "restarted")

    def _carry_out(self, stop: Accept, one: Plan) -> None:
        self._out.extend(one.told)
        for other, part in one.cancelled:
            self._end(other, part.siren, Stage.STOPPED, stop.by)

    def _withdraw(self) -> None:
        """What waits for its time and is not carried by the trust list any more is taken back."""
        for one in list(withdrawn(self._ledger, self.trust, self._wall.us)):
            self._out += one.told
            for part in one.parts:
                self._end(one.entry, part.siren, Stage.STOPPED, Reason.KEY_WITHDRAWN)

    # The local door.

    def _asked(self, event: Ask | Alarmed) -> None:
        client = event.client if isinstance(event, Ask) else None
        if isinstance(event, Ask) and event.verb == "order":
            self._arrived(Arrived("", str(event.args.get("text") or "?").encode(errors="replace"), client=client))
        if isinstance(event, Ask) and event.verb not in asking.VERBS:
            return
        if isinstance(event, Alarmed) and self._ledger.get(event.order) is not None:
            # Its id is that of its flood: what is known was done.
            return
        accept = asking.judge(event, self._site, self._regime, self._ledger, self._wall)
        self._out += asking.said(event, accept)
        if isinstance(accept, Accept):
            (self._stop if accept.action is Action.STOP else self._accept)(accept, client)

    # After a restart, and when the clock is heard.

    def _resume(self) -> None:
        self._out += self._regime.clock(self._wall)
        for stop in self._dating.borne_out(self._wall):
            self._ledger.date(stop)
            self._keep(DATED, {"order": stop.order})
            for one in again(self._ledger, stop):
                self._carry_out(stop, one)
        for entry, part in [(e, p) for e in self._ledger.open() for p in e.parts.values() if p.state is State.CUT]:
            self._take_up(entry, part)
        self._watch()

    def _take_up(self, entry: Entry, part: Part) -> None:
        accept = entry.accept
        if self._ledger.stopped(accept, part.siren):
            self._end(entry, part.siren, Stage.STOPPED, "stop")
            return
        match fate(accept, part.started, self._site.timeline(accept), self._wall.believed_us,
                   self._ledger.alive_wall_us, self._now_us - (self._born_us or 0), self._regime.safe_min):
            case GoesOn(cut, since_us):
                self._give(entry, part, since_us)
                if cut:
                    self._answer(entry, part.siren, Stage.TROUBLE, "cut by restart, goes on")
            case Over(stage, reason):
                # Off, even where it reads as off: a head that was told to begin just before takes its time.
                self._out.append(Stop(part.siren, accept.by, reason, entry.id))
                self._end(entry, part.siren, stage, reason)

    # Time.

    def _due(self) -> None:
        for entry in [e for e in self._waiting.values() if e.until_us is not None and e.until_us <= self._now_us]:
            if entry.accept.action is Action.STOP:
                for part in entry.parts.values():
                    if part.state is not State.DONE:
                        self._end(entry, part.siren, Stage.FAILED, "the siren did not say that it is off")
            else:
                self._go_without_disk(entry)
        for body in self._regime.unkept():
            self._keep(LOST, body)
        if self._pulse.beats(self._now_us):
            self._keep(PULSE, {} if self._wall.believed_us is None else {"at": self._wall.text})
            self._watch()

    def _keep(self, kind: str, body: Mapping[str, object], entry: Entry | None = None) -> None:
        self._out.append(self._writing.give(kind, body, entry))

    def _disk(self, works: bool, why: str = "") -> None:
        self._out += self._regime.journal(works, why)
        self._watch()

    def _watch(self) -> None:
        """While something live sounds, the journal shall know when we were last here. While it refuses, it is asked."""
        self._pulse.watch(self._now_us, self._ledger.warns(self._wall.us), self._regime.unwritten)

    # Answers.

    def _answer(self, entry: Entry, siren: str, stage: Stage, reason: str = "",
                more: Mapping[str, object] | None = None) -> None:
        """One receipt, to the hub and to the local clients that wait for this order."""
        part = entry.parts.get(siren)
        if part is not None and not stage.terminal:
            part.stage = stage
        mode = entry.accept.mode
        receipt = answers.receipt(self._gateway, entry.id, siren, stage, reason, mode, self._wall.text, more)
        self._out.append(Say(receipt))
        last = stage.terminal and not entry.open
        self._out.extend(answers.receipt_line(client, last, receipt) for client in entry.clients)
        if last:
            entry.clients.clear()

    def _end(self, entry: Entry, siren: str, stage: Stage, reason: str,
             more: Mapping[str, object] | None = None) -> None:
        """The last word on one siren. The ledger's table holds that there is only one."""
        self._ledger.end(entry, entry.parts[siren], stage, str(reason))
        self._answer(entry, siren, stage, reason, more)
        if not entry.open:
            self._waiting.pop(entry.id, None)
        if entry.accept.action is not Action.STOP:
            for stop, its in list(released(self._waiting.values(), entry.activation(siren), stage, reason)):
                self._end(stop, its.siren, Stage.FAILED if its.trouble else Stage.FINISHED, its.trouble)
