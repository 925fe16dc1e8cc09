"""What stays of a flood: the curve of every gauge in the journal, from which anybody can draw it again."""

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from controller import shelf, wire
from controller.ctl.flood_sheet import sheet
from controller.curve import svg
from controller.event import Record
from controller.floods import LEVEL, ROADSIDE
from controller.journal import Journal
from controller.shelf import Shelving
from firmware_bridge.machine import S
from hub import keys
from simulators.storm import parse
from tests.ceremony import DEPLOYMENT, LI, ZHANG
from tests.controller.test_flood_in_the_world import Underpass

MINUTES = "time_s,level_m\n0,0\n60,0\n180,0.5\n300,0.5\n420,0\n900,0\n"
"""Twenty-five centimetres a minute, two minutes of red water, drained as fast."""


def test_the_journal_has_the_whole_curve_and_every_action(tmp_path: Path) -> None:
    place = Underpass(tmp_path)
    world = place.world
    began_us = world.wall_us
    world.storm(parse(MINUTES, "m.csv")[0])
    world.run(900)
    station = world.stations["gw-1"]
    offset_us = world.wall_us - world.now_us
    kept = [(t_us + offset_us, r.kind, r.body) for t_us, r in station.records]
    assert 6 <= sum(kind == LEVEL for _, kind, _ in kept) <= 12, "one a minute, while it is wet"
    found = sheet("spot-1", kept, began_us, world.wall_us, 8.0)
    assert {line.name for line in found.lines} >= {"pressure", "sonar"}
    assert {line.name: line.unit for line in found.lines}["float"] == "contact"
    for line in found.lines:
        if line.name in ("pressure", "sonar"):
            level = dict(line.samples)
            near = min(level, key=lambda at_us: abs(at_us - began_us - 240 * S))
            assert abs(near - began_us - 240 * S) <= 11 * S
            assert level[near] == pytest.approx(50, abs=1.5)
            times = sorted(level)
            inside = [t for t in times if began_us + 70 * S <= t <= began_us + 415 * S]
            assert max(b - a for a, b in pairwise(inside)) <= 21 * S, "no hole in the curve"
    assert {limit.name: limit.at_cm for limit in found.limits} == {"blue": 5, "yellow": 15, "orange": 27, "red": 40}
    actions = [mark.what for mark in found.marks]
    assert actions.index("flood-suspected") < actions.index("flood-siren")
    assert {"flood-confirmed", "siren-started", "siren-finished"} <= set(actions)
    # What was done beside the road, in its order, and that all of it went back.
    assert [a for a in actions if a.startswith("boom")] == [
        "boom-asked-to-open", "boom-open", "boom-asked-to-close", "boom-closed", "boom-asked-to-open", "boom-open"]
    assert [a for a in actions if a.startswith("beacon")] == ["beacon-on", "beacon-off"]
    assert [a for a in actions if a.startswith("voice")] == ["voice-silent", "voice-speaks", "voice-silent"]
    texts = [mark.detail for mark in found.marks if mark.what == "sign-shows"]
    assert "缓慢通行" in texts[0]
    assert any("禁止通行" in text for text in texts)
    assert texts[-1] == "前方隧桥 谨慎驾驶"
    assert sum(kind == ROADSIDE for _, kind, _ in kept) < 60
    ElementTree.fromstring(svg(found))


def test_a_dry_road_writes_nothing(tmp_path: Path) -> None:
    place = Underpass(tmp_path)
    place.world.run(300)
    assert not [r for _, r in place.world.stations["gw-1"].records if r.kind in (LEVEL, ROADSIDE)]


def test_start_up_reads_no_levels(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / "j.db")
        journal.open()
        loaded = journal.load()
        done: list[str | None] = []
        journal.append(Record(LEVEL, {"spot": "x"}), done.append)
        journal.append(Record("alive", {}), done.append)
        journal.close()
        assert done == [None, None]
    assert [r.kind for r in loaded] == ["alive"]


def test_an_alarm_that_two_persons_shelved_from_afar_sounds_nothing_and_moves_the_sign(tmp_path: Path) -> None:
    place = Underpass(tmp_path)
    world = place.world

    def wish(alarm: str, *signers: dict[str, str], minutes: float = 10) -> None:
        body = Shelving(id="ab" * 16, deployment=DEPLOYMENT, gateway="gw-1", area="41/01/05/001/001", spot="spot-1",
                        alarm=alarm, issued_at=wire.to_text(world.wall_us), reason="检修 repair",
                        until=wire.to_text(world.wall_us + round(minutes * 60) * S))
        world.order(keys.sign(body, list(signers)), shelf.topic("gw-1"))

    wish("red", LI)
    world.run(1)
    assert place.events("shelf-refused")
    wish("red", LI, ZHANG)
    world.run(1)
    assert "by" in place.events("alarm-shelved")[0].detail
    world.storm(parse(MINUTES, "m.csv")[0])
    world.run(250)
    assert "禁止通行" in str(place.spot.points["sign"])
    assert place.sounds("relay-1", 1) == []
    wish("red", LI, ZHANG, minutes=0)
    world.run(30)
    assert place.events("alarm-unshelved")
    assert place.sounds("relay-1", 1)[0][1], "back in service, it sounds"
