"""`siren-hub flood`: roads under water. How they stand, what happened and why, and a person's hand on an alarm.

`list` looks; `events` tells from the hub's book, with what each gauge showed in the minutes before. `ack` says that
somebody knows. `inhibit` keeps an alarm's voice and sirens silent until an instant: one hydrologist signs it for an
hour at most, or two persons, one of them a commander, for a shift. Exit 0: done, and the gateway said so. 1: it did not
say so. 2: it was not asked.
"""

import argparse
import asyncio
import getpass
import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterable

from controller import shelf, wire
from controller.shelf import LONGEST_US, Shelving
from controller.wire import Ack, Event
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S
from hub import floodbook, keys, screen
from hub.client import Client, Refused, Unreachable, load
from hub.config import Config
from hub.draft import COMMAND
from hub.fleet import Happened
from hub.spots import FIGURE_LIMIT, Spot, figure, spots

ANSWER_S = 10.0
"""A gateway that is there answers within seconds; its event comes through the broker."""
COLOURS = {"DRY": "无积水 dry", "BLUE": "蓝 blue", "YELLOW": "黄 yellow", "ORANGE": "橙 orange", "RED": "红 red",
           "UNKNOWN": "未知 unknown"}
WHATS = {
    "flood-suspected": "疑似积水", "flood-suspected-over": "疑似积水结束", "flood-confirmed": "确认积水",
    "flood-confirmed-over": "积水结束", "flood-siren": "触发警报", "alarm-acknowledged": "已确认",
    "alarm-shelved": "已搁置", "alarm-unshelved": "恢复监视", "alarm-chattering": "频繁告警", "gauge-bad": "水位计故障",
    "gauge-bad-ended": "水位计恢复", "spot-unknown": "水情不明", "spot-unknown-ended": "水情可知",
    "gauges-disagree": "水位计不一致", "gauges-disagree-ended": "水位计一致", "sign-unconfirmed": "屏幕未确认",
    "sign-unconfirmed-ended": "屏幕已确认", "beacon-unconfirmed": "警灯未确认",
    "beacon-unconfirmed-ended": "警灯已确认",
    "boom-fault": "道闸故障", "boom-fault-ended": "道闸恢复", "ack-refused": "确认被拒", "shelf-refused": "搁置被拒",
}
"""What an event of a spot is, for who reads Chinese; others are shown by their own word alone."""
BARS = "▁▂▃▄▅▆▇█"


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    flood = verbs.add_parser("flood", help="积水路段 / roads under water")
    kinds = flood.add_subparsers(dest="kind", required=True, metavar="KIND")
    listed = kinds.add_parser("list", parents=[common], help="各积水点现状 / how every spot stands")
    events = kinds.add_parser("events", parents=[common], help="事件与证据 / what happened, and what the gauges showed")
    events.add_argument("spot", nargs="?", metavar="SPOT", help="只看此点 / only this one")
    events.add_argument("--last", type=int, default=30, metavar="N", help="最近几条 / the newest so many; default 30")
    ack = kinds.add_parser("ack", parents=[common], help="确认知悉 / somebody here knows of it")
    ack.add_argument("--by", metavar="NAME", help="姓名 / whose word it is; default: the unix user")
    inhibit = kinds.add_parser("inhibit", parents=[common], help="限时静音告警 / nothing sounds for it, for so long")
    inhibit.add_argument("--minutes", type=float, required=True, metavar="N",
                         help="分钟，0 为恢复 / 480 at most; 0 puts it back in service")
    inhibit.add_argument("--reason", required=True, metavar="TEXT",
                         help="理由，签入并记入日志 / signed, and in the journal")
    inhibit.add_argument("--key", action="append", default=[], metavar="FILE",
                         help="签名密钥；60 分钟内水文人员一人，更长两人且其一指挥员 / key file: a hydrologist's, up"
                              " to 60 minutes; or two persons', one of them a commander's (repeat)")
    for parser in (ack, inhibit):
        parser.add_argument("spot", metavar="SPOT", help="积水点，或 网关/积水点 / the spot, or GATEWAY/SPOT")
        parser.add_argument("--alarm", required=parser is inhibit, metavar="ALARM",
                            help="red, orange-suspected ...；省略为全部 / left out: all of the spot")
    for parser in (listed, events, ack, inhibit):
        parser.add_argument("--json", action="store_true", help="JSON")
    listed.set_defaults(run=lambda args, config: _guarded(_list(args, config)))
    events.set_defaults(run=_events)
    ack.set_defaults(run=lambda args, config: _guarded(_ack(args, config)))
    inhibit.set_defaults(run=lambda args, config: _guarded(_inhibit(args, config)))


def _guarded(work: Coroutine[None, None, int]) -> int:
    try:
        return asyncio.run(work)
    except (Unreachable, Refused) as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _list(args: argparse.Namespace, config: Config) -> int:
    async with Client(config) as client:
        known = spots(client.fleet)
    if args.json:
        print(json.dumps([{"gateway": s.gateway, "area": s.area, **s.card.model_dump(), "colour": s.colour,
                           "why": s.why, "points": s.points, "bad": s.bad} for s in known], ensure_ascii=False))
    else:
        screen.print_lines([line for spot in known for line in shown(spot)] or ["没有积水点 no spot is known"])
    return 0


def shown(spot: Spot) -> list[str]:
    """A spot in a line, its gauges in another."""
    def told(name: str, form: str) -> str:
        value = figure(spot, name)
        return "" if value is None else form.format(value)

    head = screen.pad(f"{spot.gateway}/{spot.card.id}", 26) + screen.pad(COLOURS[spot.colour], 16)
    parts = [told("level_cm", "{:.0f} cm"), told("rise_cm_min", "{:+.1f} cm/min"),
             told("to_red_s", "红色倒计时 red in {:.0f} s"), str(spot.points.get("alarms") or ""), spot.why]
    gauges = [f"{id} ({kind}) " + (f"{spot.bad[id]}!" if id in spot.bad else str(spot.points.get(f"gauge_{id}", "?")))
              for id, kind in spot.card.gauges.items()]
    depths = " ".join(f"{name} {cm:g}" for name, cm in spot.card.depths.items())
    return [f"{head}{'  '.join(p for p in parts if p)}", f"    {spot.card.name}  [{depths}]  {'  '.join(gauges)}"]


def _events(args: argparse.Namespace, config: Config) -> int:
    if config.spec.flood is None:
        remedy = "name a file there, so that the resident hub keeps events of floods"
        raise BadDocument([Problem(str(config.file), "flood.events", None, remedy)])
    path = config.path(config.spec.flood.events)
    try:
        found = floodbook.recall(path, args.spot, args.last)
    except sqlite3.Error as error:
        remedy = "the resident hub writes it; has it seen a flood?"
        raise BadDocument([Problem(str(path), "flood.events", str(error), remedy)]) from None
    for one in found:
        if args.json:
            print(json.dumps({"gateway": one.gateway, **one.event.model_dump(mode="json")}, ensure_ascii=False))
        else:
            screen.print_lines(told(one))
    return 0


def told(one: Happened) -> list[str]:
    """An event, and below it what each gauge showed before."""
    event = one.event
    what = f"{WHATS.get(event.what, '')} {event.what}".strip()
    head = f"{'!' if event.urgent else ' '} {event.at[:19].replace('T', ' ')}Z  "
    out = [f"{head}{screen.pad(what, 30)}{screen.pad(f'{one.gateway}/{event.subject}', 24)}{event.detail}"]
    for gauge, samples in (event.samples or {}).items():
        if samples:
            values = [value for _, value in samples]
            out.append(f"      {screen.pad(gauge, 14)}{strip(values)}  {values[0]:g} → {values[-1]:g}"
                       f"  ({samples[0][0]:.0f} s → {samples[-1][0]:.0f} s 前 before)")
    return out


def strip(values: list[float]) -> str:
    """Values as a row of bars, the highest full."""
    values = [max(-FIGURE_LIMIT, min(FIGURE_LIMIT, value)) for value in values]
    low, high = min([0.0, *values]), max([1.0, *values])
    return "".join(BARS[int((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


# A person's hand.


async def _ack(args: argparse.Namespace, config: Config) -> int:
    by = args.by or getpass.getuser()
    return await _hand(args, config, lambda spot: (
        wire.ack_topic(spot.gateway), Ack(spot=spot.card.id, alarm=args.alarm, by=by).encode()), "alarm-acknowledged")


async def _inhibit(args: argparse.Namespace, config: Config) -> int:
    if not 0 <= args.minutes * 60 * S <= LONGEST_US:
        raise BadDocument([Problem(COMMAND, "--minutes", args.minutes, "0 to 480: a shift at most")])
    signers = load([config.path(k) for k in args.key] if args.key else config.keys)

    def signed(spot: Spot) -> tuple[str, bytes]:
        wall_us = Client.wall_us()
        wish = Shelving(id=uuid.uuid4().hex, deployment=config.spec.hub.deployment, gateway=spot.gateway,
                        area=spot.area, spot=spot.card.id, alarm=args.alarm, issued_at=wire.to_text(wall_us),
                        until=wire.to_text(wall_us + round(args.minutes * 60 * S)), reason=args.reason)
        return shelf.topic(spot.gateway), keys.sign(wish, signers)

    return await _hand(args, config, signed, "alarm-shelved" if args.minutes else "alarm-unshelved")


async def _hand(args: argparse.Namespace, config: Config, message: Callable[[Spot], tuple[str, bytes]],
                done: str) -> int:
    """Send what `message` makes for the spot that is meant, and wait for the gateway's word."""
    async with Client(config) as client:
        spot = meant(spots(client.fleet), args.spot)
        if args.alarm is not None and args.alarm.removesuffix("-suspected") not in spot.card.depths:
            known = ", ".join(f"{c}, {c}-suspected" for c in spot.card.depths)
            raise BadDocument([Problem(COMMAND, "--alarm", args.alarm, f"no such alarm of {spot.card.id}; {known}")])
        last = client.fleet.gateways[spot.gateway].sequence.last
        client.publish(*message(spot))

        def found() -> Event | None:
            return answer(client.fleet.events, spot.gateway, last, done)

        try:
            await client.until(lambda: found() is not None, ANSWER_S)
        except TimeoutError:
            print(f"{spot.gateway} 没有回答 / did not answer within {ANSWER_S:g} s; nothing stood, or it is not there"
                  f" ({spot.colour} {spot.why})", file=sys.stderr)
            return 1
        event = found()
        assert event is not None
    if args.json:
        print(json.dumps(event.model_dump(mode="json"), ensure_ascii=False))
    else:
        screen.print_lines(told(Happened(spot.gateway, event)))
    return 0 if event.what == done else 1


def answer(events: Iterable[Happened], gateway: str, last: int | None, done: str) -> Event | None:
    """The gateway's word on what it was just told: its first of such a kind that has a number above `last`, the highest
    that was known before. What it says once more was said of something else."""
    words = (done, "ack-refused", "shelf-refused")
    new = [one.event for one in events if one.gateway == gateway and one.event.what in words
           and one.event.seq > (-1 if last is None else last)]
    return min(new, key=lambda event: event.seq, default=None)


def meant(known: list[Spot], name: str) -> Spot:
    """The spot of this name; BadDocument when there is none, or several gateways have one."""
    found = [s for s in known if name in (s.card.id, f"{s.gateway}/{s.card.id}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{s.gateway}/{s.card.id}" for s in (found or known)) or "none: is a gateway running?"
    raise BadDocument([Problem(COMMAND, "SPOT", name, f"{'say which' if found else 'no such spot'}; {names}")])
