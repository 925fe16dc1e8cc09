"""An order as an operator means it, made into the document that is signed.

Pure: chance (the id) and time (the wall) are handed in. What cannot be meant comes out as Problems that name the
option and the remedy. It refuses to know keys and the fleet.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from controller import wire
from controller.signal import Signals
from controller.wire import Action, Layer, Mode, OrderBody, Sound
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S
from hub.config import Config

EARLY_US = 2 * S
"""An order for now may begin this much before it was made: a gateway's clock may be that much behind ours."""
LIVE_WINDOW_US = 300 * S
"""A live order may begin in five minutes or never; gateways refuse more."""
STOP_WINDOW_US = 600 * S
BEFORE_US = 60 * S
"""A timed order may be held against its start this early, for clocks that differ."""
AFTER_US = 300 * S
"""A timed drill may begin so late; a live one stays within LIVE_WINDOW_US."""
AHEAD_US = 60 * 24 * 3600 * S
"""Gateways take no order that is signed longer ahead."""
COMMAND = "siren-hub"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator said, as text where the command line has text."""

    action: Action
    mode: Mode
    area: str
    sound: str | None = None
    """A signal or a programme."""
    at: str | None = None
    layer: Layer | None = None
    sirens: tuple[str, ...] = ()
    stops: str | None = None
    reason: str | None = None
    nonce: str | None = None
    """That of a gateway which lacks the time."""


def draft(wish: Wish, config: Config, id: str, wall_us: int) -> OrderBody:
    """The order of this wish, made now; BadDocument tells everything that is wrong with it."""
    problems: list[Problem] = []

    def problem(option: str, value: object, remedy: str) -> None:
        problems.append(Problem(COMMAND, option, value, remedy))

    hub = config.spec.hub
    if not wire.covers(hub.area, wish.area):
        problem("--area", wish.area, f"not within this centre's area {hub.area}; say {hub.area} or {hub.area}/..")
    if wish.sound is not None and wish.sound not in config.signals:
        problem("--signal", wish.sound, f"no such signal or programme; there are {_names(config.signals)}")
    start_us: int | None = None
    if wish.at is not None:
        try:
            start_us = instant(wish.at, wall_us, config.zone)
        except ValueError as error:
            problem("--at", wish.at, str(error))
    if start_us is not None and start_us <= wall_us:
        problem("--at", wish.at, f"is past: {wire.to_text(start_us)}; say a later instant, or leave it out for now")
    if start_us is not None and start_us - wall_us > AHEAD_US - AFTER_US:
        problem("--at", wish.at, "more than 60 days ahead; gateways do not keep an order for so long")
    if wish.at is not None and wish.nonce is not None:
        problem("--nonce", wish.nonce, "its gateway has no clock to start by; leave out --at")
    if problems:
        raise BadDocument(problems)
    sound = None
    if wish.sound is not None:
        sound = Sound(name=wish.sound, digest=config.signals.digest(wish.sound),
                      start_at=None if start_us is None else wire.to_text(start_us))
    not_before_us, expires_us = _window(wish, wall_us, start_us)
    try:
        return OrderBody(
            v=1, id=id, deployment=hub.deployment, issuer=hub.id, issued_at=wire.to_text(wall_us),
            not_before=wire.to_text(not_before_us), expires_at=wire.to_text(expires_us), area=wish.area,
            layer=wish.layer, sirens=wish.sirens or None, action=wish.action, mode=wish.mode, sound=sound,
            sequence=wall_us // 1000, trust_version=config.trusted.version, stops=wish.stops,
            reason=wish.reason, nonce=wish.nonce,
        )
    except ValidationError as error:
        raise BadDocument(
            Problem(COMMAND, _OPTIONS.get(str(one["loc"][0]) if one["loc"] else "", "order"), one["input"], one["msg"])
            for one in error.errors()
        ) from None


_OPTIONS = {"area": "--area", "sirens": "--siren", "stops": "--order", "layer": "--layer", "mode": "--mode",
            "reason": "--reason", "nonce": "--nonce"}


def _window(wish: Wish, wall_us: int, start_us: int | None) -> tuple[int, int]:
    """When it may begin."""
    if start_us is not None:
        not_before_us = start_us - BEFORE_US
        return not_before_us, not_before_us + LIVE_WINDOW_US if wish.mode is Mode.LIVE else start_us + AFTER_US
    not_before_us = wall_us - EARLY_US
    return not_before_us, not_before_us + (STOP_WINDOW_US if wish.action is Action.STOP else LIVE_WINDOW_US)


def instant(text: str, wall_us: int, zone: ZoneInfo) -> int:
    """`10:00`, `10:00:30` (the next there is), `+90` (seconds from now) or ISO 8601, in `zone` unless it says other."""
    if re.fullmatch(r"\+\d{1,7}", text):
        return wall_us + int(text[1:]) * S
    now = datetime.fromtimestamp(wall_us / 1e6, zone)
    if found := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", text):
        hour, minute, second = (int(part or 0) for part in found.groups())
        try:
            when = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        except ValueError:
            raise ValueError("no time of day; say 10:00 or 10:00:30") from None
        return _wall_us(when if when > now else when + timedelta(days=1))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("say 10:00, 10:00:30, +90 (seconds) or 2026-09-18T10:00") from None
    if len(text) <= 10:
        raise ValueError("a date without a time of day; say 2026-09-18T10:00")
    return _wall_us(when if when.tzinfo else when.replace(tzinfo=zone))


def _wall_us(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _names(signals: Signals) -> str:
    return ", ".join(sorted({*signals.signals, *signals.programmes}))
