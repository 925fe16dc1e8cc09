"""Whatever happens to a siren, it keeps its promises: ANSWERED, BOUNDED-ON, HONEST, and a stop is the last word."""

from itertools import count
from math import ceil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.event import QuietTest, Rank
from controller.wire import Mode, Stage
from firmware_bridge.machine import MS, S
from tests.controller.bench_siren import BOARD, COILS, HEAD, HORN, T0, Field, beat


@st.composite
def troubles(draw: st.DrawFn) -> tuple[Any, ...]:
    drive = draw(st.sampled_from([BOARD, COILS, HEAD, HORN]))
    cells = draw(st.lists(st.integers(2, 90), min_size=2, max_size=12))
    fails = draw(st.sets(st.integers(0, 40), max_size=25))
    losses = draw(st.sets(st.integers(0, 40), max_size=10))
    events = draw(st.lists(st.tuples(
        st.integers(0, 60_000),
        st.sampled_from(["stop", "stop-1", "order", "live", "late", "clock", "isolate", "free", "dead", "alive", "weld",
                         "unweld", "panel", "quiet", "off", "on", "jam"])), max_size=10))
    return drive, [c / 10 for c in cells], fails, losses, sorted(events), draw(st.booleans()), draw(st.booleans())


def wired(jammed: list[bool]) -> dict[str, Any]:
    """A contactor, three phases and an ear; while `jammed` holds True the contactor stays open and its leg is dark."""
    def closed(f: Field) -> bool:
        return f.welded or (f.out.on and not jammed[-1])

    points = {"legs.contact": closed, "ear.level": lambda f: 104.0 if f.loud else 50.0,
              "legs.a": lambda f: 8.0 * closed(f), "legs.b": lambda f: 8.0 * (f.out.on and not jammed[-1]),
              "legs.c": lambda f: None if jammed[-1] else 8.0 * closed(f)}
    section = {"contactor": "legs.contact", "phase_currents": ["legs.a", "legs.b", "legs.c"], "phase_above": 2.0,
               "feedback": [{"point": "meter.current", "above": 2.0},
                            {"point": "ear.level", "above": 85, "proves": "heard"}]}
    return {"section": section, "points": points}


def stays_silent(f: Field, since: int | None) -> None:
    """A stop of everything is the last word until somebody asks again."""
    begun = [] if since is None else f.begins[since:]
    assert [b for _, b in begun if b.device == "board" and b.action in ("activate", "renew")] == []


@settings(max_examples=150, deadline=None)
@given(troubles())
def test_whatever_happens(case: tuple[Any, ...]) -> None:
    drive, cells, fails, losses, events, second, motor = case
    seen = count()
    heard = count()
    jammed = [False]
    wires = wired(jammed) if motor else {"section": {}}
    wires["section"] |= {"second_off": "cutter.1"} if second else {}
    f = Field(drive, deaf=lambda b: next(heard) in fails, lost=lambda b: next(seen) in losses, **wires).run(T0)
    f.clock()
    timeline = beat(*cells)
    f.order(timeline, id="o-0", start_us=T0 + 3 * S)
    asked = {"o-0"}
    silent_from: int | None = None
    for n, (after_ms, what) in enumerate(events, 1):
        f.run(max(f.now, T0 + after_ms * MS))
        match what:
            case "stop" | "stop-1":
                if what == "stop" and silent_from is None:
                    silent_from = len(f.begins)
                f.stop(None if what == "stop" else "o-1")
            case "order" | "live" | "late":
                asked.add(f"o-{n}")
                stays_silent(f, silent_from)
                silent_from = None
                start = f.now + {"order": 4 * S, "live": 0, "late": -S}[what]
                f.order(timeline, id=f"o-{n}", mode=Mode.LIVE if what == "live" else Mode.DRILL,
                        rank=Rank.FLOOD if what == "live" else Rank.DRILL, start_us=start)
            case "clock":
                f.clock((after_ms % 7 - 3) * S)
            case "isolate" | "free":
                f.isolated = what == "isolate"
            case "dead" | "alive":
                f.dead = what == "dead"
            case "weld" | "unweld":
                f.welded = what == "weld"
            case "panel":
                f.panel = not f.panel
            case "off" | "on":
                f.out.on = what == "on"
            case "jam":
                jammed.append(not jammed[-1])
            case "quiet":
                asked.add(f"q-{n}")
                f.siren_told(QuietTest("s-1", f"q-{n}/s-1", f"q-{n}", "the technician"))
    f.run(f.now + 300 * S)
    # ANSWERED: one end each.
    for id in asked:
        assert sum(p.stage.terminal for p in f.told if p.order == id) == 1, (id, f.told)
        assert f.stages(id)[-1] == f.end(id).stage.value
    stays_silent(f, silent_from)
    # BOUNDED-ON: no lease is longer than its phase, and none than five seconds.
    spans = [c * S for c in cells[::2]]
    for _, b in f.begins:
        if b.args and b.device == "board":
            lease, rest = float(b.args["lease_s"]), float(b.args["rest_s"])
            assert 0 < lease <= min(5.0, rest) + 1e-9
            assert rest <= ceil(max(spans) / S)
    # HONEST: nothing is called sounded that did not sound in our phases.
    for p in f.told:
        if p.stage is Stage.FINISHED and p.evidence is not None and p.evidence.phases:
            assert p.evidence.sounded or p.evidence.commanded == p.evidence.phases
