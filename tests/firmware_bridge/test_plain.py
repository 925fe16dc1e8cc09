"""Devices whose protocol is not Modbus: gateway's bus and device on one end of a line, simulated units on the other."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_bridge import profile
from firmware_bridge.action import said
from firmware_bridge.bus import Bus
from firmware_bridge.device import Device
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import (
    Abort,
    Begin,
    Edged,
    Ended,
    Finished,
    LinkUp,
    Presence,
    Received,
    Refused,
    Send,
    Submit,
    Withdraw,
)
from firmware_bridge.framing import Plain
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.point import Scalar
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality
from simulators import dialect
from simulators.device import SimDevice
from simulators.faults import Fault
from simulators.line import Answer, Heard, Line, Put, Seen

PROFILES = Path(__file__).parents[2] / "configs" / "profiles"


def model(name: str) -> Profile:
    return profile.load(PROFILES / f"{name}.toml")


class Site:
    """One line with units of one model, and the gateway's machines for them. `wear` hurts the octets of answers."""

    def __init__(self, name: str, units: int = 1, wear: Callable[[bytes], bytes] | None = None) -> None:
        self.profile = model(name)
        numbers = range(1, units + 1)
        self.units = {n: SimDevice(f"u{n}", n, self.profile, n) for n in numbers}
        self.devices = {f"d{n}": Device(f"d{n}", "line", n, self.profile) for n in numbers}
        self.bus = Bus("line", Plain(self.profile.line.baud, 11))
        self.line = Line(self.profile.line.baud, self._ask, random.Random(1),
                         dialect=dialect.Plain(self.profile.messages.values()))
        self.wear = wear
        self.late_us = 0
        self.now_us = 0
        self.told: list[Ended | Edged | Presence] = []
        self.asked: list[bytes] = []
        self._prepared: list[tuple[int, bytes]] = []
        self._feed(LinkUp("line"))
        for device in self.devices.values():
            self._tell(device, LinkUp("line"))

    def _ask(self, now_us: int, seen: Seen) -> list[Answer]:
        out = []
        self.asked.append(seen.pdu)
        for unit in self.units.values():
            if seen.unit in (unit.unit, dialect.ANY) and (answer := unit.handle(now_us, seen.pdu)):
                out.append(Answer(20 * MS + self.late_us, seen.unit, answer, wear=self.wear))
        return out

    def _tell(self, device: Device, event: LinkUp | Begin | Abort | Woken | Finished) -> None:
        for effect in device.handle(self.now_us, event):
            if isinstance(effect, Submit | Withdraw):
                self._feed(effect)
            elif isinstance(effect, Ended | Edged | Presence):
                self.told.append(effect)

    def _feed(self, event: Submit | Withdraw | LinkUp | Received | Woken) -> None:
        for effect in self.bus.handle(self.now_us, event):
            if isinstance(effect, Send):
                self._prepared = [(self.now_us if effect.at_us is None else effect.at_us, effect.data)]
            elif isinstance(effect, Finished):
                self._tell(self.devices[effect.transaction.owner], effect)

    def run(self, seconds: float) -> None:
        end_us = self.now_us + round(seconds * S)
        while True:
            machines = [self.bus, self.line, *self.devices.values(), *self.units.values()]
            due = earliest(*(m.deadline for m in machines), *(at for at, _ in self._prepared))
            if due is None or due > end_us:
                break
            self.now_us = max(due, self.now_us)
            for at_us, data in [p for p in self._prepared if p[0] <= self.now_us]:
                self._prepared.remove((at_us, data))
                self.line.handle(self.now_us, Put(data))
            for effect in self.line.handle(self.now_us, Woken()):
                if isinstance(effect, Heard):
                    self._feed(Received("line", effect.data))
            for unit in self.units.values():
                unit.handle(self.now_us, Woken())
            self._feed(Woken())
            for device in self.devices.values():
                self._tell(device, Woken())
        self.now_us = end_us

    def act(self, action: str, seconds: float = 5, **args: Scalar) -> Ended:
        self._tell(self.devices["d1"], Begin("d1", action, 7, None, args))
        self.run(seconds)
        (ended,) = (t for t in self.told if isinstance(t, Ended) and t.token == 7)
        return ended

    def value(self, point: str, device: str = "d1") -> object:
        reading = self.devices[device].reading(point, self.now_us)
        return reading.value if reading.quality is Quality.GOOD else reading.why or reading.quality


def test_a_track_plays_though_nobody_acknowledges_it() -> None:
    site = Site("jq8900_voice")
    site.run(5)
    assert site.value("state") == "stopped"
    ended = site.act("play", track=8, volume=25)
    assert (ended.done, ended.why) == (True, "")
    assert ended.edge_us is not None
    assert site.asked.count(bytes.fromhex("AA 07 02 00 08 BB")) == 1
    assert [type(t) for t in site.told if not isinstance(t, Presence) and t.token == 7] == [Edged, Ended]
    assert (site.value("state"), site.value("current_track")) == ("playing", 8)
    assert site.units[1].value("volume") == 25


def test_a_track_that_was_not_heard_is_not_played_again_and_not_called_played() -> None:
    site = Site("jq8900_voice")
    site.run(5)
    site.units[1].inject(site.now_us, Fault.FROZEN)
    ended = site.act("play", track=8, volume=25)
    assert not ended.done
    assert "current_track not 8" in ended.why
    assert not [t for t in site.told if isinstance(t, Edged)]
    assert site.asked.count(bytes.fromhex("AA 07 02 00 08 BB")) == 1


def test_a_sign_shows_a_text_and_says_so() -> None:
    site = Site("cpower_sign", units=2)
    site.run(3)
    assert site.act("show", text="前方积水").done
    assert site.units[1].value("text") == "前方积水"
    assert site.units[2].value("text") == ""


def test_a_text_that_a_sign_has_no_letters_for_is_refused_before_it_is_said() -> None:
    site = Site("cpower_sign")
    site.run(3)
    before = len(site.asked)
    ended = site.act("show", seconds=0.01, text="⚠")
    assert not ended.done
    assert "'⚠' is not in gb2312" in ended.why
    assert not [frame for frame in site.asked[before:] if 0x7B in frame]


def test_three_gauges_on_a_line_answer_with_their_address() -> None:
    site = Site("levelmaster_gauge", units=3)
    for n, unit in site.units.items():
        unit.set_point(0, "level", 0.1 * n)
    site.run(5)
    assert [round(float(str(site.value("level", f"d{n}"))), 1) for n in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert set(site.asked) == {b"U01?\r", b"U02?\r", b"U03?\r"}


def test_a_gauge_in_error_has_no_level_whatever_it_shows() -> None:
    site = Site("levelmaster_gauge")
    site.units[1].set_point(0, "error", 2)
    site.units[1].set_point(0, "level", 25.0)
    site.run(5)
    assert str(site.value("level")) == "device says invalid"
    assert site.value("error") == 2


def test_a_ups_is_read_whole_in_one_question() -> None:
    site = Site("megatec_ups")
    site.run(5)
    assert (site.value("battery"), site.value("mains_failed"), site.value("standby_type")) == (27.5, False, True)
    assert set(site.asked) == {b"Q1\r"}
    # The example of Network UPS Tools, octet by octet.
    assert site.units[1].handle(site.now_us, b"Q1\r") == b"(226.0 195.0 226.0 014 49.0 27.5 30.0 00001000\r"


def test_garbled_answers_are_none_and_noise_before_one_does_not_hide_it() -> None:
    garbled = Site("jq8900_voice", wear=lambda frame: frame[:3] + bytes([frame[3] ^ 1]) + frame[4:])
    garbled.run(10)
    assert str(garbled.value("state")) != "stopped"
    noisy = Site("jq8900_voice", wear=lambda frame: b"\xaa\x01\x00STOP" + frame)
    noisy.run(10)
    assert noisy.value("state") == "stopped"


def test_a_late_answer_of_one_message_is_not_taken_for_that_of_the_next() -> None:
    site = Site("jq8900_voice")
    site.units[1].set_point(0, "tracks", 777)
    site.units[1].set_point(0, "current_track", 5)
    site.late_us = 500 * MS
    site.run(20)
    site.late_us = 0
    site.run(20)
    assert (site.value("tracks"), site.value("current_track")) == (777, 5)
    assert site.bus.counters.late > 0


def test_a_unit_that_does_not_answer_is_silent_and_comes_back() -> None:
    site = Site("levelmaster_gauge", units=2)
    site.run(3)
    site.units[1].inject(site.now_us, Fault.DEAD)
    site.run(10)
    assert str(site.value("level")) == "unit silent"
    assert isinstance(site.value("level", "d2"), float)
    site.units[1].inject(site.now_us, Fault.DEAD, on=False)
    site.run(30)
    assert isinstance(site.value("level"), float)


@pytest.mark.parametrize(("old", "new", "says"), [
    ('protocol = "plain"', 'protocol = "modbus"', 'say protocol = "plain", or drop them'),
    ("AA 01 00 <sum8>", "AA 01 0 <sum8>", "messages.status = 'AA 01 0 <sum8>': '0 <sum8>': say octets in hex"),
    ('at = "status.state"', 'at = "statu.state"', "no such message; messages: status, count"),
    ('at = "status.state"', 'at = "status.stat"', "no such field; fields: state"),
    ('at = "status.state"', 'at = "holding:1"', "say message.field"),
    ('at = "count.tracks", type = "u16"', 'at = "count.tracks"', "tracks has 2 octets; u8 has 1"),
    ('low = 0, high = 30, write = "level", readable = false', 'low = 0, high = 30, write = "level"',
     "no answer tells it by itself; say readable = false"),
    ('{ at = "mode.mode"', '{ at = "halt.command"', "writes it too; keep one of them"),
    ('    { wait_ms = 200 },\n    { expect = "current_track", is = "$track", within_ms = 1000 },\n', "",
     "nobody answers this edge; let an `expect` behind it tell that it was heard"),
    ("state = { at", "state = { channels = 2, at", "a field is one value"),
])
def test_a_profile_that_does_not_fit_itself_says_where_and_what_to_do(tmp_path: Path, old: str, new: str,
                                                                       says: str) -> None:
    text = (PROFILES / "jq8900_voice.toml").read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "bad.toml"
    bad.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadDocument) as told:
        profile.load(bad)
    assert says in str(told.value)
    assert str(bad) in str(told.value)


def test_a_code_of_its_own_is_no_modbus_exception_and_no_silence() -> None:
    """0A from a sign is its refusal; from a Modbus TCP gateway it would be the silence of the unit behind it."""
    message = model("cpower_sign").points["text"].message
    assert message is not None
    assert message.refusal is not None
    no = message.refusal.fill({"unit": b"\x01", "code": b"\x0a", "packet": b"\0\0", "more": b""})
    request = message.request(1, {"text": "前".encode("gb2312")})
    assert Plain(9600).answer(request, no) == Refused(10, modbus=False)
    assert said(Refused(10, modbus=False)) == "refused (10)"


def test_what_is_on_the_line_is_shown_as_it_is() -> None:
    site = Site("levelmaster_gauge")
    site.run(2)
    words = {site.bus.monitor.words(seen) for seen in site.bus.monitor.frames if seen.ours}
    assert words == {"'U01?'"}
    voice = Site("jq8900_voice")
    voice.run(5)
    assert {voice.bus.monitor.words(seen) for seen in voice.bus.monitor.frames} == {"no Modbus"}
