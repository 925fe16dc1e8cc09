"""A flood on one sheet: the table has everything, the picture draws nothing that was not known."""

import csv
import io
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from controller.curve import COLOURS, HOLE_US, MARKS_LIMIT, Curve, Limit, Line, Mark, between, svg, table
from firmware_bridge.machine import S

T0 = 1_789_696_800_000_000
"""Ten in the morning in Zhengzhou."""
NS = "{http://www.w3.org/2000/svg}"


def curve(*samples: tuple[float, float | None], marks: tuple[Mark, ...] = (), name: str = "press") -> Curve:
    line = Line(name, tuple((T0 + round(t * S), cm) for t, cm in samples))
    return Curve("农业路下穿 Nongye", (line,), (Limit("yellow", 15), Limit("red", 40)), marks)


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def words(picture: ElementTree.Element) -> list[str]:
    return [e.text or "" for e in picture.iter(f"{NS}text")]


def test_the_table_has_every_sample_and_action_in_order_of_time() -> None:
    sheet = curve((0, 1.5), (60, None), (120, 16), marks=(Mark(T0 + 90 * S, "flood-yellow", "积水 water, 15 cm"),))
    rows = list(csv.reader(io.StringIO(table(sheet))))
    assert rows == [
        ["utc", "local", "kind", "subject", "value", "unit", "detail"],
        ["2026-09-18T02:00:00.000Z", "2026-09-18 10:00:00", "sample", "press", "1.5", "cm", ""],
        ["2026-09-18T02:01:00.000Z", "2026-09-18 10:01:00", "sample", "press", "", "cm", "no value"],
        ["2026-09-18T02:01:30.000Z", "2026-09-18 10:01:30", "action", "flood-yellow", "", "", "积水 water, 15 cm"],
        ["2026-09-18T02:02:00.000Z", "2026-09-18 10:02:00", "sample", "press", "16", "cm", ""],
    ]


def test_no_cell_is_a_formula() -> None:
    text = table(curve((0, 1), marks=(Mark(T0, "=cmd|' /C calc'!A0", "@SUM(A1)"),)))
    assert "'=cmd" in text
    assert "'@SUM" in text


def test_the_curve_goes_up_as_the_water_does_and_meets_the_limits() -> None:
    picture = drawn(svg(curve((0, 0), (60, 15), (120, 40), marks=(Mark(T0 + 120 * S, "flood-red", grave=True),))))
    points = [tuple(map(float, p.split(","))) for p in picture.find(f"{NS}polyline").get("points", "").split()]  # type: ignore[union-attr]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == x2 - x1
    assert y0 > y1 > y2
    limits = {e.get("stroke"): float(e.get("y1", "")) for e in picture.iter(f"{NS}line")
              if e.get("stroke-width") == "1.2"}
    assert limits == {COLOURS["yellow"]: y1, COLOURS["red"]: y2}
    said = words(picture)
    assert "农业路下穿 Nongye" in said
    assert any("10:02:00" in one and "flood-red" in one for one in said)
    assert "10:01:00" in said, "local time stands below"


def test_where_nothing_was_known_nothing_is_drawn() -> None:
    gap_s = HOLE_US // S + 1
    for samples in (((0, 5), (10, 6), (20, None), (30, 9), (40, 9)),
                    ((0, 5), (10, 6), (10 + gap_s, 9), (20 + gap_s, 9))):
        assert len(drawn(svg(curve(*samples))).findall(f"{NS}polyline")) == 2
    alone = drawn(svg(curve((0, None), (10, 5), (20, None))))
    assert (len(alone.findall(f"{NS}polyline")), len(alone.findall(f"{NS}circle"))) == (0, 1)


def test_of_too_many_actions_the_rest_is_counted_and_the_table_has_them() -> None:
    sheet = curve((0, 1), marks=tuple(Mark(T0 + n * S, f"m{n}") for n in range(MARKS_LIMIT + 7)))
    assert any("7 项" in one for one in words(drawn(svg(sheet))))
    assert table(sheet).count("action") == MARKS_LIMIT + 7


def test_a_contact_is_in_the_table_and_no_depth_in_the_picture() -> None:
    float_ = Line("float", ((T0, 0.0), (T0 + 60 * S, 1.0)), "contact")
    sheet = Curve("x", (float_, *curve((0, 5), (60, 9)).lines), (), ())
    assert len(drawn(svg(sheet)).findall(f"{NS}polyline")) == 1
    assert "float,1,contact" in table(sheet)


def test_cut_to_a_time() -> None:
    lines = (Line("a", ((1, 1.0), (5, 2.0), (9, 3.0))), Line("b", ((99, 1.0),)))
    assert between(lines, 2, 9) == (Line("a", ((5, 2.0), (9, 3.0))),)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.none() | st.floats(-500, 1000)), max_size=30),
       st.lists(st.tuples(st.integers(0, 10**7), st.text(max_size=30)), max_size=5), st.text(max_size=20))
def test_any_flood_becomes_a_picture(samples: list[tuple[int, float | None]], told: list[tuple[int, str]],
                                     name: str) -> None:
    marks = tuple(Mark(T0 + t * S, text, text) for t, text in sorted(told))
    sheet = curve(*sorted(samples, key=lambda s: s[0]), marks=marks, name=name)
    picture = drawn(svg(sheet))
    for line in picture.iter(f"{NS}polyline"):
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 1000
            assert 0 <= y <= 420
    assert len(list(csv.reader(io.StringIO(table(sheet))))) >= 1 + len(samples)
    assert len(svg(sheet)) < 100_000
