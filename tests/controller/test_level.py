"""From a register to a level: what passes, what primes, what is stuck, and what an old level may have become."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.level import PRIME, STUCK_US, Gauge, State
from controller.spot import GaugeSection
from firmware_bridge.machine import S
from firmware_bridge.reading import NoValue, Quality, Reading


def section(**more: Any) -> GaugeSection:
    return GaugeSection.model_validate({"id": "g", "kind": "pressure", "point": "gauge-1.level", "unit": "m",
                                        "range": (-0.1, 5.0)} | more)


class Fed:
    """A gauge that is read once a second."""

    def __init__(self, **more: Any) -> None:
        self.gauge = Gauge(section(**more))
        self.now_us = 10 * S
        self.point = self.gauge.section.point.partition(".")[2]

    def give(self, *values: float | bool) -> "Fed":
        for value in values:
            self.now_us += S
            self.gauge.take(self.now_us, Reading("gauge-1", self.point, value, Quality.GOOD, self.now_us))
        return self

    def lose(self, why: NoValue = NoValue.SILENT) -> "Fed":
        self.now_us += S
        self.gauge.take(self.now_us, Reading("gauge-1", self.point, None, Quality.BAD, self.now_us, why))
        return self

    @property
    def sight(self):
        return self.gauge.sight(self.now_us)

    @property
    def cm(self) -> float | None:
        return self.sight.value


def test_the_first_samples_only_prime():
    fed = Fed().give(*[0.5] * (PRIME - 1))
    assert (fed.gauge.state, fed.sight.good, fed.sight.why) == (State.PRIMING, False, "priming")
    fed.give(0.5)
    assert (fed.gauge.state, fed.sight.low_cm, fed.sight.high_cm) == (State.GOOD, 50.0, 50.0)


def test_another_points_reading_is_not_taken():
    gauge = Gauge(section())
    assert not gauge.take(S, Reading("gauge-2", "level", 1.0, Quality.GOOD, S))
    assert gauge.take(S, Reading("gauge-1", "level", 1.0, Quality.GOOD, S))


@pytest.mark.parametrize(("unit", "value", "cm"), [("m", 0.42, 42.0), ("cm", 42.0, 42.0), ("mm", 420.0, 42.0)])
def test_units(unit: str, value: float, cm: float):
    assert Fed(unit=unit, range=(-10000, 10000)).give(*[value] * PRIME).cm == pytest.approx(cm)


def test_a_distance_becomes_a_level_by_the_height_of_the_mount():
    fed = Fed(kind="radar", point="gauge-1.distance", mount_cm=520.0, range=(0.2, 6.0)).give(*[4.8] * PRIME)
    assert fed.cm == pytest.approx(40.0)


def test_what_it_shows_at_the_road_is_taken_off():
    assert Fed(zero_cm=12.0).give(*[0.5] * PRIME).cm == pytest.approx(38.0)


def test_one_value_out_of_range_is_a_spike_and_three_are_a_doubt():
    fed = Fed().give(*[0.5] * 6, 9.0)
    assert fed.cm == 50.0
    fed.give(9.0, 9.0)
    assert (fed.sight.good, fed.sight.why) == (False, "out of range")


def test_water_does_not_jump():
    fed = Fed().give(*[0.1] * 6, 0.9, 0.1)
    assert fed.cm == pytest.approx(10.0)
    fed.give(0.9, 0.9, 0.9)
    assert (fed.sight.good, fed.sight.why) == (False, "jumped")
    fed.give(*[0.9] * PRIME)
    assert fed.cm == pytest.approx(90.0), "it is there all the same: primed anew"


def test_the_median_swallows_a_ripple():
    assert Fed().give(0.10, 0.10, 0.10, 0.12, 0.10).cm == pytest.approx(10.0)


def test_vehicles_under_a_gauge_overhead_are_not_water():
    fed = Fed(kind="radar", point="gauge-1.distance", mount_cm=520.0, range=(0.2, 6.0)).give(*[5.1] * 10)
    for _ in range(20):
        fed.give(3.6, 3.6, 5.1, 5.1)  # a van, the road, ...
        assert fed.sight.good
        assert fed.cm == pytest.approx(10.0)


def test_water_under_a_gauge_overhead_is_seen_within_its_window():
    fed = Fed(kind="radar", point="gauge-1.distance", mount_cm=520.0, range=(0.2, 6.0)).give(*[5.2] * 15)
    for n in range(60):
        fed.give(5.2 - 0.005 * n)  # half a centimetre a second
    assert fed.sight.good
    assert fed.cm == pytest.approx(29.5 - 7.0, abs=2.0)


def test_a_gauge_that_stands_still_to_the_digit_in_water_is_stuck():
    fed = Fed(still_s=100).give(*[0.2] * 100)
    assert fed.sight.good
    fed.give(0.2, 0.2)
    assert (fed.sight.good, fed.sight.why) == (False, "no variance")
    fed.give(*[0.2] * 20)
    assert not fed.sight.good, "and stays so"
    fed.give(0.201, 0.2, 0.202, 0.2, 0.201)
    assert fed.sight.good


def test_a_dry_gauge_may_stand_still():
    assert Fed(still_s=60).give(*[0.0] * 200).sight.good


def test_a_gauge_that_stands_still_while_others_move_is_stuck_until_it_moves():
    fed = Fed().give(*[0.0] * (STUCK_US // S + 2))
    fed.gauge.compared(fed.now_us, 9.0)
    assert fed.sight.good
    fed.gauge.compared(fed.now_us, 30.0)
    assert (fed.sight.good, fed.sight.why) == (False, "stuck")
    fed.give(*[0.0] * 20)
    assert not fed.sight.good
    fed.give(0.01, 0.02, 0.03, 0.02, 0.03)
    assert fed.sight.good


def test_a_gauge_at_the_end_of_its_range_tells_one_side_and_is_not_stuck():
    fed = Fed(range=(0.0, 0.5), still_s=60).give(*[0.5] * 200)
    assert (fed.sight.low_cm, fed.sight.high_cm) == (50.0, None)
    fed.gauge.compared(fed.now_us, 30.0)
    assert fed.sight.good


@pytest.mark.parametrize(("closed", "low", "high"), [(True, 15.0, None), (False, None, 15.0)])
def test_a_float_knows_one_side(closed: bool, low: float | None, high: float | None):
    sight = Fed(kind="float", point="gauge-1.contact_1", unit=None, range=None, wet_cm=15.0).give(*[closed] * 5).sight
    assert (sight.good, sight.low_cm, sight.high_cm) == (True, low, high)


def test_rain_as_an_intensity_and_as_a_count():
    rain = Fed(kind="rain", point="gauge-1.rain", unit="mm/h", range=(0, 500))
    assert not rain.give(*[19.0] * 5).sight.heavy
    assert rain.give(25.0).sight.heavy
    bucket = Fed(kind="rain", point="gauge-1.rain", unit="mm", range=(0, 10000))
    bucket.give(*[100 + 0.2 * (n // 30) for n in range(301)])  # two tenths each half minute: 24 mm in an hour
    assert bucket.cm == pytest.approx(24.0, abs=2.5)
    bucket.give(*[0.0] * 10)
    assert (bucket.cm or 0.0) <= 24.0, "a count that begins anew is no cloudburst"


def test_the_rate_of_rise_over_one_and_five_minutes():
    fed = Fed().give(*[0.05 + 0.0010 * n for n in range(320)])  # 6 cm a minute
    assert fed.sight.rise_1_cm == pytest.approx(6.0, abs=0.2)
    assert fed.sight.rise_5_cm == pytest.approx(30.0, abs=0.5)


def test_a_lost_gauge_may_have_gone_on_rising_to_the_end_of_its_range():
    fed = Fed(range=(-0.1, 1.0)).give(*[0.05 + 0.0010 * n for n in range(120)])
    last = fed.cm or 0.0
    fed.lose()
    assert (fed.sight.good, fed.sight.why) == (False, "unit silent")
    fed.now_us += 60 * S
    assert fed.sight.worst_cm == pytest.approx(last + 6.0, abs=0.5)
    fed.now_us += 3600 * S
    assert fed.sight.worst_cm == pytest.approx(100.0)


def test_the_noise_of_a_dry_gauge_that_is_lost_does_not_climb():
    fed = Fed().give(*[0.001 * (n // 100) for n in range(400)]).lose()
    fed.now_us += 86400 * S
    assert (fed.sight.worst_cm or 0.0) < 1.0


def test_a_gauge_that_nobody_reads_grows_old():
    fed = Fed(max_age_s=15).give(*[0.5] * 6)
    fed.now_us += 16 * S
    assert (fed.sight.good, fed.sight.why) == (False, "old")


def test_evidence_is_one_sample_in_ten_seconds_of_five_minutes_doubted_or_not():
    fed = Fed().give(*[0.5] * 400).lose()
    samples = fed.gauge.samples(fed.now_us)
    assert 29 <= len(samples) <= 31
    assert all(ago <= 300 and value == 50.0 for ago, value in samples)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)), max_size=60))
def test_whatever_comes_a_good_sight_has_a_level_within_its_range(values: list[float | None]):
    fed = Fed()
    for value in values:
        fed.lose() if value is None else fed.give(value)
        sight = fed.sight
        assert sight.good == (sight.value is not None)
        if sight.good:
            assert -10.0 <= (sight.value or 0.0) <= 500.0
