"""The stop of a whole line, said once to all its units before it is said to each.

On a line that is configured for it a broadcast OFF reaches every board in the time of one write. It is no more than a
head start: nobody answers it, so each output is then turned off and read back by itself as ever. And the line rests
after it, so it is said only where it reaches several sirens at once: many boards with a siren on the same channel. It
would open whatever else is on that channel of another board (a second off-path, a beacon, a boom): where there is any,
nothing is said. It refuses to know why anything stops, and it never turns anything on.
"""

from collections.abc import Iterable

from controller.config import Config, Drive
from controller.event import Stop
from firmware_bridge.event import BROADCAST, Begin, Priority, Request, Submit, Transaction
from firmware_bridge.machine import S
from firmware_bridge.move import Set, resolve

SIRENS_EACH = 4
"""Sirens that one broadcast must reach to be worth its rest: in that time four outputs are turned off one by one."""
OWNER = "everyone"
"""Whose transactions these are: no device's, so that nobody waits for their end."""
LATE_US = 1 * S
"""Said later than this it is of no use: each unit was told by then."""


class Everyone:
    """The lines of a gateway that may be spoken to as one."""

    def __init__(self, config: Config) -> None:
        lines = {bus.id: (_driven(config, bus.id), _offs(config, bus.id)) for bus in config.spec.bus if bus.broadcast}
        self._lines = {bus: (driven, offs) for bus, (driven, offs) in lines.items()
                       if len(driven) >= SIRENS_EACH * len(offs) and not _opens_more(config, bus)}
        self._said = 0

    def stopped(self, now_us: int, stops: Iterable[Stop]) -> list[Submit]:
        """These stops come at once: what is said to the lines of which every siren is to end whatever sounds."""
        told, out = frozenset(stop.siren for stop in stops if stop.order is None), list[Submit]()
        for bus, (driven, offs) in self._lines.items():
            if driven <= told:
                for off in offs:
                    self._said += 1
                    out.append(Submit(bus, Transaction(OWNER, self._said, BROADCAST, off, Priority.STOP,
                                                       expires_us=now_us + LATE_US)))
        return out


def _driven(config: Config, bus: str) -> frozenset[str]:
    return frozenset(s.id for s in config.spec.siren if config.device(Drive.of(s.drive).device).bus == bus)


def _here(config: Config, bus: str, refs: Iterable[str]) -> list[Drive]:
    """Those of these outputs that are on the line."""
    return [d for d in map(Drive.of, refs) if config.device(d.device).bus == bus]


def _opens_more(config: Config, bus: str) -> bool:
    """Whether the OFF of a channel that drives a siren would open an output of another purpose."""
    cuts = [s.second_off for s in config.spec.siren if s.second_off is not None]
    others = _here(config, bus, [*cuts, *(ref for spot in config.spec.spot for _, ref in spot.outputs)])
    drives = _here(config, bus, (s.drive for s in config.spec.siren))
    return not {d.channel for d in others}.isdisjoint(d.channel for d in drives)


def _offs(config: Config, bus: str) -> list[Request]:
    """The OFF of each channel that drives a siren; config sees to it that all units here are of one model."""
    here = _here(config, bus, (s.drive for s in config.spec.siren))
    out: list[Request] = []
    for channel in sorted({d.channel for d in here}, key=lambda c: c or 0):
        drive = next(d for d in here if d.channel == channel)
        profile = config.profile_of(drive.device)
        moves = resolve(profile, Begin(drive.device, "cancel", 0, channel))
        out += [move.request(BROADCAST) for move in moves if isinstance(move, Set) and move.repeatable]
    return out
