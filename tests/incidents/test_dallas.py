"""Dallas, Texas, 7 April 2017, 23:42. Somebody played radio tones that he had recorded at the monthly test, and all
156 sirens sounded some fifteen times ninety seconds until 01:20. The tones were the same every time and no secret, the
sirens took them from anybody, a stop at the centre did not hold because the next replay followed, and in the end they
were unplugged by hand; over 4,000 people called for help (reference: field §6, safety §3.1).

Here an order is signed, bears an id that is done once, and begins in its time or never; a stop by anybody at the
cabinet, or by the office, ends what sounds, and the office's forbids whatever was issued before it.
"""

import pytest

from controller import wire
from controller.wire import Stage
from tests.attacks.ground import Ground

CYCLES, CYCLE_S = 15, 20
"""So many replays; they came every six minutes, but the hurry makes it worse."""
CITY = ("gateway-3.toml", "gateway.toml", "gateway-2.toml")


@pytest.fixture
def ground() -> Ground:
    return Ground(*CITY)


def test_dallas_the_recorded_monthly_test_is_played_again_all_night(ground: Ground) -> None:
    test = ground.desk.drill(ground.now, area="41")
    ground.send(test, 60)
    sounded = ground.onsets
    assert sounded > 20
    finished = len([r for r in ground.receipts() if r.order == test.body.id and r.stage is Stage.FINISHED])
    assert finished == 7
    for _ in range(CYCLES):
        for topic in (wire.order_topic("41", False), wire.order_topic("41", True),
                      wire.gateway_topic(ground.config.id, False)):
            ground.send(test, 1, topic=topic)
        ground.wait(CYCLE_S - 3)
        assert ground.onsets == sounded
    # The same id gets the same answer, however often it is asked.
    assert len([r for r in ground.receipts() if r.order == test.body.id and r.stage is Stage.FINISHED]) == finished


def test_dallas_the_recording_is_played_to_gateways_that_were_switched_off_and_on(ground: Ground) -> None:
    test = ground.desk.drill(ground.now)
    ground.send(test, 60)
    sounded = ground.onsets
    ground.restart()
    ground.send(test, 10)
    assert ground.onsets == sounded


def test_dallas_a_recording_that_a_gateway_never_heard(ground: Ground) -> None:
    """The order was for another district when it was recorded; it lives for four minutes."""
    test = ground.desk.drill(ground.now)
    ground.wait(241)
    for _ in range(3):
        said = ground.send(test, 10)
    assert ground.onsets == 0
    assert {r.reason for r in ground.receipts() if r.order == test.body.id} == {"expired"}
    assert said.receipts
    assert any(e.what == "order-refused" and e.detail.startswith("expired") for e in ground.events())


def test_dallas_a_stop_holds_against_the_next_replay(ground: Ground) -> None:
    live = [ground.desk.live(ground.now, sound="air-raid", area="41") for _ in range(CYCLES)]
    ground.send(live[0], 3)
    assert len(ground.sounding) > 5
    ground.send(ground.desk.stop(ground.now, area="41"), 5)
    assert ground.sounding == set()
    sounded = ground.onsets
    for replay in live[1:]:
        ground.send(replay, 5)
    assert ground.onsets == sounded
    assert {r.reason for r in ground.receipts() if r.order == live[1].body.id and r.stage.terminal} == {"stopped"}


def test_dallas_the_site_can_be_silenced_at_its_own_door(ground: Ground) -> None:
    """With nobody's key, and without the centre."""
    ground.send(ground.desk.live(ground.now, sound="air-raid"), 3)
    assert len(ground.sounding) == 2
    assert ground.ask("anybody", "stop", siren="all")[-1]["last"] is True
    assert ground.sounding == set()
    assert any(e.what == "local-stop" and e.urgent for e in ground.events())


def test_dallas_what_sounds_without_an_order_is_named(ground: Ground) -> None:
    """Somebody found another way to the horn: the centre is told which one it is, within seconds."""
    ground.world.inject("head-301", "panel")
    said = ground.wait(5)
    assert [e.subject for e in said.events if e.what == "sounding-without-order" and e.urgent] == ["s-301"]
