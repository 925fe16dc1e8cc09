"""Templates against frames that others printed or recorded, and against everything that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import Malformed
from firmware_bridge.message import FrameSpec
from firmware_bridge.text import SUMS, Template, unit_octets, unit_of

CPOWER = FrameSpec.model_validate(
    {"head": "A5", "tail": "AE", "escape": {"A5": "AA05", "AE": "AA0E", "AA": "AA0A"}}).envelope
SHOW = "68 32 {unit:1} 7B 01 <len16le> 00 00 ( 12 {look:9} {text:*} 00 ) <sum16le>"


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("source", "fields", "frame"), [
    # JQ8400 manual as quoted in a driver: track 8; DFR0534 page: stop.
    ("AA 07 02 {track:2} <sum8>", {"track": b"\0\x08"}, "AA 07 02 00 08 BB"),
    ("AA {command:1} 00 <sum8>", {"command": b"\x04"}, "AA 04 00 AE"),
    # The same with its length counted.
    ("AA 07 <len8> ( {track:2} ) <sum8>", {"track": b"\0\x08"}, "AA 07 02 00 08 BB"),
    ("'U' {unit:2} '?' 0D", {"unit": b"01"}, "55 30 31 3F 0D"),
    ("'Q1' 0D", {}, "51 31 0D"),
    ("7E FF 06 {command:1} {ack:1} {value:2} <neg16:1> EF", {"command": b"\x03", "ack": b"\0", "value": b"\0\x01"},
     "7E FF 06 03 00 00 01 FE F7 EF"),
    ("01 {x:1} <xor8>", {"x": b"\x03"}, "01 03 02"),
    ("01 02 <sum16>", {}, "01 02 00 03"),
])
def test_a_frame_as_it_is_printed(source: str, fields: dict[str, bytes], frame: str) -> None:
    template = Template(source)
    assert template.fill(fields) == octets(frame)
    assert template.match(octets(frame)) == (fields, len(octets(frame)))
    assert template.match(b"\x99" + octets(frame), 1) == (fields, len(octets(frame)) + 1)


@pytest.mark.parametrize(("text", "frame"), [
    # A deployed sign, to all its cards: 正常通行 in green; and 前方积水 / 缓慢通行, where 水 (CB AE) needs its escape.
    ("正常通行", "a568 32ff7b01 14000000 12 00000500 0003 0700ff00 d5fdb3a3cda8d0d0 00 8609ae"),
    ("前方积水\r\n缓慢通行",
     "a56832ff7b011e000000120000f5000003 07ffff00 c7b0b7bdbbfdcbaa0e0d0abbbac2fdcda8d0d000 be11ae"),
])
def test_a_text_of_a_deployed_sign(text: str, frame: str) -> None:
    whole = octets(frame.replace(" ", ""))
    template = Template(SHOW.replace("{look:9}", "{look:10}"), CPOWER)
    found = template.match(whole)
    assert found is not None
    fields, end = found
    assert (fields["text"].decode("gb2312"), unit_of(fields["unit"]), end) == (text, 255, len(whole))
    assert template.fill(fields) == whole


@pytest.mark.parametrize("frame", ["", "AA", "AA 07 02 00 08", "AA 07 02 00 08 BC", "AA 07 03 00 08 BC",
                                   "AB 07 02 00 08 BC"])
def test_what_is_not_the_frame_does_not_match(frame: str) -> None:
    assert Template("AA 07 02 {track:2} <sum8>").match(octets(frame)) is None
    assert Template("AA 07 <len8> ( {track:2} ) <sum8>").match(octets(frame)) is None


@pytest.mark.parametrize(("source", "says"), [
    ("", "empty frame"),
    ("AA B", "say octets"),
    ("AA {x}", "say octets"),
    ("AA <sum9>", "no such sum"),
    ("AA <len8>", "counts one part"),
    ("AA ( 01 )", "counts one part"),
    ("( 01 ) <len8>", "before the brackets"),
    ("AA ) <len8> (", "counts one part"),
    ("{x:1} {x:1}", "stands twice"),
    ("AA {x:*}", "what ends it"),
    ("AA {x:*} {y:1}", "what ends it"),
    ("AA {x:0}", "at least one"),
])
def test_a_template_that_is_none_says_what_to_do(source: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        Template(source)


def test_what_does_not_fit_is_refused_before_it_is_said() -> None:
    with pytest.raises(Malformed, match="track: 3 octets, 2 fit"):
        Template("AA {track:2}").fill({"track": b"123"})
    with pytest.raises(Malformed, match="at most 240"):
        Template("AA {text:*} 00").fill({"text": b"x" * 241})


@given(st.integers(0, 255), st.binary(min_size=9, max_size=9), st.binary(max_size=40).filter(lambda b: 0 not in b))
def test_what_was_filled_is_found_again_whatever_has_to_be_escaped(unit: int, look: bytes, text: bytes) -> None:
    template = Template(SHOW, CPOWER)
    fields = {"unit": bytes([unit]), "look": look, "text": text}
    frame = template.fill(fields)
    # The text ends at the first 00 of the counted part, so a look with one in it is another text.
    assert frame.count(b"\xa5") == 1
    assert frame.count(b"\xae") == 1
    assert template.match(frame) == (fields, len(frame))
    assert len(frame) <= template.longest


@given(st.binary(max_size=80))
def test_no_octets_at_all_raise(data: bytes) -> None:
    for source in ("AA <len8> ( {a:2} {b:*} ) <sum8>", "{a:*} 0D", "28 {a:5} 20 {b:*} 0D <neg16:1>"):
        for envelope in (None, CPOWER):
            found = Template(source, envelope).match(data)
            assert found is None or found[1] <= len(data)


@given(st.integers(0, 99))
def test_an_address_is_an_octet_or_digits(unit: int) -> None:
    assert unit_of(unit_octets(unit, 1)) == unit_of(unit_octets(unit, 2)) == unit
    assert unit_of(b"x1") == -1


def test_every_sum_has_the_octets_it_says() -> None:
    assert all(len(total(b"\xff" * 300)) == size for size, total in SUMS.values())
