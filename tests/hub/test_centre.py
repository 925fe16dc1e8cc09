"""Where orders are handed in: signed with the demo's keys, judged by its trust list."""

from pathlib import Path

import pytest

from controller import wire
from controller.wire import Action, Birth, Mode, OrderBody, Receipt, SirenCard, Stage, Status
from firmware_bridge.machine import S, Woken
from hub import client, config, keys
from hub.centre import MAX_ORDERS, SETTLE_LIMIT_US, SETTLE_US, STOP_ROOM, Centre
from hub.dispatch import STOP_FOR_US
from hub.draft import Wish, draft
from hub.event import Broker, Clock, Handed, Note, Publish, Taken, Told
from hub.prepared import prepare
from hub.roster import Roster

DEMO = Path(__file__).resolve().parents[2] / "configs/demo"
CONFIG = config.load(DEMO / "hub.toml")
KEYS = {name: keys.load_key(DEMO / f"keys/{name}.jwk") for name in ("operator-1", "operator-2", "commander")}
WALL = 1_800_000_000 * S
AREA = "41/01/05/001/001"
CARD = SirenCard(id="s-1", name="one", type="motor", area=AREA, layer=wire.Layer.SURFACE, feedback=True)
TAKEN = wire.hub_topic("demo-hub", "taken")


def centre() -> Centre:
    machine = Centre("demo-hub", "demo", CONFIG.signals, Roster(CONFIG.listed, "demo", "41"))
    machine.handle(0, Clock(WALL))
    machine.handle(0, Broker(True))
    birth = Birth(gateway="gw-1", session="one", at=wire.to_text(WALL), version="1", area=AREA,
                  deployment="demo", sirens=(CARD,), devices=(), signals={}, trust_version=1)
    machine.handle(0, Told("gw-1", "birth", birth, True, WALL))
    return machine


def order(action: Action = Action.SOUND, mode: Mode = Mode.DRILL, id: int = 1, at: str | None = None) -> OrderBody:
    sound = "demo-air-raid" if action is Action.SOUND else None
    return prepare(draft(Wish(action, mode, "41/01", sound, at), CONFIG, f"{id:032x}", WALL), {"gw-1": [CARD]})


def signed(body: OrderBody, *who: str) -> bytes:
    return keys.sign(body, [KEYS[name] for name in who or ("operator-1",)])


def answer(effects: list[Publish | Note]) -> Taken:
    return next(wire.decode(Taken, e.payload) for e in effects if isinstance(e, Publish) and e.topic == TAKEN)


def sent(effects: list[Publish | Note]) -> list[str]:
    return [e.topic for e in effects if isinstance(e, Publish) and e.topic != TAKEN]


def test_an_order_is_taken_and_goes_out_at_once_as_it_came() -> None:
    machine, raw = centre(), signed(order())
    effects = machine.handle(S, Handed(raw))
    assert answer(effects) == Taken(order=f"{1:032x}", taken=True, gateways=1, sirens=1)
    assert [e for e in effects if isinstance(e, Publish)][-1] == Publish(wire.order_topic("41/01", False), raw)
    assert machine.deadline is not None
    assert sent(machine.handle(machine.deadline, Woken())) == [wire.gateway_topic("gw-1", False)]


def test_the_same_order_again_is_answered_and_not_sent_twice() -> None:
    machine, raw = centre(), signed(order())
    machine.handle(S, Handed(raw))
    effects = machine.handle(S + 1, Handed(raw))
    assert answer(effects).taken
    assert sent(effects) == []
    other = answer(machine.handle(S + 2, Handed(signed(order(at="+600")))))
    assert (other.taken, other.why) == (False, "duplicate-id-other-content")


@pytest.mark.parametrize(("body", "who", "why"), [
    (order(mode=Mode.LIVE), ("operator-1",), "too-few-persons"),
    (order(mode=Mode.LIVE), ("operator-1", "operator-2"), "too-few-persons"),
    (order().model_copy(update={"deployment": "other"}), ("operator-1",), "wrong-deployment"),
    (order().model_copy(update={"expires_at": wire.to_text(WALL)}), ("operator-1",), "expired"),
])
def test_what_gateways_would_refuse_is_refused_here(body: OrderBody, who: tuple[str, ...], why: str) -> None:
    effects = centre().handle(S, Handed(signed(body, *who)))
    assert not answer(effects).taken
    assert answer(effects).why.startswith(why)
    assert sent(effects) == []


def test_noise_is_answered_and_nothing_more() -> None:
    effects = centre().handle(S, Handed(b"\xff{"))
    assert (answer(effects).taken, answer(effects).order) == (False, "")
    assert sent(effects) == []


def test_a_stop_that_cannot_be_verified_goes_out_all_the_same() -> None:
    stranger = keys.new_key("nobody we know")
    effects = centre().handle(S, Handed(keys.sign(order(Action.STOP, Mode.LIVE), [stranger])))
    assert answer(effects).taken
    assert sent(effects) == [wire.order_topic("41/01", True)]


def test_a_hub_whose_clock_is_wrong_stops_no_stop() -> None:
    machine = centre()
    machine.handle(1, Clock(WALL + 3600 * S))
    effects = machine.handle(S, Handed(signed(order(Action.STOP, Mode.LIVE))))
    assert answer(effects).taken
    assert sent(effects) == [wire.order_topic("41/01", True)]
    last_us = S
    while (deadline := machine.deadline) is not None and deadline < 600 * S:
        if sent(machine.handle(deadline, Woken())):
            last_us = deadline
    # Its gateway says nothing, and may have the right time.
    assert STOP_FOR_US - 5 * S < last_us < S + STOP_FOR_US


def test_a_live_order_of_two_persons_is_taken() -> None:
    effects = centre().handle(S, Handed(signed(order(mode=Mode.LIVE), "operator-1", "commander")))
    assert answer(effects).taken


def test_an_order_is_not_taken_before_the_fleet_is_known_and_a_stop_is() -> None:
    """A broker may give what it kept first: the order went out to nobody known, and was sent to no gateway again."""
    machine = Centre("demo-hub", "demo", CONFIG.signals, Roster(CONFIG.listed, "demo", "41"))
    machine.handle(0, Clock(WALL))
    machine.handle(0, Broker(True))
    raw = signed(order())
    early = machine.handle(1, Handed(raw))
    assert [e.what for e in early if isinstance(e, Note)] == ["handed-in-early"]
    assert [e for e in early if isinstance(e, Publish)] == []
    assert sent(machine.handle(2, Handed(signed(order(Action.STOP, Mode.LIVE, id=2))))) == [
        wire.order_topic("41/01", True)]
    birth = Birth(gateway="gw-1", session="one", at=wire.to_text(WALL), version="1", area=AREA,
                  deployment="demo", sirens=(CARD,), devices=(), signals={}, trust_version=1)
    machine.handle(SETTLE_US - 1, Told("gw-1", "birth", birth, True, WALL))
    assert [e for e in machine.handle(SETTLE_US, Handed(raw)) if isinstance(e, Publish)] == []
    assert answer(machine.handle(2 * SETTLE_US, Handed(raw))).sirens == 1


def test_a_fleet_that_goes_on_telling_keeps_no_order_waiting() -> None:
    machine = centre()
    assert SETTLE_LIMIT_US + client.HAND_IN_S * S <= client.HUB_S * S, "who began to ask with it is answered"
    status = Status(gateway="gw-1", session="one", state="online", at=wire.to_text(WALL))
    for now_us in range(1, SETTLE_LIMIT_US, SETTLE_US // 2):
        machine.handle(now_us, Told("gw-1", "status", status, True, WALL))
        assert [e for e in machine.handle(now_us, Handed(signed(order()))) if isinstance(e, Publish)] == []
    assert answer(machine.handle(SETTLE_LIMIT_US, Handed(signed(order())))).taken


def test_a_gateway_of_the_signed_list_that_is_not_known_here_is_sent_to_until_it_answers() -> None:
    machine = Centre("demo-hub", "demo", CONFIG.signals, Roster(CONFIG.listed, "demo", "41"))
    machine.handle(0, Clock(WALL))
    body = order()
    taken = answer(machine.handle(S, Handed(signed(body))))
    assert (taken.gateways, taken.sirens) == (1, 0)
    assert machine.deadline is not None
    assert sent(machine.handle(machine.deadline, Woken())) == [wire.gateway_topic("gw-1", False)]


def test_before_it_knows_the_time_it_takes_nothing() -> None:
    machine = Centre("demo-hub", "demo", CONFIG.signals, Roster(CONFIG.listed, "demo", "41"))
    assert not answer(machine.handle(S, Handed(signed(order())))).taken


def test_a_desk_full_of_drills_has_room_for_a_stop_and_forgets_what_is_over() -> None:
    machine = centre()
    for n in range(MAX_ORDERS):
        assert machine.take(S, signed(order(id=n, at="+3600")))[0].taken
    assert machine.take(S, signed(order(id=9999)))[0].why.startswith("busy")
    for n in range(STOP_ROOM):
        assert machine.take(S, signed(order(Action.STOP, Mode.LIVE, id=10_000 + n)))[0].taken
    # Where they have none left, the oldest of them, which has gone out, makes it.
    assert machine.take(S, signed(order(Action.STOP, Mode.LIVE, id=20_000)))[0].taken
    assert f"{10_000:032x}" not in machine.orders
    assert f"{10_001:032x}" in machine.orders
    assert machine.take(S, signed(order(id=9999)))[0].why.startswith("busy")
    for n in range(MAX_ORDERS):
        body = order(id=n)
        last = Receipt(seq=n + 1, gateway="gw-1", order=body.id, siren="s-1", stage=Stage.FINISHED,
                       at=wire.to_text(WALL))
        machine.handle(2 * S, Told("gw-1", "receipt", last, False, WALL))
    assert machine.take(3 * S, signed(order(id=9999)))[0].taken
    assert len(machine.orders) <= MAX_ORDERS + STOP_ROOM
