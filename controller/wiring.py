"""What one line of a gateway is: its section in `gateway.toml`, and what its devices make of it.

All devices of a line speak one protocol. Broadcast is off unless the section asks for it, and then every unit that
hears it must be of a model that is known to obey unit 0: what closes a relay of one may do anything to another.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from controller.wire import Code
from firmware_bridge.document import Document
from firmware_bridge.errors import Problem
from firmware_bridge.framing import Framing, Plain, Rtu, Tcp
from firmware_bridge.profile import Profile
from firmware_bridge.text import UNIT


class BusSection(Document):
    """One line or TCP endpoint."""

    id: Code
    link: str
    """`serial:/dev/serial/by-path/...`, `tcp:host:port`, or `rtu-tcp:host:port`: a serial line through a TCP tunnel."""
    baud: Annotated[int, Field(ge=1200, le=4_000_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    echo: bool = False
    """The adapter hears what it sends."""
    broadcast: bool = False
    """A stop of everything on this line is first said to all units at once (unit 0)."""
    rtu_behind: bool = False
    """Behind this TCP endpoint is a box with a serial line: one request at a time, whatever the devices could take."""

    @field_validator("link")
    @classmethod
    def _link(cls, value: str) -> str:
        if not re.fullmatch(r"serial:.+|(tcp|rtu-tcp):[^:]+:[0-9]{1,5}", value):
            raise ValueError("say serial:/dev/serial/by-path/..., tcp:host:port or rtu-tcp:host:port")
        if value.startswith("serial:/dev/ttyUSB"):
            raise ValueError("ttyUSB numbers change at replugging; use /dev/serial/by-path/...")
        return value

    @property
    def tcp(self) -> bool:
        return self.link.startswith("tcp:")

    @property
    def char_bits(self) -> int:
        """Start, data, parity and stop bits together."""
        return 1 + 8 + (self.parity != "N") + self.stop_bits


def framing(bus: BusSection, profiles: Iterable[Profile]) -> Framing:
    """How frames lie on this line."""
    if bus.tcp:
        return Tcp()
    plain = any(p.spec.protocol == "plain" for p in profiles)
    return (Plain if plain else Rtu)(bus.baud, bus.char_bits)


def in_flight(bus: BusSection, profiles: Iterable[Profile]) -> int:
    """How many requests may be out at once: what the least able of the devices holds."""
    if not bus.tcp or bus.rtu_behind:
        return 1
    return min((p.line.in_flight for p in profiles), default=1)


def problems(file: str, bus: BusSection, devices: Sequence[tuple[str, Profile]]) -> Iterable[Problem]:
    """What does not go together on one line; `devices` are those of it that have a profile, by id."""
    protocols = {profile.spec.protocol for _, profile in devices}
    key = f"bus[{bus.id}]"
    no_tcp = f"does not speak Modbus TCP; give bus {bus.id} a serial or rtu-tcp link"
    for id, profile in devices:
        here = f"device[{id}].profile"
        if profile.spec.protocol == "plain" and len(protocols) > 1:
            yield Problem(file, here, profile.id, f"speaks a protocol of its own, others on bus {bus.id} Modbus;"
                          " put it on a line of its own")
        elif profile.spec.protocol == "plain" and bus.tcp:
            yield Problem(file, here, profile.id, no_tcp)
        elif profile.spec.protocol == "plain" and len(devices) > 1 and not _addressed(profile):
            yield Problem(file, here, profile.id, f"has no unit address; let it be alone on bus {bus.id}")
        if bus.link.startswith("serial:") and bus.parity != profile.line.parity:
            yield Problem(file, here, profile.id, f"speaks parity {profile.line.parity}, bus {bus.id} {bus.parity};"
                          " put it on a line of its own parity, or set the unit's")
    if bus.rtu_behind and not bus.tcp:
        yield Problem(file, f"{key}.rtu_behind", True, "only a tcp: link has a box behind it; drop it")
    if bus.broadcast and (bus.tcp or "plain" in protocols):
        yield Problem(file, f"{key}.broadcast", True, "only a Modbus RTU line has it; drop it")
    elif bus.broadcast:
        models = {profile.id for _, profile in devices}
        deaf = sorted(profile.id for _, profile in devices if not profile.line.broadcast)
        if deaf or len(models) > 1:
            why = f"{deaf[0]} is not known to obey it" if deaf else f"{', '.join(sorted(models))} would all hear it"
            yield Problem(file, f"{key}.broadcast", True, f"{why}; only for a line of one model that does")


def _addressed(profile: Profile) -> bool:
    return all(UNIT in message.ask.fields for message in profile.messages.values())
