"""The voice of a spot: recorded announcements, so many times, then a pause, for as long as they are wanted.

A module plays a track once when it is told, and a repeat is a second announcement: what fails is not tried again, the
next one comes anyhow. Two failures in a row are a fault, and told. It refuses to know depths and colours: it is given
the tracks of one announcement, one after the other.
"""

from collections.abc import Iterator
from enum import Enum

from controller.event import Notice
from controller.roadside import Effect, Event, Fault
from controller.spot import VoiceSection
from firmware_bridge.event import Begin, Ended
from firmware_bridge.machine import S, Woken

FAILURES = 2
"""Announcements that fail in a row before it is told: one may meet a module that still boots."""
SLACK_US = 3 * S
"""A module answers for a track so long after it was told to play at the latest; then it is given up."""
STOP_RETRY_US = 5 * S
"""Between tries of a stop."""


class State(Enum):
    """What the voice does.

    SILENT: nothing is wanted, and it is quiet.

    SPEAKING: a track plays, by the time that it takes.

    PAUSING: it has said it so many times, and waits before it says it again.

    STOPPING: nothing is wanted any more; the module was told to be quiet and has not confirmed it.
    """

    SILENT = "silent"
    SPEAKING = "speaking"
    PAUSING = "pausing"
    STOPPING = "stopping"


class Kind(Enum):
    SPEAK = "a track is begun"
    PAUSE = "it was said so many times"
    STOP = "nothing is wanted any more"
    QUIET = "the module says that it is quiet"


TABLE = {
    (State.SILENT, Kind.SPEAK): State.SPEAKING,
    (State.STOPPING, Kind.SPEAK): State.SPEAKING,
    (State.SPEAKING, Kind.SPEAK): State.SPEAKING,
    (State.SPEAKING, Kind.PAUSE): State.PAUSING,
    (State.PAUSING, Kind.SPEAK): State.SPEAKING,
    (State.SPEAKING, Kind.STOP): State.STOPPING,
    (State.PAUSING, Kind.STOP): State.STOPPING,
    (State.STOPPING, Kind.STOP): State.STOPPING,
    (State.STOPPING, Kind.QUIET): State.SILENT,
}


class Voice:
    """A machine for one module."""

    def __init__(self, spot: str, section: VoiceSection, tokens: Iterator[int]) -> None:
        self.state = State.SILENT
        self.fault = Fault("voice-fault", spot)
        self._section = section
        self._tokens = tokens
        self._tracks: tuple[int, ...] = ()
        self._volume = section.volume
        self._said = 0
        """Tracks of this round that were begun."""
        self._due_us: int | None = None
        self._token = 0
        self._failures = 0

    @property
    def deadline(self) -> int | None:
        return self._due_us

    def say(self, now_us: int, tracks: tuple[int, ...], volume: int) -> list[Effect]:
        """What is to be said from now on; nothing: be quiet. A track under way is heard out before another."""
        self._volume = volume
        # Only its first track tells an announcement from another: the depth in it changes with the water.
        other = tracks[:1] != self._tracks[:1]
        self._tracks = tracks
        if not other:
            return []
        out: list[Effect] = []
        if not tracks:
            out += self._stop(now_us)
        elif self.state is not State.SPEAKING:
            self._said, self._due_us = 0, now_us
        else:
            self._said = 0
        return out + self.handle(now_us, Woken())

    def handle(self, now_us: int, event: Event) -> list[Effect]:
        out: list[Effect] = []
        if isinstance(event, Ended) and event.token == self._token:
            if self.state is State.STOPPING:
                self._due_us = None if event.done else now_us + STOP_RETRY_US
                if event.done:
                    self._go(Kind.QUIET)
            out += self._came(event.done, event.why)
        if self._due_us is not None and self._due_us <= now_us:
            # What is wanted by now is said, whether or not it has become quiet before.
            out += self._next(now_us) if self._tracks else self._stop(now_us)
        return out

    def _next(self, now_us: int) -> list[Effect]:
        """The next track, or the pause after so many rounds."""
        if self._said >= self._section.times * len(self._tracks):
            self._go(Kind.PAUSE)
            self._said = 0
            self._due_us = now_us + round(self._section.pause_s * S)
            return [] if self._section.pause_s else self._next(now_us)
        self._go(Kind.SPEAK)
        track = self._tracks[self._said % len(self._tracks)]
        self._said += 1
        self._due_us = now_us + round(self._section.track_s * S)
        self._token = next(self._tokens)
        expires_us = now_us + SLACK_US
        return [Begin(self._section.device, "play", self._token, None, {"track": track, "volume": self._volume},
                      expires_us=expires_us)]

    def _stop(self, now_us: int) -> list[Effect]:
        if self.state is State.SILENT:
            return []
        self._go(Kind.STOP)
        self._due_us = now_us + STOP_RETRY_US
        self._token = next(self._tokens)
        return [Begin(self._section.device, "stop", self._token)]

    def _came(self, done: bool, why: str) -> list[Notice]:
        self._failures = 0 if done else self._failures + 1
        if 0 < self._failures < FAILURES:
            return []
        return self.fault.be("" if done else why or "no answer")

    def _go(self, kind: Kind) -> None:
        self.state = TABLE[self.state, kind]


def at_night(wall_us: int, offset_h: float, night: tuple[str, str]) -> bool:
    """Whether it is night at a place whose clocks are `offset_h` ahead of UTC."""
    minute = int((wall_us // S + offset_h * 3600) // 60) % (24 * 60)
    begin, end = (int(at[:2]) * 60 + int(at[3:]) for at in night)
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


def depth_track(cm: float | None, tracks: dict[str, int]) -> tuple[int, ...]:
    """The track that says the depth: that of the greatest one that is reached; none below the first."""
    reached = {int(at): track for at, track in tracks.items() if cm is not None and int(at) <= cm}
    return (reached[max(reached)],) if reached else ()
