"""Who is on a line: asks unit addresses the read-only `identity` points of the known models.

For a technician at a new cabinet, while `sirend` does not have the line (a port is opened exclusively, so it cannot).
It listens before it speaks, gives up when it hears another master, reads and never writes, and leaves out every address
at which some model answers as anybody. It tells what answers and which models the answer fits: a small number in a
register is soon shown, so whoever shows it is asked for every other point of that model too. Two models that fit cannot
be told apart by reading. It refuses to know what stands in `gateway.toml`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller import wiring
from controller.wiring import BusSection
from firmware_bridge.bus import Bus
from firmware_bridge.event import (
    BusEvent,
    Finished,
    Foreign,
    LinkDown,
    LinkLost,
    LinkUp,
    Outcome,
    Priority,
    Read,
    Received,
    Refused,
    Reply,
    Send,
    Silent,
    Submit,
    Transaction,
)
from firmware_bridge.link import Link, now_us
from firmware_bridge.machine import MS, Woken
from firmware_bridge.modbus import EXCEPTIONS
from firmware_bridge.plan import blocks
from firmware_bridge.point import Point
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Value

LISTEN_S = 2.0
"""Another master polls at least every second or two; whoever is heard before we speak is one."""
OPEN_S = 5.0
SILENT_TRIES = 2
"""An address that is silent this often is empty: one lost frame must not hide a siren."""
EVERY_UNIT = range(1, 248)


class Unprobed(Exception):
    """The line cannot be probed, and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that answered. `fits`: ids of the models it may be; `said`: what it showed for each.

    `like`: models whose identity it showed, but which have points that it refuses: another model, or a variant.
    """

    unit: int
    fits: tuple[str, ...]
    like: tuple[str, ...]
    said: Mapping[str, str]


def identities(profiles: Mapping[str, Profile]) -> dict[str, Point]:
    """The point by which each Modbus model is known; models without one are not found by reading."""
    return {p.id: p.point(p.spec.identity) for p in profiles.values()
            if p.spec.identity is not None and p.spec.protocol == "modbus"}


def wildcards(profiles: Mapping[str, Profile]) -> frozenset[int]:
    """Addresses at which whole models answer: several units would, at once."""
    return frozenset(unit for p in profiles.values() for unit in p.line.wildcards)


async def probe(section: BusSection, profiles: Mapping[str, Profile], units: Iterable[int] = EVERY_UNIT,
                folder: Path = Path(), thorough: bool = False,
                asking: Callable[[int], None] = lambda unit: None) -> AsyncIterator[Found]:
    """The units of `units` that answer, in order. Unprobed when the line does not open, breaks, or has a master.

    An address that is silent to the first model's question is taken for empty. A unit that says nothing to what it
    does not know (most refuse) is then missed: `thorough` asks silent addresses for every model. `asking` is told
    each unit before its turn.
    """
    if not identities(profiles):
        raise Unprobed("no profile has an `identity`, so there is nothing to ask for")
    left_out = wildcards(profiles)
    async with _Asker(section, folder) as asker:
        await asker.listen()
        for unit in units:
            if unit in left_out:
                continue
            asking(unit)
            if (found := await _identify(asker, unit, profiles, thorough)) is not None:
                yield found


async def _identify(asker: "_Asker", unit: int, profiles: Mapping[str, Profile], thorough: bool) -> Found | None:
    answers: dict[Read, Outcome] = {}
    heard = False
    for model, point in identities(profiles).items():
        request = _question(point)
        if request in answers:
            continue
        for _ in range(SILENT_TRIES if heard or not answers else 1):
            answers[request] = await asker.ask(unit, request, profiles[model])
            if not isinstance(answers[request], Silent):
                heard = True
                break
        if not heard and not thorough:
            return None
    if not heard:
        return None
    fits: list[str] = []
    like: list[str] = []
    said: dict[str, str] = {}
    for model, point in identities(profiles).items():
        match answers[_question(point)]:
            case Reply(values) if _plausible(point, values):
                said[model] = f"{point.name} = {_shown(point.decode(values))}"
                if refused := await _refused(asker, unit, profiles[model], answers):
                    like.append(model)
                    said[model] += f", but refuses the read of {refused}"
                else:
                    fits.append(model)
            case Reply(values):
                said[model] = f"{point.name} = {_shown(point.decode(values))}, which is none"
            case Refused(code):
                said[model] = f"{point.name} refused ({EXCEPTIONS.get(code, code)})"
            case Silent(why):
                said[model] = f"{point.name}: {why}"
    return Found(unit, tuple(fits), tuple(like), said)


async def _refused(asker: "_Asker", unit: int, model: Profile, answers: dict[Read, Outcome]) -> str:
    """The first points of a model that a unit does not have; nothing when it has them all."""
    # Without holes: a unit of the model may refuse a read over addresses that it does not have.
    line = model.line.model_copy(update={"hole": 0})
    for block in blocks((p for p in model.points.values() if p.spec.readable), line):
        request = Read(block.table, block.address, block.count)
        for _ in range(SILENT_TRIES):
            if isinstance(answers.get(request, Silent()), Silent):
                answers[request] = await asker.ask(unit, request, model)
        if isinstance(answers[request], Refused):
            return ", ".join(p.name for p in block.points)
    return ""


def _shown(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _question(point: Point) -> Read:
    return Read(point.table, point.address, point.width)


def _plausible(point: Point, values: tuple[int, ...]) -> bool:
    """Whether such a value can be this point's."""
    spec, value = point.spec, point.decode(values)
    if spec.values:
        return value in spec.values
    if isinstance(value, str) or point.raw(values) in spec.invalid:
        return False
    return (spec.low is None or value >= spec.low) and (spec.high is None or value <= spec.high)


class _Asker:
    """A bus machine on a link, with nothing between them: one read at a time."""

    def __init__(self, section: BusSection, folder: Path) -> None:
        self._bus = Bus(section.id, wiring.framing(section, ()))
        self._link = Link(section, self._fed, folder)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[str] = self._loop.create_future()
        self._answer: asyncio.Future[Outcome] | None = None
        self._heard = 0
        self._foreign: int | None = None
        self._asked = 0
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "_Asker":
        self._link.open()
        try:
            async with asyncio.timeout(OPEN_S):
                trouble = await self._opened
        except TimeoutError:
            trouble = "does not open"
        if trouble:
            self._link.close()
            raise Unprobed(trouble)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._link.close()
        await self._link.shut()

    async def listen(self) -> None:
        """Unprobed when somebody talks on this line without being asked."""
        await asyncio.sleep(LISTEN_S)
        if self._heard:
            raise Unprobed(f"somebody talks on this line, {self._heard} octets in {LISTEN_S:g} s: it has a master")

    async def ask(self, unit: int, request: Read, model: Profile) -> Outcome:
        self._asked += 1
        self._answer = self._loop.create_future()
        line = model.line
        # Not a poll: what a probe asks is not skipped because the unit was silent before.
        self._feed(Submit("", Transaction("probe", self._asked, unit, request, Priority.READ_BACK,
                                          timeout_us=line.timeout_ms * MS, turnaround_us=line.turnaround_ms * MS,
                                          gap_us=line.min_gap_ms * MS)))
        outcome = await self._answer
        if self._foreign is not None:
            raise Unprobed(f"somebody else asks unit {self._foreign} on this line: it has a master")
        if isinstance(outcome, LinkLost):
            raise Unprobed(outcome.why)
        return outcome

    def _fed(self, event: BusEvent) -> None:
        match event:
            case Received(_, data):
                self._heard += len(data)
            case LinkUp() if not self._opened.done():
                self._opened.set_result("")
            case LinkDown(_, why) if not self._opened.done():
                self._opened.set_result(why)
        self._feed(event)

    def _feed(self, event: BusEvent) -> None:
        for effect in self._bus.handle(now_us(), event):
            match effect:
                case Send(_, data, at_us):
                    self._link.send(data, at_us)
                case Foreign(_, other):
                    self._foreign = other
                case Finished(_, _, outcome) if self._answer is not None and not self._answer.done():
                    self._answer.set_result(outcome)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if (deadline := self._bus.deadline) is not None:
            self._alarm = self._loop.call_at(deadline / 1e6, self._feed, Woken())
