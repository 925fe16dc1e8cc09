"""Certificates, keys and passwords: each wrong file is told, with its key and remedy, before anything starts."""

import asyncio
import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from controller import broker, certificate, daemon, mqtt
from controller.broker import MqttSection
from controller.event import BrokerDown
from controller.mqtt import FromBroker
from firmware_bridge.errors import BadDocument
from hub import __main__ as command
from hub import config as hub_config
from hub import connection
from tests.transport.authority import DAY, Authority, now
from tests.transport.bench_tls import DEMO, SECTION, tls_settings


def problems(authority: Authority, **more: object) -> list[str]:
    section = MqttSection.model_validate({**SECTION, **more})
    found = broker.contradictions(section, "gateway.toml")
    found += certificate.wrong_files(section, authority.folder, "gateway.toml", now(), "gw-1")
    return [str(p) for p in found]


def put_password(folder: Path, said: bytes, mode: int = 0o600) -> dict[str, str]:
    """A password file; the section's key for it."""
    (folder / "password").write_bytes(said)
    (folder / "password").chmod(mode)
    return {"password_file": "password"}


def test_files_that_are_in_order_are_no_problem(authority: Authority) -> None:
    authority.issue("gw-1")
    assert problems(authority) == []
    whole = authority.folder / "whole.pem"
    whole.write_bytes((authority.folder / "gw-1.pem").read_bytes() + (authority.folder / "gw-1.key").read_bytes())
    whole.chmod(0o600)
    assert problems(authority, cert_file="whole.pem", key_file=None) == []
    (authority.folder / "gw-1.key").chmod(0o640)  # root:siren
    assert problems(authority) == []


@pytest.mark.parametrize(("damage", "said"), [
    ("no ca", "mqtt.ca_file = 'none.pem': there is no"),
    ("no cert", "mqtt.cert_file = 'none.pem': there is no"),
    ("no key", "mqtt.key_file = 'none.key': there is no"),
    ("ca is a key", "mqtt.ca_file = 'gw-1.key': is no certificate"),
    ("cert is a key", "mqtt.cert_file = 'gw-1.key': is no certificate"),
    ("key is a cert", "mqtt.key_file = 'gw-1.pem': is no private key"),
    ("other key", "mqtt.key_file = 'broker.key': is not the key of cert_file"),
    ("locked key", "mqtt.key_file = 'gw-1.key': has a passphrase"),
    ("open key", "mqtt.key_file = 'gw-1.key': is open to others (0644): chmod 0640 "),
    ("group may write", "mqtt.key_file = 'gw-1.key': is open to others (0660): chmod 0640 "),
    ("open password", "mqtt.password_file = 'password': is open to others (0604): chmod 0640 "),
    ("no password", "mqtt.password_file = 'none': there is no"),
    ("password of another time", "mqtt.password_file = 'password': is no text in UTF-8; write it anew"),
    ("endless password", "mqtt.password_file = 'password': is longer than the 65535 bytes that MQTT takes"),
    ("name with two dots", "mqtt.host = 'broker..city.cn': is no name that a network knows"),
    ("name with a dot first", "mqtt.host = '.city.cn': is no name that a network knows"),
    ("no name", "mqtt.host = '': is no name that a network knows"),
    ("ended", "mqtt.cert_file = 'gw-1.pem': ended on"),
    ("not begun", "mqtt.cert_file = 'gw-1.pem': begins only on"),
    ("other name", "mqtt.cert_file = 'broker.pem': is the certificate of broker, and we are gw-1"),
    ("ca ended", "mqtt.ca_file = 'gw-9.pem': ended on"),
    ("plain text", "mqtt.tls = False: plain text goes nowhere but to this machine, and hub.example is another"),
    ("no tls", "mqtt.ca_file = 'gateways-ca.pem': is not used without TLS; say tls = true"),
    ("key alone", "mqtt.key_file = 'gw-1.key': is a key without its certificate"),
    ("a folder", "mqtt.key_file = '.': . cannot be read"),
])
def test_each_wrong_file_is_named_with_its_key_and_remedy(authority: Authority, damage: str, said: str) -> None:
    folder, more = authority.folder, {}
    match damage:
        case "ended":
            authority.issue("gw-1", ends=-DAY / 2)
        case "not begun":
            authority.issue("gw-1", begins=DAY / 2)
        case "ca ended":
            authority.issue("gw-9", ends=-DAY / 2)
            authority.issue("gw-1")
            more = {"ca_file": "gw-9.pem"}
        case _:
            authority.issue("gw-1")
    key = folder / "gw-1.key"
    match damage:
        case "no ca":
            more = {"ca_file": "none.pem"}
        case "no cert":
            more = {"cert_file": "none.pem"}
        case "no key":
            more = {"key_file": "none.key"}
        case "ca is a key":
            more = {"ca_file": "gw-1.key"}
        case "cert is a key":
            more = {"cert_file": "gw-1.key"}
        case "key is a cert":
            (folder / "gw-1.pem").chmod(0o600)
            more = {"key_file": "gw-1.pem"}
        case "other key":
            more = {"key_file": "broker.key"}
        case "locked key":
            plain = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        case "open key":
            key.chmod(0o644)
        case "group may write":
            key.chmod(0o660)
        case "open password":
            more = put_password(folder, b"x", mode=0o604)
        case "no password":
            more = {"password_file": "none", "tls": False, "ca_file": None, "cert_file": None, "key_file": None}
        case "password of another time":
            more = put_password(folder, "mot de passe: café".encode("latin-1"))
        case "endless password":
            more = put_password(folder, b"x" * 65536)
        case "name with two dots":
            more = {"host": "broker..city.cn"}
        case "name with a dot first":
            more = {"host": ".city.cn"}
        case "no name":
            more = {"host": ""}
        case "other name":
            more = {"cert_file": "broker.pem", "key_file": "broker.key"}
        case "plain text":
            more = {"tls": False, "ca_file": None, "cert_file": None, "key_file": None, "host": "hub.example"}
        case "no tls":
            more = {"tls": False, "cert_file": None, "key_file": None}
        case "key alone":
            more = {"cert_file": None}
        case "a folder":
            more = {"key_file": "."}
    assert any(said.replace(" '.': . ", f" '.': {folder} ") in p for p in problems(authority, **more)), problems(
        authority, **more)
    assert all(p.startswith("gateway.toml: mqtt.") for p in problems(authority, **more))


def test_sirend_check_names_the_files_and_run_goes_on(
    authority: Authority, capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [part for one in tls_settings(authority.folder, "gw-jinshui") for part in ("--set", one)]
    with pytest.raises(SystemExit) as ended:
        daemon.main(["check", str(DEMO / "gateway.toml"), *settings])
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert "gateway.toml: mqtt.cert_file = " in err
    assert "gateway.toml: mqtt.key_file = " in err
    authority.issue("gw-jinshui")
    with pytest.raises(SystemExit) as ended:
        daemon.main(["check", str(DEMO / "gateway.toml"), *settings])
    assert ended.value.code == 0
    with pytest.raises(BadDocument, match="say tls = true"):
        daemon.load(DEMO / "gateway.toml", ["mqtt.ca_file=x.pem"])


def test_the_hub_names_the_files_and_starts_nothing(
    authority: Authority, capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [part for one in tls_settings(authority.folder, "duty-1") for part in ("--set", one)]
    for verb in ("check", "run", "fleet"):
        assert command.main([verb, "--config", str(DEMO / "hub.toml"), *settings]) == 2
        out, err = capsys.readouterr()
        assert "hub.toml: mqtt.cert_file = " in err
        assert out == ""
    authority.issue("duty-1")
    assert command.main(["check", "--config", str(DEMO / "hub.toml"), *settings]) == 0
    # A person's certificate is not the resident hub's.
    assert command.main(["run", "--config", str(DEMO / "hub.toml"), *settings]) == 2
    assert "is the certificate of duty-1, and we are hub-demo-hub" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_to_this_machine_plain_text_may_go(host: str) -> None:
    assert broker.contradictions(MqttSection(host=host), "x.toml") == []


@pytest.mark.parametrize("host", ["10.0.0.1", "hub.example", "0.0.0.0", "::", "localhost.example"])
def test_to_another_it_may_not(host: str) -> None:
    assert [p.key for p in broker.contradictions(MqttSection(host=host), "x.toml")] == ["mqtt.tls"]


def test_the_time_of_a_certificate_is_judged_by_the_clock_that_is_given(authority: Authority) -> None:
    authority.issue("gw-1")
    section = MqttSection.model_validate(SECTION)
    boot = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    found = certificate.wrong_files(section, authority.folder, "gateway.toml", boot, "gw-1")
    assert ["set the clock, or wait" in str(p) for p in found] == [True]


@pytest.mark.parametrize("host", ["hub.example", "hub.example.", "警报.中国", "2001:db8::1", "fe80::1%eth0", "a" * 63])
def test_names_that_a_network_may_know(host: str) -> None:
    assert broker.contradictions(MqttSection(host=host, tls=True), "x.toml") == []


@pytest.mark.parametrize("password", [b"caf\xe9\n", b"x" * 65536])
async def test_a_password_that_cannot_be_said_is_told_at_every_attempt_and_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: bytes,
) -> None:
    monkeypatch.setattr(mqtt, "BACK_OFF_S", (0.01, 0.01))
    monkeypatch.setattr(connection, "BACK_OFF_S", (0.01,))
    (tmp_path / "pw").write_bytes(password)
    told: dict[str, list[str]] = {"gateway": [], "hub": []}
    enough = asyncio.Event()

    def tell(who: str, why: str) -> None:
        told[who].append(why)
        if all(len(whys) >= 2 for whys in told.values()):
            enough.set()

    def came(event: FromBroker) -> None:
        assert isinstance(event, BrokerDown)
        tell("gateway", event.why)

    # No broker is needed: there is nothing to say to one.
    section = MqttSection(host="127.0.0.1", port=1, username="gw-1", password_file="pw")
    gateway = mqtt.Mqtt(section, tmp_path, "gw-1", ("a",), "echo", None, came)
    loaded = hub_config.load(DEMO / "hub.toml", [f"mqtt.password_file={tmp_path / 'pw'}", "mqtt.port=1"])
    hub = connection.Connection(loaded, "hub", False, (), lambda *_: None, lambda up, why: tell("hub", why))
    tasks = [asyncio.create_task(gateway.run()), asyncio.create_task(hub.run())]
    ended = asyncio.create_task(enough.wait())
    await asyncio.wait({*tasks, ended}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in tasks] == [False, False]
    for whys in told.values():
        assert f"{tmp_path / 'pw'}: is " in whys[-1]
    for task in (*tasks, ended):
        task.cancel()
    await asyncio.gather(*tasks, ended, return_exceptions=True)
