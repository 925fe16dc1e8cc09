"""Sixty minutes in 24 hours: what is counted, what opens it anew, and what a restart knows of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from controller import allowance, wire
from controller.allowance import ALLOWED_US, DAY_US, SOUNDINGS_LIMIT, Allowance, Before, restored
from controller.event import Activate, Append, Clock, Rank, Record, Trust
from controller.signal import Phase, Segment, Timeline
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S
from tests.attacks.ground import Ground
from tests.controller.bench_orders import LI, WANG, ZHANG, Desk, drill, live, name, of, order
from tests.controller.bench_siren import T0, WALL, Field, beat

MINUTE = 60 * S
HOUR = 60 * MINUTE


def clock(wall_us: int, trust: Trust = Trust.TRUSTED) -> Clock:
    return Clock(wall_us, 0, trust)


def steady(minutes: float) -> Timeline:
    end_us = round(minutes * MINUTE)
    return Timeline((Segment("x", 0, end_us),), (Phase(0, end_us),))


# The count.


def test_what_was_spent_comes_back_a_day_after_its_end() -> None:
    one = Allowance()
    assert one.left_us(0) == ALLOWED_US == HOUR
    one.spend(10 * MINUTE, 10 * MINUTE)
    one.spend(2 * HOUR, 20 * MINUTE)
    assert one.left_us(2 * HOUR) == 30 * MINUTE
    assert one.left_us(DAY_US + 10 * MINUTE - 1) == 30 * MINUTE
    assert one.left_us(DAY_US + 10 * MINUTE) == 40 * MINUTE
    assert one.left_us(DAY_US + 2 * HOUR) == HOUR
    one.spend(2 * DAY_US, 2 * HOUR)
    assert one.left_us(2 * DAY_US) == 0, "never below nothing"
    one.renew()
    assert one.left_us(2 * DAY_US) == HOUR


def test_many_short_ones_are_counted_in_bounded_memory_and_never_too_little() -> None:
    one = Allowance()
    for n in range(2 * SOUNDINGS_LIMIT):
        one.spend(n * MINUTE, S)
    assert len(one._spent) == SOUNDINGS_LIMIT == 256
    assert one.left_us(2 * SOUNDINGS_LIMIT * MINUTE) == HOUR - 2 * SOUNDINGS_LIMIT * S
    # What was put together is as old as the younger of the two.
    assert one.left_us(DAY_US) == HOUR - 2 * SOUNDINGS_LIMIT * S
    assert one.left_us(DAY_US + 2 * SOUNDINGS_LIMIT * MINUTE) == HOUR


def test_a_drill_begins_whole_or_not_and_a_warning_while_anything_is_left() -> None:
    phases = [Phase(0, 10 * S), Phase(20 * S, 30 * S)]
    assert not allowance.refuses(Mode.DRILL, phases, 20 * S)
    assert allowance.refuses(Mode.DRILL, phases, 20 * S - 1)
    assert not allowance.refuses(Mode.LIVE, phases, 1)
    assert allowance.refuses(Mode.LIVE, phases, 0)


@pytest.mark.parametrize(("left_s", "offset_s"), [
    (0, 0), (4, 4), (9.5, 9.5), (10, 20), (15, 25), (20, 50), (29, 59), (30, None), (100, None)])
def test_where_a_sounding_has_used_it_up(left_s: float, offset_s: float | None) -> None:
    phases = [Phase(0, 10 * S), Phase(20 * S, 30 * S), Phase(50 * S, 60 * S)]
    found = allowance.exhausted_us(phases, round(left_s * S))
    assert found == (None if offset_s is None else round(offset_s * S))


# A restart.


def at(minute: float) -> str:
    return wire.to_text(WALL + round(minute * MINUTE))


def accepted(order: str = "o", minutes: float = 10, **more: Any) -> Record:
    return Record("accept", {"order": order, "limit_us": round(minutes * MINUTE), **more})


def receipt(stage: Stage, minute: float, order: str = "o", siren: str = "s-1") -> Record:
    return Record("receipt", {"seq": 1, "gateway": "g", "order": order, "siren": siren, "stage": stage,
                              "at": at(minute)})


def sounded(minutes: float, minute: float | None, order: str = "o", siren: str = "s-1") -> Record:
    body = {"order": order, "siren": siren, "us": round(minutes * MINUTE)}
    return Record("sounded", body | ({} if minute is None else {"at": at(minute)}))


def left_minutes(records: list[Record], minute: float, trust: Trust = Trust.TRUSTED, siren: str = "s-1") -> float:
    """What a gateway that starts then finds left, when it has heard the clock."""
    one = Allowance()
    one.before.restore(restored(records).get(siren, ()))
    one.place(5 * S, clock(WALL + round(minute * MINUTE), trust))
    return one.left_us(5 * S) / MINUTE


WHOLE = [accepted(), receipt(Stage.STARTED, 0), receipt(Stage.SENSED, 0.1), sounded(3, 5), receipt(Stage.FINISHED, 5)]


def test_what_ended_before_the_restart_counts_as_it_was() -> None:
    assert left_minutes(WHOLE, 6) == 57
    assert left_minutes(WHOLE, 6, siren="s-2") == 60
    assert left_minutes(WHOLE, 5 + 24 * 60 - 0.1) == 57
    assert left_minutes(WHOLE, 5 + 24 * 60) == 60


def test_without_a_believed_clock_all_of_it_counts_until_there_is_one() -> None:
    week = 7 * 24 * 60
    assert left_minutes(WHOLE, week, Trust.UNTRUSTED) == 57
    assert left_minutes(WHOLE, week, Trust.ASSUMED) == 60
    one = Allowance()
    one.before.restore(restored(WHOLE)["s-1"])
    assert one.left_us(DAY_US * 9) == 57 * MINUTE
    one.spend(6 * S, MINUTE)
    one.place(7 * S, clock(WALL + 10 * MINUTE))
    assert one.left_us(7 * S) == 56 * MINUTE
    # What was before the restart is older than what was after it.
    assert one.left_us(DAY_US - 5 * MINUTE + 7 * S) == 59 * MINUTE
    one.place(8 * S, clock(WALL + week * MINUTE))
    assert one.left_us(8 * S) == 59 * MINUTE, "placed once"


def test_what_nobody_can_date_counts_as_just_now() -> None:
    undated = [accepted(), receipt(Stage.STARTED, 0), sounded(3, None)]
    assert left_minutes(undated, 7 * 24 * 60) == 57
    future = [accepted(), receipt(Stage.STARTED, 0), sounded(3, 60)]
    assert left_minutes(future, 5) == 57
    one = Allowance()
    one.before.restore(restored(future)["s-1"])
    one.place(0, clock(WALL))
    assert one.left_us(DAY_US - 1) == 57 * MINUTE
    assert one.left_us(DAY_US) == 60 * MINUTE


def test_what_a_crash_cut_counts_from_its_start_to_now_and_no_more_than_its_limit() -> None:
    cut = [accepted(), receipt(Stage.STARTED, 0), receipt(Stage.HEARD, 0.2)]
    assert left_minutes(cut, 4) == 56
    assert left_minutes(cut, 11) == 50
    assert left_minutes(cut, 0) == 50, "a clock that stands or went back tells nothing"
    assert left_minutes(cut, -5) == 50
    assert left_minutes(cut, 4, Trust.UNTRUSTED) == 50
    assert left_minutes([receipt(Stage.SENSED, 0)], 999) == pytest.approx(60 - 45 - 10 / 60), "a programme's longest"
    assert left_minutes([accepted(), receipt(Stage.ACCEPTED, 0)], 4) == 60
    over = [accepted(), receipt(Stage.STARTED, 0), receipt(Stage.FAILED, 4)]
    assert left_minutes(over, 5) == left_minutes(over, 3 + 24 * 60) == 56
    assert left_minutes(over, 4 + 24 * 60) == 60, "what is dated comes back a day after its end"


def test_what_was_cut_and_taken_up_again_counts_in_both_parts() -> None:
    cut = [accepted(), receipt(Stage.STARTED, 0), receipt(Stage.STARTED, 2), receipt(Stage.SENSED, 2)]
    assert left_minutes(cut, 5) == 60 - 2 - 3
    assert left_minutes([*cut, sounded(1, 4), receipt(Stage.FINISHED, 4)], 5) == 60 - 2 - 1
    # Its own record could not be written; its last receipt could.
    assert left_minutes([*cut, receipt(Stage.STOPPED, 5)], 6) == 60 - 2 - 3
    assert left_minutes([*cut, receipt(Stage.FAILED, 400)], 500) == 60 - 2 - 10
    assert left_minutes([*cut, receipt(Stage.FAILED, 1)], 500) == 60 - 2 - 10, "a clock that went back"
    assert left_minutes([*cut, receipt(Stage.FAILED, 2)], 500) == 60 - 2, "over as it began"


def test_a_record_that_comes_behind_its_last_receipt_stands_in_the_place_of_what_was_guessed() -> None:
    late = [accepted(), receipt(Stage.STARTED, 0), receipt(Stage.FINISHED, 5)]
    assert left_minutes(late, 6) == 55
    assert left_minutes([*late, sounded(3, 5)], 6) == 57
    assert left_minutes([sounded(1, -9, "m"), *late, sounded(3, 5)], 6) == 56, "another order's is its own"
    # The guess is gone with the day that two persons ended; the record is counted all the same.
    new = [accepted("n", fresh=True), receipt(Stage.STARTED, 10, "n")]
    assert left_minutes([*late, *new, sounded(3, 5)], 11) == 60 - 3 - 1


def test_two_persons_open_it_anew_before_any_clock_is_believed_too() -> None:
    one = Allowance()
    one.before.restore(restored(WHOLE)["s-1"])
    one.renew()
    assert one.left_us(0) == HOUR
    one.place(0, clock(WALL + 6 * MINUTE))
    assert one.left_us(0) == HOUR


def test_two_persons_fresh_order_forgets_what_was_before_its_start_once() -> None:
    new = [accepted("n", fresh=True), receipt(Stage.STARTED, 10, "n")]
    assert left_minutes([*WHOLE, new[0]], 11) == 57, "accepted is not begun"
    assert left_minutes([*WHOLE, *new, sounded(1, 12, "n")], 13) == 59
    assert left_minutes([*WHOLE, *new, receipt(Stage.STARTED, 12, "n"), sounded(1, 13, "n")], 14) == 60 - 2 - 1
    assert left_minutes([*WHOLE, accepted("n", fresh="yes"), *new[1:], sounded(1, 12, "n")], 13) == 56
    others = [accepted("m", minutes=4), receipt(Stage.STARTED, 0, "m", "s-2"), *new]
    assert left_minutes(others, 14, siren="s-2") == 56, "another siren's day goes on"


@pytest.mark.parametrize("odd", [
    Record("sounded", {"order": "o", "siren": "s-1", "us": -1}), Record("sounded", {}),
    Record("receipt", {"seq": "x"}), Record("accept", {}), Record("accept", {"order": "o", "limit_us": "ten"}),
    Record("trust", {"order": "o"}),
    Record("sounded", {"order": "o", "siren": "s-1", "us": 1, "at": "2026-02-30T00:00:00.000Z"}),
])
def test_what_another_version_wrote_is_passed_over(odd: Record) -> None:
    assert left_minutes([odd, *WHOLE, odd], 6) == 57


# A siren.


def spent(f: Field, minutes: float) -> None:
    f.siren.restore([Before(round(minutes * MINUTE))])


def test_a_drill_that_exceeds_it_is_refused_now_and_fails_at_its_time() -> None:
    f = Field().run(T0)
    spent(f, 59)
    f.clock()
    f.order(beat(61))
    assert (f.end().stage, f.end().reason) == (Stage.REJECTED, "daily-limit")
    f.order(beat(61), id="o-2", start_us=T0 + 60 * S)
    assert f.stages("o-2") == [], "what is armed is asked at its time"
    f.order(beat(60), id="o-3", start_us=T0 + 120 * S)
    f.run(T0 + 200 * S)
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.FAILED, "daily-limit")
    assert (f.end("o-3").stage, f.end("o-3").on_us) == (Stage.FINISHED, 60 * S)
    assert f.ons() == [(T0 + 120 * S, T0 + 180 * S)]
    f.order(beat(3), id="o-4", rank=Rank.TECHNICIAN, growl=True)
    assert f.end("o-4").reason == "daily-limit", "a technician is told the same"


def test_a_day_later_it_sounds_again() -> None:
    f = Field(feedback=False, polled=False).run(T0)
    spent(f, 60)
    f.clock()
    f.run(T0 + DAY_US - S)
    f.order(beat(5))
    assert f.end().reason == "daily-limit"
    f.run(T0 + DAY_US)
    f.order(beat(5), id="o-2")
    f.run(f.now + 10 * S)
    assert f.end("o-2").stage is Stage.FINISHED


def test_a_warning_that_nobody_has_just_signed_is_ended_where_it_is_used_up() -> None:
    f = Field().run(T0)
    spent(f, 59.5)
    f.clock()
    f.live(beat(20, 10, 20))
    assert f.notice("daily-limit") == [T0]
    f.run(T0 + 60 * S)
    assert f.ons() == [(T0, T0 + 20 * S), (T0 + 30 * S, T0 + 40 * S)]
    assert (f.end().stage, f.end().reason, f.end().on_us) == (Stage.STOPPED, "daily-limit", 30 * S)
    f.live(beat(5), id="o-2")
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "daily-limit")


def test_two_persons_who_have_just_signed_open_it_anew() -> None:
    f = Field().run(T0)
    spent(f, 60)
    f.clock()
    f.siren_told(Activate("s-1", "o-1/s-1", "o-1", Mode.LIVE, Rank.AIR_RAID, steady(40), None, HOUR, "two", fresh=True))
    assert f.notice("daily-limit") == []
    f.run(T0 + 41 * MINUTE)
    assert f.end().stage is Stage.FINISHED
    f.order(beat(19 * 60), id="o-2")
    f.run(f.now + 20 * MINUTE)
    assert f.end("o-2").stage is Stage.FINISHED
    f.order(beat(61), id="o-3")
    assert f.end("o-3").reason == "daily-limit"


def test_what_sounds_counts_while_it_sounds() -> None:
    f = Field().run(T0)
    spent(f, 30)
    f.clock()
    f.order(steady(20), rank=Rank.DRILL)
    f.run(T0 + 19 * MINUTE)
    # It would end it, and 11 min are left.
    f.live(steady(12), id="o-2")
    assert f.notice("daily-limit") == [T0 + 19 * MINUTE]
    f.run(f.now + 20 * MINUTE)
    assert (f.end().stage, f.end().reason) == (Stage.STOPPED, "outranked")
    assert f.end("o-2").reason == "daily-limit"
    assert 30 * MINUTE - 100 * MS < sum(b - a for a, b in f.ons()) <= 30 * MINUTE


def test_silences_and_what_was_stopped_before_do_not_count() -> None:
    f = Field().run(T0)
    f.order(beat(10, 50, 10, 50, 10, 50))
    f.run(T0 + 65 * S)
    f.stop()
    f.run(f.now + 5 * S)
    assert f.end().on_us == 15 * S
    f.clock()
    f.order(beat(5), id="o-2", start_us=f.now + 60 * S)
    f.stop()
    f.run(f.now + 5 * S)
    assert f.end("o-2").on_us == 0


# Orders.


def kept(out: list[Any]) -> list[dict[str, Any]]:
    return [dict(a.record.body) for a in of(Append, out) if a.record.kind == "sounded"]


def fresh(desk: Desk, data: bytes) -> set[bool]:
    return {a.fresh for a in of(Activate, desk.written(desk.arrives(data)))}


@pytest.mark.parametrize(("data", "is_fresh"), [
    (live(), True),
    (live(start_s=200), True),
    (order(LI, ZHANG, mode="drill"), True),
    (drill(), False),
    (order(LI, WANG, mode="drill"), False),
])
def test_who_opens_it_anew(data: bytes, is_fresh: bool) -> None:
    assert fresh(Desk(), data) == {is_fresh}


def test_what_was_signed_more_than_ten_minutes_before_its_start_opens_nothing() -> None:
    def ahead(start_s: int) -> bytes:
        return live(start_s=start_s, expires_at=later(start_s), not_before=later(start_s - 60))

    def later(s: int) -> str:
        return wire.to_text(wire.to_wall_us("2026-09-18T02:00:00.000Z") + s * S)

    assert fresh(Desk(), ahead(600)) == {True}
    assert fresh(Desk(), ahead(601)) == {False}


def test_how_long_it_was_on_is_kept_beside_its_last_receipt() -> None:
    desk = Desk()
    first = of(Activate, desk.sounds(live()))[0]
    out = desk.progress(first, Stage.FINISHED, on_us=90 * S)
    assert kept(out) == [{"order": name(1), "siren": "s-1", "us": 90 * S, "at": "2026-09-18T02:00:00.000Z",
                          "starts": 1}]
    assert kept(desk.progress(first, Stage.FINISHED, on_us=90 * S)) == [], "once"
    desk.tick(5, level=Trust.UNTRUSTED)
    second = Activate(**{**{f: getattr(first, f) for f in first.__slots__}, "siren": "s-2",
                         "activation": f"{name(1)}/s-2"})
    assert kept(desk.progress(second, Stage.STOPPED, on_us=S)) == [
        {"order": name(1), "siren": "s-2", "us": S, "at": None, "starts": 1}]


def test_what_a_restart_cut_does_not_open_it_again() -> None:
    desk = Desk()
    desk.sounds(live(sound="all-clear"))
    again = Desk(now=2_000 * S, boot="two", records=desk.records, wall_s=10)
    assert {(a.resumed, a.fresh) for a in of(Activate, again.first)} == {(True, False)}
    # What had not begun begins now, and is as fresh as it was.
    desk = Desk()
    desk.written(desk.arrives(live(sound="all-clear")))
    again = Desk(now=2_000 * S, boot="two", records=desk.records, wall_s=10)
    assert {(a.resumed, a.fresh) for a in of(Activate, again.first)} == {(True, True)}


# A gateway.


def fill(g: Ground, minutes: int) -> None:
    """As if it had sounded so long this morning."""
    at = wire.to_text(g.now - HOUR)
    for siren in g.config.spec.siren:
        g.station.records.append((0, Record("sounded", {"order": "m", "siren": siren.id, "us": minutes * MINUTE,
                                                        "at": at})))
    g.restart()


def ends(g: Ground) -> Iterator[tuple[str, str]]:
    return ((r.stage.value, r.reason) for r in g.receipts() if r.stage.terminal and r.siren)


def test_a_gateway_that_has_sounded_an_hour_takes_two_persons_order_and_no_drill() -> None:
    g = Ground(technicians={"tech": "Zhao"})
    fill(g, 60)
    g.send(g.desk.drill(g.now), 5)
    assert set(ends(g)) == {("rejected", "daily-limit")}
    assert g.onsets == 0
    lines = g.ask("tech", "activate", siren="s-301", seconds=2)
    assert (lines[-1]["stage"], lines[-1]["reason"], lines[-1]["last"]) == ("rejected", "daily-limit", True)
    g.must_take(g.desk.live(g.now))
    # Two signed it, so a drill sounds again, and is counted through the next restart.
    g.send(g.desk.drill(g.now), 200)
    assert ("finished", "") in set(ends(g))
    sounded = [dict(r.body) for _, r in g.station.records if r.kind == "sounded" and r.body["order"] != "m"]
    assert len(sounded) == 2 * len(g.config.spec.siren)
    assert all(0 < one["us"] < 200 * S for one in sounded)
    g.restart()
    siren = g.station.gateway.sirens["s-301"]
    used = sum(one["us"] for one in sounded if one["siren"] == "s-301")
    assert abs(siren._agenda.allowance.left_us(g.world.now_us) - (HOUR - used)) < 10 * MS
