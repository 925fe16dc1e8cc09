"""A thousand reconnects through a proxy that fails as networks do, each proved from end to end: no session stays deaf.

A real sirend, a real mosquitto, and `proxy.py` between them: the connection is cut or reset, swallowed one way or both,
held back, cut in the middle of the handshake, refused; the broker is killed. After each, a signed stop is sent by way
of the broker, and its receipt has to come back: that a client is connected and says so proves nothing. The stops are
new ones, so none of the answers can be an old one.

sirend's own times (how long it pauses between attempts, how often it listens to its own echo, how long it believes in a
connection) are a tenth of what they are in the field, or a thousand would take a day; `--field` leaves them.

    .venv/bin/python -m bench.reconnects [--reconnects 1000] [--workers 4] [--field]
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import measure, rig
from bench.proxy import Proxy
from bench.site import ROOT
from controller import wire
from controller.wire import Action, Mode, OrderBody, Receipt
from firmware_bridge.machine import S
from hub import keys
from simulators.city import free_port

RECONNECTS = 1_000
QUICK = """
from controller import mqtt
mqtt.BACK_OFF_S, mqtt.SETTLED_S, mqtt.CONNECT_S = (0.05, 1.0), 1.0, 1.0
mqtt.ECHO_S, mqtt.DEAF_S, mqtt.CONFIRM_S = 0.8, 2.4, 2.0
"""
FIELD_S, QUICK_S = 60.0, 20.0
"""Within this a connection that failed is found out, and another one is there and proved."""
PROBE_S = 1.0
"""A stop that has no answer by then is sent anew."""
FAILURES = ("close", "reset", "hole", "deaf", "mute", "held", "handshake", "refused", "broker")
WEIGHTS = (6, 6, 2, 2, 2, 3, 6, 3, 1)
GATEWAY, AREA = "gw-erqi", "41/01/03"


class Net:
    """A broker, a proxy, a sirend behind it, and an operator at the broker's own port."""

    def __init__(self, folder: Path, field: bool) -> None:
        shutil.copytree(ROOT / "configs", folder / "configs", ignore=shutil.ignore_patterns("run"))
        self._folder = folder
        self._port = free_port()
        self.log = (folder / "log").open("a+")
        self._broker = rig.start_broker(folder, self._port, self.log)
        self.proxy = Proxy(self._port)
        self._births = 0
        self.receipts: set[str] = set()
        self._key = keys.load_key(rig.DEMO / "keys" / "operator-1.jwk")
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="operator", protocol=paho.MQTTv311)
        self._client.on_connect = lambda client, *rest: client.subscribe(f"{wire.ROOT}/s/#", 1)
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        program = ("" if field else QUICK) + "\nfrom controller import daemon\ndaemon.main()"
        self.sirend = subprocess.Popen(
            [sys.executable, "-c", program, "run", str(folder / "configs" / "demo" / "gateway-3.toml"), "--set",
             f"mqtt.port={self.proxy.port}", "--set", f"bus[net-3].link=tcp:127.0.0.1:{free_port()}"],
            cwd=ROOT, stdout=self.log, stderr=self.log)

    def close(self) -> None:
        rig.end(self.sirend)
        self._client.loop_stop()
        self.proxy.close()
        rig.end(self._broker)
        self.log.close()

    def kill_broker(self) -> None:
        self._broker.send_signal(signal.SIGKILL)
        self._broker.wait()
        self._broker = rig.start_broker(self._folder, self._port, self.log)

    def _heard(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/birth"):
            self._births += 1
        elif message.topic.endswith("/receipt"):
            self.receipts.add(wire.decode(Receipt, bytes(message.payload)).order)

    def probe(self, patience_s: float) -> tuple[float, int]:
        """Seconds until a stop was answered, and how many it took; infinity when none was."""
        began, tries = time.monotonic(), 0
        while time.monotonic() - began < patience_s:
            tries += 1
            id = self._stop()
            if until(partial(self.receipts.__contains__, id), PROBE_S):
                return time.monotonic() - began, tries
        return float("inf"), tries

    def _stop(self) -> str:
        at = time.time_ns() // 1000
        body = OrderBody(
            v=1, id=uuid.uuid4().hex, deployment="demo", issuer="bench", issued_at=wire.to_text(at),
            not_before=wire.to_text(at - S), expires_at=wire.to_text(at + 60 * S), area=AREA, action=Action.STOP,
            mode=Mode.DRILL, sequence=1, trust_version=1)
        self._client.publish(wire.order_topic(AREA, stop=True), keys.sign(body, [self._key]), qos=1)
        return body.id


def until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def fail(net: Net, failure: str, chance: Random) -> None:
    """Something happens to the connection that is there, or to that and the next ones."""
    if failure == "broker":
        net.kill_broker()
        return
    if failure == "handshake":
        net.proxy.cut_next(*(chance.randint(1, 40) for _ in range(chance.randint(1, 3))))
    elif failure == "refused":
        net.proxy.cut_next(*[0] * chance.randint(1, 4))
    for one in net.proxy.there:
        match failure:
            case "hole":
                one.up = one.down = False
            case "deaf":
                one.down = False
            case "mute":
                one.up = False
            case "held":
                one.hold_s = chance.uniform(0.1, 0.5)
                time.sleep(chance.uniform(0, 1))
                one.over = "reset"
            case "close":
                one.over = "close"
            case _:
                one.over = "reset"


def work(seed: int, reconnects: int, field: bool) -> dict[str, Any]:
    chance = Random(seed)
    patience_s = FIELD_S if field else QUICK_S
    took: list[float] = []
    stops, deaf, kinds, connections = 0, [], Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        net = Net(Path(folder), field)
        try:
            first, _ = net.probe(rig.READY_S)
            assert first != float("inf"), "no answer to the first stop"
            for n in range(reconnects):
                before = net.proxy.accepted
                failure = chance.choices(FAILURES, WEIGHTS)[0]
                kinds[failure] += 1
                began = time.monotonic()
                fail(net, failure, chance)
                again = until(lambda: net.proxy.accepted > before, patience_s)  # noqa: B023
                seconds, tries = net.probe(patience_s)
                stops += tries
                took.append(time.monotonic() - began)
                if not again or seconds == float("inf"):
                    deaf.append({"n": n, "seed": seed, "failure": failure, "connected_again": again})
                    break
            connections = net.proxy.accepted
            fds, rss = len(list(Path(f"/proc/{net.sirend.pid}/fd").iterdir())), rig.rss_mib(net.sirend.pid)
        finally:
            net.close()
        said = Path(folder, "log").read_text()
    return {"took": took, "stops": stops, "deaf": deaf, "kinds": dict(kinds), "connections": connections, "fds": fds,
            "rss": round(rss, 1), "crash": '"crash"' in said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reconnects", type=int, default=RECONNECTS)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--field", action="store_true", help="with the times of the field")
    options = parser.parse_args()
    each = -(-options.reconnects // options.workers)
    with ProcessPoolExecutor(options.workers) as pool:
        found = list(pool.map(work, range(options.seed, options.seed + options.workers), [each] * options.workers,
                              [options.field] * options.workers))
    kinds: Counter[str] = Counter()
    for one in found:
        kinds.update(one["kinds"])
    took = [seconds for one in found for seconds in one["took"]]
    deaf = [d for one in found for d in one["deaf"]]
    measure.report({"reconnects": len(took), "connections": sum(one["connections"] for one in found),
                    "kinds": dict(sorted(kinds.items())), "proved_s": measure.summary(took),
                    "stops": sum(one["stops"] for one in found), "deaf": deaf,
                    "fds_at_end": [one["fds"] for one in found], "rss_mib_at_end": [one["rss"] for one in found],
                    "times": "the field's" if options.field else "a tenth", "load": round(rig.load(), 2)},
                   {f"reconnects >= {options.reconnects}": len(took) >= options.reconnects, "none deaf": not deaf,
                    "no crash": not any(one["crash"] for one in found)})


if __name__ == "__main__":
    main()
