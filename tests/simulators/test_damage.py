"""Faults in a running field: each begins, is felt, is told and ends, alone and together with others."""

from pathlib import Path
from random import Random

import pytest

from firmware_bridge.event import Read, Refused, Reply, Request, Table, Write
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.modbus import mbap_frame, mbap_split, reply_of, request_pdu, rtu_frame
from firmware_bridge.scan import replies
from simulators import site
from simulators.faults import TABLE, Fault, NoSuch, On
from simulators.field import BROADCAST_US, Field, FieldEvent, Frame, Inject, Plug, Sound, ToLine, ToMaster

ROOT = Path(__file__).parents[2]
SITE = f"""
[site]
id = "town"
profiles = "{ROOT}/configs/profiles"
[[line]]
id = "a"
kind = "rtu"
path = "run/a"
[[line]]
id = "c"
kind = "tcp"
port = 0
[[unit]]
id = "relay"
line = "a"
unit = 1
profile = "waveshare_rtu_relay"
boot_ms = 700
initial = {{ relay_3 = true }}
[[unit]]
id = "meter"
line = "a"
unit = 2
profile = "generic_input_module"
[[unit]]
id = "gauge"
line = "a"
unit = 3
profile = "qdy30a"
[[gauge]]
point = "gauge.level"
shows = "level"
[[unit]]
id = "head"
line = "c"
unit = 4
profile = "federal_signal_informer"
[[unit]]
id = "other"
line = "c"
unit = 5
profile = "federal_signal_informer"
"""
RELAYS, CURRENT, LEVEL = Read(Table.COIL, 0, 8), Read(Table.INPUT, 0, 2), Read(Table.HOLDING, 2, 3)
HEAD = Read(Table.COIL, 0, 1)
ARM, STEADY = Write(Table.HOLDING, 3, (0,)), Write(Table.HOLDING, 2, (4,))
UNIT = {"relay": 1, "meter": 2, "gauge": 3, "head": 4, "other": 5, "nobody": 9}
ON_TCP = {"head", "other"}
OFF = (0,) * 8
POWER_UP = (0, 0, 1, 0, 0, 0, 0, 0)


class Town:
    """The field of SITE and its time; `octets` are what came to the master, with their instants."""

    def __init__(self, folder: Path, *settings: str) -> None:
        file = folder / "site.toml"
        file.write_text(SITE)
        self.field = Field(site.load(file, settings), Random)
        self.now_us = 0
        self.octets: list[tuple[int, bytes]] = []
        self.sounds: list[Sound] = []
        self.frames: list[Frame] = []
        self.plugs: list[Plug] = []

    def tell(self, event: FieldEvent) -> None:
        for effect in self.field.handle(self.now_us, event):
            match effect:
                case ToMaster(_, data):
                    self.octets.append((self.now_us, data))
                case Sound():
                    self.sounds.append(effect)
                case Frame():
                    self.frames.append(effect)
                case Plug():
                    self.plugs.append(effect)
        assert self.field.deadline is None or self.field.deadline > self.now_us

    def run(self, length_us: int) -> None:
        end_us = self.now_us + length_us
        while (due := self.field.deadline) is not None and due <= end_us:
            self.now_us = due
            self.tell(Woken())
        self.now_us = end_us
        self.tell(Woken())

    def fault(self, target: str, fault: str, share: float = 1.0, seconds: float | None = None) -> None:
        self.tell(Inject(target, fault, share, seconds))

    def on(self, target: str) -> dict[str, dict[str, float]]:
        return self.field.faults(target)[0]

    def send(self, *requests: tuple[str, Request]) -> bytes:
        """All in one write; what comes within two seconds."""
        self.octets.clear()
        tcp = requests[0][0] in ON_TCP
        frames = [mbap_frame(n, UNIT[unit], request_pdu(r)) if tcp else rtu_frame(UNIT.get(unit, 0), request_pdu(r))
                  for n, (unit, r) in enumerate(requests)]
        self.tell(ToLine("c" if tcp else "a", b"".join(frames), 1))
        self.run(2 * S)
        return b"".join(data for _, data in self.octets)

    def ask(self, unit: str, request: Request) -> Reply | Refused | None:
        """What this unit answers; None for silence, and for what is no answer of it."""
        data = self.send((unit, request))
        if unit in ON_TCP:
            one = mbap_split(data)
            return None if one is None or one[1] != UNIT[unit] else reply_of(request, one[2])
        found = replies(data)
        return next((reply_of(request, pdu) for number, pdu in found if number == UNIT[unit]), None)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    town = Town(tmp_path)
    town.run(S)
    town.sounds.clear()
    return town


def well(town: Town) -> None:
    """Every unit answers what it should."""
    town.run(3 * S)
    assert isinstance(town.ask("relay", RELAYS), Reply)
    assert isinstance(town.ask("meter", CURRENT), Reply)
    assert isinstance(town.ask("gauge", LEVEL), Reply)
    assert isinstance(town.ask("head", HEAD), Reply)
    for target in ("relay", "meter", "gauge", "head", "other", "a", "c"):
        assert town.on(target) == {}


KIND = {"a": On.LINE, "c": On.TCP, "relay": On.UNIT, "gauge": On.UNIT, "head": On.TCP_UNIT, "relay.2": On.OUTPUT}
BAD = [(target, fault) for target, kind in (*KIND.items(), ("gauge", On.GAUGE)) for fault, entry in TABLE.items()
       if kind in entry.on]


@pytest.mark.parametrize(("target", "fault"), [pair for pair in BAD if pair != ("gauge", Fault.BROWN_OUT)])
def test_each_fault_begins_is_told_and_ends(town: Town, target: str, fault: Fault) -> None:
    town.fault(target, fault)
    assert town.on(target) == {target: {fault: 1.0}}
    town.send(("relay", RELAYS))
    town.send(("head", HEAD))
    town.fault(target, fault, 0)
    if fault is Fault.REBOOT:
        assert town.on(target) == {}, "it ended by itself"
    well(town)


def test_what_can_be_is_told_and_nothing_else_is_taken(town: Town) -> None:
    for target, kind in KIND.items():
        can = town.field.faults(target)[1]
        assert set(can) >= {f for f, entry in TABLE.items() if kind in entry.on} - {Fault.BROWN_OUT}
        for fault in set(Fault) - set(can):
            with pytest.raises(NoSuch, match=f"'{fault}' is no fault of {target}; faults: {', '.join(can)}"):
                town.fault(target, str(fault))
    assert Fault.BROWN_OUT not in town.field.faults("gauge")[1], "it has no output"
    assert Fault.STUCK_ON not in town.field.faults("gauge")[1]
    assert set(Fault) == {fault for target in KIND for fault in town.field.faults(target)[1]}
    for nobody in ("relay.9", "relay.x", "gauge.1", "nobody", ""):
        with pytest.raises(NoSuch):
            town.field.faults(nobody)
    well(town)


def test_several_faults_are_on_together_and_end_together(town: Town) -> None:
    town.fault("relay", "late")
    town.fault("relay", "doubled")
    town.fault("relay", "frozen")
    town.fault("relay.2", "stuck-on")
    town.fault("relay.4", "stuck-off")
    town.fault("a", "noise", 0.5)
    assert town.on("relay") == {"relay": {"late": 1, "doubled": 1, "frozen": 1}, "relay.2": {"stuck-on": 1},
                                "relay.4": {"stuck-off": 1}}
    assert town.on("relay.2") == {"relay.2": {"stuck-on": 1}}
    assert town.on("a") == {"a": {"noise": 0.5}}
    began_us = town.now_us
    octets = town.send(("relay", RELAYS))
    assert len(replies(octets)) == 2
    assert town.octets[0][0] >= began_us + 200 * MS
    with pytest.raises(NoSuch, match="say `all off`"):
        town.fault("relay", "all")
    town.fault("relay", "all", 0)
    assert town.on("relay") == {}
    assert town.on("a") == {"a": {"noise": 0.5}}, "the line is another target"
    town.fault("a", "all", 0)
    well(town)


def test_a_unit_that_is_not_there_is_silent(town: Town) -> None:
    assert town.send(("nobody", RELAYS)) == b""
    assert town.ask("relay", RELAYS) == Reply(POWER_UP)


def test_a_boot_is_silent_for_its_time_and_ends_as_at_power_up(town: Town) -> None:
    town.send(("relay", Write(Table.COIL, 0, (1, 1))), )
    town.send(("relay", Write(Table.COIL, 2, (0,))))
    assert town.ask("relay", RELAYS) == Reply((1, 1, 0, 0, 0, 0, 0, 0))
    began_us = town.now_us
    town.fault("relay", "reboot")
    assert town.on("relay") == {"relay": {"reboot": 1}}
    town.tell(ToLine("a", rtu_frame(1, request_pdu(RELAYS))))
    town.octets.clear()
    town.run(650 * MS)
    assert town.octets == []
    town.now_us = began_us + 700 * MS
    assert town.ask("relay", RELAYS) == Reply(POWER_UP), "boot_ms of the site, and its initial"
    town.fault("relay", "reboot", seconds=5)
    assert [town.ask("relay", RELAYS) for _ in range(4)] == [None, None, None, Reply(POWER_UP)]


def test_a_brown_out_ends_the_sound_it_began(town: Town) -> None:
    town.fault("head", "brown-out")
    assert town.ask("head", ARM) == Reply((0,))
    assert town.ask("head", STEADY) == Reply((4,))
    assert [(s.unit, s.on, s.cause) for s in town.sounds] == [("head", True, "write"), ("head", False, "power")]
    assert town.sounds[1].t_us - town.sounds[0].t_us == 50 * MS
    town.run(S)
    assert town.ask("head", HEAD) == Reply((0,))
    town.ask("head", STEADY)
    assert len(town.sounds) == 2, "it forgot that it was armed"


@pytest.mark.parametrize(("fault", "codes"), [("busy", {6}), ("illegal", {1, 2, 3})])
@pytest.mark.parametrize(("unit", "write"), [("relay", Write(Table.COIL, 0, (1,))), ("head", STEADY)])
def test_a_refusal_of_what_it_could_do_does_nothing(town: Town, unit: str, write: Write, fault: str,
                                                    codes: set[int]) -> None:
    town.ask("head", ARM)
    town.fault(unit, fault)
    answers = [town.ask(unit, write) for _ in range(20)]
    assert {a.code for a in answers if isinstance(a, Refused)} == codes
    assert all(isinstance(a, Refused) for a in answers)
    town.fault(unit, fault, 0)
    assert town.ask(unit, HEAD) == Reply((0,))
    town.fault(unit, fault)
    town.fault(unit, "dead")
    assert town.ask(unit, HEAD) is None, "who is dead refuses nothing"


def test_a_gateway_says_that_it_has_no_path_or_no_answer(town: Town) -> None:
    town.fault("head", "no-path")
    assert town.ask("head", HEAD) == Refused(0x0A)
    assert town.ask("other", HEAD) == Reply((0,))
    town.fault("head", "no-path", 0)
    town.fault("c", "no-target")
    for unit in ("head", "other"):
        began_us = town.now_us
        assert town.ask(unit, ARM) == Refused(0x0B)
        assert town.octets[0][0] == began_us + 500 * MS
    town.fault("c", "all", 0)
    town.ask("head", STEADY)
    assert town.sounds == [], "it was not armed"


def test_a_refusal_is_slow_and_so_is_what_follows_it(town: Town) -> None:
    def took_ms(request: Read) -> int:
        began_us = town.now_us
        town.send(("relay", request))
        return (town.octets[0][0] - began_us) // MS

    town.fault("relay", "slow-refusal")
    waits = [took_ms(r) for r in (RELAYS, Read(Table.COIL, 900, 1), RELAYS, RELAYS)]
    assert [wait > 200 for wait in waits] == [False, True, True, False]


@pytest.mark.parametrize(("unit", "request_"), [("meter", CURRENT), ("head", HEAD)])
def test_an_answer_comes_under_another_address_or_twice_or_short_or_not(town: Town, unit: str, request_: Read) -> None:
    def units() -> list[int]:
        data = town.send((unit, request_))
        if unit not in ON_TCP:
            return [number for number, _ in replies(data)]
        found = []
        while (one := mbap_split(data)) is not None:
            found.append(one[1])
            data = one[3]
        return found

    n = UNIT[unit]
    assert units() == [n]
    for fault, comes in (("wrong-unit", [n + 1]), ("doubled", [n, n]), ("dropped", []), ("late", [n]), ("short", [n])):
        town.fault(unit, fault)
        assert units() == comes, fault
        town.fault(unit, fault, 0)


def test_a_broadcast_is_done_by_all_answered_by_none_and_keeps_them_busy(town: Town) -> None:
    on = Write(Table.COIL, 0, (1,))
    assert town.send(("all", on)) == b""
    assert town.ask("relay", RELAYS) == Reply((1, *POWER_UP[1:]))
    # Back to back, as a master does that keeps no turnaround delay: each unit loses what comes too soon.
    assert town.send(("all", Write(Table.COIL, 0, (0,))), ("relay", on)) == b""
    assert town.ask("relay", RELAYS) == Reply(POWER_UP)
    octets = 8 * 11e6 / 9600
    for gap_us, answered in ((BROADCAST_US - 10 * MS, False), (BROADCAST_US + 10 * MS, True)):
        town.tell(ToLine("a", rtu_frame(0, request_pdu(on))))
        town.run(round(octets) + gap_us)
        town.octets.clear()
        town.tell(ToLine("a", rtu_frame(1, request_pdu(RELAYS))))
        town.run(S)
        assert bool(town.octets) is answered
    assert [f.seen.unit for f in town.frames[-4:]] == [0, 1, 0, 1], "it was on the wire"


def test_on_tcp_what_follows_a_broadcast_in_its_segment_is_lost(town: Town) -> None:
    frames = [mbap_frame(n, unit, request_pdu(HEAD)) for n, unit in enumerate((0, 4))]
    town.tell(ToLine("c", b"".join(frames), 1))
    town.run(2 * S)
    assert town.octets == []
    assert town.ask("head", HEAD) == Reply((0,))


def test_segments(town: Town) -> None:
    three = [("head", HEAD)] * 3
    assert len(town.send(*three)) == 30
    town.fault("c", "one-a-segment")
    assert len(town.send(*three)) == 10
    town.fault("c", "all", 0)
    town.fault("c", "split")
    assert len(town.send(*three)) == 30
    assert len(town.octets) >= 6
    town.fault("c", "all", 0)
    town.fault("c", "joined")
    assert len(town.send(*three)) == 30
    assert len(town.octets) == 1


def test_an_adapter_hears_itself_while_it_is_told_so(town: Town) -> None:
    request = rtu_frame(1, request_pdu(RELAYS))
    town.fault("a", "echo")
    assert town.send(("relay", RELAYS)).startswith(request)
    town.fault("a", "echo", 0)
    assert not town.send(("relay", RELAYS)).startswith(request)


def test_a_unit_babbles_whether_it_answers_or_not(town: Town) -> None:
    town.fault("gauge", "babble", 0.3)
    town.fault("gauge", "dead")
    assert town.on("gauge") == {"gauge": {"dead": 1, "babble": 0.3}}
    assert town.on("a") == {}
    town.octets.clear()
    town.run(10 * S)
    assert 1500 < sum(len(data) for _, data in town.octets) < 3700
    answers = [town.ask("relay", RELAYS) for _ in range(30)]
    assert 0 < answers.count(None) < 30
    assert set(answers) <= {None, Reply(POWER_UP)}
    town.fault("a", "babble", 1)
    assert town.ask("relay", RELAYS) is None


def test_out_is_out(town: Town) -> None:
    town.fault("a", "babble")
    town.tell(ToLine("c", mbap_frame(1, 4, request_pdu(HEAD))))
    for line in ("a", "c"):
        town.fault(line, "unplug")
        town.fault(line, "unplug")
    assert town.plugs == [Plug("a", False), Plug("c", False)], "and once"
    town.frames.clear()
    assert town.send(("relay", RELAYS)) + town.send(("head", HEAD)) == b""
    assert town.frames == []
    for line in ("a", "c"):
        town.fault(line, "all", 0)
    assert town.plugs[2:] == [Plug("a", True), Plug("c", True)]
    well(town)


def test_one_seed_is_one_run(tmp_path: Path) -> None:
    def octets(seed: int) -> list[tuple[int, bytes]]:
        town = Town(tmp_path, f"line[a].seed={seed}")
        for target in ("a", "relay", "meter"):
            for fault in ("late", "doubled", "garbled", "noise", "dropped", "busy", "wrong-unit", "cut", "babble"):
                town.fault(target, fault, 0.1)
        found = []
        for n in range(60):
            town.send((("relay", RELAYS), ("meter", CURRENT))[n % 2])
            found += town.octets
        return found

    assert octets(1) == octets(1)
    assert octets(1) != octets(2)


def test_a_line_that_does_not_speak_modbus_has_no_faults_of_its_frames(tmp_path: Path) -> None:
    plain = tmp_path / "plain.toml"
    plain.write_text(SITE + """
[[line]]
id = "p"
kind = "rtu"
path = "run/p"
[[unit]]
id = "voice"
line = "p"
unit = 1
profile = "jq8900_voice"
""")
    field = Field(site.load(plain), Random)
    for target in ("p", "voice"):
        can = field.faults(target)[1]
        assert {"babble", "late", "garbled", "cut", "dropped"} <= set(can)
        assert not {"busy", "illegal", "slow-refusal", "wrong-unit", "short"} & set(can)
        with pytest.raises(NoSuch, match="'busy' is no fault of"):
            field.handle(0, Inject(target, "busy"))
