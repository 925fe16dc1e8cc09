"""What sounded without the disk is written when that is back, so that after a restart its id does not sound again."""

from typing import Any

import pytest

from controller import allowance, pulse
from controller.allowance import Before
from controller.event import Activate, Append, AppendFailed, Durable, Record, SayAgain, Stop
from controller.wire import Action, Mode, Stage
from controller.writing import WAITING_LIMIT, Writing
from firmware_bridge.machine import S, Woken
from hub import keys
from simulators.disk import Health
from simulators.promises import Ordered
from tests.controller.bench_orders import Desk, drill, live, name, of, said, stop
from tests.controller.test_gateway import KEYS, City

OURS, HERE = "gw-jinshui", "41/01/05"
TWO = ("operator-1", "commander")


# A whole gateway.


def again(city: City, order: Ordered) -> None:
    """The hub, or somebody else, sends it once more."""
    city.world.order(keys.sign(order.body, [KEYS[n] for n in TWO]), f"siren/1/o/{HERE}/order")


def starts(city: City) -> int:
    return sum(s.on for s in city.world.sounds)


@pytest.mark.parametrize(("health", "stopped"), [
    (Health.FAILING, False), (Health.FAILING, True), (Health.DEAF, False)])
def test_a_warning_that_sounded_without_the_disk_sounds_once(health: Health, stopped: bool) -> None:
    city = City()
    disk = city.station(OURS).disk
    disk.health = health
    order = city.order(area=HERE, mode=Mode.LIVE, signers=TWO)
    city.world.run(8)
    assert starts(city) > 0, "it waits for no disk"
    if stopped:
        city.order(Action.STOP, None, area=HERE, mode=Mode.LIVE, signers=("commander",))
    city.world.run(45)
    sounded = starts(city)
    stages = {stage for stage, _ in city.ends(order).values()}
    assert stages == ({Stage.STOPPED} if stopped else {Stage.FINISHED})
    city.station(OURS).disk.health = Health.WELL
    city.world.run(pulse.REFUSED_EVERY_US / S + 1)
    city.world.restart(OURS)
    city.world.run(10)
    again(city, order)
    city.world.run(60)
    assert starts(city) == sounded
    (accept,) = [r for _, r in disk.records if r.kind == "accept" and r.body["order"] == order.body.id]
    assert set(accept.body["late"].values()) == {str(*stages)}
    # This judge does not hear that NO-JOURNAL is said; the swarm's does.
    assert {*city.breaches()} == {"JOURNAL-FIRST"}
    assert {stage for stage, _ in city.ends(order).values()} == stages, "and the last word stays the last"


# The orders alone.


def unwritten(data: bytes) -> tuple[Desk, list[Any]]:
    """It goes on although the disk refuses it. No record of the disk's is in what a successor finds."""
    desk = Desk(sirens=("s-1",))
    out = [e for a in of(Append, desk.arrives(data)) for e in desk.do(AppendFailed(a.token, "disk full"))]
    desk.records.clear()
    return desk, out


def mended(desk: Desk) -> list[Append]:
    """The pulse finds that the disk takes records again; what is given to it then."""
    (beat,) = of(Append, desk.do(Woken(), after_s=pulse.REFUSED_EVERY_US / S))
    return of(Append, desk.do(Durable(beat.token)))


def test_it_is_written_with_how_it_stood() -> None:
    desk, out = unwritten(live())
    (one,) = of(Activate, out)
    desk.progress(one, Stage.STARTED)
    desk.progress(one, Stage.TROUBLE, reason="no feedback in an on-phase")
    (late,) = mended(desk)
    assert (late.record.kind, late.record.body["late"]) == ("accept", {"s-1": "started"})
    assert late.record.body["raw"], "the order as it came is in it"
    assert mended(desk)[0] == late, "until the disk has it"
    assert desk.do(Durable(late.token)) == []
    assert of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))[0].record.kind == "alive"


def test_what_is_refused_again_is_given_again() -> None:
    desk, _ = unwritten(live())
    (late,) = mended(desk)
    desk.do(AppendFailed(late.token, "disk full"))
    assert mended(desk) == [late]


@pytest.mark.parametrize("receipts", [True, False])
def test_a_late_record_alone_tells_a_successor_enough(receipts: bool) -> None:
    """Its receipts lie before it, or were lost."""
    desk, out = unwritten(live())
    (one,) = of(Activate, out)
    desk.progress(one, Stage.STARTED)
    desk.progress(one, Stage.FINISHED)
    desk.records[:] = [r for r in desk.records if receipts and r.kind == "receipt"]
    mended(desk)
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=25)
    assert of(Activate, after.first) == of(Stop, after.first) == []
    assert after.arrives(live()) == [SayAgain(name(1))]


def test_a_warning_that_still_sounds_goes_on_after_a_restart() -> None:
    desk, out = unwritten(live())
    (one,) = of(Activate, out)
    desk.progress(one, Stage.STARTED)
    mended(desk)
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=25)
    (again,) = of(Activate, after.first)
    assert (again.activation, again.resumed) == (one.activation, True)
    assert after.arrives(live()) == [SayAgain(name(1))]


def test_a_drill_that_the_disk_refused_stays_refused() -> None:
    desk, out = unwritten(drill())
    assert said(out)[-1] == ("s-1", Stage.REJECTED, "no-journal")
    mended(desk)
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=25)
    assert of(Activate, after.written(after.arrives(drill()))) == []


def test_a_stop_that_the_disk_refused_forbids_after_a_restart() -> None:
    desk, _ = unwritten(stop())
    mended(desk)
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=25)
    assert said(after.arrives(live(2, issued_s=-1)))[-1] == ("s-1", Stage.REJECTED, "stopped")


def test_what_a_disk_passed_over_without_an_answer_is_given_again() -> None:
    writing = Writing()
    one, beat, two, three = (writing.give(kind, {"n": kind}) for kind in ("refuse", "alive", "accept", "accept"))
    assert writing.took(two.token) == [one], "and of a pulse the next is enough"
    assert writing.took(three.token) == [], "it was given again behind this one"
    assert writing.took(writing.give("accept", {}).token) == [one]
    assert writing.took(one.token) == writing.took(one.token) == writing.took(beat.token) == []
    writing.refused(99)
    assert writing.took(98) == []


def test_records_that_wait_for_the_disk_are_bounded() -> None:
    writing = Writing()
    for _ in range(WAITING_LIMIT + 5):
        writing.refused(writing.give("sounded", {}).token)
    assert len(writing.took(0)) == WAITING_LIMIT
    assert writing.took(0) == []


def test_the_pulses_of_a_disk_that_answers_nothing_push_no_order_out() -> None:
    writing = Writing()
    one = writing.give("accept", {})
    for _ in range(WAITING_LIMIT + 5):
        beat = writing.give("alive", {})
    assert writing.took(beat.token) == [one]


# The day's allowance.


def counted(*records: Record) -> list[Before]:
    return list(allowance.restored(records).get("s-1", ()))


def receipt(stage: Stage, second: int) -> Record:
    return Record("receipt", {"v": 1, "seq": second + 1, "gateway": "gw", "order": name(1), "siren": "s-1",
                              "stage": stage, "at": f"2026-09-18T02:00:{second:02}.000Z"})


def test_a_sounding_that_is_written_late_counts_once() -> None:
    over = Record("sounded", {"order": name(1), "siren": "s-1", "us": 12 * S, "at": "2026-09-18T02:00:30.000Z"})
    accept = Record("accept", {"order": name(1), "limit_us": 190 * S, "fresh": True})
    told = receipt(Stage.STARTED, 0), receipt(Stage.FINISHED, 30)
    (one,) = counted(accept, told[0], over, told[1])
    assert one.us == 12 * S
    assert counted(*told, accept, over) == counted(*told, over, accept) == [one]
    assert [b.us for b in counted(*told)] == [30 * S], "nothing else tells of its end"
    # Two persons' order begins the day anew, wherever its record lies.
    before = Record("sounded", {"order": name(9), "siren": "s-1", "us": 3000 * S})
    assert counted(before, *told, accept, over) == [one]
    other = Record("sounded", {"order": name(1), "siren": "s-2", "us": S})
    assert counted(*told, other) == counted(*told)
