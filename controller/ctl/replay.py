"""重演 / live a saved black box again: what came to the gateway, and what it did, step by step. Needs no device.

The same machines, made from what the file holds, are told the same events at the same times. Each step is compared
with what the gateway did then: a difference is told, and the exit code is 1. Times are seconds from the beginning of
what is shown, or wall time in UTC (2026-09-18T02:00:00).
"""

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware_bridge.errors import Malformed

if TYPE_CHECKING:
    from controller.moment import Moment
    from controller.relive import Inner, Step
    from controller.segment import Segment

TOLD_LIMIT = 400
"""Characters of one event or effect on the screen; --json tells all of it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="sirenctl blackbox -o 所存 / what `sirenctl blackbox -o` saved")
    parser.add_argument("--run", metavar="ID", dest="session", help="哪次运行 / which run (default: the last)")
    parser.add_argument("--from", metavar="TIME", dest="since", help="从何时起显示 / show from then on")
    parser.add_argument("--until", metavar="TIME", help="到何时为止 / end there")
    parser.add_argument("--only", metavar="NAME", help="只看一个警报器、总线或设备 / one siren, bus or device, and all"
                                                       " that it is told inside the gateway")
    parser.add_argument("--quiet", action="store_true", help="只比对 / only compare, show differences")


def run(args: argparse.Namespace) -> int:
    """0: everything happened as it did then. 1: a difference. 2: bad arguments, or no black box."""
    from controller import segment
    try:
        found = list(segment.segments(args.file))
    except OSError as error:
        raise ValueError(f"{args.file}: {error.strerror or error}") from None
    if not found:
        raise ValueError(f"{args.file}: 没有黑匣子 / no black box")
    session = args.session or found[-1].run
    mine = [one for one in found if one.run == session]
    if not mine:
        runs = ", ".join(dict.fromkeys(one.run for one in found))
        raise ValueError(f"--run {session}: 没有此次运行 / no such run; runs: {runs}")
    show = _Show(args, mine[0])
    for one in mine:
        if not show.over:
            _relive(one, show)
    return show.end()


def _relive(one: "Segment", show: "_Show") -> None:
    """One segment, by a gateway of its own: the machines go on from what it holds."""
    from controller import origin, relive, snapshot
    made = origin.read(one.header["origin"])
    gateway = made.gateway(one.records) if one.state is None else snapshot.restore(one.state, made.config)
    inner = None
    if show.only:
        inner = relive.watch(gateway, show.only)
        if inner is None:
            names = ", ".join([*gateway.sirens, *gateway.buses, *gateway.devices])
            raise ValueError(f"--only {show.only}: 没有此名 / no such name; names: {names}")
    show.begin(one, made.config.id)
    try:
        for step in relive.steps(gateway, one.moments()):
            show.step(step, inner)
            if show.over:
                return
    except Malformed as error:
        show.broken(str(error))
    if one.torn:
        show.say({"torn": True}, "（末尾缺失：进程被终止或断电 / its end is missing: killed, or the power was cut）")


class _Show:
    """What is printed, and what is counted."""

    def __init__(self, args: argparse.Namespace, first: "Segment") -> None:
        self._json = args.json
        self._quiet = args.quiet
        self.only = args.only
        self._zero_us = first.at_us
        wall_minus_us = first.wall_us - first.at_us
        self._since_us = _instant("--from", args.since, self._zero_us, wall_minus_us)
        self._until_us = _instant("--until", args.until, self._zero_us, wall_minus_us)
        self._wall_minus_us = wall_minus_us
        self.over = False
        self._steps = self._effects = self._different = 0
        self._first: int | None = None
        self._wrong = ""

    def begin(self, one: "Segment", gateway: str) -> None:
        from controller import segment
        from controller.ctl.blackbox import wall
        same_code = segment.code() == one.header["code"]
        whence = "启动 its start" if one.state is None else "快照 a snapshot"
        self.say({"gateway": gateway, "run": one.run, "wall": wall(one.wall_us), "begins": one.state is None,
                  "same_code": same_code, "version": one.header["origin"]["version"]},
                 f"== 网关 gateway {gateway}  运行 run {one.run}  自 from {whence}  {wall(one.wall_us)}")
        if not same_code:
            self.say({}, f"   本程序与当时不同，结果可能有别 / this is not the code that ran then"
                         f" (version {one.header['origin']['version']}, code {one.header['code']}):"
                         " differences may be its own")

    def step(self, step: "Step", inner: "list[Inner] | None") -> None:
        at_us = step.moment.at_us
        if self._until_us is not None and at_us > self._until_us:
            self.over = True
            return
        self._steps += 1
        self._effects += len(step.effects)
        seen = None if inner is None else inner[:]
        if inner is not None:
            inner.clear()
        if not step.same:
            self._different += 1
            self._first = self._steps if self._first is None else self._first
        if step.same and (self._quiet or (self._since_us is not None and at_us < self._since_us) or seen == []):
            return
        if self._json:
            self._as_json(step, seen)
        else:
            self._as_text(step, seen)

    def _as_text(self, step: "Step", seen: "list[Inner] | None") -> None:
        after = f"{(step.moment.at_us - self._zero_us) / 1e6:+13.6f}"
        print(f"{after}  进 in   {_cut(_event(step.moment))}")
        pad = " " * len(after)
        for one in seen or ():
            print(f"{pad}  知 told {_cut(repr(one.event))}")
            for effect in one.effects:
                print(f"{pad}  答 does {_cut(repr(effect))}")
        for effect in _told(step.effects) if seen is None else ():
            print(f"{pad}  出 out  {_cut(effect)}")
        if step.died:
            print(f"{pad}  崩溃 died {step.died}")
        if not step.same:
            was = step.moment.check
            then = f"崩溃 died: {was}" if isinstance(was, str) else f"check {was:04x}"
            print(f"{pad}  !! 与当时不同 / NOT what it did then ({then}), step {self._steps}")

    def _as_json(self, step: "Step", seen: "list[Inner] | None") -> None:
        body: dict[str, Any] = {
            "step": self._steps, "at_us": step.moment.at_us, "wall_us": step.moment.at_us + self._wall_minus_us,
            "in": _event(step.moment), "out": _told(step.effects), "same": step.same}
        if seen is not None:
            body["inner"] = [{"told": repr(one.event), "does": [repr(e) for e in one.effects]} for one in seen]
        if step.died:
            body["died"] = step.died
        print(json.dumps(body, ensure_ascii=False))

    def broken(self, why: str) -> None:
        self._wrong = why

    def say(self, body: dict[str, Any], text: str) -> None:
        if not self._json:
            print(text)
        elif body:
            print(json.dumps(body, ensure_ascii=False))

    def end(self) -> int:
        bad = self._different > 0 or self._wrong != ""
        if self._json:
            print(json.dumps({"steps": self._steps, "effects": self._effects, "different": self._different,
                              "first_different": self._first, "error": self._wrong or None, "last": True}))
        else:
            told = "与当时一致 / all as it was then" if not bad else \
                f"{self._different} 步与当时不同，首先是第 {self._first} 步 / steps differ, the first is {self._first}"
            print(f"== 重演 relived {self._steps} 步 steps, {self._effects} 个效果 effects: {told}")
            if self._wrong:
                print(f"!! {self._wrong}")
        return 1 if bad else 0


def _event(moment: "Moment") -> str:
    from controller.moment import words
    return words(moment.event)


def _told(effects: Sequence[object]) -> list[str]:
    from controller.moment import told
    return [told(effect) for effect in effects]


def _cut(text: str) -> str:
    return text if len(text) <= TOLD_LIMIT else f"{text[:TOLD_LIMIT]}… ({len(text)})"


def _instant(option: str, text: str | None, zero_us: int, wall_minus_us: int) -> int | None:
    if text is None:
        return None
    try:
        if "T" in text:
            at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
            at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
            return round(at.timestamp() * 1e6) - wall_minus_us
        return zero_us + round(float(text) * 1e6)
    except ValueError:
        raise ValueError(f"{option} {text}: 秒数，或 / seconds, or 2026-09-18T02:00:00") from None
