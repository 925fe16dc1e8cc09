"""The wire: what is written is read back, instants are exact, and JSON is taken strictly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import strictjson, wire
from controller.wire import (
    Action,
    Birth,
    DeviceCard,
    Event,
    Evidence,
    Health,
    Layer,
    Message,
    Mode,
    OrderBody,
    Receipt,
    SirenCard,
    Sound,
    Stage,
    State,
    Status,
)
from firmware_bridge.errors import Malformed

AT = "2026-09-18T02:00:00.000Z"
AREA = "41/01/05/001/001"

ORDER = OrderBody(
    v=1, id="0" * 32, deployment="demo", issuer="郑州", issued_at=AT, not_before=AT, expires_at=AT, area="41/01",
    layer=Layer.SURFACE, sirens=("s-1", "s-2"), action=Action.SOUND, mode=Mode.DRILL,
    sound=Sound(name="air-raid", digest="0" * 32, start_at=AT), max_duration_s=60, sequence=2**53 - 1, trust_version=1)

MESSAGES: list[Message] = [
    ORDER,
    Receipt(seq=1, gateway="gw-1", order="0" * 32, siren="s-1", stage=Stage.FINISHED, mode=Mode.LIVE, at=AT,
            first_edge="2026-09-18T02:00:00.000123Z", late_ms=1.25, deviations=("cut",),
            evidence=Evidence(phases=15, commanded=15, sensed=14, heard=0, independent=True)),
    Receipt(seq=2, gateway="gw-1", order="0" * 32, stage=Stage.RECEIVED, at=AT),
    Event(seq=3, gateway="gw-1", at=AT, what="device-silent", subject="relay-1", detail="无应答", urgent=True),
    Status(gateway="gw-1", session="x", state="lost", at=AT, modes=("NO-TIME",), last_seq=7),
    Birth(gateway="gw-1", session="x", at=AT, version="0.1", area=AREA, deployment="demo", trust_version=1,
          sirens=(SirenCard(id="s-1", name="东风路", type="motor", area=AREA, layer=Layer.SURFACE, feedback=True,
                            position=(34.79, 113.68)),),
          devices=(DeviceCard(id="relay-1", profile="waveshare", bus="line-1", unit=1),),
          signals={"air-raid": "0" * 32}),
    State(id="s-1", at=AT, state="SOUNDING", activation="0/s-1", mode=Mode.LIVE,
          points={"current": 4.2, "on": True, "tone": "steady", "gone": None}, bad={"gone": "unit silent"}),
    Health(gateway="gw-1", at=AT, outbox=3, buses={"line-1": {"busy": 0.25, "worst_unit": "relay-1"}}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_what_is_written_is_read_back(message: Message) -> None:
    assert wire.decode(type(message), message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_with_anything_unknown_or_missing_is_none(message: Message) -> None:
    plain = json.loads(message.encode())
    with pytest.raises(Malformed, match="priority"):
        wire.validate(type(message), plain | {"priority": 9})
    for member, info in type(message).model_fields.items():
        if info.is_required():
            with pytest.raises(Malformed, match=member):
                wire.validate(type(message), {k: v for k, v in plain.items() if k != member})


# Instants.


@given(st.integers(0, 253_402_300_799_999_999))
def test_an_instant_survives_its_text(wall_us: int) -> None:
    assert wire.to_wall_us(wire.to_text(wall_us, 6)) == wall_us
    assert wire.to_wall_us(wire.to_text(wall_us)) == wall_us // 1000 * 1000


def test_an_instant_as_text() -> None:
    assert wire.to_text(0) == wire.BLANK_INSTANT == "1970-01-01T00:00:00.000Z"
    assert wire.to_text(1_789_696_800_000_001, 6) == "2026-09-18T02:00:00.000001Z"
    assert wire.to_text(1_789_696_800_999_999) == "2026-09-18T02:00:00.999Z"


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00.000Z", "2026-09-18T25:00:00.000Z", "", "now",
                                  "2026-09-18T02:00:00.000"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(Malformed, match="no instant"):
        wire.to_wall_us(text)


@pytest.mark.parametrize("text", ["2026-09-18T02:00:00Z", "2026-09-18T02:00:00.000+08:00", "2026-09-18 02:00:00.000Z",
                                  "2026-09-18T02:00:00.0000Z", "2026-09-18T02:00:00.000z", "2026-09-18T02:00:00.000Z\n",
                                  "２０２６-09-18T02:00:00.000Z"])
def test_instants_on_the_wire_have_one_form(text: str) -> None:
    with pytest.raises(Malformed, match="issued_at"):
        wire.validate(OrderBody, json.loads(ORDER.encode()) | {"issued_at": text})


# Strict JSON.


@pytest.mark.parametrize(("data", "why"), [
    (b"", "no JSON"),
    (b"[1]", "a JSON list"),
    (b"7", "a JSON int"),
    (b'"text"', "a JSON str"),
    (b"null", "a JSON NoneType"),
    (b"{} {}", "no JSON"),
    (b'{"a":1,"a":1}', "twice"),
    (b'{"a":{"b":1,"b":2}}', "twice"),
    (b'{"a":NaN}', "NaN"),
    (b'{"a":-Infinity}', "Infinity"),
    (b"{'a':1}", "no JSON"),
    (b'{"a":1,}', "no JSON"),
    (b'{"a":"\xff"}', "no JSON"),
    (b"\xef\xbb\xbf{}", "no JSON"),
    (b'{"a":' + b"[" * 100_000, "more than 32768 parts"),
    (b'{"a":' + b"[" * 10_000, "no JSON"),
    (b'{"a":' + b"9" * 5000 + b"}", "no JSON"),
    (b'{"a":1' + b"0" * 400 + b"}", "1000.* is no JSON number"),
    (b'{"a":[-1e999]}', "-1e999 is no JSON number"),
])
def test_json_that_is_not_taken(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        strictjson.load(data, 1_000_000)


def test_a_number_is_one_that_every_reader_has() -> None:
    most = int(1.7976931348623157e308)
    assert strictjson.load(b'{"a":[-0.5,1e-999,1e308,%d,%d]}' % (-most, 2**53), 1_000) == {
        "a": [-0.5, 0.0, 1e308, -most, 2**53]}


def test_json_has_a_size() -> None:
    assert strictjson.load(b'{"a":1}', 7) == {"a": 1}
    with pytest.raises(Malformed, match="more than 6"):
        strictjson.load(b'{"a":1}', 6)


@given(st.binary(max_size=300))
def test_any_bytes_are_json_or_malformed(data: bytes) -> None:
    try:
        assert isinstance(strictjson.load(data, wire.MAX_ORDER_BYTES), dict)
    except Malformed:
        pass


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=8)


@given(st.sampled_from(sorted(OrderBody.model_fields)), JSON)
def test_any_value_in_an_order_is_an_order_or_malformed(member: str, value: Any) -> None:
    try:
        body = wire.validate(OrderBody, json.loads(ORDER.encode()) | {member: value})
    except Malformed:
        return
    assert wire.decode(OrderBody, body.encode()) == body


@pytest.mark.parametrize(("member", "value"), [
    ("sequence", "1"), ("sequence", 1.0), ("sequence", True), ("sequence", 2**53), ("v", "1"), ("mode", "LIVE"),
    ("area", "41/"), ("area", "/41"), ("area", "41/1/2/3/4/5"), ("area", "4a"), ("area", "41/+"), ("area", "٤١"),
    ("id", "A" * 32),
    ("sirens", ["s-1"] * 257), ("sirens", ["S-1"]), ("sirens", "s-1"), ("max_duration_s", 0), ("max_duration_s", 2701),
    ("sound", None), ("mode", "silent"), ("stops", "0" * 32), ("action", "stop"), ("action", "quiet-test"),
])
def test_what_an_order_may_not_say(member: str, value: object) -> None:
    with pytest.raises(Malformed):
        wire.validate(OrderBody, json.loads(ORDER.encode()) | {member: value})


# Areas, topics, stages.


@pytest.mark.parametrize(("area", "place", "inside"), [
    ("41", AREA, True), ("41/01", AREA, True), (AREA, AREA, True), ("41/0", AREA, False), ("4", AREA, False),
    ("41/01/05/001/0011", AREA, False), ("42", AREA, False), (AREA, "41", False),
])
def test_an_area_covers_what_lies_in_it(area: str, place: str, inside: bool) -> None:
    assert wire.covers(area, place) is inside


def test_an_order_means_area_and_layer_and_selection_together() -> None:
    assert ORDER.targets("s-1", AREA, Layer.SURFACE)
    assert not ORDER.targets("s-1", AREA, Layer.UNDERGROUND)
    assert not ORDER.targets("s-3", AREA, Layer.SURFACE)
    assert not ORDER.targets("s-1", "41/02/05/001/001", Layer.SURFACE)


def test_a_gateway_hears_itself_and_its_five_ancestors_stop_first() -> None:
    topics = wire.subscriptions(AREA, "gw-1")
    orders, said, lists = topics[:12], topics[12:15], topics[15:]
    assert said == ("siren/1/g/gw-1/again", "siren/1/g/gw-1/ack", "siren/1/g/gw-1/shelf")
    assert set(lists) == {"siren/1/g/gw-1/trust", *(t.replace("/stop", "/trust") for t in orders[1:6])}
    assert len(lists) == 6
    assert len(orders) == 12
    assert all(t.endswith("/stop") for t in orders[:6])
    assert all(t.endswith("/order") for t in orders[6:])
    for level in ("41", "41/01", "41/01/05", "41/01/05/001", AREA):
        assert wire.order_topic(level, stop=True) in orders
        assert wire.order_topic(level, stop=False) in orders
    assert wire.gateway_topic("gw-1", stop=True) in orders
    assert not any("+" in t or "#" in t for t in topics)


def test_levels_that_are_not_assigned_are_nought() -> None:
    assert wire.state_root(AREA, "gw-1") == f"siren/1/s/{AREA}/gw-1"
    assert wire.state_root("41/01", "gw-1") == "siren/1/s/41/01/0/0/0/gw-1"


def test_five_stages_are_the_last_word() -> None:
    assert [s for s in Stage if s.terminal] == [
        Stage.REJECTED, Stage.FINISHED, Stage.FAILED, Stage.STOPPED, Stage.EXPIRED]


@pytest.mark.parametrize(("phases", "sensed", "independent", "sounded"), [
    (15, 12, True, True), (15, 11, True, False), (15, 15, False, False), (0, 0, True, False), (1, 1, True, True),
])
def test_sounded_needs_four_of_five_phases_sensed_by_something_else(
        phases: int, sensed: int, independent: bool, sounded: bool) -> None:
    assert Evidence(phases=phases, commanded=phases, sensed=sensed, independent=independent).sounded is sounded
