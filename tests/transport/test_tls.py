"""TLS between gateway, hub and a real mosquitto; every certificate is made here, and most are wrong in one way."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from controller import tls, wire
from controller.broker import MqttSection
from controller.event import BrokerDown, BrokerUp, Publish
from controller.mqtt import FromBroker, Mqtt
from hub import client
from hub import config as hub_config
from hub.client import Client, Unreachable
from tests.transport.authority import DAY, MOSQUITTO, Authority, Broker
from tests.transport.bench_tls import DEMO, ROOT, SECTION, tls_settings

AREA = "41/01/05/001/001"
ACL = (f"user gw-1\ntopic write {wire.state_root(AREA, 'gw-1')}/#\ntopic readwrite siren/1/g/gw-1/echo\n"
       "user hub-demo-hub\ntopic read siren/1/s/#\ntopic write siren/1/o/#\n")

real = [pytest.mark.system, pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: TLS was NOT tried")]


@pytest.fixture
def centre(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "centre")


@pytest.fixture
def mosquitto(authority: Authority, centre: Authority) -> Iterator[Broker]:
    out = Broker(authority.folder, ACL)
    yield out
    out.stop()


class Node:
    """The gateway's shell at the broker, and what became of it."""

    def __init__(self, mosquitto: Broker, name: str = "gw-1", file: str = "gw-1", **more: object) -> None:
        self.section = MqttSection.model_validate({
            "host": "127.0.0.1", "port": mosquitto.port, "tls": True, "ca_file": "gateways-ca.pem",
            "cert_file": f"{file}.pem", "key_file": f"{file}.key", **more})
        self.came: list[FromBroker] = []
        self._more = asyncio.Event()
        echo = wire.echo_topic(name)
        self.mqtt = Mqtt(self.section, mosquitto.folder, name, [wire.gateway_topic(name, True)], echo, None, self._feed)
        self.task = asyncio.create_task(self.mqtt.run())

    def _feed(self, event: FromBroker) -> None:
        self.came.append(event)
        self._more.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(40):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def first(self) -> FromBroker:
        await self.until(lambda: self.came)
        return self.came[0]

    async def refusal(self) -> str:
        event = await self.first()
        assert isinstance(event, BrokerDown), event
        return event.why


@contextlib.asynccontextmanager
async def at(mosquitto: Broker, **more: object) -> AsyncIterator[Node]:
    node = Node(mosquitto, **more)  # type: ignore[arg-type]
    try:
        yield node
    finally:
        await node.mqtt.close()
        node.task.cancel()
        await asyncio.gather(node.task, return_exceptions=True)


class TestGateway:
    pytestmark = real

    async def test_it_connects_and_is_who_its_certificate_names(self, authority: Authority, mosquitto: Broker) -> None:
        authority.issue("gw-1")
        mosquitto.start()
        async with at(mosquitto) as node:
            assert isinstance(await node.first(), BrokerUp)
            node.mqtt.publish(Publish(f"{wire.state_root(AREA, 'gw-1')}/status", b"{}", retain=True))
            await node.mqtt.close()
        assert "as gw-1 (p5, c0, k20, u'gw-1')" in mosquitto.said()

    async def test_a_broker_of_another_authority_is_not_believed(
        self, authority: Authority, mosquitto: Broker,
    ) -> None:
        authority.issue("gw-1")
        Authority(mosquitto.folder, "other")
        mosquitto.start()
        async with at(mosquitto, ca_file="other-ca.pem") as node:
            why = await node.refusal()
        assert f"{mosquitto.folder}/other-ca.pem: mqtt.ca_file = 'other-ca.pem': did not issue the broker's" in why

    @pytest.mark.parametrize("named", ["127.0.0.2", "hub.example"])
    async def test_a_broker_of_another_name_is_not_believed(
        self, authority: Authority, mosquitto: Broker, named: str,
    ) -> None:
        authority.issue("gw-1")
        authority.issue("broker", host=named)
        mosquitto.start()
        async with at(mosquitto) as node:
            why = await node.refusal()
        assert "mqtt.host = '127.0.0.1': the broker's certificate is for another name" in why

    @pytest.mark.parametrize(("begins", "ends", "said"), [(-2, -1, "has ended"), (1, 2, "not valid yet")])
    async def test_a_broker_out_of_its_time_is_not_believed(
        self, authority: Authority, mosquitto: Broker, begins: int, ends: int, said: str,
    ) -> None:
        authority.issue("gw-1")
        authority.issue("broker", host="127.0.0.1", begins=begins * DAY, ends=ends * DAY)
        mosquitto.start()
        async with at(mosquitto) as node:
            assert said in await node.refusal()

    @pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
    @pytest.mark.parametrize(("wrong", "said"), [
        ("expired", "gw-1.pem: mqtt.cert_file = 'gw-1.pem': has ended: have a new one issued"),
        ("foreign", "mqtt.cert_file = 'gw-1.pem': is not of a CA that the broker trusts"),
        ("revoked", "mqtt.cert_file = 'gw-1.pem': is revoked"),
        ("missing", "mqtt.cert_file = None: is missing: the broker wants one"),
    ])
    async def test_a_gateway_that_the_broker_does_not_believe_is_told_why(
        self, authority: Authority, mosquitto: Broker, tmp_path: Path, wrong: str, said: str, version: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        maker = Authority(tmp_path, "other") if wrong == "foreign" else authority
        maker.issue("gw-1", ends=-DAY / 2 if wrong == "expired" else DAY)
        if wrong == "revoked":
            authority.revoke("gw-1")
        if version == "tlsv1.2":
            made = tls.context

            def old(section: MqttSection, folder: Path) -> tls.Context | None:
                out = made(section, folder)
                assert out
                out.maximum_version = ssl.TLSVersion.TLSv1_2
                return out

            monkeypatch.setattr(tls, "context", old)
        mosquitto.start()
        more = {"cert_file": None, "key_file": None} if wrong == "missing" else {}
        async with at(mosquitto, **more) as node:
            # The broker's last word can be lost with the line that it cuts: then the next attempt brings it.
            await node.until(lambda: any(isinstance(e, BrokerDown) and said in e.why for e in node.came))

    async def test_a_revocation_list_that_ended_refuses_everybody(
        self, authority: Authority, mosquitto: Broker,
    ) -> None:
        authority.issue("gw-1")
        authority.revoke(ends=-DAY / 2)
        mosquitto.start()
        async with at(mosquitto) as node:
            assert "if it has not, the broker's revocation list has" in await node.refusal()

    async def test_a_port_without_tls_is_told(self, authority: Authority, mosquitto: Broker) -> None:
        authority.issue("gw-1")
        server = await asyncio.start_server(lambda reader, writer: writer.write(b"220 hello\r\n"), "127.0.0.1", 0)
        mosquitto.port = server.sockets[0].getsockname()[1]
        async with at(mosquitto) as node:
            assert "no TLS came about" in await node.refusal()
        server.close()

    async def test_files_that_are_gone_are_told_and_mended_while_it_runs(
        self, authority: Authority, mosquitto: Broker,
    ) -> None:
        mosquitto.start()
        async with at(mosquitto) as node:
            assert "a file of [mqtt] is no good" in await node.refusal()
            authority.issue("gw-1")
            await node.until(lambda: any(isinstance(e, BrokerUp) for e in node.came))


def test_a_refusal_is_read_when_the_line_is_gone_before_we_wrote(authority: Authority, tmp_path: Path) -> None:
    Authority(tmp_path, "other").issue("gw-1")
    folder = authority.folder
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "broker.pem", folder / "broker.key")
    theirs.load_verify_locations(folder / "gateways-ca.pem")
    theirs.verify_mode = ssl.CERT_REQUIRED
    ours = tls.context(MqttSection.model_validate(SECTION), folder)
    assert ours

    def refuse(listener: socket.socket) -> None:
        line, _ = listener.accept()
        with contextlib.suppress(OSError), line:
            theirs.wrap_socket(line, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker_side = threading.Thread(target=refuse, args=(listener,))
        broker_side.start()
        with (socket.create_connection(listener.getsockname(), 30) as line,
              ours.wrap_socket(line, server_hostname="127.0.0.1") as secured):
            broker_side.join()

            def write() -> None:
                while True:
                    secured.send(b"CONNECT")

            with pytest.raises((ssl.SSLError, BrokenPipeError, ConnectionResetError)):
                write()
    assert "is not of a CA that the broker trusts" in tls.refused(MqttSection.model_validate(SECTION), folder, ours)


def test_old_tls_is_not_spoken_and_names_are_checked(authority: Authority) -> None:
    authority.issue("gw-1")
    section = MqttSection.model_validate(SECTION)
    ours = tls.context(section, authority.folder)
    assert ours
    assert ours.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ours.check_hostname
    assert ours.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: TLS was NOT tried")
class TestHub:
    def conf(self, mosquitto: Broker, *more: str) -> list[str]:
        return [f"mqtt.port={mosquitto.centre_port}", *tls_settings(mosquitto.folder, "hub-demo-hub"), *more]

    async def test_a_client_connects(self, centre: Authority, mosquitto: Broker) -> None:
        centre.issue("hub-demo-hub")
        mosquitto.start()
        async with Client(hub_config.load(DEMO / "hub.toml", self.conf(mosquitto))) as seen:
            assert seen.fleet.broker
        assert "u'hub-demo-hub'" in mosquitto.said()

    @pytest.mark.parametrize(("wrong", "said"), [
        ("ca", "did not issue the broker's"), ("ended", "has ended"), ("host", "for another name"),
        ("gateway", "is not of a CA that the broker trusts"),
    ])
    async def test_what_is_wrong_is_told(
        self, authority: Authority, centre: Authority, mosquitto: Broker, wrong: str, said: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(client, "BROKER_S", 1.5)
        more = []
        (authority if wrong == "gateway" else centre).issue("hub-demo-hub", ends=-DAY / 2 if wrong == "ended" else DAY)
        if wrong == "ca":
            more = [f"mqtt.ca_file={centre.file}"]
        if wrong == "host":
            authority.issue("broker", host="hub.example")
        mosquitto.start()
        with pytest.raises(Unreachable, match=said):
            async with Client(hub_config.load(DEMO / "hub.toml", self.conf(mosquitto, *more))):
                pass

    def test_the_resident_hub_says_why_it_has_no_broker(
        self, authority: Authority, centre: Authority, mosquitto: Broker,
    ) -> None:
        centre.issue("hub-demo-hub")
        authority.issue("broker", host="hub.example")
        mosquitto.start()
        settings = [part for one in self.conf(mosquitto) for part in ("--set", one)]
        hub = subprocess.Popen([sys.executable, "-m", "hub", "run", "--config", str(DEMO / "hub.toml"), *settings],
                               cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert hub.stdout
        try:
            told = next(line for line in hub.stdout if "broker-down" in line)
        finally:
            hub.terminate()
            hub.wait(10)
        assert "mqtt.host" in told
