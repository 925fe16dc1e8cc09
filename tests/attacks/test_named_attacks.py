"""The attacks that have a name, each on a whole gateway with its hardware: no sound, a reason, an event, no harm."""

import json
from typing import Any

import pytest

from bench import office
from bench.office import (
    DRILLS,
    LI,
    LI_SECOND,
    MALLORY,
    NARROW,
    OLD,
    STOPS,
    TESTER,
    WANG,
    ZHANG,
    Order,
    b64,
    dump,
    member,
    protected,
    unb64,
)
from controller import wire
from controller.event import BrokerDown, BrokerUp, Clock, Trust
from controller.intake import ANSWERS
from controller.notices import BUCKET
from controller.wire import Stage
from firmware_bridge.machine import S
from tests.attacks.ground import ANY_TOPIC, Ground

YEARS_10_S = 3652 * 24 * 3600


@pytest.fixture
def ground() -> Ground:
    return Ground()


def with_payload(order: Order, **changes: Any) -> bytes:
    """What was signed says something else now; the signatures are the old ones."""
    outer = json.loads(order.data)
    return dump(outer | {"payload": b64(dump(json.loads(unb64(outer["payload"])) | changes))})


def with_signatures(order: Order, *members: dict[str, str]) -> bytes:
    return dump({"payload": b64(order.body.encode()), "signatures": list(members)})


def made_by(order: Order, *who: office.Key) -> list[dict[str, str]]:
    return [member(b64(order.body.encode()), one) for one in who]


# Who signed.


def test_attack_bad_second_signature(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    first, second = json.loads(true.data)["signatures"]
    other = json.loads(ground.desk.live(ground.now).data)["signatures"][1]
    ground.must_refuse(with_signatures(true, first, second | {"signature": other["signature"]}), "bad-signature", true)


def test_attack_bad_third_signature_beside_two_that_suffice(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    forged = member(b64(true.body.encode()), MALLORY, protected(WANG))
    ground.must_refuse(with_signatures(true, *made_by(true, LI, ZHANG), forged), "bad-signature", true)


def test_attack_unknown_signature_beside_two_that_suffice(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    ground.must_refuse(with_signatures(true, *made_by(true, LI, ZHANG, MALLORY)), "unknown-key", true)


def test_attack_same_signer_twice(ground: Ground) -> None:
    alone = ground.desk.order(ground.now, ZHANG)
    once = made_by(alone, ZHANG)[0]
    again = member(b64(alone.body.encode()), ZHANG, {"kid": ZHANG["kid"], "alg": "Ed25519"})
    assert once["protected"] != again["protected"]
    ground.must_refuse(with_signatures(alone, once, again), "too-few-persons", named=alone)
    alone = ground.desk.order(ground.now, ZHANG)
    ground.must_refuse(with_signatures(alone, *made_by(alone, ZHANG) * 4), "too-few-persons", named=alone)


def test_attack_same_key_under_two_ids(ground: Ground) -> None:
    """Such a list is not let in, whoever signed it; and if one ruled all the same, the key would count once."""
    twice = office.SIGNERS | {"another-name": office.SIGNERS[ZHANG["kid"]] | {"person": "Somebody else"}}
    said = ground.send(office.listed(version=office.VERSION + 1, keys=twice), 1, wire.trust_topic("41"))
    assert [(e.what, e.subject) for e in said.events] == [("trust-refused", "malformed")]
    alone = ground.desk.order(ground.now, ZHANG)
    other = member(b64(alone.body.encode()), ZHANG, {"alg": "Ed25519", "kid": "another-name"})
    ground.must_refuse(with_signatures(alone, *made_by(alone, ZHANG), other), "unknown-key", named=alone)
    ruling = office.trusted().list
    ground.station.gateway.orders.trust = ruling.model_copy(update={"keys": ruling.keys | {
        "another-name": ruling.keys[ZHANG["kid"]].model_copy(update={"person": "Somebody else"})}})
    alone = ground.desk.order(ground.now, ZHANG)
    other = member(b64(alone.body.encode()), ZHANG, {"alg": "Ed25519", "kid": "another-name"})
    ground.must_refuse(with_signatures(alone, *made_by(alone, ZHANG), other), "too-few-persons", named=alone)


def test_attack_same_person_with_two_keys(ground: Ground) -> None:
    ground.must_refuse(ground.desk.order(ground.now, LI, LI_SECOND), "too-few-persons")


def test_attack_foreign_key_under_a_known_name(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    forged = member(b64(true.body.encode()), MALLORY, protected(ZHANG))
    ground.must_refuse(with_signatures(true, *made_by(true, LI), forged), "bad-signature", true)


def test_attack_key_that_is_not_valid_any_more(ground: Ground) -> None:
    ground.must_refuse(ground.desk.order(ground.now, LI, OLD), "key-not-valid")


@pytest.mark.parametrize(("who", "changes", "reason"), [
    ((LI, DRILLS), {}, "wrong-mode"),
    ((DRILLS, ZHANG), {}, "wrong-mode"),
    ((LI, WANG), {}, "too-few-persons"),
    ((LI, TESTER), {}, "too-few-persons"),
    ((TESTER,), {"mode": "drill"}, "too-few-persons"),
    ((STOPS,), {"mode": "drill"}, "wrong-action"),
    ((STOPS, LI), {}, "wrong-action"),
])
def test_attack_role_above_ceiling(ground: Ground, who: tuple[office.Key, ...], changes: dict[str, Any],
                                   reason: str) -> None:
    ground.must_refuse(ground.desk.order(ground.now, *who, **changes), reason)


def test_attack_lone_operator_stops_a_live_warning(ground: Ground) -> None:
    live = ground.desk.live(ground.now, sound="air-raid")
    ground.send(live, 2)
    alone = ground.desk.stop(ground.now, LI)
    said = ground.send(alone, 3)
    assert [(r.stage, r.reason) for r in said.receipts if r.order == alone.body.id and r.stage.terminal] == [
        (Stage.REJECTED, "too-few-persons")] * 2
    assert ground.onsets > 0
    ground.wait(190)
    ends = {r.siren: r.stage for r in ground.station.receipts() if r.order == live.body.id and r.stage.terminal}
    assert ends == dict.fromkeys(("s-301", "s-302"), Stage.FINISHED)


# What is ordered, and where.


@pytest.mark.parametrize("area", ["42", "42/01", "4"])
def test_attack_wrong_area(ground: Ground, area: str) -> None:
    ground.must_refuse(ground.desk.live(ground.now, area=area), "wrong-area")


def test_attack_commander_of_another_district(ground: Ground) -> None:
    ground.must_refuse(ground.desk.order(ground.now, LI, NARROW), "wrong-area")


@pytest.mark.parametrize(("signed", "widened"), [
    ("41/01/05", "41"), ("41/01/03/002", "41/01/03"), ("41/01/04", "41/01/03"),
])
def test_attack_widened_area(ground: Ground, signed: str, widened: str) -> None:
    true = ground.desk.live(ground.now, area=signed)
    ground.must_refuse(with_payload(true, area=widened), "bad-signature", ground.desk.live(ground.now), named=true)


def test_attack_drill_turned_live(ground: Ground) -> None:
    true = ground.desk.order(ground.now, LI, ZHANG, mode="drill")
    ground.must_refuse(with_payload(true, mode="live"), "bad-signature", true)


def test_attack_live_turned_drill(ground: Ground) -> None:
    """The other way round is as bad: a warning that everybody takes for a test."""
    true = ground.desk.live(ground.now)
    ground.must_refuse(with_payload(true, mode="drill"), "bad-signature", true)


def test_attack_signal_hash_swapped(ground: Ground) -> None:
    true = ground.desk.live(ground.now, sound="air-raid")
    other = ground.config.signals.digest("all-clear")
    ground.must_refuse(with_payload(true, sound={"name": "air-raid", "digest": other}), "bad-signature", true)
    # And where two persons really sign it, the gateway's own signal is another one.
    ground.must_refuse(ground.desk.live(ground.now, sound="air-raid", digest=other), "signal-mismatch", told=False)


def test_attack_other_deployment(ground: Ground) -> None:
    ground.must_refuse(ground.desk.live(ground.now, deployment="test-net"), "wrong-deployment")
    true = ground.desk.live(ground.now, deployment="test-net")
    ground.must_refuse(with_payload(true, deployment="demo"), "bad-signature", ground.desk.live(ground.now), named=true)


# When.


def test_attack_expired(ground: Ground) -> None:
    old = ground.desk.live(ground.now, life_s=60)
    ground.wait(61)
    ground.must_refuse(old, "expired")


def test_attack_expired_order_with_a_longer_life(ground: Ground) -> None:
    old = ground.desk.live(ground.now, life_s=60)
    ground.wait(61)
    longer = with_payload(old, expires_at=wire.to_text(ground.now + 200 * S))
    ground.must_refuse(longer, "bad-signature", ground.desk.live(ground.now), named=old)


@pytest.mark.parametrize(("ahead_s", "reason"), [(10, "not-yet"), (3600, "not-yet"), (YEARS_10_S, "not-yet")])
def test_attack_future(ground: Ground, ahead_s: int, reason: str) -> None:
    ground.must_refuse(ground.desk.live(ground.now + ahead_s * S), reason)


def test_attack_long_life(ground: Ground) -> None:
    """Somebody who holds an order back cannot hold it for long: two who may sign such a thing are refused as well."""
    ground.must_refuse(ground.desk.live(ground.now, life_s=301), "too-long")


def test_attack_retained_order(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    said = ground.send(true, 3, retained=True)
    assert (ground.onsets, said.receipts) == (0, ())
    assert said.refusals(true) == ["retained"]
    ground.must_take(true)


@pytest.mark.parametrize("years", [10, -10])
@pytest.mark.parametrize("level", [Trust.ASSUMED, Trust.UNTRUSTED])
def test_attack_clock_ten_years_off(ground: Ground, years: int, level: Trust) -> None:
    """An order of the past does not become fresh, and when the clock is right again the office can warn."""
    old = ground.desk.live(ground.now, life_s=30)
    ground.wait(31)
    ground.world.step_wall(years // 10 * YEARS_10_S)
    ground.world.tell(ground.station, Clock(ground.world.wall_us, 0, level))
    said = ground.send(old, 0.5)
    assert ground.onsets == 0
    expected = "no-time" if level is Trust.UNTRUSTED else "expired" if years > 0 else "not-yet"
    assert said.of(old) == [(Stage.REJECTED, expected)]
    assert said.refusals(old) == [expected]
    ground.world.step_wall(-years // 10 * YEARS_10_S)
    ground.wait(2)
    ground.must_take(ground.desk.live(ground.now))


@pytest.mark.parametrize("years", [10, -10])
def test_attack_clock_ten_years_off_while_it_sounds(ground: Ground, years: int) -> None:
    """What sounds goes on for as long as it was ordered, and a stop of the clock's right date ends nothing later."""
    live = ground.desk.live(ground.now, sound="air-raid")
    ground.send(live, 10)
    ground.world.step_wall(years // 10 * YEARS_10_S)
    ground.wait(185)
    ends = [r for r in ground.station.receipts() if r.order == live.body.id and r.stage.terminal]
    assert [r.stage for r in ends] == [Stage.FINISHED] * 2
    assert not ground.sounding


@pytest.mark.parametrize("years", [10, -10])
def test_attack_clock_ten_years_off_while_a_programme_waits(ground: Ground, years: int) -> None:
    """It does not begin at the wrong instant. It begins at the right one if the clock was mended before."""
    armed = ground.desk.live(ground.now, in_s=60)
    ground.send(armed, 5)
    ground.world.step_wall(years // 10 * YEARS_10_S)
    ground.wait(20)
    assert ground.onsets == 0
    ground.world.step_wall(-years // 10 * YEARS_10_S)
    ground.wait(34)
    assert ground.onsets == 0
    ground.wait(5)
    ends = {r.stage for r in ground.station.receipts() if r.order == armed.body.id and r.siren and r.stage.terminal}
    # Ten years ahead its time is over, and that is said; a clock that is behind costs nothing.
    assert (ground.onsets, ends) == ((0, {Stage.FAILED}) if years > 0 else (2, set()))


@pytest.mark.parametrize("years", [10, -10])
def test_attack_clock_not_believed_leaves_the_stop(ground: Ground, years: int) -> None:
    ground.send(ground.desk.live(ground.now, sound="air-raid"), 3)
    stop = ground.desk.stop(ground.now)
    ground.world.step_wall(years // 10 * YEARS_10_S)
    ground.world.tell(ground.station, Clock(ground.world.wall_us, 0, Trust.UNTRUSTED))
    ground.send(stop, 0.9)
    ground.wait(2)
    assert not ground.sounding


# Once more.


def test_attack_ten_thousand_queued_old_orders_on_reconnect(ground: Ground) -> None:
    """A broker kept them for a gateway that was away, and hands them over in one go; then comes a true one."""
    old = [ground.desk.live(ground.now, life_s=30) if n % 2 else ground.desk.drill(ground.now, life_s=30)
           for n in range(10_000)]
    ground.world.tell(ground.station, BrokerDown("away"))
    ground.wait(60)
    records = len(ground.station.records)
    ground.world.tell(ground.station, BrokerUp())
    for order in old:
        ground.send(order, 0)
    true = ground.desk.live(ground.now)
    said = ground.send(true, 2)
    assert ground.onsets == 2
    assert len([r for r in ground.station.receipts() if r.stage is Stage.ACCEPTED]) == 2
    refused = [r for r in said.receipts if r.stage is Stage.REJECTED]
    assert {r.reason for r in refused} == {"expired"}
    assert 0 < len(refused) <= ANSWERS + 5
    ground.wait(5)
    told = [e for e in ground.events() if e.what == "order-refused"]
    assert 0 < len(told) <= BUCKET + 10
    assert any(e.what == "muted" and int(e.detail.split()[0]) > 9_000 for e in ground.events())
    assert len(ground.station.records) - records <= 3 * (ANSWERS + BUCKET + 20)


def test_attack_duplicates_over_two_bearers(ground: Ground) -> None:
    """The area's topic, the gateway's own, and a file at the local door, again and again: one sounding."""
    true = ground.desk.live(ground.now)
    doors: list[dict[str, Any]] = [
        {"topic": ANY_TOPIC}, {"topic": wire.gateway_topic(ground.config.id, False)}, {"topic": "", "client": 9}]
    for n in range(300):
        ground.send(true, 0.05, **doors[n % 3])
    ground.wait(60)
    phases = len(ground.config.signals.timeline("demo-air-raid").phases)
    assert ground.onsets == phases * 2
    accepted = [r for r in ground.station.receipts() if r.order == true.body.id and r.stage is Stage.ACCEPTED]
    assert len(accepted) == 2
    ground.must_take(ground.desk.live(ground.now))


def test_attack_same_id_with_other_content(ground: Ground) -> None:
    """Both are rightly signed. The first counts, and the second is told of."""
    first = ground.desk.live(ground.now)
    second = ground.desk.live(ground.now, id=first.body.id, sound="air-raid")
    ground.send(first, 2)
    said = ground.send(second, 3)
    assert said.refusals(first) == ["duplicate-id-other-content"]
    assert said.of(first) == []
    assert {r.order for r in ground.station.receipts() if r.stage is Stage.ACCEPTED} == {first.body.id}
    ground.quiet()
    ground.must_take(ground.desk.live(ground.now))


def test_attack_false_copy_first_keeps_the_true_order_out_of_nothing(ground: Ground) -> None:
    true = ground.desk.live(ground.now)
    for _ in range(50):
        ground.send(with_payload(true, area="41"), 0.02)
        ground.send(with_signatures(true, *made_by(true, LI)), 0.02)
    ground.wait(1)
    ground.must_take(true)
    # Its last word is that it was stopped, not that somebody once sent a false copy.
    assert [r.stage for r in ground.station.receipts() if r.order == true.body.id][-1] is Stage.STOPPED


def test_attack_replayed_stop(ground: Ground) -> None:
    """It ended what was issued before it; what was issued later goes on."""
    ground.send(ground.desk.live(ground.now, sound="air-raid"), 2)
    stop = ground.desk.stop(ground.now)
    ground.send(stop, 3)
    assert not ground.sounding
    ground.send(ground.desk.live(ground.now, sound="air-raid"), 2)
    assert len(ground.sounding) == 2
    before = ground.onsets
    for _ in range(20):
        ground.send(stop, 1)
    ground.wait(170)
    # Fifteen phases on two sirens, of which the first had begun.
    assert ground.onsets == before + 2 * 14
    assert len([r for r in ground.station.receipts() if r.order == stop.body.id and r.stage.terminal]) == 2


def test_attack_stop_that_was_held_back(ground: Ground) -> None:
    """Signed to end a drill, kept by somebody, and let go when there is a warning."""
    held = ground.desk.stop(ground.now)
    ground.wait(120)
    live = ground.desk.live(ground.now, sound="air-raid")
    ground.send(live, 2)
    said = ground.send(held, 5)
    assert {(r.stage, r.reason) for r in said.receipts if r.order == held.body.id and r.siren and r.stage.terminal} == {
        (Stage.REJECTED, "issued-later")}
    ground.wait(190)
    ends = {r.stage for r in ground.station.receipts() if r.order == live.body.id and r.stage.terminal}
    assert ends == {Stage.FINISHED}
    ground.must_take(ground.desk.live(ground.now))


def test_attack_stop_after_its_life(ground: Ground) -> None:
    held = ground.desk.stop(ground.now, life_s=600)
    ground.wait(601)
    said = ground.send(held, 2)
    assert (said.of(held), said.refusals(held)) == ([(Stage.REJECTED, "expired")], ["expired"])
    ground.must_take(ground.desk.live(ground.now))


def test_attack_order_that_a_stop_forbade_comes_late(ground: Ground) -> None:
    late = ground.desk.live(ground.now)
    ground.wait(1)
    ground.send(ground.desk.stop(ground.now), 2)
    said = ground.send(late, 3)
    assert ground.onsets == 0
    assert {(r.stage, r.reason) for r in said.receipts if r.order == late.body.id and r.siren} == {
        (Stage.REJECTED, "stopped")}
    ground.must_take(ground.desk.live(ground.now))


def test_attack_flood_of_false_orders_delays_no_warning(ground: Ground) -> None:
    """Three hundred a second that look right until their signatures are checked, for ten seconds."""
    false = []
    for _ in range(200):
        order = ground.desk.live(ground.now)
        first, second = json.loads(order.data)["signatures"]
        false.append(with_signatures(order, first, second | {"signature": first["signature"]}))
    for n in range(2_000):
        ground.send(false[n % 200], 0.0033)
    assert ground.onsets == 0
    ground.must_take(ground.desk.live(ground.now))

