"""The pulse: while a warning sounds the journal is told, again and again, that we are here.

After a restart the newest pulse tells how long the outage was. It beats faster while the journal refuses: that it takes
records again is seen by one that it takes, and until then a warning that sounded is known to this run alone.
It refuses to know what sounds.
"""

from firmware_bridge.machine import S

EVERY_US = 20 * S
"""What an outage is counted from is no older than this."""
REFUSED_EVERY_US = 2 * S
"""How often a journal that refuses is asked; of one that hangs for two hours and a half, 5,000 such records wait."""


class Pulse:
    """When the next one is due; none while nothing warns and the journal takes what it is given."""

    def __init__(self) -> None:
        self.deadline: int | None = None

    def watch(self, now_us: int, warns: bool, refused: bool) -> None:
        """Begin with the first thing that is worth it, and end with the last."""
        every_us = REFUSED_EVERY_US if refused else EVERY_US
        if not (warns or refused):
            self.deadline = None
        elif self.deadline is None or self.deadline > now_us + every_us:
            self.deadline = now_us + every_us

    def beats(self, now_us: int) -> bool:
        """Whether it is time; the next is counted from now."""
        if self.deadline is None or self.deadline > now_us:
            return False
        self.deadline = None
        return True
