"""Frames of real devices against our profiles: what a document or another's program shows, not what we think.

A capture is one TOML file here. `kind` says how far it goes: `recorded` by us at a unit, `quoted` from a program or a
log of somebody who had one, `printed` in a manual. `values` is what the gateway must believe after the answer,
`writes` the point and value that must make exactly this request. The CRC of each RTU frame is checked: a frame that
somebody made up in a document seldom has the right one.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge import modbus
from firmware_bridge.belief import Belief
from firmware_bridge.event import Read, Reply, Write
from firmware_bridge.machine import S
from firmware_bridge.plan import Block
from firmware_bridge.profile import Profile, load
from firmware_bridge.reading import Quality

HERE = Path(__file__).parent
PROFILES = HERE.parents[1] / "configs" / "profiles"
CAPTURES = {p.stem: tomllib.loads(p.read_text(encoding="utf-8")) for p in sorted(HERE.glob("*.toml"))}
KEYS = {"request", "reply", "values", "writes"}
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
        assert "writes" in exchange or {"reply", "values"} <= set(exchange), "it proves nothing"


@every
def test_the_frames_are_what_the_profile_makes_and_means(capture: dict[str, Any]) -> None:
    check_frames(load(PROFILES / f"{capture['profile']}.toml"), capture)


def check_frames(profile: Profile, capture: dict[str, Any]) -> None:
    for exchange in capture["exchange"]:
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
        belief = believed(profile, request, reply)
        for name, value in exchange["values"].items():
            reading = belief.readings[name]
            assert reading.quality is Quality.GOOD, reading
            assert reading.value == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


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
