"""A simulated device: a strict slave to every request, and how its points behave."""

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
from simulators.output import Cause, Switched
from tests.simulators.bench_sim_device import PROFILES, ask, coil, relay_profile, run

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
