"""The intake: what an order has to pass before its signatures are worth checking, and how many are checked at once.

Cheap checks first: size and shape, retained, deployment, time. What passes waits in one of two short queues, and at
most CHECKS signatures a WINDOW are verified, stops before all others. Of what fails nothing is remembered by which
a false copy could block the true order; only that it was answered, so that a flood is not answered for ever.
It refuses to know keys, sirens, signals and the orders that are known already.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller import trust
from controller.event import Arrived, Offered, Record
from controller.nonce import Nonces
from controller.trust import Reason, Rejected, Unverified
from controller.wire import Action, Mode, Stage
from firmware_bridge.machine import MS, S, earliest

CHECKS = 8
"""Signatures verified in one WINDOW: 1.5 ms of a PC, about 10 ms of a small Pi."""
WINDOW_US = 10 * MS
STOP_CHECKS = 4
"""Of those, for stops while orders wait too: a flood of false stops must not silence a warning."""
QUEUE_LIMIT = 256
"""Orders, and as many stops, that wait for their signatures: two thirds of a second's work."""
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
ANSWERED_LIMIT = 256
"""Refused orders whose answer is not said a second time."""
ANSWERS = 256
"""Such answers at once, refilled at one a second: who floods us does not fill the journal."""

Waiting = tuple[Unverified, int | None]
"""An order and the local client it came from."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is not believed, or not yet. `answer` is False where a receipt would speak of another order."""

    reason: Reason
    order: str | None
    detail: str = ""
    answer: bool = True


def untimely(order: Unverified, wall_us: int | None, error_us: int) -> Reason | None:
    """Whether the clock forbids the order; `wall_us` is None when it is not to be believed.

    A stop needs no believable clock: it ends only what was issued before it. What is to begin at once may have a nonce.
    """
    body = order.body
    start_us = order.not_before_us if order.start_us is None else order.start_us
    if not order.not_before_us <= start_us <= order.expires_us or order.issued_us > order.expires_us:
        return Reason.BAD_WINDOW
    if order.expires_us - order.not_before_us > LIFETIME_US[body.action, body.mode]:
        return Reason.TOO_LONG
    if order.expires_us - order.issued_us > AHEAD_US:
        return Reason.TOO_LONG
    if wall_us is None:
        timeless = body.action is Action.STOP or (body.nonce is not None and order.start_us is None)
        return None if timeless else Reason.NO_TIME
    if wall_us - error_us > order.expires_us:
        return Reason.EXPIRED
    if order.issued_us > wall_us + error_us + FUTURE_US:
        return Reason.NOT_YET
    if order.start_us is None and wall_us + error_us < order.not_before_us:
        return Reason.NOT_YET
    return None


def _nonce(order: Unverified) -> str | None:
    """What its freshness hangs on; a stop is done whatever it bears."""
    return None if order.body.action is Action.STOP else order.body.nonce


class Intake:
    """Two queues, a budget of signatures, and the nonces that were shown.

    Its owner knows what is known, and asks it between the two checks.
    """

    def __init__(self, deployment: str, chance: str = "") -> None:
        self._deployment = deployment
        self._nonces = Nonces(chance)
        self._offered: str | None = None
        self._stops: deque[Waiting] = deque()
        self._orders: deque[Waiting] = deque()
        self._checked = 0
        self._window_us = 0
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._answers = float(ANSWERS)
        self._filled_us = 0

    @property
    def deadline(self) -> int | None:
        return earliest(self._nonces.deadline, self._window_us + WINDOW_US if self._stops or self._orders else None)

    def read(self, event: Arrived) -> Unverified | Refusal:
        """What came, if it can be an order for this deployment at all."""
        try:
            order = trust.peek(event.payload)
        except Rejected as rejected:
            return Refusal(rejected.reason, rejected.order, rejected.detail)
        if event.retained:
            return Refusal(Reason.RETAINED, order.body.id, f"on {event.topic}", answer=False)
        if order.body.deployment != self._deployment:
            return Refusal(Reason.WRONG_DEPLOYMENT, order.body.id, f"for {order.body.deployment}")
        return order

    def put(self, now_us: int, order: Unverified, client: int | None, wall_us: int | None,
            error_us: int) -> Refusal | None:
        """Let it wait for its signatures, or say why it need not."""
        reason = untimely(order, wall_us, error_us)
        if reason is not None:
            return Refusal(reason, order.body.id, f"{order.body.not_before} to {order.body.expires_at}")
        if (nonce := _nonce(order)) is not None and not self._nonces.good(now_us, nonce):
            return Refusal(Reason.STALE_NONCE, order.body.id, nonce)
        queue = self._stops if order.body.action is Action.STOP else self._orders
        if len(queue) >= QUEUE_LIMIT:
            return Refusal(Reason.BUSY, order.body.id, f"{len(queue)} wait", answer=False)
        queue.append((order, client))
        return None

    def take(self, now_us: int) -> Iterator[Waiting]:
        """What may be checked now, stops first."""
        if now_us - self._window_us >= WINDOW_US:
            self._window_us, self._checked = now_us, 0
        for queue in (self._stops, self._orders):
            limit = STOP_CHECKS if queue is self._stops and self._orders else CHECKS
            while queue and self._checked + len(queue[0][0].kids) <= limit:
                self._checked += len(queue[0][0].kids)
                yield queue.popleft()

    def use(self, now_us: int, order: Unverified) -> None:
        """It is believed: its nonce is used up. Rejected when another order was faster, or its time is over."""
        if (nonce := _nonce(order)) is not None and not self._nonces.use(now_us, nonce):
            raise Rejected(Reason.STALE_NONCE, order.body.id, nonce)

    def offer(self, now_us: int, timeless: bool) -> list[Offered]:
        """The nonce to be shown, where it is another one than before; `timeless`: the gateway lacks the time."""
        self._nonces.want(now_us, timeless)
        if self._nonces.shown == self._offered:
            return []
        self._offered = self._nonces.shown
        return [Offered(self._offered)]

    def answered(self, order: str) -> bool:
        """Whether an order of this id was refused and told so lately."""
        return order in self._answered

    def may_answer(self, now_us: int, order: str) -> bool:
        """Whether there is room for one more answer to what is not believed; counts it."""
        self._answers = min(ANSWERS, self._answers + (now_us - self._filled_us) / S)
        self._filled_us = now_us
        if self._answers < 1:
            return False
        self._answers -= 1
        self._remember(order)
        return True

    def restore(self, records: Iterable[Record]) -> None:
        """After a restart: whom the journal says that we refused."""
        for record in records:
            body = record.body
            if record.kind == "receipt" and body.get("stage") == Stage.REJECTED and not body.get("siren"):
                self._remember(str(body.get("order")))

    def _remember(self, order: str) -> None:
        self._answered[order] = None
        if len(self._answered) > ANSWERED_LIMIT:
            self._answered.popitem(last=False)
