"""Whether one identity is in two places: the sessions in which a gateway was heard.

Each start of a gateway's process has a session of its own, and one that has ended never speaks again. So a session
that says something new after another one was heard lives beside it: two processes with one identity, of which one
runs from a copied card or a stolen disk. While the broker lets only one of them in, they end each other's
connection in turns, and the sessions alternate; where it lets both in, their beats do.

    ALONE    one session at a time; a new one is a restart
    CLONED   two sessions live beside each other

It refuses to know who of the two is the true one: that is for people, who revoke the certificate of both.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum

from firmware_bridge.machine import S

KEPT_SESSIONS = 16
"""A gateway that crashes at every start makes many; two that alternate are among the newest."""
KEPT_INSTANTS = 64
"""Messages of a session that are known when the broker repeats them: it has 20 unconfirmed at most."""
CLEAR_US = 600 * S
"""Without a further sign for so long the second one is gone. Two that live give one each half minute."""


class Standing(Enum):
    ALONE = "alone"
    CLONED = "cloned"


class Kind(Enum):
    """What can be learned of an identity."""

    SIGN = "a session spoke after another, or its numbers went back"
    CLEAR = "no sign for CLEAR_US"


TABLE = {
    (Standing.ALONE, Kind.SIGN): Standing.CLONED,
    (Standing.CLONED, Kind.SIGN): Standing.CLONED,
    (Standing.CLONED, Kind.CLEAR): Standing.ALONE,
}


@dataclass(slots=True)
class _Seen:
    instants: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_INSTANTS))
    last_seq: int = 0


class Identity:
    """The sessions of one gateway. `pair` are the two that live, while they do."""

    def __init__(self) -> None:
        self.standing = Standing.ALONE
        self.pair: tuple[str, str] | None = None
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._current: str | None = None
        self._clear_us: int | None = None

    @property
    def deadline(self) -> int | None:
        return self._clear_us

    def heard(self, now_us: int, session: str, at: str, last_seq: int | None, kept: bool) -> bool:
        """A session spoke, at its own instant `at`; `kept` by the broker, which tells nothing of now.

        True when this was not known: what is repeated says nothing new.
        """
        seen = self._seen.setdefault(session, _Seen())
        self._seen.move_to_end(session)
        if len(self._seen) > KEPT_SESSIONS:
            self._seen.popitem(last=False)
        if at in seen.instants:
            return False
        back = last_seq is not None and last_seq < seen.last_seq
        spoke = bool(seen.instants)
        seen.instants.append(at)
        seen.last_seq = max(seen.last_seq, last_seq or 0)
        if not kept:
            if self._current not in (None, session) and spoke:
                self._sign(now_us, str(self._current), session)
            elif back:
                self._sign(now_us, session, session)
            self._current = session
        return True

    def woken(self, now_us: int) -> bool:
        """True when the second one is gone."""
        if self._clear_us is None or now_us < self._clear_us:
            return False
        self.standing, self.pair, self._clear_us = TABLE[self.standing, Kind.CLEAR], None, None
        return True

    def _sign(self, now_us: int, one: str, other: str) -> None:
        self.standing = TABLE[self.standing, Kind.SIGN]
        self.pair = (one, other) if one <= other else (other, one)
        self._clear_us = now_us + CLEAR_US
