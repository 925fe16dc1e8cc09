"""The trust list at the centre: what it takes, what it publishes, and which gateways it names."""

import json

import pytest

from controller import wire
from controller.wire import Birth
from firmware_bridge.machine import S
from hub import config
from hub.centre import Centre
from hub.event import Broker, Clock, Handed, Listed, Note, Publish, Taken, Told
from hub.roster import AGAIN_US, Roster
from tests.ceremony import DEPLOYMENT, LI, NEW_ROOTS, OLD_ROOTS, ZHANG, entry, listed, plain, signed
from tests.hub.test_centre import CONFIG, DEMO, WALL, answer, order
from tests.hub.test_centre import signed as signed_order

AREA = "41/01/05/001/001"
TOPIC = wire.trust_topic("41")


def centre(version: int = 7) -> Centre:
    machine = Centre("demo-hub", DEPLOYMENT, CONFIG.signals, Roster(listed(version), DEPLOYMENT, "41"))
    machine.handle(0, Clock(WALL))
    machine.handle(0, Broker(True))
    return machine


def birth(version: int, session: str = "one", deployment: str = DEPLOYMENT) -> Birth:
    return Birth(gateway="gw-1", session=session, at=wire.to_text(WALL), version="1", area=AREA, deployment=deployment,
                 sirens=(), devices=(), signals={}, trust_version=version)


def told(version: int, retained: bool = False, session: str = "one", deployment: str = DEPLOYMENT) -> Told:
    return Told("gw-1", "birth", birth(version, session, deployment), retained, WALL)


def notes(effects: list[Publish | Note]) -> dict[str, Note]:
    return {e.what: e for e in effects if isinstance(e, Note) and e.what.startswith("trust")}


def published(effects: list[Publish | Note]) -> list[Publish]:
    return [e for e in effects if isinstance(e, Publish) and e.topic == TOPIC]


def test_a_list_handed_in_is_taken_and_published_retained_as_it_came() -> None:
    machine, raw = centre(), signed(plain(8))
    out = machine.handle(S, Handed(raw))
    assert answer(out) == Taken(order=listed(8).digest, taken=True)
    assert published(out) == [Publish(TOPIC, raw, retain=True)]
    assert machine.roster.listed.version == 8
    assert notes(out)["trust-list"].subject == "8"
    # Once more, for one who was not answered: published again, and no news.
    again = machine.handle(2 * S, Handed(raw))
    assert answer(again).taken
    assert (len(published(again)), notes(again)) == (1, {})


@pytest.mark.parametrize(("raw", "reason"), [
    (signed(plain(6)), "older"), (signed(plain(8), OLD_ROOTS[0]), "too-few-roots"),
    (signed(plain(7, keys={LI["kid"]: entry(LI, "operator")})), "fork"),
    (signed(plain(8, deployment="city")), "wrong-deployment"),
])
def test_a_list_that_gateways_would_refuse_is_refused(raw: bytes, reason: str) -> None:
    machine = centre()
    out = machine.handle(S, Handed(raw))
    assert (answer(out).taken, answer(out).why.partition(":")[0]) == (False, reason)
    assert answer(out).order != ""
    assert published(out) == []
    assert machine.roster.listed.version == 7
    assert notes(out)["trust-refused"].urgent


def test_what_others_published_is_followed_and_not_published_again() -> None:
    machine = centre()
    out = machine.handle(S, Listed(signed(plain(8))))
    assert (machine.roster.listed.version, published(out)) == (8, [])
    assert notes(machine.handle(S, Listed(signed(plain(8))))) == {}
    old = notes(machine.handle(S, Listed(signed(plain(7)))))["trust-refused"]
    assert (old.subject, old.urgent) == ("older", False)
    forged = notes(machine.handle(S, Listed(signed(plain(9), *NEW_ROOTS))))["trust-refused"]
    assert (forged.subject, forged.urgent) == ("too-few-roots", True)


def test_orders_are_judged_by_the_list_that_rules_by_now() -> None:
    machine = Centre("demo-hub", "demo", CONFIG.signals, Roster(CONFIG.listed, "demo", "41"))
    machine.handle(0, Clock(WALL))
    raw = signed_order(order(), "operator-1")
    assert answer(machine.handle(S, Handed(raw))).taken
    roots = [json.loads((DEMO / f"roots/root-{n}.jwk").read_text()) for n in (1, 2, 3)]
    demo = CONFIG.listed.list.model_dump(mode="json")
    kept = {kid: e for kid, e in demo["keys"].items() if e["person"] != "Li Wei"}
    machine.handle(S, Listed(signed(demo | {"version": 2, "keys": kept}, *roots)))
    refused = answer(machine.handle(S, Handed(signed_order(order(id=2), "operator-1"))))
    assert (refused.taken, refused.why.partition(":")[0]) == (False, "unknown-key")


def test_a_gateway_that_is_behind_is_named_and_the_list_published_again() -> None:
    machine = centre()
    assert notes(machine.handle(S, told(7))) == {}
    out = machine.handle(AGAIN_US, told(6, session="two"))
    assert (notes(out)["trust-behind"].subject, notes(out)["trust-behind"].urgent) == ("6", True)
    assert published(out) == [Publish(TOPIC, listed(7).text.encode(), retain=True)]
    # Not for each of many, nor for one that said so long ago.
    assert published(machine.handle(AGAIN_US + S, told(6, session="three"))) == []
    assert published(machine.handle(3 * AGAIN_US, told(6, retained=True))) == []
    assert len(published(machine.handle(3 * AGAIN_US, told(6, session="four")))) == 1


def test_a_gateway_that_went_back_is_named() -> None:
    """A card exchanged, or restored from a copy."""
    machine = centre(5)
    assert notes(machine.handle(S, told(9))) == {}
    went = notes(machine.handle(2 * S, told(5, session="two")))["trust-went-back"]
    assert (went.gateway, went.subject, went.urgent) == ("gw-1", "5", True)
    assert "version 9" in went.detail
    assert notes(machine.handle(3 * S, told(5, session="three"))) == {}
    assert notes(machine.handle(4 * S, told(9, session="three"))) == {}
    # Another installation's gateway counts by itself.
    assert "trust-went-back" not in notes(machine.handle(5 * S, told(1, deployment="city")))
    assert "trust-behind" not in notes(machine.handle(5 * S, told(1, deployment="city")))


def test_the_hub_follows_a_rotation() -> None:
    machine = centre()
    machine.handle(S, Listed(signed(plain(8, holders=NEW_ROOTS), *OLD_ROOTS[:2], *NEW_ROOTS[:2])))
    assert answer(machine.handle(S, Handed(signed(plain(9))))).taken is False
    assert answer(machine.handle(S, Handed(signed(plain(9, holders=NEW_ROOTS), *NEW_ROOTS[1:])))).taken
    assert machine.roster.listed.version == 9


def test_the_hubs_file_is_judged_by_its_pins() -> None:
    assert CONFIG.listed.list is CONFIG.trusted
    assert config.load(DEMO / "hub.toml").spec.trust.pinned.digest == CONFIG.trusted.roots.digest
    assert ZHANG["kid"] not in CONFIG.trusted.keys


def retained_by_the_broker(out: list[Publish | Note], before: bytes) -> bytes:
    return next((p.payload for p in reversed(published(out))), before)


def test_a_hub_that_comes_back_puts_no_older_list_over_the_one_that_the_broker_has() -> None:
    """Its file was of version 5, the broker had 7, and a birth of before, with 4, came first."""
    machine = centre(5)
    newest = signed(plain(7))
    out = machine.handle(1, told(4))
    assert "trust-behind" in notes(out)
    out += machine.handle(2, Listed(newest))
    for at_us in range(S, 20 * S, S):
        out += machine.handle(at_us, Clock(WALL + at_us))
    assert machine.roster.listed.version == 7
    assert published(out) == []


def test_a_broker_that_forgot_the_list_has_it_again_from_a_hub_that_has_just_come() -> None:
    machine = centre(5)
    assert published(machine.handle(1, told(4))) == []
    assert published(machine.handle(S, Clock(WALL + S))) == [Publish(TOPIC, listed(5).text.encode(), retain=True)]
    assert published(machine.handle(2 * S, Clock(WALL + 2 * S))) == []


def test_an_older_list_is_followed_by_the_newest_and_not_in_a_quarrel() -> None:
    machine, older = centre(7), signed(plain(6))
    said = machine.handle(S, Listed(older))
    assert published(said) == [Publish(TOPIC, listed(7).text.encode(), retain=True)]
    assert not notes(said)["trust-refused"].urgent
    # Somebody goes on publishing the old one, and the last word is not his.
    count, last = 0, older
    for at_us in range(2 * S, 60 * S, S):
        out = machine.handle(at_us, Listed(older)) if at_us < 30 * S else machine.handle(at_us, Clock(WALL + at_us))
        count += len(published(out))
        last = retained_by_the_broker(out, older if at_us < 30 * S else last)
    assert count == 3
    assert last == listed(7).text.encode()
    # A list that is refused for anything else is no reason to say it again.
    assert published(machine.handle(90 * S, Listed(signed(plain(9), *NEW_ROOTS)))) == []
