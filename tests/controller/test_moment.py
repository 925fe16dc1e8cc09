"""Moments as lines: every event that comes from outside goes into one and comes back as it was."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import moment
from controller.chain import Head
from controller.event import Append, Arrived, Ask, Clock, Publish, Record, Trust
from controller.moment import KINDS, Moment
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Begin, Received, Reopen, Send
from firmware_bridge.machine import Woken

NUMBERS = st.integers(-(2**62), 2**62)
TEXTS = st.text(max_size=40)
JSON = st.recursive(st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | TEXTS,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8)
HEADS = st.builds(Head, NUMBERS, st.binary(max_size=32))
OF_FIELD: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS, int: NUMBERS, bool: st.booleans(), bytes: st.binary(max_size=300), int | None: st.none() | NUMBERS,
    str | None: st.none() | TEXTS, Head | None: st.none() | HEADS, Trust: st.sampled_from(Trust),
}


def events(kind: type) -> st.SearchStrategy[Any]:
    """Any event of a class, by what its fields are declared to be."""
    return st.builds(kind, **{f.name: OF_FIELD.get(f.type, st.dictionaries(TEXTS, JSON, max_size=3))
                              for f in fields(kind)})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data(), at_us=NUMBERS, before_us=NUMBERS, check=st.integers(0, 0xFFFF) | TEXTS)
def test_any_event_comes_back_as_it_was(kind: type, data: st.DataObject, at_us: int, before_us: int,
                                        check: moment.Check) -> None:
    one = Moment(at_us, data.draw(events(kind)), check)
    text = moment.line(before_us, one)
    assert "\n" not in text
    assert text.isascii()
    assert moment.read(before_us, text) == one


def test_every_field_has_a_form_of_its_kind() -> None:
    """Two events that differ in one field are two lines."""
    one = Arrived("siren/1/o/41/order", b"{}", False, None)
    others = [Arrived("siren/1/o/42/order", b"{}"), Arrived(one.topic, b"{ }"), Arrived(one.topic, b"{}", True),
              Arrived(one.topic, b"{}", False, 0)]
    lines = {moment.line(0, Moment(0, event, 0)) for event in [one, *others]}
    assert len(lines) == 5


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "[1]", '[1,0,"woken",1]', '[1,0,"nothing"]', '[1,0,"received","line-1"]', '[true,0,"woken"]',
    '[1,null,"woken"]', '[1,0,"received","line-1","0"]', '[1,0,"received",1,"00"]', '[1,0,["woken"]]',
    '[1,0,"clock",1,0,"believed"]', '[1,0,"head",1]', '[1,0,"durable",1,[1]]', '[1,0,"durable",1,"ab"]',
    '[1,0,"ask",1,1,"pi","read",[]]', '[1,0,"gone",1.5]', "[" * 5000,
])
def test_a_line_that_is_no_moment_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="no moment"):
        moment.read(0, text)


@given(st.text(max_size=60) | JSON.map(json.dumps))
def test_no_text_does_more_than_malformed(text: str) -> None:
    try:
        moment.read(0, text)
    except Malformed:
        pass


def test_what_has_no_form_is_told() -> None:
    with pytest.raises(ValueError, match="no form for Begin"):
        moment.line(0, Moment(0, Begin("d", "on", 1), 0))
    circle: dict[str, Any] = {}
    circle["again"] = circle
    for args in (circle, {"set": {1}}):
        with pytest.raises(ValueError):
            moment.line(0, Moment(0, Ask(1, 1, "pi", "read", args), 0))


def test_effects_that_differ_are_told_differently() -> None:
    effects = [
        Send("line-1", b"\x01"), Send("line-2", b"\x01"), Send("line-1", b"\x02"), Send("line-1", b"\x01", 5),
        Reopen("line-1"), Append(1, Record("accept", {"a": 1})), Append(2, Record("accept", {"a": 1})),
        Append(1, Record("refuse", {"a": 1})), Append(1, Record("accept", {"a": 2})),
        Publish("t", b"x"), Publish("u", b"x"), Publish("t", b"y"), Publish("t", b"x", 0), Publish("t", b"x", 1, True),
        Publish("t", b"x", token=1), Publish("t", b"x", client=1),
    ]
    assert len({moment.told(effect) for effect in effects}) == len(effects)
    assert len({moment.check([effect]) for effect in effects}) == len(effects)
    assert moment.check([]) == 0
    assert moment.check(effects[:2]) != moment.check([effects[1], effects[0]])


def test_words_for_a_person() -> None:
    assert moment.words(Received("line-1", b"\x01\xab")) == "received line-1 01 ab"
    assert moment.words(Clock(5, 0, Trust.ASSUMED)) == "clock 5 0 assumed"
    assert moment.words(Woken()) == "woken"
    assert moment.words(Arrived("t/order", b'{"a":1}')) == 'arrived t/order {"a":1}'
