"""The dating: signed stops that came while the time was not known, until a clock bears out their date.

Such a stop is carried out as it comes, and forbids nothing that comes later: what is dated by a clock that is wrong by
years would forbid warnings for years. Once our own clock is believed it tells when the stop came, and whether it would
have been in time then: neither issued in the future nor expired. If so, it is carried out anew, as one that comes with
the time known; it still speaks only of what was issued before it. After a restart it is known to have come by then.

It refuses to know what a stop ends, and what was asked at the cabinet: that has no date but the clock's.
"""

from controller.intake import FUTURE_US
from controller.ledger import STOP_KEEP_US, STOPS_LIMIT, Accept, Ledger
from controller.wall import Wall


class Dating:
    """As many as stops are remembered, the newest; none longer than what it forbids."""

    def __init__(self) -> None:
        self._undated: list[tuple[int, Accept]] = []

    def take_up(self, born_us: int, ledger: Ledger) -> None:
        """After a restart."""
        for stop in ledger.stops():
            self.wait(born_us, stop)

    def wait(self, came_us: int, stop: Accept) -> None:
        """It came then, or before; where it does not forbid by now."""
        if stop.keys and not stop.forbids:
            self._undated = [*self._undated, (came_us, stop)][-STOPS_LIMIT:]

    def borne_out(self, wall: Wall) -> list[Accept]:
        """Those that were in time when they came, by a clock that is believed. They wait no more."""
        wall_us = wall.believed_us
        if wall_us is None or not self._undated:
            return []
        found: list[Accept] = []
        left: list[tuple[int, Accept]] = []
        for came_us, stop in self._undated:
            ago_us = wall.now_us - came_us
            early_us, late_us = stop.issued_wall_us - FUTURE_US, stop.expires_wall_us
            if early_us - wall.error_us <= wall_us - ago_us <= late_us + wall.error_us:
                found.append(stop)
            elif ago_us < STOP_KEEP_US:
                # It may be this clock that is wrong.
                left.append((came_us, stop))
        self._undated = left
        return found
