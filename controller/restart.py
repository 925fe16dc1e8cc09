"""What becomes of an activation that a restart cut: it goes on, waits for a better clock, or has its last word.

A person's sounding at the cabinet and a drill that began at once are over. A programme goes on with its next signal,
an armed one is armed again. A live warning goes on where it would be by now, if the gateway was away a short time
only; after a longer one the centre must decide again. One for now counts from when it was signed where the clock went
back since, by which it began: it was wrong then, or is now. It refuses to know sirens and orders other than this one.
"""

from dataclasses import dataclass

from controller.ledger import Accept
from controller.signal import Timeline
from controller.wire import Mode, Stage
from firmware_bridge.machine import S

OUTAGE_US = 60 * S
"""A live warning is taken up after an outage of no more than this, and where a clock went back by no more."""


@dataclass(frozen=True, slots=True)
class GoesOn:
    """It is given to the siren again, and counts from `since_us`; `cut` when part of it is lost."""

    cut: bool
    since_us: int


@dataclass(frozen=True, slots=True)
class Waits:
    """The clock is not to be believed yet."""


@dataclass(frozen=True, slots=True)
class Over:
    """Its last word."""

    stage: Stage
    reason: str = "cut by restart"


Fate = GoesOn | Waits | Over


def fate(accept: Accept, started: bool, timeline: Timeline | None, wall_us: int | None, alive_wall_us: int | None,
         up_us: int, bare: bool = False) -> Fate:
    """`wall_us` is None while the clock is not believed; `alive_wall_us` is when the journal last heard of us;
    `up_us` is how long this run has lasted; `timeline` is None when its name means something else by now. `bare`: we
    crashed again and again, perhaps on this one: what had begun is over, and a drill waits until that is."""
    if timeline is None or accept.seconds is not None:
        return Over(Stage.FAILED)
    if accept.mode is not Mode.LIVE and not accept.scheduled:
        return Over(Stage.FAILED)
    if bare and (started or not accept.scheduled):
        return Over(Stage.FAILED, "cut by crashes: SAFE-MIN")
    if wall_us is None or (bare and accept.mode is not Mode.LIVE):
        return Over(Stage.FAILED) if not accept.scheduled and up_us > OUTAGE_US else Waits()
    away = alive_wall_us is None or abs(wall_us - alive_wall_us) > OUTAGE_US
    since_us = accept.start_wall_us
    if since_us > wall_us:
        # What had begun is not still to come: the clock went back, and nobody knows how long we were away.
        if started:
            return Over(Stage.FAILED)
        if accept.scheduled:
            return GoesOn(False, since_us)
        # What was to begin at once begins at once, where that is a matter of seconds: nobody expects it in a day, or a
        # year. It was accepted after it was signed, so from then on it sounds no longer than was asked.
        if away or since_us - wall_us > OUTAGE_US:
            return Over(Stage.FAILED)
        since_us = min(accept.issued_wall_us, wall_us)
    elif not accept.scheduled and alive_wall_us is not None and wall_us < alive_wall_us:
        # The clock went back since it showed when this began; so much longer it would sound than was asked.
        since_us = min(since_us, accept.issued_wall_us)
    if not started and wall_us > accept.expires_wall_us:
        return Over(Stage.EXPIRED)
    gone_us = wall_us - since_us
    if gone_us >= accept.limit_us:
        return Over(Stage.FAILED)
    if accept.mode is Mode.LIVE:
        # What was to begin while we were away is bounded by its window, which was looked at above.
        left = not (away and (started or not accept.scheduled)) and bool(timeline.without_phases_before(gone_us).phases)
    else:
        left = bool(timeline.without_segments_before(gone_us).segments)
    return GoesOn(gone_us > 0, since_us) if left else Over(Stage.FAILED)
