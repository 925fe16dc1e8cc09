"""What a real mosquitto with the limits that are shipped keeps for a hub that is away, and brings to one that comes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller import wire
from controller.wire import Birth, Evidence, Layer, Receipt, SirenCard, Stage, State, Status
from hub import config
from hub.event import Note
from hub.shell import Shell
from simulators.city import free_port
from tests.hub.test_hub_system import broker
from tests.transport.authority import CONFIGS, MOSQUITTO

GATEWAYS, SIRENS = 300, 4
DEVICES = 3
AREA = "41/01/05/001/001"
Said = Callable[[str], list[tuple[str, wire.Message]]]
"""What a gateway says: leaves and messages."""
LIMITS = re.findall(r"(?m)^max_\w+ \d+$", (CONFIGS / "mosquitto.conf").read_text())


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    number = free_port()
    with broker(tmp_path, number, LIMITS):
        yield number


class City:
    """Gateways that say what they have to, all through one connection."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "city", protocol=paho.MQTTv311)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(1_000)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def say(self, what: Said, retain: bool) -> None:
        """Until the broker has it."""
        waiting = [self._client.publish(f"{wire.state_root(AREA, gateway)}/{leaf}", message.encode(), 1, retain)
                   for gateway in (f"gw-{n}" for n in range(GATEWAYS)) for leaf, message in what(gateway)]
        for info in waiting:
            info.wait_for_publish(30)
            assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def city(port: int) -> Iterator[City]:
    out = City(port)
    yield out
    out.close()


def at() -> str:
    return wire.to_text(time.time_ns() // 1000)


def born(gateway: str) -> list[tuple[str, wire.Message]]:
    sirens = tuple(SirenCard(id=f"s-{n}", name="一号楼顶", type="motor", area=AREA, layer=Layer.SURFACE, feedback=True)
                   for n in range(SIRENS))
    birth = Birth(gateway=gateway, session="one", at=at(), version="1", area=AREA, deployment="demo", sirens=sirens,
                  devices=(), signals={}, trust_version=1)
    names = [card.id for card in sirens] + [f"relay-{n}" for n in range(DEVICES)]
    return [("birth", birth), *((f"{name}/state", State(id=name, at=at(), state="IDLE")) for name in names)]


def status(last_seq: int) -> Said:
    return lambda gateway: [("status", Status(gateway=gateway, session="one", state="online", at=at(),
                                              last_seq=last_seq))]


def receipts(order: int) -> Said:
    evidence = Evidence(phases=15, commanded=15, sensed=15, independent=True)
    return lambda gateway: [("receipt", Receipt(
        seq=order * SIRENS + n + 1, gateway=gateway, order=f"{order:032x}", siren=f"s-{n}", stage=Stage.FINISHED,
        at=at(), mode=wire.Mode.LIVE, evidence=evidence)) for n in range(SIRENS)]


@asynccontextmanager
async def hub(port: int, notes: list[Note]) -> AsyncIterator[Shell]:
    conf = config.load(CONFIGS / "demo/hub.toml", [f"mqtt.port={port}"])
    shell = Shell(conf, "hub-demo-hub", sends=True, takes=True, on_note=notes.append)
    task = asyncio.create_task(shell.run())
    try:
        yield shell
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(shell: Shell, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            shell.changed.clear()
            await shell.changed.wait()


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: what it keeps for a hub was NOT tried")
async def test_a_hub_that_was_away_in_a_city_of_300_gateways_misses_nothing(port: int, city: City) -> None:
    async with hub(port, []) as shell:
        await until(shell, lambda: shell.centre.fleet.broker)
    away: list[tuple[Said, bool]] = [(born, True), *[(status(0), True)] * 5]
    for order in range(2):
        away += [(receipts(order), False), (status((order + 1) * SIRENS), True)]
    for what, retained in away:
        await asyncio.to_thread(city.say, what, retained)
    notes: list[Note] = []
    async with hub(port, notes) as shell:
        fleet = shell.centre.fleet

        def known() -> tuple[int, int, int]:
            return (sum(g.birth is not None for g in fleet.gateways.values()),
                    sum(len(g.states) for g in fleet.gateways.values()),
                    sum(note.what == "receipt" for note in notes))

        everything = GATEWAYS, GATEWAYS * (SIRENS + DEVICES), 2 * GATEWAYS * SIRENS
        with suppress(TimeoutError):
            await until(shell, lambda: known() == everything)
        assert known() == everything
        assert [g for g in fleet.gateways if fleet.missing(g)] == []
