"""The gateway's own device machine against each simulated model, joined by a bus that is always healthy."""

from pathlib import Path

import pytest

from firmware_bridge.device import Device
from firmware_bridge.event import Begin, Edged, Ended, Finished, LinkUp, Silent, Submit
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.point import Scalar
from firmware_bridge.profile import Profile, load_all
from firmware_bridge.reading import NoValue, Quality
from simulators.device import SimDevice

PROFILES = load_all(Path(__file__).parents[2] / "configs" / "profiles")
TRANSACTION_US = 20 * MS
every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
with_output = [p for p in PROFILES.values() if p.output]
every_output = pytest.mark.parametrize("profile", with_output, ids=[p.id for p in with_output])


class Pair:
    """Device and SimDevice; a transaction takes 20 ms, one after the other."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.sim = SimDevice("d", 1, profile, 1, hard_limit_s={None: 200.0, 1: 200.0})
        self.device = Device("d", "line", 1, profile)
        self.now_us = 0
        self.told: list[Ended | Edged] = []
        self._queue: list[Submit] = []
        self._free_us = 0
        self._tell(LinkUp("line"))

    def _tell(self, event: LinkUp | Begin | Woken | Finished) -> None:
        for effect in self.device.handle(self.now_us, event):
            if isinstance(effect, Submit):
                self._queue.append(effect)
            elif isinstance(effect, Ended | Edged):
                self.told.append(effect)

    def _starts_us(self, submit: Submit) -> int:
        return max(self._free_us, submit.transaction.at_us or 0)

    def run(self, seconds: float) -> None:
        end_us = self.now_us + round(seconds * S)
        while True:
            send = min(self._queue, key=self._starts_us, default=None)
            send_us = None if send is None else max(self._starts_us(send), self.now_us)
            next_us = earliest(self.device.deadline, self.sim.deadline, send_us)
            if next_us is None or next_us > end_us:
                break
            self.now_us = max(next_us, self.now_us)
            if send is not None and send_us == next_us:
                self._queue.remove(send)
                self._serve(send)
            else:
                self.sim.handle(self.now_us, Woken())
                self._tell(Woken())
        self.now_us = max(self.now_us, end_us)
        self.sim.handle(self.now_us, Woken())

    def _serve(self, submit: Submit) -> None:
        sent_us, asked = self.now_us, submit.transaction
        outcome = self.sim.outcome(sent_us, asked.request)
        assert not isinstance(outcome, Silent)
        self.now_us = self._free_us = sent_us + TRANSACTION_US
        self.sim.handle(self.now_us, Woken())
        self._tell(Finished("line", asked, outcome, sent_us))

    def act(self, action: str, seconds: float = 5, **more: Scalar) -> Ended:
        output = self.profile.output
        assert output is not None
        args: dict[str, Scalar] = {"lease_s": 5.0, "rest_s": 10.0, "tone": output.tones.get("steady", "steady")}
        self.told.clear()
        self._tell(Begin("d", action, 7, 1 if self.profile.channels else None, args | more))
        until_us = self.now_us + round(seconds * S)
        while not any(isinstance(t, Ended) for t in self.told) and self.now_us < until_us:
            self.run(0.05)
        ended = next(t for t in self.told if isinstance(t, Ended))
        assert ended.token == 7
        return ended


@every
def test_every_polled_point_becomes_good(profile: Profile):
    pair = Pair(profile)
    pair.run(12)
    polled = [p for p in profile.points.values() if p.spec.poll_ms]
    assert polled
    for point in polled:
        reading = pair.device.reading(point.name, pair.now_us)
        assert reading.quality is Quality.GOOD, reading
        told = pair.sim.value(point.name)
        assert reading.value == (told if isinstance(told, str | bool) else pytest.approx(told, abs=0.05))


@every_output
def test_activate_and_cancel_as_the_gateway_does_them(profile: Profile):
    pair = Pair(profile)
    pair.run(2)
    ended = pair.act("activate")
    assert ended.done, ended.why
    assert ended.edge_us is not None
    assert any(pair.sim.outputs().values())
    ended = pair.act("cancel")
    assert ended.done, ended.why
    assert not any(pair.sim.outputs().values())


def test_a_horn_is_not_begun_with_less_than_a_second_left():
    pair = Pair(PROFILES["evikon_ek61"])
    pair.run(2)
    ended = pair.act("activate", rest_s=0.6)
    assert not ended.done
    assert "auto_off" in ended.why
    pair.run(10)
    assert pair.sim.log == []
    assert pair.sim.value("auto_off") == 0, "nothing was written at all"


@pytest.mark.parametrize(("model", "said", "value", "lost"), [
    ("vega_vegapuls", "invalid_first", True, "level"),
    ("vega_vegapuls", "invalid_second", True, "level"),
    ("vega_vegapuls", "unit_code", "litres", "level"),
    ("apg_mnu", "unit_code", "feet", "calculated"),
    ("qdy30a_length", "unit_code", 7, "level"),
    ("qdy30a", "unit_code", 12, "level"),
])
def test_a_level_that_means_nothing_has_no_value(model: str, said: str, value: Scalar, lost: str):
    pair = Pair(PROFILES[model])
    pair.run(20)
    assert pair.device.reading(lost, pair.now_us).quality is Quality.GOOD
    pair.sim.set_point(pair.now_us, said, value)
    pair.run(70)
    reading = pair.device.reading(lost, pair.now_us)
    assert (reading.value, reading.why) == (None, NoValue.INVALID)


def test_a_gauge_as_delivered_measures_nothing_until_it_was_told_to():
    pair = Pair(PROFILES["dfrobot_urm14"])
    pair.sim.set_point(0, "control", "as_delivered")
    assert pair.sim.value("passive") is True
    assert pair.device.reading("distance", 0).value is None
    pair.run(5)
    assert pair.sim.value("control") == "automatic", "the profile's setup has told it"
    assert pair.device.reading("distance", pair.now_us).quality is Quality.GOOD
