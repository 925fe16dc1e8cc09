"""How an answer is worded: receipts for the hub, and lines for a client at the local door.

A line is a JSON object with the receipt's members; one with `"last": true` ends the conversation.
It refuses to know when something is to be answered.
"""

import json
from collections.abc import Mapping

from controller.event import Ask, Notice, Progress, Publish
from controller.ledger import Entry
from controller.wall import Wall
from controller.wire import Instant, Mode, Receipt, Stage
from firmware_bridge.machine import MS


def receipt(gateway: str, order: str, siren: str, stage: Stage, reason: str, mode: Mode | None, at: Instant,
            more: Mapping[str, object] | None = None) -> Receipt:
    """One stage of the answer to an order; the session fills `seq`."""
    return Receipt.model_validate({"seq": 0, "gateway": gateway, "order": order, "siren": siren, "stage": stage,
                                   "reason": str(reason), "mode": mode, "at": at, **(more or {})})


def proof(event: Progress, wall: Wall) -> dict[str, object]:
    """What a siren's progress adds to its receipt: evidence, and when the first edge left."""
    first_us, ordered_us = event.first_edge_us, event.ordered_us
    return {
        "first_edge": None if first_us is None else wall.exact(first_us),
        "late_ms": None if first_us is None or ordered_us is None else round((first_us - ordered_us) / MS, 3),
        "deviations": event.deviations,
        "evidence": event.evidence,
    }


def sounded(event: Progress, wall: Wall) -> dict[str, object]:
    """That a sounding is over, as the journal has it."""
    return {"order": event.order, "siren": event.siren, "us": event.on_us,
            "at": None if wall.believed_us is None else wall.text,
            "starts": event.evidence.commanded if event.evidence else 1}


def line(client: int, last: bool, **members: object) -> Publish:
    """One line of answer to a local client. Empty members are left out."""
    payload = {**{k: v for k, v in members.items() if v not in (None, "", [])}, "last": last}
    # What a client sent may come back in the line, and need not be text that UTF-8 has.
    return Publish("", json.dumps(payload, ensure_ascii=False).encode(errors="replace"), qos=0, client=client)


def refused(order: str | None, reason: str, detail: str, client: int | None) -> list[Notice | Publish]:
    """An order that is not believed: an event, and a line for the local client that brought it."""
    said = f"{reason}: {detail}" if detail else str(reason)
    out: list[Notice | Publish] = [Notice("order-refused", order or "", said)]
    if client is not None:
        out.append(line(client, True, order=order, stage=Stage.REJECTED, reason=reason, text=detail))
    return out


def declined(ask: Ask, reason: str, text: str) -> list[Notice | Publish]:
    """A technician's request that is not done."""
    return [Notice("local-refused", ask.user, f"{ask.verb}: {reason}"),
            line(ask.client, True, stage=Stage.REJECTED, siren=ask.args.get("siren"), reason=reason, text=text)]


def receipt_line(client: int, last: bool, said: Receipt) -> Publish:
    return line(client, last, **said.model_dump(mode="json", exclude_none=True, exclude={"v", "seq"}))


def standing(client: int, entry: Entry) -> list[Publish]:
    """How a known order stands, for a client that hands it in again."""
    stands = [(p.siren, p.stage or Stage.RECEIVED, p.reason) for p in entry.parts.values()]
    stands = stands or [("", Stage.REJECTED, entry.accept.reason)]
    return [line(client, n == len(stands) and not entry.open, order=entry.id, siren=siren, stage=stage, reason=reason)
            for n, (siren, stage, reason) in enumerate(stands, 1)]
