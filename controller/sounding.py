"""A sounding: one activation on one siren, its phases on the gateway's clock, and how far it has come.

Its start stays UTC and is placed anew at every Clock until the first edge is handed out; from then on it is
monotonic, and no clock step moves it. It refuses to know the siren's state, its devices and other soundings.
"""

from collections.abc import Collection
from dataclasses import dataclass

from controller.config import SirenSection
from controller.event import UNCONFIRMED, Activate, Clock, Progress, Trust
from controller.evidence import Tally
from controller.signal import Phase, lower
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import OutputSpec

LEAST_US = 500 * MS
"""What a restart leaves of an on-phase is sounded from this length on: less is a yelp."""
GRACE_US = 1500 * MS
"""After the last off-edge: samples taken before it may still be on their way."""
GROWL_LATE_US = 3 * S
"""Feedback that comes late with the sound goes late with it: of a growl, which is one short phase, it still counts."""
UNCONFIRMED_US = 2 * S
"""The end is told after this even if the device has not confirmed the off (STOP-WINS)."""
ACK_US = 2 * S
"""Sound that is seen before the edge's acknowledgement is told after it, or after this: it may have been lost."""
TROUBLES = 16
"""Different troubles told of one activation: one that keeps finding new words must not fill the journal."""


class Sounding:
    """One activation. `phases` are offsets from `start_us`; both are settled at the first edge."""

    def __init__(self, order: Activate, output: OutputSpec, section: SirenSection, proofs: Collection[Stage]) -> None:
        self.order = order
        self.start_us: int | None = None
        self.next = 0
        """The phase that is handed over next."""
        self.first_edge_us: int | None = None
        self.cut_us: int | None = None
        """When it has used up what its siren may sound in a day."""
        self.on_us = 0
        """How long its output was commanded on, once it has lost the siren."""
        self.trouble = ""
        """Why the last phase that was not commanded was not."""
        self._lowered, self.deviations = lower(order.timeline, output, section.hard_limit_s)
        self.phases: tuple[Phase, ...] = self._lowered.phases
        spool_up_us = round(section.spool_up_s * S)
        late_us = min(spool_up_us, GROWL_LATE_US) if order.growl else 0
        self.tally = Tally(len(self.phases), proofs, spool_up_us, late_us)
        self._told: set[Stage] = set()
        self._troubles: set[str] = set()
        self._placed_by: Trust | None = None

    def place(self, now_us: int, clock: Clock | None, clock_us: int) -> None:
        """Settle the start by what the clock said at `clock_us`, and leave out what lies before now.

        A clock that is not trusted moves no start that a trusted one has placed.
        """
        if self.order.start_wall_us is None:
            self.start_us = now_us if self.start_us is None else self.start_us
            return
        if clock is None or (clock.trust is Trust.UNTRUSTED and self._placed_by not in (None, Trust.UNTRUSTED)):
            return
        self._placed_by = clock.trust
        self.start_us = clock_us + self.order.start_wall_us - clock.wall_us
        elapsed_us = now_us - self.start_us
        if elapsed_us <= 0:
            self.phases = self._lowered.phases
        elif self.order.resumed and self.order.mode is not Mode.LIVE:
            self.phases = self._lowered.without_segments_before(elapsed_us).phases
        else:
            # The others in the city are in this phase now: stay in step with them.
            left = self._lowered.without_phases_before(elapsed_us).phases
            yelp = left and left[0].on_us == elapsed_us and left[0].off_us - elapsed_us < LEAST_US
            self.phases = left[1:] if yelp else left
        if len(self.phases) < len(self._lowered.phases):
            self.trouble = self.past

    @property
    def silent(self) -> bool:
        """Nothing in it sounds."""
        return not self._lowered.phases

    @property
    def past(self) -> str:
        """Why some or all of it will not sound."""
        return "cut by restart" if self.order.resumed else "its time is past"

    def edges_us(self, n: int) -> tuple[int, int]:
        """The instants of phase `n`."""
        assert self.start_us is not None
        return self.start_us + self.phases[n].on_us, self.start_us + self.phases[n].off_us

    @property
    def first_us(self) -> int | None:
        """The first on-edge that is left; None while the start is not known."""
        return None if self.start_us is None or not self.phases else self.start_us + self.phases[0].on_us

    def later(self, now_us: int) -> bool:
        """Whether its first edge is still to come, or not known yet."""
        return self.first_us is None or self.first_us > now_us

    @property
    def last_us(self) -> int:
        """The last off-edge."""
        return self.edges_us(len(self.phases) - 1)[1]

    @property
    def end_us(self) -> int:
        """The end of the timeline, its trailing silence included."""
        assert self.start_us is not None
        return self.start_us + self._lowered.end_us

    @property
    def limit_us(self) -> int:
        assert self.start_us is not None
        limit_us = self.start_us + self.order.limit_us
        return limit_us if self.cut_us is None else min(limit_us, self.cut_us)

    def commanded_us(self, now_us: int) -> int:
        """How long its output was commanded on by now; a phase that nobody acknowledged counts."""
        edges = (self.edges_us(n) for n in range(self.next))
        return sum(max(0, min(off_us, now_us) - on_us) for on_us, off_us in edges)

    def outranks(self, other: "Sounding") -> bool:
        """Higher pre-empts lower; of two live ones of one rank the newer holds."""
        live = self.order.mode is Mode.LIVE and other.order.mode is Mode.LIVE
        return self.order.rank > other.order.rank or (self.order.rank == other.order.rank and live)

    def edge(self, n: int, edge_us: int) -> list[Progress]:
        """The on-edge of phase `n` was acknowledged; the first one is told."""
        self.tally.commanded(n, edge_us)
        if self.first_edge_us is not None:
            return []
        self.first_edge_us = edge_us
        return [self.progress(Stage.STARTED), *self._proved()]

    def proved(self, at_us: int) -> list[Progress]:
        """Readings until then are counted; the first phase that is sensed is told, and the first that is heard."""
        first_us = self.first_us
        if self.first_edge_us is None and first_us is not None and at_us < first_us + ACK_US:
            return []
        return self._proved()

    def _proved(self) -> list[Progress]:
        new = [s for s in (Stage.SENSED, Stage.HEARD) if s not in self._told and self.tally.proved(s)]
        self._told.update(new)
        return [self.progress(stage) for stage in new]

    def balked(self, why: str) -> list[Progress]:
        """A phase could not be commanded; the last reason is told at the end as well."""
        self.trouble = why
        return self.in_trouble(why)

    def in_trouble(self, why: str) -> list[Progress]:
        """Something is wrong; it is told the first time."""
        if why in self._troubles or len(self._troubles) >= TROUBLES:
            return []
        self._troubles.add(why)
        return [self.progress(Stage.TROUBLE, why)]

    def progress(self, stage: Stage, reason: str = "") -> Progress:
        """How it stands, to be told."""
        ordered_us = None
        if self.first_edge_us is not None and self.start_us is not None:
            ordered_us = self.start_us + self.phases[0].on_us
        o = self.order
        return Progress(o.siren, o.activation, o.order, stage, o.mode, reason, self.tally.evidence,
                        self.first_edge_us, ordered_us, self.deviations, self.on_us)


@dataclass(slots=True)
class Closing:
    """A sounding that has lost the siren and is not told of yet: its off is not confirmed, or samples are due."""

    sounding: Sounding
    since_us: int
    """From when on an off counts as its own."""
    tell_us: int
    stage: Stage | None = None
    """None: it was let run to its end, and the evidence decides."""
    reason: str = ""
    confirmed: bool = False

    @classmethod
    def of(cls, sounding: Sounding, confirmed: bool) -> "Closing":
        """One that came to the end of its phases."""
        late = 0 if sounding.tally.complete else GRACE_US + sounding.tally.late_us
        return cls(sounding, sounding.last_us, max(sounding.end_us, sounding.last_us + late), confirmed=confirmed)

    @property
    def due_us(self) -> int:
        """When its end is told."""
        if self.confirmed:
            return self.tell_us
        return max(self.tell_us, self.since_us) + UNCONFIRMED_US

    def told(self) -> Progress:
        """How it ended."""
        stage, reason = self.stage, self.reason
        if stage is None:
            stage, reason = self.sounding.tally.verdict(self.sounding.trouble)
        if not self.confirmed:
            reason = f"{reason}; {UNCONFIRMED}" if reason else f"off {UNCONFIRMED}"
        return self.sounding.progress(stage, reason)
