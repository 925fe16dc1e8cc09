"""What outranks what: every pair of causes on one siren, through a whole gateway and its hardware."""

import pytest

from bench.office import LI, TESTER, ZHANG, Order
from controller import wire
from controller.event import Rank
from controller.site import FAMILY_RANK
from controller.wire import Mode, Stage
from firmware_bridge.machine import S
from tests.attacks.ground import Ground, Said

SIREN = "s-301"
SIGNALS = {"air-raid": "air-raid", "all-clear": "all-clear", "disaster": "disaster-gansu",
           "disaster-clear": "disaster-clear-zhejiang", "flood": "demo-air-raid"}
"""Live, by what they are for. A live test signal ranks with the flood."""
RANKS = {"air-raid": 4, "all-clear": 4, "disaster": 3, "disaster-clear": 3, "flood": 2, "drill": 1, "technician": 0}
"""The table of docs/orders.md."""


def expected(running: str, new: str) -> tuple[str, str]:
    """The last words: of what sounds (empty: it goes on), and of what comes (empty: it sounds)."""
    if RANKS[new] > RANKS[running]:
        return "stopped outranked", ""
    if RANKS[new] == RANKS[running] and new in SIGNALS:
        return "stopped superseded", ""
    return "", "rejected outranked"


def signed(g: Ground, what: str) -> Order:
    if what == "drill":
        return g.desk.drill(g.now, sound="air-raid", sirens=(SIREN,))
    return g.desk.live(g.now, sound=SIGNALS[what], sirens=(SIREN,))


def begin(g: Ground, what: str) -> str:
    """Somebody asks for it; the order's id."""
    if what == "technician":
        (first, *_) = g.ask("tech", "activate", siren=SIREN, seconds=15, maintenance=True)
        return str(first["order"])
    order = signed(g, what)
    g.send(order, 2)
    return order.body.id


def last_word(g: Ground, order: str) -> str:
    return " ".join(f"{r.stage} {r.reason}" for r in g.receipts() if r.order == order and r.siren and r.stage.terminal)


@pytest.mark.parametrize("running", RANKS)
def test_every_pair_of_causes(running: str) -> None:
    g = Ground(technicians={"tech": "Zhao"})
    for new in RANKS:
        first = begin(g, running)
        assert g.sounding, (running, new)
        second = begin(g, new)
        g.wait(2)
        assert (last_word(g, first), last_word(g, second)) == expected(running, new), (running, new)
        assert g.sounding, "whichever of them it is"
        g.ask("anybody", "stop", siren=SIREN)
        g.wait(3)
        assert not g.sounding, "a stop comes before everything"
        for order in (first, second):
            assert last_word(g, order).count(" ") >= 1, "each has its last word"
    before = g.onsets
    g.wait(20)
    assert g.onsets == before, "nothing was queued"


@pytest.mark.parametrize("running", RANKS)
def test_a_quiet_test_gives_way_to_all_that_sounds(running: str) -> None:
    g = Ground(technicians={"tech": "Zhao"})
    first = begin(g, running)
    quiet = g.desk.order(g.now, TESTER, action="quiet-test", mode="silent", sound=None, sirens=(SIREN,))
    g.send(quiet, 2)
    assert (last_word(g, first), last_word(g, quiet.body.id)) == ("", "rejected outranked")


def test_the_ranks_are_those_of_the_page() -> None:
    assert {f: int(rank) for f, rank in FAMILY_RANK.items()} == {
        "air-raid": 4, "all-clear": 4, "disaster": 3, "flood": 2, "test": 2}
    assert [rank.name for rank in sorted(Rank, reverse=True)] == [
        "AIR_RAID", "DISASTER", "FLOOD", "DRILL", "TECHNICIAN"]


def test_of_two_warnings_of_one_rank_the_one_signed_last_sounds_whichever_comes_first() -> None:
    g = Ground()
    older = g.desk.live(g.now, sound="disaster-gansu", sirens=(SIREN,))
    g.wait(1)
    newer = g.desk.live(g.now, sound="disaster-clear-zhejiang", sirens=(SIREN,))
    g.send(newer, 2)
    g.send(older, 2)
    assert (last_word(g, newer.body.id), last_word(g, older.body.id)) == ("", "rejected outranked")


# What comes late.


def told(said: Said, order: Order) -> set[tuple[Stage, str]]:
    return {(r.stage, r.reason) for r in said.receipts if r.order == order.body.id}


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.DRILL])
def test_what_comes_late_joins_in_step_with_the_others(mode: Mode) -> None:
    g = Ground()
    start = wire.to_text(g.now)
    sound = {"name": "air-raid", "digest": g.config.signals.digest("air-raid"), "start_at": start}
    late = g.desk.order(g.now, LI, ZHANG, mode=mode, sound="air-raid", in_s=0, sirens=(SIREN,))
    assert late.body.sound is not None
    assert late.body.sound.model_dump() == sound
    g.wait(15)
    began = g.world.now_us
    said = g.send(late, 20)
    # 15 s after the start the others are in the second of 6 s on, 6 s off.
    receipt = next(r for r in said.receipts if r.stage is Stage.STARTED)
    assert receipt.first_edge is not None
    assert 0 <= wire.to_wall_us(receipt.first_edge) - wire.to_wall_us(start) - 15 * S < S
    ons = [s.t_us - began for s in g.world.sounds if s.on]
    assert len(ons) == 2
    assert abs(ons[1] - 9 * S) < S / 2, "the third on-phase begins with everybody's"


def test_what_comes_after_it_may_begin_or_after_its_end_does_not() -> None:
    g = Ground()
    late = g.desk.live(g.now, life_s=20, sirens=(SIREN,))
    short = g.desk.drill(g.now, in_s=1, life_s=600, sirens=(SIREN,))
    g.wait(60)
    assert told(g.send(late, 2), late) == {(Stage.REJECTED, "expired")}
    said = told(g.send(short, 5), short)
    assert (Stage.FAILED, "its time is past") in said
    assert g.onsets == 0
