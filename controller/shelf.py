"""A signed wish to put an alarm of a spot on the shelf until an instant, or to take it back from there.

What is shelved still moves sign, light and boom; nothing sounds because of it. Who may do that from afar, and for how
long, is `trust.SHELF_TABLE`: one hydrologist for an hour, or two persons, one of them a commander, for a shift. It is
for one gateway and one alarm, is taken for ten minutes after it was signed, and names the instant of its end: one that
comes again does nothing again. The shelf's own limit (`alarm.py`) holds over it.
It refuses to know alarms, and the hub.
"""

from typing import Annotated, Literal

from pydantic import Field

from controller import envelope, trust, wire
from controller.envelope import BadSignature
from controller.signers import TrustList
from controller.wire import Action, Area, Code, Instant, Message, Mode
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S

MAX_BYTES = 8 * 1024
MAX_SIGNATURES = 4
FRESH_US = 600 * S
"""It is taken for so long after it was signed."""
EARLY_US = 60 * S
"""It may be so much younger than our clock: clocks differ."""
LONGEST_US = 8 * 3600 * S
"""A shift, as at the cabinet."""


class Shelving(Message):
    """What is signed."""

    v: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    gateway: Code
    area: Area
    """Where the gateway stands."""
    spot: Code
    alarm: Annotated[str, Field(pattern=r"^(blue|yellow|orange|red)(-suspected)?$")]
    issued_at: Instant
    until: Instant
    """When it is back in service; not after `issued_at`: now."""
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    """Why, in the issuer's words: it stands in the journal."""


def topic(gateway: str) -> str:
    """Where it is published."""
    return f"{wire.ROOT}/g/{gateway}/shelf"


class Refused(Exception):
    """A wish that is not followed, and why, in two languages."""


def admit(data: bytes, listed: TrustList, gateway: str, area: str, wall_us: int | None) -> tuple[Shelving, str, int]:
    """The wish, its persons, and for how many microseconds from now (0: back in service); or Refused."""
    try:
        opened = envelope.opened(data, MAX_BYTES, MAX_SIGNATURES)
        wish = wire.decode(Shelving, opened.payload, MAX_BYTES)
        issued_us, until_us = wire.to_wall_us(wish.issued_at), wire.to_wall_us(wish.until)
    except Malformed as error:
        raise Refused(f"格式错误 malformed: {error}") from None
    if (wish.deployment, wish.gateway, wish.area) != (listed.deployment, gateway, area):
        raise Refused(f"属于 {wish.deployment} {wish.gateway} {wish.area} / it is for another gateway")
    if wall_us is None:
        raise Refused("网关时钟不可信 / no-time: this gateway's clock is not believed; do it at the cabinet")
    if not issued_us - EARLY_US <= wall_us <= issued_us + FRESH_US:
        raise Refused(f"签发于 {wish.issued_at}，已过时 / it was signed at another time; sign a new one")
    if until_us - issued_us > LONGEST_US:
        raise Refused("最长八小时 / eight hours at most")
    if strangers := [kid for kid in opened.kids if kid not in listed.keys]:
        raise Refused(f"签名人不在信任名单 / unknown-key: {strangers[0]}")
    try:
        opened.verify({kid: listed.keys[kid].key.x for kid in opened.kids})
    except BadSignature as error:
        raise Refused(f"签名无效 / bad-signature: {error}") from None
    needs = [need for minutes, need in trust.SHELF_TABLE if until_us - issued_us <= minutes * 60 * S]
    # Their keys reach what they silence: to sound live, here.
    if lacking := trust.still(opened.kids, area, Action.SOUND, Mode.LIVE, listed, wall_us, needs):
        raise Refused(f"一小时以内须水文人员一人，更长须两人且其一为指挥员 / {lacking}: up to an hour one hydrologist"
                      " signs, else two persons, one of them a commander")
    persons = ", ".join(sorted({listed.keys[kid].person for kid in opened.kids}))
    return wish, persons, max(0, until_us - wall_us)
