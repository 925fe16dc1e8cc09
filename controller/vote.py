"""The vote: what several gauges of one spot say together of one depth.

Weights are counted over unlike kinds, the heaviest gauge of each: two pressure gauges in one mud are one opinion. Rain
supports what a gauge of the water says, and says nothing alone. Who has no level has no vote, and clears nothing.
It refuses to know how long something must be so (`alarm.py`) and what is done about it (`rule.py`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from controller.alarm import Says
from controller.level import Sight
from controller.scale import Colour

RATE_CM = 0.1
"""Slower than this a minute is no rise, and no time to red is told."""
WET_CM = 1.0
"""What rises below this does not rise over the road yet."""
TO_RED_LIMIT_S = 3600
"""Nor one that is longer."""


def weight(sights: Iterable[Sight]) -> float:
    """Of the gauges of the water; the heaviest of each kind counts."""
    kinds: dict[str, float] = {}
    for one in sights:
        if one.weight > kinds.get(one.kind, 0.0):
            kinds[one.kind] = one.weight
    return sum(kinds.values())


def early(sights: Sequence[Sight], depths: Mapping[Colour, float], rise_1_cm: float, rise_5_cm: float) -> list[Sight]:
    """The sights with those that rise fast put one colour deeper than they are."""
    out = []
    for one in sights:
        # The five minutes count only while the last of them rose as well: drained water was rising, too.
        last = one.rise_1_cm or 0.0
        fast = last >= rise_1_cm or (last >= RATE_CM and (one.rise_5_cm or 0.0) >= rise_5_cm)
        if fast and one.good and one.low_cm is not None and one.low_cm >= WET_CM:
            deeper = min((cm for cm in depths.values() if cm > one.low_cm), default=one.low_cm)
            one = one._replace(low_cm=deeper, high_cm=None if one.high_cm is None else max(one.high_cm, deeper))
        out.append(one)
    return out


class Vote:
    """The gauges of one spot at one instant, against `quorum`."""

    def __init__(self, sights: Sequence[Sight], quorum: float) -> None:
        self._all = [s for s in sights if s.kind != "rain"]
        self._good = [s for s in self._all if s.good]
        self._rain = [s for s in sights if s.kind == "rain" and s.good and s.heavy]
        self._quorum = quorum
        levels = sorted(s.value for s in self._good if s.kind != "float" and s.value is not None)
        self.level_cm = levels[len(levels) // 2] if levels else None
        """What is shown and said: the middle one, of two the deeper; None when no gauge has a level."""
        rises = sorted(s.rise_1_cm for s in self._good if s.rise_1_cm is not None)
        self.rise_cm = rises[len(rises) // 2] if rises else None
        """A minute, by the middle one."""

    def _for(self, at_cm: float) -> list[Sight]:
        return [s for s in self._good if s.low_cm is not None and s.low_cm >= at_cm]

    def _against(self, at_cm: float) -> list[Sight]:
        return [s for s in self._good if s.high_cm is not None
                and (s.high_cm < at_cm or (s.kind == "float" and s.high_cm <= at_cm))]

    def suspected(self, at_cm: float, release_cm: float) -> Says:
        """Whether any gauge says that the water is so deep, and is not outvoted. One that is lost is taken at its
        worst case where none of the others denies it."""
        if self._for(at_cm) and not self._agreed(self._against(at_cm)):
            return Says.HIGH
        if self._over(at_cm, release_cm):
            return Says.LOW
        lost = any(s.worst_cm is not None and s.worst_cm >= at_cm for s in self._all if not s.good)
        if lost and not self._against(at_cm):
            return Says.HIGH
        return Says.BETWEEN if self.known(at_cm) else Says.UNKNOWN

    def confirmed(self, at_cm: float, release_cm: float) -> Says:
        """Whether enough gauges of unlike kinds say so."""
        found = self._for(at_cm)
        support = max((s.weight for s in self._rain), default=0.0)
        if len({s.kind for s in found}) >= 2 and weight(found) + support >= self._quorum:
            return Says.HIGH
        if self._over(at_cm, release_cm):
            return Says.LOW
        return Says.BETWEEN if self.known(at_cm) else Says.UNKNOWN

    def _agreed(self, sights: Sequence[Sight]) -> bool:
        return len({s.kind for s in sights}) >= 2 and weight(sights) >= self._quorum

    def _able(self, at_cm: float) -> list[Sight]:
        """Who could deny that it is so deep, lost or not. A float that hangs higher cannot, unless all do."""
        return [s for s in self._all if s.from_cm is None or s.from_cm <= at_cm] or self._all

    def _need(self, at_cm: float) -> float:
        """What must deny a depth before it is over: one gauge alone where there is only one."""
        return min(self._quorum, weight(self._able(at_cm)))

    def _over(self, at_cm: float, release_cm: float) -> bool:
        """Enough deny that it is even as deep as that, and more than say so. A float has its hysteresis in itself."""
        open_ = [s for s in self._able(at_cm) if s.good and s.kind == "float" and s.low_cm is None]
        below = [s for s in self._good if s.kind != "float" and s.high_cm is not None and s.high_cm < release_cm]
        denied = weight([*below, *open_])
        return denied >= self._need(at_cm) > 0 and denied > weight(self._for(release_cm))

    def known(self, at_cm: float) -> bool:
        """Enough of those could who have a level."""
        good = weight(s for s in self._able(at_cm) if s.good)
        return good >= self._need(at_cm) > 0

    @property
    def heavy(self) -> bool:
        """It pours."""
        return bool(self._rain)

    def to_s(self, at_cm: float) -> int | None:
        """Seconds until the water is so deep, if it goes on; None when it does not rise, or has come there."""
        level, rise = self.level_cm, self.rise_cm
        if level is None or rise is None or rise < RATE_CM or level >= at_cm:
            return None
        seconds = round((at_cm - level) / rise * 60)
        return seconds if seconds <= TO_RED_LIMIT_S else None

    def disagree(self, apart_cm: float) -> str:
        """The gauge that is farthest from the others, where two are more than `apart_cm` apart; empty: they agree."""
        lows = [s.low_cm for s in self._good if s.low_cm is not None]
        highs = [s.high_cm for s in self._good if s.high_cm is not None]
        if not lows or not highs or max(lows) - min(highs) <= apart_cm:
            return ""

        def apart(a: Sight, b: Sight) -> float:
            lowest = (a.low_cm - b.high_cm) if a.low_cm is not None and b.high_cm is not None else 0.0
            highest = (b.low_cm - a.high_cm) if b.low_cm is not None and a.high_cm is not None else 0.0
            return max(lowest, highest)
        far = {a.id: sum(apart(a, b) for b in self._good) for a in self._good}
        return max(far, key=lambda id: far[id])


class Poll:
    """The gauges of one spot, asked of all its depths each second.

    What they say follows from which depths each of them has passed. While none passes another one, the answers are
    those of the second before, and nobody is asked again.
    """

    def __init__(self, depths: Iterable[float], hysteresis_cm: float, quorum: float) -> None:
        self.says: list[tuple[Says, Says]] = []
        """Of each depth: what is suspected, and what is confirmed."""
        self.blind = True
        """Too few can be believed to know even the lowest."""
        self._asked = [(at_cm, at_cm - hysteresis_cm) for at_cm in depths]
        self._marks = sorted(mark for pair in self._asked for mark in pair)
        self._quorum = quorum
        self._stand: list[tuple[object, ...]] | None = None

    def take(self, sights: Sequence[Sight]) -> bool:
        """Whether the answers may be others than before."""
        stand = [self._passed(s) for s in sights]
        if stand == self._stand:
            return False
        self._stand = stand
        vote = Vote(sights, self._quorum)
        self.blind = not vote.known(self._asked[0][0])
        self.says = [(vote.suspected(*pair), vote.confirmed(*pair)) for pair in self._asked]
        if self.blind and vote.heavy and self.says[0][0] is Says.UNKNOWN:
            # Nobody sees the water and it pours: the first colour, until somebody sees that it is dry.
            self.says[0] = Says.HIGH, self.says[0][1]
        return True

    def _passed(self, sight: Sight) -> tuple[object, ...]:
        """All of a sight that a vote asks for: how many of the marks lie at or under what it says."""
        def passed(cm: float | None) -> int | None:
            return None if cm is None else bisect_right(self._marks, cm)
        if sight.good:
            return sight.heavy, passed(sight.low_cm), passed(sight.high_cm)
        return (passed(sight.worst_cm),)
