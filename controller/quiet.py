"""A quiet test: what can be said of a siren without a sound.

A head that has the action `quiet_test` runs it; of others the output's state is only read. It refuses to know
whether the siren is busy or locked out (`siren.py`), and it never turns an output on.
"""

from collections.abc import Iterator

from controller.config import Drive
from controller.event import Progress, QuietTest
from controller.wire import Evidence, Mode, Stage
from firmware_bridge.event import Abort, Begin, Ended
from firmware_bridge.machine import S
from firmware_bridge.profile import Profile

LIMIT_US = 60 * S
"""A quiet test that has not ended by now has failed."""
LATE_US = 2 * S
"""A quiet test that could not begin by now is not begun: who asked is told."""


class Quiet:
    """The quiet tests of one siren, one at a time."""

    def __init__(self, drive: Drive, profile: Profile, tokens: Iterator[int]) -> None:
        self._acts = "quiet_test" in profile.actions
        """Whether something is written; else it is only read."""
        self.test: QuietTest | None = None
        """The one under way."""
        self._drive = drive
        self._tokens = tokens
        self._token = 0
        self._until_us = 0

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
            why = wrong or "read only: no quiet test action"
            return [_told(test, Stage.FAILED if wrong else Stage.FINISHED, why)]
        if locked:
            # It makes no sound, but it puts power on an amplifier that somebody may have open.
            return [_told(test, Stage.REJECTED, "isolated")]
        self.test, self._token, self._until_us = test, next(self._tokens), now_us + LIMIT_US
        return [Begin(self._drive.device, "quiet_test", self._token, self._drive.channel, expires_us=now_us + LATE_US)]

    def ended(self, ended: Ended) -> Progress | None:
        """An action of the drive is over; None: it was not the test."""
        if self.test is None or ended.token != self._token:
            return None
        test, self.test = self.test, None
        return _told(test, Stage.FINISHED if ended.done else Stage.FAILED, ended.why)

    def give_up(self, stage: Stage, reason: str) -> list[Abort | Progress]:
        """End the one under way, if there is one."""
        if self.test is None:
            return []
        test, self.test = self.test, None
        return [Abort(self._drive.device, self._token), _told(test, stage, reason)]


def _told(test: QuietTest, stage: Stage, reason: str) -> Progress:
    return Progress(test.siren, test.activation, test.order, stage, Mode.SILENT, reason, Evidence(phases=0))
