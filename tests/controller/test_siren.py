"""The siren machine on a made-up field: its edges at their instants, each lease within its phase, and each tone."""

from itertools import pairwise
from math import ceil

import pytest

from controller.signal import Phase, Segment, Timeline
from controller.wire import Stage
from firmware_bridge.machine import MS, S
from firmware_bridge.move import resolve
from firmware_bridge.profile import Profile, ProfileSpec, parse
from tests.controller.bench_siren import BOARD, COILS, CONFIGS, HEAD, HORN, SIGNALS, T0, Field, phases


@pytest.mark.parametrize("name", ["pre-alert", "air-raid", "all-clear"])
@pytest.mark.parametrize("drive", [BOARD, COILS, HEAD, HORN], ids=["B", "C", "B' trigger", "B' level"])
def test_the_national_three_have_their_published_edges(drive: Profile, name: str) -> None:
    f = Field(drive).run(T0)
    f.clock()
    f.order(name, start_us=T0 + 20 * S)
    f.run(T0 + 240 * S)
    assert f.ons() == phases(name, T0 + 20 * S)
    end = f.end()
    assert (end.stage, end.reason) == (Stage.FINISHED, "")
    assert f.evidence().sounded
    n = len(SIGNALS.timeline(name).phases)
    assert (f.evidence().phases, f.evidence().commanded, f.evidence().sensed) == (n, n, n)
    assert f.stages() == ["started", "sensed", "finished"]
    assert end.first_edge_us == end.ordered_us == T0 + 20 * S
    assert f.notices == []


def test_every_edge_is_handed_over_ahead_with_its_instant() -> None:
    f = Field().run(T0)
    f.clock()
    f.order("air-raid", start_us=T0 + 20 * S)
    f.run(T0 + 240 * S)
    edges = [b for _, b in f.begins if b.action != "renew"]
    ordered = [us for pair in phases("air-raid", T0 + 20 * S) for us in pair]
    assert [b.at_us for b in edges] == ordered
    assert all(t <= (b.at_us or 0) - 1400 * MS for t, b in f.begins if b.action != "renew")
    assert all(b.expires_us is not None for b in edges if b.action == "activate")
    assert len({b.token for _, b in f.begins}) == len(f.begins)


def test_a_head_whose_register_takes_less_than_a_phase_sounds_that_long_and_it_is_said() -> None:
    page = (CONFIGS / "profiles" / "evikon_ek61.toml").read_text(encoding="utf-8")
    horn = parse(page.replace("high = 14400", "high = 120.5"), "short_horn", "short_horn.toml")
    f = Field(horn, polled=False).run(T0)
    f.order("all-clear")
    f.run(T0 + 200 * S)
    (begin,) = [b for _, b in f.begins if b.action == "activate"]
    assert resolve(horn, begin), "what was asked for fits into the register"
    assert f.ons() == [(T0, T0 + 120 * S)]
    assert f.end().deviations == ("on-phase of 180 s cut to 120 s, the output's own limit",)


@pytest.mark.parametrize("name", ["pre-alert", "air-raid", "all-clear", "disaster-chongqing", "disaster-qingdao"])
def test_a_lease_is_min_5_s_and_the_rest_of_the_phase(name: str) -> None:
    f = Field().run(T0)
    f.order(name)
    f.run(T0 + 250 * S)
    on = phases(name, T0)
    leases = [(max(t, b.at_us or 0), b.args) for t, b in f.begins if b.args]
    assert leases
    for us, args in leases:
        off = next(end for start, end in on if start <= us < end)
        assert args["lease_s"] == pytest.approx(min(5.0, (off - us) / S))
        assert args["rest_s"] == ceil((off - us) / S)
    assert f.ons() == on


def test_with_the_gateway_dead_the_board_ends_the_phase() -> None:
    f = Field().run(T0)
    f.order("all-clear")
    f.run(T0 + 61 * S)
    f.later(f.now, lambda: setattr(f, "dead", True))
    f.run(T0 + 80 * S)
    assert f.ons()[0][1] <= T0 + 61 * S + 5 * S


def test_a_board_with_a_watchdog_is_fed_through_the_phase() -> None:
    data = COILS.spec.model_dump(by_alias=True, exclude_unset=True)
    data["output"] = {"class": "A", "state": "relay", "watchdog_s": 5}
    data["actions"]["renew"] = [{"set": "relay", "to": True}]
    f = Field(Profile("board", "board.toml", ProfileSpec.model_validate(data))).run(T0)
    f.order("pre-alert")
    f.run(T0 + 200 * S)
    assert f.ons() == phases("pre-alert", T0)
    fed = [t for t, b in f.begins if b.action in ("activate", "renew") and t < T0 + 36 * S]
    assert max(b - a for a, b in pairwise([*fed, T0 + 36 * S])) < 5 * S


def test_an_order_for_now_sounds_at_once() -> None:
    f = Field().run(T0)
    f.live()
    f.run(T0 + 10 * S)
    assert f.ons()[0] == (T0, T0 + 6 * S)


def test_a_head_gets_its_tone_and_the_deviation_is_told() -> None:
    timeline = Timeline((Segment("x", 0, 10 * S),), (Phase(0, 4 * S, "wail"), Phase(6 * S, 9 * S, "hilo")))
    f = Field(HEAD).run(T0)
    f.order(timeline)
    f.run(T0 + 15 * S)
    assert [b.args["tone"] for _, b in f.begins if b.args] == ["wail", "steady"]
    assert f.end().deviations == ("tone hilo sounded as steady",)


def test_phases_that_touch_are_not_parted_by_an_off() -> None:
    timeline = Timeline((Segment("x", 0, 10 * S),), (Phase(0, 4 * S, "wail"), Phase(4 * S, 8 * S, "steady")))
    f = Field(HEAD).run(T0)
    f.order(timeline)
    f.run(T0 + 15 * S)
    assert f.ons() == [(T0, T0 + 8 * S)]
    assert f.evidence().commanded == 2
