"""One gateway as the centre may believe it: whether it lives, what it drives, what it said, what is missing of it.

A machine a gateway. It remembers the retained status, birth, state and health, and asks again for receipts and
events that have not come. While two speak in its name (`clone.py`), what they say of sirens is not believed.
It refuses to know of other gateways and of orders in flight.

    UNKNOWN   heard of, but nothing proves that it lives now. A retained `online` of last week is no proof.
    ONLINE    its status says online, and something of it was said in the last SILENT_US.
    SILENT    says online, but nothing came for SILENT_US: a half-open connection, or a hung process.
    OFFLINE   said good-bye itself.
    LOST      the broker published its will, for the session we know. A will of another session is an old one.
"""

from enum import Enum, StrEnum

from controller import wire
from controller.trust import Reason
from controller.wire import (
    Again,
    Birth,
    DeviceCard,
    Event,
    Health,
    JournalHead,
    Receipt,
    SirenCard,
    SpotCard,
    Stage,
    State,
    Status,
)
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S, Woken, earliest
from hub.clone import Identity
from hub.event import Broker, Note, Publish, Told
from hub.sequence import Sequence

SILENT_US = 100 * S
"""Three beats and some: a fault is to be reported within 30 s, 100 s at worst."""
FUTURE_US = 5 * S
"""A retained message from further in the future has a clock that does not tell its age."""
MAX_STATES = 1_024
"""Its sirens (at most 256) and devices."""
ASK_AFTER_US = 5 * S
"""A hole mostly fills itself: the gateway's outbox is still on its way."""
ASK_EVERY_US = 30 * S
ASK_TIMES = 5
"""Each hole; then it is left as one that is shown: the gateway keeps only so many lines for repeating."""
ASK_RANGES = 4
"""Ranges in one asking, so that a bad night is not answered by a flood."""


class Presence(StrEnum):
    UNKNOWN = "unknown"
    ONLINE = "online"
    SILENT = "silent"
    OFFLINE = "offline"
    LOST = "lost"


class Kind(Enum):
    """What can happen to a presence."""

    LIVES = "says online, and spoke in the last SILENT_US"
    QUIET = "says online, and nothing came for SILENT_US"
    ONLINE_NOW = "a status online, just said"
    ONLINE_ONCE = "a retained status online of another time"
    GOODBYE = "status offline"
    WILL = "the will of the session we know"


_P, _K = Presence, Kind
TABLE: dict[tuple[Presence, Kind], Presence] = {
    (_P.UNKNOWN, _K.LIVES): _P.ONLINE,
    (_P.SILENT, _K.LIVES): _P.ONLINE,
    (_P.UNKNOWN, _K.QUIET): _P.SILENT,
    (_P.ONLINE, _K.QUIET): _P.SILENT,
    (_P.OFFLINE, _K.ONLINE_ONCE): _P.UNKNOWN,
    (_P.LOST, _K.ONLINE_ONCE): _P.UNKNOWN,
    **{(p, _K.ONLINE_NOW): _P.ONLINE for p in Presence},
    **{(p, _K.GOODBYE): _P.OFFLINE for p in Presence},
    **{(p, _K.WILL): _P.LOST for p in Presence},
}
"""A missing pair changes nothing: a late receipt does not bring a lost gateway back, only its status does."""

_GRAVE = {Stage.FAILED, Stage.TROUBLE, Stage.REJECTED, Stage.EXPIRED}


class Gateway:
    """The machine. `handle` answers with what is worth a line to an operator, and with what to ask for again."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.presence = Presence.UNKNOWN
        self.status: Status | None = None
        self.birth: Birth | None = None
        self.health: Health | None = None
        self._trust = "", 0
        """The deployment and version of the list it last said it has."""
        self.states: dict[str, State] = {}
        self.sequence = Sequence()
        self.identity = Identity()
        self.head: JournalHead | None = None
        """What it last said of its journal."""
        self._heard_us: int | None = None
        """When it was last known to live; None: never."""
        self._doubted_us: int | None = None
        """Since when an `online` of unknown age is all we have."""
        self._ask_us: int | None = None
        self._asked: dict[tuple[int, int], int] = {}
        """How often each hole was asked for."""

    @property
    def deadline(self) -> int | None:
        return earliest(self._quiet_at_us, self._ask_us, self.identity.deadline)

    @property
    def modes(self) -> tuple[str, ...]:
        """Its named degraded modes, from whichever message is newer."""
        said = [m for m in (self.status, self.health) if m is not None]
        return max(said, key=lambda m: m.at).modes if said else ()

    @property
    def _quiet_at_us(self) -> int | None:
        """When it will have been quiet for too long; None: that would say nothing of it."""
        match self.presence:
            case Presence.ONLINE:
                return None if self._heard_us is None else self._heard_us + SILENT_US
            case Presence.UNKNOWN:
                return None if self._doubted_us is None else self._doubted_us + SILENT_US
            case _:
                return None

    def handle(self, now_us: int, told: Told | Broker | Woken) -> list[Note | Publish]:
        out: list[Note | Publish] = []
        if isinstance(told, Broker) and told.up:
            # What was asked for before may have gone nowhere.
            self._ask_us, self._asked = None, {}
        if isinstance(told, Told) and told.message is not None:
            self._heard(now_us, told)
            self._recognise(now_us, told, out)
            match told.message:
                case Status() as status:
                    self._said_status(now_us, status, out)
                case Birth() as birth:
                    if self.birth is None or self.birth.model_copy(update={"at": birth.at}) != birth:
                        out.append(Note("birth", self.id, detail=f"{len(birth.sirens)} sirens,"
                                        f" {len(birth.devices)} devices, version {birth.version}"))
                    self._said_trust(birth, out)
                    self.birth = birth
                case Health() as health:
                    self.health = health
                case State() as state:
                    self._said_state(state, out)
                case Receipt() as receipt:
                    if self.sequence.came(receipt.seq, receipt.at):
                        said = f"{receipt.order[:8]} {receipt.stage.value} {receipt.reason}".strip()
                        # An order for an area reaches gateways it does not mean; that they say so is no news.
                        grave = receipt.stage in _GRAVE and receipt.reason != Reason.NO_TARGET
                        out.append(Note("receipt", self.id, receipt.siren, said, grave))
                case Event() as event:
                    self.sequence.came(event.seq, event.at)
            if self.status and self.status.state == "online" and self._lives(now_us):
                self._move(Kind.LIVES, out)
        if self._quiet_at_us is not None and now_us >= self._quiet_at_us:
            self._move(Kind.QUIET, out)
        if self.identity.woken(now_us):
            out.append(Note("clone-gone", self.id, detail="只剩一个会话 one session is left"))
        self._ask(now_us, out)
        return out

    def shown(self, card: SirenCard | DeviceCard | SpotCard) -> tuple[str, str]:
        """State and reason of a siren, device or spot: UNKNOWN unless this gateway lives and has told it."""
        state = self.states.get(card.id)
        if self.identity.pair is not None:
            return "UNKNOWN", "克隆 clone: two sessions, one said " + (state.state if state else "nothing")
        if self.presence is not Presence.ONLINE:
            return "UNKNOWN", f"gateway {self.presence.value}; said {state.state if state else 'nothing'}"
        return (state.state, state.why) if state else ("UNKNOWN", "never told")

    def _lives(self, now_us: int) -> bool:
        return self._heard_us is not None and now_us - self._heard_us < SILENT_US

    def _heard(self, now_us: int, told: Told) -> None:
        """It lived when it spoke; of a retained message its `at` tells when that was. A will is the broker's word."""
        assert told.message is not None
        if isinstance(told.message, Status) and told.message.state == "lost":
            return
        heard_us = now_us
        if told.retained:
            try:
                age_us = told.wall_us - wire.to_wall_us(told.message.at)
            except Malformed:
                return
            if age_us < -FUTURE_US:
                return
            heard_us = now_us - max(0, age_us)
        self._heard_us = heard_us if self._heard_us is None else max(heard_us, self._heard_us)

    def _recognise(self, now_us: int, told: Told, out: list[Note | Publish]) -> None:
        """Whether what speaks is the one that spoke before, and its journal the one it had. A will is the broker's."""
        message = told.message
        if not isinstance(message, Status | Birth) or (isinstance(message, Status) and message.state == "lost"):
            return
        last_seq = message.last_seq if isinstance(message, Status) else None
        before = self.identity.pair
        # What is said on the way out is no sign of a second life.
        kept = told.retained or (isinstance(message, Status) and message.state == "offline")
        fresh = self.identity.heard(now_us, message.session, message.at, last_seq, kept)
        if self.identity.pair not in (None, before):
            one, other = self.identity.pair
            out.append(Note("clone", self.id, urgent=True, detail=(
                f"同一身份两个会话 one identity in two sessions: {one} {other}; 换证并吊销旧证 give the true one a new"
                " certificate, revoke the old (docs/broker.md)")))
        if fresh and isinstance(message, Status) and message.journal is not None:
            self._said_head(message.journal, out)

    def _said_head(self, head: JournalHead, out: list[Note | Publish]) -> None:
        """The journal only grows: a shorter one, or another at the same length, is not the one that was."""
        known, self.head = self.head, head
        if known is None or self.identity.pair is not None:
            return
        if head.n < known.n:
            out.append(Note("journal-shorter", self.id, urgent=True, detail=(
                f"日志变短 its journal had {known.n} rows and has {head.n}: cut, or replaced by another")))
        elif head.n == known.n and head.hash != known.hash:
            out.append(Note("journal-altered", self.id, urgent=True, detail=(
                f"日志被改 row {head.n} of its journal was {known.hash[:16]} and is {head.hash[:16]}")))

    def _said_trust(self, birth: Birth, out: list[Note | Publish]) -> None:
        """Trust never goes back: a gateway whose list does has lost its journal, or another took its place."""
        if birth.deployment == self._trust[0] and birth.trust_version < self._trust[1]:
            out.append(Note("trust-went-back", self.id, str(birth.trust_version), urgent=True,
                            detail=f"it had version {self._trust[1]}: its card was changed or restored"))
        self._trust = birth.deployment, birth.trust_version

    def _said_status(self, now_us: int, status: Status, out: list[Note | Publish]) -> None:
        new_session = self.status is not None and self.status.session != status.session
        if status.state == "lost":
            if new_session:
                out.append(Note("old-will", self.id, detail=f"of session {status.session}: ignored"))
                return
            # A will was written when its session began: its last_seq says nothing of now.
            self.status = status
            self._move(Kind.WILL, out)
            return
        last = self.sequence.last
        # Of two that speak in turns one is always behind.
        if new_session and last is not None and status.last_seq < last and self.identity.pair is None:
            out.append(Note("sequence-restarted", self.id, urgent=True,
                            detail=f"at {status.last_seq}, had been at {last}: its journal was lost or replaced"))
            self.sequence, self._asked = Sequence(), {}
        elif self.identity.pair is None:
            self.sequence.ends(status.last_seq, status.at)
        self.sequence.announced(status.last_seq, status.at)
        self.status = status
        if status.state == "offline":
            self._move(Kind.GOODBYE, out)
        elif self._lives(now_us):
            self._move(Kind.ONLINE_NOW, out)
        else:
            self._doubted_us = now_us
            self._move(Kind.ONLINE_ONCE, out)

    def _said_state(self, state: State, out: list[Note | Publish]) -> None:
        before = self.states.get(state.id)
        if before is None and len(self.states) >= MAX_STATES:
            out.append(Note("too-many-states", self.id, state.id))
            return
        self.states[state.id] = state
        if before is None or (before.state, before.why) != (state.state, state.why):
            out.append(Note("state", self.id, state.id, f"{state.state} {state.why}".strip(), state.state == "FAULT"))

    def _move(self, kind: Kind, out: list[Note | Publish]) -> None:
        to = TABLE.get((self.presence, kind), self.presence)
        if to is not self.presence:
            self.presence = to
            out.append(Note(f"gateway-{to.value}", self.id, urgent=to in {Presence.LOST, Presence.SILENT}))

    def _ask(self, now_us: int, out: list[Note | Publish]) -> None:
        """Ask for what is missing, a while after it was missed, and for no hole for ever. Each has its turn."""
        holes = self.sequence.holes
        if not holes or self.presence is not Presence.ONLINE:
            self._ask_us, self._asked = None, {}
            return
        wanted = [hole for hole in holes if self._asked.get(hole, 0) < ASK_TIMES]
        if not wanted:
            self._ask_us = None
        elif self._ask_us is None:
            self._ask_us = now_us + ASK_AFTER_US
        elif now_us >= self._ask_us:
            turn = sorted(wanted, key=lambda hole: self._asked.get(hole, 0))[:ASK_RANGES]
            self._asked = {hole: self._asked.get(hole, 0) + (hole in turn) for hole in holes}
            self._ask_us = now_us + ASK_EVERY_US
            out.append(Note("missing", self.id, detail=", ".join(f"{a}-{b}" for a, b in turn)))
            out += [Publish(wire.again_topic(self.id), Again(first=max(1, a), last=max(1, b)).encode())
                    for a, b in turn]
