"""A city in processes: a broker, the hardware, a `sirend` for each gateway, and the resident hub.

For demos, benches and system tests: a copy of a configuration folder in a temporary place, free ports on 127.0.0.1,
readiness told by sd_notify as systemd would hear it, everything that the gateways publish kept for a judge, and
nothing left running at the end. It refuses to know what the outcome should be.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from controller import config, trust, wire
from controller.config import Config
from controller.event import Record
from controller.wire import OrderBody, Receipt
from firmware_bridge.errors import Malformed
from simulators import promises
from simulators.promises import History, Ordered

ROOT = Path(__file__).parent.parent
START_S = 30.0
"""A process that is not ready by now will not be, even on a machine that others use."""
END_S = 15.0


class DidNotStart(Exception):
    """A process of the city ended or did not become ready; the text has what it said."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say_to_people(as_json: bool) -> Callable[[str], None]:
    """Where a demo speaks, when its last line may be JSON for a program."""
    stream = sys.stderr if as_json else sys.stdout

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    return say


def exit_code(show: Callable[[], Mapping[str, Any]], say: Callable[[str], None], as_json: bool) -> int:
    """Of a demo: 0 when what it found was kept. It may fail to start, and somebody may have seen enough."""
    try:
        figures = show()
    except DidNotStart as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("中断 interrupted; 全部进程已结束 every process was ended")
        return 130
    if as_json:
        print(json.dumps(figures, ensure_ascii=False), flush=True)
    return 0 if figures["kept"] else 1


def configs_with(folder: Path, signals: Path) -> Path:
    """A copy of `configs` in `folder`; the demo's gateways and hub know the signals of this file as well."""
    out = folder / "configs"
    shutil.copytree(ROOT / "configs", out, ignore=shutil.ignore_patterns("run"))
    shutil.copy(signals, out / "signals" / signals.name)
    for file in [*(out / "demo").glob("gateway*.toml"), out / "demo" / "hub.toml"]:
        text, known = file.read_text(), '"../signals/demo.toml"'
        assert text.count(known) == 1
        file.write_text(text.replace(known, f'{known}, "../signals/{signals.name}"'))
    return out


def mosquitto() -> str | None:
    """Where it is installed, also for a user whose PATH has no sbin."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class City:
    """`with City(gateways) as city:` everything runs. `folder` holds configs, logs and journals while it does.

    `settings` are overrides by gateway file. `broker` is mosquitto, amqtt, or none (then there is no hub either);
    left out it is mosquitto where that is installed.
    """

    def __init__(self, gateways: Sequence[str] = ("gateway.toml", "gateway-2.toml", "gateway-3.toml"),
                 configs: Path = ROOT / "configs", demo: str = "demo", broker: str = "",
                 settings: Mapping[str, Sequence[str]] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="siren-city-")
        self.folder = Path(self._temporary.name)
        shutil.copytree(configs, self.folder / "configs", ignore=shutil.ignore_patterns("run"))
        self.demo = self.folder / "configs" / demo
        self.gateways = gateways
        self.port = free_port()
        self.tcp_port = free_port()
        self.broker = broker or ("mosquitto" if mosquitto() else "amqtt")
        self.settings = settings or {}
        self.messages: list[tuple[int, str, bytes]] = []
        """(wall_us, topic, payload) of all that went over the broker."""
        self.configs: list[Config] = []
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._logs: list[TextIO] = []
        self._observer: paho.Client | None = None

    @property
    def hub_arguments(self) -> list[str]:
        return ["--config", str(self.demo / "hub.toml"), "--set", f"mqtt.port={self.port}"]

    def gateway_settings(self, name: str) -> list[str]:
        settings = [f"mqtt.port={self.port}", *self.settings.get(name, ())]
        if "tcp:" in (self.demo / name).read_text():
            settings.append(f"bus[net-3].link=tcp:127.0.0.1:{self.tcp_port}")
        return settings

    def __enter__(self) -> "City":
        try:
            if self.broker != "none":
                self.start_broker()
                self._observe()
            self._start_hardware()
            for name in self.gateways:
                self.configs.append(config.load(self.demo / name, self.gateway_settings(name)))
                self.start_gateway(name)
            if self.broker != "none":
                self.start("hub", [sys.executable, "-m", "hub", "run", str(self.demo / "hub.toml"),
                                   "--set", f"mqtt.port={self.port}"])
                # Ready is not yet connected: a gateway never waits for a broker.
                self.wait_for(lambda: self._introduced() >= {c.id for c in self.configs}, "a gateway at the broker")
                self.wait_for(lambda: "broker-up" in self.said("hub"), "the hub at the broker", "hub")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # Processes.

    def start(self, name: str, command: list[str], notify: bool = False) -> subprocess.Popen[str]:
        """Start one, its words in a log of its own; with `notify`, wait until it says READY=1."""
        log = (self.folder / f"{name}.log").open("a+")
        self._logs.append(log)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            path = self.folder / f"{name}.notify"
            path.unlink(missing_ok=True)
            door.bind(str(path))
            if notify:
                environment["NOTIFY_SOCKET"] = str(path)
            process = subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment, cwd=ROOT,
                                       stdin=subprocess.DEVNULL)
            self.running[name] = process
            if notify:
                self._await_ready(name, process, door)
        return process

    def start_gateway(self, name: str) -> subprocess.Popen[str]:
        settings = [part for one in self.gateway_settings(name) for part in ("--set", one)]
        command = [sys.executable, "-m", "controller.daemon", "run", str(self.demo / name), *settings]
        return self.start(name, command, notify=True)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> int:
        """End one of ours; its exit code."""
        process = self.running.pop(name)
        process.send_signal(how)
        try:
            return process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """End everything that was started here, gateways before the broker, and remove the folder."""
        if self._observer is not None:
            self._observer.loop_stop()
            self._observer = None
        for name in reversed(list(self.running)):
            self.stop(name)
        for log in self._logs:
            log.close()
        self._logs.clear()
        self._temporary.cleanup()

    def _await_ready(self, name: str, process: subprocess.Popen[str], door: socket.socket) -> None:
        door.settimeout(0.2)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise DidNotStart(f"{name} ended with {process.returncode}:\n{self.said(name)}")
            with suppress(TimeoutError):
                if b"READY=1" in door.recv(4096):
                    return
        raise DidNotStart(f"{name} was not ready after {START_S:g} s:\n{self.said(name)}")

    def start_broker(self) -> None:
        """At the city's port, remembering nothing; also in place of one that was stopped."""
        if self.broker == "mosquitto":
            found = mosquitto()
            assert found is not None, "mosquitto is not installed"
            file = self.folder / "mosquitto.conf"
            file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
            self.start("broker", [found, "-c", str(file)])
        else:
            self.start("broker", [sys.executable, "-m", "simulators.amqtt_broker", str(self.port)])
        self.wait_for(self._broker_answers, "the broker")

    def _broker_answers(self) -> bool:
        if self.running["broker"].poll() is not None:
            raise DidNotStart(f"the broker ended:\n{self.said('broker')}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True
        return False

    def _start_hardware(self) -> None:
        settings = ["--set", f"line[net-3].port={self.tcp_port}"] if "net-3" in (
            self.demo / "site.toml").read_text(encoding="utf-8") else []
        self.start("hardware", [
            sys.executable, "-m", "simulators", "serve", str(self.demo / "site.toml"),
            "--log", str(self.folder / "sounds.jsonl"), "--frames", str(self.folder / "frames.jsonl"), *settings])
        self.wait_for(lambda: "ready" in self.said("hardware"), "the hardware", "hardware")

    def wait_for(self, condition: Callable[[], bool], what: str, name: str = "") -> None:
        """Until it holds; DidNotStart when it does not in time."""
        end = time.monotonic() + START_S
        while not condition():
            if name and self.running[name].poll() is not None:
                raise DidNotStart(f"{what} ended:\n{self.said(name)}")
            if time.monotonic() > end:
                raise DidNotStart(f"{what} was not there after {START_S:g} s\n{self.said(name) if name else ''}")
            time.sleep(0.05)

    # What a judge may look at.

    def _observe(self) -> None:
        """Keep everything that goes over the broker."""
        observer = paho.Client(CallbackAPIVersion.VERSION2, client_id="observer", protocol=paho.MQTTv311)

        def heard(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
            self.messages.append((time.time_ns() // 1000, message.topic, bytes(message.payload)))

        wanted = [f"{wire.ROOT}/s/#", f"{wire.ROOT}/o/#", f"{wire.ROOT}/h/#", wire.again_topic("+")]
        observer.on_connect = lambda client, *rest: client.subscribe([(topic, 1) for topic in wanted])
        observer.on_message = heard
        # Back before the gateways are, when a broker returns.
        observer.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        observer.connect("127.0.0.1", self.port)
        observer.loop_start()
        self._observer = observer
        self.wait_for(observer.is_connected, "the observer")

    def _introduced(self) -> set[str]:
        return {topic.split("/")[-2] for _, topic, _ in list(self.messages) if topic.endswith("/birth")}

    def receipts(self) -> list[Receipt]:
        out = []
        for _, topic, payload in list(self.messages):
            if topic.endswith("/receipt"):
                with suppress(Malformed):
                    out.append(wire.decode(Receipt, payload))
        return out

    def events(self) -> list[wire.Event]:
        return [wire.decode(wire.Event, p) for _, topic, p in list(self.messages) if topic.endswith("/event")]

    def orders(self) -> list[Ordered]:
        """Every order that went down, once, with the sirens it was for."""
        found: dict[str, OrderBody] = {}
        for _, topic, payload in list(self.messages):
            if topic.startswith(f"{wire.ROOT}/o/"):
                body = trust.peek(payload).body
                found[body.id] = body
        sirens = [(s.id, c.area_of(s), s.layer) for c in self.configs for s in c.spec.siren]
        return [Ordered(body, tuple(id for id, area, layer in sirens if body.targets(id, area, layer)))
                for body in found.values()]

    def sound_log(self) -> Iterator[dict[str, Any]]:
        for line in (self.folder / "sounds.jsonl").read_text().splitlines():
            yield json.loads(line)

    def journal(self, gateway: Config) -> list[tuple[int, Record]]:
        path = gateway.path(gateway.spec.journal.path)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT wall_us, kind, body FROM record ORDER BY n").fetchall()
        return [(wall_us, Record(kind, json.loads(body))) for wall_us, kind, body in rows]

    def history(self) -> History:
        soundings = promises.soundings(self.sound_log(), self.configs)
        return History(self.configs, self.orders(), self.receipts(), soundings,
                       {c.id: self.journal(c) for c in self.configs})

