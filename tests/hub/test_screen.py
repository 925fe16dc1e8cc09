"""What the terminal shows: every line fits, and nothing without evidence looks as if it had sounded."""

import io
import re
from pathlib import Path

import pytest

from controller import targets, wire
from controller.wire import Action, Evidence, Mode, OrderBody, Receipt, Sound, Stage
from firmware_bridge.machine import S
from hub import config, screen
from hub.dispatch import Dispatch
from hub.event import Broker, Clock, Told
from hub.fleet import Fleet

SIGNALS = config.load(Path(__file__).resolve().parents[2] / "configs/demo/hub.toml").signals
WALL = 1_800_000_000 * S
AT = wire.to_text(WALL)


def dispatch(sirens: int) -> Dispatch:
    order = OrderBody(
        v=1, id="a" * 32, deployment="demo", issuer="hub", issued_at=AT, not_before=AT,
        expires_at=wire.to_text(WALL + 60 * S), area="41/01", action=Action.SOUND, mode=Mode.LIVE, sequence=1,
        trust_version=1, sound=Sound(name="demo-air-raid", digest=SIGNALS.digest("demo-air-raid")))
    machine = Dispatch(order, b"", {"gw-1": tuple(f"s-{n}" for n in range(sirens))}, 36 * S)
    machine.handle(0, Clock(WALL))
    return machine


def fleet() -> Fleet:
    machine = Fleet("demo")
    machine.handle(0, Broker(True))
    cards = tuple(wire.SirenCard(id=f"s-{n}", name="农业路立交桥下 Nongye Road underpass, a long name", type="motor",
                                 area="41/01/05/001/001", layer=wire.Layer.SURFACE, feedback=n > 0) for n in range(3))
    birth = wire.Birth(gateway="gw-1", session="one", at=AT, version="1", area="41/01/05/001/001", deployment="demo",
                       sirens=cards, devices=(), signals={"demo-air-raid": "0" * 32}, trust_version=1)
    machine.handle(0, Told("gw-1", "birth", birth, False, WALL))
    return machine


def say(machine: Dispatch, siren: str, stage: Stage, evidence: Evidence | None = None, reason: str = "") -> None:
    told = Receipt(seq=5, gateway="gw-1", order="a" * 32, siren=siren, stage=stage, at=AT, evidence=evidence,
                   reason=reason)
    machine.handle(1, Told("gw-1", "receipt", told, False, WALL))


@pytest.mark.parametrize(("columns", "rows", "sirens"), [(80, 24, 3), (60, 24, 40), (200, 60, 3)])
def test_no_line_wraps_and_the_picture_fits(columns: int, rows: int, sirens: int) -> None:
    machine = dispatch(sirens)
    say(machine, "s-1", Stage.FAILED, reason="no feedback, and a long story of why there was none " * 4)
    lines = screen.frame(machine, SIGNALS, fleet(), columns, rows)
    assert len(lines) < rows
    for line in lines:
        assert screen.width(re.sub(r"\x1b\[[0-9;]*m", "", line)) < columns
    assert "s-1" in lines[3], "the one in trouble stands first"


def test_only_evidence_is_green() -> None:
    machine = dispatch(3)
    say(machine, "s-0", Stage.FINISHED, Evidence(phases=3, commanded=3, sensed=0, independent=False))
    say(machine, "s-1", Stage.FINISHED, Evidence(phases=3, commanded=3, sensed=3, independent=True))
    green = [line for line in screen.frame(machine, SIGNALS, fleet(), 100, 30) if "\x1b[32m" in line]
    assert len(green) == 1
    assert "s-1" in green[0]


def test_a_plain_line_is_said_once_for_each_change() -> None:
    machine, out = dispatch(2), io.StringIO()
    lines = screen.Lines(out)
    for _ in range(3):
        lines.show(machine, SIGNALS, fleet())
    first = out.getvalue()
    assert first.count("s-0") == 1
    say(machine, "s-0", Stage.STARTED)
    lines.show(machine, SIGNALS, fleet())
    assert [line.split()[0] for line in out.getvalue()[len(first):].splitlines()] == ["gw-1", "gw-1/s-0"]


def test_the_plan_warns_of_a_gateway_that_means_something_else() -> None:
    machine = dispatch(1)
    plan = screen.plan(machine.order, SIGNALS, fleet())
    assert any("means another pattern" in line for line in plan)
    assert "实战 LIVE" in plan[0]
    assert any("未知 unknown" in line for line in plan), "its status never came"


def test_the_plan_warns_of_what_is_otherwise_than_prepared() -> None:
    order = dispatch(1).order

    def warned(prepared: dict[str, str] | None, mode: Mode = Mode.LIVE) -> list[str]:
        given = order.model_copy(update={"prepared": prepared, "mode": mode})
        return [line for line in screen.plan(given, SIGNALS, fleet()) if line.lstrip().startswith("!")][1:]

    cards = next(iter(fleet().meant(order).values()))
    same = targets.digest("gw-1", cards)
    assert warned({"gw-1": same}) == []
    (live,) = warned({"gw-1": targets.digest("gw-1", cards[:1])})
    assert "sounds all the same" in live
    (drill,) = warned({}, Mode.DRILL)
    assert "will be refused there: not in its list" in drill
    (gone,) = warned({"gw-1": same, "gw-gone": same})
    assert "not known here" in gone
    (bare,) = warned(None)
    assert "no list is signed" in bare


def test_the_roster_shows_the_unknown_as_unknown() -> None:
    text = "\n".join(screen.roster(fleet()))
    assert text.count("UNKNOWN") == 3
    assert "无反馈 no feedback" in text
