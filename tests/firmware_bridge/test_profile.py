"""Profiles: what is wrong in one is told before anything is driven, and every value survives the wire."""

import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.point import Point, PointSpec
from firmware_bridge.profile import Profile, load, load_all, schema

FOLDER = Path(__file__).parents[2] / "configs" / "profiles"
HEAD = 'make = "m"\nmodel = "x"\nkind = "siren"\nsource = "test"\n'
RANGES = {"u16": (0, 0xFFFF), "s16": (-0x8000, 0x7FFF), "u32": (0, 2**32 - 1), "s32": (-(2**31), 2**31 - 1)}
ORDERS = st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"])


def point(at: str = "holding:0", channel: int | None = None, **more: object) -> Point:
    return Point("p", PointSpec.model_validate({"at": at, **more}), channel)


def made(folder: Path, text: str) -> Profile:
    path = folder / "made.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load(path)


def problems(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(BadDocument) as caught:
        made(folder, text)
    return list(caught.value.problems)


# Values on the wire.


@given(st.sampled_from([*RANGES]), ORDERS, st.data())
def test_every_integer_survives_the_wire(type_: str, words: str, data: st.DataObject) -> None:
    one = point(type=type_, words=words)
    value = data.draw(st.integers(*RANGES[type_]))
    raw = one.encode(value)
    assert len(raw) == one.width
    assert all(0 <= w <= 0xFFFF for w in raw)
    assert one.decode(raw) == value


@given(ORDERS, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_float_survives_the_wire(words: str, value: float) -> None:
    one = point(type="f32", words=words)
    assert one.decode(one.encode(value)) == value


@given(
    st.sampled_from([*RANGES]), ORDERS, st.sampled_from([0.001, 0.01, 0.1, 0.5, 3.0, 10.0, -0.1]),
    st.sampled_from([0.0, -40.0, 2.5, 1000.0]), st.data(),
)
def test_every_scaled_value_comes_back_as_the_same_raw_number(
    type_: str, words: str, scale: float, offset: float, data: st.DataObject
) -> None:
    one = point(type=type_, words=words, scale=scale, offset=offset)
    raw = one.encode(data.draw(st.integers(*RANGES[type_])) * scale + offset)
    assert one.encode(one.decode(raw)) == raw


@given(st.booleans(), st.booleans(), st.sampled_from(["coil:1", "discrete:1", "holding:1", "input:1"]))
def test_every_bool_survives_the_wire(value: bool, inverted: bool, at: str) -> None:
    one = point(at, inverted=inverted, type="bool")
    assert one.decode(one.encode(value)) is value


@given(st.integers(0, 0xFFFF), st.integers(0, 15), st.booleans())
def test_a_bit_is_its_bit_of_the_register(word: int, bit: int, inverted: bool) -> None:
    assert point(bit=bit, inverted=inverted).decode((word,)) is (bool(word & (1 << bit)) != inverted)


@given(st.data(), st.integers(1, 16), st.sampled_from(["u16", "s16"]))
def test_a_part_of_a_register_is_its_bits_and_their_sign(data: st.DataObject, bits: int, type_: str) -> None:
    one = point(bit=data.draw(st.integers(0, 16 - bits)), bits=bits, type=type_)
    assert one.span is not None
    assert one.bit is not None
    value = data.draw(st.integers(*one.span))
    others = data.draw(st.integers(0, 0xFFFF)) & ~(one.mask << one.bit)
    assert one.decode((others | one.encode(value)[0] << one.bit,)) == value


def test_a_clock_that_is_packed_in_bytes_and_two_temperatures_in_one_register() -> None:
    # EPEver's clock: seconds and minutes at 9013, hours and days at 9014, low byte first.
    minute, hour = point("holding:0x9013", bit=8, bits=8), point("holding:0x9014", bit=0, bits=8)
    assert (minute.decode((0x2D1E,)), hour.decode((0x1607,))) == (45, 7)
    # Renogy: the controller's in the high byte, the battery's in the low one, each with its sign.
    inside, battery = (point("holding:0x0103", bit=b, bits=8, type="s16") for b in (8, 0))
    assert (inside.decode((0x19F6,)), battery.decode((0x19F6,))) == (25, -10)
    assert point(bit=0, bits=8, type="s16", invalid=[0xFF]).is_invalid((0x12FF,))
    with pytest.raises(ValueError, match="does not fit 8 bits"):
        battery.encode(128)


@given(st.sampled_from(["u16", "s16", "u32", "s32"]), st.integers(-(2**34), 2**34))
def test_what_does_not_fit_is_refused_and_never_wrapped(type_: str, value: int) -> None:
    low, high = RANGES[type_]
    assume(not low <= value <= high)
    with pytest.raises(ValueError, match=f"does not fit {type_}"):
        point(type=type_).encode(value)


@given(st.floats(0, 60))
def test_a_lease_is_never_longer_than_was_asked_for(seconds: float) -> None:
    one = point("pulse:0x200", scale=0.1, readable=False)
    (tenths,) = one.encode(seconds)
    assert seconds - 0.1 < tenths * 0.1 <= seconds + 1e-6


@pytest.mark.parametrize(
    ("type_", "words", "value", "raw"),
    [
        ("f32", "ABCD", 1.0, (0x3F80, 0x0000)),
        ("f32", "CDAB", 1.0, (0x0000, 0x3F80)),
        ("f32", "BADC", 1.0, (0x803F, 0x0000)),
        ("f32", "DCBA", 1.0, (0x0000, 0x803F)),
        ("u32", "CDAB", 0x12345678, (0x5678, 0x1234)),
        ("s16", "ABCD", -50, (0xFFCE,)),
        ("s16", "BADC", -50, (0xCEFF,)),
        ("s32", "ABCD", -2, (0xFFFF, 0xFFFE)),
    ],
)
def test_word_orders_are_those_of_the_datasheets(type_: str, words: str, value: float, raw: tuple[int, ...]) -> None:
    one = point(type=type_, words=words)
    assert one.encode(value) == raw
    assert one.decode(raw) == value


def test_names_stand_for_codes_and_an_unnamed_code_stays_a_number() -> None:
    one = point(values={"arm": 0, "cancel": 3})
    assert one.encode("cancel") == (3,)
    assert one.decode((0,)) == "arm"
    assert one.decode((9,)) == 9
    with pytest.raises(ValueError, match="'fire' is not one of arm, cancel"):
        one.encode("fire")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
@pytest.mark.parametrize("type_", ["u16", "f32"])
def test_what_is_no_number_is_refused(type_: str, value: float) -> None:
    with pytest.raises(ValueError):
        point(type=type_).encode(value)


@pytest.mark.parametrize(
    ("one", "raw", "invalid"),
    [
        (point(invalid=[0xFFFF]), (0xFFFF,), True),
        (point(invalid=[0xFFFF]), (0xFFFE,), False),
        (point(type="s16", invalid=[0x8000]), (0x8000,), True),
        (point(type="s16", invalid=[-32768]), (0x8000,), True),
        (point(type="s32", words="CDAB", invalid=[0x80000000]), (0, 0x8000), True),
        (point(type="f32"), (0x7FC0, 0), True),
        (point(type="f32"), (0x7F80, 0), True),
        (point(type="f32"), (0x3F80, 0), False),
    ],
)
def test_raw_values_that_mean_no_value(one: Point, raw: tuple[int, ...], invalid: bool) -> None:
    assert one.is_invalid(raw) is invalid


def test_a_writable_point_is_held_to_its_range_as_it_will_be_written() -> None:
    one = point(low=1, high=10, write="level")
    assert one.encode(10) == (10,)
    for value in (0, 0.9, 11):
        with pytest.raises(ValueError, match="outside"):
            one.encode(value)


# Channels.


def test_channels_lie_a_stride_apart_or_are_bits_of_one_register(tmp_path: Path) -> None:
    profile = made(
        tmp_path,
        "channels = 3\n[points]\n"
        'd = { at = "holding:40", bit = 1, bits = 4, channels = 3 }\n'
        'a = { at = "holding:10", type = "f32", channels = 3, stride = 2 }\n'
        'b = { at = "holding:30", bit = 4, channels = 3 }\n'
        'c = { at = "coil:0x10", channels = 3 }\n',
    )
    assert [profile.point("a", n).address for n in (1, 2, 3)] == [10, 14, 18]
    assert [profile.point("b", n).address for n in (1, 2, 3)] == [30, 30, 30]
    assert [profile.point("b", n).bit for n in (1, 2, 3)] == [4, 5, 6]
    parts = [profile.point("d", n) for n in (1, 2, 3)]
    assert [(p.address, p.bit) for p in parts] == [(40, 1), (40, 5), (40, 9)]
    assert profile.point("c", 3).address == 0x12
    assert profile.point("c_2") is profile.point("c", 2)
    with pytest.raises(KeyError):
        profile.point("c", 4)


# What is wrong is told.

POINTS = '[points]\non = { at = "coil:0", write = "level" }\nshut = { at = "pulse:0", readable = false }\n'


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[points]\na = { at = "holding:0", poll = 5 }', "points.a.poll", "did you mean 'poll_ms'?"),
        ('[points]\na = { at = "register:0" }', "points.a.at", "say coil"),
        ('[points]\na = { type = "u16" }', "points.a.at", "required"),
        ('[points]\na = { at = "holding:70000" }', "points.a.at", "65535"),
        ('[points]\na = { at = "holding:65535", type = "u32" }', "points.a.at", "65535"),
        ('[points]\na = { at = "holding:0", scale = 0 }', "points.a", "other than 0"),
        ('[points]\na = { at = "holding:0", scale = nan }', "points.a", "other than 0"),
        ('[points]\na = { at = "holding:0", low = 5, high = 1 }', "points.a", "swap"),
        ('[points]\na = { at = "input:0", write = "level" }', "points.a.write", "read-only"),
        ('[points]\na = { at = "pulse:0" }', "points.a.readable", "readable = false"),
        ('[points]\na = { at = "coil:0", type = "f32" }', "points.a.type", "bool"),
        ('[points]\na = { at = "coil:0", bit = 1 }', "points.a.bit", "drop `bit`"),
        ('[points]\na = { at = "holding:0", bit = 1, write = "level" }', "points.a.write", "alone"),
        ('[points]\na = { at = "holding:0", bit = 10, channels = 8 }', "points.a.channels", "16 bits"),
        ('[points]\na = { at = "holding:0", bit = 9, bits = 8 }', "points.a.bits", "16 bits"),
        ('[points]\na = { at = "holding:0", bits = 8 }', "points.a.bits", "say with `bit`"),
        ('[points]\na = { at = "holding:0", bit = 0, bits = 8, type = "f32" }', "points.a.type", "u16 or s16"),
        ('[points]\na = { at = "holding:0", bit = 3, type = "u16" }', "points.a.type", "one bit is a bool"),
        ('[points]\na = { at = "holding:0", decimals_from = "b" }', "points.a.decimals_from", "no such point"),
        (POINTS + 'a = { at = "holding:0", decimals_from = "shut" }', "points.a.decimals_from", "cannot be read"),
        ('[points]\na = { at = "holding:0", decimals_from = "a" }', "points.a", "circle"),
        ('channels = 2\n[points]\na = { at = "coil:0", channels = 3 }', "points.a.channels", "the profile has 2"),
        ('identity = "b"\n[points]\na = { at = "coil:0" }', "identity", "no such point; points: a"),
        (POINTS + "[actions]\ngo = [{ set = 'off', to = true }]", "actions.go[0].set", "no such point"),
        (POINTS + "[actions]\ngo = [{ set = 'shut', to = 1 }]", "actions.go[0].set", "level or trigger"),
        (POINTS + "[actions]\ngo = [{ set = 'on', to = 'yes' }]", "actions.go[0].set", "not true or false"),
        (POINTS + "[actions]\ngo = [{ set = 'on', to = '$tune' }]", "actions.go[0].set", "arguments: $lease_s"),
        (POINTS + "[actions]\ngo = [{ expect = 'shut', is = 1 }]", "actions.go[0].expect", "cannot be read"),
        (POINTS + "[actions]\ngo = [{ set = 'on', to = true, wait_ms = 5 }]", "actions.go[0]", "exactly one"),
        (POINTS + "[actions]\ngo = [{ wait_ms = 5, edge = true }]", "actions.go[0]", "edge"),
        (POINTS + "[actions]\ngo = [{ set = 'on', to = true, edge = true }, { set = 'on', to = true, edge = true }]",
         "actions.go", "one `set`"),
        (POINTS + "[output]\nclass = 'A'\nstate = 'on'", "output", "watchdog_s"),
        (POINTS + "[output]\nclass = 'X'\nstate = 'on'", "output.class", "'A', 'B'"),
        (POINTS + "[output]\nclass = 'C'\nstate = 'shut'", "output.state", "cannot be read"),
        (POINTS + "[output]\nclass = 'C'\nstate = 'on'", "actions", "'cancel'"),
        (POINTS + "[grade]\ngood = { point = 'full', is = true }", "grade.good.point", "no such point"),
        (POINTS + "[grade]\ngood = { point = 'shut', is = true }", "grade.good.point", "cannot be read"),
        (POINTS + "[grade]\ngood = { point = 'on', is = true }", "grade.good.point", "never polled"),
        (POINTS + "[grade]\ngood = { point = 'on', is = 'yes' }", "grade.good.is", "not true or false"),
        (POINTS + "[grade]\ngood = { point = 'on', is = true }\ndegraded = { point = 'part', is = true }",
         "grade.degraded.point", "no such point"),
        (POINTS + "[grade]\ndegraded = { point = 'on', is = true }", "grade.good", "required"),
        (POINTS + "[initial]\nof = true", "initial.of", "no such point"),
        (POINTS + "[simulate]\nr = { rampp = 'on', per_s = 1 }", "simulate.r", "one of when, ramp, wave"),
        (POINTS + "[simulate]\nr = 5", "simulate.r", "one of when, ramp, wave"),
        (POINTS + "[simulate]\nr = { ramp = 'on', per_s = 1, hihg = 3 }", "simulate.r.hihg", "did you mean 'high'?"),
        (POINTS + "[simulate]\nr = { wave = 'on' }\nq = { when = 'off', then = {} }", "simulate.r.mean", "required"),
        (POINTS + "[line]\nparity = 'X'", "line.parity", "'N', 'E' or 'O'"),
    ],
)
def test_what_is_wrong_is_told_with_key_and_remedy(tmp_path: Path, text: str, key: str, said: str) -> None:
    found = problems(tmp_path, text)
    assert all(p.file.endswith("made.toml") and p.remedy for p in found)
    matching = [p for p in found if p.key == key]
    assert matching, found
    assert any(said in str(p) for p in matching), found


# What no profile may be able to write.

PULSE = 'write = "level", readable = false'


@pytest.mark.parametrize(
    ("points", "key", "said"),
    [
        ('a = { at = "coil:0xFF", write = "level" }', "points.a.at", "all relays at once"),
        ('a = { at = "coil:0xF8", write = "level", channels = 8 }', "points.a.at", "all relays at once"),
        (f'a = {{ at = "pulse:255", high = 9, {PULSE} }}', "points.a.at", "all relays at once"),
        (f'a = {{ at = "pulse:0x200", scale = 0.1, {PULSE} }}', "points.a.high", "0x5500 (flip) and 0xFF00"),
        (f'a = {{ at = "pulse:0x200", scale = 0.1, high = 2176, {PULSE} }}', "points.a.high", "a flip or a latched ON"),
        (f'a = {{ at = "pulse:0x200", scale = -0.1, low = -6553, high = -1, {PULSE} }}', "points.a.high", "a flip"),
        (f'a = {{ at = "pulse:0", values = {{ other = 0x5500 }}, {PULSE} }}', "points.a.high", "a flip"),
        ('a = { at = "holding:1", write = "trigger", values = { on = 0x100, toggle = 0x300 } }', "points.a.values",
         "a repeat undoes it"),
        ('a = { at = "holding:1", write = "trigger", values = { flip_over = 3 } }', "points.a.values", "leave it out"),
        ('a = { at = "holding:1", write = "level" }\nb = { at = "holding:1", write = "trigger" }', "points.b.at",
         "a is written at holding:1 too"),
        ('a = { at = "holding:1", write = "level", type = "u32" }\nb = { at = "holding:2", write = "level" }',
         "points.b.at", "a is written at holding:1 too"),
        ('a = { at = "holding:0", write = "level", channels = 4 }\nb = { at = "holding:3", write = "level" }',
         "points.b.at", "a_4 is written at holding:3 too"),
        (f'a = {{ at = "coil:0", write = "level" }}\nb = {{ at = "pulse:0", high = 9, {PULSE} }}', "points.b.at",
         "a is written at coil:0 too"),
    ],
)
def test_what_no_action_may_ever_send_is_refused_at_the_point(tmp_path: Path, points: str, key: str, said: str) -> None:
    (found,) = problems(tmp_path, f"[points]\n{points}\n")
    assert found.key == key
    assert said in found.remedy
    assert found.file.endswith("made.toml")


def test_what_is_only_read_may_lie_over_what_is_written(tmp_path: Path) -> None:
    profile = made(
        tmp_path,
        '[points]\na = { at = "holding:1", write = "level", readable = false, values = { on = 0x100, off = 0x200 } }\n'
        'b = { at = "holding:1", type = "bool" }\nc = { at = "holding:2", type = "f32" }\n'
        'all = { at = "coil:0xFF" }\ntoggle = { at = "holding:3", bit = 2, bits = 2 }\n'
        f'p = {{ at = "pulse:0x200", scale = 0.1, high = 2175.9, {PULSE} }}\n',
    )
    assert len(profile.points) == 6


def test_the_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(HEAD + '[points]\nx = { at = "coil:0", polls = 1 }\ny = { at = "coil" }')
    (tmp_path / "b.toml").write_text("make = \nmodel = 5")
    (tmp_path / "c.toml").write_text(HEAD + '[points]\nx = { at = "coil:0" }')
    with pytest.raises(BadDocument) as caught:
        load_all(tmp_path)
    found = {(Path(p.file).name, p.key) for p in caught.value.problems}
    assert found == {("a.toml", "points.x.polls"), ("a.toml", "points.y.at"), ("b.toml", "line 1, column 8")}


def test_an_empty_folder_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"no \*\.toml"):
        load_all(tmp_path)


# The profiles of the project.


@pytest.mark.parametrize("profile", load_all(FOLDER).values(), ids=lambda p: p.id)
def test_every_profile_of_the_project_loads_and_its_points_have_one_place_each(profile: Profile) -> None:
    places = [(p.table, p.address, p.spec.at * bool(p.message), p.bit, p.spec.readable)
              for p in profile.points.values()]
    assert len(set(places)) == len(places), "two points at one place"
    for one in profile.points.values():
        for name, code in one.spec.values.items():
            raw = one.encode(name) if one.bit is None else (one.encode(name)[0] << one.bit,)
            assert one.decode(raw) == name, code


def test_the_schema_names_the_keys_as_they_are_written() -> None:
    text = str(schema())
    for key in ("'class'", "'is'", "'poll_ms'", "'while'"):
        assert key in text
