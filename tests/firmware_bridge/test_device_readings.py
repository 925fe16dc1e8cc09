"""How far a device's readings may be believed: decimals, ranges, silence, and whether the unit is there."""

from pathlib import Path

import pytest

from firmware_bridge.event import Expired, LinkDown, Outcome, Presence, Read, Refused, Silent, Skipped, Withdrawn
from firmware_bridge.machine import MS, S
from firmware_bridge.reading import NoValue, Quality, Took
from tests.firmware_bridge.bench_device import GAUGE, PLAIN, SILENT, Bench, H, always, profile_of


def test_every_point_starts_bad(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN))
    assert {r.why for r in bench.device.readings.values()} == {NoValue.NEVER_READ}


def test_every_answer_is_told_changed_or_not_and_dated_by_its_sending(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.memory[H, 1] = 7
    bench.run(5 * S)
    took = bench.all(Took)
    assert len(took) == len(bench.wire) == 5
    for one, (sent_us, _) in zip(took, bench.wire, strict=True):
        assert [(r.point, r.value, r.at_us) for r in one.readings] == [("a", 0, sent_us), ("b", 7, sent_us)]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [(1234, 12.34), (0xFFFF, -0.01), (0x7FFF, NoValue.INVALID), (6000, NoValue.OUT_OF_RANGE), (5000, 50.0)],
)
def test_decimals_ranges_and_invalid_values(tmp_path: Path, raw: int, wanted: object) -> None:
    bench = Bench(profile_of(tmp_path, GAUGE)).link_up()
    bench.memory.update({(H, 3): 2, (H, 10): raw})
    bench.run(1 * S)
    assert bench.value("level") == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


def test_the_decimals_come_before_the_first_level(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, GAUGE)).link_up()
    bench.memory.update({(H, 3): 3, (H, 10): 1500})
    bench.run(60 * S)
    levels = [r for t in bench.all(Took) for r in t.readings if r.point == "level"]
    assert len(levels) == 60
    assert {r.value for r in levels} == {1.5}


@pytest.mark.parametrize("outcome", [SILENT, Refused(2), Expired(), Skipped("full"), Withdrawn()])
def test_without_its_decimals_a_level_is_no_level(tmp_path: Path, outcome: Outcome) -> None:
    """A public driver read the decimals only after a failed read: its levels were wrong 10 to 1000 times."""
    bench = Bench(profile_of(tmp_path, GAUGE)).link_up()
    bench.memory.update({(H, 3): 2, (H, 10): 1234})
    bench.fault = lambda t: outcome if t.request == Read(H, 3, 1) else None
    bench.run(10 * S)
    levels = [r for t in bench.all(Took) for r in t.readings if r.point == "level"]
    assert len(levels) == 10
    assert {r.why for r in levels} == {NoValue.INVALID}
    bench.fault = lambda _: None
    bench.run(62 * S if isinstance(outcome, Refused) else 3 * S)
    assert bench.value("level") == pytest.approx(12.34)


@pytest.mark.parametrize("garbage", [10, 0xFFFF])
def test_garbage_for_decimals_is_no_calm_zero(tmp_path: Path, garbage: int) -> None:
    bench = Bench(profile_of(tmp_path, GAUGE.replace("low = 0, high = 3", "unit = ''"))).link_up()
    bench.memory.update({(H, 3): garbage, (H, 10): 1234})
    bench.run(2 * S)
    assert bench.value("decimals") == garbage
    assert bench.value("level") is NoValue.INVALID


def test_decimals_are_read_again_each_minute_and_after_a_link_came_back(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, GAUGE)).link_up()
    bench.memory.update({(H, 3): 2, (H, 10): 1234})
    bench.run(90 * S)
    bench.memory[H, 3] = 1
    assert bench.value("level") == pytest.approx(12.34)
    bench.run(60 * S)
    assert bench.value("level") is NoValue.OUT_OF_RANGE
    assert len([1 for _, t in bench.wire if t.request == Read(H, 3, 1)]) == 3
    bench.tell(LinkDown("bus", "unplugged"))
    bench.memory[H, 3] = 3
    bench.link_up()
    bench.run(1 * S)
    assert bench.value("level") == pytest.approx(1.234)


def test_a_swapped_gauge_is_not_read_with_the_old_ones_decimals(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, GAUGE)).link_up()
    bench.memory.update({(H, 3): 3, (H, 10): 1500})
    bench.run(5 * S)
    bench.fault = always(SILENT)
    bench.run(5 * S)
    assert bench.value("level") is NoValue.SILENT
    bench.memory[H, 3] = 2
    bench.fault = lambda _: None
    bench.run(3 * S)
    levels = [r.value for at, e in bench.said if at > 10 * S and isinstance(e, Took) for r in e.readings
              if r.point == "level" and r.value is not None]
    assert set(levels) == {15.0}


def test_factor_and_validity_of_other_points(tmp_path: Path) -> None:
    text = """[points]
status = { at = "holding:0", values = { ok = 0, fault = 1 }, poll_ms = 1000 }
code = { at = "holding:1", poll_ms = 1000 }
[points.level]
at = "holding:2"
poll_ms = 1000
valid_if = { point = "status", is = "ok" }
[points.level.factor_from]
point = "code"
[points.level.factor_from.factors]
1 = 0.1
2 = 10
"""
    bench = Bench(profile_of(tmp_path, text)).link_up()
    none = NoValue.INVALID
    for status, code, wanted in [(0, 1, 0.5), (0, 2, 50), (0, 3, none), (1, 1, none), (0, 1, 0.5)]:
        bench.memory.update({(H, 0): status, (H, 1): code, (H, 2): 5})
        bench.run(1 * S)
        assert bench.value("level") == wanted, (status, code)


def test_silence_makes_a_reading_uncertain_and_three_make_it_bad(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.memory[H, 0] = 5
    bench.run(1 * S)
    good = bench.device.readings["a"]
    bench.fault = always(SILENT)
    for _ in range(2):
        bench.run(1 * S)
        old = bench.device.readings["a"]
        assert (old.value, old.quality, old.at_us) == (5, Quality.UNCERTAIN, good.at_us)
        assert bench.all(Presence) == [Presence("dev", True)]
    bench.run(1 * S)
    assert {r.why for r in bench.device.readings.values()} == {NoValue.SILENT}
    assert bench.all(Presence)[1:] == [Presence("dev", False, "no answer")]
    bench.run(10 * S)
    assert len(bench.all(Presence)) == 2
    bench.fault = lambda _: None
    bench.run(1 * S)
    assert bench.value("a") == 5
    assert bench.all(Presence)[2:] == [Presence("dev", True)]


def test_an_answer_between_silences_starts_the_count_anew(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    answers = iter([None, SILENT, SILENT, None, SILENT, SILENT, Refused(4), SILENT, SILENT])
    bench.fault = lambda _: next(answers)
    bench.run(9 * S)
    assert len(bench.wire) == 9
    assert bench.all(Presence) == [Presence("dev", True)]


@pytest.mark.parametrize("outcome", [Expired(), Withdrawn(), Skipped("unit silent")])
def test_what_never_went_out_says_nothing_but_age_does(tmp_path: Path, outcome: Outcome) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.memory[H, 0] = 5
    bench.run(1 * S)
    before = bench.device.readings["a"]
    bench.fault = always(outcome)
    bench.run(1500 * MS)
    assert bench.device.reading("a", bench.now_us) == before
    bench.run(1500 * MS)
    assert bench.device.readings["a"] == before
    aged = bench.device.reading("a", bench.now_us)
    assert (aged.value, aged.quality, aged.at_us) == (5, Quality.UNCERTAIN, before.at_us)
    assert bench.all(Presence) == [Presence("dev", True)]


def test_the_first_presence_is_told_whichever_it_is(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.fault = always(Silent("garbled"))
    bench.run(2 * S)
    assert bench.all(Presence) == []
    bench.run(1 * S)
    assert bench.all(Presence) == [Presence("dev", False, "garbled")]
    assert bench.value("a") is NoValue.SILENT


def test_an_exception_is_an_answer_but_not_one_that_a_gateway_made(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.fault = always(Refused(11))
    bench.run(5 * S)
    assert bench.all(Presence) == [Presence("dev", False, "gateway target silent")]
    bench.fault = always(Refused(4))
    bench.run(1 * S)
    assert bench.all(Presence)[1:] == [Presence("dev", True)]


def test_a_lost_link_makes_all_bad_and_is_told(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.run(1 * S)
    bench.tell(LinkDown("other", "not ours"))
    assert bench.value("a") == 0
    bench.tell(LinkDown("bus", "unplugged"))
    assert {r.why for r in bench.device.readings.values()} == {NoValue.LINK_DOWN}
    assert bench.all(Presence)[1:] == [Presence("dev", False, "link down: unplugged")]
    bench.link_up()
    bench.run(1 * S)
    assert bench.value("a") == 0
    assert bench.all(Presence)[2:] == [Presence("dev", True)]
