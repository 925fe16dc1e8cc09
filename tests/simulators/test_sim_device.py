"""A simulated device against requests, output class by output class, fault by fault."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import modbus
from firmware_bridge.document import check
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import Read, Refused, Reply, Request, Table, Write
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.profile import Profile, ProfileSpec, load
from simulators.device import SimDevice
from simulators.faults import Fault
from simulators.output import Cause, Switched

PROFILES = Path(__file__).parents[2] / "configs" / "profiles"


def relay_profile(class_: str, **more: object) -> Profile:
    """A two-channel board of an output class, with one holding register of each sort to ask for."""
    output: dict[str, object] = {"class": class_, "state": "relay"}
    output |= {"A": {"watchdog_s": 5}, "B": {"lease": "pulse"}, "B'": {"self_limit_s": 30}, "C": {}}[class_]
    relay = {"at": "coil:0", "channels": 2, "write": "level"}
    data = {
        "make": "x", "model": "x", "kind": "relay", "source": "test", "channels": 2, "output": output,
        "points": {
            "relay": relay,
            "pulse": {"at": "pulse:0x200", "channels": 2, "scale": 0.1, "write": "level", "readable": False},
            "level": {"at": "input:0", "scale": 0.01},
            "setting": {"at": "holding:0", "write": "level", "low": 1, "high": 9},
            "serial": {"at": "holding:1"},
            "both": {"at": "holding:2", "type": "u32", "write": "level", "multiple": True},
        },
        "initial": {"setting": 3, "serial": 77},
        **more,
    }
    return Profile("test", "test.toml", check(ProfileSpec, data, "test.toml"))


def ask(device: SimDevice, now_us: int, request: Request) -> Reply | Refused | None:
    pdu = device.handle(now_us, modbus.request_pdu(request))
    return None if pdu is None else modbus.reply_of(request, pdu)


def run(device: SimDevice, until_us: int) -> None:
    """Wake the device whenever it wants, as a world does."""
    while (due_us := device.deadline) is not None and due_us <= until_us:
        device.handle(due_us, Woken())
        assert device.deadline is None or device.deadline > due_us, "it would spin"
    device.handle(until_us, Woken())


def coil(on: int, channel: int = 1) -> Write:
    return Write(Table.COIL, channel - 1, (on,))


def pulse(tenths: int, channel: int = 1) -> Write:
    return Write(Table.PULSE, 0x200 + channel - 1, (tenths,))


# A strict slave.


def test_reads_and_writes():
    device = SimDevice("d", 1, relay_profile("C"), 1)
    assert ask(device, 0, Read(Table.HOLDING, 0, 2)) == Reply((3, 77))
    assert ask(device, 1, Write(Table.HOLDING, 0, (9,))) == Reply((9,))
    assert ask(device, 2, Read(Table.HOLDING, 0, 1)) == Reply((9,))
    assert ask(device, 3, Write(Table.HOLDING, 2, (1, 2))) == Reply((1, 2))
    assert device.value("both") == 0x10002
    assert ask(device, 4, Write(Table.COIL, 0, (1, 1))) == Reply((1, 1))
    assert ask(device, 5, Read(Table.COIL, 0, 2)) == Reply((1, 1))


@pytest.mark.parametrize(("request_", "code"), [
    (Read(Table.HOLDING, 5, 1), 2),
    (Read(Table.HOLDING, 3, 2), 2),
    (Read(Table.COIL, 0x200, 1), 2),
    (Read(Table.DISCRETE, 0, 1), 1),
    (Read(Table.HOLDING, 0, 101), 3),
    (Write(Table.HOLDING, 1, (5,)), 2),
    (Write(Table.HOLDING, 0, (5, 5)), 2),
    (Write(Table.HOLDING, 0, (0,)), 3),
    (Write(Table.HOLDING, 0, (10,)), 3),
    (Write(Table.HOLDING, 2, (1,)), 1),
    (Write(Table.COIL, 0, (1, 1, 1)), 2),
    (Write(Table.COIL, 0xFF, (1,)), 2),
    (Write(Table.PULSE, 0, (0x5500,)), 3),
    (Write(Table.PULSE, 0xFF, (0x5500,)), 2),
])
def test_refusals(request_: Request, code: int):
    device = SimDevice("d", 1, relay_profile("C"), 1)
    assert ask(device, 0, request_) == Refused(code)
    assert ask(device, 0, Read(Table.HOLDING, 0, 2)) == Reply((3, 77)), "nothing of it happened"
    assert device.log == []


def test_a_table_the_model_does_not_write_is_an_illegal_function():
    device = SimDevice("d", 1, load(PROFILES / "dyp_ultrasonic.toml"), 1)
    assert ask(device, 0, Write(Table.COIL, 0, (1,))) == Refused(1)
    assert ask(device, 0, Write(Table.HOLDING, 0x0100, (1,))) == Refused(1)
    assert ask(device, 0, Read(Table.HOLDING, 0, 1)) == Refused(2), "the source's own trap"


def test_single_reads_and_holes():
    points = {"a": {"at": "holding:0"}, "b": {"at": "holding:1"}, "c": {"at": "holding:4"}, "d": {"at": "holding:9"}}
    base = {"make": "x", "model": "x", "kind": "gauge", "source": "test", "points": points}
    singles = Profile("s", "s.toml", check(ProfileSpec, base | {"line": {"single_reads": True}}, "s.toml"))
    assert ask(SimDevice("d", 1, singles, 1), 0, Read(Table.HOLDING, 0, 2)) == Refused(2)
    assert ask(SimDevice("d", 1, singles, 1), 0, Read(Table.HOLDING, 1, 1)) == Reply((0,))
    holes = Profile("h", "h.toml", check(ProfileSpec, base | {"line": {"hole": 2}}, "h.toml"))
    assert ask(SimDevice("d", 1, holes, 1), 0, Read(Table.HOLDING, 0, 5)) == Reply((0,) * 5)
    assert ask(SimDevice("d", 1, holes, 1), 0, Read(Table.HOLDING, 4, 6)) == Refused(2)


def test_a_block_limit_counts_sixteen_bits_as_a_register():
    device = SimDevice("d", 1, relay_profile("C", line={"max_block": 1}), 1)
    assert ask(device, 0, Read(Table.COIL, 0, 2)) == Reply((0, 0))
    assert ask(device, 0, Read(Table.HOLDING, 0, 2)) == Refused(3)


def test_bits_of_one_register_are_written_apart():
    points = {"flag": {"at": "holding:0", "bit": 4, "channels": 3}}
    spec = check(ProfileSpec, {"make": "x", "model": "x", "kind": "input", "source": "t", "points": points}, "b.toml")
    device = SimDevice("d", 1, Profile("b", "b.toml", spec), 1)
    device.set_point(0, "flag_1", True)
    device.set_point(0, "flag_3", True)
    assert ask(device, 0, Read(Table.HOLDING, 0, 1)) == Reply((0b101_0000,))
    device.set_point(1, "flag_1", False)
    assert device.value("flag_3") is True


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=12),
    st.builds(lambda f, a, w: bytes([f]) + a.to_bytes(2, "big") + w.to_bytes(2, "big"),
              st.integers(1, 6), st.sampled_from([0, 1, 2, 3, 0x200, 0x201, 0xFF]), st.integers(0, 0xFFFF)),
), max_size=20))
def test_no_request_crashes_it_and_the_deadline_lies_ahead(pdus: list[bytes]):
    for name in ("B", "B'"):
        device = SimDevice("d", 1, relay_profile(name), 1)
        for n, pdu in enumerate(pdus):
            reply = device.handle(n * 700 * MS, pdu)
            assert (reply is None) == (not pdu)
            assert device.deadline is None or device.deadline > n * 700 * MS


# Output classes: what bounds an output when nobody speaks any more.


def test_class_a_falls_when_nobody_speaks():
    device = SimDevice("d", 1, relay_profile("A"), 1)
    ask(device, S, coil(1))
    ask(device, 3 * S, Read(Table.COIL, 0, 2))
    run(device, 60 * S)
    assert device.log == [Switched(S, 1, True, Cause.WRITE), Switched(8 * S, 1, False, Cause.WATCHDOG)]
    assert device.value("relay_1") is False


def test_class_b_lease_ends_by_itself_and_is_prolonged_by_another():
    device = SimDevice("d", 1, relay_profile("B"), 1)
    ask(device, 0, pulse(50))
    assert device.outputs() == {1: True, 2: False}
    assert ask(device, MS, Read(Table.COIL, 0, 2)) == Reply((1, 0))
    ask(device, 2 * S, pulse(50))
    run(device, 60 * S)
    assert device.log == [Switched(0, 1, True, Cause.WRITE), Switched(7 * S, 1, False, Cause.LEASE_END)]
    assert ask(device, 60 * S, Read(Table.COIL, 0, 2)) == Reply((0, 0))


def test_class_b_off_ends_the_lease_and_on_latches():
    device = SimDevice("d", 1, relay_profile("B"), 1)
    ask(device, 0, pulse(50))
    ask(device, S, coil(0))
    ask(device, 2 * S, pulse(30))
    ask(device, 3 * S, coil(1))
    run(device, 3600 * S)
    assert [(s.t_us, s.on) for s in device.log] == [(0, True), (S, False), (2 * S, True)]
    ask(device, 3601 * S, pulse(10))
    run(device, 3700 * S)
    assert device.log[-1] == Switched(3602 * S, 1, False, Cause.LEASE_END)


def test_class_b_pulse_values_that_look_like_a_coils():
    device = SimDevice("d", 1, relay_profile("B"), 1)
    ask(device, 0, pulse(0xFF00))
    run(device, 6527 * S)
    assert device.outputs()[1]
    run(device, 6528 * S)
    assert not device.outputs()[1]
    ask(device, 7000 * S, pulse(0))
    assert not device.outputs()[1]


def test_class_b_prime_bounds_its_own_function_anew_at_each_write():
    device = SimDevice("d", 1, relay_profile("B'"), 1)
    ask(device, 0, coil(1))
    ask(device, 20 * S, coil(1))
    run(device, 600 * S)
    assert device.log == [Switched(0, 1, True, Cause.WRITE), Switched(50 * S, 1, False, Cause.SELF_LIMIT)]


def test_class_b_prime_takes_its_limit_from_a_point_and_zero_is_never():
    profile = load(PROFILES / "evikon_ek61.toml")
    device = SimDevice("d", 1, profile, 1)
    assert ask(device, 0, Write(Table.HOLDING, 3, (0,))) == Refused(3)
    ask(device, 0, Write(Table.HOLDING, 0, (5,)))
    run(device, 86400 * S)
    assert device.outputs() == {None: True}, "as delivered nothing bounds the horn"
    ask(device, 86400 * S, Write(Table.HOLDING, 3, (6,)))
    ask(device, 86400 * S, Write(Table.HOLDING, 0, (4,)))
    run(device, 90000 * S)
    assert device.log[-1] == Switched(86406 * S, None, False, Cause.SELF_LIMIT)
    assert device.value("mode") == "off"


def test_class_c_latches_and_the_timer_relay_cuts_it_until_it_has_opened():
    bare = SimDevice("d", 1, relay_profile("C"), 1)
    ask(bare, 0, coil(1))
    run(bare, 86400 * S)
    assert bare.outputs()[1]
    wired = SimDevice("d", 1, relay_profile("C"), 1, hard_limit_s={1: 200})
    ask(wired, 0, coil(1))
    run(wired, 300 * S)
    assert wired.log[-1] == Switched(200 * S, 1, False, Cause.HARD_LIMIT)
    assert wired.value("relay_1") is True, "the coil does not know"
    ask(wired, 300 * S, coil(1))
    assert not wired.outputs()[1], "the timer relay waits for the contact to open"
    ask(wired, 301 * S, coil(0))
    ask(wired, 302 * S, coil(1))
    assert wired.outputs() == {1: True, 2: False}


def test_things_happen_at_their_own_instant_however_late_it_is_asked():
    device = SimDevice("d", 1, relay_profile("B"), 1)
    ask(device, 0, pulse(50, 2))
    ask(device, 0, pulse(10, 1))
    device.handle(3600 * S, Woken())
    assert [(s.t_us, s.channel, s.on) for s in device.log] == [
        (0, 2, True), (0, 1, True), (S, 1, False), (5 * S, 2, False)]


# Faults.


def test_dead_is_silent_and_the_lease_still_ends():
    device = SimDevice("d", 1, relay_profile("B"), 1)
    ask(device, 0, pulse(50))
    device.inject(S, Fault.DEAD)
    assert ask(device, 2 * S, pulse(50)) is None
    run(device, 10 * S)
    assert device.log[-1] == Switched(5 * S, 1, False, Cause.LEASE_END)
    device.inject(10 * S, Fault.DEAD, on=False)
    assert ask(device, 11 * S, Read(Table.COIL, 0, 1)) == Reply((0,))


def test_frozen_readings_stay_and_commands_work():
    device = SimDevice("d", 1, relay_profile("C", simulate={"w": {"wave": "level", "mean": 5, "swing": 1}}), 1)
    before = ask(device, 0, Read(Table.INPUT, 0, 1))
    device.inject(0, Fault.FROZEN)
    assert ask(device, 15 * S, Read(Table.INPUT, 0, 1)) == before
    assert device.value("level") == pytest.approx(6)
    ask(device, 16 * S, coil(1))
    assert ask(device, 17 * S, Read(Table.COIL, 0, 1)) == Reply((1,))
    device.inject(18 * S, Fault.FROZEN, on=False)
    assert ask(device, 45 * S, Read(Table.INPUT, 0, 1)) == Reply((400,))


def test_a_welded_contact_acknowledges_and_reads_off_but_sounds():
    device = SimDevice("d", 1, relay_profile("C"), 1, hard_limit_s={1: 100})
    ask(device, 0, coil(1))
    device.inject(S, Fault.STUCK_ON, channel=1)
    assert ask(device, 2 * S, coil(0)) == Reply((0,))
    assert ask(device, 3 * S, Read(Table.COIL, 0, 1)) == Reply((0,))
    assert device.outputs() == {1: True, 2: False}
    run(device, 200 * S)
    assert device.log[-1] == Switched(100 * S, 1, False, Cause.HARD_LIMIT)
    device.inject(200 * S, Fault.STUCK_ON, on=False, channel=1)
    ask(device, 201 * S, coil(1))
    assert device.outputs()[1]


def test_a_stuck_off_output_does_not_sound():
    device = SimDevice("d", 1, relay_profile("C"), 1)
    device.inject(0, Fault.STUCK_OFF)
    assert ask(device, S, coil(1)) == Reply((1,))
    assert device.outputs() == {1: False, 2: False}
    assert device.log == []
    device.inject(2 * S, Fault.STUCK_OFF, on=False)
    assert device.log == [Switched(2 * S, 1, True, Cause.FAULT)]


def test_a_reboot_is_silent_drops_outputs_and_comes_up_as_at_power_up():
    device = SimDevice("d", 1, relay_profile("C", initial={"relay_2": True, "setting": 3}), 1, boot_ms=1500)
    assert device.log == [Switched(0, 2, True, Cause.POWER)], "a board that powers up ON"
    ask(device, S, coil(1))
    ask(device, S, Write(Table.HOLDING, 0, (9,)))
    device.set_point(S, "level", 1.5)
    device.inject(2 * S, Fault.REBOOT)
    assert device.outputs() == {1: False, 2: False}
    assert ask(device, 3 * S, Read(Table.COIL, 0, 1)) is None
    assert ask(device, 4 * S, Read(Table.COIL, 0, 2)) == Reply((0, 1))
    assert device.log[-1] == Switched(3500 * MS, 2, True, Cause.POWER)
    assert device.value("setting") == 3
    assert device.value("level") == pytest.approx(1.5), "the site still feeds it"


def test_a_board_without_power_forgets_what_it_had_begun_and_begins_nothing():
    button = {"at": "discrete:0"}
    points = {"relay": {"at": "coil:0", "channels": 2, "write": "level"}, "button": button}
    rule = {"when": "button", "is": True, "then": {"relay_1": True}, "after_ms": 5000}
    device = SimDevice("d", 1, relay_profile("C", points=points, initial={}, simulate={"press": rule}), 1)
    device.set_point(0, "button", True)
    device.inject(2 * S, Fault.REBOOT)
    device.set_point(2500 * MS, "button", False)
    device.set_point(3 * S, "button", True)
    run(device, 60 * S)
    assert device.log == []
    device.set_point(60 * S, "button", False)
    device.set_point(61 * S, "button", True)
    run(device, 70 * S)
    assert device.log == [Switched(66 * S, 1, True, Cause.WRITE)]


def test_a_panel_sounds_past_a_relay_board_that_does_not_know():
    device = SimDevice("d", 1, relay_profile("C"), 1)
    device.inject(S, Fault.PANEL, channel=2)
    assert device.log == [Switched(S, 2, True, Cause.PANEL)]
    assert ask(device, 2 * S, Read(Table.COIL, 0, 2)) == Reply((0, 0))
    device.inject(3 * S, Fault.PANEL, on=False, channel=2)
    assert device.outputs() == {1: False, 2: False}


def test_a_panel_is_a_function_of_an_intelligent_head():
    device = SimDevice("d", 1, load(PROFILES / "federal_signal_informer.toml"), 1)
    device.inject(S, Fault.PANEL)
    assert device.outputs() == {None: True}
    assert ask(device, 2 * S, Read(Table.COIL, 0, 1)) == Reply((1,))
    run(device, 300 * S)
    assert device.log == [Switched(S, None, True, Cause.PANEL), Switched(181 * S, None, False, Cause.SELF_LIMIT)]


# Behaviour.


def test_the_informer_needs_an_arm_and_its_bit_is_latched():
    device = SimDevice("d", 1, load(PROFILES / "federal_signal_informer.toml"), 1)
    ask(device, 0, Write(Table.HOLDING, 2, (4,)))
    run(device, S)
    assert device.log == [], "not armed"
    ask(device, S, Write(Table.HOLDING, 3, (0,)))
    ask(device, 2 * S, Write(Table.HOLDING, 2, (4,)))
    run(device, 400 * S)
    assert device.log == [Switched(2300 * MS, None, True, Cause.WRITE),
                          Switched(182300 * MS, None, False, Cause.SELF_LIMIT)]
    assert ask(device, 400 * S, Read(Table.COIL, 0, 1)) == Reply((1,)), "latched until the next function"
    ask(device, 401 * S, Write(Table.HOLDING, 2, (1,)))
    assert ask(device, 401 * S, Read(Table.COIL, 0, 1)) == Reply((0,))
    ask(device, 401 * S + 200 * MS, Write(Table.HOLDING, 3, (3,)))
    run(device, 500 * S)
    assert len(device.log) == 2, "cancelled before it began"


def test_the_site_feeds_a_current_and_takes_it_back():
    device = SimDevice("m", 1, load(PROFILES / "generic_input_module.toml"), 1)
    device.set_point(0, "current_3", 12.34)
    device.set_point(0, "contact_3", True)
    assert ask(device, 1, Read(Table.INPUT, 0, 8)) == Reply((0, 0, 1234, 0, 0, 0, 0, 0))
    assert ask(device, 2, Read(Table.DISCRETE, 0, 3)) == Reply((0, 0, 1))
    device.set_point(3, "current_3", 1e9)
    assert ask(device, 4, Read(Table.INPUT, 2, 1)) == Reply((0xFFFF,)), "stopped at the end of the scale"
    device.set_point(5, "current_3", 0.0)
    assert ask(device, 6, Read(Table.INPUT, 2, 1)) == Reply((0,))


def test_a_gauge_tells_its_level_in_its_own_unit_and_decimals():
    device = SimDevice("g", 1, load(PROFILES / "qdy30a.toml"), 1)
    device.set_point(0, "level", 1.25)
    assert ask(device, 0, Read(Table.HOLDING, 2, 3)) == Reply((7, 3, 1250))
    device.set_point(1, "unit_code", 1)
    device.set_point(1, "decimals", 2)
    device.set_point(1, "level", 1.25)
    assert ask(device, 2, Read(Table.HOLDING, 2, 3)) == Reply((1, 2, 1225)), "12.25 kPa"
    device.set_point(3, "level", None)
    device.set_point(3, "decimals", 3)
    device.set_point(3, "unit_code", 7)
    assert float(device.value("level")) == pytest.approx(0.05, abs=0.04)


def test_a_ramp_moves_while_its_condition_holds_and_words_do_not_lose_small_steps():
    fill = {"ramp": "level", "per_s": 0.001, "while": {"point": "relay_1", "is": True}, "high": 2}
    device = SimDevice("d", 1, relay_profile("C", simulate={"fill": fill}), 1)
    run(device, 10 * S)
    ask(device, 10 * S, coil(1))
    for n in range(1000):
        device.handle(10 * S + n * S, Woken())
    assert device.value("level") == pytest.approx(0.99, abs=0.011)
    ask(device, 1010 * S, coil(0))
    run(device, 5000 * S)
    assert device.value("level") == pytest.approx(1.0, abs=0.011)


def test_a_ramp_goes_on_from_what_the_site_left():
    device = SimDevice("d", 1, relay_profile("C", simulate={"fill": {"ramp": "level", "per_s": 0.1}}), 1)
    run(device, 10 * S)
    device.set_point(10 * S, "level", 5.0)
    run(device, 20 * S)
    assert device.value("level") == pytest.approx(5.0)
    device.set_point(20 * S, "level", None)
    run(device, 30 * S)
    assert device.value("level") == pytest.approx(6.0, abs=0.011)


def test_one_seed_one_history():
    def history(seed: int) -> list[bytes | None]:
        device = SimDevice("g", 1, load(PROFILES / "dyp_ultrasonic.toml"), seed)
        pdu = modbus.request_pdu(Read(Table.HOLDING, 0x0100, 2))
        return [device.handle(n * S, pdu) for n in range(50)]
    assert history(3) == history(3)
    assert history(3) != history(4)


def test_rules_that_chase_each_other_are_told_and_do_not_hang():
    chase = {"up": {"when": "relay_1", "is": True, "then": {"relay_1": False}},
             "down": {"when": "relay_1", "is": False, "then": {"relay_1": True}}}
    device = SimDevice("d", 1, relay_profile("C", simulate=chase), 1)
    with pytest.raises(BadDocument, match="without end"):
        ask(device, 0, coil(1))


def test_a_register_that_answers_a_read_with_something_else_than_was_written():
    data = {
        "make": "x", "model": "x", "kind": "relay", "source": "test",
        "points": {
            "command": {"at": "holding:1", "write": "level", "readable": False, "values": {"on": 0x100, "off": 0x200}},
            "closed": {"at": "holding:1", "type": "bool"},
        },
        "simulate": {"on": {"when": "command", "is": "on", "then": {"closed": True}},
                     "off": {"when": "command", "is": "off", "then": {"closed": False}}},
    }
    device = SimDevice("d", 1, Profile("test", "test.toml", check(ProfileSpec, data, "test.toml")), 1)
    for value, seen in ((0x100, 1), (0x200, 0)):
        assert isinstance(ask(device, 0, Write(Table.HOLDING, 1, (value,))), Reply)
        assert ask(device, 0, Read(Table.HOLDING, 1, 1)) == Reply((seen,))
    assert ask(device, 0, Write(Table.HOLDING, 1, (0x300,))) == Refused(3)


def test_parts_of_one_register_move_each_by_itself():
    points = {"hot": {"at": "input:7", "bit": 8, "bits": 8, "type": "s16"},
              "cold": {"at": "input:7", "bit": 0, "bits": 8, "type": "s16"}}
    data = {"make": "x", "model": "x", "kind": "power", "source": "test", "points": points, "initial": {"hot": 25}}
    device = SimDevice("d", 1, Profile("test", "test.toml", check(ProfileSpec, data, "test.toml")), 1)
    device.set_point(0, "cold", -10)
    assert ask(device, 0, Read(Table.INPUT, 7, 1)) == Reply((0x19F6,))
    device.set_point(0, "cold", -500)
    assert (device.value("hot"), device.value("cold")) == (25, -128)


def test_a_reboot_takes_the_seconds_it_is_given_and_cannot_be_called_back():
    device = SimDevice("d", 1, relay_profile("C"), 1, boot_ms=1500)
    device.inject(0, Fault.REBOOT, seconds=6)
    assert device.silent
    assert device.faults()[None] == [Fault.REBOOT]
    device.inject(S, Fault.REBOOT, on=False)
    assert ask(device, 5999 * MS, Read(Table.COIL, 0, 1)) is None
    assert ask(device, 6 * S, Read(Table.COIL, 0, 1)) == Reply((0,))
    assert device.faults() == {None: [], 1: [], 2: []}


def test_what_the_site_says_it_powers_up_with_is_there_after_a_reboot_too():
    device = SimDevice("d", 1, relay_profile("C"), 1, initial={"setting": 7, "relay_1": True})
    assert device.outputs() == {1: True, 2: False}
    ask(device, S, Write(Table.HOLDING, 0, (9,)))
    ask(device, S, coil(0))
    device.inject(2 * S, Fault.REBOOT)
    run(device, 10 * S)
    assert device.value("setting") == 7
    assert device.outputs() == {1: True, 2: False}


def test_a_brown_out_reboots_it_each_time_an_output_closes():
    device = SimDevice("d", 1, relay_profile("C"), 1, boot_ms=1000)
    device.inject(0, Fault.BROWN_OUT)
    assert ask(device, S, coil(0)) == Reply((0,))
    for begin_us in (2 * S, 5 * S):
        device.log.clear()
        assert ask(device, begin_us, coil(1)) == Reply((1,)), "it is acknowledged"
        run(device, begin_us + 500 * MS)
        assert device.log == [Switched(begin_us, 1, True, Cause.WRITE),
                              Switched(begin_us + 50 * MS, 1, False, Cause.POWER)]
        assert ask(device, begin_us + 1049 * MS, Read(Table.COIL, 0, 1)) is None
        assert ask(device, begin_us + 1050 * MS, Read(Table.COIL, 0, 1)) == Reply((0,))
    device.inject(10 * S, Fault.BROWN_OUT, on=False)
    ask(device, 11 * S, coil(1))
    run(device, 20 * S)
    assert device.outputs()[1]


def test_a_board_that_powers_up_on_and_browns_out_never_comes_to_rest():
    device = SimDevice("d", 1, relay_profile("C", initial={"relay_2": True}), 1, boot_ms=1000)
    device.inject(0, Fault.BROWN_OUT)
    device.inject(0, Fault.REBOOT)
    run(device, 10 * S)
    assert [s.t_us for s in device.log if s.on and s.t_us > 0] == [n * 1050 * MS - 50 * MS for n in range(1, 10)]
    device.inject(10 * S, Fault.BROWN_OUT, on=False)
    run(device, 20 * S)
    assert device.outputs()[2]


def test_what_is_wrong_is_told_by_what_has_it():
    device = SimDevice("d", 1, relay_profile("C"), 1)
    for fault, channel in ((Fault.DEAD, None), (Fault.FROZEN, None), (Fault.STUCK_ON, 1), (Fault.STUCK_OFF, 2),
                           (Fault.PANEL, 2), (Fault.BROWN_OUT, None)):
        device.inject(0, fault, channel=channel)
    assert device.faults() == {None: [Fault.DEAD, Fault.FROZEN, Fault.BROWN_OUT], 1: [Fault.STUCK_ON],
                               2: [Fault.STUCK_OFF, Fault.PANEL]}
    device.inject(S, Fault.STUCK_ON, on=False)
    assert device.faults()[2] == [Fault.STUCK_OFF, Fault.PANEL], "mending the welded mends no burnt contact"
    assert device.faults()[1] == []
    for fault in (Fault.DEAD, Fault.FROZEN, Fault.BROWN_OUT, Fault.STUCK_OFF, Fault.PANEL):
        device.inject(2 * S, fault, on=False)
    assert device.faults() == {None: [], 1: [], 2: []}
