"""The fleet: what is believed of a gateway, and that nothing unknown is ever shown as well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import wire
from controller.wire import Again, Birth, DeviceCard, Event, Health, OrderBody, Receipt, SirenCard, Stage, State, Status
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S, Woken
from hub import event as words
from hub.event import Broker, Note, Publish, Told
from hub.fleet import Fleet
from hub.gateway import ASK_AFTER_US, ASK_RANGES, ASK_TIMES, SILENT_US, Presence
from hub.sequence import MAX_HOLES, Sequence

WALL = 1_800_000_000 * S
AREA = "41/01/05/001/001"


def at(wall_us: int = WALL) -> str:
    return wire.to_text(wall_us)


def status(state: str = "online", session: str = "one", last_seq: int = 0, gateway: str = "gw-1",
           wall_us: int = WALL) -> Status:
    return Status.model_validate({"gateway": gateway, "session": session, "state": state, "at": at(wall_us),
                                  "last_seq": last_seq})


def birth(gateway: str = "gw-1", deployment: str = "demo", session: str = "one") -> Birth:
    sirens = (SirenCard(id="s-1", name="one", type="motor", area=AREA, layer=wire.Layer.SURFACE, feedback=True),
              SirenCard(id="s-2", name="two", type="motor", area="41/02/01/001/001", layer=wire.Layer.UNDERGROUND,
                        feedback=True))
    return Birth(gateway=gateway, session=session, at=at(), version="1", area=AREA, deployment=deployment,
                 sirens=sirens, devices=(DeviceCard(id="relay-1", profile="p", bus="line-1", unit=1),), signals={},
                 trust_version=1)


def event(seq: int, wall_us: int = WALL) -> Event:
    return Event(seq=seq, gateway="gw-1", at=at(wall_us), what="device-silent", subject="relay-1", urgent=True)


def told(message: words.SaidModel, retained: bool = False, wall_us: int = WALL, gateway: str = "gw-1") -> Told:
    leaf = type(message).__name__.lower()
    return Told(gateway, leaf, message, retained, wall_us)


def fleet() -> Fleet:
    machine = Fleet("demo")
    machine.handle(0, Broker(True))
    for message in (birth(), status(), State(id="s-1", at=at(), state="IDLE")):
        machine.handle(1, told(message))
    return machine


def states(machine: Fleet) -> dict[str, str]:
    return {s.card.id: s.state for s in machine.sirens()}


def whats(effects: list[Note | Publish]) -> list[str]:
    return [e.what for e in effects if isinstance(e, Note)]


def test_a_siren_is_known_only_when_its_gateway_lives_and_told_it() -> None:
    machine = fleet()
    assert states(machine) == {"s-1": "IDLE", "s-2": "UNKNOWN"}
    assert [(d.card.id, d.state) for d in machine.devices()] == [("relay-1", "UNKNOWN")]
    assert whats(machine.handle(2, told(status("lost")))) == ["gateway-lost"]
    assert states(machine) == {"s-1": "UNKNOWN", "s-2": "UNKNOWN"}
    assert machine.sirens()[0].why == "gateway lost; said IDLE"


def test_without_a_broker_nothing_is_known() -> None:
    machine = fleet()
    machine.handle(2, Broker(False, "gone"))
    assert set(states(machine).values()) == {"UNKNOWN"}


def test_an_old_will_is_known_for_one() -> None:
    machine = fleet()
    machine.handle(2, told(status(session="two")))
    assert whats(machine.handle(3, told(status("lost", session="one")))) == ["old-will"]
    assert machine.gateways["gw-1"].presence is Presence.ONLINE
    assert whats(machine.handle(4, told(status("lost", session="two")))) == ["gateway-lost"]


def test_a_gateway_that_says_nothing_becomes_silent_and_speaks_again() -> None:
    machine = fleet()
    assert machine.deadline == 1 + SILENT_US
    assert machine.handle(SILENT_US, Woken()) == []
    assert whats(machine.handle(1 + SILENT_US, Woken())) == ["gateway-silent"]
    assert states(machine)["s-1"] == "UNKNOWN"
    later = 2 * SILENT_US
    assert whats(machine.handle(later, told(Health(gateway="gw-1", at=at(), outbox=0)))) == ["gateway-online"]
    assert machine.deadline == later + SILENT_US


def test_what_the_broker_kept_is_as_old_as_it_says() -> None:
    machine = Fleet("demo")
    machine.handle(0, Broker(True))
    machine.handle(0, told(status(wall_us=WALL - 3600 * S), retained=True))
    assert machine.gateways["gw-1"].presence is Presence.UNKNOWN
    fresh = Health(gateway="gw-1", at=at(WALL - 20 * S), outbox=0)
    assert whats(machine.handle(1, told(fresh, retained=True))) == ["gateway-online"]
    assert machine.deadline == 1 + SILENT_US - 20 * S


def test_a_kept_message_from_the_future_proves_nothing() -> None:
    machine = Fleet("demo")
    machine.handle(0, told(status(wall_us=WALL + 3600 * S), retained=True))
    assert machine.gateways["gw-1"].presence is Presence.UNKNOWN
    assert whats(machine.handle(SILENT_US, Woken())) == ["gateway-silent"]


def test_a_lost_gateway_is_not_brought_back_by_what_it_said_before() -> None:
    machine = fleet()
    machine.handle(2, told(status("lost")))
    late = Receipt(seq=1, gateway="gw-1", order="a" * 32, stage=Stage.RECEIVED, at=at())
    machine.handle(3, told(late))
    assert machine.gateways["gw-1"].presence is Presence.LOST
    machine.handle(4, told(status(session="two")))
    assert machine.gateways["gw-1"].presence is Presence.ONLINE


def test_holes_are_shown_asked_for_and_filled() -> None:
    machine = fleet()
    for seq in (1, 4):
        machine.handle(S, told(Event(seq=seq, gateway="gw-1", at=at(), what="x")))
    assert machine.missing("gw-1") == [(2, 3)]
    assert machine.deadline == S + ASK_AFTER_US
    asked = [e for e in machine.handle(S + ASK_AFTER_US, Woken()) if isinstance(e, Publish)]
    assert asked == [Publish(wire.again_topic("gw-1"), Again(first=2, last=3).encode())]
    machine.handle(7 * S, told(Event(seq=2, gateway="gw-1", at=at(), what="x")))
    assert machine.missing("gw-1") == [(3, 3)]
    machine.handle(7 * S, told(Event(seq=3, gateway="gw-1", at=at(), what="x")))
    assert machine.missing("gw-1") == []


def test_it_does_not_ask_for_ever() -> None:
    machine, asked = fleet(), 0
    machine.handle(S, told(status(last_seq=7)))
    for second in range(1, 600):
        effects = machine.handle(second * S, told(Health(gateway="gw-1", at=at(), outbox=0)))
        asked += sum(isinstance(e, Publish) for e in effects)
    assert machine.missing("gw-1") == [(1, 7)]
    assert asked == ASK_TIMES


def asked(machine: Fleet, from_s: int, to_s: int) -> list[Again]:
    """What it asks for while the gateway says each second that it is there, and nothing that is missing comes."""
    return [wire.decode(Again, e.payload) for second in range(from_s, to_s)
            for e in machine.handle(second * S, told(Health(gateway="gw-1", at=at(WALL + second * S), outbox=0)))
            if isinstance(e, Publish)]


def test_a_hole_that_is_given_up_hides_no_later_one() -> None:
    machine = fleet()
    machine.handle(S, told(status(last_seq=7)))
    assert len(asked(machine, 1, 600)) == ASK_TIMES
    machine.handle(600 * S, told(event(9)))
    assert asked(machine, 600, 1200) == [Again(first=8, last=8)] * ASK_TIMES


def test_every_hole_has_its_turn() -> None:
    machine = fleet()
    holes = [(n, n) for n in range(1, 21, 2)]
    for n, _ in holes:
        machine.handle(S, told(event(n + 1)))
    first = asked(machine, 1, 10)
    assert [(one.first, one.last) for one in first] == holes[:ASK_RANGES]
    # One that is missed later has its first turn before the others have their second.
    machine.handle(10 * S, told(event(40)))
    turns = [(one.first, one.last) for one in asked(machine, 10, 3600)]
    assert turns[: len(holes) + 1 - ASK_RANGES] == [*holes[ASK_RANGES:], (21, 39)]
    assert sorted([(one.first, one.last) for one in first] + turns) == sorted([*holes, (21, 39)] * ASK_TIMES)


def test_what_was_asked_for_while_there_was_no_broker_is_asked_for_again() -> None:
    machine = fleet()
    machine.handle(S, told(status(last_seq=7)))
    machine.handle(2 * S, Broker(False, "gone"))
    asked(machine, 3, 600)
    machine.handle(600 * S, Broker(True))
    assert asked(machine, 601, 1200) == [Again(first=1, last=7)] * ASK_TIMES


def test_a_journal_that_was_lost_is_told() -> None:
    machine = fleet()
    machine.handle(2, told(status(last_seq=50)))
    assert "sequence-restarted" in whats(machine.handle(3, told(status(session="two", last_seq=3))))
    assert machine.missing("gw-1") == []


def test_a_lost_journal_s_numbers_that_come_late_are_not_asked_for() -> None:
    machine = fleet()
    for n in range(1, 16):
        machine.handle(2, told(event(n)))
    machine.handle(3, told(status(session="two", last_seq=0, wall_us=WALL + 10 * S)))
    machine.handle(4, told(event(1, WALL + 11 * S)))
    # These were overtaken, on another topic, by what the new journal's gateway said first.
    for n in range(16, 21):
        machine.handle(5, told(event(n, WALL + 5 * S)))
    assert machine.missing("gw-1") == [(2, 15)]
    assert whats(machine.handle(6, told(status(session="two", last_seq=1, wall_us=WALL + 40 * S)))) == []
    assert machine.missing("gw-1") == []
    # From here on its own numbers count again.
    machine.handle(7, told(event(4, WALL + 41 * S)))
    assert machine.missing("gw-1") == [(2, 3)]
    machine.handle(8, told(status(session="two", last_seq=3, wall_us=WALL + 40 * S)))
    assert machine.missing("gw-1") == [(2, 3)], "a status that was overtaken takes nothing back"


def test_what_waited_at_the_broker_is_news_also_behind_the_status_that_overtook_it() -> None:
    machine = Fleet("demo")
    machine.handle(0, Broker(True))
    machine.handle(1, told(status(last_seq=4), retained=True))
    for seq in (3, 4):
        last = Receipt(seq=seq, gateway="gw-1", order="a" * 32, siren="s-1", stage=Stage.RECEIVED, at=at())
        assert whats(machine.handle(2, told(last))) == ["receipt"]
        assert whats(machine.handle(2, told(last))) == []
    assert machine.missing("gw-1") == []


def test_a_new_journal_s_event_is_not_taken_for_the_lost_one_s() -> None:
    machine = fleet()
    machine.handle(2, told(event(1)))
    machine.handle(3, told(status(session="two", last_seq=0, wall_us=WALL + 10 * S)))
    assert whats(machine.handle(4, told(event(1, WALL + 11 * S)))) == ["device-silent"]
    assert len(machine.events) == 2


def test_an_event_is_told_once() -> None:
    machine = fleet()
    assert whats(machine.handle(2, told(event(1)))) == ["device-silent"]
    assert whats(machine.handle(3, told(event(1)))) == []
    assert len(machine.events) == 1


def test_targets_are_those_of_the_area_and_layer_and_of_our_deployment() -> None:
    machine = fleet()
    machine.handle(2, told(birth("gw-2", "elsewhere"), gateway="gw-2"))

    def order(**more: object) -> OrderBody:
        return OrderBody.model_validate({
            "v": 1, "id": "a" * 32, "deployment": "demo", "issuer": "x", "issued_at": at(), "not_before": at(),
            "expires_at": at(), "area": "41", "action": "stop", "mode": "live", "sequence": 0, "trust_version": 0,
        } | more)

    assert machine.targets(order()) == {"gw-1": ("s-1", "s-2")}
    assert machine.targets(order(area="41/02")) == {"gw-1": ("s-2",)}
    assert machine.targets(order(layer="surface")) == {"gw-1": ("s-1",)}
    assert machine.targets(order(area="42")) == {}
    machine.handle(3, told(status("lost")))
    assert machine.targets(order()) == {"gw-1": ("s-1", "s-2")}, "a lost gateway's sirens are ordered as well"


def test_a_gateway_whose_status_is_cleared_is_gone() -> None:
    machine = fleet()
    machine.handle(2, Told("gw-1", "status", None, True, WALL))
    assert machine.gateways == {}
    assert machine.as_json()["sirens"] == []


@pytest.mark.parametrize("topic", [
    "siren/1/s/41/01/05/001/001/gw-1", "siren/1/s/41/01/05/001/001/gw-1/status/x", "siren/1/o/41/01/05/001/gw-1/status",
    "siren/1/s/41/01/05/001/001/GW/status", "siren/1/s/41/01/05/001/001/gw-2/status", "", "a/b/c/d/e/f/g/h/gw-1/status",
])
def test_a_message_is_believed_only_on_its_own_topic(topic: str) -> None:
    with pytest.raises(Malformed):
        words.told(topic, status().encode(), False, WALL)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_nothing_but_malformed_comes_of_noise(topic: str, payload: bytes) -> None:
    for one in (topic, f"{wire.state_root(AREA, 'gw-1')}/{topic}", f"{wire.state_root(AREA, 'gw-1')}/receipt"):
        try:
            words.told(one, payload, False, WALL)
        except Malformed:
            pass


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_a_sequence_knows_exactly_what_has_not_come(seqs: list[int]) -> None:
    sequence = Sequence()
    sequence.announced(0, at())
    for n, seq in enumerate(seqs):
        assert sequence.came(seq, at()) == (seq not in seqs[:n])
    missing = {n for first, last in sequence.holes for n in range(first, last + 1)}
    assert missing == set(range(1, max(seqs))) - set(seqs)


def test_a_sequence_is_bounded() -> None:
    sequence = Sequence()
    for n in range(0, 4 * MAX_HOLES, 2):
        sequence.came(n, at())
    assert len(sequence.holes) == MAX_HOLES
