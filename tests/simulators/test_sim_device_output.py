"""The outputs of a simulated device, class by class: what bounds one when nobody speaks any more."""

from firmware_bridge.event import Read, Refused, Reply, Table, Write
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.profile import load
from simulators.device import SimDevice
from simulators.output import Cause, Switched
from tests.simulators.bench_sim_device import PROFILES, ask, coil, pulse, relay_profile, run


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
