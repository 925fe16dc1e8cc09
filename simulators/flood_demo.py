"""`make demo-flood`: a storm in two minutes at one underpass, from the gauges to the sign and the siren, and the proof.

A gateway with three gauges, a sign, a beacon, a boom, a voice and a siren on three real lines, a broker and a hub. The
water rises 45 cm a minute; a live curve shows what it truly does, what the gateway makes of it, and what it does
because of it, with nobody asking. Then what happened is judged by the devices' own log, and exported from the journal.
Ends by itself, leaves nothing running; exit 0 only when the road warned in time and no siren sounded for nothing.

两分钟演示一场暴雨：三种水位计、诱导屏、警灯、道闸、语音、警报器；现场自动处置，事后由设备自身的记录核对。
"""

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import config, floods, wire
from controller.wire import Event, State
from hub import keys
from simulators.city import ROOT, City, DidNotStart, exit_code, say_to_people
from simulators.staff import Seen, picture

SPOT, GATEWAY, RED_CM = "nongye", "gw-nongye", 40.0
FRAME_S = 1.0
NEAR_CM = 3.0
"""A siren may sound from so little below red on: ripples."""
LONGEST_S = 40
"""A siren sounds for so long at most; not ten minutes, as a flood's may."""
BOOK_S = 15.0
"""The hub writes its book each five seconds."""


@dataclass(frozen=True, slots=True)
class Show:
    """What is played."""

    storm: str = "two-minutes.csv"
    """A file beside the configuration."""
    length_s: float = 130.0
    """The storm, and some seconds of dry road."""
    warned_s: float = 10.0
    """At 45 cm a minute, three times a flash flood, the sign has warned so long before red. (`bench flood`: 60 s at
    15.)"""
    short: bool = False
    """It ends when the siren has fallen silent."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("make demo-flood", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="最后一行为 JSON / the last line is one JSON object")
    parser.add_argument("--out", type=Path, default=Path("run"), metavar="DIR",
                        help="曲线与表格的目录 / where the curve and the table go (default: run)")
    args = parser.parse_args(arguments)
    say = say_to_people(args.json)
    live = (sys.stderr if args.json else sys.stdout).isatty()
    return exit_code(lambda: _shown(say, live, args.out), say, args.json)


def _shown(say: Callable[[str], None], live: bool, out: Path) -> dict[str, Any]:
    say("搭建下穿隧道 Setting up the underpass: 3 水位计 gauges, sign, beacon, boom, voice, siren on 3 lines")
    city = City(gateways=("gateway.toml",), demo="flood")
    sign(city.demo)
    with city:
        return play(city, Show(), say, live, out)


def sign(folder: Path, longest_s: int = LONGEST_S) -> dict[str, dict[str, str]]:
    """A trust list and a policy for the configuration in `folder`: made here, signed by keys that nobody else has.

    Gives the persons' keys, by role.
    """
    root = keys.new_key("root", root=True)
    persons = {"commander": keys.new_key("Zhang Min"), "hydrologist": keys.new_key("Chen Lu"),
               "operator": keys.new_key("Li Wei")}
    people = {key["kid"]: {"person": key["person"], "key": keys.public(key), "roles": [role], "areas": ["41"],
                           "actions": ["sound", "stop", "quiet-test"], "mode": "live",
                           "not_before": "2025-01-01T00:00:00.000Z", "not_after": "2099-12-31T23:59:59.000Z"}
              for role, key in persons.items()}
    listed = {"v": 1, "version": 1, "deployment": "demo", "issued_at": "2026-01-05T01:00:00.000Z",
              "roots": {"keys": [root["x"]], "threshold": 1}, "keys": people}
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run/trust.json").write_bytes(keys.sign_list(json.dumps(listed).encode(), [root]))
    for name in ("gateway.toml", "hub.toml"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("A" * 43, root["x"]), encoding="utf-8")
    here = floods.ground(config.load(folder / "gateway.toml"))
    rule = {"spot": SPOT, "digest": here.spots[SPOT], "from": "red", "sirens": ["s-1"], "sound": "demo-air-raid",
            "sound_digest": here.signals["demo-air-raid"], "max_duration_s": longest_s}
    policy = {"v": 1, "version": 1, "deployment": "demo", "gateway": GATEWAY, "area": here.area,
              "issued_at": "2026-06-01T01:00:00.000Z", "rule": [rule]}
    (folder / "run/policy.json").write_bytes(keys.sign_list(
        json.dumps(policy).encode(), [persons["commander"], persons["hydrologist"]]))
    return persons


def play(city: City, show: Show, say: Callable[[str], None], live: bool, out: Path) -> dict[str, Any]:
    """The storm over a city that runs, and what came of it."""
    words = (city.demo / show.storm).read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    say(f"就绪 Ready. 暴雨开始 The storm begins. {words}\n")
    loaded = city.configs[0]
    depths = loaded.depths_of(next(s for s in loaded.spec.spot if s.id == SPOT))
    # The gauges have to be believed before the water comes.
    city.wait_for(lambda: (now := state(city)) is not None and now.state == "DRY", "a dry road")
    began_us = time.time_ns() // 1000
    door(city, {"do": "storm", "file": str(city.demo / show.storm)})
    seen: list[Seen] = []
    told, drawn = 0, 0
    while (t_s := time.time() - began_us / 1e6) < show.length_s and not (show.short and _silent_again(city)):
        shown = state(city)
        water = door(city, {"do": "state"})["waters"]["road"]["level_m"] * 100
        level = shown.points.get("level_cm") if shown else None
        colour = shown.state.lower() if shown and shown.state in ("BLUE", "YELLOW", "ORANGE", "RED") else ""
        seen.append(Seen(t_s, water, float(level) if isinstance(level, int | float) else None, colour))
        news = _news(city, began_us)
        if live:
            lines = [*picture(seen, depths, show.length_s), *_beside(shown), *news[-6:]]
            columns = shutil.get_terminal_size().columns
            print((f"\x1b[{drawn}A" if drawn else "") + "".join(f"\x1b[2K{line[:columns + 400]}\n" for line in lines)
                  + "\x1b[0J", end="", flush=True)
            drawn = len(lines)
        else:
            for line in news[told:]:
                say(line)
        told = len(news)
        time.sleep(FRAME_S)
    if not live:
        say("\n" + "\n".join(picture(seen, depths, show.length_s, ink=False)))
    return _judged(city, show, say, seen, began_us, out)


def _silent_again(city: City) -> bool:
    on = [s["on"] for s in city.sound_log() if (s["unit"], s["channel"]) == ("relay-1", 1)]
    return True in on and not on[-1]


def door(city: City, request: dict[str, Any]) -> dict[str, Any]:
    """One request to the running hardware."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(10)
        # A unix socket's path is short; the folder's may not be.
        door.connect(os.path.relpath(city.demo / "run/site.sock"))
        door.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(door.makefile().readline())
    if not answer["ok"]:
        raise DidNotStart(answer["why"])
    return answer


def state(city: City) -> State | None:
    """What the gateway last told of the spot."""
    topic = f"/{GATEWAY}/{SPOT}/state"
    payload = next((p for _, t, p in reversed(list(city.messages)) if t.endswith(topic)), None)
    return None if payload is None else wire.decode(State, payload)


def _beside(shown: State | None) -> list[str]:
    """What stands beside the road, by the gateway's word of what it is confirmed to do."""
    points = shown.points if shown else {}
    boom = {True: "已落 down", False: "抬起 up", None: "未知 unknown"}[points.get("boom_closed")]  # type: ignore[index]
    red = points.get("to_red_s")
    return ["",
            f"  屏幕 sign   {points.get('sign') or '-'}",
            f"  警灯 beacon {'闪 on' if points.get('beacon') else '灭 off'}    道闸 boom {boom}    语音 voice"
            f" {points.get('voice')}    {f'红色倒计时 red in {red} s' if red is not None else ''}", ""]


def _news(city: City, began_us: int) -> list[str]:
    """The gateway's own events of the spot and its siren, since the storm began. What is said again is no news."""
    out, said = [], set()
    for at_us, topic, payload in list(city.messages):
        if payload in said:
            continue
        said.add(payload)
        if at_us < began_us:
            continue
        if topic.endswith("/event"):
            event = wire.decode(Event, payload)
            if event.subject.partition(".")[0] == SPOT:
                out.append(f"  {(at_us - began_us) / 1e6:6.1f} s  {event.what:<22} {event.detail[:70]}")
        elif topic.endswith("/receipt"):
            receipt = wire.decode(wire.Receipt, payload)
            if receipt.siren:
                out.append(f"  {(at_us - began_us) / 1e6:6.1f} s  警报器 siren {receipt.siren:<8} {receipt.stage}"
                           f" {receipt.reason}")
    return out


def _judged(city: City, show: Show, say: Callable[[str], None], seen: list[Seen], began_us: int,
            out: Path) -> dict[str, Any]:
    """What was done, against what the water did and what the devices logged."""
    sounds = [s for s in city.sound_log() if (s["unit"], s["channel"]) == ("relay-1", 1)]
    on = [(s["wall_us"] - began_us) / 1e6 for s in sounds if s["on"]]
    told = _told(city, began_us)
    warned = next((t for t, state in told if state.points.get("sign") and state.state != "DRY"), None)
    red = next((one.t_s for one in seen if one.true_cm >= RED_CM), show.length_s)
    wet = [one.true_cm for one in seen if on and one.t_s <= on[0]]
    sirens = {e.what: e for e in city.events()}
    kept = {
        "屏幕早于红色预警 the sign warned before red": warned is not None and red - warned >= show.warned_s,
        "警报器响且不误响 the siren sounded, and not for nothing": bool(on) and max(wet) >= RED_CM - NEAR_CM,
        "一次积水只触发一次 asked for once": sum(e.what == "flood-siren" for e in city.events()) == 1,
        "最终静默 silent at the end": 2 * len(on) == len(sounds),
        "总站转告 the hub told others": any(t.startswith("siren/1/h/flood/spot/") for _, t, _ in city.messages),
    }
    say("\n核对 Judged by the devices' own log")
    for what, good in kept.items():
        say(f"  {'✓' if good else '✗'} {what}")
    stem = out / "demo-flood"
    out.mkdir(parents=True, exist_ok=True)
    hub = [sys.executable, "-m", "hub", "flood", "events", "--last", "6", *city.hub_arguments]
    book = time.monotonic() + BOOK_S
    while "flood-siren" not in _said(hub).stdout and time.monotonic() < book:
        time.sleep(FRAME_S)
    for command in ([sys.executable, "-m", "controller.ctl", "flood", "export", SPOT, "--journal",
                     str(city.demo / "run/gw-nongye.db"), "-o", str(stem)], hub):
        done = _said(command)
        say("\n$ " + " ".join(command[2:6]) + " ...\n" + (done.stdout or done.stderr).rstrip())
        kept[" ".join(command[2:5])] = done.returncode == 0
    return {"kept": all(kept.values()), "judged": kept, "warned_s": warned, "red_s": red, "siren_s": on[:1],
            "sounds": len(on), "events": sorted(sirens),
            "sheet": hashlib.sha256(stem.with_name("demo-flood.svg").read_bytes()).hexdigest()[:16]
            if stem.with_name("demo-flood.svg").exists() else ""}


def _said(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def _told(city: City, began_us: int) -> list[tuple[float, State]]:
    topic = f"/{GATEWAY}/{SPOT}/state"
    return [((at_us - began_us) / 1e6, wire.decode(State, p)) for at_us, t, p in list(city.messages)
            if t.endswith(topic) and at_us >= began_us]


if __name__ == "__main__":
    sys.exit(main())
