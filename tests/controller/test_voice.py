"""The voice: three times and a pause, the depth in it, the night, and a module that does not answer."""

from itertools import count

import pytest

from controller.event import Notice
from controller.spot import VoiceSection
from controller.voice import STOP_RETRY_US, State, Voice, at_night, depth_track
from firmware_bridge.event import Begin, Ended
from firmware_bridge.machine import S, Woken

SECTION = VoiceSection(device="voice-1", tracks={"orange": 1, "red": 2}, track_s=8, times=3, pause_s=30)


class Run:
    def __init__(self) -> None:
        self.voice = Voice("spot-1", SECTION, count(1))
        self.now_us = 10 * S
        self.begun: list[tuple[float, str, int | None]] = []
        self.notices: list[str] = []
        self.works = True

    def take(self, effects: list[object]) -> "Run":
        for effect in effects:
            if isinstance(effect, Notice):
                self.notices.append(effect.what)
            if isinstance(effect, Begin):
                track = (effect.args or {}).get("track")
                self.begun.append((self.now_us / S - 10, effect.action, track))  # type: ignore[arg-type]
                self.take(self.voice.handle(self.now_us, Ended("voice-1", effect.token, effect.action, self.works)))
        assert self.voice.deadline is None or self.voice.deadline > self.now_us
        return self

    def say(self, *tracks: int) -> "Run":
        return self.take(self.voice.say(self.now_us, tracks, 30))

    def wait(self, seconds: float) -> "Run":
        end_us = self.now_us + round(seconds * S)
        while (due_us := self.voice.deadline) is not None and due_us <= end_us:
            self.now_us = due_us
            self.take(self.voice.handle(due_us, Woken()))
        self.now_us = end_us
        return self


def test_it_says_it_three_times_and_pauses():
    run = Run().say(2).wait(60)
    assert run.begun == [(0, "play", 2), (8, "play", 2), (16, "play", 2), (54, "play", 2)]


def test_the_depth_follows_the_text():
    run = Run().say(2, 21).wait(20)
    assert [track for _, _, track in run.begun] == [2, 21, 2]
    run.say(2, 22).wait(10)
    assert [track for _, _, track in run.begun][3:] == [22], "the new depth, and nothing begun anew"


def test_another_colour_waits_for_the_end_of_a_track():
    run = Run().say(1).wait(3).say(2).wait(10)
    assert run.begun == [(0, "play", 1), (8, "play", 2)]


def test_it_breaks_its_pause_for_another_colour():
    run = Run().say(1).wait(30).say(2).wait(1)
    assert run.begun[-1] == (30, "play", 2)


def test_it_is_told_to_be_quiet_until_it_is():
    run = Run().say(1).wait(3)
    run.works = False
    run.say().wait(STOP_RETRY_US / S * 3)
    assert run.voice.state is State.STOPPING
    assert [action for _, action, _ in run.begun] == ["play", "stop", "stop", "stop", "stop"]
    run.works = True
    run.wait(6)
    assert (run.voice.state, run.voice.deadline) == (State.SILENT, None)


def test_what_is_wanted_while_it_is_told_to_be_quiet_is_said():
    run = Run().say(1).wait(3)
    run.works = False
    run.say().wait(1)
    assert run.voice.state is State.STOPPING
    run.works = True
    run.say(2).wait(20)
    assert [track for _, action, track in run.begun if action == "play"][1:] == [2, 2, 2]


def test_a_track_that_fails_is_not_repeated_and_two_are_told():
    run = Run()
    run.works = False
    run.say(2).wait(7)
    assert (len(run.begun), run.notices) == (1, [])
    run.wait(2)
    assert run.notices == ["voice-fault"]
    run.works = True
    run.wait(8)
    assert run.notices == ["voice-fault", "voice-fault-ended"]


@pytest.mark.parametrize(("utc", "night"), [(13, False), (14, True), (20, True), (21.99, True), (22, False)])
def test_night_is_by_local_time(utc: float, night: bool):
    assert at_night(round((1_789_603_200 + utc * 3600) * S), 8, ("22:00", "06:00")) is night
    assert at_night(round((1_789_603_200 + utc * 3600) * S), 8, ("06:00", "22:00")) is not night


@pytest.mark.parametrize(("cm", "tracks"), [(None, ()), (9, ()), (10, (21,)), (24, (22,)), (90, (23,))])
def test_the_track_of_a_depth(cm: float | None, tracks: tuple[int, ...]):
    assert depth_track(cm, {"10": 21, "20": 22, "030": 23}) == tracks
