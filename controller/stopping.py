"""What a stop does on one siren: which soundings it ends, which it may not, and whom it has to wait for.

A stop speaks of what was issued before it, and of what is live only when its signers may stop that. Where nothing
would be left, the siren is told to end whatever sounds, known or not. It refuses to know when a stop came.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.event import UNCONFIRMED, Stop
from controller.ledger import Accept, Entry, Ledger, Part, State
from controller.trust import Reason
from controller.wire import Action, Mode, Stage


@dataclass(frozen=True, slots=True)
class Plan:
    """`told` goes to the siren; the `awaited` activations will end there; the `cancelled` never reached it."""

    told: tuple[Stop, ...]
    awaited: frozenset[str]
    cancelled: tuple[tuple[Entry, Part], ...]
    refused: Reason | None
    """Why something goes on there that a stop of this siren might be thought to end."""


def plan(ledger: Ledger, stop: Accept, siren: str, anew: bool = False) -> Plan:
    there = list(ledger.parts_on(siren))
    meant = [(e, p) for e, p in there if stop.stops_what(e.accept, anew)]
    # What a rule asked for is live, and whoever may stop a drill may stop it.
    ended = [(e, p) for e, p in meant if stop.stops_live or e.accept.mode is not Mode.LIVE or e.accept.door == "rule"]
    if len(ended) == len(there) and stop.stops is None:
        told: tuple[Stop, ...] = (Stop(siren, stop.by, "stop"),)
    else:
        told = tuple(Stop(siren, stop.by, "stop", e.id) for e, _ in ended)
    refused = None
    if len(ended) < len(meant):
        refused = Reason.TOO_FEW_PERSONS
    elif len(meant) < len(there) and stop.stops is None:
        refused = Reason.ISSUED_LATER
    reached = [(e, p) for e, p in ended if p.state in (State.GIVEN, State.SOUNDING)]
    return Plan(
        told,
        frozenset(e.activation(siren) for e, _ in reached),
        tuple(pair for pair in ended if pair not in reached),
        refused,
    )


def again(ledger: Ledger, stop: Accept) -> list[Plan]:
    """The same stop once more, on the sirens where it has something to end."""
    plans = [plan(ledger, stop, siren, anew=True) for siren in stop.sirens]
    return [one for one in plans if one.awaited or one.cancelled]


def released(waiting: Iterable[Entry], activation: str, stage: Stage, reason: str) -> Iterator[tuple[Entry, Part]]:
    """An activation ended so: which stops waited for it, and wait on that siren for nothing more."""
    for entry in [e for e in waiting if e.accept.action is Action.STOP]:
        for part in entry.parts.values():
            if activation in part.awaits:
                part.awaits.discard(activation)
                if stage is Stage.FAILED or reason.endswith(UNCONFIRMED):
                    part.trouble = part.trouble or reason or "failed"
                if not part.awaits:
                    yield entry, part
