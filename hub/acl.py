"""`fleet.toml`: who may come to the broker; and mosquitto's access list of it, each line no wider than its user needs.

A user is the common name of a client certificate: a gateway's id, `hub-` and a hub's id, or a person's or screen's
name. A gateway may tell of itself, below its own area, and hear what is for itself and its five areas. Only a hub may
publish orders; an operator hands them to it, and may publish a stop, which must get through without a hub as well,
and ask again for what their client missed.
Whoever is not in the file may do nothing. It refuses to know certificates, and what a message says: that an order is
genuine is its signatures' business, whoever the broker let publish it.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from controller import wire
from controller.wire import Area, Code, FullArea
from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem

LEVELS = 5
"""Of an area's path."""


class HubUser(Document):
    """A resident hub; its user is `hub-{id}`."""

    id: Annotated[Code, Field(max_length=28)]
    area: Area
    """The widest area it hears of and orders for."""

    @property
    def user(self) -> str:
        return f"hub-{self.id}"


class GatewayUser(Document):
    """A gateway; its user is its id."""

    id: Code
    area: FullArea
    """As in its gateway.toml."""


class OperatorUser(Document):
    """A person (or their desk) who signs orders and hands them to a hub."""

    name: Code
    hub: Code


class ReaderUser(Document):
    """A screen, a report, an archive: it looks and says nothing."""

    name: Code
    area: Area


class FleetFile(Document):
    """The file as written."""

    hub: Annotated[tuple[HubUser, ...], Field(min_length=1)]
    gateway: tuple[GatewayUser, ...] = ()
    operator: tuple[OperatorUser, ...] = ()
    reader: tuple[ReaderUser, ...] = ()


def load(path: Path) -> FleetFile:
    """The fleet of `path`, or of the hub.toml that names one under `[fleet] list`; BadDocument tells what is wrong."""
    data = document.parse(document.read_text(path), str(path))
    if "mqtt" in data:
        section = data.get("fleet")
        named = section.get("list") if isinstance(section, dict) else None
        if not isinstance(named, str):
            raise BadDocument([Problem(str(path), "fleet.list", named, "name the fleet.toml of this centre")])
        path = path.parent / named
        data = document.parse(document.read_text(path), str(path))
    return made(data, str(path))


def made(data: dict[str, Any], file: str) -> FleetFile:
    """The fleet of an unchecked document; `file` is what its Problems call it."""
    fleet = document.check(FleetFile, data, file)
    problems = [
        *(Problem(file, name, name, f"stands {n} times; a user of the broker has a name of its own")
          for name, n in Counter(_names(fleet)).items() if n > 1),
        *(Problem(file, f"operator[{o.name}].hub", o.hub,
                  f"no such hub; {document.meant(o.hub, [h.id for h in fleet.hub], 'hubs')}")
          for o in fleet.operator if o.hub not in {h.id for h in fleet.hub}),
    ]
    if problems:
        raise BadDocument(problems)
    return fleet


def _names(fleet: FleetFile) -> list[str]:
    return [*(h.user for h in fleet.hub), *(g.id for g in fleet.gateway),
            *(o.name for o in fleet.operator), *(r.name for r in fleet.reader)]


def text(fleet: FleetFile) -> str:
    """The access list as mosquitto reads it. What it does not allow is refused."""
    lines = ["# Written by `siren-hub acl` from fleet.toml; a user is the CN of a client certificate.",
             "# 由 siren-hub acl 生成，请勿手改；用户名即客户端证书的 CN。"]
    for hub in fleet.hub:
        lines += _user(hub.user, _hub(hub))
    for gateway in fleet.gateway:
        lines += _user(gateway.id, _gateway(gateway))
    hubs = {h.id: h for h in fleet.hub}
    for operator in fleet.operator:
        lines += _user(operator.name, _operator(hubs[operator.hub]))
    for reader in fleet.reader:
        lines += _user(reader.name, [("read", f"{wire.ROOT}/s/{reader.area}/#"),
                                     *(("read", f"{wire.ROOT}/h/+/{leaf}/#") for leaf in ("spot", "flood"))])
    return "\n".join(lines) + "\n"


Line = tuple[str, str]
"""`read` or `write`, and the topics."""


def _user(name: str, allowed: list[Line]) -> list[str]:
    return ["", f"user {name}", *(f"topic {how} {topic}" for how, topic in allowed)]


def _hub(hub: HubUser) -> list[Line]:
    return [
        ("read", f"{wire.ROOT}/s/{hub.area}/#"),
        ("read", wire.hub_topic(hub.id, "submit")),
        ("read", wire.trust_topic(hub.area)),
        ("write", wire.hub_topic(hub.id, "taken")),
        ("write", f"{wire.ROOT}/h/{hub.id}/spot/#"),
        ("write", f"{wire.ROOT}/h/{hub.id}/flood/#"),
        ("write", f"{wire.ROOT}/o/{hub.area}/#"),
        *(("write", f"{wire.ROOT}/g/+/{leaf}") for leaf in ("stop", "order", "trust", "again", "ack", "shelf")),
    ]


def _gateway(gateway: GatewayUser) -> list[Line]:
    hears = wire.subscriptions(gateway.area, gateway.id)
    echo = wire.echo_topic(gateway.id)
    return [
        ("write", f"{wire.state_root(gateway.area, gateway.id)}/#"),
        ("write", echo),
        *(("read", topic) for topic in (*hears, echo)),
    ]


def _operator(hub: HubUser) -> list[Line]:
    deeper = LEVELS - len(hub.area.split("/"))
    return [
        ("read", f"{wire.ROOT}/s/{hub.area}/#"),
        ("read", wire.hub_topic(hub.id, "taken")),
        ("read", wire.trust_topic(hub.area)),
        ("write", wire.hub_topic(hub.id, "submit")),
        *(("write", f"{wire.ROOT}/o/{hub.area}{'/+' * n}/stop") for n in range(deeper + 1)),
        *(("write", f"{wire.ROOT}/g/+/{leaf}") for leaf in ("stop", "again", "ack", "shelf")),
    ]
