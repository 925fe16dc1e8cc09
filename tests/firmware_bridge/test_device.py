"""The device: what it polls and when, block by block, what it reads on demand; and any answers in any order."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.device import TRANSITIONS, Device, State
from firmware_bridge.event import (
    Ended,
    Expired,
    Finished,
    LinkDown,
    LinkLost,
    LinkUp,
    Outcome,
    Presence,
    Priority,
    Read,
    ReadNow,
    Refused,
    Skipped,
    Transaction,
    Withdrawn,
)
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.profile import load_all
from firmware_bridge.reading import NoValue, Quality, Took
from tests.firmware_bridge.bench_device import GAUGE, LAG_US, PLAIN, SILENT, Bench, H, always, profile_of

# Polls.


def test_nothing_is_polled_before_the_link_is_up(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN))
    bench.run(10 * S)
    assert bench.wire == []
    assert bench.device.deadline is None


def test_points_that_are_due_together_are_one_read_with_the_lines_terms(tmp_path: Path) -> None:
    line = "[line]\ntimeout_ms = 400\nturnaround_ms = 30\nmin_gap_ms = 60\n"
    bench = Bench(profile_of(tmp_path, line + PLAIN), unit=7).link_up()
    bench.run(1 * S)
    ((_, poll),) = bench.wire
    assert poll.request == Read(H, 0, 2)
    assert (poll.owner, poll.unit, poll.priority) == ("dev", 7, Priority.POLL)
    assert (poll.timeout_us, poll.turnaround_us, poll.gap_us) == (400 * MS, 30 * MS, 60 * MS)


def test_two_periods_share_a_read_where_they_coincide(tmp_path: Path) -> None:
    text = '[points]\na = { at = "holding:0", poll_ms = 1000 }\nb = { at = "holding:1", poll_ms = 3000 }\n'
    bench = Bench(profile_of(tmp_path, text)).link_up()
    bench.run(6 * S)
    assert [t.request.count for _, t in bench.wire if isinstance(t.request, Read)] == [2, 1, 1, 2, 1, 1]


def test_polls_keep_their_beat_and_expire_before_the_next(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN), unit=3).link_up()
    bench.run(20 * S)
    times = [at_us for at_us, _ in bench.wire]
    assert [t - times[0] for t in times] == [n * S for n in range(20)]
    assert all(at_us < (t.expires_us or 0) < at_us + S for at_us, t in bench.wire)
    assert len({t.id for _, t in bench.wire}) == 20


def test_first_polls_of_units_are_spread_and_all_within_the_first_period(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, PLAIN)
    first: list[int] = []
    for unit in range(1, 33):
        bench = Bench(profile, unit=unit).link_up()
        bench.run(1 * S)
        first.append(bench.wire[0][0])
        again = Bench(profile, unit=unit).link_up()
        again.run(1 * S)
        assert again.wire == bench.wire
    assert max(Counter(first).values()) <= 3


def test_the_unit_has_its_time_after_a_connect(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, "[line]\nconnect_delay_ms = 2000\n" + PLAIN)).link_up()
    bench.run(1999 * MS)
    assert bench.wire == []
    bench.run(1 * S)
    assert len(bench.wire) == 1


def test_a_poll_that_is_still_out_is_not_sent_again(tmp_path: Path) -> None:
    device = Device("dev", "bus", 1, profile_of(tmp_path, PLAIN))
    sent = device.handle(0, LinkUp("bus"))
    for n in range(10):
        sent += device.handle(n * S + S // 2, Woken())
    (submit,) = sent
    again = device.handle(10 * S, Finished("bus", submit.transaction, Expired(), None))
    assert again == []
    assert len(device.handle(11 * S, Woken())) == 1


def test_missed_instants_are_left_out_and_not_made_up_for(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.run(2 * S)
    before = len(bench.wire)
    bench.now_us += 100 * S
    bench.run(0)
    bench.run(500 * MS)
    assert len(bench.wire) - before <= 2
    assert (bench.device.deadline or 0) % S == bench.wire[0][0] % S


def test_what_is_written_only_is_never_read(tmp_path: Path) -> None:
    text = PLAIN + 'c = { at = "holding:2", readable = false, write = "level" }\n'
    bench = Bench(profile_of(tmp_path, text)).link_up()
    bench.run(5 * S)
    assert {t.request for _, t in bench.wire} == {Read(H, 0, 2)}
    assert bench.value("c") is NoValue.NEVER_READ


def test_a_link_that_went_down_is_not_polled_and_polled_at_once_when_up(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.run(5500 * MS)
    bench.tell(LinkDown("bus", "unplugged"))
    sent = len(bench.wire)
    bench.run(60 * S)
    assert len(bench.wire) == sent
    bench.link_up()
    bench.run(1 * S)
    assert len(bench.wire) == sent + 1


# Blocks that the unit refuses.


def test_a_refused_block_is_parted_for_good_until_only_the_culprit_is_bad(tmp_path: Path) -> None:
    text = "[points]\n" + "".join(f'p{n} = {{ at = "holding:{n}", poll_ms = 1000 }}\n' for n in range(8))
    bench = Bench(profile_of(tmp_path, text)).link_up()
    bench.memory.update({(H, n): 100 + n for n in range(8)})

    def holed(t: Transaction) -> Outcome | None:
        assert isinstance(t.request, Read)
        return Refused(2) if t.request.address <= 5 < t.request.address + t.request.count else None

    bench.fault = holed
    bench.run(1 * S)
    assert [bench.value(f"p{n}") for n in range(8)] == [100, 101, 102, 103, 104, NoValue.REFUSED, 106, 107]
    assert bench.all(Presence) == [Presence("dev", True)]
    bench.wire.clear()
    bench.run(1 * S)
    reads = [t.request for _, t in bench.wire]
    assert reads == [Read(H, 0, 4), Read(H, 4, 1), Read(H, 5, 1), Read(H, 6, 2)]


def test_a_unit_that_refused_everything_for_a_while_is_asked_for_whole_blocks_again(tmp_path: Path) -> None:
    """Else eight reads stood for one ever after, and a slow line had no room for them."""
    text = "[points]\n" + "".join(f'p{n} = {{ at = "holding:{n}", poll_ms = 1000 }}\n' for n in range(8))
    bench = Bench(profile_of(tmp_path, text)).link_up()
    bench.run(1 * S)
    bench.fault = lambda t: Refused(2)
    bench.run(5 * S)
    assert [bench.value(f"p{n}") for n in range(8)] == [NoValue.REFUSED] * 8
    bench.fault = lambda t: None
    bench.run(2 * S)
    bench.wire.clear()
    bench.run(1 * S)
    assert [t.request for _, t in bench.wire] == [Read(H, 0, 8)]
    assert [bench.value(f"p{n}") for n in range(8)] == [0] * 8


def test_a_hole_that_the_unit_does_not_answer_for_is_parted_at(tmp_path: Path) -> None:
    text = '[line]\nhole = 10\n[points]\n' + "".join(
        f'p{n} = {{ at = "holding:{n}", poll_ms = 1000 }}\n' for n in (0, 1, 2, 9))
    bench = Bench(profile_of(tmp_path, text)).link_up()
    bench.fault = lambda t: Refused(3) if isinstance(t.request, Read) and t.request.count > 3 else None
    bench.run(1 * S)
    assert [t.request for _, t in bench.wire] == [Read(H, 0, 10), Read(H, 0, 3), Read(H, 9, 1)]
    assert all(r.quality is Quality.GOOD for t in bench.all(Took) for r in t.readings), "a parting is not a failure"


@pytest.mark.parametrize("code", [1, 4, 6])
def test_other_refusals_part_nothing(tmp_path: Path, code: int) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN)).link_up()
    bench.fault = always(Refused(code))
    bench.run(2 * S)
    assert {t.request for _, t in bench.wire} == {Read(H, 0, 2)}
    assert bench.value("a") is NoValue.REFUSED


# Reads on demand.


def test_read_now_reads_what_is_not_polled_with_what_it_depends_on(tmp_path: Path) -> None:
    text = GAUGE.replace("poll_ms = 1000, ", "")
    bench = Bench(profile_of(tmp_path, text))
    bench.memory.update({(H, 3): 1, (H, 10): 123})
    bench.tell(ReadNow("dev", ("level",), 5))
    bench.run(1 * S)
    assert bench.value("level") == pytest.approx(12.3)
    assert {t.priority for _, t in bench.wire} == {Priority.READ_BACK}
    assert bench.all(Ended) == [Ended("dev", 5, "read", True)]


def test_read_now_says_what_went_wrong(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN + 'c = { at = "holding:9", readable = false }\n'))
    bench.fault = always(SILENT)
    for token, points in enumerate([("x",), ("c",), ("a",)]):
        bench.tell(ReadNow("dev", points, token))
        bench.run(1 * S)
    assert [(e.token, e.done, e.why) for e in bench.all(Ended)] == [
        (0, False, "no point 'x'; points: a, b, c"), (1, False, "c cannot be read"), (2, False, "a: no answer")]


def test_reads_on_demand_are_limited(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, PLAIN))
    for token in range(20):
        bench.tell(ReadNow("dev", ("a",), token))
    assert len(bench.pending) == 8
    assert {e.why for e in bench.all(Ended)} == {"too many reads under way"}
    bench.run(1 * S)
    assert len(bench.all(Ended)) == 20


# Everything at once.


def test_every_state_takes_every_event() -> None:
    assert set(TRANSITIONS) == {(state, what) for state in State
                                for what in ("answered", "silent thrice", "link lost", "link up")}


OUTCOMES: list[Outcome | None] = [
    None, None, None, SILENT, Refused(2), Refused(4), Expired(), Skipped("x"), Withdrawn(), LinkLost("x")]


@settings(max_examples=60, deadline=None)
@given(outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=60), data=st.data())
def test_no_value_is_ever_believed_that_was_not_read(
    outcomes: list[Outcome | None], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the bus says: a GOOD value is what the unit held at most three periods ago."""
    bench = Bench(profile_of(tmp_path_factory.mktemp("p"), GAUGE)).link_up()
    held: dict[int, int] = {}
    bench.memory[H, 3] = 1
    answers = iter(outcomes)

    def fault(t: Transaction) -> Outcome | None:
        if t.request == Read(H, 10, 1):
            bench.memory[H, 10] = held[bench.now_us - LAG_US] = len(held)
        return next(answers, None)

    bench.fault = fault
    for _ in range(30):
        bench.run(data.draw(st.integers(1, 3)) * 300 * MS)
        reading = bench.device.reading("level", bench.now_us)
        if reading.quality is Quality.GOOD:
            assert reading.age_us(bench.now_us) <= 3 * S
            assert reading.value == pytest.approx(held[reading.at_us] / 10)


MODBUS = [p for p in load_all(Path(__file__).parents[2] / "configs" / "profiles").values() if not p.messages]


@pytest.mark.parametrize("profile", MODBUS, ids=lambda p: p.id)
def test_every_modbus_profile_of_the_project_is_polled_whole_within_its_first_periods(profile) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(profile, unit=5).link_up()
    polled = [p for p in profile.points.values() if p.spec.poll_ms]
    bench.run(max((p.spec.poll_ms or 0) for p in polled) * MS + profile.line.connect_delay_ms * MS)
    told = {r.point for t in bench.all(Took) for r in t.readings}
    assert {p.name for p in polled} <= told
    setup = {profile.point(s.set).address for s in profile.actions.get("setup", ()) if s.set}
    assert {w.request.address for w in bench.writes()} <= setup, "what was not asked for is not written"
