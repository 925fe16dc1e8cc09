"""The published patterns, edge by edge; what a digest says; what an output cannot do; and everything wrong at once."""

import re
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import signal
from controller.signal import Phase, Segment, Signals, Timeline, lower
from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S
from firmware_bridge.profile import OutputSpec

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "signals"
SIGNALS = signal.load(sorted(FOLDER.glob("*.toml")))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "signals.md"


def edges_s(name: str) -> list[tuple[float, float]]:
    return [(p.on_us / S, p.off_us / S) for p in SIGNALS.timeline(name).phases]


def length_s(name: str) -> float:
    return SIGNALS.timeline(name).end_us / S


def beat(on: int, off: int, times: int, start: int = 0) -> list[tuple[float, float]]:
    return [(start + n * (on + off), start + n * (on + off) + on) for n in range(times)]


# The patterns as the notices print them.


@pytest.mark.parametrize(("name", "edges", "length"), [
    ("pre-alert", [(0, 36), (60, 96), (120, 156)], 180),
    ("air-raid", [(12 * n, 12 * n + 6) for n in range(15)], 180),
    ("all-clear", [(0, 180)], 180),
    ("disaster-qingdao", [(0, 15), (25, 30), (40, 55), (65, 70), (80, 95), (105, 110)], 120),
    ("disaster-zhejiang", [(0, 60), (90, 150)], 180),
    ("disaster-clear-zhejiang", [(0, 240)], 240),
    ("disaster-gansu", [(30 * n, 30 * n + 20) for n in range(6)], 180),
    ("disaster-chongqing", [(6 * n, 6 * n + 3) for n in range(30)], 180),
])
def test_a_signal_has_its_published_edges(name: str, edges: list[tuple[float, float]], length: float) -> None:
    assert edges_s(name) == edges
    assert length_s(name) == length == SIGNALS.signals[name].length_s


def test_henan_sounds_37_times_in_31_minutes() -> None:
    assert edges_s("henan-918") == [
        *beat(36, 24, 3), *beat(36, 24, 3, 6 * 60),
        *beat(6, 6, 15, 14 * 60), *beat(6, 6, 15, 20 * 60),
        (28 * 60, 31 * 60),
    ]
    assert len(edges_s("henan-918")) == 37
    assert length_s("henan-918") == 31 * 60
    # Five minutes between the signals, three between their repeats, as the notices say; trailing silences count.
    segments = SIGNALS.timeline("henan-918").segments
    assert [(b.start_us - a.end_us) / S for a, b in pairwise(segments)] == [180, 300, 180, 300]


def test_jiangsu_sounds_19_times_in_19_minutes() -> None:
    assert edges_s("jiangsu-918") == [*beat(36, 24, 3), *beat(6, 6, 15, 8 * 60), (16 * 60, 19 * 60)]
    assert len(edges_s("jiangsu-918")) == 19
    assert length_s("jiangsu-918") == 19 * 60


@pytest.mark.parametrize("name", [*SIGNALS.signals, *SIGNALS.programmes])
def test_every_timeline_is_in_order_and_within_the_limit(name: str) -> None:
    timeline = SIGNALS.timeline(name)
    flat = [us for p in timeline.phases for us in (p.on_us, p.off_us)]
    assert flat == sorted(flat)
    assert flat[0] == 0
    assert flat[-1] <= timeline.end_us <= signal.PROGRAMME_LIMIT_S * S
    assert name in SIGNALS
    assert SIGNALS.families(name)


@pytest.mark.parametrize("name", [*SIGNALS.signals, *SIGNALS.programmes])
def test_the_page_tells_of_every_signal(name: str) -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows.count(name) == 1, f"{PAGE.name} has {rows}"


# The digest: what a name means.

NATIONAL = ["9123a7af028e135d80356fa798a6a1d8", "673471fc27ff989a78aca9b3764671c8", "d4212e1916971e19b5b296683caf7a92"]
TEXT = """
[signals.test-a]
zh = "一"
en = "one"
family = "test"
cells = [{ on_s = 6 }, { off_s = 4 }]
repeats = 2
source = "nowhere"

[programmes.test-p]
zh = "二"
en = "two"
source = "nowhere"
items = [{ at_s = 0, signal = "test-a" }, { at_s = 60, signal = "test-a" }]
"""


def written(folder: Path, text: str, name: str = "one.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> Signals:
    return signal.load([written(folder, text)])


@pytest.mark.parametrize(("old", "new"), [
    ("on_s = 6", "on_s = 7"), ("off_s = 4", "off_s = 5"), ("repeats = 2", "repeats = 3"),
    ('family = "test"', 'family = "air-raid"'), ("{ on_s = 6 }", '{ on_s = 6, tone = "wail" }'),
])
def test_a_changed_pattern_changes_the_digest_of_the_signal_and_its_programmes(
        tmp_path: Path, old: str, new: str) -> None:
    one, other = loaded(tmp_path, TEXT), loaded(tmp_path, TEXT.replace(old, new, 1))
    assert one.digest("test-a") != other.digest("test-a")
    assert one.digest("test-p") != other.digest("test-p")


def test_a_changed_timetable_changes_the_digest_of_the_programme_alone(tmp_path: Path) -> None:
    one, other = loaded(tmp_path, TEXT), loaded(tmp_path, TEXT.replace("at_s = 60", "at_s = 61"))
    assert one.digest("test-a") == other.digest("test-a")
    assert one.digest("test-p") != other.digest("test-p")


def test_a_better_name_or_source_does_not_refuse_an_order(tmp_path: Path) -> None:
    one = loaded(tmp_path, TEXT)
    other = loaded(tmp_path, TEXT.replace("一", "壹").replace('"one"', '"the first"').replace("nowhere", "a notice"))
    assert one.digest("test-a") == other.digest("test-a")
    assert one.digest("test-p") == other.digest("test-p")
    assert re.fullmatch("[0-9a-f]{32}", one.digest("test-a"))


def test_the_national_three_keep_their_digests() -> None:
    # Orders are signed over these. Whoever changes them refuses every order that was signed before.
    assert [SIGNALS.digest(n) for n in ("pre-alert", "air-raid", "all-clear")] == NATIONAL


# What is left after a restart.


def test_of_a_programme_the_cut_signal_is_left_out() -> None:
    timeline = SIGNALS.timeline("jiangsu-918")
    assert timeline.without_segments_before(0) == timeline
    rest = timeline.without_segments_before(1)
    assert [s.signal for s in rest.segments] == ["air-raid", "all-clear"]
    assert rest.phases == timeline.phases[3:]
    assert timeline.without_segments_before(17 * 60 * S).phases == ()


def test_of_a_warning_the_rest_of_the_phase_is_left() -> None:
    timeline = SIGNALS.timeline("pre-alert")
    assert timeline.without_phases_before(20 * S).phases == (Phase(20 * S, 36 * S), *timeline.phases[1:])
    assert timeline.without_phases_before(36 * S).phases == timeline.phases[1:]
    assert timeline.without_phases_before(50 * S).phases == timeline.phases[1:]
    assert timeline.without_phases_before(156 * S).phases == ()


@given(st.integers(0, 200 * S))
def test_what_is_left_never_sounds_before_now_nor_longer_than_it_would_have(offset_us: int) -> None:
    for name in ("pre-alert", "disaster-qingdao", "all-clear"):
        whole = SIGNALS.timeline(name)
        left = whole.without_phases_before(offset_us).phases
        assert all(p.on_us >= offset_us and p.off_us > p.on_us for p in left)
        assert all(any(w.on_us <= p.on_us and p.off_us == w.off_us for w in whole.phases) for p in left)
        assert sum(p.off_us - p.on_us for p in left) == sum(max(0, p.off_us - max(p.on_us, offset_us))
                                                            for p in whole.phases)


# What an output can do of it.


def output(**more: object) -> OutputSpec:
    return OutputSpec.model_validate({"class": "B", "state": "relay", "lease": "pulse"} | more)


def timeline(*phases: Phase) -> Timeline:
    return Timeline((Segment("x", 0, max(p.off_us for p in phases)),), phases)


def test_a_relay_sounds_the_national_three_as_they_are() -> None:
    for name in ("pre-alert", "air-raid", "all-clear"):
        assert lower(SIGNALS.timeline(name), output(), None) == (SIGNALS.timeline(name), ())


def test_a_tone_that_a_head_does_not_have_is_said_once() -> None:
    wavering = timeline(Phase(0, 6 * S, "wail"), Phase(8 * S, 14 * S, "wail"), Phase(20 * S, 26 * S, "hi_lo"))
    head = {"class": "B'", "self_limit_s": 60, "tones": {"steady": 4, "wail": 1}}
    lowered, said = lower(wavering, output(**head), None)
    assert [p.tone for p in lowered.phases] == ["wail", "wail", "steady"]
    assert said == ("tone hi_lo sounded as steady",)
    assert lower(wavering, output(), None)[1] == ("tone wail sounded as steady", "tone hi_lo sounded as steady")
    odd = head | {"tones": {"horn": 3}}
    lowered, said = lower(timeline(Phase(0, S)), output(**odd), None)
    assert ([p.tone for p in lowered.phases], said) == (["horn"], ("tone steady sounded as horn",))


def test_phases_that_touch_become_one_if_they_sound_alike() -> None:
    lowered, said = lower(timeline(Phase(0, 6 * S), Phase(6 * S, 9 * S), Phase(10 * S, 12 * S)), output(), None)
    assert (lowered.phases, said) == ((Phase(0, 9 * S), Phase(10 * S, 12 * S)), ())
    # Two tones become alike on a relay, and then they touch.
    lowered, _ = lower(timeline(Phase(0, 6 * S, "wail"), Phase(6 * S, 9 * S)), output(), None)
    assert lowered.phases == (Phase(0, 9 * S),)


@pytest.mark.parametrize(("spec", "hard_limit_s"), [
    ({"class": "C", "lease": None}, 100.0), ({"class": "B'", "lease": None, "self_limit_s": 100}, None)])
def test_what_the_hardware_would_cut_is_cut_and_said(spec: dict[str, object], hard_limit_s: float | None) -> None:
    lowered, said = lower(SIGNALS.timeline("all-clear"), output(**spec), hard_limit_s)
    assert lowered.phases == (Phase(0, 100 * S),)
    assert lowered.end_us == 180 * S
    assert said == ("on-phase of 180 s cut to 100 s, the output's own limit",)
    assert lower(SIGNALS.timeline("air-raid"), output(**spec), hard_limit_s)[1] == ()


@given(st.lists(st.integers(1, 20), min_size=2, max_size=20), st.sampled_from([None, 5.0]))
def test_lowering_never_adds_sound(cells: list[int], limit_s: float | None) -> None:
    ends = list(accumulate(cells))
    whole = timeline(*(Phase((e - c) * S, e * S) for e, c in list(zip(ends, cells, strict=True))[::2]))
    lowered, said = lower(whole, output(**{"class": "C", "lease": None}), limit_s)
    for p in lowered.phases:
        assert any(w.on_us <= p.on_us and p.off_us <= w.off_us for w in whole.phases)
        assert limit_s is None or p.off_us - p.on_us <= limit_s * S
    assert bool(said) == (lowered.phases != whole.phases)


# Files that a person wrote.


def test_every_problem_of_every_file_comes_at_once(tmp_path: Path) -> None:
    good = written(tmp_path, TEXT, "good.toml")
    twice = written(tmp_path, TEXT.split("[programmes")[0], "twice.toml")
    cells = written(tmp_path, TEXT.split("[programmes")[0].replace("test-a", "test-b").replace(
        "{ off_s = 4 }", "{ on_s = 1, off_s = 4 }, {}, { on_s = 601 }"), "cells.toml")
    items = written(tmp_path, """
[programmes.test-q]
zh = "三"
en = "three"
source = "nowhere"
items = [{ at_s = 0, signal = "test-a" }, { at_s = 10, signal = "test-a" }, { at_s = 40, signal = "air-riad" }]

[programmes.test-long]
zh = "四"
en = "four"
source = "nowhere"
items = [{ at_s = 2695, signal = "test-a" }]
""", "items.toml")
    missing = tmp_path / "missing.toml"
    with pytest.raises(BadDocument) as caught:
        signal.load([good, twice, cells, items, missing])
    lines = str(caught.value).splitlines()

    def told(*words: str) -> bool:
        return any(all(w in line for w in words) for line in lines)

    assert told("twice.toml", "test-a", "already in", "good.toml")
    assert told("cells.toml", "cells[1]", "exactly one of on_s, off_s")
    assert told("cells.toml", "cells[2]", "exactly one of on_s, off_s")
    assert told("cells.toml", "cells[3].on_s", "600")
    assert told("items.toml", "test-q", "items[1].at_s", "ends at 20 s")
    assert told("items.toml", "test-q", "items[2].signal", "air-riad", "no such signal")
    assert told("items.toml", "test-long", "longer than 2700 s")
    assert told("missing.toml", "missing")
    assert len(lines) == 8


@pytest.mark.parametrize(("old", "new", "word"), [
    ("repeats = 2", "repeats = 0", "repeats"), ('family = "test"', 'family = "tests"', "family"),
    ("[signals.test-a]", "[signals.Test_A]", "Test_A"), ("repeats = 2", "repeat = 2", "repeats"),
    ('source = "nowhere"\n\n', "\n", "source"), ("cells = [{ on_s = 6 }, { off_s = 4 }]", "cells = []", "cells"),
])
def test_a_wrong_key_or_value_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    with pytest.raises(BadDocument) as caught:
        loaded(tmp_path, TEXT.replace(old, new, 1))
    assert word in str(caught.value)
    assert "one.toml" in str(caught.value)


def test_an_all_clear_counts_with_what_it_ends() -> None:
    signals = SIGNALS
    assert signals.families("all-clear") == {"all-clear"}
    assert signals.families("disaster-clear-zhejiang") == {"disaster"}
    plain = signals.signals["disaster-clear-zhejiang"]
    other = signal.Signals({"x": plain, "y": plain.model_copy(update={"ends": None})}, {})
    assert other.digest("x") != other.digest("y"), "what it ends is part of what it means"
    with pytest.raises(ValueError, match="belongs to the family all-clear"):
        signal.Signal.model_validate(plain.model_dump() | {"family": "test"})
