"""What carries the centre: no message that comes in may end it."""

import pytest

from controller import wire
from controller.wire import Action, Birth, Mode, Status
from firmware_bridge.machine import S
from hub.event import Broker, Clock, Handed, Note, Told
from hub.fleet import Fleet
from hub.shell import Shell
from hub.spots import Spots
from tests.hub.test_centre import AREA, CONFIG, WALL, order, signed

TOPIC = f"{wire.state_root(AREA, 'gw-1')}/status"


class Carried(Shell):
    """One whose broker is a list."""

    def __init__(self, takes: bool = True) -> None:
        self.notes: list[Note] = []
        self.out: list[tuple[str, bytes, bool]] = []
        super().__init__(CONFIG, "hub", sends=True, takes=takes, on_note=self.notes.append)
        self.connection.publish = lambda *one: self.out.append(one)  # type: ignore[assignment]
        self.us = 0
        self.feed(Clock(WALL))
        self.feed(Broker(True))

    def now_us(self) -> int:  # type: ignore[override]
        return self.us


def test_a_message_that_we_cannot_handle_is_told_and_keeps_no_stop_from_going_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(self: Spots, now_us: int, told: Told, fleet: Fleet) -> list[object]:
        return [1 // 0]

    shell = Carried()
    monkeypatch.setattr(Spots, "told", breaks)
    status = Status(gateway="gw-1", session="a", state="online", at=wire.to_text(WALL))
    shell._came(TOPIC, status.encode(), True)
    (note,) = [n for n in shell.notes if n.what == "crashed-on"]
    assert (note.subject, note.urgent) == (TOPIC, True)
    assert "ZeroDivisionError" in note.detail
    assert "test_shell.py" in note.detail
    assert shell.centre.fleet.gateways == {}
    shell.feed(Clock(WALL))
    shell.feed(Handed(signed(order(Action.STOP, Mode.LIVE))))
    assert wire.order_topic("41/01", True) in {topic for topic, *_ in shell.out}


@pytest.mark.parametrize("takes", [True, False])
def test_what_is_retained_is_the_resident_hubs_to_say(takes: bool) -> None:
    """Not an operator's, whose client sends by itself."""
    shell = Carried(takes)
    shell.us = S
    behind = Birth(gateway="gw-1", session="a", at=wire.to_text(WALL), version="1", area=AREA, deployment="demo",
                   sirens=(), devices=(), signals={}, trust_version=0)
    shell._came(TOPIC.replace("status", "birth"), behind.encode(), False)
    assert [topic for topic, _, retain in shell.out if retain] == [wire.trust_topic("41")] * takes


@pytest.mark.parametrize("what", ["submit", "taken"])
def test_noise_is_told(what: str) -> None:
    shell = Carried()
    shell._came(f"siren/1/h/elsewhere/{what}", b"\xff", False)
    assert [n.what for n in shell.notes if n.urgent] == ["malformed"]
