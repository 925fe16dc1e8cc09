"""The example configurations of the field: they are read by what they are for, and the broker's list keeps its word."""

import shutil
import subprocess
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller import config
from hub import config as hub_config
from simulators.city import free_port

CONFIGS = Path(__file__).parents[2] / "configs"
BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def test_the_gateways_example_is_whole() -> None:
    found = config.load(CONFIGS / "gateway.toml")
    assert found.spec.clock.source == "kernel"
    assert found.spec.siren[0].isolator_locked is False


def test_the_hubs_example_lacks_nothing_but_its_trust_list() -> None:
    with pytest.raises(Exception, match=r"trust\.json: file = 'missing'") as caught:
        hub_config.load(CONFIGS / "hub.toml", [])
    assert len(getattr(caught.value, "problems", ())) == 1


@pytest.mark.system
@pytest.mark.skipif(BROKER is None, reason="mosquitto is not installed: apt-get install mosquitto")
def test_a_gateway_speaks_for_itself_only(tmp_path: Path) -> None:
    """The broker as configured, but names by password in place of certificates."""
    port, passwords = free_port(), tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw-1", "x"], check=True)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "gw-2", "x"], check=True)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
                    f"acl_file {CONFIGS / 'mosquitto.acl'}\n")
    assert BROKER is not None
    broker = subprocess.Popen([BROKER, "-c", str(conf)], stderr=subprocess.DEVNULL)
    heard: list[str] = []
    try:
        clients = {name: paho.Client(CallbackAPIVersion.VERSION2, name) for name in ("gw-1", "gw-2")}
        for name, client in clients.items():
            client.username_pw_set(name, "x")
            for _ in range(100):
                try:
                    client.connect("127.0.0.1", port)
                    break
                except OSError:
                    time.sleep(0.05)
            client.on_message = lambda c, d, message: heard.append(message.topic)
            client.loop_start()
        clients["gw-1"].subscribe([("siren/1/o/41/order", 1), ("siren/1/g/gw-1/order", 1), ("siren/1/g/gw-1/echo", 1)])
        clients["gw-1"].subscribe([("siren/1/s/#", 1), ("siren/1/g/gw-2/order", 1)])
        time.sleep(0.5)
        # Another's name, an order, and another's order channel: none is let through.
        for topic in ("siren/1/s/41/1/5/1/1/gw-1/status", "siren/1/o/41/order", "siren/1/g/gw-1/order"):
            clients["gw-2"].publish(topic, b"forged", qos=1).wait_for_publish(5)
        clients["gw-1"].publish("siren/1/g/gw-1/echo", b"me", qos=1).wait_for_publish(5)
        for _ in range(100):
            if heard:
                break
            time.sleep(0.05)
        for client in clients.values():
            client.loop_stop()
    finally:
        broker.terminate()
        broker.wait()
    assert heard == ["siren/1/g/gw-1/echo"]
