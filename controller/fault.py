"""A siren that did not become silent, and the second off-path that cuts it.

The path is an output of its own whose `activate` cuts the siren's power. It is let go when the siren's own off works
again; where that off works and the siren sounds all the same (a welded relay) it is held until the siren is ordered
to sound in earnest, or a technician who locked the siren out frees it: it was mended. Holding and letting go are
events in the journal, so a restart holds on. What the path's own output reads is heard as well: held, it is closed
again when it fell open; on from before a restart and held for nothing, it is let go, for a siren without power is mute.
It refuses to know how the fault was found out (`watch.py`).
"""

from collections.abc import Iterable, Iterator

from controller.config import Drive
from controller.event import Notice, Record
from controller.phase import Balked, Off, On
from controller.switch import Switch, SwitchEvent
from firmware_bridge.event import Abort, Begin
from firmware_bridge.machine import S
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Reading

PATIENCE_US = 2 * S
"""Sound this long after the second path was used says that it does not work either; and between offs repeated."""

HELD, LET_GO = "held-off", "let-go"
"""The events that tell of it; the newest of a siren is what a restart goes by."""


def held(records: Iterable[Record]) -> dict[str, str]:
    """Siren -> why, of those that the journal says are held off by their second path."""
    out: dict[str, str] = {}
    for record in records:
        match record.body:
            case {"what": "held-off", "subject": str(siren), "detail": str(why)} if record.kind == "event":
                out[siren] = why
            case {"what": "let-go", "subject": str(siren)} if record.kind == "event":
                out.pop(siren, None)
    return out


class Fault:
    """The fault a siren is in, if any. `ref` names its second off-path, None where it has none."""

    def __init__(self, siren: str, ref: str | None, profile: Profile | None, tokens: Iterator[int]) -> None:
        self.held = False
        self._siren = siren
        self._why = ""
        self._told = ""
        self._owed = False
        """After a restart: the second path is to be used, and was not yet."""
        self._stray = False
        """The second path reads on without a cause of ours."""
        self._path: Switch | None = None
        if ref is not None:
            assert profile is not None, "config resolves second_off"
            self._path = Switch(Drive.of(ref), profile, tokens)
        self.refs = frozenset(() if self._path is None else (self._path.point,))
        """The point that tells of the second path."""

    @property
    def why(self) -> str:
        """What is wrong; empty: nothing is."""
        if not self._why:
            return "cut off by the second path" if self._stray else ""
        return self._why + (", held off by the second path" if self.held else "")

    @property
    def deadline(self) -> int | None:
        return None if self._path is None else 0 if self._owed else self._path.deadline

    def restore(self, why: str) -> bool:
        """It was held off before a restart; whether it can be still."""
        if self._path is None:
            return False
        self._why, self.held, self._owed = why, True, True
        return True

    def begin(self, now_us: int, why: str) -> list[Begin | Abort | Notice]:
        """It did not become silent: say so, and cut it."""
        self._why, self._told = why, ""
        told = Notice("still-on", self._siren, why, urgent=True)
        return [told, *self.handle(now_us, On(0, now_us, None))]

    def still(self, now_us: int, hold: bool, sounds: bool = True) -> list[Begin | Abort | Notice]:
        """It was turned off, confirmed, and is not off; `hold`: its own off cannot be relied upon any more.

        `sounds` is False where only its contactor is closed, which it stays when its power is cut ahead of it.
        """
        if self._path is None:
            return []
        out: list[Begin | Abort | Notice] = []
        if hold and not self.held:
            self.held = True
            out.append(Notice(HELD, self._siren, self._why, urgent=True))
            if self._path.idle:
                out += self.handle(now_us, On(0, now_us, None))
        failed = sounds and self._path.on_for_us(now_us) > PATIENCE_US
        return [*out, *self._failed("it still sounds")] if failed else out

    def end(self, now_us: int, why: str = "") -> list[Begin | Abort | Notice]:
        """It is silent by its own off, or is to sound, or was mended: let go."""
        out: list[Begin | Abort | Notice] = [Notice(LET_GO, self._siren, why, urgent=True)] if self.held else []
        self._why, self.held, self._owed = "", False, False
        return out + self.handle(now_us, Off())

    def took(self, now_us: int, reading: Reading, barred: bool) -> list[Begin | Abort | Notice]:
        """A point was read, perhaps that of the second path. A siren that is `barred` by its isolator gets no power."""
        path = self._path
        seen = None if path is None else path.read(reading)
        if path is None or seen is None:
            return []
        told: list[Begin | Abort | Notice] = []
        settled = path.quiet_us is None or seen.at_us > path.quiet_us + PATIENCE_US
        stray = seen.on and path.idle and not self._why and settled
        if stray and not self._stray:
            self._told = ""
            told.append(Notice("unexpected-cut", self._siren, str(path.drive), urgent=True))
        self._stray = seen.on and (stray or self._stray)
        return [*told, *self.handle(now_us, Off() if stray and not barred else seen)]

    def handle(self, now_us: int, event: SwitchEvent) -> list[Begin | Abort | Notice]:
        """What the second path's device says, or its time has come."""
        out: list[Begin | Abort | Notice] = []
        if self._owed:
            self._owed = False
            out += self.handle(now_us, On(0, now_us, None))
        for effect in [] if self._path is None else self._path.handle(now_us, event):
            if isinstance(effect, Begin | Abort):
                out.append(effect)
            elif isinstance(effect, Balked):
                out += self._failed(effect.why)
        return out

    def _failed(self, why: str) -> list[Notice]:
        """Told once, until something else is wrong."""
        if why == self._told:
            return []
        self._told = why
        return [Notice("second-off-failed", self._siren, why, urgent=True)]
