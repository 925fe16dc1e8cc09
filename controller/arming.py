"""Whether the watchdog of a board that bounds a siren is known to run (output class A).

A board drops its outputs by itself only while its registers say so (`[output] armed` of the profile). What has no value
is not armed. A value that a lost answer made doubtful still stands: it is no news, and `activate` writes the bound once
more. It refuses to know who set the registers: that is the profile's `setup`, run by the device.
"""

from collections.abc import Iterable

from controller.config import Drive
from controller.event import Notice
from firmware_bridge.move import same
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality, Reading

OFF = "watchdog not armed"
UNREAD = "watchdog not read"


class Arming:
    """The bound of one siren. A profile without `armed` needs none: it always bounds."""

    def __init__(self, siren: str, drive: Drive, profile: Profile) -> None:
        self._siren = siren
        self._device = drive.device
        conditions = profile.output.armed if profile.output else ()
        self._wanted = {profile.point(c.point, drive.channel).name: c.is_ for c in conditions}
        self.refs = frozenset(f"{self._device}.{name}" for name in self._wanted)
        """Its points."""
        self._holds: dict[str, bool] = {}
        """Whether each of them was right, by its last good reading; not of those that have no value now."""
        self._told = ""

    @property
    def why(self) -> str:
        """What speaks against it; empty: it is bounded."""
        if not all(self._holds.values()):
            return OFF
        return UNREAD if len(self._holds) < len(self._wanted) else ""

    def took(self, readings: Iterable[Reading]) -> list[Notice]:
        """What the board says. That it is off is told, and that it runs again."""
        if not self._wanted:
            return []
        for reading in readings:
            wanted = self._wanted.get(reading.point) if reading.device == self._device else None
            if wanted is None:
                continue
            if reading.value is None:
                self._holds.pop(reading.point, None)
            elif reading.quality is Quality.GOOD:
                self._holds[reading.point] = same(reading.value, wanted)
        why = self.why
        if why == UNREAD or why == self._told:
            return []
        self._told = why
        return [Notice("watchdog-off" if why else "watchdog-armed", self._siren, why, urgent=bool(why))]
