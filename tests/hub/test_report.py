"""The report: what counts as sounded, and that every siren ordered is counted once."""

from hypothesis import given
from hypothesis import strategies as st

from controller.wire import Action, Evidence, Mode, OrderBody, Sound
from hub import report
from hub.track import Ending, SirenResult

AT = "2026-09-18T02:00:00.000Z"


def order(action: Action = Action.SOUND) -> OrderBody:
    return OrderBody(
        v=1, id="a" * 32, deployment="demo", issuer="hub", issued_at=AT, not_before=AT, expires_at=AT, area="41",
        action=action, mode=Mode.DRILL, sequence=1, trust_version=1,
        sound=Sound(name="air-raid", digest="0" * 32) if action is Action.SOUND else None)


def siren(ending: Ending, sensed: int | None = None, gateway: str = "gw-1", name: str = "s-1", independent: bool = True,
          first_edge: str | None = None, late_ms: float | None = None, reason: str = "") -> SirenResult:
    evidence = None if sensed is None else Evidence(phases=5, commanded=5, sensed=sensed, independent=independent)
    return SirenResult(gateway, name, True, ending, ending.value, reason, evidence, first_edge, late_ms)


def test_only_independent_feedback_in_four_of_five_phases_counts() -> None:
    made = report.of(order(), [
        siren(Ending.FINISHED, 5), siren(Ending.FINISHED, 4, name="s-2"), siren(Ending.FAILED, 3, name="s-3"),
        siren(Ending.FINISHED, 0, name="s-4", independent=False), siren(Ending.NO_ANSWER, name="s-5"),
    ])
    assert (made.total.ordered, made.total.commanded, made.total.sensed, made.total.heard) == (5, 4, 2, 0)
    assert made.rate == 0.4
    assert made.unproved == ["gw-1/s-4"]
    assert not made.good
    assert "40.0 % = 2/5" in made.text()
    assert "无应答 no answer" in made.text()


def test_the_stopped_stay_among_the_ordered_and_are_told_apart() -> None:
    made = report.of(order(), [siren(Ending.FINISHED, 5), siren(Ending.STOPPED, 2, name="s-2", reason="Li Wei"),
                               siren(Ending.STOPPED, 4, name="s-3", reason="Li Wei")])
    assert made.rate == 2 / 3
    assert made.rate_without_stopped == 1.0
    assert made.reasons == {"stopped: Li Wei": ["gw-1/s-2", "gw-1/s-3"]}
    assert report.STOPPED_RULE in made.text()
    assert made.good


def test_skew_is_told_of_all_and_of_each_gateway() -> None:
    made = report.of(order(), [
        siren(Ending.FINISHED, 5, first_edge="2026-09-18T02:00:00.000100Z", late_ms=0.1),
        siren(Ending.FINISHED, 5, name="s-2", first_edge="2026-09-18T02:00:00.012100Z", late_ms=12.1),
        siren(Ending.FINISHED, 5, "gw-2", "s-3", first_edge="2026-09-18T02:00:00.050100Z", late_ms=50.1),
        siren(Ending.NO_ANSWER, None, "gw-2", "s-4"),
    ])
    assert made.total.skew_ms == 50.0
    assert [(line.gateway, line.skew_ms) for line in made.lines] == [("gw-1", 12.0), ("gw-2", None)]
    assert (made.late_p50_ms, made.late_max_ms) == (12.1, 50.1)


def test_a_stop_has_no_rate() -> None:
    made = report.of(order(Action.STOP), [siren(Ending.FINISHED), siren(Ending.REJECTED, name="s-2", reason="why")])
    assert made.rate is None
    assert not made.good
    assert "鸣响率" not in made.text()


def test_nobody_ordered_is_nothing_good() -> None:
    made = report.of(order(), [])
    assert (made.rate, made.good) == (None, False)
    assert made.text()


@given(st.lists(st.tuples(st.sampled_from(list(Ending)), st.one_of(st.none(), st.integers(0, 5)), st.booleans(),
                          st.sampled_from(["gw-1", "gw-2"])), max_size=12))
def test_every_siren_is_counted_once_and_never_better_than_its_evidence(
    drawn: list[tuple[Ending, int | None, bool, str]],
) -> None:
    sirens = [siren(e, sensed, g, f"s-{n}", ind) for n, (e, sensed, ind, g) in enumerate(drawn)]
    made = report.of(order(), sirens, 0)
    assert sum(made.total.endings.values()) == made.total.ordered == len(drawn)
    assert sum(line.ordered for line in made.lines) == len(drawn)
    assert made.total.sensed == sum(sensed is not None and sensed >= 4 and ind for _, sensed, ind, _ in drawn)
    assert made.good <= all(e in {Ending.FINISHED, Ending.STOPPED} for e, *_ in drawn)
    assert made.as_json()["rate"] == made.rate
    assert made.text()
