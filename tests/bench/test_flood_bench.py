"""The flood bench: a thousand sensor-hours on the alarm machines, and a judge that finds a broken rule out."""

from pathlib import Path

import pytest

from bench import deluge, flood, underpass
from bench.deluge import RED_CM, SHAPES, Episode, Plan
from controller import lookout
from controller.alarm import Says
from controller.vote import Vote
from firmware_bridge.machine import S
from simulators.storm import Storm

EPISODES = 32
"""Each of two hours, with four gauges: 256 sensor-hours, and four times that in all."""


@pytest.mark.parametrize("part", range(4))
def test_a_thousand_sensor_hours_start_no_siren_for_nothing_and_miss_no_red_water(part: int) -> None:
    found = flood.run(range(1 + part * EPISODES, 1 + (part + 1) * EPISODES))
    assert found.stories == []
    assert found.hours == 256
    # Water that comes to red as an episode ends may have its start, and is no event yet.
    assert found.found["starts"] >= found.found["events"] >= 4
    assert set(found.shapes) == set(SHAPES)


def flash(peak_m: float) -> Storm:
    return Storm("flash", (0, 600 * S, 900 * S, 1500 * S, 3000 * S), (0, 0, peak_m, peak_m, 0), (0,) * 5)


def played(storm: Storm, seed: int = 12) -> deluge.Result:
    episode = Episode(Plan(seed))
    assert episode.plan.shape == "well"
    episode.storm = storm
    return episode.run()


def test_the_judge_counts_what_it_should() -> None:
    assert played(flash(0.6)).found == {"events": 1, "starts": 1}
    assert played(flash(RED_CM / 100 - 0.06)).found == {}


def test_the_judge_finds_a_rule_out_that_believes_one_gauge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vote, "confirmed", lambda vote, cm, low: Says.HIGH if vote._for(cm) else Says.LOW)
    wet = (Episode(Plan(seed)) for seed in range(SHAPES.index("flooded"), 1000, len(SHAPES)))
    episode = next(e for e in wet if e.result.whose == "float")
    episode.storm = flash(0.05)
    assert episode.run().found["false starts"] >= 1


def test_the_judge_finds_a_rule_out_that_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout.Lookout, "stands", lambda look, colour: False)
    assert played(flash(0.6)).found == {"events": 1, "missed events": 1}


def test_a_ledger_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "CHUNK", 1)
    ledger = tmp_path / "run/flood.jsonl"
    first = flood.feed(8, ledger, 1)
    assert first.seeds == [[1, 1]]
    ledger.write_text(ledger.read_text() + '{"seeds": [2, 2], "hou')
    again = flood.feed(24, ledger, 1)
    assert again.seeds == [[1, 1], [2, 2], [3, 3]]
    assert flood.recall(ledger) == flood.Sum(**{**vars(again), "stories": []})
    monkeypatch.setattr(flood, "core", lambda: "another")
    assert flood.recall(ledger) == flood.Sum(), "what was played with other machines does not count"


def test_a_sign_warns_in_time_with_all_gauges_and_with_one_dead(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "STEPS_CM", (17,))
    hasty = underpass.ground(tmp_path, hasty=True)
    assert max(flood.lags(hasty, None)) <= flood.SIGHT_S
    assert max(flood.lags(hasty, "press-1")) <= flood.BLIND_S


def test_a_flash_flood_is_warned_of_a_minute_before_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "FAULTS", ((), (("press-1", "stuck", 1.0),)))
    assert min(flood.early(underpass.ground(tmp_path)).values()) >= flood.EARLY_S
