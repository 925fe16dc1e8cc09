"""Drives the simulation of one profile through everything the profile says, and tells what came of it.

For whoever writes a profile: no gateway, no wire, a master of forty lines. Every readable point is read once, every
action is run step by step on its first channel, and an output is watched: it must come on by `activate`, go off by
`cancel`, stay off in a quiet test, and, where its class bounds it, go off by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from firmware_bridge import modbus
from firmware_bridge.event import Refused, Reply, Request, Sent, Table
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.move import Set
from firmware_bridge.plan import fetches
from firmware_bridge.point import Point, Scalar
from firmware_bridge.profile import OutputClass, Profile, Step
from firmware_bridge.reading import Value
from simulators.behaviour import same
from simulators.device import SimDevice

POLL_US = 20 * MS
"""How often an expected value is looked for."""
UNIT = 1
START_US = S
BOUND_S = {OutputClass.A, OutputClass.B, OutputClass.B_PRIME}
"""Classes whose outputs end by themselves."""
REST_S = 30
"""What is left of the on-phase in the arguments used here."""
SOUNDS = {"activate": True, "renew": True, "cancel": False, "quiet_test": False, "setup": False}
"""Whether the output is on after an action. Of the others, which are a technician's, nothing is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was tried."""

    what: str
    ok: bool
    took_ms: int
    said: str


class _Failed(Exception):
    """A step did not do what the profile says."""


def drive(profile: Profile) -> list[Row]:
    """Everything the profile says, tried on a fresh device each."""
    return [*_points(profile), *_actions(profile), *_bounds(profile)]


class _Master:
    """A device and its clock; asks it, and waits by letting time pass."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.now_us = START_US
        self.channel = 1 if profile.channels else None
        self.device = SimDevice("checked", UNIT, profile, seed=1)
        self.device.handle(self.now_us, Woken())

    def ask(self, request: Request) -> tuple[int, ...]:
        self.wait(self.profile.line.turnaround_ms * MS)
        match self.device.outcome(self.now_us, request):
            case Reply(values):
                return values
            case Sent():
                return ()
            case Refused(code):
                raise _Failed(f"exception {code} ({modbus.EXCEPTIONS.get(code, '?')}) to {request}")
            case outcome:
                raise _Failed(f"{outcome} to {request}")

    def wait(self, length_us: int) -> None:
        end_us = self.now_us + length_us
        while (due := self.device.deadline) is not None and due <= end_us:
            self.device.handle(due, Woken())
        self.now_us = end_us
        self.device.handle(end_us, Woken())

    def read(self, point: Point) -> Value:
        fetch = fetches([point], self.profile.line)[0]
        return point.decode(fetch.words(point, self.ask(fetch.request(UNIT))))

    def run(self, steps: tuple[Step, ...], arguments: dict[str, Scalar]) -> None:
        for n, step in enumerate(steps):
            try:
                self._step(step, arguments)
            except (_Failed, KeyError, ValueError) as error:
                raise _Failed(f"step {n + 1}: {error}") from None

    def _step(self, step: Step, arguments: dict[str, Scalar]) -> None:
        if step.wait_ms is not None:
            self.wait(step.wait_ms * MS)
        elif step.set is not None:
            assert step.to is not None
            point = self.profile.point(step.set, self.channel)
            values = point.encode(_filled(step.to, arguments))
            self.ask(Set(point, values, step.edge, bounded=False).request(UNIT))
        else:
            assert step.expect is not None
            assert step.is_ is not None
            point = self.profile.point(step.expect, self.channel)
            wanted, end_us = _filled(step.is_, arguments), self.now_us + step.within_ms * MS
            while not same(seen := self.read(point), wanted):
                if self.now_us >= end_us:
                    raise _Failed(f"{point.name} is {seen!r}, not {wanted!r}, after {step.within_ms} ms")
                self.wait(POLL_US)

    @property
    def sounding(self) -> bool:
        return self.device.outputs()[self.channel]


def _filled(value: Scalar, arguments: dict[str, Scalar]) -> Scalar:
    return arguments[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def _arguments(profile: Profile, tone: Scalar | None = None) -> dict[str, Scalar]:
    lease_s = profile.output.lease_max_s if profile.output else 1.0
    given: dict[str, Scalar] = {"lease_s": lease_s, "rest_s": REST_S, "seconds": 3, "text": "test", "track": 3,
                                "volume": 20}
    return given if tone is None else {**given, "tone": tone}


def _points(profile: Profile) -> Iterator[Row]:
    """Each readable point, alone."""
    for point in profile.points.values():
        if not point.spec.readable or point.table is Table.PULSE or point.channel not in (None, 1):
            continue
        try:
            master = _Master(profile)
            master.read(point)
            # Shown as the device knows it: with what other points say about its scale.
            value = master.device.value(point.name)
        except _Failed as failed:
            yield Row(f"read {point.name}", False, 0, str(failed))
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield Row(f"read {point.name}", True, 0, f"{shown} {point.spec.unit}".rstrip())


def _actions(profile: Profile) -> Iterator[Row]:
    """Each action, with each tone where it takes one; one that stops is tried on an output that sounds."""
    tones: list[Scalar | None] = list(profile.output.tones.values()) if profile.output else []
    for name, steps in profile.actions.items():
        takes_tone = any("$tone" in (step.to, step.is_) for step in steps)
        for tone in tones if takes_tone else [None]:
            master = _Master(profile)
            what = name if tone is None else f"{name} ({tone})"
            before = ("activate",) if name in {"cancel", "renew"} else ()
            try:
                for first in before:
                    master.run(profile.actions[first], _arguments(profile, tones[0] if tones else None))
                start_us = master.now_us
                master.run(steps, _arguments(profile, tone))
            except _Failed as failed:
                yield Row(what, False, 0, str(failed))
                continue
            said, ok = "done", True
            if profile.output is not None:
                said += ", sounding" if master.sounding else ", silent"
                ok = SOUNDS.get(name, master.sounding) == master.sounding
            yield Row(what, ok, (master.now_us - start_us) // MS, said)


def _bounds(profile: Profile) -> Iterator[Row]:
    """What becomes of an output that nobody writes to any more."""
    spec = profile.output
    if spec is None:
        return
    master = _Master(profile)
    tones = list(spec.tones.values())
    try:
        master.run(profile.actions["activate"], _arguments(profile, tones[0] if tones else None))
    except _Failed:
        return  # told above
    start_us = master.now_us
    limit_s = max(spec.lease_max_s, spec.watchdog_s or 0, spec.self_limit_s or 0, REST_S) + 1
    while master.sounding and master.now_us < start_us + limit_s * S:
        master.wait(100 * MS)
    took_ms = (master.now_us - start_us) // MS
    ended, bounded = not master.sounding, spec.class_ in BOUND_S
    said = "ends by itself" if ended else "does not end by itself"
    yield Row(f"left alone (class {spec.class_})", ended == bounded, took_ms, said)
