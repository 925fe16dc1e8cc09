"""An order prepared for a list of sirens, and the file in which it goes from one signer to the next.

*Preparing* makes of an area the exact list of gateways and sirens, as the fleet knows them, and puts a digest for each
gateway into what is signed. The file has the list itself beside it, so that a second person sees on another machine,
without any network, for which sirens the signature is: a list that is not the one of the digests is no such file.

Pure: it refuses to know keys, whose signatures count, and where the fleet's knowledge is from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from controller import envelope, strictjson, targets, trust, wire
from controller.signers import TrustList
from controller.targets import Placed
from controller.trust import MAX_SIGNATURES, Reason
from controller.wire import MAX_ORDER_BYTES, Action, Area, Code, Layer, Message, Mode, OrderBody
from firmware_bridge.errors import BadDocument, Malformed, Problem
from hub.draft import COMMAND

SIGNATURE_BYTES = 264
"""Of one signature in the envelope, where its key has the longest name there can be; 236 with a thumbprint."""
PAYLOAD_LIMIT = (MAX_ORDER_BYTES - MAX_SIGNATURES * SIGNATURE_BYTES) * 3 // 4
"""Bytes of what is signed, so that the order is not too large with all its signatures: some 215 to 370 gateways."""
FILE_LIMIT = 1024 * 1024
"""Bytes of a file: the list of the largest order is a tenth."""
LEVELS = 5
"""Of an area: below the last there is nothing to split."""
LACKING = frozenset({Reason.TOO_FEW_PERSONS, Reason.WRONG_AREA, Reason.WRONG_ACTION, Reason.WRONG_MODE})
"""What another person's signature can mend."""
REMEDY = f"name a file made by `{COMMAND} order draft`"


class Siren(Message):
    """A siren of the list, as far as its digest tells."""

    id: Code
    area: Area
    layer: Layer


class Signature(Message):
    protected: str
    signature: str


class Signed(Message):
    """The order itself, as it goes over the wire; without a signature while it is a draft."""

    payload: str
    signatures: Annotated[tuple[Signature, ...], Field(max_length=MAX_SIGNATURES)] = ()


class OrderFile(Message):
    """The file."""

    v: Literal[1] = 1
    order: Signed
    sirens: dict[Code, tuple[Siren, ...]]
    """By gateway."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What such a file holds, once its list and its digests are found to be of one another."""

    body: OrderBody
    file: OrderFile

    @property
    def raw(self) -> bytes:
        """The order as it goes over the wire."""
        return self.file.order.encode()

    @property
    def kids(self) -> tuple[str, ...]:
        """The names of the keys that are said to have signed it."""
        return trust.peek(self.raw).kids if self.file.order.signatures else ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with an order's signatures, by a trust list."""

    persons: tuple[str, ...]
    """Who has signed it, where every signature is good."""
    lacking: Reason | None
    """Why they are not enough yet; None: they are."""
    why: str = ""
    """What spoils it: a signature that no gateway takes, however many are added."""

    @property
    def spoiled(self) -> bool:
        return bool(self.why)


def prepare(body: OrderBody, sirens: Mapping[str, Sequence[Placed]]) -> OrderBody:
    """`body` for these sirens by gateway. A warning whose list does not fit goes without: it must go."""
    out = _listed(body, sirens)
    if fits(out):
        return out
    if body.mode is Mode.LIVE:
        return body
    inside = ", ".join(f"{area} ({len(part)})" for area, part in parts(body.area, sirens).items())
    raise BadDocument([Problem(COMMAND, "--area", body.area,
                               f"{len(sirens)} gateways: their list does not fit into one order of"
                               f" {MAX_ORDER_BYTES // 1024} KiB; order by parts: {inside or '--siren'},"
                               f" or `{COMMAND} order draft ... --split`")])


def split(body: OrderBody, sirens: Mapping[str, Sequence[Placed]]) -> list[OrderBody]:
    """The order as one or, where its list does not fit, as one for each area below, and so on. No siren is in two of
    them, and none is left out. Where there are several each needs an id of its own."""
    below = parts(body.area, sirens)
    if fits(_listed(body, sirens)) or not below:
        return [prepare(body, sirens)]
    return [one for area, part in below.items() for one in split(body.model_copy(update={"area": area}), part)]


def _listed(body: OrderBody, sirens: Mapping[str, Sequence[Placed]]) -> OrderBody:
    if body.action is Action.STOP or not sirens:
        return body
    return body.model_copy(update={"prepared": {g: targets.digest(g, cards) for g, cards in sirens.items()}})


def fits(body: OrderBody) -> bool:
    return len(body.encode()) <= PAYLOAD_LIMIT


def parts(area: str, sirens: Mapping[str, Sequence[Placed]]) -> dict[str, dict[str, list[Placed]]]:
    """The areas one level below, and whose sirens lie in each; none below a whole path."""
    out: dict[str, dict[str, list[Placed]]] = {}
    depth = area.count("/") + 2
    for gateway, cards in sirens.items():
        for card in cards if depth <= LEVELS else ():
            below = "/".join(card.area.split("/")[:depth])
            out.setdefault(below, {}).setdefault(gateway, []).append(card)
    return dict(sorted(out.items()))


def draft(body: OrderBody, sirens: Mapping[str, Sequence[Placed]]) -> Prepared:
    """The file of an order that nobody has signed yet."""
    listed = {gateway: tuple(Siren(id=c.id, area=c.area, layer=c.layer) for c in cards)
              for gateway, cards in sirens.items() if gateway in (body.prepared or ())}
    return Prepared(body, OrderFile(order=Signed(payload=envelope.b64(body.encode())), sirens=listed))


def signed(prepared: Prepared, raw: bytes) -> Prepared:
    """The same with the signatures of `raw`, an envelope of the same payload."""
    order = wire.decode(Signed, raw)
    assert order.payload == prepared.file.order.payload
    return Prepared(prepared.body, prepared.file.model_copy(update={"order": order}))


def text(prepared: Prepared) -> str:
    return json.dumps(prepared.file.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def read(data: bytes, file: str) -> Prepared:
    """Such a file, or BadDocument: it is none, or its list is not what its signatures are for."""
    try:
        found = wire.decode(OrderFile, data, FILE_LIMIT)
        payload = envelope.unb64(found.order.payload)
        if payload is None:
            raise Malformed("order.payload is no base64url")
        if found.order.signatures:
            body = trust.peek(found.order.encode()).body
        else:
            body = wire.validate(OrderBody, strictjson.load(payload, MAX_ORDER_BYTES))
    except (Malformed, trust.Rejected) as error:
        raise BadDocument([Problem(file, "file", str(error), REMEDY)]) from None
    told = {gateway: targets.digest(gateway, sirens) for gateway, sirens in found.sirens.items()}
    wrong = [gateway for gateway in sorted({*told, *(body.prepared or {})})
             if told.get(gateway) != (body.prepared or {}).get(gateway)]
    if wrong:
        raise BadDocument([Problem(file, f"sirens.{gateway}", None,
                                   "not the sirens that are signed for: the file was changed; have it drafted anew")
                           for gateway in wrong])
    return Prepared(body, found)


def standing(prepared: Prepared, listed: TrustList, wall_us: int) -> Standing:
    """Whether gateways with this trust list would believe it now."""
    if not prepared.file.order.signatures:
        return Standing((), Reason.TOO_FEW_PERSONS)
    order = trust.peek(prepared.raw)
    persons = tuple(dict.fromkeys(listed.keys[kid].person for kid in order.kids if kid in listed.keys))
    try:
        signed = trust.check(order, listed, wall_us)
    except trust.Rejected as rejected:
        if rejected.reason in LACKING:
            return Standing(persons, rejected.reason)
        return Standing((), rejected.reason, str(rejected))
    # What a stop will find sounding is not known yet: the graver is asked for.
    return Standing(persons, signed.may(order.body.action, order.body.mode))
