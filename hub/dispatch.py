"""One order on its way: sent, re-sent until answered, and followed until every siren has its last word.

A machine an order. MQTT's own acknowledgements are no evidence, so the same bytes go out again until each
gateway that is meant has answered by a receipt. What receipts say is merged in `track.py`; what has ended stays ended.
A siren that nobody spoke of is `no answer` when its time is over; it is never counted as sounded.
It refuses to know keys, MQTT and the fleet: it is given who is meant.

    NEW         made; nothing sent before the first Clock tells what time it is.
    SENDING     some gateway owes an answer, and the order may still begin there.
    FOLLOWING   every gateway has answered, or it is too late to; receipts are awaited.
    OVER        every siren has its last word, or its time is over. A late receipt is still taken in.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from controller import wire
from controller.trust import Reason
from controller.wire import Action, Mode, OrderBody, Receipt, Stage, Status
from firmware_bridge.machine import S, Woken, earliest
from hub.event import Clock, Publish, Told
from hub.track import ON_THE_WAY, PASSING, Ending, SirenResult, Track

RESEND_US = 2 * S
"""A message lost on a bad radio link is made up for within the two seconds a stop is given."""
RESEND_SLOW_US = 5 * S
"""After RESEND_FAST attempts the gateway is down rather than unlucky."""
RESEND_FAST = 15
"""Attempts at the fast pace: half a minute."""
RESEND_IDLE_US = 60 * S
"""For an order that begins in more than FAR_US: a gateway that comes back in the meantime is sent it at once."""
FAR_US = 600 * S
AFTER_US = 60 * S
"""A last receipt may come this much after the end: feedback is read, and a receipt may wait for a link."""
SINGLE_LIMIT = 32
"""Up to so many silent gateways are sent to one by one; more get the area's topic, and answer twice."""
STOP_SENDS = 3
"""A stop goes out so often even when the fleet knows nobody there: what sounds may be unknown to us."""
STOP_FOR_US = 60 * S
"""A stop is sent for so long whatever date it has: the clock that is wrong may be ours."""
MAX_SIRENS = 20_000
"""Of one order: 5000 gateways of four. Receipts that name more are somebody inventing sirens."""


class State(Enum):
    NEW = "new"
    SENDING = "sending"
    FOLLOWING = "following"
    OVER = "over"


class Kind(Enum):
    """What moves a dispatch; found from the picture after each event."""

    OWED = "it has not gone out often enough, or somebody owes an answer; and it may still begin"
    ANSWERED = "nobody owes an answer, or it is too late"
    SETTLED = "nobody owes an answer, and every siren's last word is in or its time is over"


_S, _K = State, Kind
TABLE: dict[tuple[State, Kind], State] = {
    (_S.NEW, _K.OWED): _S.SENDING,
    (_S.NEW, _K.ANSWERED): _S.FOLLOWING,
    (_S.NEW, _K.SETTLED): _S.OVER,
    (_S.SENDING, _K.ANSWERED): _S.FOLLOWING,
    (_S.SENDING, _K.SETTLED): _S.OVER,
    (_S.FOLLOWING, _K.SETTLED): _S.OVER,
}
"""Missing pairs change nothing: what is over stays over."""

class Dispatch:
    """The machine. Its effects are Publish; the picture is read from it by `sirens` and `gateways`."""

    def __init__(self, order: OrderBody, raw: bytes, expected: Mapping[str, Sequence[str]], length_us: int) -> None:
        """`length_us` is how long what is ordered lasts. Malformed when the order's instants are none."""
        self.order = order
        self.raw = raw
        # Who is in the signed list is meant, whether its sirens are known here or not.
        named = order.prepared or {}
        self.expected = {gateway: tuple(expected.get(gateway, ())) for gateway in {**expected, **named}}
        self.state = State.NEW
        self.attempts = 0
        self.receipts = 0
        self._length_us = length_us
        self._start_wall_us = (
            wire.to_wall_us(order.sound.start_at) if order.sound and order.sound.start_at else None
        )
        self._expires_wall_us = wire.to_wall_us(order.expires_at)
        self._stop = order.action is Action.STOP
        self._tracks = {(gw, siren): Track() for gw, sirens in self.expected.items() for siren in sirens}
        self._orders: dict[str, Track] = {}
        """What a gateway said of the order as a whole; a gateway is here once it has answered at all."""
        self._pending: dict[str, set[str]] = {gw: set(sirens) for gw, sirens in self.expected.items() if sirens}
        self._owing = {*self._pending, *named}
        """Gateways that are meant and have not answered."""
        self._now_us = 0
        self._offset_us: int | None = None
        self._start_us = 0
        self._cutoff_us = 0
        self._answered_us = 0
        """When a gateway answered last that had not, or had refused for a while."""
        self._next_us = 0

    @property
    def deadline(self) -> int | None:
        match self.state:
            case State.NEW | State.OVER:
                return None
            case State.SENDING:
                over_us = self._over_us if self._over_us > self._now_us else None
                return earliest(self._next_us, self._cutoff_us, over_us)
            case State.FOLLOWING:
                return self._over_us

    def handle(self, now_us: int, event: Clock | Told | Woken) -> list[Publish]:
        self._now_us = now_us
        out: list[Publish] = []
        match event:
            case Clock(wall_us):
                self._clock(now_us, wall_us)
            case Told(message=Receipt() as receipt) if receipt.order == self.order.id:
                self._take(now_us, receipt)
            case Told(message=Status(state="online"), retained=False, gateway=gateway) if gateway in self._owing:
                # It has just come back: what it missed is sent now, not at the next turn.
                if self._owed(now_us) and self.attempts:
                    out.append(Publish(wire.gateway_topic(gateway, self._stop), self.raw))
        if self._offset_us is None:
            return out
        if self._owed(now_us) and self._next_us <= now_us:
            out += self._send(now_us)
        self._judge(now_us)
        assert (deadline := self.deadline) is None or deadline > now_us, (deadline, now_us, event)
        return out

    @property
    def over(self) -> bool:
        return self.state is State.OVER

    @property
    def settled(self) -> bool:
        """Whether a report may be made: each siren's last word is in, or its time is over.

        It may come before OVER: a gateway that is down is sent the order as long as it may still begin.
        """
        if self._offset_us is None:
            return False
        # With nobody known to be meant, silence proves nothing before its time is over.
        return self._now_us >= self._over_us or bool(self._tracks and not self._pending and not self.silent)

    @property
    def silent(self) -> tuple[str, ...]:
        """Gateways of the signed list that have said nothing, and whose sirens nobody here can name."""
        return tuple(sorted(gw for gw, sirens in self.expected.items() if not sirens and gw not in self._orders))

    @property
    def elapsed(self) -> float:
        """How much of what was ordered has passed since its start, 0 to 1."""
        if self._offset_us is None or not self._length_us:
            return 0.0
        return min(1.0, max(0.0, (self._now_us - self._start_us) / self._length_us))

    def sirens(self) -> list[SirenResult]:
        return [self._result(gateway, siren, track) for (gateway, siren), track in sorted(self._tracks.items())]

    def gateways(self) -> dict[str, str]:
        """Every gateway that is meant or has answered, and how it stands: waiting, answered, or rejected(why)."""
        out: dict[str, str] = {}
        for gateway in sorted({*self.expected, *self._orders}):
            track = self._orders.get(gateway)
            refusal = self._refusal(gateway)
            if track is None:
                out[gateway] = "waiting"
            elif refusal is None:
                out[gateway] = "answered"
            elif gateway in self.expected or refusal != Reason.NO_TARGET:
                # An order for an area reaches gateways it does not mean; that they say so is no news.
                out[gateway] = f"rejected({refusal})"
        return out

    @property
    def _over_us(self) -> int:
        """When a siren that has not said its last word is given up; later when a gateway began late."""
        return max(self._start_us, self._answered_us) + self._length_us + AFTER_US

    # Sending.

    def _clock(self, now_us: int, wall_us: int) -> None:
        """Derive the order's instants anew, unless it has begun: then the mapping is frozen."""
        if self._offset_us is None:
            self._next_us = now_us
        elif now_us >= self._start_us:
            return
        self._offset_us = wall_us - now_us
        self._start_us = now_us if self._start_wall_us is None else self._start_wall_us - self._offset_us
        self._cutoff_us = self._expires_wall_us - self._offset_us
        if self._stop:
            self._cutoff_us = max(self._cutoff_us, now_us + STOP_FOR_US)
        if self._start_wall_us is not None and self.order.mode is not Mode.LIVE:
            # A drill does not begin in its middle; a warning does.
            self._cutoff_us = min(self._cutoff_us, self._start_us)

    def _owed(self, now_us: int) -> bool:
        enough = self.attempts >= (STOP_SENDS if self._stop and not self.expected else 1)
        return bool(self._owing or not enough) and now_us < self._cutoff_us and self.state is not State.FOLLOWING

    def _send(self, now_us: int) -> list[Publish]:
        self.attempts += 1
        if self.attempts <= RESEND_FAST:
            gap_us = RESEND_US
        else:
            gap_us = RESEND_SLOW_US if self._start_us - now_us <= FAR_US else RESEND_IDLE_US
        self._next_us = now_us + gap_us
        if self.attempts == 1 or not self._owing or len(self._owing) > SINGLE_LIMIT:
            return [Publish(wire.order_topic(self.order.area, self._stop), self.raw)]
        return [Publish(wire.gateway_topic(gateway, self._stop), self.raw) for gateway in sorted(self._owing)]

    # Following.

    def _take(self, now_us: int, receipt: Receipt) -> None:
        gateway, siren = receipt.gateway, receipt.siren
        answered = gateway in self._orders and self._refusal(gateway) not in PASSING
        if gateway not in self._orders:
            if len(self._orders) >= MAX_SIRENS:
                return
            self._orders[gateway] = Track()
        self.receipts += 1
        if not siren:
            track = self._orders[gateway]
        elif (gateway, siren) in self._tracks:
            track = self._tracks[gateway, siren]
        elif len(self._tracks) < MAX_SIRENS:
            track = self._tracks[gateway, siren] = Track()
            self._pending.setdefault(gateway, set()).add(siren)
        else:
            return
        track.take(receipt)
        if receipt.mode is not None and receipt.mode is not self.order.mode and not self._stop:
            track.trouble(receipt.seq, f"says mode {receipt.mode.value}, ordered {self.order.mode.value}")
        if not answered and self._refusal(gateway) not in PASSING and self.state is not State.OVER:
            # What it sounds begins now, also when it had refused for a while.
            self._answered_us = now_us
        self._answer(gateway)

    def _answer(self, gateway: str) -> None:
        """What a gateway's answer settles: that it has the order, and which of its sirens have their last word."""
        if self._refusal(gateway) not in PASSING:
            self._owing.discard(gateway)
        waiting = self._pending.get(gateway, set())
        waiting -= {s for s in waiting if self._last(gateway, s)}
        if not waiting:
            self._pending.pop(gateway, None)

    def _refusal(self, gateway: str) -> str | None:
        """Why it refuses the order as a whole. Once it has taken it, an earlier refusal counts no more."""
        whole = self._orders.get(gateway)
        if whole is None or whole.last is None or whole.way >= 0 or whole.last.stage is not Stage.REJECTED:
            return None
        return whole.last.reason

    def _last(self, gateway: str, siren: str) -> Receipt | None:
        """The last word on a siren: its own, else its gateway's refusal of the whole order."""
        own = self._tracks[gateway, siren].last
        if own is not None or self._refusal(gateway) is None or gateway in self._owing:
            return own
        return self._orders[gateway].last

    def _judge(self, now_us: int) -> None:
        if self._owing and now_us >= self._cutoff_us:
            # Too late for another attempt: a passing refusal has become the last word.
            late, self._owing = self._owing, set()
            for gateway in late:
                self._answer(gateway)
        if self._owed(now_us):
            kind = Kind.OWED
        else:
            kind = Kind.SETTLED if self.settled else Kind.ANSWERED
        self.state = TABLE.get((self.state, kind), self.state)

    def _result(self, gateway: str, siren: str, track: Track) -> SirenResult:
        last = self._last(gateway, siren)
        if last is not None:
            ending, stage, reason = Ending(last.stage.value), last.stage.value, last.reason
        else:
            ending = Ending.NO_ANSWER if self.state is State.OVER or self.settled else Ending.PENDING
            whole = self._orders.get(gateway)
            way = max(track.way, whole.way if whole else -1)
            stage, reason = ON_THE_WAY[way].value if way >= 0 else "sent", ""
        return SirenResult(
            gateway, siren, siren in self.expected.get(gateway, ()), ending, stage, reason,
            track.evidence[1] if track.evidence else None, track.edge[1] if track.edge else None,
            track.late[1] if track.late else None, tuple(track.troubles[n] for n in sorted(track.troubles)),
            tuple(sorted(track.deviations)),
        )
