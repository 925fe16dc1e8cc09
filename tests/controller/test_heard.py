"""What an ear (a sound pressure) proves of a siren, and what it never does."""

from typing import Any

from controller.conduct import State
from controller.config import SirenSection
from controller.wire import Stage
from firmware_bridge.machine import S
from firmware_bridge.reading import Value
from tests.controller.bench_siren import T0, Field, beat

EAR = {"point": "ear.level", "above": 85, "proves": "heard"}
METER = {"point": "meter.current", "above": 2.0}


class Place:
    """A microphone: it hears our siren where that is `near`, and whatever else is loud."""

    def __init__(self, near: bool = True) -> None:
        self.near = near
        self.other = 55.0
        self.dead = False

    def level(self, field: Field) -> Value | None:
        if self.dead:
            return None
        return max(self.other, 104.0 if field.loud and self.near else 0.0)


def field(place: Place, *feedback: dict[str, Any], **more: Any) -> Field:
    return Field(section={"feedback": [*feedback, EAR]}, points={"ear.level": place.level}, **more).run(T0)


def test_heard_is_counted_apart_and_told_once() -> None:
    f = field(Place(), METER)
    f.order("air-raid")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.phases, e.commanded, e.sensed, e.heard, e.independent) == (15, 15, 15, 15, True)
    assert sorted(f.stages()) == ["finished", "heard", "sensed", "started"]
    assert f.stages()[0] == "started"


def test_what_only_an_ear_hears_is_not_sensed_and_did_not_sound() -> None:
    """All sirens of a city begin at one instant: the neighbour's is heard in every phase of a siren that is mute."""
    place = Place(near=False)
    f = field(place, METER, mute=True)
    f.order("air-raid")
    for n in range(15):
        f.later(T0 + n * 12 * S, lambda: setattr(place, "other", 91.0))
        f.later(T0 + n * 12 * S + 6 * S, lambda: setattr(place, "other", 55.0))
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.sensed, e.heard, e.sounded) == (0, 15, False)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "not sensed: 15 of 15")
    assert "no feedback in an on-phase" in f.troubles()


def test_an_ear_alone_is_no_independent_feedback() -> None:
    f = field(Place())
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    e = f.evidence()
    assert (e.sensed, e.heard, e.independent, e.sounded) == (0, 3, False, False)
    assert (f.end().stage, f.troubles()) == (Stage.FINISHED, [])


def test_the_hub_is_told_that_an_ear_is_no_feedback() -> None:
    bare = {"id": "s-1", "type": "motor", "drive": "board.3"}
    assert not SirenSection.model_validate(bare | {"feedback": [EAR]}).sensed
    assert SirenSection.model_validate(bare | {"feedback": [EAR, METER]}).sensed


def test_what_was_loud_before_the_phase_is_not_heard() -> None:
    place = Place()
    place.other = 90.0
    f = field(place, METER)
    f.order(beat(6, 6, 6, 6))
    f.later(T0 + 8 * S, lambda: setattr(place, "other", 55.0))
    f.run(T0 + 60 * S)
    assert (f.evidence().sensed, f.evidence().heard) == (2, 1), "the traffic had gone before the second"


def test_a_level_that_rises_in_a_silence_is_not_heard() -> None:
    place = Place(near=False)
    f = field(place, METER)
    f.order(beat(6, 6, 6, 6))
    f.later(T0 + 8 * S, lambda: setattr(place, "other", 95.0))
    f.run(T0 + 60 * S)
    assert (f.evidence().sensed, f.evidence().heard) == (2, 0)


def test_a_rise_out_of_the_unknown_is_not_heard() -> None:
    """The ear was silent on its line for a minute: what it would have read just before the phase, nobody knows."""
    place = Place()
    f = field(place, METER)
    place.dead = True
    f.run(T0 + 60 * S)
    f.order(beat(20, 5))
    f.later(T0 + 65 * S, lambda: setattr(place, "dead", False))
    f.run(T0 + 100 * S)
    assert (f.evidence().sensed, f.evidence().heard) == (1, 0)


def test_one_loud_reading_alone_is_not_heard() -> None:
    place = Place(near=False)
    f = field(place, METER)
    f.order(beat(6, 6))
    f.later(T0 + 2 * S - 1, lambda: setattr(place, "other", 95.0))
    f.later(T0 + 2 * S + 1, lambda: setattr(place, "other", 55.0))
    f.run(T0 + 60 * S)
    assert (f.evidence().sensed, f.evidence().heard) == (1, 0)


def test_thunder_is_nobodys_siren() -> None:
    """A sound pressure with no sounding of ours is not adopted, told, cut or taken for a siren that does not stop."""
    place = Place(near=False)
    f = field(place, METER)
    place.other = 110.0
    f.run(T0 + 10 * S)
    assert (f.state(), f.notices, f.begins) == (State.IDLE, [], [])
    f.order(beat(6, 6))
    f.run(T0 + 60 * S)
    assert (f.state(), f.end().stage, f.notices, f.troubles()) == (State.IDLE, Stage.FINISHED, [], [])
    assert f.evidence().heard == 0
