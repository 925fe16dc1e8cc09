"""A whole gateway for a bench: broker, hardware and one real `sirend`, each a process of its own, in one folder.

`with Rig("line") as rig:` plays `line_site.toml` and runs a sirend on `line_gateway.toml`. Orders are signed with the
demo keys as an operator's client does it, and go through the broker as any client's would.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import office
from bench.site import ROOT, Site
from controller import config, wire
from controller import signal as signals
from controller.wire import Action, Mode, OrderBody, Receipt, Sound
from firmware_bridge.machine import S
from hub import keys
from simulators.city import free_port, mosquitto

READY_S = 30.0
"""A process that is not ready by now will not be."""
END_S = 15.0
SIGNAL = "bench-blip"
WINDOW_US = 60 * S
"""How long after its start an order may begin: a bench counts what is late, it does not refuse it."""
DEMO = ROOT / "configs" / "demo"


class Rig:
    """Everything runs inside `with`. `receipts` is what the gateway answered, `frames` what it put on the lines."""

    def __init__(self, name: str, nice: int = 0, settings: list[str] | None = None) -> None:
        """`settings` change the site: what `siren-sim serve --set` takes."""
        bench = Path(__file__).parent
        self.site = Site(bench / f"{name}_site.toml", settings)
        self.gateway = self.site.file.with_name(f"{name}_gateway.toml")
        self.receipts: list[Receipt] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench", protocol=paho.MQTTv311)
        self._port = free_port()
        self._key = keys.load_key(DEMO / "keys" / "operator-1.jwk")
        self._config = config.load(self.gateway, [f"trust.list={DEMO / 'trust.json'}"])
        self._digest = signals.load([bench / "signals.toml"]).digest(SIGNAL)
        self._nice = nice
        self._sequence = 0
        self._stack = ExitStack()
        self._log: TextIO | None = None

    def __enter__(self) -> "Rig":
        with ExitStack() as stack:
            stack.enter_context(self.site)
            self._log = stack.enter_context((self.site.folder / "log").open("a+"))
            broker = start_broker(self.site.folder, self._port, self._log)
            stack.callback(end, broker)
            self.client.on_connect = lambda client, *rest: client.subscribe(f"{wire.ROOT}/s/#", 1)
            self.client.on_message = self._heard
            self.client.connect("127.0.0.1", self._port)
            self.client.loop_start()
            stack.callback(self.client.loop_stop)
            self.sirend, self.ready_s = self.start_sirend()
            stack.callback(lambda: end(self.sirend))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is not None and self._log is not None:
            self._log.seek(0)
            print(self._log.read()[-4000:], file=sys.stderr)
        self._stack.close()

    def start_sirend(self) -> tuple["subprocess.Popen[bytes]", float]:
        """Start it as systemd would; the process, and seconds from there to READY=1."""
        settings = [f"mqtt.port={self._port}", f"trust.list={DEMO / 'trust.json'}"]
        command = ["nice", "-n", str(self._nice)] if self._nice else []
        command += [sys.executable, "-m", "controller.daemon", "run", str(self.gateway)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            place = self.site.folder / "notify"
            place.unlink(missing_ok=True)
            door.bind(str(place))
            door.settimeout(READY_S)
            began = time.monotonic()
            process = subprocess.Popen([*command, *(part for one in settings for part in ("--set", one))],
                                       stdout=self._log, stderr=self._log, cwd=ROOT,
                                       env={**os.environ, "NOTIFY_SOCKET": str(place)})
            try:
                while b"READY=1" not in door.recv(4096):
                    pass
            except TimeoutError:
                end(process)
                raise SystemExit(f"bench: sirend was not ready after {READY_S:g} s") from None
            return process, time.monotonic() - began

    def restart_sirend(self) -> float:
        """End it and start it anew; seconds from start to READY=1."""
        end(self.sirend)
        self.sirend, self.ready_s = self.start_sirend()
        return self.ready_s

    def _heard(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/receipt"):
            self.receipts.append(wire.decode(Receipt, bytes(message.payload)))

    # Orders.

    def order(self, siren: str, start_us: int | None = None) -> tuple[str, bytes]:
        """The id and the signed bytes of a drill for one siren; `start_us` is its ordered wall instant."""
        self._sequence += 1
        wall_us = time.time_ns() // 1000
        sound = Sound(name=SIGNAL, digest=self._digest, start_at=wire.to_text(start_us, 6) if start_us else None)
        body = OrderBody(
            v=1, id=uuid.uuid4().hex, deployment="demo", issuer="bench", issued_at=wire.to_text(wall_us),
            not_before=wire.to_text(wall_us - S), expires_at=wire.to_text((start_us or wall_us) + WINDOW_US),
            area="41/01", sirens=(siren,), action=Action.SOUND, mode=Mode.DRILL, sound=sound,
            sequence=self._sequence, trust_version=1)
        body = office.prepared(body, self._config)
        return body.id, keys.sign(body, [self._key])

    def publish(self, order: bytes) -> int:
        """Hand it to the broker; the instant just before, on CLOCK_MONOTONIC."""
        at_us = time.monotonic_ns() // 1000
        self.client.publish(wire.order_topic("41/01", stop=False), order, qos=1)
        return at_us


def start_broker(folder: Path, port: int, log: TextIO | None, more: str = "") -> "subprocess.Popen[bytes]":
    """mosquitto on this port of our own host, without a disk; `more` is added to its configuration."""
    found = mosquitto()
    if found is None:
        raise SystemExit("bench: no mosquitto; apt-get install mosquitto")
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{more}")
    process = subprocess.Popen([found, "-c", str(file)], stdout=log, stderr=log)
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return process
        time.sleep(0.05)
    end(process)
    raise SystemExit("bench: mosquitto does not answer")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End one that was started here."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Memory of a process that is in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def load() -> float:
    """Processes that wanted to run, on the average of the last minute: what the neighbours do here."""
    return os.getloadavg()[0]
