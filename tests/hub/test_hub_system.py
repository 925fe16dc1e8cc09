"""Operator, resident hub, broker and gateways together: real processes, a real broker, made-up sirens."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from controller import envelope, trust, wire
from controller.wire import Action, Mode, OrderBody
from hub import config
from hub.client import Client, Refused, Unreachable, load
from hub.dispatch import Dispatch
from hub.draft import Wish
from hub.event import Taken
from hub.gateway import Presence
from hub.track import Ending
from simulators.city import free_port, mosquitto
from tests.hub.fake_gateway import gateway

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT / "configs/demo/hub.toml"
MOSQUITTO = mosquitto()
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: orders through a real broker were NOT tried"),
]


@contextmanager
def broker(folder: Path, number: int, more: Sequence[str] = ()) -> Iterator[None]:
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {number} 127.0.0.1\nallow_anonymous true\npersistence false\n" + "\n".join(more))
    assert MOSQUITTO
    process = subprocess.Popen([MOSQUITTO, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", number)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    number = free_port()
    with broker(tmp_path, number):
        yield number


@pytest.fixture
def conf(port: int) -> config.Config:
    return config.load(HUB, [f"mqtt.port={port}"])


@asynccontextmanager
async def resident(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The resident hub as its own process, connected."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", "run", str(HUB), "--set", f"mqtt.port={port}", cwd=ROOT,
        stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        async with asyncio.timeout(20):
            async for line in process.stdout:
                if b"broker-up" in line:
                    break
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    assert process.returncode == 0


@pytest.fixture
async def hub(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    async with resident(port) as process:
        yield process


def now_us() -> int:
    return time.time_ns() // 1000


async def followed(client: Client, wish: Wish) -> Dispatch:
    async with asyncio.timeout(30):
        async for dispatch in client.order(client.draft(wish), load(client.config.keys)):
            last = dispatch
    return last


async def cli(conf: config.Config, *args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", *args, "--config", str(HUB), "--set", f"mqtt.port={conf.spec.mqtt.port}",
        cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_an_order_is_sent_again_until_heard_and_ends_in_a_report(
    conf: config.Config, port: int, hub: asyncio.subprocess.Process,
) -> None:
    async with (
        gateway(port, "gw-1", ("s-1", "s-2"), conf.signals, now_us()) as one,
        gateway(port, "gw-2", ("s-3",), conf.signals, now_us(), deaf=1, fails=("s-3",)) as two,
    ):
        async with Client(conf) as client:
            await client.until(lambda: len(client.fleet.sirens()) == 3, 20)
            order = await followed(client, Wish(Action.SOUND, Mode.DRILL, "41/01", "demo-air-raid"))
            report = client.report(order)
        assert [(s.siren, s.ending) for s in order.sirens()] == [
            ("s-1", Ending.FINISHED), ("s-2", Ending.FINISHED), ("s-3", Ending.FAILED)]
        assert report.rate == pytest.approx(2 / 3)
        assert not report.good
        assert [t for t, _ in one.orders] == [wire.order_topic("41/01", False)]
        assert [t for t, _ in two.orders] == [wire.order_topic("41/01", False), wire.gateway_topic("gw-2", False)]
        assert len({payload for _, payload in two.orders}) == 1


async def test_the_command_line_orders_and_stops(
    conf: config.Config, port: int, hub: asyncio.subprocess.Process,
) -> None:
    async with gateway(port, "gw-1", ("s-1", "s-2"), conf.signals, now_us(), seconds=60):
        sounding = asyncio.create_task(cli(conf, "order", "sound", "--signal", "demo-air-raid", "--area", "41/01",
                                           "--mode", "live", "--yes", "--json"))
        async with Client(conf) as client:
            # Received once, accepted and started by each siren.
            await client.until(lambda: "gw-1" in client.fleet.gateways
                               and (client.fleet.gateways["gw-1"].sequence.last or 0) >= 5, 30)
        rc, out, err = await cli(conf, "stop", "--area", "41/01/05", "--json")
        stopped = json.loads(out.splitlines()[-1])
        assert (rc, stopped["endings"]) == (0, {"finished": 2}), err
        rc, out, err = await sounding
        report = json.loads(out.splitlines()[-1])
        assert (report["endings"], report["rate"], report["sensed"]) == ({"stopped": 2}, 0.0, 0), err
        assert report["mode"] == "live"


async def test_without_a_hub_an_order_says_so_and_a_stop_goes_out_all_the_same(
    conf: config.Config, port: int,
) -> None:
    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us()) as one:
        async with Client(conf) as client:
            await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
            with pytest.raises(Unreachable, match="siren-hub run"):
                await followed(client, Wish(Action.SOUND, Mode.DRILL, "41", "demo-air-raid"))
            assert one.orders == []
            stop = await followed(client, Wish(Action.STOP, Mode.LIVE, "41"))
        assert [s.ending for s in stop.sirens()] == [Ending.FINISHED]
        assert one.orders[0][0] == wire.order_topic("41", True)


async def test_an_order_that_no_hub_took_does_not_go_out_when_the_hub_comes_back(
    conf: config.Config, port: int,
) -> None:
    """The broker kept it for the hub, which published it: it sounded after all, and again where it was given anew."""
    async with resident(port):
        pass
    async with gateway(port, "gw-1", ("s-1", "s-2"), conf.signals, now_us()) as one, Client(conf) as client:
        await client.until(lambda: len(client.fleet.sirens()) == 2, 20)
        body = client.draft(Wish(Action.SOUND, Mode.LIVE, "41", "air-raid", sirens=("s-1",)))
        with pytest.raises(Unreachable, match=f"stop --area 41 --order {body.id}"):
            async for _ in client.order(body, load(client.config.keys)):
                pass
        async with resident(port):
            # What comes after it is done: nothing that the broker kept is still on its way.
            await followed(client, Wish(Action.SOUND, Mode.DRILL, "41", "demo-air-raid", sirens=("s-2",)))
        assert len(one.orders) > 0
        assert body.id not in {wire.decode(OrderBody, envelope.opened(raw, 2**20, 8).payload).id
                               for _, raw in one.orders}


async def test_a_stop_that_the_hub_refuses_goes_out_all_the_same(conf: config.Config, port: int) -> None:
    async def refuse(hub: aiomqtt.Client) -> None:
        async for message in hub.messages:
            assert isinstance(message.payload, bytes)
            no = Taken(order=trust.peek(message.payload).body.id, taken=False, why="expired")
            await hub.publish(wire.hub_topic("demo-hub", "taken"), no.encode(), qos=1)

    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us()) as one, Client(conf) as client:
        await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
        async with aiomqtt.Client("127.0.0.1", port) as hub:
            await hub.subscribe(wire.hub_topic("demo-hub", "submit"), qos=1)
            refusing = asyncio.create_task(refuse(hub))
            with pytest.raises(Refused, match="expired"):
                await followed(client, Wish(Action.SOUND, Mode.DRILL, "41", "demo-air-raid"))
            assert one.orders == []
            stop = await followed(client, Wish(Action.STOP, Mode.LIVE, "41"))
            refusing.cancel()
            await asyncio.wait({refusing})
    assert [s.ending for s in stop.sirens()] == [Ending.FINISHED]
    assert one.orders[0][0] == wire.order_topic("41", True)


async def test_a_hub_that_was_restarted_takes_the_order_up_again(conf: config.Config, port: int) -> None:
    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us(), deaf=10**6) as one, Client(conf) as client:
        await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
        async with resident(port):
            wish = Wish(Action.SOUND, Mode.DRILL, "41", "demo-air-raid")
            order = asyncio.create_task(followed(client, wish))
            await client.until(lambda: len(one.orders) > 0, 20)
        one.deaf = 0
        async with resident(port):
            assert [s.ending for s in (await order).sirens()] == [Ending.FINISHED]
        assert len({payload for _, payload in one.orders}) == 1


async def test_an_order_may_be_given_without_waiting(
    conf: config.Config, port: int, hub: asyncio.subprocess.Process,
) -> None:
    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us()) as one:
        async with Client(conf) as client:
            await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
            rc, out, err = await cli(conf, "order", "programme", "demo-918", "--at", "+60", "--area", "41", "--mode",
                                     "drill", "--no-wait", "--json")
            given = json.loads(out.splitlines()[-1])
            assert (rc, given["taken"]) == (0, True), err
            await client.until(lambda: len(one.orders) == 1, 20)
        rc, _, err = await cli(conf, "order", "quiet-test", "--area", "41", "--siren", "s-9")
        assert (rc, "--siren = 's-9'" in err, "s-1" in err) == (2, True, True)


async def test_it_can_be_sent_without_a_hub(conf: config.Config, port: int) -> None:
    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us(), deaf=1) as one:
        async with Client(conf, direct=True) as client:
            await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
            order = await followed(client, Wish(Action.SOUND, Mode.LIVE, "41/01/05", "air-raid"))
            assert client.report(order).good
        assert len(one.orders) == 2


@asynccontextmanager
async def unanswered(port: int, hangs_up: bool) -> AsyncIterator[int]:
    """A port of a broker that does not answer orders: it hangs up when one comes, or passes it over."""
    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_broker: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if to_broker and wire.order_topic("41", False).encode() in data:
                    if hangs_up:
                        break
                    continue
                writer.write(data)
        writer.close()

    async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.wait({asyncio.create_task(passed(reader, back, True)),
                            asyncio.create_task(passed(to, writer, False))}, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        back.close()

    async with await asyncio.start_server(come, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_an_order_that_the_broker_did_not_acknowledge_is_not_said_to_be_given(
    conf: config.Config, port: int, hangs_up: bool,
) -> None:
    async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us()) as one, unanswered(port, hangs_up) as way:
        async with Client(conf) as client:
            await client.until(lambda: len(client.fleet.sirens()) == 1, 20)
        there = config.load(HUB, [f"mqtt.port={way}"])
        rc, out, err = await cli(there, "order", "sound", "--signal", "demo-air-raid", "--area", "41", "--mode",
                                 "drill", "--direct", "--no-wait", "--json")
        assert (rc, out) == (2, "")
        assert "the broker did not acknowledge it" in err
        assert "given" not in err
        assert one.orders == []
        rc, out, err = await cli(conf, "order", "sound", "--signal", "demo-air-raid", "--area", "41", "--mode", "drill",
                                 "--direct", "--no-wait", "--json")
        assert (rc, json.loads(out)["taken"]) == (0, True), err


async def test_a_gateway_that_dies_is_lost_and_its_sirens_unknown(conf: config.Config, port: int) -> None:
    async with Client(conf) as client:
        async with gateway(port, "gw-1", ("s-1",), conf.signals, now_us()):
            await client.until(lambda: [s.state for s in client.fleet.sirens()] == ["IDLE"], 20)
        # aiomqtt says good-bye to the broker, so the will is told here as the broker would.
        rc, out, _ = await cli(conf, "fleet", "--json")
        assert rc == 0
        assert json.loads(out)["sirens"][0]["id"] == "s-1"
        lost = wire.Status(gateway="gw-1", session="one", state="lost", at=wire.to_text(now_us()))
        async with aiomqtt.Client("127.0.0.1", port) as anybody:
            await anybody.publish(f"{wire.state_root('41/01/05/001/001', 'gw-1')}/status", lost.encode(), 1, True)
        await client.until(lambda: client.fleet.gateways["gw-1"].presence is Presence.LOST, 20)
        assert client.fleet.sirens()[0].state == "UNKNOWN"
        _, out, _ = await cli(conf, "fleet")
        assert "断线 lost" in out
        assert "UNKNOWN" in out


async def test_a_client_comes_back_with_its_broker_and_knows_nothing_between(tmp_path: Path) -> None:
    number = free_port()
    loaded = config.load(HUB, [f"mqtt.port={number}"])
    with pytest.raises(Unreachable, match="mosquitto"):
        async with Client(loaded):
            raise AssertionError("there is no broker")
    with broker(tmp_path, number):
        client = await Client(loaded).__aenter__()
        async with gateway(number, "gw-1", ("s-1",), loaded.signals, now_us()):
            await client.until(lambda: [s.state for s in client.fleet.sirens()] == ["IDLE"], 20)
    try:
        await client.until(lambda: not client.fleet.broker, 20)
        assert [s.state for s in client.fleet.sirens()] == ["UNKNOWN"]
        with broker(tmp_path, number):
            await client.until(lambda: client.fleet.broker, 20)
            async with gateway(number, "gw-1", ("s-1",), loaded.signals, now_us()):
                await client.until(lambda: [s.state for s in client.fleet.sirens()] == ["IDLE"], 20)
    finally:
        await client.close()
