"""A client that follows what the resident hub sends: it has a connection of its own, and misses what that misses."""

import pytest

from controller import wire
from controller.wire import Again, Birth, Evidence, Receipt, Stage, Status
from firmware_bridge.machine import S
from hub import report
from hub.event import Broker, Clock, Told
from hub.shell import Shell
from tests.hub.test_centre import AREA, CARD, CONFIG, WALL, order, signed


@pytest.fixture
def now() -> list[int]:
    return [0]


@pytest.fixture
def shell(now: list[int], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(Shell, "now_us", staticmethod(lambda: now[0]))
    monkeypatch.setattr(Shell, "wall_us", staticmethod(lambda: WALL + now[0]))
    follower = Shell(CONFIG, "operator-1", sends=False, takes=False, on_note=lambda note: None)
    follower.feed(Clock(WALL))
    follower.feed(Broker(True))
    return follower


def told(shell: Shell, message: Birth | Status | Receipt, retained: bool = False) -> None:
    shell.feed(Told("gw-1", type(message).__name__.lower(), message, retained, shell.wall_us()))


def status(shell: Shell, last_seq: int) -> Status:
    return Status(gateway="gw-1", session="one", state="online", at=wire.to_text(shell.wall_us()), last_seq=last_seq)


def test_a_last_word_that_came_while_it_was_cut_off_is_asked_for(
    shell: Shell, now: list[int], monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[str, bytes]] = []
    monkeypatch.setattr(shell.connection, "publish", lambda topic, payload, retain=False: said.append((topic, payload)))
    told(shell, Birth(gateway="gw-1", session="one", at=wire.to_text(WALL), version="1", area=AREA, deployment="demo",
                      sirens=(CARD,), devices=(), signals={}, trust_version=1), True)
    told(shell, status(shell, 10), True)
    body = order()
    shell.carry_out([*shell.centre.take(0, signed(body))[1]])

    def receipt(seq: int, stage: Stage, siren: str = "s-1", evidence: Evidence | None = None) -> Receipt:
        return Receipt(seq=seq, gateway="gw-1", order=body.id, siren=siren, stage=stage, mode=body.mode,
                       at=wire.to_text(shell.wall_us()), evidence=evidence)

    now[0] = S
    for one in (receipt(11, Stage.RECEIVED, siren=""), receipt(12, Stage.ACCEPTED), receipt(13, Stage.STARTED)):
        told(shell, one)
    now[0] = 30 * S
    shell.feed(Broker(False, "the line broke"))
    # 14, the last word, is published now; a client has no session at the broker that would keep it.
    now[0] = 33 * S
    shell.feed(Broker(True))
    told(shell, status(shell, 14), True)
    while not said and now[0] < 60 * S:
        now[0] += S
        shell.feed(Clock(shell.wall_us()))
    # What the hub sends is the hub's to send.
    assert said == [(wire.again_topic("gw-1"), Again(first=14, last=14).encode())]
    told(shell, receipt(14, Stage.FINISHED,
                        evidence=Evidence(phases=3, commanded=3, sensed=3, independent=True)))
    dispatch = shell.centre.orders[body.id]
    assert dispatch.over
    assert report.of(body, dispatch.sirens()).good


def test_who_follows_no_order_asks_for_nothing(
    shell: Shell, now: list[int], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is said once more would be taken for the answer to what it has just told a gateway."""
    said: list[str] = []
    monkeypatch.setattr(shell.connection, "publish", lambda topic, payload, retain=False: said.append(topic))
    told(shell, status(shell, 10), True)
    told(shell, Receipt(seq=13, gateway="gw-1", order="a" * 32, stage=Stage.RECEIVED, at=wire.to_text(WALL)))
    assert shell.centre.fleet.missing("gw-1") == [(11, 12)]
    for _ in range(60):
        now[0] += S
        shell.feed(Clock(shell.wall_us()))
    assert said == []
