"""SirenJack, San Francisco, disclosed in April 2018. The city's sirens (ATI) took radio packets that were neither
encrypted nor signed. Bastille listened to the weekly test, learned the format, and could forge any activation with a
radio for thirty-five dollars (reference: field §6, safety §3.1).

Here all the formats are public, and what went over the wire may be known to everybody: without two persons' private
keys, which are on no gateway and on no hub, nothing that anybody makes up of it sounds.
"""

import json
from random import Random

import pytest

from bench import authority, office
from bench.forge import Forger
from bench.office import DEPLOYMENT, MALLORY, SIGNERS, b64, dump, unb64
from controller import wire
from controller.wire import Stage
from tests.attacks.ground import Ground

WEEKS = 4


@pytest.fixture
def ground() -> Ground:
    return Ground()


def test_sirenjack_what_is_learned_from_the_weekly_test_forges_nothing(ground: Ground) -> None:
    heard = []
    for _ in range(WEEKS):
        heard.append(ground.desk.drill(ground.now))
        ground.send(heard[-1], 60)
    sounded = ground.onsets
    assert sounded > 0
    forger = Forger(Random(2018), heard)
    forged = [data for _, data in (forger.mutant() for _ in range(1500))
              if not authority.authorised(data, SIGNERS, DEPLOYMENT, ground.now)]
    assert len(forged) > 1000
    for data in forged:
        ground.send(data, 0.02)
    assert ground.onsets == sounded
    assert {r.order for r in ground.receipts() if r.stage is Stage.ACCEPTED} == {o.body.id for o in heard}
    ground.must_take(ground.desk.live(ground.now))


def test_sirenjack_a_perfect_packet_without_a_key(ground: Ground) -> None:
    """Fresh, well-formed, for the right place: everything but the signatures is as the office would have it."""
    for signers in ((MALLORY,), (MALLORY, MALLORY)):
        ground.must_refuse(ground.desk.order(ground.now, *signers), "unknown-key")
    template = ground.desk.live(ground.now)
    text = b64(template.body.encode())
    named = [office.member(text, MALLORY, office.protected(one)) for one in (office.LI, office.ZHANG)]
    ground.must_refuse(dump({"payload": text, "signatures": named}), "bad-signature", template)


def test_sirenjack_the_weekly_test_with_the_hour_changed(ground: Ground) -> None:
    heard = ground.desk.drill(ground.now)
    ground.send(heard, 60)
    sounded = ground.onsets
    ground.wait(600)
    outer = json.loads(heard.data)
    body = json.loads(unb64(outer["payload"])) | {
        "id": f"{7:032x}", "issued_at": wire.to_text(ground.now), "not_before": wire.to_text(ground.now),
        "expires_at": wire.to_text(ground.now + 240_000_000)}
    said = ground.send(dump(outer | {"payload": b64(dump(body))}), 5)
    assert ground.onsets == sounded
    assert [r.reason for r in said.receipts] == ["bad-signature"]
    assert [e.what for e in said.events] == ["order-refused"]


def test_sirenjack_a_stolen_gateway_has_no_key_to_sign_with(ground: Ground) -> None:
    """All that a gateway holds of the office is public: its trust list and the orders in its journal."""
    ground.send(ground.desk.live(ground.now), 5)
    held = json.dumps([dict(r.body) for _, r in ground.station.records]) + office.trusted().list.model_dump_json()
    assert all(one["x"] in held for one in office.INSIDERS)
    assert not any(one["d"] in held for one in (*office.INSIDERS, *office.OUTSIDERS))
