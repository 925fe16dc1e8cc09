"""How each peer is configured and started, and how it is told to write a register.

Every one gets the same: a line, units with eight holding registers to read each second, one time-out, and no retries
where it can be told so. Nothing here knows what is measured.
"""

import getpass
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

REGISTERS = 8
END_S = 5.0
"""Who has not ended by then is killed; ThingsBoard takes longer than it needs."""


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its venv, an empty folder, the line, the broker's port, the units to poll."""

    venv: Path
    folder: Path
    line: Path
    port: int
    units: tuple[int, ...]
    timeout_s: float

    @property
    def python(self) -> str:
        return str(self.venv / "bin" / "python")


@dataclass(frozen=True)
class Peer:
    """`command` prepares the folder and says what to run there; `order` is topic and payload of a write to unit 1."""

    packages: tuple[str, ...]
    command: Callable[[Place], list[str]]
    order: Callable[[int, int], tuple[str, str]]
    """(number of the order, value) -> (topic, payload)."""
    says: str
    """The topic on which it publishes what it read of unit 1: who says something there is connected and at work."""
    broker: str = ""
    """What the broker's configuration needs besides, with {folder} for its folder."""
    greeting: tuple[str, str] | None = None
    """(topic, payload) to be published again and again until it says something: an answer it waits for."""


def start(peer: Peer, place: Place, log: TextIO) -> "subprocess.Popen[bytes]":
    place.folder.mkdir()
    command = peer.command(place)
    return subprocess.Popen(command, cwd=place.folder, stdout=log, stderr=log, start_new_session=True,
                            env={**os.environ, "TB_GW_CONFIG_DIR": f"{place.folder / 'config'}/"})


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a peer and what it started: they are a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


# pymodbus and aiomqtt.


def _plain(place: Place) -> list[str]:
    script = Path(__file__).with_name("plain.py")
    return [place.python, str(script), str(place.line), str(place.port), str(place.timeout_s), *map(str, place.units)]


# modpoll.


def _modpoll(place: Place) -> list[str]:
    lines = []
    for unit in place.units:
        lines += [f"device,siren{unit},{unit},,", f"poll,holding_register,0,{REGISTERS},BE_BE"]
        lines += [f"ref,h{n},{n},uint16,rw" for n in range(REGISTERS)]
    (place.folder / "modpoll.csv").write_text("\n".join(lines) + "\n")
    # MQTT 5, because its 3.1.1 does not start with the paho that it brings.
    return [str(place.venv / "bin" / "modpoll"), "-d", "-f", "modpoll.csv", "--serial", str(place.line),
            "--serial-baud", "9600", "-r", "1", "--interval", "0.02", "--timeout", str(place.timeout_s),
            "--mqtt-version", "5.0", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(place.port), "--mqtt-qos", "1",
            "--mqtt-publish-topic-pattern", "modpoll/{{device_name}}",
            "--mqtt-subscribe-topic-pattern", "modpoll/+/set"]


# ThingsBoard's gateway.

_LIMITS = {"rateLimits": {}, "maxInflightMessages": 100, "maxPayloadSize": 65536, "gatewayRateLimits": {}}
_QUESTIONS = "v1/devices/me/rpc/request/"


def _thingsboard(place: Place) -> list[str]:
    config, run = place.folder / "config", place.folder
    config.mkdir()
    for name in ("logs", "data"):
        (run / name).mkdir()
    (found,) = place.venv.glob("lib/python3*/site-packages/thingsboard_gateway/config/logs.json")
    shutil.copy(found, config)
    slaves = [{
        "port": str(place.line), "type": "serial", "method": "rtu", "baudrate": 9600, "stopbits": 1, "bytesize": 8,
        "parity": "N", "unitId": unit, "deviceName": f"siren{unit}", "deviceType": "siren",
        "timeout": place.timeout_s, "retries": 0, "byteOrder": "BIG", "wordOrder": "BIG", "pollPeriod": 1000,
        "connectAttemptTimeMs": 1000, "connectAttemptCount": 2,
        "timeseries": [{"tag": f"h{n}", "type": "16uint", "functionCode": 3, "objectsCount": 1, "address": n}
                       for n in range(REGISTERS)],
        "attributes": [], "attributeUpdates": [],
        "rpc": [{"tag": "setH0", "type": "16uint", "functionCode": 6, "objectsCount": 1, "address": 0}],
    } for unit in place.units]
    modbus = {"name": "Modbus", "logLevel": "INFO", "master": {"slaves": slaves}}
    gateway = {
        "thingsboard": {
            "host": "127.0.0.1", "port": place.port, "remoteShell": False, "remoteConfiguration": False,
            "statistics": {"enable": True, "statsSendPeriodInSeconds": 60}, "minPackSendDelayMS": 50,
            "checkConnectorsConfigurationInSeconds": 10, "qos": 1,
            "security": {"type": "accessToken", "accessToken": "demo"},
        },
        "storage": {"type": "sqlite", "data_file_path": "./data/", "messages_ttl_check_in_hours": 1,
                    "messages_ttl_in_days": 7, "max_read_records_count": 1000},
        "grpc": {"enabled": False},
        "connectors": [{"name": "Modbus", "type": "modbus", "configuration": "modbus.json"}],
    }
    (config / "modbus.json").write_text(json.dumps(modbus))
    (config / "tb_gateway.json").write_text(json.dumps(gateway))
    return [place.python, "-m", "thingsboard_gateway.tb_gateway"]


def access() -> str:
    """ThingsBoard's server does not send back what the gateway says; a plain broker would.

    The gateway takes its own question for an answer then, and its own answer for an order.
    """
    denied = "".join(f"topic deny {_QUESTIONS}{n}\n" for n in range(1, 7))
    told = "".join(f"topic write v1/gateway/{what}\n" for what in ("connect", "disconnect", "telemetry", "attributes"))
    return f"topic readwrite #\nuser demo\n{denied}topic readwrite v1/devices/#\n{told}topic read v1/gateway/rpc\n"


PEERS = {
    "plain": Peer(
        ("pymodbus", "aiomqtt"), _plain,
        lambda n, value: ("plain/1/set", json.dumps({"address": 0, "value": value})),
        says="plain/1/words"),
    "modpoll": Peer(
        ("modpoll", "pymodbus"), _modpoll,
        lambda n, value: ("modpoll/siren1/set",
                          json.dumps({"object_type": "holding_register", "address": 0, "value": value})),
        says="modpoll/siren1"),
    "thingsboard": Peer(
        ("thingsboard-gateway", "pymodbus"), _thingsboard,
        lambda n, value: ("v1/gateway/rpc",
                          json.dumps({"device": "siren1", "data": {"id": n + 1, "method": "setH0", "params": value}})),
        says="v1/gateway/telemetry",
        # The broker keeps our user, or it could not read the list in a folder that only we may enter.
        broker=f"user {getpass.getuser()}\nacl_file {{folder}}/acl\n",
        greeting=("v1/devices/me/rpc/response/1", json.dumps(_LIMITS))),
}
