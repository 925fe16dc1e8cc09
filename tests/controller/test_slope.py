"""The slope by sums against the slope as the book has it."""

from random import Random
from statistics import linear_regression

import pytest

from controller.slope import FRESH_S, SAMPLES_LIMIT, Slope, Span
from firmware_bridge.machine import S

MINUTE_US = 60 * S


def by_the_book(samples: list[tuple[int, float]], now_us: int, window_us: int) -> float | None:
    within = [(at_us / S, cm) for at_us, cm in samples if at_us >= now_us - window_us][-SAMPLES_LIMIT:]
    if len(within) < 3 or within[-1][0] - within[0][0] < window_us / S / 2:
        return None
    return linear_regression(*zip(*within, strict=True)).slope * window_us / S


def test_it_is_the_slope_of_the_book_for_hours_with_gaps_and_however_often() -> None:
    chance = Random(7)
    slope, samples, at_us, known = Slope(MINUTE_US), [], 5 * 3600 * S, 0
    for n in range(20_000):
        at_us += round(chance.choice((0.1, 1, 1, 1, 5, 40)) * S)
        samples.append((at_us, 30 + 20 * chance.random() + n / 100))
        slope.add(*samples[-1])
        if n % 50 == 0:
            now_us = at_us + chance.randrange(20 * S)
            expected = by_the_book(samples[-3500:], now_us, MINUTE_US)
            found = slope.rise(now_us)
            assert found == (None if expected is None else pytest.approx(expected, abs=1e-5))
            known += found is not None
            at_us = max(at_us, now_us)
    assert at_us > 10 * FRESH_S * S, "its beginning was moved"
    assert known > 200


def test_nothing_is_said_of_less_than_half_a_window_or_of_what_was_cleared() -> None:
    slope = Slope(MINUTE_US)
    for second in range(30):
        slope.add(second * S, second / 2)
    assert slope.rise(29 * S) is None
    slope.add(30 * S, 15.0)
    assert slope.rise(30 * S) == pytest.approx(30.0)
    assert slope.rise(75 * S) is None
    slope.clear()
    assert slope.rise(76 * S) is None


def test_it_keeps_no_more_than_its_limit() -> None:
    slope = Slope(300 * S)
    for n in range(SAMPLES_LIMIT + 500):
        slope.add(n * S // 12, float(n))
    assert len(slope._samples) == SAMPLES_LIMIT
    assert slope.rise((SAMPLES_LIMIT + 499) * S // 12) == pytest.approx(12 * 300)


def test_a_span_is_from_the_lowest_to_the_highest_of_its_window() -> None:
    chance = Random(3)
    span, samples, at_us = Span(MINUTE_US), [], 0
    for _ in range(5000):
        at_us += round(chance.choice((0.1, 1, 5, 70)) * S)
        samples.append((at_us, round(chance.gauss(30, 10))))
        span.add(at_us, samples[-1][1])
        now_us = at_us + chance.randrange(30 * S)
        within = [cm for t, cm in samples[-700:] if t >= now_us - MINUTE_US]
        assert span.width(now_us) == max(within) - min(within)
        at_us = now_us
    assert span.width(at_us + 2 * MINUTE_US) == 0
    span.add(at_us + 3 * MINUTE_US, 1.0)
    span.clear()
    assert span.width(at_us + 3 * MINUTE_US) == 0
