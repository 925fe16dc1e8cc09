"""Storms: tables of time and level, ours and recorded ones, and what is said of rows that are bad."""

from pathlib import Path

import pytest

from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S
from simulators.faults import Fault
from simulators.storm import TOLD_LIMIT, Columns, Storm, Wrong, parse

STORMS = sorted((Path(__file__).parents[2] / "configs/storms").glob("*.csv"))


def read(text: str, **columns: object) -> Storm:
    storm, left_out = parse(text, "x/flood.csv", Columns(**columns))  # type: ignore[arg-type]
    assert left_out == []
    return storm


def bad(text: str, **columns: object) -> list[str]:
    with pytest.raises(BadDocument) as refused:
        parse(text, "flood.csv", Columns(**columns))  # type: ignore[arg-type]
    return [str(problem) for problem in refused.value.problems]


def test_between_two_rows_the_water_moves_evenly_and_before_and_after_it_stands() -> None:
    storm = read("time_s,level_m\n10,0.1\n20,0.3\n40,0.3\n")
    assert storm.name == "flood"
    assert storm.end_us == 30 * S
    assert [storm.level_m(t * S) for t in (-5, 0, 5, 10, 20, 999)] == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.3, 0.3])


@pytest.mark.parametrize("text", [
    "time_s,level_cm\n0,0\n90,15\n", "time_min,level_m\n0,0\n1.5,0.15\n", "time,level (mm)\n16:00:00,0\n16:01:30,150\n",
    "DateTime;Stage [cm]\n2021-07-20T16:00:00;0\n2021-07-20T16:01:30;15\n",
    "时间\t水位（cm）\n2021/07/20 16:00:00\t0\n2021/07/20 16:01:30\t15\n",
    "\ufeff# words\n\nsite,time_s,level_m,quality\n7,0,0,A\n7,90,0.15,\n",
])
def test_times_levels_and_units_as_people_write_them(text: str) -> None:
    storm = read(text)
    assert storm.times_us == (0, 90 * S)
    assert storm.levels_m == pytest.approx((0.0, 0.15))


def test_columns_a_unit_and_a_zero_that_the_head_does_not_tell() -> None:
    text = "when,flow,gauge 3\n0,7,12.2\n60,7,12.5\n"
    assert "no column of time" in bad(text)[0]
    assert "no column of level" in bad(text, time="when")[0]
    assert "say --unit" in bad(text, time="when", level="gauge 3")[0]
    storm = read(text, time="when", level="gauge 3", unit="m", zero_m=12.2)
    assert storm.levels_m == pytest.approx((0.0, 0.3))


@pytest.mark.parametrize(("row", "told"), [
    ("60,", "flood.csv: line 3 = '': no level; leave the row out, or fill it"),
    ("60,-", "no level"), ("60,NaN", "no level"), ("60,inf", "no level"), ("60,ice", "no level"),
    ("60,dry", "line 3 = 'dry': no number"), ("60,-99999", "look at --unit and --zero"), ("60", "too few columns"),
    ("0,0.1", "line 3 = '0': not after the row before"), ("-1,0.1", "not after"),
    ("soon,0.1", "line 3 = 'soon': no time"),
    ("25:99:00,0.1", "no time"), ("2021-02-30 10:00,0.1", "no time"),
])
def test_a_bad_row_is_told_with_file_line_and_remedy_or_left_out(row: str, told: str) -> None:
    text = f"time_s,level_m\n0,0\n{row}\n{'2021-03-01 00:00' if '2021' in row else 90},0.2\n"
    assert told in bad(text)[0]
    storm, left_out = parse(text, "flood.csv", Columns(skip_bad=True))
    assert len(left_out) == 1
    assert len(storm.times_us) == 2


def test_of_many_bad_rows_the_first_are_told_and_the_rest_counted() -> None:
    said = bad("time_s,level_m\n" + "".join(f"{n},?\n" for n in range(100)) + "100,0\n101,0\n")
    assert len(said) == TOLD_LIMIT + 1
    assert "rows = 80" in said[-1]
    assert "--skip-bad" in said[-1]


def test_what_is_no_table_at_all() -> None:
    assert "empty" in bad("# only words\n")[0]
    assert "two rows" in bad("time_s,level_m\n0,0\n")[0]
    assert "no column of time" in bad("\x00\x01,\n1,2\n")[0]
    assert "its unit is not known" in bad("time_parsecs (pc),level_m\n0,0\n", time="time_parsecs (pc)")[0]
    assert "rain is 0 to" in bad("time_s,level_m,rain_mm_h\n0,0,-1\n1,0,0\n")[0]


def test_faults_come_with_it_at_their_instants() -> None:
    storm = read("time_s,level_m,fault\n5,0,gauge-1 dead\n15,,distance vehicles 0.3; contact debris\n"
                 "65,0,gauge-1 dead off\n")
    assert storm.times_us == (0, 60 * S)
    assert storm.wrongs == (Wrong(0, "gauge-1", Fault.DEAD, 1.0), Wrong(10 * S, "distance", Fault.VEHICLES, 0.3),
                            Wrong(10 * S, "contact", Fault.DEBRIS, 0.5), Wrong(60 * S, "gauge-1", Fault.DEAD, 0.0))
    for cell in ("gauge-1", "gauge-1 ill", "gauge-1 dead 0.5", "level noisy -1", "level noisy much", "a b c d"):
        assert len(bad(f"time_s,level_m,fault\n0,0,{cell}\n1,0,\n2,0,\n")) == 1, cell


@pytest.mark.parametrize("path", STORMS, ids=lambda p: p.stem)
def test_every_storm_of_ours_is_one(path: Path) -> None:
    storm, left_out = parse(path.read_text(encoding="utf-8"), str(path))
    assert left_out == []
    assert storm.name == path.stem
    assert 20 * 60 * S <= storm.end_us <= 4 * 3600 * S
    assert min(storm.levels_m) >= 0
    assert storm.levels_m[-1] == 0, "the road is dry again"
    ends = {(w.whom, w.fault) for w in storm.wrongs if w.share == 0}
    assert {(w.whom, w.fault) for w in storm.wrongs} == ends, "each fault ends"


def test_ours_are_what_they_are_called() -> None:
    assert {p.stem for p in STORMS} == {"flash", "flash-dead", "slow-pond", "shallow", "rain", "waves", "fouling",
                                        "debris", "flooded-sensor", "queue"}
    ours = {p.stem: parse(p.read_text(encoding="utf-8"), p.name)[0] for p in STORMS}
    flash = ours["flash"]
    assert (flash.level_m(180 * S) - flash.level_m(120 * S)) == pytest.approx(0.15)
    assert max(ours["slow-pond"].levels_m) > 0.4
    assert 0.15 < max(ours["waves"].levels_m) < 0.27
    assert all(max(ours[dry].levels_m) < 0.05 for dry in ("rain", "fouling", "debris", "flooded-sensor", "queue"))
