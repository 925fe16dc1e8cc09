"""Hawaii, 13 January 2018. One officer took a drill for the real thing ("this is not a drill" was in its script) and
sent a missile warning to the whole state. The menu showed test and warning alike and asked for both with the same
words, no second person was needed, and there was no prepared correction: it took 38 minutes (reference: field §6,
safety H31).

Here a live warning takes two persons, one of them a commander; live and drill are different orders, shown in other
words and echoed in all that is said of them; and one commander ends it in seconds.
"""

import json

import pytest

from bench import office
from bench.office import CHEN, LI, ZHANG, b64, dump, unb64
from controller.wire import Mode, Stage
from hub import screen
from tests.attacks.ground import Ground


@pytest.fixture
def ground() -> Ground:
    return Ground()


@pytest.mark.parametrize("who", [LI, ZHANG, CHEN])
def test_hawaii_one_officer_cannot_sound_the_real_thing(ground: Ground, who: office.Key) -> None:
    ground.must_refuse(ground.desk.order(ground.now, who), "too-few-persons")


def test_hawaii_the_drill_that_was_prepared_is_not_made_a_warning_by_one_press(ground: Ground) -> None:
    """The morning's drill lies there signed; whoever changes its mode has no signature for what it says then."""
    drill = ground.desk.drill(ground.now)
    outer = json.loads(drill.data)
    live = json.loads(unb64(outer["payload"])) | {"mode": "live"}
    ground.must_refuse(dump(outer | {"payload": b64(dump(live))}), "bad-signature", ground.desk.live(ground.now),
                       named=drill)


def test_hawaii_a_drill_is_called_a_drill_in_everything_that_is_said_of_it(ground: Ground) -> None:
    for write, mode in ((ground.desk.drill, Mode.DRILL), (ground.desk.live, Mode.LIVE)):
        order = write(ground.now)
        ground.send(order, 3)
        said = [r for r in ground.receipts() if r.order == order.body.id]
        assert {r.mode for r in said} == {mode}
        states = [json.loads(p.payload) for _, p in ground.station.published if p.topic.endswith("s-301/state")]
        assert {s["mode"] for s in states if (s.get("activation") or "").startswith(order.body.id)} == {mode}
        ground.quiet()


def test_hawaii_the_screen_never_shows_both_with_the_same_words() -> None:
    assert len({text.lower() for text in screen.MODES.values()}) == len(Mode)
    words = [set(text.lower().split()) for text in screen.MODES.values()]
    assert all(not one & other for n, one in enumerate(words) for other in words[n + 1:])


def test_hawaii_one_commander_corrects_it_in_seconds(ground: Ground) -> None:
    wrong = ground.desk.live(ground.now, sound="air-raid")
    ground.send(wrong, 5)
    assert len(ground.sounding) == 2
    ground.send(ground.desk.stop(ground.now, ZHANG), 2)
    assert ground.sounding == set()
    ends = {r.stage for r in ground.receipts() if r.order == wrong.body.id and r.stage.terminal}
    assert ends == {Stage.STOPPED}
    # And the all clear is a signal like any other, ready to be signed: nobody has to compose it.
    clear = ground.desk.live(ground.now, sound="all-clear")
    ground.send(clear, 3)
    assert len(ground.sounding) == 2
    assert {r.mode for r in ground.receipts() if r.order == clear.body.id} == {Mode.LIVE}
