"""What an order came to, in the figures an office reports: pure, from the pictures of a dispatch.

    鸣响率 = sirens that sounded / sirens ordered

A siren sounded when independent feedback was sensed in at least four of five on-phases (`Evidence.sounded`).
A command that was acknowledged is no sounding; no answer is none either. A siren that was stopped by order stays
among those ordered, and is counted as sounded only where it had reached the four fifths before; the rate without
the stopped ones is told beside it. First edges are told by the gateways' own clocks.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median

from controller import wire
from controller.wire import Action, OrderBody
from firmware_bridge.errors import Malformed
from hub.track import Ending, SirenResult

FORMULA = ("鸣响率 = 有独立反馈证实鸣响的警报器数 / 受令警报器数 · "
           "sounded (independent feedback in >= 4 of 5 on-phases) / ordered")
STOPPED_RULE = ("按命令中止者仍计入受令数；中止前已达五分之四者才计为鸣响 · "
                "sirens stopped by order stay among the ordered, and count as sounded only from 4/5 on")
ENDINGS = {
    Ending.FINISHED: "完成 finished", Ending.STOPPED: "中止 stopped", Ending.FAILED: "失败 failed",
    Ending.REJECTED: "拒绝 rejected", Ending.EXPIRED: "过期 expired", Ending.NO_ANSWER: "无应答 no answer",
    Ending.PENDING: "进行中 pending",
}
"""In the order in which a report tells them."""


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one gateway, or, with the gateway "", of all."""

    gateway: str
    ordered: int
    commanded: int
    """Every on-phase asked for was acknowledged."""
    sensed: int
    """Sounded, by independent feedback."""
    heard: int
    """Heard in at least four of five on-phases."""
    endings: dict[str, int]
    skew_ms: float | None
    """Last first edge minus first; None: fewer than two are known."""


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one order. `false_soundings` None: not watched for."""

    order: OrderBody
    total: Line
    lines: tuple[Line, ...]
    reasons: dict[str, list[str]]
    """`ending: reason` -> the sirens, for all that did not finish."""
    unproved: list[str]
    """Finished, and nothing but acknowledgements to show for it."""
    unexpected: list[str]
    """Answered although the fleet did not know them."""
    silent: tuple[str, ...]
    """Gateways of the signed list that said nothing, and whose sirens are not among the ordered: they are not known."""
    troubles: list[str]
    deviations: list[str]
    late_p50_ms: float | None
    late_max_ms: float | None
    false_soundings: int | None

    rate: float | None
    """鸣响率; None where nothing was ordered to sound."""
    rate_without_stopped: float | None

    @property
    def good(self) -> bool:
        """Every siren and gateway meant has answered, and none failed, was refused, or was too late."""
        bad = (Ending.FAILED, Ending.NO_ANSWER, Ending.REJECTED, Ending.EXPIRED, Ending.PENDING)
        return self.total.ordered > 0 and not self.silent and not any(self.total.endings.get(b.value) for b in bad)

    def as_json(self) -> dict[str, object]:
        order = self.order
        return {
            "order": order.id, "action": order.action.value, "mode": order.mode.value, "area": order.area,
            "signal": order.sound.name if order.sound else None, "good": self.good,
            "ordered": self.total.ordered, "commanded": self.total.commanded, "sensed": self.total.sensed,
            "heard": self.total.heard, "endings": self.total.endings,
            "rate": self.rate, "rate_without_stopped": self.rate_without_stopped,
            "formula": FORMULA, "stopped_rule": STOPPED_RULE,
            "start_skew_ms": self.total.skew_ms, "late_p50_ms": self.late_p50_ms, "late_max_ms": self.late_max_ms,
            "false_soundings": self.false_soundings, "reasons": self.reasons, "unproved": self.unproved,
            "unexpected": self.unexpected, "silent": list(self.silent), "troubles": self.troubles,
            "deviations": self.deviations,
            "gateways": [asdict(line) for line in self.lines],
        }

    def text(self) -> str:
        """For people, a figure a line."""
        t, order = self.total, self.order
        name = order.sound.name if order.sound else order.action.value
        mode = "" if order.action is Action.STOP else f" · {order.mode.value}"
        out = [
            f"报告 Report  {name}{mode} · 区域 area {order.area} · {order.id[:8]}",
            f"  受令 ordered            {t.ordered}",
        ]
        if order.action is Action.SOUND:
            out += [
                f"  已执行 commanded        {t.commanded}   命令均获确认 every on-phase acknowledged",
                f"  已感知 sensed           {t.sensed}   独立反馈证实 proved by independent feedback",
                f"  已听到 heard            {t.heard}   拾音证实 heard by a microphone",
                f"  鸣响率 sounding rate    {_percent(self.rate)} = {t.sensed}/{t.ordered}",
                f"    {FORMULA}",
            ]
            if t.endings.get(Ending.STOPPED.value):
                out += [f"    不计中止者 without the stopped: {_percent(self.rate_without_stopped)}",
                        f"    {STOPPED_RULE}"]
        out += [f"  {ENDINGS[Ending(ending)]:<22} {n}" for ending, n in t.endings.items()]
        out += [f"    {why}: {', '.join(who)}" for why, who in self.reasons.items()]
        if self.unproved:
            out.append(f"  未证实 unproved         {', '.join(self.unproved)}")
        if self.unexpected:
            out.append(f"  名册外 not in the fleet {', '.join(self.unexpected)}")
        if self.silent:
            out.append(f"  网关无应答 silent       {', '.join(self.silent)}   名单所列，警报器不详"
                       " in the signed list; which sirens it has is not known here")
        if t.skew_ms is not None:
            out.append(f"  同步偏差 start skew     {t.skew_ms:.0f} ms")
            out += [f"    {line.gateway}: {line.skew_ms:.0f} ms" for line in self.lines if line.skew_ms is not None]
        if self.late_max_ms is not None:
            out.append(f"  到达时延 late           p50 {self.late_p50_ms:.0f} ms, max {self.late_max_ms:.0f} ms")
        if self.false_soundings is not None:
            out.append(f"  误鸣数 false soundings  {self.false_soundings}")
        out += [f"  异常 trouble            {one}" for one in self.troubles]
        out += [f"  偏差 deviation          {one}" for one in self.deviations]
        return "\n".join(out)


def of(order: OrderBody, sirens: Sequence[SirenResult], false_soundings: int | None = None,
       silent: Sequence[str] = ()) -> Report:
    """The report on these pictures of an order's sirens."""
    gateways = sorted({s.gateway for s in sirens})
    total = _line("", sirens)
    kept = [s for s in sirens if s.ending is not Ending.STOPPED]
    late = sorted(s.late_ms for s in sirens if s.late_ms is not None)
    reasons: dict[str, list[str]] = {}
    for s in sirens:
        if s.ending is not Ending.FINISHED:
            reasons.setdefault(f"{s.ending.value}: {s.reason}" if s.reason else s.ending.value, []).append(_name(s))
    sounds = order.action is Action.SOUND
    return Report(
        order, total, tuple(_line(g, [s for s in sirens if s.gateway == g]) for g in gateways),
        reasons=reasons,
        unproved=[_name(s) for s in sirens if sounds and s.ending is Ending.FINISHED and not s.sounded],
        unexpected=[_name(s) for s in sirens if not s.expected], silent=tuple(silent),
        troubles=[f"{_name(s)}: {why}" for s in sirens for why in s.troubles],
        deviations=[f"{_name(s)}: {what}" for s in sirens for what in s.deviations],
        late_p50_ms=median(late) if late else None, late_max_ms=late[-1] if late else None,
        false_soundings=false_soundings,
        rate=total.sensed / total.ordered if sounds and total.ordered else None,
        rate_without_stopped=sum(s.sounded for s in kept) / len(kept) if sounds and kept else None,
    )


def _line(gateway: str, sirens: Sequence[SirenResult]) -> Line:
    def share(counted: int, phases: int) -> bool:
        return phases > 0 and 5 * counted >= 4 * phases

    edges = []
    for s in sirens:
        with suppress(Malformed):
            edges += [wire.to_wall_us(s.first_edge)] if s.first_edge else []
    seen = [s.evidence for s in sirens if s.evidence is not None]
    return Line(
        gateway, len(sirens),
        commanded=sum(e.phases > 0 and e.commanded >= e.phases for e in seen),
        sensed=sum(s.sounded for s in sirens),
        heard=sum(share(e.heard, e.phases) for e in seen),
        endings={e.value: n for e in ENDINGS if (n := sum(s.ending is e for s in sirens))},
        skew_ms=(max(edges) - min(edges)) / 1000 if len(edges) > 1 else None,
    )


def _name(s: SirenResult) -> str:
    return f"{s.gateway}/{s.siren}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"
