"""The words for what can go wrong in the field, in one table: on what a fault can be, and what happens then.

`siren-sim fault --help`, docs/simulators.md and every refusal of a wrong word are this table. How a fault is done is
written where it happens: `device.py`, `answers.py`, `line.py`, `endpoint.py`; who begins and ends it is `damage.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class NoSuch(ValueError):
    """A name from outside that is none; the text says which there are."""


class On(StrEnum):
    """What a fault can be on."""

    OUTPUT = "output"
    """One channel of a unit (`relay-1.2`), or the unit for all of them."""
    UNIT = "serial unit"
    TCP_UNIT = "TCP unit"
    LINE = "serial line"
    """Also one behind a serial server."""
    TCP = "TCP line"
    GAUGE = "gauge"
    """A unit that sees water: one with a `[[gauge]]` in the site."""


class Fault(StrEnum):
    """One thing that can be wrong."""

    DEAD = "dead"
    FROZEN = "frozen"
    STUCK_ON = "stuck-on"
    STUCK_OFF = "stuck-off"
    PANEL = "panel"
    REBOOT = "reboot"
    BROWN_OUT = "brown-out"
    BABBLE = "babble"
    BUSY = "busy"
    ILLEGAL = "illegal"
    SLOW_REFUSAL = "slow-refusal"
    NO_PATH = "no-path"
    NO_TARGET = "no-target"
    DROPPED = "dropped"
    LATE = "late"
    DOUBLED = "doubled"
    WRONG_UNIT = "wrong-unit"
    SHORT = "short"
    CUT = "cut"
    GARBLED = "garbled"
    NOISE = "noise"
    ECHO = "echo"
    UNPLUG = "unplug"
    ONE_A_SEGMENT = "one-a-segment"
    SPLIT = "split"
    JOINED = "joined"
    STUCK = "stuck"
    DRIFTING = "drifting"
    NOISY = "noisy"
    VEHICLES = "vehicles"
    DEBRIS = "debris"
    FLOODED = "flooded"


ALL = "all"
"""Instead of a fault, to end whatever is wrong with a target."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table. `number`: what may be said instead of `on`, or "" for nothing; `usual`: what `on` is."""

    on: tuple[On, ...]
    does: str
    number: str = ""
    usual: float = 1.0


_UNITS = (On.UNIT, On.TCP_UNIT)
_SERIAL = (On.UNIT, On.LINE)
_BY_TCP = (On.TCP_UNIT, On.TCP)
_ANY = (*_SERIAL, *_BY_TCP)
_OF_REQUESTS, _OF_ANSWERS = "share of requests", "share of answers"

TABLE: dict[Fault, Entry] = {
    Fault.DEAD: Entry(_UNITS, "silent; what it was doing goes on as its output class has it"),
    Fault.FROZEN: Entry(_UNITS, "what nobody may write is shown as it was; commands work"),
    Fault.STUCK_ON: Entry((On.OUTPUT,), "a welded contact: off is acknowledged and read back, it stays closed"),
    Fault.STUCK_OFF: Entry((On.OUTPUT,), "a burnt contact: on is acknowledged and read back, it stays open"),
    Fault.PANEL: Entry((On.OUTPUT,), "somebody sounds it by hand; a head (class B') knows, a relay board does not"),
    Fault.REBOOT: Entry(_UNITS, "power fails for a moment: outputs open, silent while it boots (its `boot_ms`), then as"
                        " at power-up; it ends by itself", "seconds it boots"),
    Fault.BROWN_OUT: Entry(_UNITS, "it reboots 50 ms after one of its outputs closes, each time: what it starts pulls"
                           " its supply down"),
    Fault.BABBLE: Entry(_SERIAL, "octets nobody asked for, at any instant; they collide with frames",
                        "share of the time"),
    Fault.BUSY: Entry(_ANY, "refused with exception 6, and not done", _OF_REQUESTS),
    Fault.ILLEGAL: Entry(_ANY, "refused with exception 1, 2 or 3 as it falls, and not done", _OF_REQUESTS),
    Fault.SLOW_REFUSAL: Entry(_ANY, "a refusal comes 0.2 to 0.9 s late, and so does the answer after it",
                              "share of refusals"),
    Fault.NO_PATH: Entry(_BY_TCP, "the gateway says exception 0x0A and asks no unit", _OF_REQUESTS),
    Fault.NO_TARGET: Entry(_BY_TCP, "the gateway says exception 0x0B after 0.5 s, and no unit had the request",
                           _OF_REQUESTS),
    Fault.DROPPED: Entry(_ANY, "done, and no answer comes", _OF_ANSWERS),
    Fault.LATE: Entry(_ANY, "it comes 0.2 to 0.9 s late", _OF_ANSWERS),
    Fault.DOUBLED: Entry(_ANY, "it comes twice, the second time within 50 ms", _OF_ANSWERS),
    Fault.WRONG_UNIT: Entry(_ANY, "a valid answer under another unit address", _OF_ANSWERS),
    Fault.SHORT: Entry(_ANY, "a valid frame with less data than was asked for", _OF_ANSWERS),
    Fault.CUT: Entry(_SERIAL, "only the beginning comes", _OF_ANSWERS),
    Fault.GARBLED: Entry(_SERIAL, "one to three octets changed, the CRC is wrong", _OF_ANSWERS),
    Fault.NOISE: Entry(_SERIAL, "one to six octets nobody sent come before it", _OF_ANSWERS),
    Fault.ECHO: Entry((On.LINE,), "the adapter hears what it sends"),
    Fault.UNPLUG: Entry((On.LINE, On.TCP), "the adapter or cable is out"),
    Fault.ONE_A_SEGMENT: Entry((On.TCP,), "of several requests in one segment only the first is served"),
    Fault.SPLIT: Entry((On.TCP,), "an answer comes in two to four segments, 1 to 20 ms apart"),
    Fault.JOINED: Entry((On.TCP,), "answers wait 50 ms and leave in one segment"),
    Fault.STUCK: Entry((On.GAUGE,), "the sensor shows for ever what it shows now; the unit is well otherwise"),
    Fault.DRIFTING: Entry((On.GAUGE,), "it shows more and more than there is: silt, fouling, a wandering zero",
                          "metres an hour, -10 to 10", 0.1),
    Fault.NOISY: Entry((On.GAUGE,), "ripple, spray, a bad cable: chance is added to each reading",
                       "metres, as standard deviation", 0.03),
    Fault.VEHICLES: Entry((On.GAUGE,), "a vehicle passes for 2 s: one that looks down sees its roof, the others its"
                          " bow wave", "share of the time", 0.2),
    Fault.DEBRIS: Entry((On.GAUGE,), "something lies there, so high that it shows so much at least; a float hangs on"
                        " it", "metres", 0.5),
    Fault.FLOODED: Entry((On.GAUGE,), "water in the sensor itself: it shows all that it can show, and a contact is"
                         " closed"),
}


def meant(fault: str, target: str, known: tuple[Fault, ...]) -> Fault:
    """The fault of this name; NoSuch when it is none that this target can have."""
    if fault in known:
        return Fault(fault)
    raise NoSuch(f"{fault!r} is no fault of {target}; faults: {', '.join(known)}")


def takes_seconds(fault: str) -> bool:
    """Whether a number behind this word is seconds, and not a share."""
    return fault in set(Fault) and TABLE[Fault(fault)].number.startswith("seconds")


def usual(fault: str) -> float:
    """The number that `on` stands for."""
    return TABLE[Fault(fault)].usual if fault in set(Fault) else 1.0


def number(fault: Fault, share: float, seconds: float | None) -> None:
    """NoSuch when a number was said that this fault does not take."""
    takes = TABLE[fault].number
    if takes.startswith("metres"):
        if not -10 <= share <= 10 or (share < 0 and fault is not Fault.DRIFTING):
            raise NoSuch(f"{share:g} m: {fault} takes {takes}; 10 at most")
        return
    if not 0 <= share <= 1:
        raise NoSuch(f"{share:g} is no share; say 0 to 1")
    if not takes.startswith("share") and share not in (0, 1):
        raise NoSuch(f"{fault} is on or off, and takes no share")
    if seconds is not None and not takes_seconds(fault):
        raise NoSuch(f"{fault} takes no seconds")
    if seconds is not None and not 0 < seconds <= 3600:
        raise NoSuch(f"{seconds:g} s: say more than 0, and an hour at most")


def rows() -> Iterator[tuple[str, str, str, str]]:
    """The table as text: fault, on what, its number, what happens."""
    for fault, entry in TABLE.items():
        yield fault, ", ".join(_where(set(entry.on))), entry.number, entry.does


def _where(on: set[On]) -> Iterator[str]:
    for word, pair in (("unit", _UNITS), ("line", (On.LINE, On.TCP))):
        both = on.issuperset(pair)
        yield from [word] if both else [str(one) for one in pair if one in on]
    yield from (one for one in (On.OUTPUT, On.GAUGE) if one in on)
