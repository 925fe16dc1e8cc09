"""Zhuhai, 25 August 2022, 15:50. While the system was being serviced for the yearly test-sounding, a key of the master
console had a fault and was handled wrongly; every siren of the city sounded for about a minute, and the office
apologised in public (reference: field §6, safety §0).

Here who services a siren locks it out, by key or by tag, and no order reaches it; what a technician can try sounds one
siren for seconds; a key that bounces says the same order again, which is done once; and a console alone signs nothing
live.
"""

import pytest

from bench.office import LI
from controller.wire import Stage
from tests.attacks.ground import Ground

TECHNICIANS = {"zhao": "Zhao Tech"}
CITY = ("gateway-3.toml", "gateway.toml", "gateway-2.toml")


@pytest.fixture
def ground() -> Ground:
    return Ground(technicians=TECHNICIANS)


def test_zhuhai_what_is_being_serviced_does_not_sound_with_the_city() -> None:
    ground = Ground(*CITY, technicians=TECHNICIANS)
    for siren in ("s-301", "s-302"):
        assert ground.ask("zhao", "tag", siren=siren, reason="换喇叭 new horn")[-1]["last"] is True
    wrong = ground.desk.drill(ground.now, area="41")
    ground.send(wrong, 10)
    units = {s.unit for s in ground.world.sounds if s.on}
    assert units
    assert not units & {"head-301", "head-302"}
    ends = {r.siren: (r.stage, r.reason) for r in ground.receipts() if r.order == wrong.body.id and r.stage.terminal}
    assert ends["s-301"] == ends["s-302"] == (Stage.REJECTED, "isolated")
    # One operator ends the rest in two seconds, not in a minute.
    ground.send(ground.desk.stop(ground.now, LI, area="41"), 2)
    assert {unit for unit, _ in ground.sounding} == set()


def test_zhuhai_a_tag_holds_through_a_restart_and_against_a_live_order(ground: Ground) -> None:
    ground.ask("zhao", "tag", siren="s-301", reason="换喇叭 new horn")
    ground.restart()
    ground.send(ground.desk.live(ground.now), 5)
    assert {s.unit for s in ground.world.sounds if s.on} == {"head-302"}


@pytest.mark.parametrize("siren", ["all", None, "*", ["s-301", "s-302"], "41"])
def test_zhuhai_a_technicians_test_sounds_one_siren_and_no_city(ground: Ground, siren: object) -> None:
    for verb in ("activate", "growl", "quiet-test"):
        assert ground.ask("zhao", verb, siren=siren, seconds=1)[-1]["reason"] == "no-target"
    assert ground.onsets == 0


def test_zhuhai_a_technicians_test_is_over_in_seconds(ground: Ground) -> None:
    for too_long in (600, 15.1):
        answer = ground.ask("zhao", "activate", siren="s-301", seconds=too_long, maintenance=True)[-1]
        assert answer["reason"] == "too-long"
    ground.ask("zhao", "activate", siren="s-301", seconds=15, maintenance=True)
    assert {unit for unit, _ in ground.sounding} == {"head-301"}
    ground.wait(20)
    assert ground.sounding == set()
    assert ground.onsets == 1


def test_zhuhai_a_key_that_bounces_gives_one_order(ground: Ground) -> None:
    order = ground.desk.drill(ground.now)
    for _ in range(50):
        ground.send(order, 0.02)
    ground.wait(60)
    phases = len(ground.config.signals.timeline("demo-air-raid").phases)
    assert ground.onsets == 2 * phases


def test_zhuhai_a_key_that_sticks_signs_nothing_live(ground: Ground) -> None:
    """Each press is a new order, of whoever is logged in: for the real thing that is one person, again and again."""
    pressed = [ground.desk.order(ground.now, LI, area="41") for _ in range(20)]
    for order in pressed:
        ground.send(order, 0.1)
    ground.wait(5)
    assert ground.onsets == 0
    assert {r.reason for r in ground.receipts() if r.order in {o.body.id for o in pressed}} == {"too-few-persons"}


def test_zhuhai_a_technician_sounds_nothing_from_where_he_is_not_named(ground: Ground) -> None:
    answer = ground.ask("guest", "activate", siren="s-301")[-1]
    assert (answer["stage"], answer["reason"]) == ("rejected", "not-permitted")
    assert ground.onsets == 0

