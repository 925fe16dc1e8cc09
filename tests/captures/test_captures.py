"""Frames of real devices against our profiles: what a document or another's program shows, not what we think.

A capture is one TOML file here. `kind` says how far it goes: `recorded` by us at a unit, `quoted` from a program or a
log of somebody who had one, `printed` in a manual. `values` is what the gateway must believe after the answer,
`writes` the point and value that must make exactly this request. The CRC of each RTU frame is checked: a frame that
somebody made up in a document seldom has the right one.

Of a protocol that is not Modbus the frames are whole: what the profile's messages make and match. There `unit` is the
address that the request was for (1 where it is not said), and `asks` a point whose reading must make exactly this
request, where no answer to it was found.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge import modbus
from firmware_bridge.belief import Belief
from firmware_bridge.event import Ask, Read, Reply, Write
from firmware_bridge.framing import Plain
from firmware_bridge.machine import S
from firmware_bridge.move import Set
from firmware_bridge.plan import Block, fetches
from firmware_bridge.profile import Profile, load
from firmware_bridge.reading import Quality
from firmware_bridge.text import Template

HERE = Path(__file__).parent
PROFILES = HERE.parents[1] / "configs" / "profiles"
CAPTURES = {p.stem: tomllib.loads(p.read_text(encoding="utf-8")) for p in sorted(HERE.glob("*.toml"))}
KEYS = {"request", "reply", "values", "writes", "unit", "asks"}
PROVES = ({"writes"}, {"asks"}, {"reply", "values"})
every = pytest.mark.parametrize("capture", CAPTURES.values(), ids=CAPTURES)


def taken_apart(frame: str) -> tuple[int, bytes]:
    """Unit and PDU of a frame: with a CRC that fits, else with an MBAP header."""
    data = bytes.fromhex(frame)
    if modbus.rtu_frame(data[0], data[1:-2]) == data:
        return data[0], data[1:-2]
    assert data[2:6] == (len(data) - 6).to_bytes(4, "big"), f"the CRC of {frame} does not fit, and it is no TCP frame"
    return data[6], data[7:]


def believed(profile: Profile, request: Read, reply: bytes) -> Belief:
    answer = modbus.reply_of(request, reply)
    assert isinstance(answer, Reply)
    ends = range(request.address, request.address + request.count)
    points = tuple(p for p in profile.points.values() if p.table is request.table and p.spec.readable
                   and p.address in ends and p.address + p.width - 1 in ends)
    belief = Belief("captured", profile, S)
    belief.take(S, Block(request.table, request.address, request.count, points), answer.values, S)
    return belief


def written(profile: Profile, writes: dict[str, Any]) -> Write:
    ((name, value),) = writes.items()
    point = profile.point(name)
    assert point.spec.write, name
    return Write(point.table, point.address, point.encode(value), point.spec.multiple)


@every
def test_a_capture_says_whose_it_is(capture: dict[str, Any]) -> None:
    assert set(capture) == {"profile", "source", "kind", "exchange"}
    assert capture["kind"] in {"recorded", "quoted", "printed"}
    assert len(capture["source"]) > 20
    for exchange in capture["exchange"]:
        assert set(exchange) <= KEYS
        assert any(keys <= set(exchange) for keys in PROVES), "it proves nothing"


@every
def test_the_frames_are_what_the_profile_makes_and_means(capture: dict[str, Any]) -> None:
    check_frames(load(PROFILES / f"{capture['profile']}.toml"), capture)


def same_values(belief: Belief, values: dict[str, Any]) -> None:
    for name, value in values.items():
        reading = belief.readings[name]
        assert reading.quality is Quality.GOOD, reading
        assert reading.value == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


def check_plain(profile: Profile, exchange: dict[str, Any]) -> None:
    """A frame of the maker's own: what the profile says to this unit, and what it takes its answer for."""
    unit = exchange.get("unit", 1)
    if "writes" in exchange:
        ((name, value),) = exchange["writes"].items()
        point = profile.point(name)
        assert point.spec.write, name
        request = Set(point, point.encode(value), edge=False, bounded=False).request(unit)
        fetch = None
    else:
        asked = exchange.get("asks") or next(iter(exchange["values"]))
        message = profile.point(asked).message
        (fetch,) = fetches([p for p in profile.points.values() if p.message is message], profile.line)
        request = fetch.request(unit)
    assert isinstance(request, Ask)
    assert request.data == bytes.fromhex(exchange["request"])
    if "reply" not in exchange:
        return
    line = Plain(profile.line.baud)
    line.frame(unit, request)
    ((_, answered, frame),) = line.feed(bytes.fromhex(exchange["reply"]))
    answer = line.answer(request, frame)
    assert (answered, type(answer)) == (unit, Reply)
    if fetch is not None:
        assert isinstance(answer, Reply)
        belief = Belief("captured", profile, S)
        belief.take(S, fetch, answer.values, S)
        same_values(belief, exchange["values"])


def check_frames(profile: Profile, capture: dict[str, Any]) -> None:
    for exchange in capture["exchange"]:
        if profile.messages:
            check_plain(profile, exchange)
            continue
        unit, pdu = taken_apart(exchange["request"])
        request = modbus.parse_request(pdu)
        assert modbus.request_pdu(request) == pdu
        if "writes" in exchange:
            assert modbus.request_pdu(written(profile, exchange["writes"])) == pdu
        if "reply" not in exchange:
            continue
        answered, reply = taken_apart(exchange["reply"])
        assert answered == unit
        if isinstance(request, Write):
            assert isinstance(modbus.reply_of(request, reply), Reply)
            continue
        same_values(believed(profile, request, reply), exchange["values"])


def test_the_capture_on_the_page_about_profiles_is_one(tmp_path: Path) -> None:
    page = (HERE.parents[1] / "docs" / "profiles.md").read_text(encoding="utf-8")
    # The profile that grows on the page; what follows on the page are examples of their own.
    grown = page[: page.index("## From datasheet to profile in 15 minutes")]
    file = tmp_path / "example_h600.toml"
    file.write_text("".join(re.findall(r"^```toml\n(.*?)^```", grown, re.MULTILINE | re.DOTALL)), encoding="utf-8")
    (text,) = re.findall(r"^```\n(profile = .*?)^```", page, re.MULTILINE | re.DOTALL)
    capture = tomllib.loads(text)
    assert capture["profile"] == file.stem
    test_a_capture_says_whose_it_is(capture)
    check_frames(load(file), capture)


def test_a_frame_with_a_wrong_crc_is_no_capture() -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        taken_apart("01 06 00 01 01 00 D9 9B")


def test_a_plain_frame_with_a_wrong_sum_is_no_capture() -> None:
    profile = load(PROFILES / "jq8900_voice.toml")
    check_plain(profile, {"request": "AA 07 02 00 08 BB", "writes": {"track": 8}})
    with pytest.raises(AssertionError):
        check_plain(profile, {"request": "AA 07 02 00 08 BC", "writes": {"track": 8}})


@pytest.mark.parametrize(("frame", "text"), [
    ("a5 68 32 ff 7b 01 14 00 00 00 12 00 00 05 00 00 03 07 00 ff 00 d5 fd b3 a3 cd a8 d0 d0 00 86 09 ae", "正常通行"),
    ("a5 68 32 ff 7b 01 1e 00 00 00 12 00 00 f5 00 00 03 07 ff ff 00 c7 b0 b7 bd bb fd cb aa 0e 0d 0a bb ba c2 fd"
     " cd a8 d0 d0 00 be 11 ae", "前方积水\r\n缓慢通行"),
    ("A5 68 32 01 7B 01 13 00 00 00 12 00 00 01 00 00 03 02 FF 00 00 61 62 63 0D 63 62 61 00 9A 04 AE", "abc\rcba"),
])
def test_texts_that_others_showed_are_framed_as_ours_are(frame: str, text: str) -> None:
    """Two of a flooded road's sign in service, one of the vendor's: another look and address than our messages have,
    and the length, the sum and the escapes (of 水) must be the same all the same."""
    spec = load(PROFILES / "cpower_sign.toml").spec
    assert spec.frame is not None
    form = re.sub(r"\( 12 .* \{text", "( 12 {look:10} {text", spec.messages["show"].ask)
    template = Template(form, spec.frame.envelope)
    data = bytes.fromhex(frame)
    found = template.match(data)
    assert found is not None
    assert found[1] == len(data)
    assert found[0]["text"].decode("gb2312") == text
    assert template.fill(found[0]) == data
