"""The pulse: while a warning sounds the journal is told, again and again, that we are here.

After a restart the newest pulse tells how long the outage was. It beats while the journal refuses as well: that it
takes records again is seen by one that it takes. It refuses to know what sounds.
"""

from firmware_bridge.machine import S

EVERY_US = 20 * S
"""What an outage is counted from is no older than this."""


class Pulse:
    """When the next one is due; none while nothing is worth it."""

    def __init__(self) -> None:
        self.deadline: int | None = None

    def watch(self, now_us: int, worth_it: bool) -> None:
        """Begin with the first thing that is worth it, and end with the last."""
        if not worth_it:
            self.deadline = None
        elif self.deadline is None:
            self.deadline = now_us + EVERY_US

    def beats(self, now_us: int) -> bool:
        """Whether it is time; the next is counted from now."""
        if self.deadline is None or self.deadline > now_us:
            return False
        self.deadline = None
        return True
