"""Orders: from bytes that somebody sent to sirens that are told, and to the answers.

An order comes from the broker, or from the local door as a file. Cheap checks come first (size, shape, deployment,
known id, time), then at most CHECKS signatures a WINDOW, stops before all others, then what this gateway knows
(signal, targets, rank). What is believed goes to the journal, and only when it is durable to the sirens; a live order
goes on without the disk after a while, and a stop never waits. The same id gets the same answer and no second action.
`ledger.py` remembers; its table is the state of each siren's part.

What a technician asks for at the cabinet becomes an order of the gateway's own, with a short bound, and a stop there
always works. It refuses to know devices, how a siren is driven, and how a receipt travels.
"""

import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller import trust as trust_list
from controller import wire
from controller.event import (
    Activate,
    Append,
    AppendFailed,
    Arrived,
    Ask,
    Clock,
    Degraded,
    Durable,
    Gone,
    Notice,
    Progress,
    Publish,
    QuietTest,
    Rank,
    Record,
    Say,
    SayAgain,
    Stop,
    Trust,
)
from controller.ledger import Accept, Entry, Kind, Ledger, Part, State
from controller.signal import ACTIVATION_MARGIN_S, PROGRAMME_LIMIT_S, Family, Phase, Segment, Signals, Timeline
from controller.trust import Reason, Rejected, Signed, TrustList, Unverified
from controller.wire import BLANK_INSTANT, Action, Layer, Mode, Receipt, Stage
from firmware_bridge.machine import MS, S, Woken, earliest

CHECKS = 8
"""Signatures verified in one WINDOW: 1.5 ms of a PC, about 10 ms of a small Pi."""
WINDOW_US = 10 * MS
STOP_CHECKS = 6
"""Of those, for stops while orders wait too: a flood of false stops must not silence a warning."""
QUEUE_LIMIT = 256
"""Orders, and as many stops, that wait for their signatures: two thirds of a second's work."""
LIVE_PATIENCE_US = 200 * MS
"""A live order waits so long for the disk: the two seconds until it sounds are spent on the bus."""
DRILL_PATIENCE_US = 5 * S
"""A drill waits so long: a card that erases a block may take a second, and nobody is warned by a drill."""
STOP_PATIENCE_US = 90 * S
"""A siren that is not off by then will not be: a motor runs down in 60 s."""
FUTURE_US = 2 * S
"""How far the issuer's clock may be ahead of ours, beyond our own error."""
LIFETIME_US: Mapping[tuple[Action, Mode], int] = {
    (Action.SOUND, Mode.LIVE): 300 * S,
    (Action.SOUND, Mode.DRILL): 24 * 3600 * S,
    (Action.QUIET_TEST, Mode.SILENT): 24 * 3600 * S,
    (Action.STOP, Mode.LIVE): 600 * S,
    (Action.STOP, Mode.DRILL): 600 * S,
}
"""Longest time in which an order may begin (not_before to expires_at): who holds one back cannot hold it for long."""
AHEAD_US = 60 * 24 * 3600 * S
"""How long before it expires an order may be issued: a test-sounding is signed weeks ahead, not years."""
OUTAGE_US = 60 * S
"""After a longer one a live warning that a restart cut is not taken up: the centre must decide again."""
ALIVE_US = 20 * S
"""While something live sounds, the journal is told so often that we are here: what an outage is counted from."""
GROWL_S = 3
"""A technician's sounding."""
MAINTENANCE_S = 15
"""The same with the site under maintenance."""
LOCAL_EXPIRY_US = 30 * S
"""A local request that could not begin by then is no more what the person at the cabinet expects."""
REFUSED_LIMIT = 256
"""Orders that were refused unbelieved and whose answer is not said twice."""
ANSWERS = 256
"""Such answers at once, refilled at one a second: who floods us does not fill the journal."""

FAMILY_RANK: Mapping[Family, Rank] = {
    "air-raid": Rank.AIR_RAID, "all-clear": Rank.AIR_RAID, "disaster": Rank.DISASTER,
    "flood": Rank.FLOOD, "test": Rank.FLOOD,
}
"""What is live ranks by its family. An all-clear ends the gravest, so it ranks with it."""

ONLY_TECHNICIANS = "只有授权的技术员可以这样做 / only a technician listed in gateway.toml may do this"
NO_SUCH_SIREN = "本网关没有这个警报器 / this gateway has no such siren"
TOO_LONG = (f"最长 {GROWL_S} 秒，维护状态下 {MAINTENANCE_S} 秒；更长须用签名命令 / "
            f"at most {GROWL_S} s, under maintenance {MAINTENANCE_S} s; for more use a signed order")

OrdersEvent = Arrived | Ask | Gone | Durable | AppendFailed | Progress | Clock | Woken
OrdersEffect = Append | Activate | Stop | QuietTest | Say | SayAgain | Notice | Degraded | Publish


@dataclass(frozen=True, slots=True)
class Target:
    """A siren of this gateway, as far as an order can mean it."""

    id: str
    area: str
    layer: Layer


class Orders:
    """The machine. `boot` tells this run of the gateway from all others; `technicians` maps unix user to person."""

    def __init__(self, gateway: str, area: str, deployment: str, sirens: list[Target], signals: Signals,
                 trust: TrustList, technicians: Mapping[str, str], boot: str) -> None:
        self.trust = trust
        self._gateway = gateway
        self._area = area
        self._deployment = deployment
        self._sirens = {s.id: s for s in sirens}
        self._signals = signals
        self._technicians = technicians
        self._boot = boot
        self._ledger = Ledger()
        self._clock: Clock | None = None
        self._clock_us = 0
        self._born_us: int | None = None
        self._cut: list[Entry] = []
        self._waiting: dict[str, Entry] = {}
        """Orders whose record is on the way to the disk, and stops whose sirens are not yet off."""
        self._stops: deque[tuple[Unverified, int | None]] = deque()
        self._queue: deque[tuple[Unverified, int | None]] = deque()
        self._checked = 0
        self._window_us = 0
        self._token = 0
        self._local = 0
        self._no_journal = False
        self._no_time = False
        self._alive_us: int | None = None
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._answers = float(ANSWERS)
        self._answers_us = 0
        self._now_us = 0
        self._out: list[OrdersEffect] = []

    @property
    def deadline(self) -> int | None:
        queued = self._window_us + WINDOW_US if self._stops or self._queue else None
        return earliest(queued, self._alive_us, *(e.until_us for e in self._waiting.values()))

    def restore(self, records: Iterable[Record]) -> None:
        """Take up what the journal holds, before the first event. What is open goes on when the clock is known."""
        self._ledger.restore(records)
        self._cut = self._ledger.open()

    def handle(self, now_us: int, event: OrdersEvent) -> list[OrdersEffect]:
        self._now_us = now_us
        self._out = []
        if self._born_us is None:
            self._born_us = now_us
            self._stop_again()
        match event:
            case Arrived():
                self._arrived(event)
            case Ask():
                self._asked(event)
            case Gone(client):
                for entry in self._ledger.open():
                    entry.clients.discard(client)
            case Durable(token):
                self._durable(token)
            case AppendFailed(token, why):
                self._append_failed(token, why)
            case Progress():
                self._progressed(event)
            case Clock():
                self._clock, self._clock_us = event, now_us
                self._resume(event)
            case Woken():
                pass
        self._check_queues()
        self._due()
        assert (deadline := self.deadline) is None or deadline > now_us, (deadline, now_us, event)
        return self._out

    # Arrival: what costs little.

    def _arrived(self, event: Arrived) -> None:
        if not event.payload:
            # Somebody cleared what the broker had retained: no order.
            return
        try:
            order = trust_list.peek(event.payload)
        except Rejected as rejected:
            self._refuse(rejected.reason, rejected.order, rejected.detail, event.client)
            return
        body = order.body
        if event.retained:
            self._refuse(Reason.RETAINED, body.id, f"on {event.topic}", event.client, answer=False)
        elif body.deployment != self._deployment:
            self._refuse(Reason.WRONG_DEPLOYMENT, body.id, f"for {body.deployment}", event.client)
        elif not self._known(order, event.client):
            reason = self._untimely(order)
            queue = self._stops if body.action is Action.STOP else self._queue
            if reason is not None:
                self._refuse(reason, body.id, f"{body.not_before} to {body.expires_at}", event.client)
            elif len(queue) >= QUEUE_LIMIT:
                self._refuse(Reason.BUSY, body.id, f"{len(queue)} orders wait", event.client, answer=False)
            else:
                queue.append((order, event.client))

    def _known(self, order: Unverified, client: int | None) -> bool:
        """The same id gets the same answer; another content under it gets none but a notice."""
        entry = self._ledger.get(order.body.id)
        if entry is None:
            return False
        if entry.accept.digest != order.digest:
            # No receipt: it would speak of the order that is known.
            self._refuse(Reason.DUPLICATE, entry.id, "", client, answer=False)
            return True
        self._out.append(SayAgain(entry.id))
        if client is not None:
            if entry.accept.reason:
                self._tell(client, order=entry.id, stage=Stage.REJECTED, reason=entry.accept.reason, last=True)
            for n, part in enumerate(entry.parts.values(), 1):
                self._tell(client, order=entry.id, siren=part.siren, stage=part.stage or Stage.RECEIVED,
                           reason=part.reason, last=n == len(entry.parts) and not entry.open)
            if entry.open:
                entry.clients.add(client)
        return True

    def _untimely(self, order: Unverified) -> Reason | None:
        """Whether the clock forbids it. A stop needs no believable clock: it ends only what was issued before it."""
        body = order.body
        last_start_us = order.start_us if order.start_us is not None else order.not_before_us
        if not order.not_before_us <= last_start_us <= order.expires_us or order.issued_us > order.expires_us:
            return Reason.BAD_WINDOW
        if (order.expires_us - order.not_before_us > LIFETIME_US[body.action, body.mode]
                or order.expires_us - order.issued_us > AHEAD_US):
            return Reason.TOO_LONG
        wall_us, error_us = self._believed_wall_us(), self._clock.error_us if self._clock else 0
        if wall_us is None:
            if body.action is Action.STOP:
                return None
            self._degraded_time(True)
            return Reason.NO_TIME
        if wall_us - error_us > order.expires_us:
            return Reason.EXPIRED
        if order.issued_us > wall_us + error_us + FUTURE_US:
            return Reason.NOT_YET
        if order.start_us is None and wall_us + error_us < order.not_before_us:
            return Reason.NOT_YET
        return None

    def _refuse(self, reason: Reason, order: str | None, detail: str, client: int | None, answer: bool = True) -> None:
        """Refuse what is not believed (yet): nothing is remembered by its id, so a false copy blocks no true order."""
        self._out.append(Notice("order-refused", order or "", f"{reason}: {detail}" if detail else str(reason)))
        if client is not None:
            self._tell(client, order=order, stage=Stage.REJECTED, reason=reason, text=detail, last=True)
        if order is None or not answer:
            return
        if order in self._refused:
            self._out.append(SayAgain(order))
            return
        self._answers = min(ANSWERS, self._answers + (self._now_us - self._answers_us) / S)
        self._answers_us = self._now_us
        if self._answers >= 1:
            self._answers -= 1
            self._refused[order] = None
            if len(self._refused) > REFUSED_LIMIT:
                self._refused.popitem(last=False)
            self._say(Receipt(seq=0, gateway=self._gateway, order=order, stage=Stage.REJECTED, reason=reason,
                              at=self._instant()))

    # Signatures, and what is believed.

    def _check_queues(self) -> None:
        if self._now_us - self._window_us >= WINDOW_US:
            self._window_us, self._checked = self._now_us, 0
        for queue, limit in ((self._stops, STOP_CHECKS if self._queue else CHECKS), (self._queue, CHECKS)):
            while queue and self._checked + len(queue[0][0].kids) <= limit:
                order, client = queue.popleft()
                self._checked += len(order.kids)
                if not self._known(order, client):
                    self._check(order, client)

    def _check(self, order: Unverified, client: int | None) -> None:
        try:
            signed = trust_list.check(order, self.trust, self._believed_wall_us())
        except Rejected as rejected:
            self._refuse(rejected.reason, rejected.order, rejected.detail, client)
            return
        body = signed.body
        accept = Accept(
            order=body.id, digest=order.digest, action=body.action, mode=body.mode, rank=self._rank(signed),
            by=", ".join(sorted(signed.persons)), persons=tuple(sorted(signed.persons)),
            door="mqtt" if client is None else "local", at=self._instant(),
            issued_wall_us=order.issued_us, expires_wall_us=order.expires_us,
            start_wall_us=self._wall_us() if order.start_us is None else order.start_us,
            scheduled=order.start_us is not None, limit_us=self._limit_us(signed),
            sirens=tuple(s.id for s in self._sirens.values() if body.targets(s.id, s.area, s.layer)),
            sound=body.sound.name if body.sound else None, sound_digest=body.sound.digest if body.sound else None,
            stops=body.stops, stops_live=signed.may(Action.STOP, Mode.LIVE) is None, raw=order.raw,
        )
        reason = self._unfit(signed, accept)
        if reason is not None:
            self._reject(accept, reason, client)
        elif body.action is Action.STOP:
            self._stop(accept, client)
        else:
            self._accept(accept, client)

    def _rank(self, signed: Signed) -> Rank:
        body = signed.body
        if body.mode is not Mode.LIVE or body.sound is None or body.sound.name not in self._signals:
            return Rank.DRILL if body.mode is not Mode.SILENT else Rank.TECHNICIAN
        return max(FAMILY_RANK[f] for f in self._signals.families(body.sound.name))

    def _limit_us(self, signed: Signed) -> int:
        body = signed.body
        if body.sound is None or body.sound.name not in self._signals:
            return 0
        limit_us = self._signals.timeline(body.sound.name).end_us + ACTIVATION_MARGIN_S * S
        return limit_us if body.max_duration_s is None else min(limit_us, body.max_duration_s * S)

    def _unfit(self, signed: Signed, accept: Accept) -> Reason | None:
        """Why an order that is believed cannot be done here at all."""
        body = signed.body
        if body.trust_version > self.trust.version:
            self._out.append(Notice("trust-behind", body.id, f"{self.trust.version} here, {body.trust_version} there"))
            # A warning is worth more than the freshest list; a drill is not.
            if body.action is not Action.STOP and body.mode is not Mode.LIVE:
                return Reason.STALE_TRUST
        if body.sound is not None:
            if body.sound.name not in self._signals:
                return Reason.UNKNOWN_SIGNAL
            if body.sound.digest != self._signals.digest(body.sound.name):
                return Reason.SIGNAL_MISMATCH
            if self._signals.timeline(body.sound.name).end_us > PROGRAMME_LIMIT_S * S:
                return Reason.TOO_LONG
        if not accept.sirens:
            return Reason.NO_TARGET
        reserve = body.action is Action.STOP or body.mode is Mode.LIVE
        # A stop is done even when it cannot be remembered by its id: doing it twice is doing it once.
        if not self._ledger.make_room(reserve, self._wall_us()) and body.action is not Action.STOP:
            return Reason.BUSY
        return None

    def _reject(self, accept: Accept, reason: Reason, client: int | None) -> None:
        """Refuse as a whole what is believed: remembered, so that the same id gets the same answer."""
        entry = Entry(accept.model_copy(update={"sirens": (), "reason": reason}), {})
        if client is not None:
            entry.clients.add(client)
        if reason is not Reason.BUSY:
            self._remember(entry, "refuse")
        # What was refused before it was believed has had its last word.
        if accept.order not in self._refused:
            self._answer(entry, "", Stage.REJECTED, reason)
        elif client is not None:
            self._tell(client, order=entry.id, stage=Stage.REJECTED, reason=reason, last=True)

    def _remember(self, entry: Entry, kind: str) -> None:
        """Into the ledger and on the way to the disk."""
        self._token += 1
        entry.token = self._token
        body = entry.accept.model_dump(mode="json", exclude_none=True)
        self._out.append(Append(entry.token, Record(kind, body)))
        entry.accept = entry.accept.model_copy(update={"raw": None})
        self._ledger.add(entry)

    # Sounding and quiet tests.

    def _accept(self, accept: Accept, client: int | None) -> None:
        refused: dict[str, Reason] = {}
        for siren in accept.sirens:
            if self._ledger.stopped(accept, siren):
                refused[siren] = Reason.STOPPED
            elif self._outranked(accept, siren):
                refused[siren] = Reason.OUTRANKED
        sirens = tuple(s for s in accept.sirens if s not in refused)
        entry = Entry(accept.model_copy(update={"sirens": sirens}),
                      {s: Part(s, State.WAITING) for s in accept.sirens})
        if client is not None:
            entry.clients.add(client)
        self._answer(entry, "", Stage.RECEIVED)
        patience_us = LIVE_PATIENCE_US if accept.mode is Mode.LIVE else DRILL_PATIENCE_US
        entry.until_us = self._now_us + patience_us
        self._remember(entry, "accept" if sirens else "refuse")
        for siren, reason in refused.items():
            self._end(entry, siren, Stage.REJECTED, reason)
        if sirens:
            self._waiting[entry.id] = entry

    def _outranked(self, accept: Accept, siren: str) -> bool:
        """Whether what sounds there now is at least as important. What is armed for later is compared by the siren."""
        if accept.scheduled and accept.start_wall_us > self._wall_us():
            return False
        for other, part in self._ledger.parts_on(siren):
            theirs = other.accept
            armed = theirs.scheduled and theirs.start_wall_us > self._wall_us() and part.state is not State.SOUNDING
            if armed or part.state is State.CUT or theirs.rank < accept.rank:
                continue
            if theirs.rank > accept.rank or accept.rank <= Rank.DRILL or theirs.issued_wall_us > accept.issued_wall_us:
                return True
        return False

    def _durable(self, token: int) -> None:
        if self._no_journal:
            self._no_journal = False
            self._out.append(Degraded("NO-JOURNAL", False))
        for entry in [e for e in self._waiting.values() if e.token <= token and e.awaits_disk]:
            self._go(entry)

    def _append_failed(self, token: int, why: str) -> None:
        self._degraded_journal(why)
        for entry in [e for e in self._waiting.values() if e.token == token and e.awaits_disk]:
            self._go_without_disk(entry)

    def _go_without_disk(self, entry: Entry) -> None:
        self._degraded_journal("no answer from the journal")
        if entry.accept.mode is Mode.LIVE:
            self._go(entry)
            return
        del self._waiting[entry.id]
        for part in entry.parts.values():
            if part.state is State.WAITING:
                self._end(entry, part.siren, Stage.REJECTED, Reason.NO_JOURNAL)

    def _go(self, entry: Entry) -> None:
        """The record is on the disk, or a warning cannot wait for it: tell the sirens."""
        self._waiting.pop(entry.id, None)
        for part in entry.parts.values():
            if part.state is State.WAITING:
                self._give(entry, part, resumed=False)
                self._answer(entry, part.siren, Stage.ACCEPTED)
        self._watch()

    def _give(self, entry: Entry, part: Part, resumed: bool) -> None:
        accept, activation = entry.accept, entry.activation(part.siren)
        part.step(Kind.GO)
        if accept.action is Action.QUIET_TEST:
            self._out.append(QuietTest(part.siren, activation, entry.id, accept.by))
            return
        timeline = self._timeline(accept)
        assert timeline is not None, accept
        expires_us = accept.expires_wall_us
        if resumed and part.started:
            # It did start in time; what is left may begin as long as there is something left.
            expires_us = max(expires_us, accept.start_wall_us + accept.limit_us)
        self._out.append(Activate(
            siren=part.siren, activation=activation, order=entry.id, mode=accept.mode, rank=accept.rank,
            timeline=timeline, start_wall_us=accept.start_wall_us if accept.scheduled or resumed else None,
            limit_us=accept.limit_us, expires_wall_us=expires_us, by=accept.by, resumed=resumed,
        ))

    def _timeline(self, accept: Accept) -> Timeline | None:
        """What to sound; None when its name means something else by now (a restart with other signals)."""
        if accept.seconds is not None:
            end_us = round(accept.seconds * S)
            return Timeline((Segment("technician", 0, end_us),), (Phase(0, end_us),))
        name = accept.sound
        if name is None or name not in self._signals or self._signals.digest(name) != accept.sound_digest:
            return None
        return self._signals.timeline(name)

    def _progressed(self, event: Progress) -> None:
        entry = self._ledger.get(event.order)
        part = entry.parts.get(event.siren) if entry else None
        if entry is None or part is None or part.state not in (State.GIVEN, State.SOUNDING):
            return
        if event.stage in (Stage.RECEIVED, Stage.ACCEPTED):
            return
        if event.stage in (Stage.STARTED, Stage.SENSED, Stage.HEARD):
            part.step(Kind.STARTED)
        late_ms = None
        if event.first_edge_us is not None and event.ordered_us is not None:
            late_ms = round((event.first_edge_us - event.ordered_us) / MS, 3)
        edge = None
        if event.first_edge_us is not None and self._clock is not None:
            edge = wire.to_text(self._wall_us(event.first_edge_us), 6)
        more = {"first_edge": edge, "late_ms": late_ms, "deviations": event.deviations, "evidence": event.evidence}
        if event.stage.terminal:
            self._end(entry, part.siren, event.stage, event.reason, more)
        else:
            self._answer(entry, part.siren, event.stage, event.reason, more)

    # Stops.

    def _stop(self, accept: Accept, client: int | None) -> None:
        """End what was issued before, at once. The disk is told alongside."""
        if self._believed_wall_us() is not None:
            # A stop dated by a clock that is wrong by years would forbid warnings for years.
            self._ledger.remember_stop(accept)
        entry = Entry(accept, {s: Part(s, State.GIVEN) for s in accept.sirens})
        if client is not None:
            entry.clients.add(client)
        entry.until_us = self._now_us + STOP_PATIENCE_US
        cancelled = [c for part in entry.parts.values() for c in self._stop_one(accept, part)]
        self._remember(entry, "accept")
        self._answer(entry, "", Stage.RECEIVED)
        for part in entry.parts.values():
            if part.reason:
                self._end(entry, part.siren, Stage.REJECTED, part.reason)
                continue
            self._answer(entry, part.siren, Stage.ACCEPTED)
            if not part.awaits:
                self._end(entry, part.siren, Stage.FINISHED, "" if cancelled else "nothing sounded")
        if entry.open:
            self._waiting[entry.id] = entry
        for other, part in cancelled:
            self._end(other, part.siren, Stage.STOPPED, accept.by)

    def _stop_one(self, accept: Accept, mine: Part) -> list[tuple[Entry, Part]]:
        """Tell one siren; answers with what had not yet reached it and so ends here."""
        siren, theirs = mine.siren, list(self._ledger.parts_on(mine.siren))
        covered = [
            (e, p) for e, p in theirs
            if accept.stops in (None, e.id) and e.accept.issued_wall_us <= accept.issued_wall_us
        ]
        allowed = [(e, p) for e, p in covered if accept.stops_live or e.accept.mode is not Mode.LIVE]
        if len(allowed) < len(covered):
            mine.reason = Reason.TOO_FEW_PERSONS
        if len(allowed) == len(theirs) and accept.stops is None:
            # Nothing there may go on: whatever else sounds, known or not, ends too.
            self._out.append(Stop(siren, accept.by, "stop"))
        else:
            self._out.extend(Stop(siren, accept.by, "stop", e.id) for e, _ in allowed)
        reached = [(e, p) for e, p in allowed if p.state in (State.GIVEN, State.SOUNDING)]
        mine.awaits = {e.activation(siren) for e, _ in reached}
        return [(e, p) for e, p in allowed if (e, p) not in reached]

    def _ended(self, activation: str, stage: Stage, reason: str) -> None:
        """An activation ended: some stop may have waited for it."""
        for entry in [e for e in self._waiting.values() if e.accept.action is Action.STOP]:
            for part in entry.parts.values():
                if activation not in part.awaits:
                    continue
                part.awaits.discard(activation)
                if stage is Stage.FAILED:
                    part.trouble = reason or "failed"
                if not part.awaits:
                    self._end(entry, part.siren, Stage.FAILED if part.trouble else Stage.FINISHED, part.trouble)
            if not entry.open:
                self._waiting.pop(entry.id, None)

    def _stop_again(self) -> None:
        """After a restart: a stop whose answer is open is done once more, before anything is taken up again."""
        for entry in [e for e in self._cut if e.accept.action is Action.STOP]:
            for part in entry.parts.values():
                if part.state is State.CUT:
                    for other, cut in self._stop_one(entry.accept, part):
                        self._end(other, cut.siren, Stage.STOPPED, entry.accept.by)
                    self._end(entry, part.siren, Stage.FINISHED, "restarted")
        self._cut = [e for e in self._cut if e.open]

    # The local door.

    def _asked(self, event: Ask) -> None:
        args = event.args
        person = self._technicians.get(event.user)
        siren = args.get("siren")
        match event.verb:
            case "order":
                self._arrived(Arrived("", str(args.get("text", "")).encode() or b"?", client=event.client))
            case "stop":
                sirens = tuple(self._sirens) if siren in (None, "all") else (str(siren),)
                if not set(sirens) <= set(self._sirens):
                    self._decline(event, Reason.NO_TARGET, NO_SUCH_SIREN)
                    return
                accept = self._own(event, Action.STOP, Mode.LIVE, Rank.TECHNICIAN, event.user, sirens)
                self._out.append(Notice("local-stop", str(siren or "all"), f"by {event.user}", urgent=True))
                self._stop(accept.model_copy(update={"stops_live": True}), event.client)
            case "activate" | "quiet-test" if person is None:
                self._decline(event, Reason.NOT_PERMITTED, ONLY_TECHNICIANS)
            case "activate" | "quiet-test" if siren not in self._sirens:
                self._decline(event, Reason.NO_TARGET, NO_SUCH_SIREN)
            case "activate":
                seconds, limit_s = args.get("seconds"), MAINTENANCE_S if args.get("maintenance") is True else GROWL_S
                if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= limit_s:
                    self._decline(event, Reason.TOO_LONG, TOO_LONG)
                    return
                accept = self._own(event, Action.SOUND, Mode.DRILL, Rank.TECHNICIAN, str(person), (str(siren),))
                self._out.append(Notice("technician", str(siren), f"{person} sounds it for {seconds:g} s"))
                self._accept_local(accept.model_copy(update={"seconds": float(seconds),
                                                             "limit_us": round(seconds * S)}), event)
            case "quiet-test":
                accept = self._own(event, Action.QUIET_TEST, Mode.SILENT, Rank.TECHNICIAN, str(person), (str(siren),))
                self._accept_local(accept, event)
            case _:
                pass

    def _accept_local(self, accept: Accept, event: Ask) -> None:
        if self._ledger.make_room(False, self._wall_us()):
            self._accept(accept, event.client)
        else:
            self._decline(event, Reason.BUSY, "")

    def _own(self, event: Ask, action: Action, mode: Mode, rank: Rank, by: str, sirens: tuple[str, ...]) -> Accept:
        """An order of this gateway's own, for somebody who stands before it."""
        self._local += 1
        wall_us = self._wall_us()
        name = f"{self._gateway}/{self._boot}/{self._local}/{event.client}/{wall_us}"
        id = hashlib.sha256(name.encode()).hexdigest()[:32]
        return Accept(
            order=id, digest=id, action=action, mode=mode, rank=rank, by=by, persons=(by,), door="local",
            at=self._instant(), issued_wall_us=wall_us, expires_wall_us=wall_us + LOCAL_EXPIRY_US,
            start_wall_us=wall_us, scheduled=False, sirens=sirens,
        )

    def _decline(self, event: Ask, reason: Reason, text: str) -> None:
        self._out.append(Notice("local-refused", event.user, f"{event.verb}: {reason}"))
        self._tell(event.client, stage=Stage.REJECTED, siren=str(event.args.get("siren", "")), reason=reason,
                   text=text, last=True)

    # After a restart.

    def _resume(self, clock: Clock) -> None:
        if clock.trust is not Trust.UNTRUSTED:
            self._degraded_time(False)
        for entry in self._cut:
            for part in entry.parts.values():
                if part.state is State.CUT:
                    self._take_up(entry, part)
        self._cut = [e for e in self._cut if any(p.state is State.CUT for p in e.parts.values())]
        self._watch()

    def _take_up(self, entry: Entry, part: Part) -> None:
        """What a restart cut goes on, waits for a better clock, or has its last word."""
        accept, wall_us = entry.accept, self._believed_wall_us()
        assert self._born_us is not None
        timeline = self._timeline(accept)
        if self._ledger.stopped(accept, part.siren):
            self._end(entry, part.siren, Stage.STOPPED, "stop")
        elif timeline is None or accept.seconds is not None or (accept.mode is not Mode.LIVE and not accept.scheduled):
            self._end(entry, part.siren, Stage.FAILED, "cut by restart")
        elif wall_us is None:
            if not accept.scheduled and self._now_us - self._born_us > OUTAGE_US:
                self._end(entry, part.siren, Stage.FAILED, "cut by restart")
        elif accept.start_wall_us > wall_us:
            self._give(entry, part, resumed=True)
        elif not part.started and wall_us > accept.expires_wall_us:
            self._end(entry, part.siren, Stage.EXPIRED, "cut by restart")
        else:
            gone_us = wall_us - accept.start_wall_us
            if accept.mode is Mode.LIVE:
                alive_us = self._ledger.alive_wall_us
                left = (alive_us is not None and abs(wall_us - alive_us) <= OUTAGE_US
                        and bool(timeline.without_phases_before(gone_us).phases))
            else:
                left = bool(timeline.without_segments_before(gone_us).segments)
            if not left or gone_us >= accept.limit_us:
                self._end(entry, part.siren, Stage.FAILED, "cut by restart")
                return
            self._give(entry, part, resumed=True)
            self._answer(entry, part.siren, Stage.TROUBLE, "cut by restart, goes on")

    # Time.

    def _due(self) -> None:
        for entry in [e for e in self._waiting.values() if e.until_us is not None and e.until_us <= self._now_us]:
            if entry.accept.action is Action.STOP:
                del self._waiting[entry.id]
                for part in entry.parts.values():
                    if part.state is not State.DONE:
                        self._end(entry, part.siren, Stage.FAILED, "the siren did not say that it is off")
            else:
                self._go_without_disk(entry)
        if self._alive_us is not None and self._alive_us <= self._now_us:
            self._token += 1
            self._out.append(Append(self._token, Record("alive", {"at": self._instant()})))
            self._alive_us = None
            self._watch()

    def _watch(self) -> None:
        """While something live sounds or is about to, the journal shall know when we were last here."""
        live = any(e.accept.mode is Mode.LIVE and e.accept.action is Action.SOUND
                   and e.accept.start_wall_us <= self._wall_us() for e in self._ledger.open())
        if not live:
            self._alive_us = None
        elif self._alive_us is None:
            self._alive_us = self._now_us + ALIVE_US

    def _wall_us(self, at_us: int | None = None) -> int:
        """What the wall clock shows at `at_us` (now); before the first Clock, the time since boot."""
        at_us = self._now_us if at_us is None else at_us
        return at_us if self._clock is None else self._clock.wall_us + at_us - self._clock_us

    def _believed_wall_us(self) -> int | None:
        return None if self._clock is None or self._clock.trust is Trust.UNTRUSTED else self._wall_us()

    def _instant(self) -> str:
        return BLANK_INSTANT if self._clock is None else wire.to_text(self._wall_us())

    def _degraded_journal(self, why: str) -> None:
        if not self._no_journal:
            self._no_journal = True
            self._out.append(Degraded("NO-JOURNAL", True, why))

    def _degraded_time(self, on: bool) -> None:
        if self._no_time != on:
            self._no_time = on
            self._out.append(Degraded("NO-TIME", on, "the clock is not to be believed" if on else ""))

    # Answers.

    def _answer(self, entry: Entry, siren: str, stage: Stage, reason: str = "",
                more: Mapping[str, object] | None = None) -> None:
        """One receipt, to the hub and to the local clients that wait for this order."""
        part = entry.parts.get(siren)
        if part is not None and not stage.terminal:
            part.stage = stage
        receipt = Receipt.model_validate({
            "seq": 0, "gateway": self._gateway, "order": entry.id, "siren": siren, "stage": stage,
            "reason": str(reason), "mode": entry.accept.mode, "at": self._instant(), **(more or {}),
        })
        self._say(receipt)
        last = stage.terminal and not entry.open
        line = receipt.model_dump(mode="json", exclude_none=True, exclude={"v", "seq"})
        for client in entry.clients:
            self._tell(client, **line, last=last)
        if last:
            entry.clients.clear()

    def _end(self, entry: Entry, siren: str, stage: Stage, reason: str,
             more: Mapping[str, object] | None = None) -> None:
        """The last word on one siren. The ledger's table holds that there is only one."""
        self._ledger.end(entry, entry.parts[siren], stage, str(reason))
        self._answer(entry, siren, stage, reason, more)
        if not entry.open and entry.accept.action is not Action.STOP:
            self._waiting.pop(entry.id, None)
        if entry.accept.action is not Action.STOP:
            self._ended(entry.activation(siren), stage, reason)

    def _say(self, receipt: Receipt) -> None:
        self._out.append(Say(receipt))

    def _tell(self, client: int, *, last: bool, **line: object) -> None:
        """One line of answer to a local client."""
        payload = json.dumps({**{k: v for k, v in line.items() if v not in (None, "")}, "last": last},
                             ensure_ascii=False)
        self._out.append(Publish("", payload.encode(), qos=0, client=client))
