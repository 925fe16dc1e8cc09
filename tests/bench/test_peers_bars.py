"""The bars of the comparison with peers fall when ours is behind, and say nothing of what was not measured."""

from typing import Any

from bench.peers.run import DEAD, OURS, PEERS, bars, behind, name, table


def cell(**changes: Any) -> dict[str, Any]:
    ms = changes.pop("ms", 20.0)
    taken = {"n": 20, "median": ms, "p90": ms, "p99": ms, "max": ms}
    return {"orders": 20, "executed": 20, "duplicates": 0, "order_to_wire_ms": taken, "steal_free_ms": taken,
            "slowest_polls_per_s": 1.0, "largest_gap_s": 1.1, "load": 0.5, "steal_ticks": 0, **changes}


def all_cells() -> dict[str, dict[str, Any]]:
    return {name(peer, dead): cell() for peer in PEERS for dead in DEAD}


def test_who_is_level_with_all_reaches_every_bar() -> None:
    assert set(bars(all_cells()).values()) == {True}


def test_a_faster_peer_is_named_with_its_column() -> None:
    cells = all_cells() | {name(OURS, 3): cell(ms=40.0, largest_gap_s=2.0)}
    assert "median: plain, 3 dead" in behind(cells, 3)
    assert "gap: modpoll, 3 dead" in behind(cells, 3)
    assert bars(cells)["3 dead: first or tied in every column"] is False
    assert behind(cells, 1) == []


def test_a_peer_that_executed_nothing_is_ahead_in_no_latency() -> None:
    nothing = {"n": 0, "median": None, "p90": None, "p99": None, "max": None}
    cells = all_cells() | {name("modpoll", 1): cell(executed=0, order_to_wire_ms=nothing, steal_free_ms=nothing)}
    assert behind(cells, 1) == []
    assert "| modpoll | 1 of 4 | 0/20 | 0 | – |" in table(cells)


def test_each_bar_of_ours_can_fall() -> None:
    for change, bar in (({"executed": 19}, "ours: all executed"), ({"duplicates": 1}, "ours: no duplicate"),
                        ({"ms": 151.0}, "ours: steal-free p99 <= 150 ms"),
                        ({"slowest_polls_per_s": 0.94}, "ours: polls >= 95%")):
        assert bars(all_cells() | {name(OURS, 0): cell(**change)})[bar] is False


def test_the_healthy_median_is_held_against_the_fastest() -> None:
    cells = all_cells() | {name("plain", 0): cell(ms=5.0)}
    assert bars(cells)["healthy median within 10 ms of the fastest"] is False


def test_what_was_not_measured_is_not_judged() -> None:
    cells = all_cells()
    del cells[name("plain", 1)], cells[name(OURS, 0)]
    judged = bars(cells)
    assert judged["1 dead: first or tied in every column"] is None
    assert judged["3 dead: first or tied in every column"] is True
    assert judged["ours: all executed"] is None
