"""Which sirens an order was prepared for: what the persons saw who signed it, and what a gateway makes of its area.

Who prepares an order sees a list of sirens, gateway by gateway; what is signed is an area. So the order carries a
digest for each gateway of the list, and each gateway compares it with what it finds itself. What is there may have
changed meanwhile: a siren was added, was moved, or a gateway is new. A digest is of all by which an order can mean a
siren: its name, where it stands, and its layer.

It refuses to know what follows from a difference (`site.py`), and what a gateway's sirens are.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Protocol

from controller.wire import Action, Layer, Mode, OrderBody

OCTETS = 8
"""Of SHA-256, so that a county's gateways fit into an order. Nobody gains by another list of the same digest: the
area is signed too, and no list reaches beyond it."""


class Placed(Protocol):
    """A siren, as far as an order can mean it."""

    @property
    def id(self) -> str: ...
    @property
    def area(self) -> str: ...
    @property
    def layer(self) -> Layer: ...


def digest(gateway: str, sirens: Iterable[Placed]) -> str:
    """Of these sirens of a gateway, in whatever sequence they are told."""
    lines = sorted(f"{s.id} {s.area} {s.layer.value}\n" for s in sirens)
    octets = hashlib.sha256(f"siren/1 targets\n{gateway}\n{''.join(lines)}".encode()).digest()
    return base64.urlsafe_b64encode(octets[:OCTETS]).rstrip(b"=").decode()


def meant(order: OrderBody, sirens: Iterable[Placed]) -> list[Placed]:
    """Those of a gateway's sirens that an order is for."""
    return [s for s in sirens if order.targets(s.id, s.area, s.layer)]


def unprepared(order: OrderBody) -> bool:
    """Whether nobody has seen which sirens will sound, where somebody must have: nobody is warned by a drill."""
    return order.prepared is None and order.action is Action.SOUND and order.mode is Mode.DRILL


def difference(order: OrderBody, gateway: str, sirens: Iterable[Placed]) -> str:
    """What of an order's list is otherwise on this gateway with these sirens; empty: nothing, or there is no list."""
    if order.prepared is None or order.action is Action.STOP:
        # A stop ends what sounds, whoever that is.
        return ""
    own = meant(order, sirens)
    expected = order.prepared.get(gateway)
    if expected == digest(gateway, own) or (expected is None and not own):
        return ""
    here = " ".join(sorted(s.id for s in own)) or "none"
    return f"not in its list; here are {here}" if expected is None else f"prepared for others; here are {here}"
