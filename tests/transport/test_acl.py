"""Who may say and hear what at the broker: the generated access list, read by people and by a real mosquitto."""

import asyncio
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller import wire
from controller.wire import Status
from firmware_bridge.errors import BadDocument
from hub import __main__ as command
from hub import acl
from hub import config as hub_config
from hub.client import Client
from tests.transport.authority import CONFIGS, MOSQUITTO, Authority, Broker

DEMO = CONFIGS / "demo"
FLEET = """
[[hub]]
id = "demo-hub"
area = "41"
[[gateway]]
id = "gw-1"
area = "41/01/05/001/001"
[[gateway]]
id = "gw-2"
area = "41/01/05/001/002"
[[operator]]
name = "duty-1"
hub = "demo-hub"
[[reader]]
name = "screen-1"
area = "41/01"
"""
AREAS = {"gw-1": "41/01/05/001/001", "gw-2": "41/01/05/001/002"}
PEOPLE = ("hub-demo-hub", "duty-1", "screen-1")


def fleet(tmp_path: Path, text: str = FLEET) -> acl.FleetFile:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    return acl.load(file)


def status(gateway: str, session: str, state: str = "online") -> bytes:
    return Status.model_validate({"gateway": gateway, "session": session, "state": state,
                                  "at": wire.to_text(time.time_ns() // 1000)}).encode()


# The list.


def test_the_example_is_what_its_fleet_gives() -> None:
    assert acl.text(acl.load(CONFIGS / "fleet.toml")) == (CONFIGS / "mosquitto.acl").read_text(), (
        "run: siren-hub acl configs/fleet.toml --out configs/mosquitto.acl")


def test_a_gateway_has_its_own_and_its_ancestors_and_nothing_else(tmp_path: Path) -> None:
    lines = acl.text(fleet(tmp_path)).split("user gw-1\n")[1].split("\n\n")[0].splitlines()
    own, area = "siren/1/g/gw-1", ["41", "01", "05", "001", "001"]
    up = ["/".join(area[: n + 1]) for n in range(5)]
    assert sorted(lines) == sorted([
        "topic write siren/1/s/41/01/05/001/001/gw-1/#", f"topic write {own}/echo", f"topic read {own}/echo",
        *(f"topic read {own}/{leaf}" for leaf in ("stop", "order", "trust", "again", "ack", "shelf")),
        *(f"topic read siren/1/o/{a}/{leaf}" for a in up for leaf in ("stop", "order", "trust")),
    ])


def test_what_a_gateway_subscribes_to_it_may_hear(tmp_path: Path) -> None:
    text = acl.text(fleet(tmp_path))
    for gateway, area in AREAS.items():
        own = text.split(f"user {gateway}\n")[1].split("\n\n")[0]
        for topic in (*wire.subscriptions(area, gateway), wire.echo_topic(gateway)):
            assert f"topic read {topic}\n" in f"{own}\n"


@pytest.mark.parametrize(("change", "said"), [
    (('area = "41/01/05/001/001"', 'area = "41/01"'), "gateway[gw-1].area = '41/01'"),
    (('id = "gw-2"', 'id = "gw-1"'), "gw-1 = 'gw-1': stands 2 times"),
    (('name = "duty-1"', 'name = "gw-1"'), "gw-1 = 'gw-1': stands 2 times"),
    (('id = "gw-2"', 'id = "hub-demo-hub"'), "hub-demo-hub = 'hub-demo-hub': stands 2 times"),
    (('hub = "demo-hub"', 'hub = "demo"'), "operator[duty-1].hub = 'demo': no such hub; did you mean 'demo-hub'?"),
    (('name = "screen-1"', 'name = "screen 1"'), "reader[0].name = 'screen 1'"),
    (('name = "screen-1"', 'name = "x\\ntopic readwrite #"'), "reader[0].name"),
    (('id = "gw-2"', 'id = "+"'), "gateway[+].id = '+'"),
    (("[[hub]]", "[[hubs]]"), "unknown key"),
])
def test_what_is_wrong_with_a_fleet_is_told(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(BadDocument) as caught:
        fleet(tmp_path, FLEET.replace(*change, 1))
    assert said in str(caught.value)


def test_the_command_prints_it_from_fleet_or_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = acl.text(fleet(tmp_path))
    assert command.main(["acl", str(tmp_path / "fleet.toml")]) == 0
    assert capsys.readouterr().out == text
    (tmp_path / "hub.toml").write_text('[mqtt]\nhost = "x"\n[fleet]\nlist = "fleet.toml"\n')
    assert command.main(["acl", str(tmp_path / "hub.toml")]) == 0
    assert capsys.readouterr().out == text
    (tmp_path / "hub.toml").write_text('[mqtt]\nhost = "x"\n')
    assert command.main(["acl", str(tmp_path / "hub.toml")]) == 2
    assert "fleet.list = None: name the fleet.toml of this centre" in capsys.readouterr().err


def test_a_fleet_that_is_wrong_leaves_the_old_list_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    fleet(tmp_path)
    out = tmp_path / "siren.acl"
    assert command.main(["acl", str(tmp_path / "fleet.toml"), "--out", str(out)]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    out.chmod(0o600)
    before = out.read_text()
    (tmp_path / "fleet.toml").write_text(FLEET + "[[gateway]]\n")
    assert command.main(["acl", str(tmp_path / "fleet.toml"), "--out", str(out)]) == 2
    assert "gateway[2].id" in capsys.readouterr().err
    assert out.read_text() == before
    (tmp_path / "fleet.toml").write_text(FLEET.split("[[operator]]")[0])
    assert command.main(["acl", str(tmp_path / "fleet.toml"), "--out", str(out)]) == 0
    assert "duty-1" not in out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(f.name for f in tmp_path.iterdir()) == ["fleet.toml", "siren.acl"]


# A real broker with it.


class Peer:
    """A plain client with somebody's certificate; what it heard, and what the broker refused it."""

    def __init__(self, mosquitto: Broker, user: str, file: str = "", client: str = "", will: str = "") -> None:
        gateway = user.startswith("gw-")
        context = ssl.create_default_context(cafile=mosquitto.folder / "gateways-ca.pem")
        context.load_cert_chain(mosquitto.folder / f"{file or user}.pem", mosquitto.folder / f"{file or user}.key")
        self.heard: list[tuple[str, bytes]] = []
        self.answers: dict[int, int] = {}
        self.connected = False
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client or user, protocol=paho.MQTTv5)
        self.client.tls_set_context(context)
        if will:
            self.client.will_set(will, b"forged", 1, True)
        self.client.on_message = lambda c, d, m: self.heard.append((m.topic, bytes(m.payload)))
        self.client.on_publish = lambda c, d, mid, code, p: self.answers.__setitem__(mid, code.value)
        self.client.on_connect = lambda *rest: setattr(self, "connected", not rest[3].is_failure)
        self.client.on_disconnect = lambda *rest: setattr(self, "connected", False)
        self.client.reconnect_delay_set(60, 60)
        self.client.connect("127.0.0.1", mosquitto.port if gateway else mosquitto.centre_port)
        self.client.loop_start()

    def may_publish(self, topic: str, payload: bytes = b"{}", retain: bool = False) -> bool:
        info = self.client.publish(topic, payload, 1, retain)
        until(lambda: info.mid in self.answers)
        return self.answers[info.mid] < 0x80

    def hears(self, *topics: str) -> None:
        done: list[Any] = []
        self.client.on_subscribe = lambda *rest: done.append(rest)
        self.client.subscribe([(topic, 1) for topic in topics])
        until(lambda: done)


def until(condition: Any, limit_s: float = 20) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)


class Net:
    """A broker with the fleet's list, and everybody's certificate."""

    def __init__(self, folder: Path) -> None:
        self.gateways, self.centre = Authority(folder), Authority(folder, "centre")
        self.gateways.issue("broker", host="127.0.0.1")
        for name in AREAS:
            self.gateways.issue(name)
        for name in PEOPLE:
            self.centre.issue(name)
        self.broker = Broker(folder, acl.text(fleet(folder)))
        self.broker.start()
        self._peers: list[Peer] = []

    def peer(self, user: str, **more: str) -> Peer:
        out = Peer(self.broker, user, **more)
        self._peers.append(out)
        until(lambda: out.connected)
        return out

    def close(self) -> None:
        for peer in self._peers:
            peer.client.loop_stop()
        self.broker.stop()


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    out = Net(tmp_path)
    yield out
    out.close()


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO is None, reason="NO MOSQUITTO: the access list was NOT tried")
class TestBroker:
    def test_a_gateway_speaks_for_itself_only(self, net: Net) -> None:
        thief = net.peer("gw-1")
        own, other = (wire.state_root(AREAS[g], g) for g in ("gw-1", "gw-2"))
        assert thief.may_publish(f"{own}/status")
        assert thief.may_publish(f"{own}/s-1/state")
        for topic in (
            f"{other}/status", f"{other}/birth", f"{other}/receipt", f"{other}/s-1/state",
            wire.state_root(AREAS["gw-2"], "gw-1") + "/status", wire.state_root(AREAS["gw-1"], "gw-2") + "/status",
            wire.order_topic("41", False), wire.order_topic("41", True), wire.order_topic(AREAS["gw-1"], False),
            wire.gateway_topic("gw-1", False), wire.gateway_topic("gw-2", False), wire.gateway_topic("gw-2", True),
            wire.again_topic("gw-2"), wire.echo_topic("gw-2"), "siren/1/o/41/trust", "siren/1/g/gw-2/trust",
            wire.hub_topic("demo-hub", "submit"), wire.hub_topic("demo-hub", "taken"), "anything",
        ):
            assert not thief.may_publish(topic), topic

    def test_a_gateway_hears_what_is_for_it_only(self, net: Net) -> None:
        curious, hub = net.peer("gw-1"), net.peer("hub-demo-hub")
        curious.hears("#", "siren/1/g/gw-2/#", "siren/1/s/#", "siren/1/o/#")
        assert net.peer("gw-2").may_publish(f"{wire.state_root(AREAS['gw-2'], 'gw-2')}/status")
        for topic in ("siren/1/g/gw-2/order", "siren/1/g/gw-2/stop", "siren/1/g/gw-2/again", "siren/1/g/gw-2/trust",
                      "siren/1/o/41/01/05/001/002/order", "siren/1/o/41/02/stop", "siren/1/o/41/01/06/trust",
                      "siren/1/o/41/order", "siren/1/o/41/01/05/trust", "siren/1/g/gw-1/trust", "siren/1/g/gw-1/stop"):
            assert hub.may_publish(topic), topic
        until(lambda: curious.heard and curious.heard[-1][0] == "siren/1/g/gw-1/stop")
        assert {topic for topic, _ in curious.heard} == {
            "siren/1/o/41/order", "siren/1/o/41/01/05/trust", "siren/1/g/gw-1/trust", "siren/1/g/gw-1/stop"}

    def test_only_the_hub_publishes_orders(self, net: Net) -> None:
        orders = [wire.order_topic(a, False) for a in ("41", "41/01", AREAS["gw-1"])]
        orders += [wire.gateway_topic("gw-1", False), "siren/1/o/41/trust"]
        assert all(net.peer("hub-demo-hub").may_publish(topic) for topic in orders)
        operator, reader = net.peer("duty-1"), net.peer("screen-1")
        for topic in orders:
            assert not operator.may_publish(topic), topic
            assert not reader.may_publish(topic), topic
        # A stop gets through without a hub. Another county's does not, and a screen has none.
        # What an operator's client has missed it asks for itself.
        for topic in (wire.order_topic("41", True), wire.order_topic(AREAS["gw-1"], True),
                      wire.gateway_topic("gw-1", True), wire.hub_topic("demo-hub", "submit"), wire.again_topic("gw-1")):
            assert operator.may_publish(topic), topic
            assert not reader.may_publish(topic), topic
        assert not operator.may_publish(wire.order_topic("42", True))
        assert not operator.may_publish(wire.hub_topic("demo-hub", "taken"))
        for peer in (net.peer("hub-demo-hub"), operator, reader):
            assert not peer.may_publish(f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status")

    def test_a_screen_sees_its_area_and_no_orders(self, net: Net) -> None:
        reader, hub, gateway = net.peer("screen-1"), net.peer("hub-demo-hub"), net.peer("gw-1")
        reader.hears("#")
        assert hub.may_publish(wire.order_topic("41/01", False))
        assert net.peer("duty-1").may_publish(wire.hub_topic("demo-hub", "submit"))
        assert gateway.may_publish(f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status")
        until(lambda: reader.heard)
        assert [topic for topic, _ in reader.heard] == [f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status"]

    def test_a_gateway_can_neither_end_another_nor_speak_its_will(self, net: Net) -> None:
        victim, reader = net.peer("gw-2"), net.peer("screen-1")
        reader.hears("#")
        net.peer("gw-1", client="gw-2")  # the broker takes the certificate's name for the session's
        assert victim.connected
        will = Peer(net.broker, "gw-1", will=f"{wire.state_root(AREAS['gw-2'], 'gw-2')}/status")
        with_will = wire.state_root(AREAS["gw-1"], "gw-1") + "/status"
        try:
            time.sleep(0.3)
            if will.connected:
                will.client._sock_close()  # gone without a word: its will is due
            assert net.peer("gw-1").may_publish(with_will)
            until(lambda: (with_will, b"{}") in reader.heard)
        finally:
            will.client.loop_stop()
        assert victim.connected
        assert [topic for topic, _ in reader.heard] == [with_will]

    def test_a_gateways_certificate_is_nothing_where_people_come_in(self, net: Net) -> None:
        context = ssl.create_default_context(cafile=net.broker.folder / "gateways-ca.pem")
        context.load_cert_chain(net.broker.folder / "gw-1.pem", net.broker.folder / "gw-1.key")
        client = paho.Client(CallbackAPIVersion.VERSION2, "gw-2", protocol=paho.MQTTv5)
        client.tls_set_context(context)
        taken: list[bool] = []
        client.on_connect = lambda *rest: taken.append(True)
        client.on_disconnect = lambda *rest: taken.append(False)
        client.connect("127.0.0.1", net.broker.centre_port)
        client.loop_start()
        until(lambda: taken)
        client.loop_stop()
        assert taken[0] is False

    def test_who_is_taken_from_the_list_may_do_nothing_at_once(self, net: Net) -> None:
        gateway, topic = net.peer("gw-1"), f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status"
        assert gateway.may_publish(topic)
        net.broker.write_acl(acl.text(fleet(net.broker.folder, FLEET.replace("gw-1", "gw-3"))))
        net.broker.reload()
        until(lambda: not gateway.may_publish(topic))
        assert gateway.connected, "its connection stays; the revocation list keeps it from coming back"

    def test_a_revoked_certificate_is_refused_and_a_new_one_ends_its_session(self, net: Net) -> None:
        stolen = net.peer("gw-1")
        net.gateways.issue("gw-1", "gw-1-new")
        net.gateways.revoke("gw-1")
        net.broker.reload()
        until(lambda: net.broker.said().count("Reloading config") == 1)
        true = net.peer("gw-1", file="gw-1-new")
        until(lambda: not stolen.connected)
        again = Peer(net.broker, "gw-1")
        until(lambda: "certificate verify failed" in net.broker.said())
        time.sleep(0.3)
        again.client.loop_stop()
        assert not again.connected
        assert true.connected
        assert true.may_publish(f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status")

    async def test_the_hub_keeps_what_the_true_gateway_said(self, net: Net) -> None:
        """One gateway publishes as another, and the hub's picture of the other stays."""
        folder = net.broker.folder
        conf = hub_config.load(DEMO / "hub.toml", [
            f"mqtt.port={net.broker.centre_port}", "mqtt.tls=true", f"mqtt.ca_file={folder}/gateways-ca.pem",
            f"mqtt.cert_file={folder}/duty-1.pem", f"mqtt.key_file={folder}/duty-1.key"])
        two = f"{wire.state_root(AREAS['gw-2'], 'gw-2')}/status"
        true, thief = await asyncio.to_thread(lambda: (net.peer("gw-2"), net.peer("gw-1")))
        assert await asyncio.to_thread(true.may_publish, two, status("gw-2", "true"), True)
        async with Client(conf) as client:
            assert client.fleet.gateways["gw-2"].presence.value == "online"
            forged = status("gw-2", "forged", "offline")
            assert not await asyncio.to_thread(thief.may_publish, two, forged, True)
            own = f"{wire.state_root(AREAS['gw-1'], 'gw-1')}/status"
            assert await asyncio.to_thread(thief.may_publish, own, status("gw-1", "own"), True)
            await client.until(lambda: "gw-1" in client.fleet.gateways, 20)
            kept = client.fleet.gateways["gw-2"]
            assert (kept.presence.value, kept.status and kept.status.session) == ("online", "true")
