"""The list that an order was prepared for, and a gateway on which it is otherwise."""

import re
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.office import LI, VERSION, Order
from controller import targets, wire
from controller.targets import difference, digest, unprepared
from controller.wire import Layer, Mode, OrderBody, Stage
from tests.attacks.ground import Ground

PLACE = "41/1/2/3/4"


@dataclass(frozen=True)
class One:
    id: str
    area: str = PLACE
    layer: Layer = Layer.SURFACE


def order(prepared: dict[str, str] | None, **changes: object) -> OrderBody:
    plain = {
        "v": 1, "id": "a" * 32, "deployment": "demo", "issuer": "hub", "issued_at": wire.to_text(0),
        "not_before": wire.to_text(0), "expires_at": wire.to_text(1), "area": "41/1", "action": "sound",
        "mode": "drill", "sound": {"name": "air-raid", "digest": "0" * 32}, "sequence": 1, "trust_version": 1,
    }
    return wire.validate(OrderBody, plain | ({} if prepared is None else {"prepared": prepared}) | changes)


def test_the_digest_is_what_the_page_says() -> None:
    """docs/orders.md gives the recipe and this example, for who writes another hub."""
    assert digest("gw-1", [One("s-2"), One("s-1", layer=Layer.UNDERGROUND)]) == "RS_C_2umw8g"


@given(st.lists(st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True), max_size=8, unique=True), st.randoms())
def test_a_digest_knows_no_sequence_and_fits_into_an_order(ids: list[str], chance: Random) -> None:
    sirens = [One(id) for id in ids]
    first = digest("gw-1", sirens)
    chance.shuffle(sirens)
    assert digest("gw-1", sirens) == first
    assert order({"gw-1": first}).prepared == {"gw-1": first}
    assert digest("gw-2", sirens) != first
    assert digest("gw-1", [*sirens, One("s-new-one")]) != first


@pytest.mark.parametrize("text", ["RS_C_2umw8", "RS_C_2umw8h", "RS_C_2umw8g=", "RS/C_2umw8g", ""])
def test_a_digest_has_one_spelling(text: str) -> None:
    with pytest.raises(wire.Malformed, match="prepared"):
        order({"gw-1": text})


S1, S2, FAR = One("s-1"), One("s-2"), One("s-3", "41/9/1/1/1")


@pytest.mark.parametrize(("seen", "here", "same"), [
    ([S1, S2], [S1, S2], True),
    ([S1, S2], [S1, S2, FAR], True),
    ([S1, S2], [S1], False),
    ([S1], [S1, S2], False),
    ([S1], [S2], False),
    ([S1], [One("s-1", "41/1/2/3/5")], False),
    ([S1], [One("s-1", layer=Layer.UNDERGROUND)], False),
    ([S1], [One("s-1", "41/9/1/1/1")], False),
    (None, [S1], False),
    (None, [FAR], True),
    (None, [], True),
])
def test_what_is_otherwise_is_told(seen: list[One] | None, here: list[One], same: bool) -> None:
    """`seen` None: the gateway is not in the list."""
    found = order({"gw-other": digest("gw-other", [S1]), **({"gw-1": digest("gw-1", seen)} if seen else {})})
    told = difference(found, "gw-1", here)
    assert (told == "") is same
    if not same:
        mine = targets.meant(found, here)
        assert all(s.id in told for s in mine)
        assert ("not in its list" in told) is (seen is None)


def test_a_stop_and_an_order_without_a_list_have_nothing_to_compare() -> None:
    assert difference(order(None), "gw-1", [S1]) == ""
    stop = {"action": "stop", "sound": None}
    stop_body = wire.validate(OrderBody, {
        k: v for k, v in (order({"gw-1": digest("gw-1", [S2])}).model_dump(mode="json") | stop).items()
        if v is not None})
    assert difference(stop_body, "gw-1", [S1]) == ""


def test_a_drill_alone_must_have_a_list() -> None:
    assert unprepared(order(None))
    assert not unprepared(order({}))
    assert not unprepared(order(None, mode=Mode.LIVE.value))


# On a whole gateway with its hardware.




@pytest.fixture
def ground() -> Ground:
    return Ground()


def otherwise(ground: Ground) -> dict[str, str]:
    """The digest of a list that has one siren more than the gateway."""
    sirens = [One(s.id, ground.config.area_of(s), s.layer) for s in ground.config.spec.siren]
    return {"gw-erqi": digest("gw-erqi", [*sirens, One("s-303", sirens[0].area)])}


def mismatches(ground: Ground, about: Order) -> list[tuple[str, bool]]:
    return [(e.detail, e.urgent) for e in ground.events()
            if (e.what, e.subject) == ("targets-mismatch", about.body.id)]


def test_as_prepared_it_sounds_and_nothing_is_told(ground: Ground) -> None:
    for give in (ground.desk.drill, ground.desk.live):
        one = give(ground.now)
        assert one.body.prepared
        ground.must_take(one)
        assert mismatches(ground, one) == []


def lists(ground: Ground) -> dict[str, dict[str, str]]:
    return {"other sirens": otherwise(ground), "not in it": {"gw-other": digest("gw-other", [S1])}, "nobody": {}}


@pytest.mark.parametrize("which", ["other sirens", "not in it", "nobody"])
def test_a_drill_for_another_list_is_refused_with_a_receipt_and_an_event(ground: Ground, which: str) -> None:
    drill = ground.desk.drill(ground.now, prepared=lists(ground)[which])
    before = ground.onsets
    said = ground.send(drill, 5)
    assert ground.onsets == before
    assert said.of(drill) == [(Stage.REJECTED, "targets-mismatch")]
    ((detail, urgent),) = mismatches(ground, drill)
    assert urgent
    assert re.search(r"here are s-301 s-302$", detail)
    again = ground.send(drill, 3)
    assert set(again.of(drill)) <= {(Stage.REJECTED, "targets-mismatch")}
    assert ground.onsets == before
    ground.must_take(ground.desk.drill(ground.now))


@pytest.mark.parametrize("which", ["other sirens", "not in it", "nobody"])
def test_a_warning_for_another_list_sounds_and_the_difference_is_told(ground: Ground, which: str) -> None:
    live = ground.desk.live(ground.now, prepared=lists(ground)[which])
    ground.must_take(live)
    ((_, urgent),) = mismatches(ground, live)
    assert urgent


def test_a_warning_by_bare_area_sounds_and_a_drill_does_not(ground: Ground) -> None:
    live = ground.desk.live(ground.now, prepared=None)
    assert live.body.prepared is None
    ground.must_take(live)
    drill = ground.desk.drill(ground.now, prepared=None)
    before = ground.onsets
    said = ground.send(drill, 5)
    assert (said.of(drill), ground.onsets) == ([(Stage.REJECTED, "not-prepared")], before)
    assert mismatches(ground, live) == mismatches(ground, drill) == []


def test_a_quiet_test_needs_no_list_but_one_that_it_has_must_be_right(ground: Ground) -> None:
    bare = ground.desk.quiet(ground.now, prepared=None)
    assert Stage.FINISHED in ground.send(bare, 30).stages(bare)
    wrong = ground.desk.quiet(ground.now, prepared=otherwise(ground))
    assert ground.send(wrong, 3).of(wrong) == [(Stage.REJECTED, "targets-mismatch")]


def test_who_is_in_the_list_and_means_nobody_refuses_a_drill_and_tells_of_a_warning(ground: Ground) -> None:
    """The gateway's sirens were taken from this area since."""
    elsewhere = {"gw-erqi": digest("gw-erqi", [S1])}
    drill = ground.desk.drill(ground.now, area="41/01/05", prepared=elsewhere)
    assert ground.send(drill, 3).of(drill) == [(Stage.REJECTED, "targets-mismatch")]
    live = ground.desk.live(ground.now, area="41/01/05", prepared=elsewhere)
    assert ground.send(live, 3).of(live) == [(Stage.REJECTED, "no-target")]
    assert mismatches(ground, live) == [("prepared for others; here are none", True)]


def test_a_stop_does_not_look_at_a_list(ground: Ground) -> None:
    ground.send(ground.desk.live(ground.now), 2)
    assert ground.sounding
    stop = ground.desk.stop(ground.now, prepared={"gw-erqi": digest("gw-erqi", [S1])})
    ground.send(stop, 3)
    assert not ground.sounding


def test_what_else_is_wrong_is_told_first(ground: Ground) -> None:
    """A list that differs mends itself by preparing anew; a signal that differs does not."""
    wrong = ground.desk.order(ground.now, LI, mode="drill", digest="0" * 32, prepared=otherwise(ground))
    assert ground.send(wrong, 3).of(wrong) == [(Stage.REJECTED, "signal-mismatch")]
    behind = ground.desk.drill(ground.now, prepared=otherwise(ground), trust_version=VERSION + 1)
    assert ground.send(behind, 3).of(behind) == [(Stage.REJECTED, "stale-trust")]
