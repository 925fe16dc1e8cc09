"""What a technician sees at the local door: the whole state in one answer, one device's readings, a running log.

Only looks; what makes a siren sound or stop goes to `orders.py`. Every answer is one JSON object; one with
`"last": true` ends the conversation.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from controller import wire
from controller.config import Config
from controller.event import Changed, Clock, Notice, Progress, Publish
from controller.session import Session
from firmware_bridge.bus import Bus
from firmware_bridge.device import Device
from firmware_bridge.machine import S
from firmware_bridge.monitor import BUCKETS_MS


def answer(client: int, body: dict[str, Any], last: bool = True) -> Publish:
    payload = json.dumps(body | {"last": last}, ensure_ascii=False, default=str).encode()
    return Publish("", payload, client=client)


def refusal(client: int, why: str) -> Publish:
    return answer(client, {"error": why})


def status(client: int, now_us: int, config: Config, clock: Clock | None, session: Session,
           buses: Mapping[str, Bus], devices: Mapping[str, Device], shown: Mapping[str, Changed]) -> Publish:
    """Everything at once: clock, modes, buses with their units, devices, sirens, what waits for the hub."""
    return answer(client, {
        "gateway": config.id,
        "area": config.area,
        "wall": wire.to_text(clock.wall_us) if clock else None,
        "clock": clock.trust if clock else "unknown",
        "modes": session.modes,
        "online": session.online,
        "outbox": session.outbox,
        "buses": {id: figures(bus) | {"units": _units(bus)} for id, bus in buses.items()},
        "devices": {
            id: {"state": d.state.value, "bus": d.bus, "unit": d.unit, "profile": d.profile.id}
            for id, d in devices.items()
        },
        "sirens": {
            s.id: {"name": s.name, "type": s.type, "drive": s.drive} | _siren(shown.get(s.id))
            for s in config.spec.siren
        },
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


def bus(client: int, now_us: int, one: Bus) -> Publish:
    """One line: what it counted, each unit's standing and turnarounds, its last frames in hex and in words."""
    monitor = one.monitor
    return answer(client, {
        "bus": one.id,
        "figures": figures(one),
        "units": _units(one),
        "turnaround_ms": {"up_to": BUCKETS_MS, "answers": {str(u): n for u, n in sorted(monitor.turnarounds.items())}},
        "frames": [
            {"ago_s": round((now_us - seen.at_us) / S, 3), "ours": seen.ours, "hex": seen.data.hex(" "),
             "words": monitor.words(seen)}
            for seen in monitor.frames
        ],
    })


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
