"""What the local door says of lines: their use over the last minute, whose they are, and what is on them."""

import json
from pathlib import Path
from typing import Any

import pytest

from controller import config, desk
from controller.desk import BEAT_US
from controller.event import Publish
from firmware_bridge.bus import Bus
from firmware_bridge.device import Device
from firmware_bridge.event import Received, Reopen, Send
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import S
from firmware_bridge.reading import NoValue, Quality, Reading, Took

ROOT = Path(__file__).parents[2]
CONFIG = config.load(ROOT / "configs" / "demo" / "gateway.toml")
HEAD = config.load(ROOT / "configs" / "demo" / "gateway-3.toml")


def said(one: Publish) -> dict[str, Any]:
    found = json.loads(one.payload)
    assert isinstance(found, dict)
    return found


def line() -> Bus:
    return Bus("line-1", Rtu(9600))


def test_use_is_of_the_last_minute_and_not_of_the_time_before() -> None:
    bus, use = line(), desk.Use()
    for beat in range(30):
        use.note(beat * BEAT_US, [bus])
        bus.counters.busy_us += BEAT_US if beat < 20 else BEAT_US // 4
    now_us = 30 * BEAT_US
    assert use.of(now_us, bus) == {"share": 0.25, "over_s": 60.0}
    assert said(desk.bus(7, now_us, bus, use))["use"] == {"share": 0.25, "over_s": 60.0}


def test_use_of_nothing_is_not_nought() -> None:
    bus, use = line(), desk.Use()
    assert use.of(5 * S, bus) is None
    use.note(5 * S, [bus])
    assert use.of(5 * S, bus) is None
    bus.counters.busy_us = S
    assert use.of(9 * S, bus) == {"share": 0.25, "over_s": 4.0}


def test_requests_that_overlap_do_not_use_more_than_all() -> None:
    bus, use = line(), desk.Use()
    use.note(0, [bus])
    bus.counters.busy_us = 40 * S
    assert use.of(10 * S, bus) == {"share": 1.0, "over_s": 10.0}


def test_every_kind_of_error_is_told() -> None:
    bus = line()
    for n, kind in enumerate(("silent", "garbled", "refused", "late", "early", "foreign"), 1):
        setattr(bus.counters, kind, n)
    figures = said(desk.bus(7, S, bus, desk.Use()))["figures"]
    assert [figures[k] for k in ("silent", "garbled", "refused", "late", "early", "foreign")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("line", ["line-1", f"serial:{ROOT}/configs/demo/run/line-1",
                                  f"serial:{ROOT}/configs/demo/../demo/run/line-1"])
def test_a_line_of_this_gateway_is_held(line: str) -> None:
    answer = said(desk.held(7, CONFIG, line))
    assert "the sirend of gw-jinshui is the master of this line" in answer["error"]
    assert answer["last"] is True


def test_a_line_of_nobody_is_not_held() -> None:
    for line in ("line-2", f"serial:{ROOT}/configs/demo/run/line-2", "tcp:127.0.0.1:15020", ""):
        assert said(desk.held(7, CONFIG, line)) == {"held": False, "last": True}
    assert "error" in said(desk.held(7, HEAD, "tcp:127.0.0.1:15020"))


def test_who_records_a_line_hears_of_it_alone() -> None:
    devices = {d.id: Device(d.id, d.bus, d.unit, CONFIG.profile_of(d.id)) for d in CONFIG.spec.device}
    recorders = {7: "line-1", 8: "line-2"}

    def heard(what: object) -> list[tuple[int | None, dict[str, Any]]]:
        return [(p.client, said(p)) for p in desk.recorded(recorders, S, what, devices)]

    frame = {"kind": "frame", "last": False}
    assert heard(Send("line-1", b"\x01\x02", 5)) == [(7, {"ours": True, "hex": "01 02", **frame})]
    assert heard(Send("line-1", b"")) == [(7, {"ours": True, "hex": "", **frame})]
    assert heard(Received("line-2", b"\xff")) == [(8, {"ours": False, "hex": "ff", **frame})]
    good = Reading("gauge-1", "level", 0.25, Quality.GOOD, S)
    old = Reading("gauge-1", "decimals", 3, Quality.UNCERTAIN, S)
    bad = Reading("gauge-1", "unit_code", None, Quality.BAD, S, NoValue.SILENT)
    assert heard(Took("gauge-1", (good, old, bad))) == [
        (7, {"kind": "believed", "unit": 3, "values": {"level": 0.25}, "last": False})]
    assert heard(Reopen("line-1")) == []
