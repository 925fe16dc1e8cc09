"""A quiet test: what can be said of a siren without a sound.

A head that has the action `quiet_test` runs it, and where it grades its drivers the grade that is read afterwards
decides; of others the output's state, and the grade, are only read. It refuses to know whether the siren is busy or
locked out (`siren.py`), and it never turns an output on.
"""

from collections.abc import Iterator

from controller.config import Drive
from controller.event import Progress, QuietTest
from controller.grade import Grade, Grading
from controller.wire import Evidence, Mode, Stage
from firmware_bridge.event import Abort, Begin, Ended
from firmware_bridge.machine import S
from firmware_bridge.profile import Profile

LIMIT_US = 60 * S
"""A quiet test that has not ended by now has failed."""
LATE_US = 2 * S
"""A quiet test that could not begin by now is not begun: who asked is told."""
GRADE_LATE_US = 3 * S
"""After a test the grade is waited for during one of its polls and this: a poll gives way to an order."""


class Quiet:
    """The quiet tests of one siren, one at a time."""

    def __init__(self, drive: Drive, profile: Profile, tokens: Iterator[int], grading: Grading) -> None:
        self._acts = "quiet_test" in profile.actions
        """Whether something is written; else it is only read."""
        self.test: QuietTest | None = None
        """The one under way."""
        self._drive = drive
        self._tokens = tokens
        self._grading = grading
        self._token = 0
        self._until_us = 0
        self._done_us: int | None = None
        """When its action was over: a grade that was read later is that of this test."""

    @property
    def deadline(self) -> int | None:
        return None if self.test is None else self._until_us

    def ask(self, now_us: int, test: QuietTest, busy: bool, locked: bool, wrong: str) -> list[Begin | Progress]:
        """Somebody wants a test; `wrong` is what speaks against the siren as far as reading tells."""
        if self.test is not None and self.test.activation == test.activation:
            return []
        if busy or self.test is not None:
            return [_told(test, Stage.REJECTED, "busy")]
        if not self._acts:
            stage, graded = self._verdict()
            why = "; ".join(part for part in (wrong, graded) if part)
            if wrong or stage is Stage.FAILED:
                return [_told(test, Stage.FAILED, why)]
            return [_told(test, stage, "; ".join(part for part in (why, "read only: no quiet test action") if part))]
        if locked:
            # It makes no sound, but it puts power on an amplifier that somebody may have open.
            return [_told(test, Stage.REJECTED, "isolated")]
        self.test, self._token, self._until_us = test, next(self._tokens), now_us + LIMIT_US
        self._done_us = None
        return [Begin(self._drive.device, "quiet_test", self._token, self._drive.channel, expires_us=now_us + LATE_US)]

    def ended(self, now_us: int, ended: Ended) -> list[Abort | Progress]:
        """An action of the drive is over; perhaps it was the test's."""
        if self.test is None or ended.token != self._token or self._done_us is not None:
            return []
        if ended.done and self._grading.graded:
            self._done_us, self._until_us = now_us, now_us + self._grading.period_us + GRADE_LATE_US
            return []
        return self._end(Stage.FINISHED if ended.done else Stage.FAILED, ended.why)

    def look(self, now_us: int) -> list[Abort | Progress]:
        """Something was read, or time has passed."""
        if self.test is not None and self._done_us is not None and self._grading.since(self._done_us):
            return self._end(*self._verdict())
        if self.test is not None and self._until_us <= now_us:
            return self.give_up(Stage.FAILED, "no end" if self._done_us is None else "drivers not read")
        return []

    def give_up(self, stage: Stage, reason: str) -> list[Abort | Progress]:
        """End the one under way, if there is one."""
        if self.test is None:
            return []
        running = [] if self._done_us is not None else [Abort(self._drive.device, self._token)]
        return [*running, *self._end(stage, reason)]

    def _verdict(self) -> tuple[Stage, str]:
        """What the drivers' grade says: only good and degraded ones sound."""
        grading = self._grading
        sounds = not grading.graded or grading.grade in (Grade.GOOD, Grade.DEGRADED)
        return Stage.FINISHED if sounds else Stage.FAILED, grading.why

    def _end(self, stage: Stage, reason: str) -> list[Abort | Progress]:
        assert self.test is not None
        test, self.test = self.test, None
        return [_told(test, stage, reason)]


def _told(test: QuietTest, stage: Stage, reason: str) -> Progress:
    return Progress(test.siren, test.activation, test.order, stage, Mode.SILENT, reason, Evidence(phases=0))
