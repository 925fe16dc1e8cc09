"""The faults of a simulated device, each by what a bus and an ear notice of it."""

import pytest

from firmware_bridge.event import Read, Reply, Table, Write
from firmware_bridge.machine import MS, S
from firmware_bridge.profile import load
from simulators.device import SimDevice
from simulators.faults import Fault
from simulators.output import Cause, Switched
from tests.simulators.bench_sim_device import PROFILES, ask, coil, pulse, relay_profile, run


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


# Without power.


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
