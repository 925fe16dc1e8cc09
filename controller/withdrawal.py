"""Which orders that wait for their time lose it when another trust list rules.

What waits was believed under the list of its day. It stays if it would be believed under this one too: every key that
signed it listed, valid when it was accepted, and allowed to do this. What has begun goes on to its end, for it is
bounded, and anybody can stop it; a technician's request has no signature to lose.
It refuses to know how a list came to rule, and how a siren is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from controller import wire
from controller.event import Notice, Stop
from controller.ledger import Entry, Ledger, Part, State
from controller.signers import TrustList
from controller.trust import Reason, still
from controller.wire import Action


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An order that is taken back, its parts that have not begun, and who is told."""

    entry: Entry
    parts: tuple[Part, ...]
    told: tuple[Notice | Stop, ...]


def withdrawn(ledger: Ledger, trust: TrustList, wall_us: int) -> Iterator[Withdrawn]:
    """Each order that this list does not carry."""
    for entry in ledger.open():
        accept = entry.accept
        waiting = tuple(p for p in entry.parts.values() if p.waits and accept.armed(wall_us))
        if not waiting or not accept.keys or accept.action is Action.STOP:
            continue
        why = still(accept.keys, accept.area, accept.action, accept.mode, trust, wire.to_wall_us(accept.at))
        if why is not None:
            notice = Notice("order-withdrawn", entry.id, f"{why}, by trust list {trust.version}", urgent=True)
            stops = (Stop(p.siren, f"trust list {trust.version}", Reason.KEY_WITHDRAWN, entry.id)
                     for p in waiting if p.state is State.GIVEN)
            yield Withdrawn(entry, waiting, (notice, *stops))
