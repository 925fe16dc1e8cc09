"""Ramps and waves as functions of time; `when` rules in flight."""

import statistics

import pytest

from firmware_bridge.document import check
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import Profile, ProfileSpec, Ramp, Wave
from firmware_bridge.reading import Value
from simulators.behaviour import NOISE_US, Reactions, ramp, same, wave


def profile_of(simulate: dict[str, object], channels: int | None = None) -> Profile:
    point = {"write": "level", "channels": channels} if channels else {"write": "level"}
    spec = check(ProfileSpec, {
        "make": "x", "model": "x", "kind": "relay", "source": "test", "channels": channels,
        "points": {"a": {"at": "coil:0", **point}, "b": {"at": "coil:100", **point}, "n": {"at": "holding:0"}},
        "simulate": simulate,
    }, "test.toml")
    return Profile("test", "test.toml", spec)


class Bench:
    """Values by name, changed by the reactions of a profile as time goes."""

    def __init__(self, simulate: dict[str, object], channels: int | None = None) -> None:
        self.profile = profile_of(simulate, channels)
        self.reactions = Reactions(self.profile)
        self.values: dict[str, Value] = dict.fromkeys(self.profile.points, False)
        self.seen: list[tuple[int, str, Value]] = []

    def holds(self, condition: object, channel: int | None) -> bool:
        return same(self.values[self.profile.point(condition.point, channel).name], condition.is_)  # type: ignore[attr-defined]

    def write(self, now_us: int, name: str, value: Value) -> None:
        self.until(now_us)
        self.values[name] = value
        self.reactions.said(now_us, self.profile.points[name], value, True, self.holds)
        self.until(now_us)

    def until(self, end_us: int) -> None:
        while (due_us := self.reactions.deadline) is not None and due_us <= end_us:
            changes = self.reactions.due(due_us, self.holds, self.values.__getitem__)
            assert changes is not None
            for name, value in changes.items():
                self.values[name] = value
                self.seen.append((due_us, name, value))


def test_a_ramp_moves_by_time_and_stops_at_its_ends():
    rule = Ramp(ramp="n", per_s=2.0, low=0, high=5)
    assert ramp(rule, 1.0, S // 2) == 2.0
    assert ramp(rule, 1.0, 60 * S) == 5.0
    assert ramp(Ramp(ramp="n", per_s=-1, low=0), 3.0, 10 * S) == 0.0
    halves = ramp(rule, ramp(rule, 0.0, 300 * MS), 700 * MS)
    assert halves == pytest.approx(ramp(rule, 0.0, S))


def test_a_wave_goes_around_its_mean_in_its_period():
    rule = Wave(wave="n", mean=10, swing=2, period_s=60)
    assert wave(rule, 0, 1) == 10
    assert wave(rule, 15 * S, 1) == pytest.approx(12)
    assert wave(rule, 45 * S, 1) == pytest.approx(8)
    assert wave(rule, 60 * S, 1) == pytest.approx(10)


def test_noise_is_seeded_has_its_size_and_does_not_depend_on_how_often_it_is_read():
    rule = Wave(wave="n", mean=0, noise=0.5)
    first = [wave(rule, n * NOISE_US, 7) for n in range(2000)]
    assert first == [wave(rule, n * NOISE_US, 7) for n in range(2000)]
    assert wave(rule, 3 * NOISE_US, 7) == wave(rule, 4 * NOISE_US - 1, 7)
    assert first != [wave(rule, n * NOISE_US, 8) for n in range(2000)]
    assert first != [wave(Wave(wave="m", mean=0, noise=0.5), n * NOISE_US, 7) for n in range(2000)]
    assert statistics.fmean(first) == pytest.approx(0, abs=0.05)
    assert statistics.stdev(first) == pytest.approx(0.5, rel=0.1)


def test_when_follows_after_its_time_and_with_the_written_value():
    bench = Bench({"follow": {"when": "a", "then": {"b": "$value"}, "after_ms": 300}})
    bench.write(S, "a", True)
    bench.until(S + 300 * MS - 1)
    assert bench.seen == []
    bench.until(S + 300 * MS)
    assert bench.seen == [(S + 300 * MS, "b", True)]
    assert bench.reactions.deadline is None


def test_when_is_for_its_value_only():
    bench = Bench({"follow": {"when": "a", "is": True, "then": {"b": True}}})
    bench.write(0, "a", False)
    assert bench.seen == []
    bench.write(S, "a", True)
    assert bench.values["b"] is True


def test_when_any_is_for_writes_and_a_value_is_for_changes_too():
    bench = Bench({"every": {"when": "a", "then": {"b": True}}, "is": {"when": "a", "is": True, "then": {"n": 5}}})
    bench.reactions.said(0, bench.profile.points["a"], True, False, bench.holds)
    bench.until(0)
    assert bench.seen == [(0, "n", 5)]


def test_a_held_change_goes_back_and_a_second_one_prolongs_it():
    bench = Bench({"pulse": {"when": "a", "is": True, "then": {"b": True}, "hold_ms": 1000}})
    bench.write(0, "a", True)
    bench.write(800 * MS, "a", True)
    bench.until(5 * S)
    assert bench.seen == [(0, "b", True), (800 * MS, "b", True), (1800 * MS, "b", False)]


def test_only_if_is_asked_when_it_is_written_and_again_when_it_follows():
    rule = {"sounds": {"when": "a", "then": {"n": 1}, "after_ms": 300, "only_if": {"point": "b", "is": True}}}
    bench = Bench(rule)
    bench.write(0, "a", True)
    bench.values["b"] = True
    bench.until(S)
    assert bench.seen == [], "it was not armed when it was written"
    bench.write(2 * S, "a", True)
    bench.values["b"] = False
    bench.until(3 * S)
    assert bench.seen == [], "it was cancelled before it began"
    bench.values["b"] = True
    bench.write(4 * S, "a", True)
    bench.until(5 * S)
    assert bench.seen == [(4 * S + 300 * MS, "n", 1)]


def test_rules_of_a_channel_stay_in_their_channel():
    bench = Bench({"follow": {"when": "a", "then": {"b": "$value"}}}, channels=3)
    bench.write(0, "a_2", True)
    assert bench.seen == [(0, "b_2", True)]


def test_same_is_about_meaning():
    assert same(True, True)
    assert same(3 * 0.1, 0.3)
    assert same(1, True)
    assert not same("1", 1)
    assert not same(0.31, 0.3)
