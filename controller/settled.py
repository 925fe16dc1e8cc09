"""What of a grown gateway changes no more: what its lines say, and the orders of which the last word is said.

A gateway keeps ten thousand of the one and thousands of the other, on purpose. To make octets of them takes longer
than its loop may stand still; but as they stay what they are, they can be named at an instant and written later,
elsewhere. How far a line is on its way to the broker is not among it, and is told by number. Nor is a stop: that it
forbids may be borne out by the clock long after its last word. `state` is what else there is of the two machines
that hold them; `put_back` makes both whole again. It refuses to know of octets.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from controller.gateway import Gateway
from controller.ledger import Entry, Ledger
from controller.outbox import Line, Outbox, Stand
from controller.wire import Action

Settled = Line | Entry
NUMBERED = {"_queue": Stand.READY, "_sent": Stand.SENT, "_delivered": Stand.DELIVERED, "_plain": None}
"""Where lines of the outbox lie, and how those stand that lie there; in a state they are numbers."""


def of(gateway: Gateway) -> list[Settled]:
    """In the order in which their machines have them."""
    outbox, ledger = gateway.session._outbox, gateway.orders._ledger
    ended = (entry for entry in ledger._entries.values() if not _changes(ledger, entry))
    return [*outbox._lines.values(), *ended]


def state(machine: Outbox | Ledger) -> dict[str, Any]:
    """The fields of a machine without what is settled, and without what follows from the rest."""
    found = dict(vars(machine))
    if isinstance(machine, Outbox):
        del found["_by_order"]
        found |= {name: tuple(found[name]) for name in NUMBERED}
        # Those that the disk does not have yet.
        found["_lines"] = tuple(seq for seq, one in machine._queue.items() if one.stand is Stand.WRITING)
    else:
        # By their places among all: the oldest are looked at first.
        entries = machine._entries.values()
        found["_entries"] = {n: entry for n, entry in enumerate(entries) if _changes(machine, entry)}
    return found


def put_back(gateway: Gateway, settled: Sequence[Settled]) -> None:
    """Into a gateway whose outbox and ledger are what `state` left of them; one that is whole stays as it is."""
    outbox, ledger = gateway.session._outbox, gateway.orders._ledger
    writing: Any = outbox._lines
    if not isinstance(writing, tuple):
        return
    lines = {one.seq: one for one in settled if isinstance(one, Line)}
    for name, stand in NUMBERED.items():
        there = OrderedDict((seq, lines[seq]) for seq in getattr(outbox, name))
        setattr(outbox, name, there)
        for line in there.values():
            line.stand = stand or line.stand
    for seq in writing:
        lines[seq].stand = Stand.WRITING
    outbox._lines = lines
    for line in outbox._lines.values():
        if line.order:
            outbox._by_order.setdefault(line.order, []).append(line.seq)
    changing: dict[Any, Entry] = dict(ledger._entries)
    ended = [one for one in settled if isinstance(one, Entry)]
    ledger._entries = {entry.id: entry for entry in _in_place(changing, ended)}


def _in_place(changing: dict[Any, Entry], settled: Sequence[Entry]) -> Iterator[Entry]:
    rest = iter(settled)
    for n in range(len(changing) + len(settled)):
        yield changing[n] if n in changing else next(rest)


def _changes(ledger: Ledger, entry: Entry) -> bool:
    return entry.accept.action is Action.STOP or entry.accept.order in ledger._open
