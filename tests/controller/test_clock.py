"""The kernel's word for the wall clock: how far it may be wrong and still be believed."""

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

from controller import clock
from controller.event import Clock, Trust

TICK_US = 500
"""What the kernel adds to the largest error each second in which nobody tells it better: 500 ppm."""
POLL_S = 2048
"""How seldom systemd-timesyncd asks when left alone; each answer that it takes puts the largest error to 0."""
ANSWER_S = 60
"""An answer that is lost at first, and the tries until one comes."""
STA_PLL, STA_NANO = 0x0001, 0x2000
DROP_IN = Path(__file__).parents[2] / "systemd" / "siren.timesyncd.conf"


def told(monkeypatch: pytest.MonkeyPatch, maxerror_us: int, status: int = STA_PLL | STA_NANO, state: int = 0) -> Clock:
    """What is read where the kernel says this."""
    class Kernel:
        def adjtimex(self, timex: Any) -> int:
            timex._obj.status, timex._obj.maxerror = status, maxerror_us
            return state

    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda *args, **kwargs: Kernel())
        return clock.read("kernel")


@pytest.mark.parametrize("answers_s", [POLL_S, 2 * POLL_S], ids=["each-taken", "one-ignored"])
def test_a_clock_that_timesyncd_keeps_is_believed_all_the_time(monkeypatch: pytest.MonkeyPatch, answers_s: int) -> None:
    """It takes no answer that looks like a spike, and asks again only after another poll."""
    for s in range(answers_s + ANSWER_S + 1):
        got = told(monkeypatch, TICK_US * s)
        assert (got.trust, got.error_us) == (Trust.TRUSTED, TICK_US * s), f"{s} s after the last answer"


def test_a_clock_that_nobody_keeps_is_believed_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_us = clock.TRUSTED_ERROR_US
    assert told(monkeypatch, limit_us).trust is Trust.TRUSTED
    for lost in (told(monkeypatch, limit_us + 1), told(monkeypatch, 16 * 10**6)):
        assert lost.trust is Trust.UNTRUSTED
        assert lost.error_us > limit_us
    # A crystal is wrong by 50 ppm, a tenth of what the kernel assumes: until then it has drifted by less than half of
    # the half second in which edges must lie.
    assert limit_us * 50 // TICK_US <= 250_000


def test_what_is_not_disciplined_or_not_answered_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, state in ((clock.STA_UNSYNC, 5), (clock.STA_UNSYNC | STA_PLL, 0), (STA_PLL, -1)):
        got = told(monkeypatch, 0, status, state)
        assert (got.trust, got.error_us) == (Trust.UNTRUSTED, clock.TRUSTED_ERROR_US)


def test_an_assumed_clock_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", None)
    got = clock.read("assumed")
    assert (got.trust, got.error_us) == (Trust.ASSUMED, 0)


def test_with_the_shipped_drop_in_many_answers_may_be_ignored() -> None:
    (poll_s,) = re.findall(r"^PollIntervalMaxSec=(\d+)$", DROP_IN.read_text(encoding="utf-8"), flags=re.M)
    assert clock.TRUSTED_ERROR_US // (TICK_US * int(poll_s)) - 1 == 8
