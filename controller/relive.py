"""A gateway lived again: its moments once more into the same machines, and whether they do what they did.

What comes of each moment is compared with the check that was kept of it. The first that differs is where another
version, or a machine that depends on more than it is told, parts from what happened; what follows it is of no worth
as evidence, and is still shown. It refuses to know where the moments come from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller import moment
from controller.gateway import Gateway
from controller.moment import Moment


@dataclass(frozen=True, slots=True)
class Step:
    """What came in, what went out, and whether that is what went out then."""

    moment: Moment
    effects: tuple[object, ...]
    died: str = ""
    """Of what the machines died at this event now; nothing goes on after it."""

    @property
    def same(self) -> bool:
        if isinstance(self.moment.check, str) or self.died:
            return self.moment.check == self.died
        return moment.check(self.effects) == self.moment.check


@dataclass(frozen=True, slots=True)
class Inner:
    """What one machine of the gateway was told, and answered."""

    event: object
    effects: tuple[object, ...]


def steps(gateway: Gateway, moments: Iterable[Moment]) -> Iterator[Step]:
    for one in moments:
        try:
            effects = gateway.handle(one.at_us, one.event)
        except Exception as error:
            yield Step(one, (), death(error))
            return
        yield Step(one, tuple(effects))


def death(error: Exception) -> str:
    """How a moment says of what the machines died."""
    return f"{type(error).__name__}: {error}"


def watch(gateway: Gateway, name: str) -> list[Inner] | None:
    """From now on what the siren, bus, device or spot of this name is told stands here; None: there is none."""
    machine = gateway.sirens.get(name) or gateway.buses.get(name) or gateway.devices.get(name) \
        or gateway.floods.rules.get(name)
    if machine is None:
        return None
    seen: list[Inner] = []
    real = machine.handle

    def handle(now_us: int, event: object) -> object:
        effects = real(now_us, event)  # type: ignore[arg-type]
        seen.append(Inner(event, tuple(effects)))
        return effects

    # On the one object, not on its class: there is no other way into the middle of a work list.
    machine.__dict__["handle"] = handle
    return seen
