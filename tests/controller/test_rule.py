"""The rule of one spot, second by second: what follows from which water, from which failures, and through a restart."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.alarm import Acknowledge, Shelve
from controller.event import Clock, Trust
from controller.lookout import Handed
from controller.rule import Grant
from firmware_bridge.event import Presence
from firmware_bridge.machine import S
from firmware_bridge.reading import Quality, Reading, Took
from tests.waterside import GRANT, WALL_US, Waterside

LIMITS = {"dead low": lambda cm: 0.0, "dead high": lambda cm: 80.0, "silent": lambda cm: None}


def test_each_colour_does_its_part_and_no_more():
    side = Waterside(rise_1_cm=100, rise_5_cm=200).water(0, 20)
    assert (side.local, side.sign, side.loud) == ("DRY", "前方隧桥 谨慎驾驶", "DRY")
    side.water(8, 60)
    assert (side.local, side.sign) == ("BLUE", "路面积水 减速慢行")
    assert side.rule.beacon
    assert not side.rule.beacon.on
    side.water(20, 60)
    assert (side.local, side.sign, side.rule.beacon.on) == ("YELLOW", "积水20厘米 缓慢通行", True)
    assert side.did("voice-1 play") == []
    side.water(30, 60)
    assert side.local == side.loud == "ORANGE"
    assert side.did("voice-1 play")
    assert side.rule.boom
    assert not side.rule.boom.on
    assert side.asked == []
    side.water(45, 60)
    assert side.rule.boom.on
    assert [(a.sirens, a.sound, a.by) for a in side.asked] == [(("s-1",), "flood", "policy 1: Li, Wang")]


def test_from_the_water_to_the_sign_it_takes_less_than_half_a_minute():
    side = Waterside().water(0, 20)
    from_s = side.now_us / S
    side.water(45, 40)
    shown = [at for at, action, args in side.begun if action == "sign-1 show" and "禁止通行" in str(args)]
    assert shown[0] - from_s <= 30
    assert side.did("voice-1 play")[0] - from_s <= 30


@pytest.mark.parametrize("gauge", ["pressure", "radar", "staff"])
@pytest.mark.parametrize("how", LIMITS)
def test_one_of_three_gauges_may_fail_either_way(gauge: str, how: str):
    side = Waterside()
    side.sees[gauge] = LIMITS[how]
    side.water(0, 120)
    assert (side.loud, side.asked) == ("DRY", [])
    assert side.did("voice-1 play") == side.did("relay-1.2 activate") == []
    side.water(45, 60)
    assert (side.loud, len(side.asked)) == ("RED", 1)
    side.water(0, 5 * 60 + 30)
    assert side.loud == "DRY", "and it ends"


@pytest.mark.parametrize("gauge", ["pressure", "radar", "staff"])
def test_a_single_gauge_moves_sign_and_beacon_and_nothing_that_sounds(gauge: str):
    side = Waterside()
    for other in side.sees:
        side.sees[other] = LIMITS["silent"]
    side.sees[gauge] = float
    side.water(60, 300)
    assert (side.local, side.loud) == ("RED", "DRY")
    assert side.rule.beacon
    assert side.rule.beacon.on
    assert side.did("voice-1 play") == side.did("relay-1.2 activate") == side.asked == []
    assert side.told("flood-suspected")
    assert side.told("flood-confirmed") == []


def test_without_a_policy_no_siren_is_asked_for():
    side = Waterside(Grant()).water(0, 20).water(60, 300)
    assert (side.loud, side.asked) == ("RED", [])


def test_one_siren_a_flood_and_none_in_the_cool_down():
    side = Waterside().water(0, 20).water(45, 60).water(20, 60).water(50, 400)
    assert len(side.asked) == 1
    side.water(0, 400)
    assert side.rule.flood.id == ""
    side.water(45, 60)
    assert len(side.asked) == 1, "another flood, within the half hour"
    side.water(45, 30 * 60)
    assert len({a.order for a in side.asked}) == 2


def test_waves_at_a_threshold_flap_nothing():
    side = Waterside().water(0, 20)
    for _ in range(60):
        side.water(39, 8, 42).water(42, 8, 39)
    assert len(side.did("relay-1.2 activate")) <= 1
    assert side.did("relay-1.2 cancel") == side.did("relay-1.2 cancel")[:1]
    assert len(side.told("flood-confirmed")) <= 4, "one a colour"
    assert len(side.asked) == 1


def test_fast_water_is_a_colour_ahead_and_the_siren_waits_for_the_water():
    side = Waterside().water(0, 20).water(0, 150, 36)
    assert side.loud == "RED", "at 36 cm, 4 cm before it"
    assert side.asked == []
    assert side.rule.shown is not None
    assert side.rule.shown.points is not None
    assert 10 <= int(str(side.rule.shown.points["to_red_s"])) <= 60
    side.water(36, 60, 50)
    assert len(side.asked) == 1


def test_slow_water_is_not():
    side = Waterside().water(0, 20).water(0, 36 * 60, 36)
    assert side.loud == "ORANGE"


def test_missing_data_is_not_dry():
    side = Waterside().water(0, 20).water(45, 60)
    for gauge in side.sees:
        side.sees[gauge] = LIMITS["silent"]
    side.water(0, 1800)
    assert side.loud == "RED"
    assert side.rule.boom
    assert side.rule.boom.on
    assert side.told("spot-unknown")
    assert {n.subject for n in side.told("gauge-bad")} == {"spot-1.pressure", "spot-1.radar", "spot-1.staff"}


def test_a_dry_road_that_nobody_sees_is_unknown_and_in_heavy_rain_blue():
    gauges = [{"id": "pressure", "kind": "pressure", "point": "gauge-1.level", "unit": "cm", "range": [-20, 300]},
              {"id": "radar", "kind": "radar", "point": "gauge-2.level", "unit": "cm", "range": [-20, 600]},
              {"id": "rain", "kind": "rain", "point": "rain-1.rain", "unit": "mm/h", "range": [0, 500]}]
    side = Waterside(gauge=gauges)
    side.sees["rain"] = lambda cm: 0.0
    side.water(0, 30)
    side.sees["pressure"] = side.sees["radar"] = LIMITS["silent"]
    side.water(0, 60)
    assert (side.rule.shown and side.rule.shown.state, side.local) == ("UNKNOWN", "DRY")
    side.sees["rain"] = lambda cm: 60.0
    side.water(0, 60)
    assert (side.rule.shown and side.rule.shown.state, side.loud) == ("BLUE", "DRY")


def test_a_gauge_that_disagrees_is_named():
    side = Waterside()
    side.sees["radar"] = lambda cm: cm + 30
    side.water(5, 200)
    assert [n.detail for n in side.told("gauges-disagree")] == ["radar is more than 10 cm from others"]


def test_a_stuck_gauge_is_found_by_the_others():
    side = Waterside()
    side.water(2, 130)
    frozen = side.rule.lookout.gauges["pressure"].raw or 0.0
    side.sees["pressure"] = lambda cm: frozen - 0.1 * side.ripple
    side.water(2, 200, 30).water(30, 60)
    assert side.rule.lookout.gauges["pressure"].why == "stuck"
    assert "spot-1.pressure" in {n.subject for n in side.told("gauge-bad")}


def test_the_shelf_silences_what_sounds_and_not_the_sign_and_opens_no_road():
    side = Waterside().water(0, 20)
    for alarm in side.rule.lookout.alarms:
        side.tell(Handed(alarm, Shelve("Li Ming", 3600 * S)))
    side.water(45, 120)
    assert (side.local, side.loud, side.asked) == ("RED", "DRY", [])
    assert "禁止通行" in side.sign
    assert side.rule.boom
    assert side.rule.boom.on
    assert len(side.told("alarm-shelved")) == 8


def test_a_boom_that_is_down_stays_down_when_its_alarm_is_shelved():
    side = Waterside().water(0, 20).water(45, 120)
    assert side.rule.boom
    assert side.rule.boom.on
    side.tell(Handed("red", Shelve("Li Ming", 3600 * S)))
    side.water(45, 30)
    assert (side.loud, side.rule.boom.on) == ("ORANGE", True)


def test_a_latched_colour_stays_until_the_cabinet_acknowledges():
    side = Waterside(latch=["red"]).water(0, 20).water(45, 60).water(0, 400)
    assert side.loud == "RED"
    side.tell(Handed("red", Acknowledge("hub: duty", cabinet=False)))
    side.water(0, 5)
    assert side.loud == "RED"
    side.tell(Handed(None, Acknowledge("Li Ming")))
    side.water(0, 5)
    assert (side.local, side.loud) == ("DRY", "DRY")


def test_a_boom_that_latched_stays_down_on_the_shelf_too():
    side = Waterside(latch=["red"]).water(0, 20).water(45, 60).water(0, 400)
    side.tell(Handed("red", Shelve("hub: duty", 60 * S)))
    side.water(0, 5)
    assert side.rule.boom
    assert (side.local, side.loud, side.rule.boom.on) == ("RED", "DRY", True)
    side.water(0, 70)
    assert (side.loud, side.rule.boom.on) == ("RED", True), "and waits for the cabinet"
    side.tell(Handed(None, Acknowledge("Li Ming")))
    assert (side.water(0, 5).local, side.rule.boom.on) == ("DRY", False)


def test_evidence_goes_with_what_is_raised():
    side = Waterside().water(0, 300).water(45, 60)
    for notice in (*side.told("flood-confirmed"), *side.told("flood-siren")):
        assert notice.samples is not None
        assert set(notice.samples) == {"pressure", "radar", "staff"}
        assert all(len(s) >= 25 for s in notice.samples.values())
    assert "cm" in side.told("flood-siren")[0].detail


def again(side: Waterside, away_s: float = 3, **more: Any) -> Waterside:
    """The same spot in another process, from what the book has."""
    other = Waterside(kept=side.kept, boot="boot-2", now_us=side.now_us + round(away_s * S),
                      wall_us=side.wall_us + side.now_us - 100 * S + round(away_s * S), **more)
    other.sees = side.sees
    return other


def test_a_restart_in_a_flood_goes_on_at_once_and_asks_for_no_second_siren():
    side = Waterside().water(0, 20).water(45, 120)
    other = again(side)
    assert (other.local, other.loud, other.rule.flood) == ("RED", "RED", side.rule.flood)
    began_s = other.now_us / S
    assert other.did("relay-1.1 activate") == other.did("relay-1.2 activate") == other.did("voice-1 play") == [began_s]
    assert "禁止通行" in other.sign
    other.water(45, 1900)  # longer than the cool-down
    assert other.asked == []
    assert other.rule.beacon
    assert other.rule.beacon.on


def test_what_a_crash_may_have_cut_off_is_asked_for_again_under_the_same_id():
    side = Waterside().water(0, 20)
    while not side.asked:
        side.water(45, 1)
    other = again(side, away_s=2).water(45, 120)
    assert [a.order for a in other.asked] == [a.order for a in side.asked]


def test_at_every_second_of_a_flood_a_restart_makes_no_second_siren():
    side = Waterside().water(0, 20)
    for _ in range(45):
        side.water(45, 1)
        other = again(side).water(45, 40)
        assert len({a.order for a in (*side.asked, *other.asked)} - {""}) <= 1
        assert other.loud == "RED"


def test_after_a_restart_the_cool_down_goes_on_by_the_wall_clock():
    side = Waterside().water(0, 20).water(45, 60).water(0, 400)
    other = again(side, away_s=600).water(45, 60)
    assert other.asked == []
    other.water(45, 900)
    assert len(other.asked) == 1
    # As at every boot without the time, which is known a second later.
    month_us = WALL_US + 30 * 86400 * S
    late = Waterside(kept=side.kept, boot="boot-2", now_us=50 * S, wall_us=month_us, trust=Trust.UNTRUSTED)
    late.tell(Clock(month_us, 0, Trust.TRUSTED))
    assert len(late.water(0, 20).water(45, 60).asked) == 1
    blind = Waterside(kept=side.kept, boot="boot-3")
    blind.tell(Clock(WALL_US + 86400 * S, 0, Trust.UNTRUSTED))
    assert blind.water(45, 60).rule.flood.id


def test_a_spot_of_another_version_in_the_book_is_passed_over():
    alarms = {"red": "high", "mauve": ["ACKED", True], "blue": [1]}
    side = Waterside(kept={"flood": 7, "asked": "yes", "alarms": alarms})
    assert side.local == "DRY"


def test_a_sign_that_comes_back_is_told_again():
    side = Waterside().water(0, 20).water(45, 60)
    shows = len(side.did("sign-1 show"))
    side.tell(Presence("sign-1", False, "no answer"))
    side.tell(Presence("sign-1", True))
    assert len(side.did("sign-1 show")) > shows


@pytest.mark.parametrize(("channel", "what"), [(1, "beacon-unconfirmed"), (2, "boom-fault")])
def test_a_beacon_and_a_boom_whose_outputs_read_off_are_not_taken_for_on(channel: int, what: str):
    side = Waterside().water(0, 20).water(45, 60)
    for _ in range(25):
        side.water(45, 1)
        side.tell(Took("relay-1", (Reading("relay-1", f"relay_{channel}", False, Quality.GOOD, side.now_us),)))
    assert [n.detail for n in side.told(what)] == ["the output reads off"]
    assert side.rule.shown
    assert side.rule.shown.points["beacon"] is (None if channel == 1 else True)


def test_an_alarm_that_comes_and_goes_is_told_once_as_one_that_chatters():
    side = Waterside(rise_1_cm=100, rise_5_cm=200).water(0, 20)
    for _ in range(6):
        side.water(8, 60).water(0, 400)
    assert {n.detail for n in side.told("alarm-chattering")} == {
        "blue-suspected was raised 4 times in an hour", "blue was raised 4 times in an hour"}
    assert len(side.told("alarm-chattering")) == 2


def test_at_night_the_voice_is_lower():
    volumes = []
    for wall_us in (WALL_US, WALL_US + 14 * 3600 * S):
        side = Waterside(wall_us=wall_us).water(0, 20).water(45, 60)
        volumes.append({args["volume"] for _, action, args in side.begun if action == "voice-1 play"})
    assert volumes == [{30}, {15}]


COURSE = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 60), st.sampled_from([None, "pressure", "radar", "staff"]),
                            st.sampled_from(sorted(LIMITS))), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(COURSE)
def test_in_any_course_of_water_and_failures_nothing_sounds_without_a_vote(course: list[Any]):
    side = Waterside(GRANT)
    for cm, seconds, gauge, how in course:
        for id in side.sees:
            side.sees[id] = LIMITS[how] if id == gauge else float
        side.water(cm, seconds)
        if max(c for c, *_ in course) < 22:
            # Rising fast it is taken for one colour more: yellow at most from below fifteen, orange below 27.
            assert side.loud in ("DRY", "BLUE", "YELLOW", "ORANGE")
            assert side.asked == []
    assert len(side.asked) <= 1
