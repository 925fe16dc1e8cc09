"""Two devices on a real bus machine, with byte times: what was promised of each alone holds for both together."""

from pathlib import Path

import pytest

from firmware_bridge.bus import Bus
from firmware_bridge.device import Device, DeviceEvent
from firmware_bridge.event import Begin, Edged, Ended, LinkUp, Presence, Priority, Submit, Table, Withdraw, Write
from firmware_bridge.framing import Rtu
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.profile import load
from firmware_bridge.reading import Quality
from tests.firmware_bridge.bench_line import Slave, Wire

FOLDER = Path(__file__).parents[2] / "configs" / "profiles"
CHAR_US = 1e6 * 10 / 9600


class Line(Wire):
    """A board at unit 1 and a gauge at unit 2 on one line at 9600 baud."""

    def __init__(self) -> None:
        self.devices = {
            "board": Device("board", "bus", 1, load(FOLDER / "generic_coil_board.toml")),
            "gauge": Device("gauge", "bus", 2, load(FOLDER / "qdy30a.toml")),
        }
        self.board, self.gauge = Slave(), Slave(words={2: 7, 3: 3, 4: 1234})
        self.said: list[tuple[int, object]] = []
        super().__init__(Bus("bus", Rtu(9600)), {1: self.board, 2: self.gauge}, CHAR_US)
        for name in self.devices:
            self.tell(name, LinkUp("bus"))

    def hear(self, event: object) -> None:
        known = len(self.finished) if hasattr(self, "finished") else 0
        super().hear(event)
        for _, done in self.finished[known:]:
            self.tell(done.transaction.owner, done)

    def tell(self, name: str, event: DeviceEvent) -> None:
        for effect in self.devices[name].handle(self.now_us, event):
            self.said.append((self.now_us, effect))
            if isinstance(effect, Submit | Withdraw):
                self.hear(effect)

    def pass_time(self, us: int) -> None:
        end_us = self.now_us + us
        while self.now_us < end_us:
            due_us = earliest(*(d.deadline for d in self.devices.values()))
            self.run(min(end_us, due_us or end_us, self.now_us + 10 * MS))
            for name, device in self.devices.items():
                if device.deadline is not None and device.deadline <= self.now_us:
                    self.tell(name, Woken())

    def all(self, kind: type) -> list[object]:
        return [e for _, e in self.said if isinstance(e, kind)]


@pytest.fixture
def line() -> Line:
    return Line()


def test_both_are_polled_and_believed(line: Line) -> None:
    line.pass_time(5 * S)
    level = line.devices["gauge"].reading("level", line.now_us)
    assert (level.value, level.quality) == (pytest.approx(1.234), Quality.GOOD)
    assert all(r.quality is Quality.GOOD for r in line.devices["board"].readings.values())
    assert len(line.board.requests) in (9, 10, 11)
    assert line.collisions == 0


def test_an_edge_leaves_at_its_instant_among_polls(line: Line) -> None:
    line.pass_time(2 * S)
    at_us = line.now_us + 1_234_567
    line.tell("board", Begin("board", "activate", 1, 3, at_us=at_us))
    line.pass_time(3 * S)
    assert [t for t, r in line.board.requests if isinstance(r, Write)] == [at_us]
    assert line.all(Edged) == [Edged("board", 1, "activate", at_us)]
    assert line.all(Ended) == [Ended("board", 1, "activate", True, "", at_us)]


def test_a_stop_works_while_the_other_unit_is_dead(line: Line) -> None:
    line.board.words[0] = 1
    line.gauge.dead = True
    line.pass_time(5 * S)
    line.tell("board", Begin("board", "cancel", 1, 1, priority=Priority.STOP))
    asked_us = line.now_us
    line.pass_time(2 * S)
    (ended_us,) = [at for at, e in line.said if isinstance(e, Ended)]
    assert ended_us - asked_us < 1 * S
    assert line.board.words[0] == 0
    assert Presence("gauge", False, "no answer") in line.all(Presence)


def test_a_unit_that_comes_back_is_believed_again(line: Line) -> None:
    line.pass_time(3 * S)
    line.gauge.dead = True
    line.pass_time(60 * S)
    assert line.devices["gauge"].reading("level", line.now_us).value is None
    line.gauge.dead = False
    line.pass_time(15 * S)
    assert line.devices["gauge"].reading("level", line.now_us).quality is Quality.GOOD
    assert [p.online for p in line.all(Presence) if isinstance(p, Presence) and p.device == "gauge"] == [
        True, False, True]


def test_a_write_to_a_dead_board_ends_in_words(line: Line) -> None:
    line.pass_time(1 * S)
    line.board.dead = True
    line.tell("board", Begin("board", "activate", 1, 1))
    line.pass_time(10 * S)
    (ended,) = line.all(Ended)
    assert isinstance(ended, Ended)
    assert (ended.done, ended.why) == (False, "no answer")
    assert [r for _, r in line.board.requests if isinstance(r, Write)] == [Write(Table.COIL, 0, (1,))] * 3
