"""The promises, each a checker: judged from what the simulated devices logged, never from what a gateway believes.

A checker answers with the breaches it found in a `History`, in words; none means the promise was kept in this history,
and no more than that. Definitions: DESIGN §6. Where a promise speaks of a healthy bus or of other faults, the checker
goes by what was injected, and its docstring says what it excuses.
"""

from collections.abc import Callable, Mapping

from simulators.promises import authority, flood, line, sound, word
from simulators.promises.facts import Ordered, Sounding
from simulators.promises.history import Breaches, History, soundings

PROMISES: Mapping[str, Callable[[History], Breaches]] = {
    "NO-UNAUTH": authority.no_unauth,
    "TWO-PERSON": authority.two_person,
    "AT-MOST-ONCE": authority.at_most_once,
    "JOURNAL-FIRST": authority.journal_first,
    "FRESH": authority.fresh,
    "SCOPE": authority.scope,
    "BOUNDED-ON": sound.bounded_on,
    "STOP-WINS": sound.stop_wins,
    "LIVENESS": sound.liveness,
    "GOLDEN": sound.golden,
    "PRIORITY": sound.priority,
    "ISOLATION": sound.isolation,
    "VOTE": flood.vote,
    "NO-FLAP": flood.no_flap,
    "HONEST": word.honest,
    "ANSWERED": word.answered,
    "DRILL≠LIVE": word.drill_is_not_live,
    "AUDIT": word.audit,
    "MONOTONE-TRUST": word.monotone_trust,
    "BOUNDED": word.bounded,
    "RECOVER": word.recover,
    "WRITE-SHAPE": line.write_shape,
    "SINGLE-MASTER": line.single_master,
}


def judge(history: History) -> dict[str, list[str]]:
    """Every promise with its breaches."""
    return {name: list(checker(history)) for name, checker in PROMISES.items()}


__all__ = ["PROMISES", "Breaches", "History", "Ordered", "Sounding", "judge", "soundings"]
