"""What becomes of orders that wait for their time, and of what sounds, when their signers leave the trust list."""

from typing import Any

import pytest

from controller import wire
from controller.event import Activate, Durable, Notice, Record, Stop, Trusted
from controller.signers import TrustList
from controller.trust import Reason
from controller.wire import Stage
from firmware_bridge.machine import S
from tests.controller.bench_orders import LI, TRUST, WALL, WANG, ZHANG, Desk, drill, live, name, of, said, stop

LATER = {"start_s": 200}
WITHDRAWN = [("s-1", Stage.STOPPED, "key-withdrawn"), ("s-2", Stage.STOPPED, "key-withdrawn")]


def without(*gone: dict[str, str], version: int = 2, **changes: Any) -> TrustList:
    """The demo's list without some keys; `changes` are made in each key that stays."""
    stays = {kid: s.model_copy(update=changes) for kid, s in TRUST.keys.items() if kid not in {k["kid"] for k in gone}}
    return TRUST.model_copy(update={"version": version, "keys": stays})


def changed(key: dict[str, str], **changes: Any) -> TrustList:
    return TRUST.model_copy(update={"version": 2, "keys": {
        kid: s.model_copy(update=changes) if kid == key["kid"] else s for kid, s in TRUST.keys.items()}})


def armed(data: bytes) -> Desk:
    desk = Desk()
    given = desk.written(desk.arrives(data))
    assert [a.siren for a in of(Activate, given)] == ["s-1", "s-2"]
    return desk


def noticed(out: list[Any]) -> list[tuple[str, str, str]]:
    return [(n.what, n.subject, n.detail) for n in of(Notice, out)]


def test_what_waits_is_taken_back_with_its_reason() -> None:
    desk = armed(live(**LATER))
    out = desk.do(Trusted(without(ZHANG)))
    assert said(out) == WITHDRAWN
    assert of(Stop, out) == [Stop(s, "trust list 2", Reason.KEY_WITHDRAWN, name(1)) for s in ("s-1", "s-2")]
    assert noticed(out) == [("order-withdrawn", name(1), "unknown-key, by trust list 2")]
    assert of(Notice, out)[0].urgent
    # The siren's own word comes behind the last one, and adds nothing.
    assert said(desk.do(Trusted(without(ZHANG, version=3)))) == []
    assert desk.orders.trust.version == 3


@pytest.mark.parametrize(("trust", "why"), [
    (without(LI), "unknown-key"), (without(ZHANG), "unknown-key"), (without(LI, ZHANG), "unknown-key"),
    (changed(ZHANG, not_after="2026-09-18T01:00:00.000Z"), "key-not-valid"),
    (changed(ZHANG, not_before="2026-09-18T02:00:10.000Z"), "key-not-valid"),
    (changed(ZHANG, mode=wire.Mode.DRILL), "wrong-mode"), (changed(LI, areas=("41/2",)), "wrong-area"),
    (changed(LI, actions=frozenset({wire.Action.STOP})), "wrong-action"),
    (changed(ZHANG, roles=TRUST.keys[LI["kid"]].roles), "too-few-persons"),
    (changed(ZHANG, person="Li Wei"), "too-few-persons"),
])
def test_every_way_to_lose_a_signer(trust: TrustList, why: str) -> None:
    out = armed(live(**LATER)).do(Trusted(trust))
    assert said(out) == WITHDRAWN
    assert noticed(out)[0][2].startswith(f"{why}, ")


@pytest.mark.parametrize("trust", [
    without(WANG), without(version=2),
    # It was accepted while the key was good.
    changed(ZHANG, not_after="2026-09-18T02:00:00.500Z"),
    changed(ZHANG, areas=("41/2", "41/1")),
])
def test_what_the_new_list_carries_goes_on_waiting(trust: TrustList) -> None:
    assert armed(live(**LATER)).do(Trusted(trust)) == []


def test_what_sounds_goes_on_to_its_end_and_can_be_stopped() -> None:
    desk = Desk()
    given = desk.sounds(live())
    out = desk.do(Trusted(without(LI, ZHANG)))
    assert (said(out), of(Stop, out)) == ([], [])
    one = of(Activate, given)[0]
    assert said(desk.progress(one, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]
    out = desk.asks("stop")
    assert [s.siren for s in of(Stop, out)] == ["s-1", "s-2"]


def test_what_is_to_begin_at_once_goes_on_though_it_waits_for_the_disk() -> None:
    desk = Desk()
    out = desk.arrives(live())
    assert said(desk.do(Trusted(without(LI)))) == []
    (append,) = [e for e in out if type(e).__name__ == "Append"]
    assert [a.siren for a in of(Activate, desk.do(Durable(append.token)))] == ["s-1", "s-2"]


def test_what_waits_for_its_time_and_for_the_disk_is_taken_back() -> None:
    desk = Desk()
    out = desk.arrives(drill(**LATER))
    told = desk.do(Trusted(without(LI)))
    assert said(told) == WITHDRAWN
    assert of(Stop, told) == []
    assert of(Activate, desk.written(out)) == []


def test_what_began_on_time_is_not_taken_back() -> None:
    desk = armed(drill(**LATER))
    desk.tick(201, after_s=201)
    assert desk.do(Trusted(without(LI))) == []


def test_half_of_it_sounds_and_half_waits() -> None:
    """The clock stands before the start still, and one siren says that it began: it stays, the other goes."""
    desk = Desk()
    first, _ = of(Activate, desk.written(desk.arrives(drill(**LATER))))
    desk.progress(first, Stage.STARTED)
    assert said(desk.do(Trusted(without(LI)))) == WITHDRAWN[1:]


def test_a_technician_has_no_signature_to_lose() -> None:
    desk = Desk()
    desk.written(desk.asks("activate", siren="s-1", seconds=2))
    desk.written(desk.asks("quiet-test", siren="s-2"))
    assert desk.do(Trusted(without(LI, WANG, ZHANG))) == []


def test_the_same_order_again_gets_the_same_answer() -> None:
    desk = armed(live(**LATER))
    desk.do(Trusted(without(ZHANG)))
    out = desk.arrives(live(**LATER), after_s=1)
    assert of(Activate, out) == []
    assert [type(e).__name__ for e in out] == ["SayAgain"]


def test_a_stop_is_judged_by_the_list_of_its_day() -> None:
    desk = armed(live(**LATER))
    desk.do(Trusted(changed(LI, not_after="2027-01-01T00:00:00.000Z")))
    out = desk.arrives(stop(who=(ZHANG,)))
    assert [s.siren for s in of(Stop, out)] == ["s-1", "s-2"]


# Through a restart.


def back(desk: Desk, trust: TrustList, wall_s: float, clock: bool = True) -> Desk:
    """A new process on the same journal, with another list."""
    later = Desk(records=[], clock=False, now=desk.now + S, boot="two")
    later.records = list(desk.records)
    later.orders.trust = trust
    later.orders.restore(later.records)
    if clock:
        later.first = later.tick(wall_s)
    return later


def test_a_list_that_came_with_the_restart_counts_too() -> None:
    desk = armed(live(**LATER))
    later = back(desk, without(ZHANG), 5)
    assert said(later.first) == WITHDRAWN
    assert of(Activate, later.first) == []
    # And it stays so, under whatever list.
    again = back(later, TRUST, 10)
    assert of(Activate, again.first) == []


def test_a_restart_under_the_same_list_arms_it_again() -> None:
    later = back(armed(live(**LATER)), TRUST, 5)
    assert [a.siren for a in of(Activate, later.first)] == ["s-1", "s-2"]


def test_without_a_clock_after_a_restart_it_is_taken_back_as_well() -> None:
    later = back(armed(live(**LATER)), without(ZHANG), 0, clock=False)
    out = later.asks("status")
    assert said(out) == WITHDRAWN


def test_a_programme_that_a_restart_cut_goes_on_though_its_signer_left() -> None:
    desk = Desk()
    given = desk.written(desk.arrives(drill(sound="henan-918", start_s=1)))
    desk.tick(2, after_s=2)
    for one in of(Activate, given):
        desk.progress(one, Stage.STARTED)
    later = back(desk, without(LI), 10)
    assert [a.resumed for a in of(Activate, later.first)] == [True, True]


def test_orders_of_before_this_version_are_left_alone() -> None:
    """Their records do not say who signed them."""
    desk = armed(live(**LATER))
    desk.records = [Record(r.kind, {k: v for k, v in r.body.items() if k not in ("keys", "area")})
                    for r in desk.records]
    later = back(desk, without(ZHANG), 5)
    assert [a.siren for a in of(Activate, later.first)] == ["s-1", "s-2"]
    assert wire.to_text(WALL) == "2026-09-18T02:00:00.000Z"
