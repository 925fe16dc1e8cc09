"""Orders without a clock: an order that bears the gateway's own nonce is fresh, once, for a short while."""

import json
from typing import Any

import pytest

from controller import wire
from controller.event import Activate, AppendFailed, Clock, Degraded, Durable, Offered, QuietTest, Trust
from controller.ledger import Accept
from controller.nonce import EVERY_US, LIFE_US, Nonces
from controller.wire import Stage, Status
from firmware_bridge.machine import S, Woken
from tests.attacks.ground import Ground
from tests.controller.bench_orders import LI, WALL, ZHANG, Desk, drill, live, of, order, said, stop
from tests.controller.test_modes import Clocks, asked, city, modes, sounding

YEARS = 3 * 365 * 24 * 3600
OLD = -YEARS
"""A gateway without a clock of its own comes up years behind."""


# The nonces themselves.


def test_one_is_shown_a_minute_and_good_for_five() -> None:
    nonces = Nonces("chance")
    assert nonces.deadline is None
    shown = []
    for minute in range(7):
        nonces.want(minute * EVERY_US, True)
        shown.append(nonces.shown)
        nonces.want(minute * EVERY_US + EVERY_US - 1, True)
        assert nonces.shown == shown[-1]
        assert nonces.deadline == (minute + 1) * EVERY_US
    assert len({*shown}) == 7
    assert all(len(n) == 32 and int(n, 16) for n in shown if n is not None)
    now = 6 * EVERY_US
    assert [nonces.good(now, str(n)) for n in shown] == [False, False, True, True, True, True, True]
    assert len(nonces._good) == LIFE_US // EVERY_US
    assert nonces.good(now + 1, str(shown[2]))
    assert nonces.good(2 * EVERY_US + LIFE_US - 1, str(shown[2]))
    assert not nonces.good(2 * EVERY_US + LIFE_US, str(shown[2]))
    assert not nonces.use(2 * EVERY_US + LIFE_US, str(shown[2]))


def test_a_used_one_is_used_and_the_next_is_shown_at_once() -> None:
    nonces = Nonces("chance")
    nonces.want(0, True)
    first = str(nonces.shown)
    assert nonces.use(S, first)
    assert not nonces.good(S, first)
    assert not nonces.use(S, first)
    nonces.want(S, True)
    assert nonces.shown not in (None, first)
    assert nonces.good(S, str(nonces.shown))
    assert nonces.deadline == S + EVERY_US


def test_with_the_time_back_none_is_shown_and_those_that_were_stay_good() -> None:
    nonces = Nonces("chance")
    nonces.want(0, True)
    first = str(nonces.shown)
    nonces.want(S, False)
    assert (nonces.shown, nonces.deadline) == (None, None)
    assert nonces.good(LIFE_US - 1, first)
    nonces.want(2 * S, True)
    assert nonces.shown not in (None, first)


def test_nobody_guesses_them_and_without_chance_there_are_none() -> None:
    def first(chance: str) -> str | None:
        nonces = Nonces(chance)
        nonces.want(0, True)
        return nonces.shown

    assert first("") is None
    assert not Nonces("chance").good(0, "0" * 32)
    assert not Nonces("chance").use(0, "0" * 32)
    assert len({first(f"boot {n}") for n in range(20)}) == 20


# Orders.


def lost(boot: str = "one", **more: Any) -> tuple[Desk, str]:
    """A gateway whose clock is not to be believed, and what it shows."""
    desk = Desk(clock=False, boot=boot, **more)
    out = desk.tick(OLD, level=Trust.UNTRUSTED)
    (offered,) = of(Offered, out)
    assert offered.nonce is not None
    assert of(Degraded, out)[0].mode == "NO-TIME"
    return desk, offered.nonce


def test_a_warning_with_the_gateways_nonce_sounds_without_a_clock() -> None:
    desk, nonce = lost()
    out = desk.arrives(live(nonce=nonce))
    assert said(out) == [("", Stage.RECEIVED, "")]
    (shown,) = of(Offered, out)
    assert shown.nonce not in (None, nonce), "the next order has another one"
    given = of(Activate, desk.written(out))
    assert [(a.siren, a.start_wall_us, a.fresh) for a in given] == [("s-1", None, True), ("s-2", None, True)]
    accept = wire.validate(Accept, next(dict(r.body) for r in desk.records if r.kind == "accept"))
    assert accept.start_wall_us == accept.issued_wall_us == WALL, "the signers' clock is the only one there is"
    assert said(desk.arrives(live(nonce=nonce))) == [], "the same order again has the same answer"


@pytest.mark.parametrize("changes", [
    {"mode": "drill"}, {"sound": None, "action": "quiet-test", "mode": "silent"}, {"mode": "live"}])
def test_every_kind_that_begins_at_once_may_have_one(changes: dict[str, Any]) -> None:
    desk, nonce = lost()
    given = desk.written(desk.arrives(order(LI, ZHANG, nonce=nonce, **changes)))
    assert len(of(Activate, given) + of(QuietTest, given)) == 2


def test_the_role_table_is_as_ever_and_who_may_not_uses_no_nonce_up() -> None:
    desk, nonce = lost()
    alone = order(LI, n=1, nonce=nonce)
    assert said(desk.arrives(alone)) == [("", Stage.REJECTED, "too-few-persons")]
    torn = json.loads(live(n=2, nonce=nonce))
    torn["signatures"][0]["signature"] = json.loads(live(n=3))["signatures"][0]["signature"]
    assert said(desk.arrives(json.dumps(torn).encode())) == [("", Stage.REJECTED, "bad-signature")]
    assert len(of(Activate, desk.written(desk.arrives(live(n=4, nonce=nonce))))) == 2


def refused(desk: Desk, data: bytes, after_s: float = 0) -> str:
    (one,) = said(desk.arrives(data, after_s))
    assert one[:2] == ("", Stage.REJECTED)
    return one[2]


def test_each_is_good_once_and_for_five_minutes() -> None:
    desk, nonce = lost()
    assert len(of(Activate, desk.written(desk.arrives(live(nonce=nonce))))) == 2
    assert refused(desk, live(n=2, nonce=nonce)) == "stale-nonce"
    desk, nonce = lost()
    assert refused(desk, live(nonce=nonce), LIFE_US / S) == "stale-nonce"
    desk, nonce = lost()
    assert of(Activate, desk.written(desk.arrives(live(nonce=nonce), LIFE_US / S - 0.001)))


def test_of_two_orders_that_bear_the_same_one_the_first_is_believed() -> None:
    desk, nonce = lost()
    for n in range(1, 5):
        desk.arrives(stop(n=n, who=(LI, ZHANG)))
    # The window's signatures are used up: both wait with a nonce that is good.
    assert [said(desk.arrives(live(n=n, nonce=nonce))) for n in (10, 11)] == [[], []]
    assert said(desk.do(Woken(), 0.01)) == [("", Stage.RECEIVED, ""), ("", Stage.REJECTED, "stale-nonce")]


def test_another_gateways_or_another_runs_nonce_is_refused_also_where_the_time_is_known() -> None:
    _, others = lost("two")
    desk, nonce = lost()
    assert refused(desk, live(nonce=others)) == "stale-nonce"
    knows = Desk()
    assert refused(knows, live(nonce=nonce)) == "stale-nonce"
    again, _ = lost("three", records=desk.records)
    assert refused(again, live(n=2, nonce=nonce)) == "stale-nonce"


def test_without_one_or_with_a_start_of_its_own_it_is_as_before() -> None:
    desk, nonce = lost()
    assert refused(desk, live()) == "no-time"
    assert refused(desk, live(n=2, nonce=nonce, start_s=60)) == "no-time", "what is to wait needs a clock"
    assert refused(desk, live(n=3, nonce=nonce, expires_at=wire.to_text(WALL + 301 * S))) == "too-long"
    assert of(Activate, desk.written(desk.arrives(live(n=4, nonce=nonce))))


def test_a_nonce_excuses_no_order_that_a_believed_clock_calls_late() -> None:
    desk, nonce = lost()
    out = desk.tick(600)
    assert of(Offered, out) == [Offered(None)]
    assert refused(desk, live(nonce=nonce)) == "expired"
    # What was signed for it still works when the time came back in between.
    window = {"not_before": wire.to_text(WALL + 600 * S), "expires_at": wire.to_text(WALL + 700 * S)}
    assert of(Activate, desk.written(desk.arrives(live(n=2, nonce=nonce, issued_s=600, **window))))


def test_a_stop_needs_none_and_a_wrong_one_does_not_hold_it_up() -> None:
    desk, nonce = lost()
    desk.sounds(live(nonce=nonce))
    out = desk.arrives(stop(nonce="f" * 32))
    assert ("", Stage.RECEIVED, "") in said(out)
    assert len([e for e in out if type(e).__name__ == "Stop"]) == 2


def test_the_disk_may_be_lacking_too() -> None:
    desk, nonce = lost()
    out = desk.arrives(live(nonce=nonce))
    token = next(e.token for e in out if type(e).__name__ == "Append")
    assert len(of(Activate, desk.do(AppendFailed(token, "full")))) == 2
    desk, nonce = lost()
    out = desk.arrives(drill(nonce=nonce))
    token = next(e.token for e in out if type(e).__name__ == "Append")
    out = desk.do(AppendFailed(token, "full"))
    assert (of(Activate, out), {r for _, _, r in said(out)}) == ([], {"no-journal"})


def test_a_restart_forgets_the_nonces_and_knows_the_order() -> None:
    desk, nonce = lost()
    desk.sounds(live(nonce=nonce))
    again, new = lost("two", now=2_000 * S, records=desk.records)
    assert new != nonce
    assert said(again.arrives(live(nonce=nonce))) == [], "known"
    # A trusted clock comes: by the signers' own it is too long ago to go on.
    out = again.tick(30, 5)
    assert {(s, stage) for s, stage, _ in said(out)} == {("s-1", Stage.FAILED), ("s-2", Stage.FAILED)}


def test_a_new_one_is_shown_each_minute_by_itself() -> None:
    desk, nonce = lost()
    assert desk.orders.deadline == desk.now + EVERY_US
    out = desk.do(Woken(), EVERY_US / S)
    (offered,) = of(Offered, out)
    assert offered.nonce not in (None, nonce)
    assert of(Offered, desk.do(Woken(), 1)) == []


def test_before_the_clock_was_heard_nothing_is_shown() -> None:
    desk = Desk(clock=False)
    assert of(Offered, desk.do(Durable(1))) == []
    assert of(Offered, desk.tick(0)) == []


# A whole gateway.


def test_status_and_technician_are_shown_it_and_the_warning_sounds() -> None:
    town = city(Clocks)
    assert isinstance(town.world, Clocks)
    station = town.station("gw-jinshui")

    def told() -> str | None:
        payload = [p.payload for _, p in station.published if p.topic.endswith("/status")][-1]
        return wire.decode(Status, payload).nonce

    assert (told(), asked(town, "status")[-1]["nonce"]) == (None, None)
    town.world.level = Trust.UNTRUSTED
    town.world.run(3)
    nonce = told()
    assert nonce is not None
    assert asked(town, "status")[-1]["nonce"] == nonce
    refused = town.order(name="all-clear", mode=wire.Mode.LIVE, signers=("operator-1", "commander"), area="41/01/05")
    taken = town.order(name="all-clear", mode=wire.Mode.LIVE, signers=("operator-1", "commander"), area="41/01/05",
                       nonce=nonce)
    town.world.run(5)
    stages = {(r.order, r.reason) for r in town.receipts() if r.gateway == "gw-jinshui" and r.stage.terminal}
    assert stages == {(refused.body.id, "no-time")}
    assert sounding(town)
    assert taken.body.nonce == nonce
    assert told() not in (None, nonce)
    assert modes(town) == {"NO-TIME"}
    town.world.level = Trust.TRUSTED
    town.world.run(3)
    assert told() is None
    assert json.loads(station.gateway.will()[1]).get("nonce") is None


def test_an_order_for_the_area_that_bears_one_gateways_nonce_is_for_that_gateway() -> None:
    g = Ground("gateway-3.toml", "gateway-2.toml")
    g.world.tell(g.station, Clock(g.now - 10**15, 0, Trust.UNTRUSTED))
    g.world.run(0.2)
    nonce = g.station.gateway.session.nonce
    assert nonce is not None
    said = g.send(g.desk.live(g.now, area="41", nonce=nonce), 0.5)
    answers = {(r.gateway, r.reason) for r in said.receipts if r.stage is Stage.REJECTED}
    assert answers == {("gw-zhongyuan", "stale-nonce")}
