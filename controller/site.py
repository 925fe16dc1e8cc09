"""The site: what an order means on this gateway, whether it was signed or asked for at the cabinet.

It resolves an order's area and selector to our own sirens, its signal to a timeline, its mode and signal family to a
rank, and a technician's request to an order of the gateway's own with a short bound.
It refuses to know who signed, what sounds now, and what time it is (the caller says).
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from controller import targets
from controller.event import Activate, Alarmed, Ask, Notice, QuietTest, Rank
from controller.ledger import Accept
from controller.signal import ACTIVATION_MARGIN_S, PROGRAMME_LIMIT_S, Family, Phase, Segment, Signals, Timeline
from controller.strictjson import is_number
from controller.trust import Reason, Signed, Unverified
from controller.wire import Action, Instant, Layer, Mode, OrderBody
from firmware_bridge.machine import S

LOCAL_EXPIRY_US = 30 * S
"""A local request that could not begin by then is no more what the person at the cabinet expects."""
FRESH_US = 600 * S
"""Two persons' order that begins later than this after it was signed says nothing of what has sounded since."""
RULE_EXPIRY_US = 60 * S
"""What a flood asked for and a siren could not begin by then is a matter for people."""
GROWL_S = 3
"""A technician's sounding, and the longest growl, whatever a siren's section says."""
MAINTENANCE_S = 15
"""The same with the site under maintenance."""

FAMILY_RANK: Mapping[Family, Rank] = {
    "air-raid": Rank.AIR_RAID, "all-clear": Rank.AIR_RAID, "disaster": Rank.DISASTER,
    "flood": Rank.FLOOD, "test": Rank.FLOOD,
}
"""What is live ranks by its family. An all-clear ends the gravest, so it ranks with it."""

ONLY_TECHNICIANS = "只有授权的技术员可以这样做 / only a technician listed in gateway.toml may do this"
NO_SUCH_SIREN = "本网关没有这个警报器 / this gateway has no such siren"
TOO_LONG = (f"最长 {GROWL_S} 秒，维护状态下 {MAINTENANCE_S} 秒；更长须用签名命令 / "
            f"at most {GROWL_S} s, under maintenance {MAINTENANCE_S} s; for more use a signed order")


@dataclass(frozen=True, slots=True)
class Target:
    """A siren of this gateway, as far as an order can mean it."""

    id: str
    area: str
    layer: Layer
    growl_s: float = GROWL_S
    """How long it growls."""


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a local request is not done, in a word and in two languages."""

    reason: Reason
    text: str


class Site:
    """This gateway's sirens and signals. `boot` tells this run of the gateway from all others."""

    def __init__(self, gateway: str, sirens: list[Target], signals: Signals, technicians: Mapping[str, str],
                 boot: str) -> None:
        self._gateway = gateway
        self._sirens = {s.id: s for s in sirens}
        self._signals = signals
        self._technicians = technicians
        self._boot = boot
        self._asked = 0

    # Signed orders.

    def accept(self, order: Unverified, signed: Signed, local: bool, at: Instant, wall_us: int) -> Accept:
        """The order as this gateway understands it. Its `sirens` are ours that it means."""
        body, sound = order.body, order.body.sound
        persons = tuple(sorted(signed.persons))
        return Accept(
            order=body.id, digest=order.digest, action=body.action, mode=body.mode, rank=self._rank(body),
            by=", ".join(persons), persons=persons, keys=order.kids, area=body.area,
            door="local" if local else "mqtt", at=at,
            issued_wall_us=order.issued_us, expires_wall_us=order.expires_us,
            start_wall_us=wall_us if order.start_us is None else order.start_us,
            scheduled=order.start_us is not None, limit_us=self._limit_us(body),
            sirens=tuple(s.id for s in self._sirens.values() if body.targets(s.id, s.area, s.layer)),
            sound=sound.name if sound else None, sound_digest=sound.digest if sound else None,
            fresh=body.action is Action.SOUND and self._fresh(order, wall_us)
            and signed.may(Action.SOUND, Mode.LIVE) is None,
            stops=body.stops, stops_live=signed.may(Action.STOP, Mode.LIVE) is None, raw=order.raw,
        )

    def automatic(self, alarmed: Alarmed, at: Instant, wall_us: int) -> Accept:
        """What a signed rule asks for, as an order of the gateway's own: live, at once, and of the flood's rank."""
        known = alarmed.sound in self._signals
        end_us = self._signals.timeline(alarmed.sound).end_us + ACTIVATION_MARGIN_S * S if known else 0
        return Accept(
            order=alarmed.order, digest=alarmed.order, action=Action.SOUND, mode=Mode.LIVE, rank=Rank.FLOOD,
            by=alarmed.by, persons=alarmed.persons, door="rule", at=at, issued_wall_us=wall_us,
            expires_wall_us=wall_us + RULE_EXPIRY_US, start_wall_us=wall_us, scheduled=False,
            limit_us=min(end_us, alarmed.max_duration_s * S),
            sirens=tuple(s for s in alarmed.sirens if s in self._sirens),
            sound=alarmed.sound, sound_digest=alarmed.digest,
        )

    @property
    def sirens(self) -> Collection[str]:
        return self._sirens

    def judge(self, body: OrderBody, accept: Accept, trust_version: int) -> tuple[Reason | None, list[Notice]]:
        """Why an order that is believed is not to be done here at all; and what is to be told of it in any case."""
        told: list[Notice] = []
        reason = self.unfit(accept)
        # A warning or a stop is worth more than fresh lists, of sirens or of persons; a drill is not.
        urgent = accept.action is Action.STOP or accept.mode is Mode.LIVE
        if difference := targets.difference(body, self._gateway, self._sirens.values()):
            told.append(Notice("targets-mismatch", body.id, difference, urgent=True))
        if reason is None and not urgent and targets.unprepared(body):
            reason = Reason.NOT_PREPARED
        elif reason is None and not urgent and difference:
            reason = Reason.TARGETS_MISMATCH
        if body.trust_version > trust_version:
            told.append(Notice("trust-behind", str(body.trust_version), f"here {trust_version}"))
            if not urgent:
                reason = Reason.STALE_TRUST
        return reason or (None if accept.sirens else Reason.NO_TARGET), told

    def unfit(self, accept: Accept) -> Reason | None:
        """What of its signal is not as it was where it was signed."""
        if accept.sound is not None:
            if accept.sound not in self._signals:
                return Reason.UNKNOWN_SIGNAL
            if self._signals.digest(accept.sound) != accept.sound_digest:
                return Reason.SIGNAL_MISMATCH
            if self._signals.timeline(accept.sound).end_us > PROGRAMME_LIMIT_S * S:
                return Reason.TOO_LONG
        return None

    def timeline(self, accept: Accept) -> Timeline | None:
        """What to sound; None when its name means something else by now (a restart with other signals)."""
        if accept.seconds is not None:
            end_us = round(accept.seconds * S)
            return Timeline((Segment("technician", 0, end_us),), (Phase(0, end_us),))
        name = accept.sound
        if name is None or name not in self._signals or self._signals.digest(name) != accept.sound_digest:
            return None
        return self._signals.timeline(name)

    def task(self, accept: Accept, siren: str, activation: str, started: bool,
             since_us: int | None = None) -> Activate | QuietTest:
        """What a siren is told to do for it; `started`: it had begun before a restart; `since_us`: it is taken up after
        one, and counts from this instant."""
        if accept.action is Action.QUIET_TEST:
            return QuietTest(siren, activation, accept.order, accept.by)
        timeline, expires_us = self.timeline(accept), accept.expires_wall_us
        assert timeline is not None, accept
        resumed = since_us is not None
        if since_us is not None and started:
            # It did start in time; what is left may begin as long as there is something left.
            expires_us = max(expires_us, since_us + accept.limit_us)
        return Activate(
            siren=siren, activation=activation, order=accept.order, mode=accept.mode, rank=accept.rank,
            timeline=timeline, start_wall_us=accept.start_wall_us if accept.scheduled else since_us,
            limit_us=accept.limit_us, expires_wall_us=expires_us, by=accept.by, resumed=resumed, growl=accept.growl,
            # What a restart cut has begun its day already.
            fresh=accept.fresh and not (resumed and started),
        )

    @staticmethod
    def _fresh(order: Unverified, wall_us: int) -> bool:
        """Whether it begins so soon after it was signed that the signers knew what had sounded."""
        return (wall_us if order.start_us is None else order.start_us) - order.issued_us <= FRESH_US

    def _rank(self, body: OrderBody) -> Rank:
        if body.mode is Mode.SILENT:
            return Rank.TECHNICIAN
        if body.mode is Mode.DRILL or body.sound is None or body.sound.name not in self._signals:
            return Rank.DRILL
        return max(FAMILY_RANK[f] for f in self._signals.families(body.sound.name))

    def _limit_us(self, body: OrderBody) -> int:
        if body.sound is None or body.sound.name not in self._signals:
            return 0
        limit_us = self._signals.timeline(body.sound.name).end_us + ACTIVATION_MARGIN_S * S
        return limit_us if body.max_duration_s is None else min(limit_us, body.max_duration_s * S)

    # The cabinet.

    def asked(self, ask: Ask, at: Instant, wall_us: int) -> Accept | Declined:
        """A request at the local door as an order of the gateway's own. A stop anybody may ask."""
        siren, person = ask.args.get("siren"), self._technicians.get(ask.user)
        if ask.verb == "stop" and (siren is None or siren == "all") and self._sirens:
            return self._own(ask, Action.STOP, Mode.LIVE, ask.user, tuple(self._sirens), at, wall_us)
        if ask.verb != "stop" and person is None:
            return Declined(Reason.NOT_PERMITTED, ONLY_TECHNICIANS)
        if not isinstance(siren, str) or siren not in self._sirens:
            return Declined(Reason.NO_TARGET, NO_SUCH_SIREN)
        sirens = (siren,)
        if ask.verb == "stop":
            return self._own(ask, Action.STOP, Mode.LIVE, ask.user, sirens, at, wall_us)
        if ask.verb == "quiet-test":
            return self._own(ask, Action.QUIET_TEST, Mode.SILENT, str(person), sirens, at, wall_us)
        growl = ask.verb == "growl"
        seconds = min(self._sirens[siren].growl_s, GROWL_S) if growl else ask.args.get("seconds")
        limit_s = MAINTENANCE_S if ask.args.get("maintenance") is True else GROWL_S
        if not is_number(seconds) or not 0 < seconds <= limit_s:
            return Declined(Reason.TOO_LONG, TOO_LONG)
        # The timeline ends at `seconds`; a limit at the same instant would call its end a stop.
        limit_us = round((seconds + ACTIVATION_MARGIN_S) * S)
        return self._own(ask, Action.SOUND, Mode.DRILL, str(person), sirens, at, wall_us).model_copy(
            update={"seconds": float(seconds), "limit_us": limit_us, "growl": growl})

    def _own(self, ask: Ask, action: Action, mode: Mode, by: str, sirens: tuple[str, ...],
             at: Instant, wall_us: int) -> Accept:
        self._asked += 1
        name = f"{self._gateway}/{self._boot}/{self._asked}/{ask.client}/{wall_us}"
        id = hashlib.sha256(name.encode()).hexdigest()[:32]
        return Accept(
            order=id, digest=id, action=action, mode=mode, rank=Rank.TECHNICIAN, by=by, persons=(by,), door="local",
            at=at, issued_wall_us=wall_us, expires_wall_us=wall_us + LOCAL_EXPIRY_US, start_wall_us=wall_us,
            scheduled=False, sirens=sirens, stops_live=action is Action.STOP, everything=action is Action.STOP,
        )
