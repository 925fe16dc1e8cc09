"""`site.toml`, checked, and the field it describes, played on made-up time."""

import json
import re
from pathlib import Path
from random import Random

import pytest

from controller import config
from firmware_bridge import scan
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import Read, Request, Table, Write
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.modbus import mbap_frame, mbap_split, reply_of, request_pdu, rtu_frame
from simulators import site
from simulators.field import Field, FieldEffect, Frame, Hang, Inject, NoSuch, Plug, SetPoint, Sound, ToLine, ToMaster

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs/demo/site.toml"

RELAY, METER, COIL, DEAD = ("line-1", 1), ("line-1", 2), ("line-1", 4), ("line-2", 9)


class World:
    """The demo's field and its time. `sounds` is the site log as it comes."""

    def __init__(self, *settings: str) -> None:
        self.field = Field(site.load(DEMO, settings), Random)
        self.now_us = 0
        self.sounds: list[tuple[int, str, int | None, bool, str]] = []
        self.frames: list[Frame] = []
        self._out: list[FieldEffect] = []

    def tell(self, event: ToLine | SetPoint | Inject | Woken) -> list[FieldEffect]:
        out = self.field.handle(self.now_us, event)
        self._out += out
        self.sounds += [(e.t_us, e.unit, e.channel, e.on, e.cause) for e in out if isinstance(e, Sound)]
        self.frames += [e for e in out if isinstance(e, Frame)]
        assert self.field.deadline is None or self.field.deadline > self.now_us
        return out

    def run(self, length_us: int) -> None:
        end_us = self.now_us + length_us
        while (due := self.field.deadline) is not None and due <= end_us:
            self.now_us = due
            self.tell(Woken())
        self.now_us = end_us
        self.tell(Woken())

    def ask(self, where: tuple[str, int], request: Request) -> tuple[int, ...] | None:
        """What a unit of a line answers within a second; None for silence."""
        line, unit = where
        self._out.clear()
        self.tell(ToLine(line, rtu_frame(unit, request_pdu(request))))
        self.run(S)
        found = scan.replies(b"".join(e.data for e in self._out if isinstance(e, ToMaster)))
        if not found:
            return None
        assert [f[0] for f in found] == [unit]
        return reply_of(request, found[0][1]).values  # type: ignore[union-attr]

    def lease(self, seconds: float, channel: int = 1) -> None:
        assert self.ask(RELAY, Write(Table.PULSE, 0x200 + channel - 1, (round(seconds * 10),))) is not None

    def coil(self, on: bool) -> None:
        assert self.ask(COIL, Write(Table.COIL, 0, (int(on),))) is not None

    def current(self, n: int) -> float:
        values = self.ask(METER, Read(Table.INPUT, n - 1, 1))
        assert values is not None
        return values[0] / 100


def test_a_relay_closes_and_a_current_flows_until_the_lease_ends() -> None:
    world = World()
    world.run(S)
    assert world.current(1) == 0.0
    begin_us = world.now_us
    world.lease(4)
    (at_us, unit, channel, on, cause), = world.sounds
    assert (unit, channel, on, cause) == ("relay-1", 1, True, "write")
    # 8 octets at 9600 baud and the silence that ends them.
    assert at_us == begin_us + 9167 + 4010
    assert world.current(1) == 8.5
    assert world.current(2) == 0.0
    world.run(3 * S)
    assert world.sounds[1] == (at_us + 4 * S, "relay-1", 1, False, "lease-end")
    world.run(2 * S)
    assert world.current(1) == 0.0


def test_the_current_lags_as_a_motor_does() -> None:
    world = World()
    world.tell(Inject("relay-1.1", "panel"))
    meter = "meter-1", "current_1"
    assert world.sounds == [(0, "relay-1", 1, True, "panel")]
    world.run(799 * MS)
    assert world.field.value(*meter) == 0.0
    world.run(1 * MS)
    assert world.field.value(*meter) == 8.5
    world.tell(Inject("relay-1.1", "panel", 0))
    world.run(1499 * MS)
    assert world.field.value(*meter) == 8.5
    world.run(1 * MS)
    assert world.field.value(*meter) == 0.0


def test_a_motor_that_is_stopped_while_it_spools_up_shows_no_current() -> None:
    world = World()
    world.tell(Inject("relay-1.1", "panel"))
    world.run(500 * MS)
    world.tell(Inject("relay-1.1", "panel", 0))
    for _ in range(40):
        world.run(100 * MS)
        assert world.field.value("meter-1", "current_1") == 0.0


def test_the_timer_relay_cuts_what_a_latching_coil_would_leave() -> None:
    world = World()
    world.coil(True)
    begin_us = world.sounds[0][0]
    world.run(198 * S)
    assert world.current(3) == 9.0
    world.run(5 * S)
    assert world.sounds[1:] == [(begin_us + 200 * S, "coil-1", 1, False, "hard-limit")]
    assert world.current(3) == 0.0
    assert world.ask(COIL, Read(Table.COIL, 0, 1)) == (1,), "the coil believes that it sounds"
    world.coil(False)
    world.coil(True)
    assert world.sounds[-1][1:] == ("coil-1", 1, True, "write"), "ready again once the coil has fallen"


def test_the_second_off_path_takes_the_power() -> None:
    world = World()
    world.tell(Inject("relay-1.1", "stuck-on"))
    world.run(2 * S)
    assert world.current(1) == 8.5
    world.lease(20, channel=8)
    world.run(2 * S)
    assert world.current(1) == 0.0
    world.run(20 * S)
    assert [s[1:] for s in world.sounds] == [
        ("relay-1", 1, True, "fault"), ("relay-1", 1, False, "second-off"), ("relay-1", 1, True, "second-off")]


def test_a_locked_out_siren_has_no_power() -> None:
    world = World()
    world.tell(SetPoint("meter-1", "contact_1", True))
    world.lease(3)
    world.run(5 * S)
    assert world.sounds == []
    world.tell(SetPoint("meter-1", "contact_1", False))
    world.lease(3)
    assert [s[1:] for s in world.sounds] == [("relay-1", 1, True, "write")]
    world.tell(SetPoint("meter-1", "contact_1", True))
    assert [s[1:] for s in world.sounds][1:] == [("relay-1", 1, False, "isolator")]


def test_a_dead_unit_is_silent_until_it_is_repaired() -> None:
    world = World()
    read = Read(Table.COIL, 0, 8)
    assert world.ask(DEAD, read) is None
    assert world.ask(("line-2", 1), read) == (0,) * 8
    world.tell(Inject("relay-9", "dead", 0))
    assert world.ask(DEAD, read) == (0,) * 8


def test_broadcast_is_done_and_not_answered() -> None:
    world = World()
    assert world.ask(("line-1", 0), Write(Table.COIL, 0, (1,))) is None
    assert {s[1] for s in world.sounds} == {"relay-1", "coil-1"}


def test_heads_on_tcp_sound_and_are_served_in_one_connection() -> None:
    world = World()
    write = [Write(Table.HOLDING, 3, (0,)), Write(Table.HOLDING, 2, (4,))]
    segment = b"".join(mbap_frame(n, unit, request_pdu(w)) for unit in (1, 2) for n, w in enumerate(write))
    world.tell(ToLine("net-3", segment, connection=9))
    world.run(2 * S)
    assert [s[1:] for s in world.sounds] == [("head-301", None, True, "write"), ("head-302", None, True, "write")]
    answers = [e for e in world._out if isinstance(e, ToMaster)]
    assert len(answers) == 4
    assert {a.connection for a in answers} == {9}
    assert any(isinstance(e, Hang) for e in world.tell(ToLine("net-3", b"nonsense", connection=9)))


def test_a_request_is_told_with_the_instant_of_its_first_octet() -> None:
    world = World()
    world.run(3 * S)
    world.ask(RELAY, Read(Table.COIL, 0, 8))
    assert [(f.line, f.seen.unit, f.seen.first_byte_us) for f in world.frames] == [("line-1", 1, 3 * S)]


def test_answers_of_one_unit_or_of_a_line_can_be_hurt() -> None:
    world = World()
    read = Read(Table.COIL, 0, 8)
    world.tell(Inject("relay-1", "dropped"))
    assert world.ask(RELAY, read) is None
    assert world.ask(COIL, read) is not None
    world.tell(Inject("relay-1", "dropped", 0))
    assert world.ask(RELAY, read) is not None
    world.tell(Inject("line-1", "garbled", 0.5))
    answered = [world.ask(RELAY, read) is not None for _ in range(60)]
    assert 10 < sum(answered) < 50


def test_on_tcp_an_answer_is_late_or_missing() -> None:
    world = World()
    ask = ToLine("net-3", mbap_frame(1, 1, request_pdu(Read(Table.COIL, 0, 1))), 1)

    def answered_after_us() -> int | None:
        world._out.clear()
        world.tell(ask)
        begin_us = world.now_us
        while not any(isinstance(e, ToMaster) for e in world._out):
            if world.now_us > begin_us + 3 * S:
                return None
            world.run(MS)
        assert mbap_split(world._out[-1].data) is not None  # type: ignore[union-attr]
        return world.now_us - begin_us

    usual = answered_after_us()
    assert usual is not None
    world.tell(Inject("head-301", "late"))
    late = answered_after_us()
    assert late is not None
    assert late >= usual + 200 * MS
    world.tell(Inject("net-3", "dropped"))
    world.tell(Inject("head-301", "late", 0))
    assert answered_after_us() is None


@pytest.mark.parametrize(("event", "told"), [
    (Inject("relay-7", "dead"), "'relay-7' is no unit and no line; units: relay-1, meter-1"),
    (Inject("relay-1", "ded"), "'ded' is no fault of relay-1; faults: .*dead.*garbled"),
    (Inject("relay-1.9", "stuck-on"), "no such channel; channels: 1, 2"),
    (Inject("line-1", "dead"), "'dead' is no fault of line-1; faults: babble, busy"),
    (Inject("net-3", "garbled"), "faults: busy, .*late, .*unplug, one-a-segment"),
    (Inject("line-1", "late", 7), "7 is no share"),
    (SetPoint("gauge-7", "level", 1.0), "'gauge-7' is no unit"),
    (SetPoint("gauge-1", "depth", 1.0), "'depth' is no point of gauge-1; points: unit_code, decimals, level"),
    (SetPoint("beacon-2", "mode", "loud"), "'loud' is not one of off, flash"),
])
def test_a_wrong_name_is_told_and_nothing_happens(event: Inject | SetPoint, told: str) -> None:
    world = World()
    with pytest.raises(NoSuch, match=told):
        world.tell(event)
    assert world.ask(RELAY, Read(Table.COIL, 0, 8)) == (0,) * 8


def test_a_pulled_adapter_is_the_shells_business_and_empties_the_wire() -> None:
    world = World()
    world.tell(ToLine("line-1", rtu_frame(1, request_pdu(Read(Table.COIL, 0, 8)))))
    assert world.tell(Inject("line-1", "unplug")) == [Plug("line-1", False)]
    world._out.clear()
    world.run(S)
    assert not any(isinstance(e, ToMaster) for e in world._out)
    assert world.tell(Inject("line-1", "unplug", 0)) == [Plug("line-1", True)]


def test_a_level_is_fed_and_handed_back() -> None:
    world = World()
    world.tell(SetPoint("gauge-1", "level", 0.42))
    world.run(5 * S)
    assert world.field.value("gauge-1", "level") == pytest.approx(0.42)
    assert world.ask(("line-1", 3), Read(Table.HOLDING, 4, 1)) == (420,)
    world.tell(SetPoint("gauge-1", "level", None))
    world.run(S)
    assert world.field.value("gauge-1", "level") == pytest.approx(0.05, abs=0.03)


# The document.


def written(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = DEMO.read_text().replace('"../profiles"', json.dumps(str(ROOT / "configs/profiles")))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "site.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("old", "new", "told"), [
    ('profile = "qdy30a"', 'profile = "qdy30"', r"unit\[gauge-1\].profile = 'qdy30': no such profile"),
    ('line = "line-1"', 'line = "line-9"', r"unit\[relay-1\].line = 'line-9': no such line; lines: line-1"),
    ('path = "run/line-2"', 'path = "run/line-1"', r"line.path = 'run/line-1': stands 2 times"),
    ('id = "meter-2"', 'id = "meter-1"', r"unit\[meter-1\].id = 'meter-1': stands 2 times"),
    ('from = "relay-1.1"', 'from = "relay-1.9"', r"wire\[0\].from = 'relay-1.9': say relay-1.1 to relay-1.8"),
    ('from = "relay-1.1"', 'from = "relay-1"', r"wire\[0\].from = 'relay-1': say relay-1.1 to relay-1.8"),
    ('from = "beacon-2"', 'from = "beacon-2.1"', r"wire\[5\].from = 'beacon-2.1': profile evikon_ek61 has no channels"),
    ('from = "relay-1.2"', 'from = "gauge-1"', r"wire\[2\].from = 'gauge-1': profile qdy30a has no output"),
    ('to = "meter-1.current_2"', 'to = "meter-1.amps_2"', r"wire\[2\].to = 'meter-1.amps_2': no such point"),
    ('to = "meter-1.current_2"', 'to = "meter-7.current_2"', r"wire\[2\].to = 'meter-7.current_2': no such unit"),
    ("value_on = 8.1", "value_on = 8100.0", r"wire\[2\].value_on = 8100.0: .* does not fit"),
    ('"meter-1.contact_1"', '"meter-1.current_1"', r"wire\[0\].locked_by = .*an isolator is a bool"),
    ("dead = true", "initial = { version = 1, versoin = 2 }", r"unit\[relay-9\].initial.versoin = 2: no such point"),
    ("rise_ms", "raise_ms", r"wire\[0\].raise_ms = 800: unknown key; did you mean 'rise_ms'"),
    ('path = "run/line-1"', "port = 1502", r"line\[line-1\]"),
    ("port = 15020", 'path = "run/x"', r"line\[net-3\]"),
])
def test_a_mistake_is_told_by_file_key_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = written(tmp_path, (old, new))
    with pytest.raises(BadDocument) as bad:
        site.load(path)
    assert re.search(told, str(bad.value)), bad.value
    assert str(bad.value).startswith(str(path))


def test_settings_change_the_document(tmp_path: Path) -> None:
    plan = site.load(written(tmp_path), ["line[net-3].port=0", "unit[relay-9].dead=false"])
    assert plan.spec.line[2].port == 0
    assert not any(u.dead for u in plan.spec.unit)
    assert plan.path("run/line-1") == tmp_path / "run/line-1"


def test_the_demo_gateways_and_the_demo_site_tell_of_the_same_hardware() -> None:
    """Two documents, as in life; in the demo they agree, but for the board that died."""
    plan = site.load(DEMO)
    stands = {(u.id, u.unit, u.profile, u.line) for u in plan.spec.unit}
    links = {f"serial:{n.path}" if n.path else f"tcp:127.0.0.1:{n.port}": n.id for n in plan.spec.line}
    believed = set()
    wires = {w.from_ for w in plan.spec.wire}
    for name in ("gateway.toml", "gateway-2.toml", "gateway-3.toml"):
        gateway = config.load(DEMO.with_name(name))
        line_of = {b.id: links[b.link] for b in gateway.spec.bus}
        believed |= {(d.id, d.unit, d.profile, line_of[d.bus]) for d in gateway.spec.device}
        for siren in gateway.spec.siren:
            head = gateway.profile_of(siren.drive.partition(".")[0]).spec.kind == "siren"
            assert head or siren.drive in wires, f"{siren.id} would sound without a wire"
            wire = next((w for w in plan.spec.wire if w.from_ == siren.drive), None)
            if wire is not None:
                assert wire.rise_ms <= siren.spool_up_s * 1000
                assert wire.fall_ms <= siren.spool_down_s * 1000
                assert wire.to == siren.feedback[0].point
                assert wire.hard_limit_s == siren.hard_limit_s
                assert wire.locked_by == siren.isolator
                assert wire.cut_by == siren.second_off
    assert believed == stands
