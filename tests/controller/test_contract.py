"""The written contract against the code: every example of docs/mqtt.md, every address of docs/asyncapi.yaml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import shelf, wire
from controller.admission import MAX_LIST_BYTES, MAX_LIST_SIGNATURES
from controller.event import Beat, BrokerUp, Changed, Durable, Notice, Publish, Say
from controller.outbox import LINES_LIMIT, WINDOW
from controller.session import BEAT_US, Session
from controller.shelf import Shelving
from controller.wire import Ack, Again, Birth, Event, Health, Message, OrderBody, Receipt, Stage, State, Status
from firmware_bridge.machine import S
from hub.event import Taken
from hub.spots import SpotNews, event_topic, news_topic

DOCS = Path(__file__).parents[2] / "docs"
PROSE = (DOCS / "mqtt.md").read_text()
API: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
MODELS: dict[str, type[Message]] = {
    "status": Status, "birth": Birth, "health": Health, "state": State, "receipt": Receipt, "event": Event,
    "order": OrderBody, "again": Again, "ack": Ack, "taken": Taken, "shelf": Shelving, "spot": SpotNews,
}
EXAMPLES = dict(re.findall(r"```json (\w+)\n(.*?)```", PROSE, flags=re.S))
AREA, GW = "32/5/8/1/2", "gw-7"


def told() -> list[Publish]:
    """One of everything that a session publishes."""
    session = Session(wire.decode(Birth, EXAMPLES["birth"].encode()))
    receipt = Say(Receipt(seq=0, gateway=GW, order="a" * 32, stage=Stage.RECEIVED, at=wire.BLANK_INSTANT))
    notice = Notice("link-up", "line-1")
    events = (Changed("s-1", "IDLE"), Beat({}), receipt, Durable(1), notice, Durable(2), BrokerUp())
    return [e for event in events for e in session.handle(S, event) if isinstance(e, Publish)]


def test_there_is_an_example_of_every_message() -> None:
    assert set(EXAMPLES) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_example_is_one(name: str) -> None:
    wire.decode(MODELS[name], EXAMPLES[name].encode())


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("order", "taken", "shelf", "spot")])
def test_what_the_api_requires_is_what_the_code_requires(name: str) -> None:
    required = API["components"]["messages"][name.capitalize()]["payload"]["required"]
    assert set(required) == {k for k, f in MODELS[name].model_fields.items() if f.is_required()}


def address(operation: dict[str, Any]) -> str:
    """Where an operation's channel is, filled in; every parameter must be declared."""
    channel = API["channels"][operation["channel"]["$ref"].split("/")[-1]]
    values = {**dict(zip("pcdsv", AREA.split("/"), strict=True)), "gw": GW, "id": "s-1", "area": AREA}
    return str(channel["address"]).format(**{name: values[name] for name in channel["parameters"]})


def test_the_api_names_what_a_gateway_sends_and_how() -> None:
    sent = {(p.topic, p.qos, p.retain) for p in told()}
    written = set()
    for operation in API["operations"].values():
        if operation["action"] == "send":
            mqtt = operation["bindings"]["mqtt"]
            written.add((address(operation), mqtt["qos"], mqtt["retain"]))
    assert written == sent


def test_the_api_names_what_a_gateway_hears() -> None:
    heard = {address(o) for o in API["operations"].values() if o["action"] == "receive"}
    assert heard <= set(wire.subscriptions(AREA, GW))
    wider = {t for t in wire.subscriptions(AREA, GW) if t not in heard}
    assert all(re.fullmatch(r"siren/1/o/32(/\d+){0,3}/(order|stop|trust)", t) for t in wider)
    assert len(wider) == 12


def test_the_prose_names_every_topic_and_how_it_is_sent() -> None:
    row = r"^\| `(siren/1/[^`]+)`.*?\|[^|]*\| (\d) \| ([^|]+) \|"
    rows = {topic: how for topic, *how in re.findall(row, PROSE, flags=re.M)}
    for p in told():
        topic = p.topic.replace(f"/{AREA}/{GW}/", "/{area}/{gw}/").replace("/s-1/", "/{id}/")
        qos, retained = rows.pop(topic, ("sent twice", ""))
        assert (int(qos), retained.startswith("yes")) == (p.qos, p.retain), topic
    assert {r.replace("{area}", AREA).replace("{gw}", GW) for r in rows} == {
        wire.order_topic(AREA, False), wire.gateway_topic(GW, False), wire.again_topic(GW), wire.ack_topic(GW),
        "siren/1/g/{client}/echo",
        wire.trust_topic(AREA), wire.trust_topic(None, GW), "siren/1/h/{hub}/submit", shelf.topic(GW),
        news_topic("{hub}", GW, "{spot}"), event_topic("{hub}", GW, "{spot}")}


def test_the_figures_in_the_prose_are_the_codes() -> None:
    assert f"newest {LINES_LIMIT:,}" in PROSE
    assert f"up to {WINDOW} messages" in PROSE
    assert f"every {BEAT_US // S} s" in PROSE
    assert f"At most {wire.MAX_ORDER_BYTES // 1024} KiB" in PROSE
    assert f"up to {MAX_LIST_SIGNATURES} signatures, of root keys, and at most {MAX_LIST_BYTES // 1024} KiB" in PROSE


def test_examples_have_nothing_that_the_session_would_not_write() -> None:
    for p in told():
        name = p.topic.rsplit("/", 1)[1]
        assert json.loads(p.payload).keys() <= MODELS[name].model_fields.keys()
