"""Attacks on the trust list: an old one, a forged one, two of one version, one that a lost journal should forget."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import office
from bench.office import LI, MALLORY, SIGNERS, VERSION, WANG, ZHANG, dump, roots
from controller import wire
from controller.event import Arrived
from controller.wire import Stage
from tests.attacks.ground import Ground, Said
from tests.attacks.store import reopened

TOPIC = wire.trust_topic("41")
WITHOUT_WANG = {kid: one for kid, one in SIGNERS.items() if kid != WANG["kid"]}


@pytest.fixture
def ground() -> Ground:
    return Ground()


def offer(ground: Ground, data: bytes, retained: bool = True) -> Said:
    return ground.send(data, 1, TOPIC, retained)


def told(said: Said) -> list[tuple[str, str]]:
    return [(e.what, e.subject) for e in said.events]


def wang_left(ground: Ground) -> None:
    """The office has a newer list, in which one of its operators is no more."""
    said = offer(ground, office.listed(version=VERSION + 1, keys=WITHOUT_WANG))
    assert ("trust-list", str(VERSION + 1)) in told(said)


def must_not_take_wang(ground: Ground) -> None:
    ground.must_refuse(ground.desk.order(ground.now, WANG, ZHANG), "unknown-key")


def test_attack_trust_list_rollback(ground: Ground) -> None:
    """An older list, rightly signed in its day, from the broker, again and again."""
    wang_left(ground)
    must_not_take_wang(ground)
    for n in range(3):
        ground.wait(30)
        said = offer(ground, office.listed(version=VERSION - n))
        assert told(said) == [("trust-refused", "older")]
        must_not_take_wang(ground)


def test_attack_trust_list_rollback_by_a_restart(ground: Ground) -> None:
    """The file that gateway.toml names is the old one still, and one more restart does not help."""
    wang_left(ground)
    for _ in range(2):
        ground.restart()
        must_not_take_wang(ground)


def test_attack_trust_list_rollback_by_a_deleted_journal(ground: Ground, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    wang_left(ground)
    reopened(ground, tmp_path, monkeypatch, delete=True)
    # The journal forgot it, the file beside it did not.
    said = ground.send(ground.desk.order(ground.now, WANG, ZHANG), 5)
    assert (ground.onsets, {r.reason for r in said.receipts}) == (0, {"unknown-key"})


def test_attack_trust_list_rollback_at_the_cabinet(ground: Ground) -> None:
    wang_left(ground)
    answer = ground.ask("anybody", "trust", text=office.listed().decode())[-1]
    assert (answer["trust"], answer["reason"], answer["version"]) == ("refused", "older", VERSION + 1)
    must_not_take_wang(ground)


@pytest.mark.parametrize(("data", "reason"), [
    (office.listed(roots()[:1], version=VERSION + 1), "too-few-roots"),
    (office.listed([*roots()[:1], MALLORY], version=VERSION + 1), "too-few-roots"),
    (office.listed([LI, ZHANG, office.CHEN], version=VERSION + 1), "too-few-roots"),
    (office.listed(version=VERSION, keys=WITHOUT_WANG), "fork"),
    (office.listed(version=VERSION + 1, deployment="city"), "wrong-deployment"),
    (dump({"v": 1, "version": VERSION + 1, "keys": SIGNERS}), "unsigned"),
    (office.listed(version=VERSION + 1, keys=SIGNERS | {MALLORY["kid"]: {"person": "Mallory"}}), "malformed"),
    (office.listed(version=VERSION + 1, roots={"keys": [MALLORY["x"]], "threshold": 1}), "too-few-new-roots"),
    (office.listed(version=float(VERSION + 1)), "malformed"),
    (b"{", "malformed"),
    (b" " * (600 * 1024), "too-large"),
])
def test_attack_forged_trust_list(ground: Ground, data: bytes, reason: str) -> None:
    said = offer(ground, data)
    assert told(said) == [("trust-refused", reason)]
    ground.must_refuse(ground.desk.order(ground.now, MALLORY, ZHANG), "unknown-key")


def test_attack_forged_trust_list_with_the_signatures_of_a_true_one(ground: Ground) -> None:
    """A thief adds his key to the list that all know, and one root's signature from an older one."""
    true: dict[str, Any] = json.loads(office.listed())
    plain = json.loads(office.unb64(true["payload"]))
    mallory = SIGNERS[ZHANG["kid"]] | {"person": "Mallory", "key": SIGNERS[ZHANG["kid"]]["key"] | {"x": MALLORY["x"]}}
    forged = plain | {"version": VERSION + 1, "keys": plain["keys"] | {MALLORY["kid"]: mallory}}
    said = offer(ground, dump(true | {"payload": office.b64(dump(forged))}))
    assert told(said) == [("trust-refused", "bad-signature")]
    ground.must_refuse(ground.desk.order(ground.now, LI, MALLORY), "unknown-key")


def test_attack_flood_of_trust_lists(ground: Ground) -> None:
    """Looking at a list costs time; orders are served all the same, and the journal does not fill."""
    records = len(ground.station.records)
    for n in range(200):
        ground.world.tell(ground.station, Arrived(TOPIC, office.listed(roots()[:1], version=VERSION + 1 + n)))
    ground.must_take(ground.desk.live(ground.now))
    ground.wait(40)
    assert len([r for _, r in ground.station.records[records:] if r.kind == "event"]) < 30
    assert [r.kind for _, r in ground.station.records[records:]].count("trust") == 0


def test_an_order_that_waits_loses_who_signed_it(ground: Ground) -> None:
    armed = ground.desk.order(ground.now, WANG, ZHANG, in_s=30)
    ground.send(armed, 2)
    wang_left(ground)
    ground.wait(60)
    assert ground.onsets == 0
    ends = {(r.stage, r.reason) for r in ground.receipts() if r.order == armed.body.id and r.siren and r.stage.terminal}
    assert ends == {(Stage.STOPPED, "key-withdrawn")}
    ground.must_take(ground.desk.live(ground.now))
