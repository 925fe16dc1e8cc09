"""SAFE-MIN: what is left of a gateway whose process crashed three times in five minutes.

Every output is turned off once, as soon as it is known; then live orders and stops are carried out and nothing else:
no drills, no tests at the cabinet, nothing that a restart cut, no polls of what no siren is composed of. Who looks
and reads is answered. A technician ends it, or a quiet hour. It refuses to know what crashed (`crash.py`).
"""

from collections.abc import Iterable, Mapping
from enum import Enum

from controller import desk
from controller.event import NOBODYS, Ask, Degraded, Full, Notice, Publish, Stop
from firmware_bridge.machine import S, Woken

QUIET_US = 3600 * S
"""After so long without another crash it ends by itself: nobody may come to a cabinet for weeks, and flood rules,
drills and tests are missed. Whatever crashed us may come again; then so does this."""

SAFE_MIN = "SAFE-MIN"
NOT_LISTED = "只有 gateway.toml 中登记的人员可以 / only who is listed in gateway.toml may do this"
NOT_ON = "网关不在最小安全模式 / the gateway is not in SAFE-MIN"


class State(Enum):
    """How much of the gateway is at work.

    FULL: all of it.

    MINIMAL: outputs are off until a live order; live orders and stops are carried out, and nothing else.
    """

    FULL = "FULL"
    MINIMAL = "MINIMAL"


class Move(Enum):
    LEAVE = "a technician ends it"
    QUIET = "a quiet hour is over"


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.MINIMAL, Move.LEAVE): State.FULL,
    (State.MINIMAL, Move.QUIET): State.FULL,
}

SafeMinEvent = Ask | Woken
SafeMinEffect = Degraded | Full | Notice | Publish


class SafeMin:
    """`why` it begins with SAFE-MIN; empty: it does not. `persons` maps unix user to person."""

    def __init__(self, why: str, sirens: Iterable[str], persons: Mapping[str, str]) -> None:
        self.state = State.MINIMAL if why else State.FULL
        self._why = why
        self._persons = persons
        self._loud = set(sirens) if why else set()
        """Sirens whose output was not turned off yet."""
        self._until_us: int | None = None

    @property
    def on(self) -> bool:
        return self.state is State.MINIMAL

    @property
    def deadline(self) -> int | None:
        return (self._until_us or 0) if self.on else None

    def silence(self, known: Iterable[str]) -> list[Stop]:
        """Turn off the outputs that are known by now, each once. An off before that would only be unanswered. What is
        live stays armed, and what has come since sounds."""
        now = sorted(self._loud & set(known)) if self._loud else []
        self._loud -= set(now)
        return [Stop(siren, "sirend", SAFE_MIN, NOBODYS) for siren in now]

    def handle(self, now_us: int, event: SafeMinEvent) -> list[SafeMinEffect]:
        out: list[SafeMinEffect] = []
        if self.on and self._until_us is None:
            self._until_us = now_us + QUIET_US
            out.append(Degraded(SAFE_MIN, True, self._why))
        match event:
            case Ask(client, user=user):
                person = self._persons.get(user)
                if person is None or not self.on:
                    return [*out, desk.refusal(client, NOT_ON if person else NOT_LISTED)]
                out += [*self._end(Move.LEAVE, f"by {person}"), desk.answer(client, {"full": True})]
            case Woken():
                if self._until_us is not None and self.on and self._until_us <= now_us:
                    out += self._end(Move.QUIET, "a quiet hour")
        return out

    def _end(self, move: Move, why: str) -> list[SafeMinEffect]:
        self.state = TRANSITIONS[self.state, move]
        self._loud.clear()
        return [Degraded(SAFE_MIN, False, why), Full()]
