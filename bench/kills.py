"""kill -9 of real sirends at every point of journal, bus and broker, thousands of times, and what must hold after it.

A batch is one gateway's journal: real ptys, a real mosquitto, real SQLite. In it one sirend after the other is started
with a fuse (`fuse.py`), given signed orders (drills and live warnings, at once and ahead, stops, and old orders once
more), at times a tag of a technician, and killed; the next one is what recovers. At the end one without a fuse brings
everything to its end, and `aftermath.py` judges. What is counted of crashes is removed between kills, as a boot does,
or SAFE-MIN would refuse the rest.

    .venv/bin/python -m bench.kills [--kills 2000] [--workers 4] [--out FILE]    # FILE: taken up again where it ended
"""

import argparse
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import aftermath, fuse, measure, office
from controller import wire
from controller.ctl import door
from controller.wire import Action, Mode, OrderBody, Sound
from firmware_bridge.machine import S
from hub import keys
from simulators.city import ROOT, City, configs_with

KILLS, BATCH = 2_000, 25
GATEWAYS = {"gateway.toml": ("gw-jinshui", "41/01/05", 3), "gateway-3.toml": ("gw-erqi", "41/01/03", 2)}
"""Leased relays and a latching coil behind a serial line; heads that bound themselves behind TCP."""
ONLINE_S = 10.0
"""A sirend that is not at the broker by then is killed where it stands."""
ALIVE_S = 2.5
"""How long after its orders one may live whose fuse did not burn; then it is killed at that moment."""
SETTLE_S = 60.0
"""RECOVER says 120 s; nothing here takes so long."""
FUSES = {"start": 12, "order": 8}
"""Up to so many passes of a point: most of them come in the first second."""
WRITES = 3
"""Octets are written several times as often as all else."""
SIGNERS = ("operator-1", "commander")
TAG_SHARE, TAG_S = 0.3, 1.0
"""How often a tag is hung where no point asks for it, and for how long at most."""
LEFT_SHARE = 0.5
"""How often it is left there, through the kill and for as long as the next one lives."""
DOOR_S = 3.0
"""A technician who has no answer by then goes away."""
COUNTED = ("kills", "orders", "soundings", "receipts", "tags", "through kills")
"""Of a batch: tags of which a technician was told that they hang, and those that hung through a kill."""
NOBODY, SOMEBODY = '# pi = "Li Ming"', '{user} = "Li Ming"'


def configs(folder: Path) -> Path:
    """The demo's, in `folder`, with a signal of two seconds that may sound as often as a bench needs it, and with a
    technician: who runs the bench."""
    out = configs_with(folder, ROOT / "bench" / "signals.toml")
    for file in (out / "demo").glob("gateway*.toml"):
        text = file.read_text().replace("starts_per_hour = 60", "starts_per_hour = 600")
        assert text.count(NOBODY) == 1, file
        file.write_text(text.replace(NOBODY, SOMEBODY.format(user=pwd.getpwuid(os.getuid()).pw_name)))
    return out


@contextmanager
def city(gateway: str) -> Iterator[City]:
    """One gateway's site and broker, and no sirend yet."""
    with (tempfile.TemporaryDirectory() as folder,
          City([gateway], configs(Path(folder)), broker="mosquitto") as city):
        city.stop(gateway)
        city.stop("hub")
        yield city


class Batch:
    """So many kills of one gateway. Everything that is chosen is chosen by the seed."""

    def __init__(self, city: City, gateway: str, seed: int, said: bool = False, alive_s: float = ALIVE_S) -> None:
        self._city, self._file = city, gateway
        self._alive_s = alive_s
        self._deck: list[str] = []
        """Points that are still to come before any comes again."""
        self._id, self._area, _ = GATEWAYS[gateway]
        self._chance = Random(seed)
        self._hand = Random(-seed)
        """The technician's, so that the rest of a batch stays what it was without him."""
        self._tagged = ""
        """The siren on which his tag may hang."""
        self._hangs_us: int | None = None
        """When he was told that it hangs; None: he was not, or has asked for its coming off since."""
        self.tags: list[aftermath.Tagged] = []
        self._said = said
        self._keys = {name: keys.load_key(city.demo / "keys" / f"{name}.jwk") for name in SIGNERS}
        self._digest = city.configs[0].signals.digest("kill-two")
        self._sent: list[tuple[str, str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"operator-{seed}", protocol=paho.MQTTv311)
        self._client.connect("127.0.0.1", city.port)
        self._client.loop_start()
        self._log = city.folder / "sirend.log"
        self._forker = subprocess.Popen([sys.executable, "-c", "from bench import fuse; fuse.serve()"], cwd=ROOT,
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._pid = 0
        self._before = 0
        self.kills_us: list[int] = []
        self.points: Counter[str] = Counter()

    def kill_once(self) -> None:
        """Start one, give it something to do, and wait for its end."""
        chance = self._chance
        if not self._deck:
            self._deck = chance.sample(fuse.POINTS, len(fuse.POINTS))
        point, since = self._deck.pop(), chance.choice(fuse.SINCE)
        n = chance.randint(1, FUSES[since] * (WRITES if point.startswith(("write", "send", "handled")) else 1))
        if beside := point.startswith("beside"):
            # Two records of a tag go into that file: that it hangs, and that it is off.
            n = 1 + n % 2
        self._start((point, n, since))
        self._until(lambda: not self.alive or self._online(), ONLINE_S)
        self._give()
        hangs, leaves = self._hand.random() < TAG_SHARE, self._hand.random() < LEFT_SHARE
        self._lock_out(beside or hangs, leaves and not beside)
        self._until(lambda: not self.alive, self._alive_s * chance.uniform(0.5, 1))
        burnt = not self.alive
        self.end(signal.SIGKILL)
        self.kills_us.append(time.time_ns() // 1000)
        self.points[point if burnt else "any moment"] += 1
        if self._said:
            print(f"{point} {n} since {since}: {'burnt' if burnt else 'killed'}", flush=True)

    def settle(self) -> dict[str, list[str]]:
        """One that is not killed ends everything; then what was broken."""
        city = self._city
        self._start(None)
        self._until(self._online, ONLINE_S)
        self._lock_out(wanted=False, leaves=False)
        # The hub sends again what has no answer; so do we.
        end = time.monotonic() + SETTLE_S
        while not aftermath.settled(city, self._id, city.orders(), city.receipts()) and time.monotonic() < end:
            left = aftermath.unanswered(city.orders(), city.receipts())
            for id, topic, payload in self._sent:
                if id in left:
                    self._client.publish(topic, payload, qos=1)
            self._until(lambda: aftermath.settled(city, self._id, city.orders(), city.receipts()), 3)
        self._until(lambda: all(s.off_wall_us is not None for s in city.history().soundings), 10)
        self.end(signal.SIGTERM)
        broken = aftermath.judge(city, self._id, self.kills_us, self.tags)
        if '"crash"' in self._log.read_text():
            broken["CRASH"] = [self._log.read_text()[-2000:]]
        return broken

    @property
    def alive(self) -> bool:
        return self._pid != 0 and Path(f"/proc/{self._pid}").exists()

    def end(self, how: signal.Signals) -> None:
        """End the sirend that runs, if one does."""
        with suppress(ProcessLookupError):
            if self.alive:
                os.kill(self._pid, how)
        self._until(lambda: not self.alive, 10)
        self._pid = 0

    def close(self) -> None:
        self.end(signal.SIGKILL)
        self._client.loop_stop()
        self._forker.terminate()
        self._forker.wait()

    def _start(self, wanted: tuple[str, int, str] | None) -> None:
        run = self._city.demo / "run"
        for ending in ("crashes", "mark"):
            for path in run.glob(f"*.{ending}"):
                path.unlink()
        self._before = len(self._city.messages)
        settings = [part for one in self._city.gateway_settings(self._file) for part in ("--set", one)]
        wish = {"fuse": wanted, "arguments": ["run", str(self._city.demo / self._file), *settings],
                "log": str(self._log)}
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(json.dumps(wish) + "\n")
        self._forker.stdin.flush()
        self._pid = int(self._forker.stdout.readline())

    def _online(self) -> bool:
        return any(topic.endswith(f"/{self._id}/status") and b'"online"' in payload
                   for _, topic, payload in self._city.messages[self._before:])

    def _until(self, holds: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:
            time.sleep(0.02)

    # The technician.

    def _lock_out(self, wanted: bool, leaves: bool) -> None:
        """A tag hung, and taken off again or left there; so with one that hangs since before a kill. Who has had no
        answer hangs it again."""
        if wanted and self._hangs_us is None:
            self._tagged = self._tagged or self._hand.choice(self._city.configs[0].spec.siren).id
            self._ask("tag", self._tagged)
        if self._tagged and not leaves:
            self._take_off()

    def _take_off(self) -> None:
        self._until(lambda: not self.alive, self._hand.uniform(0, TAG_S))
        self._ask("untag", self._tagged)

    def _ask(self, verb: str, siren: str) -> None:
        config = self._city.configs[0]
        if verb == "untag" and self._hangs_us is not None:
            # From now on it may be off, whatever is answered.
            self.tags.append(aftermath.Tagged(siren, self._hangs_us, time.time_ns() // 1000))
            self._hangs_us = None
        # Who is killed hangs up, or is not there.
        with suppress(door.NoGateway, ValueError):
            (*_, last) = door.ask(config.path(config.spec.local.socket), verb, {"siren": siren, "reason": "bench"},
                                  DOOR_S)
            if verb == "untag" and not last.get("sirens", {}).get(siren, {}).get("tags"):
                self._tagged = ""
            if verb == "tag" and "error" not in last:
                self._hangs_us = time.time_ns() // 1000

    # Orders.

    def _give(self) -> None:
        chance = self._chance
        if self._sent and chance.random() < 0.5:
            # What was ordered before comes once more, as a hub or a broker would bring it.
            for _, topic, payload in self._sent[-5:]:
                self._client.publish(topic, payload, qos=1)
        kind = chance.random()
        if kind < 0.9:
            live, ahead = chance.random() < 0.4, chance.random() < 0.6
            self._order(Action.SOUND, Mode.LIVE if live else Mode.DRILL, chance.uniform(0.3, 1.2) if ahead else None)
        if kind > 0.75:
            time.sleep(chance.uniform(0, 1.0))
            self._order(Action.STOP, Mode.LIVE, None)

    def _order(self, action: Action, mode: Mode, start_in_s: float | None) -> None:
        now_us = time.time_ns() // 1000
        start_us = None if start_in_s is None else now_us + round(start_in_s * S)
        sound = None
        if action is Action.SOUND:
            sound = Sound(name="kill-two", digest=self._digest,
                          start_at=None if start_us is None else wire.to_text(start_us, 6))
        body = OrderBody(
            v=1, id=uuid.UUID(int=self._chance.getrandbits(128)).hex, deployment="demo", issuer="bench",
            issued_at=wire.to_text(now_us), not_before=wire.to_text(now_us - S),
            expires_at=wire.to_text((start_us or now_us) + 20 * S), area=self._area, action=action, mode=mode,
            sound=sound, sequence=len(self._sent) + 1, trust_version=1)
        body = office.prepared(body, *self._city.configs)
        signers = SIGNERS if mode is Mode.LIVE else SIGNERS[:1]
        payload = keys.sign(body, [self._keys[name] for name in signers])
        topic = wire.order_topic(self._area, action is Action.STOP)
        self._sent.append((body.id, topic, payload))
        self._client.publish(topic, payload, qos=1)


def batch(seed: int, kills: int, said: bool = False, alive_s: float = ALIVE_S) -> dict[str, Any]:
    """One batch, from nothing to its judgement."""
    gateway = list(GATEWAYS)[seed % len(GATEWAYS)]
    with city(gateway) as here:
        run = Batch(here, gateway, seed, said, alive_s)
        try:
            for _ in range(kills):
                run.kill_once()
            broken = run.settle()
        finally:
            run.close()
        soundings, receipts = len(here.history().soundings), len({(r.gateway, r.seq) for r in here.receipts()})
        out = {"batch": seed, "gateway": gateway, "kills": len(run.kills_us), "points": dict(run.points),
               "orders": len(here.orders()), "soundings": soundings, "receipts": receipts, "tags": len(run.tags),
               "through kills": sum(any(t.since_us < at < t.until_us for at in run.kills_us) for t in run.tags),
               "broken": broken}
        if broken:
            kept = Path(tempfile.mkdtemp(prefix=f"siren-kills-{seed}-"))
            shutil.copytree(here.folder, kept, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.sock", "line-*", "*.notify"))
            with (kept / "messages.jsonl").open("w") as file:
                for wall_us, topic, payload in here.messages:
                    file.write(json.dumps([wall_us, topic, payload.decode(errors="replace")]) + "\n")
            (kept / "kills.json").write_text(json.dumps(run.kills_us))
            out["kept"] = str(kept)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch")
    parser.add_argument("--out", type=Path, help="a line a batch; what is in it already is not done again")
    parser.add_argument("--batch", type=int, help="only this one, and tell of each kill")
    options = parser.parse_args()
    if options.batch is not None:
        print(json.dumps(batch(options.batch, min(BATCH, options.kills), said=True), ensure_ascii=False))
        return
    done: dict[int, dict[str, Any]] = {}
    if options.out is not None and options.out.exists():
        done = {one["batch"]: one for one in map(json.loads, options.out.read_text().splitlines())}
    seeds = range(options.seed, options.seed + -(-options.kills // BATCH))
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(batch, seed, BATCH): seed for seed in seeds if seed not in done}
        for future in as_completed(waiting):
            seed = waiting[future]
            try:
                one = future.result()
            except Exception as error:  # a batch that could not be run is no batch: it is told, and counts as broken
                one = {"batch": seed, **dict.fromkeys(COUNTED, 0), "points": {},
                       "broken": {"RUN": [f"{type(error).__name__}: {error}"[:2000]]}}
            done[seed] = one
            print(json.dumps(one, ensure_ascii=False), flush=True)
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps(one, ensure_ascii=False) + "\n")
    mine = [done[seed] for seed in seeds if seed in done]
    points: Counter[str] = Counter()
    for one in mine:
        points.update(one["points"])
    broken = {str(one["batch"]): one["broken"] for one in mine if one["broken"]}
    totals = {name: sum(one[name] for one in mine) for name in COUNTED}
    measure.report({**totals, "batches": len(mine), "points": dict(sorted(points.items())), "broken": broken,
                    "minutes": round((time.monotonic() - began) / 60, 1)},
                   {f"kills >= {options.kills}": totals["kills"] >= options.kills, "nothing broken": not broken,
                    # In a few batches one may have had no chance.
                    **({"every point burnt": set(points) >= set(fuse.POINTS)} if options.kills >= KILLS else {})})


if __name__ == "__main__":
    main()
