"""In any order of events the orders machine keeps its promises."""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.event import Activate, Append, AppendFailed, Degraded, Durable, QuietTest, Say, Trust
from controller.wire import Mode, Receipt, Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import LI, WANG, Desk, drill, live, name, order, stop

POOL = [drill(1), drill(2, sound="demo-918", start_s=5), live(3), live(4, sound="disaster-gansu"),
        live(5, sirens=["s-2"]), order(LI, n=6, action="quiet-test", mode="silent", sound=None), stop(7, who=(LI,)),
        stop(8), stop(9, who=(LI, WANG), stops=name(3)), order(LI, WANG, n=10), live(3, area="41")]

steps = st.one_of(
    st.tuples(st.just("arrives"), st.integers(0, len(POOL) - 1)),
    st.tuples(st.just("progress"), st.integers(0, 30), st.sampled_from(sorted(Stage))),
    st.tuples(st.just("durable"), st.integers(0, 30)),
    st.tuples(st.just("failed"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.05, 0.2, 3.0, 20.0])),
    st.tuples(st.just("clock"), st.sampled_from(sorted(Trust))),
    st.tuples(st.just("local"), st.sampled_from(["stop", "activate", "quiet-test"])),
    st.tuples(st.just("restart")),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=8, max_size=60))
def test_in_any_order_of_events_the_promises_hold(script: list[tuple[Any, ...]]) -> None:
    """One last word an order and siren; one start an activation; the disk before the siren; a deadline ahead."""
    desk = Desk()
    out = list(desk.first)
    given_: list[Activate | QuietTest] = []
    tokens: list[int] = []
    written: set[int] = set()
    ends: Counter[tuple[str, str]] = Counter()
    starts: Counter[tuple[str, str]] = Counter()
    order_of: dict[int, str] = {}
    degraded = False
    for step in [("wait", 0.0), *script]:
        match step:
            case ("arrives", i):
                out = desk.arrives(POOL[i])
            case ("progress", i, stage) if given_:
                one = given_[i % len(given_)]
                out = desk.progress(one, stage)
            case ("durable", i) if tokens:
                token = tokens[i % len(tokens)]
                written |= {t for t in tokens if t <= token}
                out = desk.do(Durable(token))
            case ("failed", i) if tokens:
                out = desk.do(AppendFailed(tokens[i % len(tokens)], "disk full"))
            case ("wait", seconds):
                out = desk.do(Woken(), after_s=seconds)
            case ("clock", level):
                out = desk.tick((desk.now - desk.born) / S, level=level)
            case ("local", verb):
                out = desk.asks(verb, siren="s-1", seconds=1)
            case ("restart",):
                wall_s = desk.wall_s + (desk.now - desk.born) / S
                desk = Desk(records=desk.records, wall_s=wall_s, now=1, boot=f"{desk.boot}+")
                out, tokens, written, given_ = desk.first, [], set(), []
                order_of, starts = {}, Counter()
            case _:
                continue
        for effect in out:
            match effect:
                case Append(token, record):
                    tokens.append(token)
                    order_of[token] = str(record.body.get("order"))
                case Degraded("NO-JOURNAL", on, _):
                    degraded = on
                case Activate() | QuietTest():
                    given_.append(effect)
                    starts[effect.order, effect.siren] += 1
                    resumed = isinstance(effect, Activate) and effect.resumed
                    on_disk = effect.order in {order_of[t] for t in written}
                    is_live = isinstance(effect, Activate) and effect.mode is Mode.LIVE
                    assert on_disk or resumed or (degraded and is_live), effect
                case Say(Receipt() as receipt) if receipt.stage.terminal:
                    ends[receipt.order, receipt.siren] += 1
        assert [k for k, n in ends.items() if n > 1] == []
        assert [k for k, n in starts.items() if n > 1] == []
        assert desk.orders.deadline is None or desk.orders.deadline > desk.now
