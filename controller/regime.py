"""The regime: what orders a gateway carries out, given what it lacks itself (docs/modes.md).

NO-TIME: what is signed cannot be told from what is old, so nothing of it sounds unless it bears a nonce of ours; that
is judged where instants are (`intake.py`). NO-JOURNAL: only what is live and young. A journal that was lost: nothing
that was issued before, for nobody remembers whether it was carried out; the new journal keeps that. SAFE-MIN: only
what is live. A stop is carried out under every regime.

It refuses to know why the disk, the clock or the past is missing.
"""

from collections.abc import Iterable, Mapping

from controller.event import Degraded, Notice, Record
from controller.ledger import Accept
from controller.trust import Reason
from controller.wall import Wall
from controller.wire import Action, Mode
from firmware_bridge.machine import S

UNWRITTEN_AGE_US = 120 * S
"""A live order for now that is older is not carried out without the disk: what is not written may come again."""

ONLY_LIVE = "最小安全模式，只执行实战命令和停止 / SAFE-MIN: only live orders and stops are carried out"
NO_JOURNAL, NO_TIME = "NO-JOURNAL", "NO-TIME"
LOST, FLOOR = "lost", "floor_wall_us"
"""The kind of the journal's record of its being lost; and its member, the instant before which nothing is known."""


class Regime:
    """`safe_min`: the gateway is in SAFE-MIN."""

    def __init__(self, safe_min: bool = False) -> None:
        self.safe_min = safe_min
        self._forgot = False
        self._kept_us: int | None = None
        """The floor that an earlier run told the journal."""
        self._floor_us: int | None = None
        self._unkept: list[Mapping[str, object]] = []
        self._modes: set[str] = set()

    def restore(self, records: Iterable[Record], forgot: bool) -> None:
        """`forgot`: there was a journal, and it is lost. Who comes after us must know it too, with a clock or without.
        """
        found = [record.body.get(FLOOR) for record in records if record.kind == LOST][-1:]
        self._forgot = forgot or bool(found)
        if forgot:
            self._unkept.append({})
        elif found and isinstance(found[0], int):
            self._kept_us = found[0]

    def unkept(self) -> list[Mapping[str, object]]:
        """What the journal is to be told of its having been lost, once."""
        unkept, self._unkept = self._unkept, []
        return unkept

    @property
    def timeless(self) -> bool:
        """NO-TIME."""
        return NO_TIME in self._modes

    def journal(self, works: bool, why: str = "") -> list[Degraded]:
        """The disk took a record, or did not."""
        return self._mode(NO_JOURNAL, not works, why)

    @property
    def unwritten(self) -> bool:
        """Whether the disk did not take what it was given last."""
        return NO_JOURNAL in self._modes

    def clock(self, wall: Wall) -> list[Degraded | Notice]:
        """The clock was heard."""
        out: list[Degraded | Notice] = []
        out += self._mode(NO_TIME, wall.believed_us is None, "the clock is not to be believed")
        if self._forgot and self._floor_us is None and wall.believed_us is not None:
            # A floor that a wrong clock set in years to come would refuse all warnings until then.
            self._floor_us = wall.us if self._kept_us is None else min(self._kept_us, wall.us)
            if self._kept_us is None:
                self._unkept.append({FLOOR: wall.us})
                out.append(Notice("journal-lost", "", f"what was issued before {wall.text} is refused", urgent=True))
        return out

    def refuses(self, accept: Accept) -> Reason | None:
        """Why an order that is believed is not carried out here and now."""
        if accept.action is Action.STOP:
            return None
        if self.safe_min and accept.mode is not Mode.LIVE:
            return Reason.SAFE_MIN
        return Reason.NO_JOURNAL if self._floor_us is not None and accept.due_us < self._floor_us else None

    @staticmethod
    def goes_unwritten(accept: Accept, wall_us: int | None) -> bool:
        """Whether it is carried out although the disk does not have it. Without a clock its nonce has shown its age."""
        return accept.mode is Mode.LIVE and (wall_us is None or wall_us - accept.due_us <= UNWRITTEN_AGE_US)

    def _mode(self, mode: str, on: bool, why: str) -> list[Degraded]:
        if (mode in self._modes) == on:
            return []
        self._modes ^= {mode}
        return [Degraded(mode, on, why if on else "")]
