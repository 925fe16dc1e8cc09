"""A simulated device on a bench: a board of any output class, and requests to it."""

from pathlib import Path

from firmware_bridge import modbus
from firmware_bridge.document import check
from firmware_bridge.event import Refused, Reply, Request, Table, Write
from firmware_bridge.machine import Woken
from firmware_bridge.profile import Profile, ProfileSpec
from simulators.device import SimDevice

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
