"""Orders after a restart: what goes on and what has failed, what stays stopped, and every last word that was lost."""

import pytest

from controller import journal, ledger, pulse
from controller.event import Activate, Degraded, Record, SayAgain, Stop, Trust
from controller.ledger import Entry, Ledger, State
from controller.wire import Receipt, Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import LI, WALL, Desk, drill, live, name, of, order, refused, said, stop

RESTARTS = {
    # name: (order, started, wall at the restart, expected)
    "live, short outage": (live(), True, 50, "goes on"),
    "live, not yet started": (live(), False, 5, "goes on"),
    "live, long outage": (live(), True, 61, Stage.FAILED),
    "live, its time is over": (live(sound="disaster-gansu"), True, 55, "goes on"),
    "live, begun by a clock that went back": (live(), True, -30, Stage.FAILED),
    "live, not yet started, a clock that went back by seconds": (live(), False, -59, "at once"),
    "live, not yet started, a clock that went back by minutes": (live(), False, -61, Stage.FAILED),
    "live, armed, a clock that went back by minutes": (live(start_s=200), False, -61, "armed"),
    "programme, begun by a clock that went back": (drill(sound="demo-918", start_s=10), True, 5, Stage.FAILED),
    "live, nothing left": (live(max_duration_s=20), True, 30, Stage.FAILED),
    "live, armed": (live(start_s=200), False, 150, "armed"),
    "live, armed, its instant slept through": (live(start_s=200), False, 205, "goes on"),
    "live, armed, slept over": (live(start_s=200), False, 310, Stage.EXPIRED),
    "drill at once": (drill(), True, 5, Stage.FAILED),
    "drill at once, not yet started": (drill(), False, 5, Stage.FAILED),
    "programme, armed": (drill(sound="demo-918", start_s=100), False, 90, "armed"),
    "programme, in its middle": (drill(sound="demo-918", start_s=10), True, 50, "goes on"),
    "programme, in its last signal": (drill(sound="demo-918", start_s=10), True, 120, Stage.FAILED),
    "programme, never started": (drill(sound="demo-918", start_s=290), False, 301, Stage.EXPIRED),
    "quiet test": (order(LI, action="quiet-test", mode="silent", sound=None), False, 5, Stage.FAILED),
}


def cut(data: bytes, started: bool) -> Desk:
    desk = Desk(sirens=("s-1",))
    given = desk.written(desk.arrives(data))
    if started:
        for a in of(Activate, given):
            desk.progress(a, Stage.STARTED)
    return desk


@pytest.mark.parametrize("case", RESTARTS)
def test_what_a_restart_cut(case: str) -> None:
    data, started, wall_s, expected = RESTARTS[case]
    before = cut(data, started)
    after = Desk(sirens=("s-1",), records=before.records, wall_s=wall_s, boot="two")
    given = of(Activate, after.first)
    if expected in ("goes on", "armed", "at once"):
        (one,) = given
        assert one.resumed
        assert (said(after.first) == []) is (expected != "goes on")
        (first,) = [r for r in before.records if r.kind == "accept"]
        assert one.start_wall_us == (WALL + wall_s * S if expected == "at once" else first.body["start_wall_us"])
        assert after.arrives(data) == [SayAgain(name(1))]
        assert after.tick(wall_s + 1, after_s=1) == []
        assert said(after.progress(one, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]
    else:
        assert given == []
        assert said(after.first) == [("s-1", expected, "cut by restart")]
    third = Desk(sirens=("s-1",), records=after.records, wall_s=wall_s, boot="three")
    assert third.first == []
    assert third.arrives(data) == [SayAgain(name(1))]


@pytest.mark.parametrize(("data", "wall_s", "since_s"), [
    (live(issued_s=-1, max_duration_s=18), 14, -1),
    (live(issued_s=-1, max_duration_s=18), 17, None),
    (live(max_duration_s=18), 29.9, None),
    (live(), -31, None),
])
def test_a_warning_for_now_does_not_wait_for_the_instant_that_a_wrong_clock_showed(
        data: bytes, wall_s: float, since_s: float | None) -> None:
    """Seed 21540: accepted while the clock was thirty seconds ahead, cut before it began: it counts from when it was
    signed, and is over when that is longer ago than it lasts."""
    before = Desk(sirens=("s-1",), wall_s=30)
    before.written(before.arrives(data))
    after = Desk(sirens=("s-1",), records=before.records, wall_s=wall_s, boot="two")
    given = of(Activate, after.first)
    assert [a.start_wall_us for a in given] == ([] if since_s is None else [WALL + round(since_s * S)])
    told = ("s-1", Stage.TROUBLE, "cut by restart, goes on") if given else ("s-1", Stage.FAILED, "cut by restart")
    assert said(after.first) == [told]


@pytest.mark.parametrize(("length_s", "wall_s", "since_s"), [(40, 35, -1), (30, 35, None), (40, 60, 30)])
def test_a_warning_that_began_by_a_clock_that_was_ahead_sounds_no_longer_than_was_asked(
        length_s: int, wall_s: float, since_s: float | None) -> None:
    """Seed 82691: it had sounded for seventeen seconds by a clock thirty seconds ahead, which was right again after the
    outage. It counts from when it was signed; from when it began where the clock went on."""
    before = Desk(sirens=("s-1",), wall_s=30)
    given = before.sounds(live(issued_s=-1, max_duration_s=length_s))
    before.tick(47, after_s=17)
    before.progress(of(Activate, given)[0], Stage.SENSED)
    after = Desk(sirens=("s-1",), records=before.records, wall_s=wall_s, boot="two")
    assert [a.start_wall_us for a in of(Activate, after.first)] == (
        [] if since_s is None else [WALL + round(since_s * S)])
    told = (Stage.FAILED, "cut by restart") if since_s is None else (Stage.TROUBLE, "cut by restart, goes on")
    assert said(after.first) == [("s-1", *told)]


def test_a_warning_for_now_does_not_wait_for_the_day_that_a_wrong_clock_showed() -> None:
    """What was told since by the right clock makes the outage look short."""
    before = cut(live(), False)
    before.tick(-2 * 86_400, after_s=1)
    before.arrives(drill(3))
    after = Desk(sirens=("s-1",), records=before.records, wall_s=-2 * 86_400 + 5, boot="two")
    assert of(Activate, after.first) == []
    assert ("s-1", Stage.FAILED, "cut by restart") in said(after.first)


def test_a_warning_whose_instant_came_before_the_clock_was_believed_joins() -> None:
    """As does one that comes fresh within its window: nobody is told to be there in the minutes before."""
    after = Desk(sirens=("s-1",), records=cut(live(start_s=200), False).records, clock=False, boot="two")
    assert of(Activate, after.tick(150, level=Trust.UNTRUSTED)) == []
    (one,) = of(Activate, after.tick(205, after_s=55))
    assert one.start_wall_us == WALL + 200 * S


@pytest.mark.parametrize("data", [live(start_s=200), drill(sound="demo-918", start_s=100), drill(), stop(issued_s=1)])
def test_a_siren_that_was_taken_out_of_the_config_has_its_last_word(data: bytes) -> None:
    """Nobody is there to be told anything, and the other goes on."""
    before = Desk(sirens=("s-1", "s-2"))
    before.sounds(drill(9))
    before.written(before.arrives(data))
    after = Desk(sirens=("s-1",), records=before.records, wall_s=20, boot="two")
    assert {e.siren for e in (*of(Activate, after.first), *of(Stop, after.first))} <= {"s-1"}
    assert ("s-2", Stage.FAILED, "no-target") in said(after.first)
    assert all(p.siren != "s-2" or p.state is State.DONE for e in after.orders._ledger.open() for p in e.parts.values())


def test_a_resumed_start_is_not_expired() -> None:
    after = Desk(sirens=("s-1",), records=cut(drill(sound="henan-918", start_s=10), True).records, wall_s=320)
    (one,) = of(Activate, after.first)
    assert one.expires_wall_us > WALL + 320 * S


def test_a_technicians_sounding_is_never_taken_up() -> None:
    desk = Desk(sirens=("s-1",))
    desk.written(desk.asks("activate", siren="s-1", seconds=3))
    after = Desk(sirens=("s-1",), records=desk.records, wall_s=1)
    assert said(after.first) == [("s-1", Stage.FAILED, "cut by restart")]


def test_a_restart_waits_for_a_believable_clock() -> None:
    records = cut(live(), True).records + cut(drill(2, sound="demo-918", start_s=250), False).records
    after = Desk(sirens=("s-1",), records=records, clock=False)
    assert of(Degraded, after.tick(10**6, level=Trust.UNTRUSTED)) == [
        Degraded("NO-TIME", True, "the clock is not to be believed")]
    assert said(after.tick(10**6, 61, level=Trust.UNTRUSTED)) == [("s-1", Stage.FAILED, "cut by restart")]
    (one,) = of(Activate, after.tick(100, after_s=1))
    assert one.order == name(2)


def test_while_it_sounds_the_journal_is_told_that_we_are_here() -> None:
    desk = cut(live(), True)
    assert desk.orders.deadline == desk.now + pulse.EVERY_US
    for _ in range(5):
        desk.do(Woken(), after_s=pulse.EVERY_US / S)
    after = Desk(sirens=("s-1",), records=desk.records, wall_s=150)
    assert len(of(Activate, after.first)) == 1


def test_what_was_stopped_stays_stopped_after_a_restart() -> None:
    desk = cut(live(), True)
    desk.arrives(stop())
    after = Desk(sirens=("s-1",), records=desk.records, clock=False)
    out = after.tick(2)
    assert of(Activate, out) == []
    assert of(Stop, out) == [Stop("s-1", "Zhang Min", "stop")]
    assert said(out) == [("s-1", Stage.STOPPED, "Zhang Min"), ("s-1", Stage.FINISHED, "restarted")]
    assert said(after.arrives(live(2, issued_s=-1)))[-1] == ("s-1", Stage.REJECTED, "stopped")


def test_what_a_restart_cut_is_turned_off_even_where_it_reads_as_off() -> None:
    """A head that was told to begin just before the kill begins after its successor has read it; by `bench kills`."""
    desk = Desk(sirens=("s-1",))
    desk.written(desk.arrives(drill()))
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=1)
    assert of(Stop, after.first) == [Stop("s-1", "Li Wei", "cut by restart", name(1))]
    assert said(after.first) == [("s-1", Stage.FAILED, "cut by restart")]


def test_an_order_that_a_stop_forbade_before_the_restart() -> None:
    """The stop's own answer was complete; the activation's last word was lost with the power."""
    desk = cut(live(), True)
    desk.arrives(stop())
    records = [r for r in desk.records if r.body.get("order") != name(99) or r.kind == "accept"]
    records.append(Record("receipt", Receipt(seq=9, gateway="gw-1", order=name(99), siren="s-1", stage=Stage.FINISHED,
                                             at="2026-09-18T02:00:01.000Z").model_dump(mode="json", exclude_none=True)))
    after = Desk(sirens=("s-1",), records=records, wall_s=2)
    assert said(after.first) == [("s-1", Stage.STOPPED, "stop")]


def test_old_orders_whose_receipts_are_gone_are_not_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, *more = [r for r in cut(drill(), True).records if r.kind != "receipt"]
    event, alive = Record("event", {}), Record("alive", {"at": "2026-10-18T02:00:00.000Z"})

    def found(*records: Record) -> Ledger:
        book = Ledger()
        book.restore([*records, *more, alive])
        return book

    assert len(found(accept, event).open()) == 1, "of so few receipts and events none is missing"
    monkeypatch.setattr(ledger, "GIVEN_BACK", 1)
    assert len(found(event, accept).open()) == 1, "none that follows one of them is missing"
    book = found(accept, event)
    assert book.open() == []
    entry = book.get(name(1))
    assert isinstance(entry, Entry)
    assert entry.parts["s-1"].state is State.DONE


def test_a_clock_that_was_wrong_by_years_takes_no_last_word() -> None:
    """Seed 535: a receipt that a disbelieved clock had dated made every open order seem long over."""
    before = cut(live(), True)
    before.tick(10 * 365 * 86_400, after_s=1, level=Trust.UNTRUSTED)
    assert refused(before.arrives(drill(2))) == "no-time"
    after = Desk(sirens=("s-1",), records=before.records, wall_s=90, boot="two")
    assert said(after.first) == [("s-1", Stage.FAILED, "cut by restart")]


def test_a_warning_is_taken_up_though_the_clock_was_wrong_by_years_a_while_ago() -> None:
    before = cut(drill(2), True)
    before.tick(10 * 365 * 86_400, after_s=1, level=Trust.UNTRUSTED)
    before.arrives(drill(3))
    before.tick(1)
    before.sounds(live(issued_s=1))
    after = Desk(sirens=("s-1",), records=before.records, wall_s=8, boot="two")
    assert ("s-1", Stage.TROUBLE, "cut by restart, goes on") in said(after.first)


def test_what_the_journal_gives_back_in_part_is_what_orders_take_for_that() -> None:
    assert (set(journal.KINDS_MANY), journal.LOAD_MANY) == (ledger.MANY, ledger.GIVEN_BACK)


def test_a_journal_of_another_version_is_passed_over() -> None:
    records = [Record("accept", {"v": 2}), Record("receipt", {}), Record("alive", {}), Record("strange", {"at": 1})]
    assert Desk(records=records).first == []


# A refusal that was lost.


def reborn(desk: Desk, kinds: set[str]) -> tuple[list[tuple[str, Stage, str]], Desk]:
    """What a successor says first that finds only these kinds of records: the power went in between."""
    after = Desk(sirens=desk.sirens, records=[r for r in desk.records if r.kind in kinds], boot="two", wall_s=1)
    return said(after.first), after


def test_a_refusal_that_was_kept_and_not_said_is_said_after_a_restart() -> None:
    """Killed between the two commits, found by `bench kills`: its order had no last word for ever."""
    desk = Desk()
    desk.arrives(drill(sound="no-such-signal"))
    (reason,) = {r.body["reason"] for r in desk.records if r.kind == "refuse"}
    first, after = reborn(desk, {"refuse"})
    assert first == [("", Stage.REJECTED, reason)]
    assert of(SayAgain, after.arrives(drill(sound="no-such-signal"))) == [SayAgain(name(1))]
    assert reborn(after, {"refuse", "receipt"})[0] == []
    assert reborn(desk, {"refuse", "receipt"})[0] == []


def test_a_refusal_of_each_siren_is_said_after_a_restart() -> None:
    desk = Desk()
    desk.arrives(stop())
    desk.arrives(live(2, issued_s=-1))
    gone = [r for r in desk.records if r.kind == "receipt" and r.body["order"] == name(2)]
    desk.records = [r for r in desk.records if r not in gone]
    first, after = reborn(desk, {"accept", "refuse", "receipt"})
    assert first == [("s-1", Stage.REJECTED, "stopped"), ("s-2", Stage.REJECTED, "stopped")]
    assert reborn(after, {"accept", "refuse", "receipt"})[0] == []


def test_a_refusal_of_one_siren_is_said_after_a_restart_and_the_other_goes_on() -> None:
    desk = Desk()
    desk.arrives(stop(sirens=["s-1"]))
    desk.written(desk.arrives(live(2, issued_s=-1)))
    desk.records = [r for r in desk.records if r.body.get("order") != name(2) or r.kind == "accept"]
    first, after = reborn(desk, {"accept", "receipt"})
    assert first == [("s-1", Stage.REJECTED, "stopped"), ("s-2", Stage.TROUBLE, "cut by restart, goes on")]
    assert [a.siren for a in of(Activate, after.first)] == ["s-2"]


def test_what_was_refused_before_it_was_believed_is_not_refused_twice_after_a_restart() -> None:
    desk = Desk(clock=False)
    assert refused(desk.arrives(drill(sound="no-such-signal"))) == "no-time"
    desk.tick(1)
    desk.arrives(drill(sound="no-such-signal"), after_s=5)
    assert [r.kind for r in desk.records if r.body.get("order") == name(1)] == ["receipt", "refuse"]
    assert reborn(desk, {"refuse", "receipt"})[0] == []
