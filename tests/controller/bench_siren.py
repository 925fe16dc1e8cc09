"""A siren machine on a bench of made-up devices, on virtual time: no clock, no bus, the real profiles."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from controller import signal
from controller.conduct import State
from controller.config import SirenSection
from controller.event import Activate, Changed, Clock, Notice, Progress, Rank, Stop, Trust
from controller.signal import Phase, Segment, Timeline
from controller.siren import Siren
from controller.wire import Evidence, Mode, Stage
from firmware_bridge import profile as profiles
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.profile import Profile
from firmware_bridge.reading import NoValue, Quality, Reading, Took, Value

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIGNALS = signal.load(sorted((CONFIGS / "signals").glob("*.toml")))
WALL = 1_790_000_000 * S
T0 = 10 * S
"""When the first order comes: every point has been polled by then."""


def model(name: str) -> Profile:
    return profiles.load(CONFIGS / "profiles" / f"{name}.toml")


BOARD, COILS, HEAD, HORN, FED = (model(m) for m in (
    "waveshare_rtu_relay", "generic_coil_board", "federal_signal_informer", "evikon_ek61", "wirenboard_mr6c"))


@dataclass
class Output:
    """One output as its maker built it: the lease, the latch or the head's own function."""

    profile: Profile
    on: bool = False
    until_us: int | None = None
    bit: bool = False
    """A latched activation bit."""
    sticky: bool = False
    """A bit that no command clears, against its datasheet."""

    def write(self, now_us: int, begin: Begin) -> None:
        args = dict(begin.args or {})
        if begin.action == "cancel":
            self.on, self.until_us, self.bit = False, None, self.bit and self.sticky
            return
        if begin.action == "quiet_test":
            self.bit = False
            return
        self.on = self.bit = True
        assert self.profile.output is not None
        match self.profile.output.class_:
            case "B":
                # Counted in 0.1 s and rounded down, as such boards do.
                self.until_us = now_us + int(float(args["lease_s"]) * 10 + 1e-6) * 100 * MS
            case "B'":
                self.until_us = now_us + round(float(args["rest_s"]) * S)


@dataclass
class Field:
    """A siren on an output, with a current sensor, an isolator, and a second off-path; and what can go wrong."""

    drive: Profile = BOARD
    cutter: Profile = BOARD
    """The board of the second off-path."""
    section: dict[str, Any] = field(default_factory=dict)
    feedback: bool = True
    reply_us: int = 30 * MS
    silence_us: int = 900 * MS
    poll_us: int = 500 * MS
    polled: bool = True
    dead: bool = False
    dead_second: bool = False
    deaf_output: bool = False
    """The unit answers, and its relay does not move."""
    welded: bool = False
    mute: bool = False
    """The relay works, and nothing sounds."""
    panel: bool = False
    """Somebody sounds it by hand."""
    lag_us: int = 0
    """How much later than the sound the feedback tells of it."""
    sensor: bool = True
    isolated: bool | None = False
    deaf: Callable[[Begin], bool] = lambda begin: False
    """Actions that the unit does not hear."""
    lost: Callable[[Begin], bool] = lambda begin: False
    """Actions that the unit does, and its answer does not arrive."""
    fresh: bool = True
    """The sensor's readings are GOOD; else UNCERTAIN."""
    points: dict[str, Callable[["Field"], Value | None]] = field(default_factory=dict)
    """More points that are polled, and what they read; None: no value."""

    def __post_init__(self) -> None:
        channel = ".3" if self.drive.channels else ""
        spec: dict[str, Any] = {"id": "s-1", "type": "motor", "drive": f"board{channel}", "isolator": "panel.locked"}
        if self.feedback:
            spec["feedback"] = [{"point": "meter.current", "above": 2.0}]
        if self.drive is COILS:
            spec["hard_limit_s"] = 200
        self.siren = Siren(SirenSection.model_validate(spec | self.section), self.drive, self.cutter)
        self.now = 0
        self.out = Output(self.drive)
        self.second = Output(self.cutter)
        self.begins: list[tuple[int, Begin]] = []
        self.writes: list[tuple[int, Begin]] = []
        self.edges: list[tuple[int, bool]] = []
        self.told: list[Progress] = []
        self.notices: list[tuple[int, Notice]] = []
        self.shown: list[Changed] = []
        self._heap: list[tuple[int, int, str, Any]] = []
        self._n = count()
        self._flights: dict[tuple[str, int | None], int] = {}
        self._live: set[int] = set()
        self._sounding = False
        self._past: list[tuple[int, bool]] = [(0, False)]
        state = self.drive.output
        assert state is not None
        self.state_point = self.drive.point(state.state, 3 if self.drive.channels else None).name
        if self.polled:
            self.at(0, "poll")
        self.siren_told(Presence("board", True))

    # Time.

    def at(self, us: int, what: str, thing: Any = None) -> None:
        heapq.heappush(self._heap, (us, next(self._n), what, thing))

    def run(self, until_us: int) -> "Field":
        while True:
            due = self.siren.deadline
            ends = [o.until_us for o in (self.out, self.second) if o.on and o.until_us is not None]
            first = min([until_us, *ends, *([due] if due else []), *([self._heap[0][0]] if self._heap else [])])
            if first >= until_us:
                self.now = until_us
                return self
            self.now = max(self.now, first)
            if self._heap and self._heap[0][0] <= self.now:
                _, _, what, thing = heapq.heappop(self._heap)
                self.happens(what, thing)
            for output in (self.out, self.second):
                if output.on and output.until_us is not None and output.until_us <= self.now:
                    output.on = False
            if due is not None and due <= self.now:
                self.siren_told(Woken())
            self.look()

    def happens(self, what: str, thing: Any) -> None:
        match what:
            case "poll":
                self.poll()
                self.at(self.now + self.poll_us, "poll")
            case "write" if thing.token in self._live:
                self.write(thing)
            case "tell" if isinstance(thing, Ended) and thing.token in self._live:
                self._live.discard(thing.token)
                self.siren_told(thing)
            case "tell" if not isinstance(thing, Ended):
                self.siren_told(thing)
            case "do":
                thing()

    def later(self, us: int, do: Callable[[], None]) -> None:
        self.at(us, "do", do)

    # The devices.

    def write(self, begin: Begin) -> None:
        second = begin.device == "cutter"
        if (self.dead_second if second else self.dead) or self.deaf(begin):
            self.no_answer(begin)
            return
        if begin.expires_us is not None and self.now > begin.expires_us:
            self.at(self.now, "tell", Ended(begin.device, begin.token, begin.action, False, "expired"))
            return
        self.writes.append((self.now, begin))
        if second or not self.deaf_output:
            (self.second if second else self.out).write(self.now, begin)
        if self.lost(begin):
            self.no_answer(begin)
            return
        if begin.action != "renew":
            self.at(self.now + self.reply_us, "tell", Edged(begin.device, begin.token, begin.action, self.now))
        ended = Ended(begin.device, begin.token, begin.action, True, "", self.now)
        self.at(self.now + 2 * self.reply_us, "tell", ended)

    def no_answer(self, begin: Begin) -> None:
        ended = Ended(begin.device, begin.token, begin.action, False, "no answer", self.now)
        self.at(self.now + self.silence_us, "tell", ended)

    def effect(self, begin: Begin) -> None:
        self.begins.append((self.now, begin))
        key = (begin.device, begin.channel)
        older = self._flights.get(key)
        if older in self._live:
            self.at(self.now, "tell", Ended(begin.device, older, "?", False, "superseded"))
        self._flights[key] = begin.token
        self._live.add(begin.token)
        self.at(max(self.now, begin.at_us or 0), "write", begin)

    @property
    def loud(self) -> bool:
        driven = self.out.on or self.welded
        return (driven and not self.mute and not self.second.on) or self.panel

    def look(self) -> None:
        """Note every edge of the output, and what there is to hear."""
        if self.out.on != (self.edges[-1][1] if self.edges else False):
            self.edges.append((self.now, self.out.on))
        if self.loud != self._past[-1][1]:
            self._past.append((self.now, self.loud))

    def heard(self, at_us: int) -> bool:
        return next(loud for since, loud in reversed(self._past) if since <= max(0, at_us))

    def poll(self) -> None:
        def reading(device: str, point: str, value: Value | None) -> Reading:
            good = value is not None
            return Reading(device, point, value, Quality.GOOD if good else Quality.BAD, self.now,
                           None if good else NoValue.SILENT)

        self.look()
        state: Value = self.out.on
        if self.drive is HEAD:
            state = self.out.bit
        elif self.drive is HORN:
            state = "steady_horn" if self.out.on else "off"
        self.siren_told(Took("board", (reading("board", self.state_point, None if self.dead else state),)))
        if "second_off" in self.section:
            cut = reading("cutter", self.cutter.point("relay", 1).name, None if self.dead_second else self.second.on)
            self.siren_told(Took("cutter", (cut,)))
        current = 9.5 if self.heard(self.now - self.lag_us) else 0.1
        meter = reading("meter", "current", current if self.sensor else None)
        self.siren_told(Took("meter", (meter if self.fresh else replace(meter, quality=Quality.UNCERTAIN),)))
        self.siren_told(Took("panel", (reading("panel", "locked", self.isolated),)))
        blocks: dict[str, list[Reading]] = {}
        for ref, value in self.points.items():
            device, _, point = ref.partition(".")
            blocks.setdefault(device, []).append(reading(device, point, value(self)))
        for device, readings in blocks.items():
            self.siren_told(Took(device, tuple(readings)))

    # The siren.

    def siren_told(self, event: Any) -> None:
        for effect in self.siren.handle(self.now, event):
            match effect:
                case Begin():
                    self.effect(effect)
                case Abort():
                    if effect.token in self._live:
                        self._live.discard(effect.token)
                case Progress():
                    self.told.append(effect)
                case Notice():
                    self.notices.append((self.now, effect))
                case Changed():
                    self.shown.append(effect)
        due = self.siren.deadline
        assert due is None or due > self.now, "the machine would spin"
        self.look()

    def order(self, what: str | Timeline = "air-raid", *, id: str = "o-1", mode: Mode = Mode.DRILL,
              rank: Rank = Rank.DRILL, start_us: int | None = None, resumed: bool = False,
              limit_us: int | None = None, growl: bool = False) -> None:
        timeline = SIGNALS.timeline(what) if isinstance(what, str) else what
        limit = timeline.end_us + 10 * S if limit_us is None else limit_us
        start = None if start_us is None else WALL + start_us
        self.siren_told(Activate("s-1", f"{id}/s-1", id, mode, rank, timeline, start, limit, "the officer", resumed,
                                 growl=growl))

    def live(self, what: str | Timeline = "air-raid", **more: Any) -> None:
        self.order(what, **{"mode": Mode.LIVE, "rank": Rank.AIR_RAID} | more)

    def stop(self, order: str | None = None) -> None:
        self.siren_told(Stop("s-1", "the officer", order=order))

    def clock(self, step_us: int = 0, trust: Trust = Trust.TRUSTED) -> None:
        """The wall clock says the virtual time, and a step."""
        self.siren_told(Clock(WALL + self.now + step_us, 1000, trust))

    # Questions.

    def state(self) -> State:
        return self.siren.state

    def cut(self) -> bool:
        return self.second.on

    def known(self) -> bool:
        return self.siren.known

    def audible(self) -> bool:
        return self.loud

    def stages(self, id: str = "o-1") -> list[str]:
        return [p.stage.value for p in self.told if p.order == id]

    def end(self, id: str = "o-1") -> Progress:
        ends = [p for p in self.told if p.order == id and p.stage.terminal]
        assert len(ends) == 1, self.told
        return ends[0]

    def evidence(self, id: str = "o-1") -> Evidence:
        evidence = self.end(id).evidence
        assert evidence is not None
        return evidence

    def notice(self, what: str) -> list[int]:
        return [t for t, n in self.notices if n.what == what]

    def troubles(self, id: str = "o-1") -> list[str]:
        return [p.reason for p in self.told if p.order == id and p.stage is Stage.TROUBLE]

    def ons(self) -> list[tuple[int, int]]:
        """The intervals in which the output was on."""
        flat = [t for t, _ in self.edges]
        return list(zip(flat[::2], [*flat[1::2], self.now], strict=False))


def phases(what: str, start_us: int) -> list[tuple[int, int]]:
    return [(start_us + p.on_us, start_us + p.off_us) for p in SIGNALS.timeline(what).phases]


def beat(*cells_s: float, start_s: float = 0.0) -> Timeline:
    """on, off, on, off ... in seconds."""
    here, out = round(start_s * S), []
    for n, cell in enumerate(cells_s):
        end = here + round(cell * S)
        if n % 2 == 0:
            out.append(Phase(here, end))
        here = end
    return Timeline((Segment("beat", 0, here),), tuple(out))
