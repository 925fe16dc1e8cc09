"""What a technician sees at the local door: the state of everything, a device's readings, a line and what is on it.

Only looks; what makes a siren sound or stop goes to `orders.py`. Every answer is one JSON object; one with
`"last": true` ends the conversation.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from controller import wire
from controller.config import Config
from controller.event import Changed, Clock, Notice, Progress, Publish
from controller.floods import Floods
from controller.lockout import Lockout
from controller.session import Session
from firmware_bridge.bus import Bus
from firmware_bridge.device import Device
from firmware_bridge.event import Received, Send
from firmware_bridge.machine import S
from firmware_bridge.monitor import BUCKETS_MS
from firmware_bridge.reading import Quality, Took

BEAT_US = 10 * S
"""How often the buses' figures go to the session, and are noted here."""
MINUTE_BEATS = 6
"""Beats in the minute over which a line's use is told."""


def answer(client: int, body: dict[str, Any], last: bool = True) -> Publish:
    payload = json.dumps(body | {"last": last}, ensure_ascii=False, default=str).encode()
    return Publish("", payload, client=client)


def refusal(client: int, why: str) -> Publish:
    return answer(client, {"error": why})


def status(client: int, now_us: int, config: Config, clock: Clock | None, session: Session, lockout: Lockout,
           buses: Mapping[str, Bus], devices: Mapping[str, Device], shown: Mapping[str, Changed],
           floods: Floods) -> Publish:
    """Everything at once: clock, modes, buses with their units, devices, sirens, what waits for the hub."""
    return answer(client, {
        "gateway": config.id,
        "area": config.area,
        "wall": wire.to_text(clock.wall_us) if clock else None,
        "clock": clock.trust if clock else "unknown",
        "modes": session.modes,
        "nonce": session.nonce,
        "online": session.online,
        "outbox": session.outbox,
        "trust_version": session.trust_version,
        "buses": {id: figures(bus) | {"units": _units(bus)} for id, bus in buses.items()},
        "devices": {
            id: {"state": d.state.value, "bus": d.bus, "unit": d.unit, "profile": d.profile.id}
            for id, d in devices.items()
        },
        "sirens": {
            s.id: {"name": s.name, "type": s.type, "drive": s.drive, "locks": lockout.shown(s.id)}
            | _siren(shown.get(s.id))
            for s in config.spec.siren
        },
        "spots": floods.shown(now_us)["spots"],
    })


def _siren(shown: Changed | None) -> dict[str, Any]:
    if shown is None:
        return {"state": "UNKNOWN", "why": "not read yet"}
    return {"state": shown.state, "why": shown.why, "activation": shown.activation, "mode": shown.mode}


def readings(client: int, now_us: int, device: Device, points: Iterable[str], wrong: str) -> Publish:
    """Points of one device with value, unit, quality and age."""
    rows = []
    for name in points:
        r = device.reading(name, now_us)
        age_s = None if r.at_us == 0 else round(r.age_us(now_us) / S, 2)
        rows.append({"point": name, "value": r.value, "unit": device.profile.points[name].spec.unit,
                     "quality": r.quality, "why": r.why, "age_s": age_s})
    return answer(client, {"device": device.id, "points": rows} | ({"error": wrong} if wrong else {}))


def bus(client: int, now_us: int, one: Bus, use: "Use") -> Publish:
    """One line: its use, what it counted, each unit's standing and turnarounds, its last frames in hex and words."""
    monitor, c = one.monitor, one.counters
    return answer(client, {
        "bus": one.id,
        "use": use.of(now_us, one),
        "figures": figures(one) | {"refused": c.refused, "early": c.early},
        "units": _units(one),
        "turnaround_ms": {"up_to": BUCKETS_MS, "answers": {str(u): n for u, n in sorted(monitor.turnarounds.items())}},
        "frames": [
            {"ago_s": round((now_us - seen.at_us) / S, 3), "ours": seen.ours, "hex": seen.data.hex(" "),
             "words": monitor.words(seen)}
            for seen in monitor.frames
        ],
    })


class Use:
    """How much of the last minute each line was taken: what its busy time was at each beat."""

    def __init__(self) -> None:
        self._busy: dict[str, deque[tuple[int, int]]] = {}

    def note(self, now_us: int, buses: Iterable[Bus]) -> None:
        """To be called once a beat."""
        for one in buses:
            noted = self._busy.setdefault(one.id, deque(maxlen=MINUTE_BEATS))
            noted.append((now_us, one.counters.busy_us))

    def of(self, now_us: int, one: Bus) -> dict[str, float] | None:
        """The share and over how long it is; None in the first moment, when it is of nothing."""
        since_us, before_us = self._busy[one.id][0] if one.id in self._busy else (now_us, 0)
        if now_us - since_us < S:
            return None
        # With several requests out at once, as TCP may have, their times are added up.
        share = min(1.0, (one.counters.busy_us - before_us) / (now_us - since_us))
        return {"share": round(share, 3), "over_s": round((now_us - since_us) / S, 1)}


def held(client: int, config: Config, line: str) -> Publish:
    """Whether this gateway is the master of a line, told by its id or its link, and what to do about it."""
    kind, _, where = line.partition(":")
    for one in config.spec.bus:
        mine, _, place = one.link.partition(":")
        same = config.path(place) == config.path(where) if kind == mine == "serial" else one.link == line
        if same or one.id == line:
            return refusal(client, f"{one.id}: 本机 sirend 正在使用，先停止它；停止期间本网关不执行任何命令"
                           f" / the sirend of {config.id} is the master of this line; stop it first (systemctl stop"
                           " sirend.service); while it is stopped, this gateway carries out no order")
    return answer(client, {"held": False})


def recording(client: int, config: Config, clock: Clock | None, one: Bus) -> Publish:
    """The first answer to who records a line: whose it is, and which models are on it."""
    link = next(b.link for b in config.spec.bus if b.id == one.id)
    return answer(client, {
        "kind": "recording",
        "gateway": config.id,
        "bus": one.id,
        "link": link,
        "state": one.state.value,
        "wall": wire.to_text(clock.wall_us) if clock else None,
        "profiles": str(config.path(config.spec.profiles.folder)),
        "devices": {str(d.unit): {"device": d.id, "profile": d.profile} for d in config.spec.device if d.bus == one.id},
    }, last=False)


def recorded(recorders: Mapping[int, str], now_us: int, what: object, devices: Mapping[str, Device]) -> list[Publish]:
    """For who records the line that this is about: a frame as it was on the wire, or what was believed of one.

    A frame without octets takes the one before it back: it was prepared and did not leave.
    """
    match what:
        case Send(bus, data):
            body: dict[str, Any] = {"kind": "frame", "ours": True, "hex": data.hex(" ")}
        case Received(bus, data):
            body = {"kind": "frame", "ours": False, "hex": data.hex(" ")}
        case Took(device, readings):
            bus = devices[device].bus
            values = {r.point: r.value for r in readings if r.quality is Quality.GOOD}
            body = {"kind": "believed", "unit": devices[device].unit, "values": values}
        case _:
            return []
    return [answer(client, body, last=False) for client, line in recorders.items() if line == bus]


def line(client: int, what: Progress | Notice | Changed) -> Publish:
    """One line of the running log."""
    said = {key: value for key, value in asdict(what).items() if value not in (None, "", (), {})}
    if isinstance(what, Progress) and what.evidence is not None:
        said["evidence"] = what.evidence.model_dump()
    return answer(client, {"kind": type(what).__name__.lower()} | said, last=False)


def figures(bus: Bus) -> dict[str, float | int | str]:
    """How a bus does: its state and what it has counted since start."""
    c = bus.counters
    return {"state": bus.state.value, "waiting": len(bus.queue), "sent": c.sent, "answered": c.answered,
            "silent": c.silent, "garbled": c.garbled, "foreign": c.foreign, "late": c.late,
            "preempted": c.preempted, "busy_s": round(c.busy_us / S, 3)}


def _units(bus: Bus) -> dict[str, dict[str, float | str]]:
    return {
        str(number): {"standing": unit.standing.value, "turnaround_ms": round(unit.turnaround_us / 1000, 1)}
        for number, unit in sorted(bus.units.items())
    }
