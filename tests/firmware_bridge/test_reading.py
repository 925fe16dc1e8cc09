"""A reading: no value without a quality, and age that counts against it."""

import pytest

from firmware_bridge.machine import MS, S
from firmware_bridge.reading import NoValue, Quality, Reading, Value, worst_case


def good(value: Value = 1.0, at_us: int = 0, quality: Quality = Quality.GOOD) -> Reading:
    return Reading("d", "p", value, quality, at_us)


BAD = Reading("d", "p", None, Quality.BAD, 0, NoValue.SILENT)


@pytest.mark.parametrize(
    ("value", "quality", "why"),
    [
        (None, Quality.GOOD, None),
        (None, Quality.UNCERTAIN, NoValue.SILENT),
        (None, Quality.BAD, None),
        (1.0, Quality.BAD, None),
        (1.0, Quality.BAD, NoValue.SILENT),
        (1.0, Quality.GOOD, NoValue.SILENT),
        (False, Quality.UNCERTAIN, NoValue.INVALID),
    ],
)
def test_value_quality_and_reason_must_agree(value: Value | None, quality: Quality, why: NoValue | None) -> None:
    with pytest.raises(AssertionError):
        Reading("d", "p", value, quality, 0, why)


def test_false_and_zero_are_values() -> None:
    assert good(False).value is False
    assert good(0).value == 0


def test_fresh_is_good_and_young() -> None:
    assert good(at_us=5 * S).fresh(6 * S, 1 * S)
    assert not good(at_us=5 * S).fresh(6 * S + 1, 1 * S)
    assert not good(at_us=5 * S, quality=Quality.UNCERTAIN).fresh(5 * S, 1 * S)
    assert not BAD.fresh(0, 1 * S)
    assert good(at_us=5 * S).age_us(5 * S + 7 * MS) == 7 * MS


def test_the_worst_case_grows_with_age() -> None:
    assert worst_case(good(0.2), 0, 0.01, 99.0) == pytest.approx(0.2)
    assert worst_case(good(0.2), 30 * S, 0.01, 99.0) == pytest.approx(0.5)


def test_a_falling_value_is_not_hoped_for() -> None:
    assert worst_case(good(0.2), 30 * S, -0.01, 99.0) == pytest.approx(0.2)


def test_no_value_is_the_pessimists() -> None:
    assert worst_case(BAD, 0, 0.0, 99.0) == 99.0
    assert worst_case(good("open"), 0, 0.0, 99.0) == 99.0
