"""Tickets: the numbers that machines gave to what they wait for; unique on the way out, their own on the way back.

A machine numbers its own records and actions from 1; journal and devices serve many. It refuses to know what a machine
is, and what an answer says.
"""

from itertools import count
from typing import Any

from controller.event import Append
from firmware_bridge.event import Abort, Begin, Edged, Ended


class Tickets:
    """What is out, and whose it is."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._appends: dict[int, tuple[Any, int]] = {}
        self._actions: dict[int, tuple[Any, int]] = {}

    @property
    def records(self) -> int:
        """How many wait for the disk."""
        return len(self._appends)

    @property
    def actions(self) -> int:
        """How many are under way."""
        return len(self._actions)

    def new(self) -> int:
        """A number for what is nobody's."""
        return next(self._numbers)

    def out(self, machine: object, effect: Any) -> Any:
        """An effect of `machine` with a number that nobody else has; what is not numbered stays as it is."""
        match effect:
            case Append(token, record):
                outer = self.new()
                self._appends[outer] = machine, token
                return Append(outer, record)
            case Begin():
                outer = self.new()
                self._actions[outer] = machine, effect.token
                return Begin(effect.device, effect.action, outer, effect.channel, effect.args, effect.priority,
                             effect.at_us, effect.expires_us)
            case Abort():
                known = (n for n, (owner, token) in self._actions.items() if owner is machine and token == effect.token)
                return Abort(effect.device, next(known, 0))
        return effect

    def kept(self, token: int) -> tuple[Any, int]:
        """Whose record this was, and its number there."""
        return self._appends.pop(token)

    def back(self, what: Edged | Ended) -> tuple[Any, Edged | Ended] | None:
        """Whose action this is, and the answer with its number there; None: nobody's any more."""
        found = self._actions.get(what.token)
        if found is None:
            return None
        machine, token = found
        if isinstance(what, Edged):
            return machine, Edged(what.device, token, what.action, what.edge_us)
        del self._actions[what.token]
        return machine, Ended(what.device, token, what.action, what.done, what.why, what.edge_us)
