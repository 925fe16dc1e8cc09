"""The flood in the terminal: a column a time slice, the water true and as it is said, and no line too long."""

from simulators.staff import COLUMNS, ROWS, Seen, picture

LIMITS = {"yellow": 15.0, "red": 40.0}


def test_what_is_drawn_where() -> None:
    seen = [Seen(float(t), t / 2, (t - 10) / 2 if t >= 10 else None, "red" if t > 80 else "") for t in range(100)]
    plain = picture(seen, LIMITS, 100.0, ink=False)
    assert len(plain) == ROWS + 2
    assert not any("\033" in line for line in plain)
    rows = [line.partition("┤")[2].ljust(COLUMNS) for line in plain[:ROWS]]
    last = [row[COLUMNS - 2] for row in rows]
    assert last.index("o") > 0, "what is said lies below what is true"
    assert last[last.index("o") + 1] == "█"
    assert "o" not in [row[2] for row in rows], "nothing was said then"
    assert [line.split()[-2:] for line in plain if "red" in line] == [["red", "40"]]
    assert plain[-1].endswith("100 s")


def test_inks_go_with_the_colour_that_is_raised() -> None:
    inked = picture([Seen(0.0, 30.0, None, "red")], LIMITS, 10.0)
    assert "\033[31m█" in "".join(inked)
    assert picture([], LIMITS, 10.0)
