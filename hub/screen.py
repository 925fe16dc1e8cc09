"""What an order and the fleet look like on a terminal: Chinese and English, plain ANSI, or plain lines for a file.

Only looks. What it shows as sounded has evidence; everything else is told as what it is.
"""

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from controller.signal import Signals
from controller.trust import Reason
from controller.wire import Action, Layer, Mode, OrderBody, SirenCard
from hub.dispatch import Dispatch
from hub.event import Note
from hub.fleet import Fleet
from hub.prepared import Prepared
from hub.track import Ending, SirenResult

MODES = {Mode.LIVE: "实战 LIVE", Mode.DRILL: "演练 drill", Mode.SILENT: "静默 silent"}
ACTIONS = {Action.SOUND: "鸣响 sound", Action.STOP: "停止 stop", Action.QUIET_TEST: "静默检测 quiet test"}
LAYERS = {Layer.SURFACE: "地上 surface", Layer.UNDERGROUND: "地下 underground"}
STAGES = {
    "sent": "已发送 sent", "received": "已收到 received", "accepted": "已受理 accepted", "started": "已启动 started",
    "sensed": "已感知 sensed", "heard": "已听到 heard", "finished": "完成 finished", "rejected": "拒绝 rejected",
    "failed": "失败 failed", "stopped": "中止 stopped", "expired": "过期 expired", "no answer": "无应答 no answer",
}
GATEWAYS = {"waiting": "待应答 waiting", "answered": "已应答 answered"}
PRESENCES = {"online": "在线 online", "silent": "失声 silent", "offline": "离线 offline", "lost": "断线 lost",
             "unknown": "未知 unknown"}
NOTES = {"clone": "克隆 clone", "clone-gone": "克隆消失 clone-gone", "journal-shorter": "日志 journal-shorter",
         "journal-altered": "日志 journal-altered", "targets-mismatch": "目标不符 targets-mismatch",
         "crashed-on": "程序错误 crashed-on"}
"""What somebody has to act upon who reads one of the two languages only."""
LACKING = {Reason.TOO_FEW_PERSONS: "人数或职务不足 more persons, or a commander",
           Reason.WRONG_AREA: "管辖区域不够 somebody who may order for so wide an area",
           Reason.WRONG_ACTION: "无此操作权限 somebody who may order this",
           Reason.WRONG_MODE: "无此模式权限 somebody who may order it live"}
"""Whose signature an order waits for."""
_GREEN, _RED, _YELLOW, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
BAR = 20


def width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, columns: int) -> str:
    return text + " " * max(1, columns - width(text))


def title(order: OrderBody, signals: Signals) -> str:
    """One line: what is ordered, in which mode, where and when."""
    # The mode of a stop says nothing: it ends what sounds, in whatever mode that does.
    parts = [ACTIONS[order.action]] if order.action is Action.STOP else [MODES[order.mode], ACTIONS[order.action]]
    if order.sound is not None:
        name = order.sound.name
        known = signals.signals.get(name) or signals.programmes.get(name)
        parts.append(f"{name} {known.zh} {known.en}" if known else name)
        if known:
            parts.append(f"{signals.timeline(name).end_us / 1e6:g} s")
        parts.append(f"起始 at {order.sound.start_at or '立即 now'}")
    parts.append(f"区域 area {order.area}")
    if order.layer:
        parts.append(LAYERS[order.layer])
    if order.stops:
        parts.append(f"只停 only {order.stops}")
    return " · ".join(parts)


def plan(order: OrderBody, signals: Signals, fleet: Fleet) -> list[str]:
    """What an order will do, before it is given."""
    out = [f"命令 Order  {title(order, signals)}"]
    targets = fleet.targets(order)
    for gateway, sirens in targets.items():
        known = fleet.gateways[gateway]
        out.append(f"  {pad(gateway, 20)}{pad(PRESENCES[known.presence.value], 16)}{' '.join(sirens)}")
        digest = known.birth.signals.get(order.sound.name) if order.sound and known.birth else None
        if order.sound and digest != order.sound.digest:
            what = "没有此信号 has no such signal" if digest is None else "信号定义不同 means another pattern by it"
            out.append(f"    ! {gateway} {what}: {order.sound.name}")
    for gateway, how in fleet.differences(order).items():
        then = "仍将鸣响 sounds all the same" if order.mode is Mode.LIVE else "将拒绝 will be refused there"
        out.append(f"    ! {gateway} 与拟制时不符，{then}: {how}")
    if order.prepared is None and order.action is Action.SOUND and targets:
        out.append("    ! 目标过多，未附清单，按区域鸣响 no list is signed: it sounds whatever is in the area")
    count = sum(len(s) for s in targets.values())
    out.append(f"  共 in all {count} 台警报器 sirens, {len(targets)} 个网关 gateways")
    return out


def window(order: OrderBody) -> str:
    return f"可启动 may begin {order.not_before} .. {order.expires_at}"


def sheet(prepared: Prepared, signals: Signals) -> list[str]:
    """What an order's file says, with nothing known of the fleet: just what a signature of it is for."""
    order = prepared.body
    out = [f"命令 Order  {title(order, signals)}", f"  编号 id {order.id}   {window(order)}"]
    if order.reason:
        out.append(f"  理由 reason  {order.reason}")
    known = signals.digest(order.sound.name) if order.sound and order.sound.name in signals else None
    if order.sound and known != order.sound.digest:
        what = "没有此信号 is not known here" if known is None else "信号定义不同 means another pattern here"
        out.append(f"    ! {order.sound.name} {what}")
    for gateway, sirens in prepared.file.sirens.items():
        for place in sorted({s.area for s in sirens}):
            named = " ".join(s.id if s.layer is Layer.SURFACE else f"{s.id}({LAYERS[s.layer]})"
                             for s in sirens if s.area == place)
            out.append(f"  {pad(gateway, 20)}{pad(place, 20)}{named}")
    count = sum(len(s) for s in prepared.file.sirens.values())
    if order.prepared is None:
        out.append("  未附清单，对区域内所有警报器 no list: it is for whatever is in the area")
    else:
        out.append(f"  共 in all {count} 台警报器 sirens, {len(prepared.file.sirens)} 个网关 gateways")
    return out


def _colour(siren: SirenResult, text: str) -> str:
    match siren.ending:
        case Ending.FINISHED if siren.sounded:
            return f"{_GREEN}{text}{PLAIN}"
        case Ending.FAILED | Ending.REJECTED | Ending.EXPIRED | Ending.NO_ANSWER:
            return f"{_RED}{text}{PLAIN}"
        case Ending.FINISHED | Ending.STOPPED:
            return f"{_YELLOW}{text}{PLAIN}"
        case Ending.PENDING:
            return text


def stage(siren: SirenResult) -> str:
    """How it stands with one siren, in words."""
    if siren.ending is Ending.NO_ANSWER:
        return STAGES["no answer"]
    return STAGES.get(siren.stage, siren.stage)


def proof(siren: SirenResult) -> str:
    """`3/3 3 -`: phases commanded, sensed, heard; a dash where there is nothing that could tell."""
    e = siren.evidence
    if e is None or e.phases == 0:
        return ""
    return f"{e.commanded}/{e.phases} {e.sensed if e.independent else '-'} {e.heard or '-'}"


def frame(dispatch: Dispatch, signals: Signals, fleet: Fleet, columns: int, rows: int) -> list[str]:
    """The live picture: a bar a gateway, a line a siren while there is room, troubles first. No line wraps."""
    sirens = dispatch.sirens()
    heading = cut(f"{dispatch.order.id[:8]}  {title(dispatch.order, signals)}", columns - 1)
    out = [f"{BOLD}{heading}{PLAIN}"]
    stands = dispatch.gateways()
    for gateway, how in stands.items():
        own = [s for s in sirens if s.gateway == gateway]
        done = sum(s.ending is not Ending.PENDING for s in own)
        # While its sirens sound the bar is the time of the programme; it is full when all have ended.
        filled = BAR if own and done == len(own) else min(BAR - 1, int(BAR * dispatch.elapsed))
        bar = "#" * filled + "-" * (BAR - filled)
        out.append(cut(f"  {pad(gateway, 20)}[{bar}] {done}/{len(own)} {GATEWAYS.get(how, how)}", columns - 1))
    room = max(3, rows - len(out) - 3)
    grave = sorted(sirens, key=lambda s: (s.ending in {Ending.PENDING, Ending.FINISHED} and not s.troubles))
    out.append(cut(f"  {pad('警报器 siren', 26)}{pad('阶段 stage', 20)}令/感/听", columns - 1))
    cards = {(s.gateway, s.card.id): s.card for s in fleet.sirens()}
    for s in grave[:room]:
        card = cards.get((s.gateway, s.siren))
        named = f"{s.siren} {card.name}" if isinstance(card, SirenCard) else s.siren
        why = s.reason or (s.troubles[-1] if s.troubles else "")
        tail = cut(f"{pad(proof(s), 12)}{why}", columns - 1 - 2 - 26 - 20)
        out.append(f"  {pad(cut(named, 25), 26)}{_colour(s, pad(stage(s), 20))}{tail}")
    if len(sirens) > room:
        out.append(f"  ... 另有 and {len(sirens) - room} 台 more")
    return out


def cut(text: str, columns: int) -> str:
    """As much of `text` as fits."""
    out, used = "", 0
    for c in text:
        used += width(c)
        if used > columns:
            return out
        out += c
    return out


class Live:
    """Draws frames over each other on a terminal."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._drawn = 0

    def show(self, dispatch: Dispatch, signals: Signals, fleet: Fleet) -> None:
        size = os.get_terminal_size(self._stream.fileno())
        lines = frame(dispatch, signals, fleet, size.columns, size.lines)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[0J")
        self._stream.flush()
        self._drawn = len(lines)


class Lines:
    """Tells each change of a siren or gateway once, a line each, for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gateways: dict[str, str] = {}
        self._sirens: dict[tuple[str, str], tuple[str, str, str]] = {}

    def show(self, dispatch: Dispatch, signals: Signals, fleet: Fleet) -> None:
        for gateway, how in dispatch.gateways().items():
            if self._gateways.get(gateway) != how:
                self._gateways[gateway] = how
                self._say(gateway, GATEWAYS.get(how, how))
        for s in dispatch.sirens():
            told = (stage(s), s.reason, s.troubles[-1] if s.troubles else "")
            if self._sirens.get((s.gateway, s.siren)) != told:
                self._sirens[s.gateway, s.siren] = told
                self._say(f"{s.gateway}/{s.siren}", " ".join(p for p in (*told, proof(s)) if p))

    def _say(self, who: str, what: str) -> None:
        self._stream.write(f"  {pad(who, 26)}{what}\n")
        self._stream.flush()


def roster(fleet: Fleet) -> list[str]:
    """The fleet as a table: gateways, sirens, and the devices that are not well."""
    out = ["网关 Gateways"]
    for id in sorted(fleet.gateways):
        g = fleet.gateways[id]
        missing = fleet.missing(id)
        clone = f"克隆 CLONE {' '.join(g.identity.pair)}" if g.identity.pair else ""
        nonce = f"随机数 nonce {g.status.nonce}" if g.status and g.status.nonce else ""
        holes = f"缺号 missing {missing}" if missing else ""
        more = [clone, " ".join(g.modes), nonce, holes, g.birth.area if g.birth else ""]
        out.append(f"  {pad(id, 20)}{pad(PRESENCES[g.presence.value], 16)}{' '.join(m for m in more if m)}")
    out.append("警报器 Sirens")
    for s in fleet.sirens():
        assert isinstance(s.card, SirenCard)
        feedback = "" if s.card.feedback else "无反馈 no feedback"
        out.append(f"  {pad(f'{s.gateway}/{s.card.id}', 26)}{pad(s.state, 10)}{pad(cut(s.card.name, 30), 31)}"
                   f"{' '.join(p for p in (s.why, feedback) if p)}")
    unwell = [d for d in fleet.devices() if d.state != "online"]
    out.append(f"设备 Devices  {len(fleet.devices()) - len(unwell)} 正常 well, {len(unwell)} 异常 not")
    out += [f"  {pad(f'{d.gateway}/{d.card.id}', 26)}{pad(d.state, 10)}{d.why}" for d in unwell]
    return out


def note(one: Note) -> str:
    """A line of `watch`."""
    who = "/".join(p for p in (one.gateway, one.subject) if p)
    what = NOTES.get(one.what, one.what)
    return f"{'!' if one.urgent else ' '} {pad(what, 22)}{pad(who, 26)}{one.detail}"


def print_lines(lines: Sequence[str], stream: TextIO | None = None) -> None:
    print("\n".join(lines), file=stream or sys.stdout, flush=True)
