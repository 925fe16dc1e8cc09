"""What a broker refuses the MQTT shell: a message, a subscription, its name, an answer, a certificate to believe."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import aiomqtt
import pytest

from controller import mqtt, wire
from controller.event import BrokerUp, Notice, Publish
from tests.controller import bench_mqtt
from tests.controller.bench_mqtt import AREA, ROOT, Broker, Node

pytestmark = pytest.mark.system
mosquitto = bench_mqtt.mosquitto
"""The fixture: to be started by the test."""


async def test_a_refused_message_is_not_confirmed_and_goes_when_it_may(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "REFUSED_S", 0.3)
    acl = tmp_path / "acl"
    acl.write_text("topic write siren/1/s/#\ntopic read siren/1/o/#\ntopic readwrite siren/1/g/#\n"
                   f"topic deny {ROOT}/receipt\n")
    acl.chmod(0o600)
    mosquitto.config = f"allow_anonymous true\nacl_file {acl}\n"
    mosquitto.start()
    node = Node(mosquitto.port)
    await node.until(lambda n: n.ups() == 1)
    node.say()
    await asyncio.sleep(1)  # three refusals
    assert node.confirmed == []
    assert node.session.outbox == 1
    acl.write_text("topic readwrite siren/1/#\n")
    mosquitto.reload()
    await node.until(lambda n: n.confirmed == [1])
    assert node.downs() == []
    await node.stop()


async def test_a_refused_state_never_comes_after_a_newer_one(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "REFUSED_S", 1.0)
    acl, state = tmp_path / "acl", f"{ROOT}/s-1/state"
    acl.write_text("topic read siren/1/o/#\ntopic readwrite siren/1/g/#\n")
    acl.chmod(0o600)
    mosquitto.config = f"allow_anonymous true\nacl_file {acl}\n"
    mosquitto.start()
    node = Node(mosquitto.port)
    await node.until(lambda n: n.ups() == 1)
    node.mqtt.publish(Publish(state, b"SOUNDING", retain=True))
    node.say()  # refused as well, and tried again after the state
    live = node.mqtt._live
    assert live
    await live.settled()
    acl.write_text("topic readwrite siren/1/#\n")
    mosquitto.reload()
    node.mqtt.publish(Publish(state, b"IDLE", retain=True))
    await node.until(lambda n: n.confirmed == [1])
    await live.settled()
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as hub, asyncio.timeout(20):
        await hub.subscribe(state)
        assert (await anext(hub.messages)).payload == b"IDLE"
    # The status that was refused is still the newest, and was tried again.
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as hub, asyncio.timeout(20):
        await hub.subscribe(f"{ROOT}/status")
        assert b"online" in bytes((await anext(hub.messages)).payload)
    await node.stop()


async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker of MQTT 3.1.1 that takes everything and grants every second subscription."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            kind = (await reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await reader.readexactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            body = await reader.readexactly(length)
            if kind >> 4 == 1:
                writer.write(b"\x20\x02\x00\x00")
            elif kind >> 4 == 3 and kind & 0x06:
                topic = 2 + int.from_bytes(body[:2], "big")
                writer.write(b"\x40\x02" + body[topic : topic + 2])
            elif kind >> 4 == 8:
                topics, rest = 0, body[2:]
                while rest:
                    topics, rest = topics + 1, rest[3 + int.from_bytes(rest[:2], "big") :]
                codes = bytes(0x80 if n % 2 else 1 for n in range(topics))
                writer.write(bytes([0x90, 2 + topics]) + body[:2] + codes)
    writer.close()


async def test_a_refused_subscription_is_told_urgently() -> None:
    server = await asyncio.start_server(deny, "127.0.0.1", 0)
    node = Node(server.sockets[0].getsockname()[1])
    node.mqtt._protocol = aiomqtt.ProtocolVersion.V311
    await node.until(lambda n: any(isinstance(e, Notice) for e in n.came))
    told = [e for e in node.came if isinstance(e, Notice)]
    filters = [*wire.subscriptions(AREA, "gw-7"), wire.echo_topic("gw-7")]
    assert [e.subject for e in told] == filters[1::2]
    assert all(e.urgent for e in told)
    assert isinstance(node.came[0], BrokerUp)  # what is granted is still served
    await node.stop()
    server.close()


async def test_two_of_one_name_do_not_fight_fast(mosquitto: Broker) -> None:
    mosquitto.start()
    one, two = Node(mosquitto.port), Node(mosquitto.port)
    await asyncio.sleep(4)
    # Each attempt throws the other out; the pause grows, so that a cloned card does not become a storm.
    assert 2 <= one.ups() + two.ups() <= 24
    assert one.downs()
    assert two.downs()
    await one.stop()
    await two.stop()


async def test_a_listener_that_never_answers_costs_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_S", 0.05)
    monkeypatch.setattr(mqtt, "BACK_OFF_S", (0.01, 0.01))

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    node = Node(server.sockets[0].getsockname()[1])
    await node.until(lambda n: len(n.downs()) == 5)
    open_before, tasks_before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    await node.until(lambda n: len(n.downs()) == 35)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 3
    assert len(asyncio.all_tasks()) <= tasks_before + 3
    await node.stop()
    server.close()


async def test_tls_asks_for_the_right_authority(mosquitto: Broker, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: TLS was not tried")
    for name in ("broker", "other"):
        made = await asyncio.create_subprocess_exec(
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", cwd=tmp_path, stderr=subprocess.DEVNULL)
        assert await made.wait() == 0
    mosquitto.config = (f"allow_anonymous true\ncafile {tmp_path}/broker.pem\ncertfile {tmp_path}/broker.pem\n"
                        f"keyfile {tmp_path}/broker.key\n")
    mosquitto.start()
    good = Node(mosquitto.port, folder=tmp_path, tls=True, ca_file="broker.pem")
    bad = Node(mosquitto.port, "gw-8", folder=tmp_path, tls=True, ca_file="other.pem")
    none = Node(mosquitto.port, "gw-9", folder=tmp_path, tls=True, ca_file="missing.pem")
    await good.until(lambda n: n.ups() == 1)
    await bad.until(lambda n: n.downs())
    await none.until(lambda n: n.downs())
    assert "did not issue the broker's certificate" in bad.downs()[0]
    assert "file" in none.downs()[0]
    assert bad.ups() == none.ups() == 0
    for node in (good, bad, none):
        await node.stop()
