"""The orders machine: made-up time, real signatures, the demo persons and the national signals."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller import admission, ledger, pulse, signal, targets, wire
from controller.event import (
    Activate,
    Append,
    AppendFailed,
    Arrived,
    Ask,
    Clock,
    Degraded,
    Durable,
    Gone,
    Notice,
    Offered,
    Progress,
    Publish,
    QuietTest,
    Rank,
    Record,
    Say,
    SayAgain,
    Stop,
    Trust,
)
from controller.intake import ANSWERS, QUEUE_LIMIT, WINDOW_US
from controller.ledger import Accept, Entry, Ledger, State
from controller.orders import DRILL_PATIENCE_US, LIVE_PATIENCE_US, STOP_PATIENCE_US, Orders
from controller.site import Target
from controller.trust import Reason
from controller.wire import Evidence, Layer, Mode, OrderBody, Receipt, Stage
from firmware_bridge.machine import MS, S, Woken
from hub import keys

ROOT = Path(__file__).parents[2]
LI, WANG, ZHANG = (
    keys.load_key(ROOT / f"configs/demo/keys/{n}.jwk") for n in ("operator-1", "operator-2", "commander"))
TRUST = admission.load(ROOT / "configs/demo/trust.json", None, "demo").list
SIGNALS = signal.load([ROOT / f"configs/signals/{n}.toml" for n in ("national", "provinces", "henan", "demo")])
HERE = "41/1/2/3/4"
GATEWAYS = {"gw-1": ("s-1", "s-2"), "gw-alone": ("s-1",)}
WALL = wire.to_wall_us("2026-09-18T02:00:00.000Z")
MINUTE = 60 * S


def order(*who: dict[str, str], n: int = 1, sound: str | None = "air-raid", start_s: float | None = None,
          issued_s: float = 0, digest: str | None = None, **changes: Any) -> bytes:
    """An order that is issued at WALL and good for five minutes, unless told otherwise, and prepared for the gateways
    of this page."""
    from_s = min(issued_s, 0)
    data: dict[str, Any] = {
        "v": 1, "id": f"{n:032x}", "deployment": "demo", "issuer": "Zhengzhou",
        "issued_at": wire.to_text(WALL + round(issued_s * S)), "not_before": wire.to_text(WALL + round(from_s * S)),
        "expires_at": wire.to_text(WALL + round(from_s * S) + 5 * MINUTE), "area": "41/1", "action": "sound",
        "mode": "live", "sequence": n, "trust_version": 1,
    }
    if sound is not None:
        known = SIGNALS.digest(sound) if sound in SIGNALS else "0" * 32
        data["sound"] = {"name": sound, "digest": digest or known}
        if start_s is not None:
            data["sound"]["start_at"] = wire.to_text(WALL + round(start_s * S))
    if (data | changes)["action"] == "sound":
        data["prepared"] = {gateway: targets.digest(gateway, [
            Target(s, HERE, Layer.SURFACE) for s in sirens if s in changes.get("sirens", sirens)
        ]) for gateway, sirens in GATEWAYS.items()}
    body = wire.validate(OrderBody, {k: v for k, v in (data | changes).items() if v is not None})
    return keys.sign(body, list(who))


def live(n: int = 1, **changes: Any) -> bytes:
    return order(LI, ZHANG, n=n, **changes)


def drill(n: int = 1, **changes: Any) -> bytes:
    return order(LI, n=n, **{"mode": "drill"} | changes)


def stop(n: int = 99, who: tuple[dict[str, str], ...] = (ZHANG,), **changes: Any) -> bytes:
    return order(*who, n=n, **{"action": "stop", "sound": None} | changes)


def name(n: int) -> str:
    return f"{n:032x}"


@dataclass
class Desk:
    """A gateway's orders with the hands of its neighbours: journal, sirens, session. Time moves only by `at`."""

    sirens: tuple[str, ...] = ("s-1", "s-2")
    technicians: dict[str, str] = field(default_factory=lambda: {"tech": "Zhao Tech"})
    now: int = 1_000 * S
    clock: bool = True
    boot: str = "one"
    layers: dict[str, Layer] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    wall_s: float = 0

    def __post_init__(self) -> None:
        targets = [Target(s, HERE, self.layers.get(s, Layer.SURFACE)) for s in self.sirens]
        gateway = next((id for id, sirens in GATEWAYS.items() if sirens == self.sirens), "gw-1")
        self.orders = Orders(gateway, "demo", targets, SIGNALS, TRUST, self.technicians, self.boot,
                             chance=f"chance of {self.boot}")
        self.orders.restore(self.records)
        self.born = self.now
        self.first: list[Any] = []
        if self.clock:
            self.first = self.tick(self.wall_s)

    def do(self, event: Any, after_s: float = 0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.orders.handle(self.now, event)
        for effect in out:
            if isinstance(effect, Append):
                self.records.append(effect.record)
            if isinstance(effect, Say):
                body = effect.message.model_dump(mode="json", exclude_none=True)
                self.records.append(Record("receipt", json.loads(json.dumps(body))))
        return out

    def tick(self, wall_s: float, after_s: float = 0, level: Trust = Trust.TRUSTED) -> list[Any]:
        return self.do(Clock(WALL + round(wall_s * S), 10 * MS, level), after_s)

    def arrives(self, data: bytes, after_s: float = 0, **more: Any) -> list[Any]:
        return self.do(Arrived("siren/1/o/41/1/order", data, **more), after_s)

    def written(self, out: list[Any]) -> list[Any]:
        """The journal's answer to what `out` asked for."""
        return [e for a in out if isinstance(a, Append) for e in self.do(Durable(a.token))]

    def sounds(self, data: bytes) -> list[Any]:
        """Arrives, is durable, and starts on every siren."""
        given = self.written(self.arrives(data))
        for a in given:
            if isinstance(a, Activate):
                self.progress(a, Stage.STARTED)
        return given

    def progress(self, a: Activate | QuietTest, stage: Stage, **more: Any) -> list[Any]:
        mode = a.mode if isinstance(a, Activate) else Mode.SILENT
        return self.do(Progress(a.siren, a.activation, a.order, stage, mode, **more))

    def asks(self, verb: str, user: str = "tech", client: int = 7, **args: Any) -> list[Any]:
        return self.do(Ask(client, 1000, user, verb, args))


def said(out: list[Any]) -> list[tuple[str, Stage, str]]:
    return [(e.message.siren, e.message.stage, e.message.reason) for e in out
            if isinstance(e, Say) and isinstance(e.message, Receipt)]


def of(kind: type[Any], out: list[Any]) -> list[Any]:
    return [e for e in out if isinstance(e, kind)]


def lines(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in of(Publish, out)]


def refused(out: list[Any]) -> str:
    """The reason of the one order-level refusal."""
    (one,) = said(out)
    assert one[:2] == ("", Stage.REJECTED)
    return one[2]


# The main path.


def test_journal_first_then_the_sirens() -> None:
    desk = Desk()
    out = desk.arrives(live())
    assert said(out) == [("", Stage.RECEIVED, "")]
    assert of(Activate, out) == []
    (append,) = of(Append, out)
    assert append.record.kind == "accept"
    assert append.record.body["persons"] == ["Li Wei", "Zhang Min"]
    assert append.record.body["sirens"] == ["s-1", "s-2"]
    assert json.loads(append.record.body["raw"]) == json.loads(live())
    out = desk.do(Durable(append.token), after_s=0.1)
    assert said(out) == [("s-1", Stage.ACCEPTED, ""), ("s-2", Stage.ACCEPTED, "")]
    first = of(Activate, out)[0]
    assert first == Activate(
        "s-1", f"{name(1)}/s-1", name(1), Mode.LIVE, Rank.AIR_RAID, SIGNALS.timeline("air-raid"), None, 190 * S,
        "Li Wei, Zhang Min", False, WALL + 5 * MINUTE, fresh=True)


def test_receipts_carry_the_proof() -> None:
    desk = Desk()
    (one, _) = of(Activate, desk.written(desk.arrives(live())))
    edge_us = desk.now + 123_456
    (receipt,) = of(Say, desk.progress(one, Stage.STARTED, first_edge_us=edge_us, ordered_us=edge_us - 1_500))
    assert receipt.message.first_edge == "2026-09-18T02:00:00.123456Z"
    assert receipt.message.late_ms == 1.5
    evidence = Evidence(phases=15, commanded=15, sensed=15, independent=True)
    (receipt,) = of(Say, desk.progress(one, Stage.FINISHED, evidence=evidence, deviations=("cut",)))
    assert receipt.message.evidence == evidence
    assert receipt.message.mode is Mode.LIVE
    assert receipt.message.deviations == ("cut",)


def test_after_the_last_word_nothing_more_is_said() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.arrives(live())))
    assert said(desk.progress(one, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]
    for stage in (Stage.FAILED, Stage.STOPPED, Stage.SENSED, Stage.TROUBLE, Stage.FINISHED):
        assert desk.progress(one, stage) == []


def test_a_programme_is_armed_ahead_with_its_start() -> None:
    desk = Desk()
    out = desk.written(desk.arrives(drill(sound="henan-918", start_s=3600, not_before=wire.to_text(WALL + 3500 * S),
                                          expires_at=wire.to_text(WALL + 4000 * S), max_duration_s=600)))
    assert {a.start_wall_us for a in of(Activate, out)} == {WALL + 3600 * S}
    assert {a.limit_us for a in of(Activate, out)} == {600 * S}
    assert {a.rank for a in of(Activate, out)} == {Rank.DRILL}


def test_only_the_sirens_that_are_meant() -> None:
    desk = Desk(layers={"s-2": Layer.UNDERGROUND})
    assert [a.siren for a in of(Activate, desk.written(desk.arrives(live(1, layer="underground"))))] == ["s-2"]
    assert [a.siren for a in of(Activate, desk.written(desk.arrives(live(2, sirens=["s-1", "other"]))))] == ["s-1"]


def test_a_quiet_test_tests_quietly() -> None:
    desk = Desk(sirens=("s-1",))
    (test,) = of(QuietTest, desk.written(desk.arrives(order(LI, action="quiet-test", mode="silent", sound=None))))
    assert said(desk.progress(test, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]


# The disk.


def test_a_live_order_goes_on_without_the_disk() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    assert desk.orders.deadline == desk.now + LIVE_PATIENCE_US
    assert of(Activate, desk.do(Woken(), after_s=0.199)) == []
    out = desk.do(Woken(), after_s=0.001)
    assert Degraded("NO-JOURNAL", True, "no answer from the journal") in out
    assert len(of(Activate, out)) == 2
    late = desk.do(Durable(append.token), after_s=1)
    assert late == [Degraded("NO-JOURNAL", False)]


def test_a_disk_that_refuses_is_not_waited_for() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    out = desk.do(AppendFailed(append.token, "disk full"))
    assert Degraded("NO-JOURNAL", True, "disk full") in out
    assert len(of(Activate, out)) == 2


def test_no_journal_ends_by_itself_when_the_disk_takes_records_again() -> None:
    """No other order need come: the pulse tries the disk."""
    desk = Desk()
    (append,) = of(Append, desk.arrives(drill()))
    desk.do(AppendFailed(append.token, "disk full"))
    for _ in range(2):
        (beat,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
        assert beat.record.kind == "alive"
        assert of(Degraded, desk.do(AppendFailed(beat.token, "disk full"))) == []
    (beat,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
    assert of(Degraded, desk.do(Durable(beat.token))) == [Degraded("NO-JOURNAL", False)]


def test_a_false_copy_of_a_believed_order_gets_no_second_last_word() -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(live()))
    desk.do(Durable(append.token))
    copy = live().replace(b'"signatures":[', b'"signatures":[{},')
    out = desk.do(Arrived("siren/1/o/41/1/order", copy))
    assert of(Say, out) == []
    assert [n.what for n in of(Notice, out)] == ["order-refused"]


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_drill_needs_the_disk(how: str) -> None:
    desk = Desk()
    (append,) = of(Append, desk.arrives(drill()))
    if how == "refused":
        out = desk.do(AppendFailed(append.token, "disk full"))
    else:
        out = desk.do(Woken(), after_s=DRILL_PATIENCE_US / S)
    assert said(out) == [("s-1", Stage.REJECTED, "no-journal"), ("s-2", Stage.REJECTED, "no-journal")]
    assert of(Activate, out + desk.do(Durable(append.token))) == []


def test_one_word_of_the_disk_is_for_all_before_it() -> None:
    desk = Desk()
    desk.arrives(live(1, sirens=["s-1"]))
    (second,) = of(Append, desk.arrives(live(2, sirens=["s-2"])))
    assert [a.order for a in of(Activate, desk.do(Durable(second.token)))] == [name(1), name(2)]


# The same again.


def test_the_same_order_again_gets_the_same_answer_and_no_second_action() -> None:
    desk = Desk()
    desk.sounds(live())
    for _ in range(3):
        assert desk.arrives(live(), after_s=1) == [SayAgain(name(1))]
    # More signatures under the same content are the same order.
    assert desk.arrives(order(LI, WANG, ZHANG)) == [SayAgain(name(1))]


def test_the_same_order_twice_before_its_signatures_are_checked() -> None:
    desk = Desk()
    out = [e for _ in range(20) for e in desk.arrives(live())]
    out += desk.do(Woken(), after_s=WINDOW_US / S)
    assert len(of(Append, out)) == 1
    assert len(of(SayAgain, out)) == 19


def test_another_order_under_a_known_id() -> None:
    desk = Desk()
    desk.sounds(live())
    out = desk.arrives(live(area="41"))
    assert out == [Notice("order-refused", name(1), "duplicate-id-other-content")]


def test_a_false_copy_blocks_no_true_order() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, keys.new_key("x")))) == "unknown-key"
    assert len(of(Activate, desk.written(desk.arrives(live())))) == 2


def test_what_was_believed_and_refused_stays_refused() -> None:
    desk = Desk()
    desk.sounds(drill(1))
    assert said(desk.arrives(drill(2)))[1:] == [(s, Stage.REJECTED, "outranked") for s in ("s-1", "s-2")]
    desk.arrives(stop(who=(LI,)))
    assert desk.arrives(drill(2)) == [SayAgain(name(2))]


# Refusals.


@pytest.mark.parametrize(("data", "reason"), [
    (b"{}", None),
    (b"x" * 20_000, None),
    (order(LI, ZHANG, deployment="city"), Reason.WRONG_DEPLOYMENT),
    (order(LI, WANG), Reason.TOO_FEW_PERSONS),
    (order(LI), Reason.TOO_FEW_PERSONS),
    (order(LI, ZHANG, area="42"), Reason.WRONG_AREA),
    (live(issued_s=-301), Reason.EXPIRED),
    (live(issued_s=60), Reason.NOT_YET),
    (live(not_before=wire.to_text(WALL + 60 * S)), Reason.NOT_YET),
    (live(expires_at=wire.to_text(WALL + 301 * S)), Reason.TOO_LONG),
    (drill(expires_at=wire.to_text(WALL + 100_000 * S)), Reason.TOO_LONG),
    (live(expires_at=wire.to_text(WALL - 1 * S)), Reason.BAD_WINDOW),
    (live(start_s=-1), Reason.BAD_WINDOW),
    (live(start_s=301), Reason.BAD_WINDOW),
    (live(sound="no-such"), Reason.UNKNOWN_SIGNAL),
    (live(digest="0" * 32), Reason.SIGNAL_MISMATCH),
    (live(area="41/2"), Reason.NO_TARGET),
    (live(sirens=["s-9"]), Reason.NO_TARGET),
    (live(layer="underground"), Reason.NO_TARGET),
    (drill(trust_version=2), Reason.STALE_TRUST),
])
def test_an_order_that_is_refused_as_a_whole(data: bytes, reason: Reason | None) -> None:
    desk = Desk()
    out = desk.arrives(data)
    assert of(Activate, out + desk.written(out)) == []
    if reason is None:
        assert said(out) == []
        assert [n.what for n in of(Notice, out)] == ["order-refused"]
    else:
        assert refused(out) == reason


def test_a_retained_order_is_refused_and_reported() -> None:
    out = Desk().arrives(live(), retained=True)
    assert [(n.what, n.subject) for n in of(Notice, out)] == [("order-refused", name(1))]
    assert said(out) == []
    assert Desk().arrives(b"") == []


def test_a_warning_under_a_newer_trust_list_sounds() -> None:
    desk = Desk()
    out = desk.arrives(live(trust_version=2))
    assert [n.what for n in of(Notice, out)] == ["trust-behind"]
    assert len(of(Activate, desk.written(out))) == 2


def test_the_error_of_our_clock_is_the_orders_benefit() -> None:
    desk = Desk()
    desk.do(Clock(WALL, 3 * S, Trust.TRUSTED))
    assert said(desk.arrives(live(1, issued_s=-302)))[0][1] is Stage.RECEIVED
    assert said(desk.arrives(live(2, issued_s=4)))[0][1] is Stage.RECEIVED
    assert refused(desk.arrives(live(3, issued_s=-304))) == "expired"
    assert refused(desk.arrives(live(4, issued_s=6))) == "not-yet"


def test_without_a_believable_clock_only_stops() -> None:
    desk = Desk(clock=False)
    out = desk.arrives(live(1))
    assert refused(out) == "no-time"
    assert desk.tick(0, level=Trust.UNTRUSTED)[0] == Degraded("NO-TIME", True, "the clock is not to be believed")
    assert refused(desk.arrives(drill(2))) == "no-time"
    assert said(desk.arrives(stop()))[0] == ("", Stage.RECEIVED, "")
    assert desk.tick(0, level=Trust.ASSUMED) == [Degraded("NO-TIME", False), Offered(None)]
    assert len(of(Activate, desk.written(desk.arrives(live(3))))) == 2


def test_a_refusal_is_said_once_and_then_again() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, WANG))) == "too-few-persons"
    assert of(SayAgain, desk.arrives(order(LI, WANG), after_s=0.1)) == [SayAgain(name(1))]


def test_a_refusal_is_said_once_through_a_restart() -> None:
    desk = Desk()
    assert refused(desk.arrives(order(LI, WANG))) == "too-few-persons"
    after = Desk(records=desk.records, boot="two")
    assert of(SayAgain, out := after.arrives(order(LI, WANG))) == [SayAgain(name(1))]
    assert said(out) == []


def test_a_flood_of_refusals_is_not_answered_for_ever() -> None:
    desk = Desk()
    out = [e for n in range(ANSWERS + 100) for e in desk.arrives(live(n, deployment="city"))]
    assert len(said(out)) == ANSWERS


# Rank.


@pytest.mark.parametrize(("running", "new", "outranked"), [
    (drill(1), drill(2), True),
    (drill(1), live(2), False),
    (live(1), drill(2), True),
    (live(1), order(LI, n=2, action="quiet-test", mode="silent", sound=None), True),
    (live(1), live(2), False),
    (live(1), live(2, issued_s=-1), True),
    (live(1, sound="disaster-gansu"), live(2), False),
    (live(1), live(2, sound="disaster-gansu"), True),
    (live(1), live(2, sound="all-clear"), False),
    (live(1, sound="disaster-gansu"), live(2, sound="demo-air-raid"), True),
    (live(1), drill(2, sound="demo-918", start_s=60), False),
    (drill(1, sound="demo-918", start_s=60), drill(2), False),
])
def test_what_may_start_while_something_sounds(running: bytes, new: bytes, outranked: bool) -> None:
    desk = Desk(sirens=("s-1",))
    for a in of(Activate, desk.written(desk.arrives(running))):
        if a.start_wall_us is None:
            desk.progress(a, Stage.STARTED)
    out = desk.arrives(new)
    assert (("s-1", Stage.REJECTED, "outranked") in said(out)) is outranked
    assert bool(of(Activate, desk.written(out)) + of(QuietTest, out)) is (not outranked)


def test_two_drills_in_one_instant() -> None:
    desk = Desk(sirens=("s-1",))
    out = desk.arrives(drill(1)) + desk.arrives(drill(2))
    assert said(out)[1:] == [("", Stage.RECEIVED, ""), ("s-1", Stage.REJECTED, "outranked")]


def test_when_it_has_ended_the_next_may_start() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(drill(1)))
    desk.progress(one, Stage.FINISHED)
    assert len(of(Activate, desk.written(desk.arrives(drill(2))))) == 1


# Stops.


def test_a_stop_waits_for_nothing() -> None:
    desk = Desk()
    given = of(Activate, desk.sounds(live()))
    out = desk.arrives(stop(), after_s=5)
    assert out[:2] == [Stop("s-1", "Zhang Min", "stop"), Stop("s-2", "Zhang Min", "stop")]
    assert said(out) == [("", Stage.RECEIVED, ""), ("s-1", Stage.ACCEPTED, ""), ("s-2", Stage.ACCEPTED, "")]
    out = desk.progress(given[0], Stage.STOPPED, reason="Zhang Min")
    assert [(e.message.order, e.message.stage) for e in of(Say, out)] == [
        (name(1), Stage.STOPPED), (name(99), Stage.FINISHED)]


def test_a_stop_of_silence_is_finished_at_once() -> None:
    out = Desk().arrives(stop())
    assert len(of(Stop, out)) == 2
    assert said(out)[-1] == ("s-2", Stage.FINISHED, "nothing sounded")


def test_a_stop_takes_what_waits_for_the_disk() -> None:
    desk = Desk(sirens=("s-1",))
    (append,) = of(Append, desk.arrives(live()))
    out = desk.arrives(stop())
    assert ("s-1", Stage.STOPPED, "Zhang Min") in said(out)
    assert ("s-1", Stage.FINISHED, "") in said(out)
    assert of(Activate, desk.do(Durable(append.token)) + desk.do(Woken(), after_s=1)) == []


def test_a_stop_ends_what_is_armed() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.arrives(drill(sound="demo-918", start_s=200))))
    desk.arrives(stop(who=(LI,)))
    assert ("s-1", Stage.FINISHED, "") in said(desk.progress(one, Stage.STOPPED))


def test_a_stop_ends_only_what_was_issued_before_it() -> None:
    desk = Desk(sirens=("s-1",))
    desk.tick(20)
    desk.sounds(live(issued_s=10))
    out = desk.arrives(stop(issued_s=5))
    assert of(Stop, out) == []
    # It is not told as finished: the siren sounds on.
    assert said(out)[-1] == ("s-1", Stage.REJECTED, "issued-later")
    assert of(Stop, desk.arrives(stop(98, issued_s=10))) == [Stop("s-1", "Zhang Min", "stop")]


def test_a_stop_of_one_order_leaves_the_others() -> None:
    desk = Desk(sirens=("s-1",))
    desk.written(desk.arrives(drill(1, sound="demo-918", start_s=200)))
    desk.sounds(drill(2))
    out = desk.arrives(stop(who=(LI,), stops=name(1)))
    assert of(Stop, out) == [Stop("s-1", "Li Wei", "stop", name(1))]


def test_a_lone_operator_cannot_silence_a_warning() -> None:
    desk = Desk()
    desk.sounds(live(1, sirens=["s-1"]))
    desk.sounds(drill(2, sirens=["s-2"]))
    out = desk.arrives(stop(who=(LI,)))
    assert of(Stop, out) == [Stop("s-2", "Li Wei", "stop")]
    assert ("s-1", Stage.REJECTED, "too-few-persons") in said(out)
    # Nor one that is still to come.
    assert len(of(Activate, desk.written(desk.arrives(live(3))))) == 2
    (told,) = of(Stop, desk.arrives(stop(98, who=(LI, WANG), sirens=["s-1"])))
    assert told == Stop("s-1", "Li Wei, Wang Fang", "stop")


def test_what_was_issued_before_a_stop_does_not_start_after_it() -> None:
    desk = Desk(sirens=("s-1",))
    desk.tick(10)
    desk.arrives(stop(issued_s=5))
    assert said(desk.arrives(live(1, issued_s=4)))[-1] == ("s-1", Stage.REJECTED, "stopped")
    assert len(of(Activate, desk.written(desk.arrives(live(2, issued_s=6))))) == 1


def test_a_siren_that_never_says_off() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(live()))
    desk.arrives(stop())
    out = desk.do(Woken(), after_s=STOP_PATIENCE_US / S)
    assert said(out) == [("s-1", Stage.FAILED, "the siren did not say that it is off")]
    assert said(desk.progress(one, Stage.FAILED)) == [("s-1", Stage.FAILED, "")]


def test_a_stop_whose_siren_failed_says_so() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.sounds(live()))
    desk.arrives(stop())
    out = desk.progress(one, Stage.FAILED, reason="still sounding")
    assert said(out) == [("s-1", Stage.FAILED, "still sounding"), ("s-1", Stage.FAILED, "still sounding")]


# Signatures cost time.


def test_signatures_are_checked_a_few_at_a_time_and_stops_first() -> None:
    desk = Desk(sirens=("s-1",))
    out = [e for n in range(1, 21) for e in desk.arrives(drill(n, sirens=["s-1"]))]
    assert len(of(Append, out)) == 8
    out = desk.arrives(stop())
    assert out == []
    assert desk.orders.deadline == desk.born + WINDOW_US
    out = desk.do(Woken(), after_s=WINDOW_US / S)
    assert isinstance(out[0], Stop)
    assert len(of(Append, out)) == 8
    assert len(of(Append, desk.do(Woken(), after_s=WINDOW_US / S))) == 5
    assert desk.orders.deadline is None


def test_a_flood_of_stops_leaves_room_for_a_warning() -> None:
    desk = Desk(sirens=("s-1",))
    for n in range(100, 200):
        desk.arrives(order(WANG, n=n, action="stop", sound=None, area="42"))
    out = desk.arrives(live(1))
    assert of(Append, out) == []
    assert len(of(Append, desk.do(Woken(), after_s=WINDOW_US / S))) == 1


def test_the_queue_is_bounded() -> None:
    desk = Desk(sirens=("s-1",))
    data = [drill(n, area="42") for n in range(QUEUE_LIMIT + 20)]
    out = [e for d in data for e in desk.arrives(d)]
    assert sum("busy" in n.detail for n in of(Notice, out)) == 20 - 8


# The local door.


def test_a_technician_growls() -> None:
    desk = Desk()
    out = desk.asks("activate", siren="s-1", seconds=2.5)
    (one,) = of(Activate, desk.written(out))
    assert (one.mode, one.rank, one.by) == (Mode.DRILL, Rank.TECHNICIAN, "Zhao Tech")
    # The timeline is the bound; the limit behind it must not come first, or the end would be told as a stop.
    assert one.timeline.end_us == 2_500_000 < one.limit_us <= 2_500_000 + 10 * S
    out = desk.progress(one, Stage.STARTED) + desk.progress(one, Stage.FINISHED)
    assert [(x["stage"], x["last"]) for x in lines(out)] == [("started", False), ("finished", True)]
    assert desk.asks("activate", siren="s-1", seconds=1) != []


@pytest.mark.parametrize(("args", "reason"), [
    ({"siren": "s-1", "seconds": 2, "user": "guest"}, "not-permitted"),
    ({"siren": "s-1", "seconds": 3.1}, "too-long"),
    ({"siren": "s-1", "seconds": 15.1, "maintenance": True}, "too-long"),
    ({"siren": "s-1", "seconds": 10, "maintenance": "yes"}, "too-long"),
    ({"siren": "s-1", "seconds": 0}, "too-long"),
    ({"siren": "s-1", "seconds": float("nan")}, "too-long"),
    ({"siren": "s-1", "seconds": True}, "too-long"),
    ({"siren": "s-1"}, "too-long"),
    ({"siren": "s-9", "seconds": 1}, "no-target"),
    ({"siren": ["s-1"], "seconds": 1}, "no-target"),
    ({"seconds": 1}, "no-target"),
])
def test_what_a_local_user_may_not(args: dict[str, Any], reason: str) -> None:
    desk = Desk()
    out = desk.asks("activate", **args)
    (answer,) = lines(out)
    assert (answer["reason"], answer["last"]) == (reason, True)
    assert " / " in answer["text"]
    assert of(Append, out) == []


def test_under_maintenance_fifteen_seconds() -> None:
    desk = Desk()
    assert len(of(Activate, desk.written(desk.asks("activate", siren="s-1", seconds=15, maintenance=True)))) == 1


def test_a_technician_does_not_disturb_what_sounds() -> None:
    desk = Desk()
    desk.sounds(drill())
    out = desk.asks("activate", siren="s-1", seconds=1)
    assert ("s-1", Stage.REJECTED, "outranked") in said(out)
    assert lines(out)[-1]["last"] is True


@pytest.mark.parametrize("siren", ["s-1", "all", None])
def test_anybody_may_stop_here_and_at_once(siren: str | None) -> None:
    desk = Desk()
    given = of(Activate, desk.sounds(live(issued_s=1)))
    out = desk.asks("stop", user="guest", **({} if siren is None else {"siren": siren}))
    told = [s.siren for s in of(Stop, out)]
    assert told == (["s-1"] if siren == "s-1" else ["s-1", "s-2"])
    assert isinstance(out[1], Stop)
    assert of(Notice, out)[0].urgent
    ends = [e for a in given if a.siren in told for e in desk.progress(a, Stage.STOPPED)]
    assert lines(ends)[-1] == lines(ends)[-1] | {"stage": "finished", "last": True}


def test_a_local_stop_needs_no_clock_and_forbids_nothing_by_a_wrong_one() -> None:
    desk = Desk(sirens=("s-1",))
    desk.sounds(live())
    desk.tick(10**9, level=Trust.UNTRUSTED)
    assert of(Stop, desk.asks("stop", user="guest")) == [Stop("s-1", "guest", "stop")]
    again = Desk(sirens=("s-1",), records=desk.records, wall_s=30)
    assert len(of(Activate, again.written(again.arrives(live(2, issued_s=1))))) == 1


def test_a_signed_order_from_a_file() -> None:
    desk = Desk(sirens=("s-1",))
    out = desk.asks("order", text=live().decode())
    (one,) = of(Activate, given := desk.written(out))
    assert [x["stage"] for x in lines(out + given)] == ["received", "accepted"]
    assert lines(desk.asks("order", client=8, text=live().decode()))[-1]["stage"] == "accepted"
    both = of(Publish, desk.progress(one, Stage.FINISHED))
    assert {p.client for p in both} == {7, 8}
    assert lines(desk.asks("order", client=9, text=live().decode()))[-1] == {
        "order": name(1), "siren": "s-1", "stage": "finished", "last": True}
    for bad in ("", "{}", "\ud800", order(LI, n=2).decode()):
        answer = lines(desk.asks("order", text=bad))[-1]
        assert (answer["stage"], answer["last"]) == ("rejected", True)


def test_a_client_that_hung_up_is_not_told() -> None:
    desk = Desk(sirens=("s-1",))
    (one,) = of(Activate, desk.written(desk.asks("activate", siren="s-1", seconds=1)))
    desk.do(Gone(7))
    assert of(Publish, desk.progress(one, Stage.FINISHED)) == []


# After a restart.


RESTARTS = {
    # name: (order, started, wall at the restart, expected)
    "live, short outage": (live(), True, 50, "goes on"),
    "live, not yet started": (live(), False, 5, "goes on"),
    "live, long outage": (live(), True, 61, Stage.FAILED),
    "live, its time is over": (live(sound="disaster-gansu"), True, 55, "goes on"),
    "live, nothing left": (live(max_duration_s=20), True, 30, Stage.FAILED),
    "live, armed": (live(start_s=200), False, 150, "armed"),
    "live, armed, slept over": (live(start_s=200), False, 310, Stage.EXPIRED),
    "drill at once": (drill(), True, 5, Stage.FAILED),
    "drill at once, not yet started": (drill(), False, 5, Stage.FAILED),
    "programme, armed": (drill(sound="demo-918", start_s=100), False, 90, "armed"),
    "programme, in its middle": (drill(sound="demo-918", start_s=10), True, 50, "goes on"),
    "programme, in its last signal": (drill(sound="demo-918", start_s=10), True, 120, Stage.FAILED),
    "programme, never started": (drill(sound="demo-918", start_s=290), False, 301, Stage.EXPIRED),
    "quiet test": (order(LI, action="quiet-test", mode="silent", sound=None), False, 5, Stage.FAILED),
}


def cut(data: bytes, started: bool) -> Desk:
    desk = Desk(sirens=("s-1",))
    given = desk.written(desk.arrives(data))
    if started:
        for a in of(Activate, given):
            desk.progress(a, Stage.STARTED)
    return desk


@pytest.mark.parametrize("case", RESTARTS)
def test_what_a_restart_cut(case: str) -> None:
    data, started, wall_s, expected = RESTARTS[case]
    before = cut(data, started)
    after = Desk(sirens=("s-1",), records=before.records, wall_s=wall_s, boot="two")
    given = of(Activate, after.first)
    if expected in ("goes on", "armed"):
        (one,) = given
        assert one.resumed
        assert (said(after.first) == []) is (expected == "armed")
        (first,) = [r for r in before.records if r.kind == "accept"]
        assert one.start_wall_us == first.body["start_wall_us"]
        assert after.arrives(data) == [SayAgain(name(1))]
        assert after.tick(wall_s + 1, after_s=1) == []
        assert said(after.progress(one, Stage.FINISHED)) == [("s-1", Stage.FINISHED, "")]
    else:
        assert given == []
        assert said(after.first) == [("s-1", expected, "cut by restart")]
    third = Desk(sirens=("s-1",), records=after.records, wall_s=wall_s, boot="three")
    assert third.first == []
    assert third.arrives(data) == [SayAgain(name(1))]


def test_a_resumed_start_is_not_expired() -> None:
    after = Desk(sirens=("s-1",), records=cut(drill(sound="henan-918", start_s=10), True).records, wall_s=320)
    (one,) = of(Activate, after.first)
    assert one.expires_wall_us > WALL + 320 * S


def test_a_technicians_sounding_is_never_taken_up() -> None:
    desk = Desk(sirens=("s-1",))
    desk.written(desk.asks("activate", siren="s-1", seconds=3))
    after = Desk(sirens=("s-1",), records=desk.records, wall_s=1)
    assert said(after.first) == [("s-1", Stage.FAILED, "cut by restart")]


def test_a_restart_waits_for_a_believable_clock() -> None:
    records = cut(live(), True).records + cut(drill(2, sound="demo-918", start_s=250), False).records
    after = Desk(sirens=("s-1",), records=records, clock=False)
    assert of(Degraded, after.tick(10**6, level=Trust.UNTRUSTED)) == [
        Degraded("NO-TIME", True, "the clock is not to be believed")]
    assert said(after.tick(10**6, 61, level=Trust.UNTRUSTED)) == [("s-1", Stage.FAILED, "cut by restart")]
    (one,) = of(Activate, after.tick(100, after_s=1))
    assert one.order == name(2)


def armed(**changes: Any) -> dict[str, Any]:
    """Signed ten minutes ago for a start that is to come."""
    return {"issued_s": -600, "not_before": wire.to_text(WALL), "expires_at": wire.to_text(WALL + 5 * MINUTE)} | changes


def test_without_the_disk_an_old_order_is_not_carried_out() -> None:
    # What has a start of its own sounds by that, however often it comes.
    for data, goes in ((live(issued_s=-119), True), (live(issued_s=-122), False), (live(**armed(start_s=5)), True)):
        desk = Desk()
        out = [e for a in of(Append, desk.arrives(data)) for e in desk.do(AppendFailed(a.token, "disk full"))]
        assert len(of(Activate, out)) == (2 if goes else 0)
        ends = [] if goes else [(s, Stage.REJECTED, "no-journal") for s in ("s-1", "s-2")]
        assert [s for s in said(out) if s[1] is Stage.REJECTED] == ends
        assert of(Degraded, out) == [Degraded("NO-JOURNAL", True, "disk full")]


def test_a_lost_journal_is_told_and_what_was_issued_before_is_refused() -> None:
    desk = Desk(clock=False)
    desk.orders.restore([], forgot=True)
    (notice,) = of(Notice, desk.tick(0))
    assert (notice.what, notice.urgent) == ("journal-lost", True)
    assert refused(desk.arrives(live(1, issued_s=-1))) == "no-journal"
    assert of(SayAgain, desk.arrives(live(1, issued_s=-1))) == [SayAgain(name(1))]
    assert len(of(Activate, desk.written(desk.arrives(live(2))))) == 2
    assert len(of(Activate, desk.written(desk.arrives(drill(3, **armed(start_s=250)))))) == 2
    assert of(Stop, desk.arrives(stop(issued_s=-1)))
    assert of(Notice, desk.tick(1)) == []


def test_while_it_sounds_the_journal_is_told_that_we_are_here() -> None:
    desk = cut(live(), True)
    assert desk.orders.deadline == desk.now + pulse.EVERY_US
    for _ in range(5):
        desk.do(Woken(), after_s=pulse.EVERY_US / S)
    after = Desk(sirens=("s-1",), records=desk.records, wall_s=150)
    assert len(of(Activate, after.first)) == 1


def test_what_was_stopped_stays_stopped_after_a_restart() -> None:
    desk = cut(live(), True)
    desk.arrives(stop())
    after = Desk(sirens=("s-1",), records=desk.records, clock=False)
    out = after.tick(2)
    assert of(Activate, out) == []
    assert of(Stop, out) == [Stop("s-1", "Zhang Min", "stop")]
    assert said(out) == [("s-1", Stage.STOPPED, "Zhang Min"), ("s-1", Stage.FINISHED, "restarted")]
    assert said(after.arrives(live(2, issued_s=-1)))[-1] == ("s-1", Stage.REJECTED, "stopped")


def test_what_a_restart_cut_is_turned_off_even_where_it_reads_as_off() -> None:
    """A head that was told to begin just before the kill begins after its successor has read it; by `bench kills`."""
    desk = Desk(sirens=("s-1",))
    desk.written(desk.arrives(drill()))
    after = Desk(sirens=("s-1",), records=desk.records, boot="two", wall_s=1)
    assert of(Stop, after.first) == [Stop("s-1", "Li Wei", "cut by restart", name(1))]
    assert said(after.first) == [("s-1", Stage.FAILED, "cut by restart")]


@pytest.mark.parametrize("clock", [True, False])
def test_a_disk_that_takes_records_again_is_found_with_no_order_to_write(clock: bool) -> None:
    """Found by a full disk: NO-JOURNAL stayed on until the next order, though there was room for hours."""
    desk = Desk(sirens=("s-1",))
    out = desk.arrives(drill())
    (begun,) = of(Degraded, desk.do(AppendFailed(of(Append, out)[0].token, "disk full")))
    assert begun.on
    if not clock:
        desk.tick(1, level=Trust.UNTRUSTED)
    asked = 0
    for n in range(3):
        (again,) = of(Append, desk.do(Woken(), after_s=pulse.EVERY_US / S))
        assert again.record.kind == "alive"
        assert ("at" in again.record.body) is clock
        asked += 1
        if n < 2:
            assert of(Degraded, desk.do(AppendFailed(again.token, "disk full"))) == []
    (ended,) = of(Degraded, desk.do(Durable(again.token)))
    assert (ended.mode, ended.on, asked) == ("NO-JOURNAL", False, 3)
    assert of(Append, desk.do(Woken(), after_s=100)) == []
    Ledger().restore(desk.records)


def reborn(desk: Desk, kinds: set[str]) -> tuple[list[tuple[str, Stage, str]], Desk]:
    """What a successor says first that finds only these kinds of records: the power went in between."""
    after = Desk(sirens=desk.sirens, records=[r for r in desk.records if r.kind in kinds], boot="two", wall_s=1)
    return said(after.first), after


def test_a_refusal_that_was_kept_and_not_said_is_said_after_a_restart() -> None:
    """Killed between the two commits, found by `bench kills`: its order had no last word for ever."""
    desk = Desk()
    desk.arrives(drill(sound="no-such-signal"))
    (reason,) = {r.body["reason"] for r in desk.records if r.kind == "refuse"}
    first, after = reborn(desk, {"refuse"})
    assert first == [("", Stage.REJECTED, reason)]
    assert of(SayAgain, after.arrives(drill(sound="no-such-signal"))) == [SayAgain(name(1))]
    assert reborn(after, {"refuse", "receipt"})[0] == []
    assert reborn(desk, {"refuse", "receipt"})[0] == []


def test_a_refusal_of_each_siren_is_said_after_a_restart() -> None:
    desk = Desk()
    desk.arrives(stop())
    desk.arrives(live(2, issued_s=-1))
    gone = [r for r in desk.records if r.kind == "receipt" and r.body["order"] == name(2)]
    desk.records = [r for r in desk.records if r not in gone]
    first, after = reborn(desk, {"accept", "refuse", "receipt"})
    assert first == [("s-1", Stage.REJECTED, "stopped"), ("s-2", Stage.REJECTED, "stopped")]
    assert reborn(after, {"accept", "refuse", "receipt"})[0] == []


def test_a_refusal_of_one_siren_is_said_after_a_restart_and_the_other_goes_on() -> None:
    desk = Desk()
    desk.arrives(stop(sirens=["s-1"]))
    desk.written(desk.arrives(live(2, issued_s=-1)))
    desk.records = [r for r in desk.records if r.body.get("order") != name(2) or r.kind == "accept"]
    first, after = reborn(desk, {"accept", "receipt"})
    assert first == [("s-1", Stage.REJECTED, "stopped"), ("s-2", Stage.TROUBLE, "cut by restart, goes on")]
    assert [a.siren for a in of(Activate, after.first)] == ["s-2"]


def test_what_was_refused_before_it_was_believed_is_not_refused_twice_after_a_restart() -> None:
    desk = Desk(clock=False)
    assert refused(desk.arrives(drill(sound="no-such-signal"))) == "no-time"
    desk.tick(1)
    desk.arrives(drill(sound="no-such-signal"), after_s=5)
    assert [r.kind for r in desk.records if r.body.get("order") == name(1)] == ["receipt", "refuse"]
    assert reborn(desk, {"refuse", "receipt"})[0] == []


def test_an_order_that_a_stop_forbade_before_the_restart() -> None:
    """The stop's own answer was complete; the activation's last word was lost with the power."""
    desk = cut(live(), True)
    desk.arrives(stop())
    records = [r for r in desk.records if r.body.get("order") != name(99) or r.kind == "accept"]
    records.append(Record("receipt", Receipt(seq=9, gateway="gw-1", order=name(99), siren="s-1", stage=Stage.FINISHED,
                                             at="2026-09-18T02:00:01.000Z").model_dump(mode="json", exclude_none=True)))
    after = Desk(sirens=("s-1",), records=records, wall_s=2)
    assert said(after.first) == [("s-1", Stage.STOPPED, "stop")]


def test_a_journal_of_another_version_is_passed_over() -> None:
    records = [Record("accept", {"v": 2}), Record("receipt", {}), Record("alive", {}), Record("strange", {"at": 1})]
    assert Desk(records=records).first == []


# Bounds.


def test_the_ledger_forgets_only_what_cannot_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 3)
    monkeypatch.setattr(ledger, "LIVE_RESERVE", 1)
    desk = Desk(sirens=("s-1",))
    for n in range(1, 4):
        (one,) = of(Activate, desk.sounds(drill(n)))
        desk.progress(one, Stage.FINISHED)
    assert refused(desk.arrives(drill(4), after_s=1)) == "busy"
    assert len(of(Activate, desk.written(desk.arrives(live(5))))) == 1
    assert refused(desk.arrives(live(6), after_s=1)) == "busy"
    assert of(Stop, desk.arrives(stop()))
    # Five minutes later the first drills have expired: their ids may go, for they cannot be believed again.
    desk.tick(301, after_s=301)
    assert said(desk.arrives(drill(7, expires_at=wire.to_text(WALL + 400 * S))))[0] == ("", Stage.RECEIVED, "")


def test_stops_are_bounded_and_the_graver_ones_stay() -> None:
    book = Ledger()

    def one(n: int, grave: bool) -> Accept:
        return Accept(order=name(n), digest=name(n), action=wire.Action.STOP, mode=Mode.LIVE, rank=Rank.DRILL, by="x",
                      persons=("x",), door="mqtt", at=wire.to_text(WALL), issued_wall_us=WALL + n, scheduled=False,
                      expires_wall_us=WALL, start_wall_us=WALL, sirens=("s-1",), stops=name(n), stops_live=grave)

    book.remember_stop(one(0, True))
    for n in range(1, 200):
        book.remember_stop(one(n, False))
    warning = one(0, False).model_copy(update={"mode": Mode.LIVE, "issued_wall_us": WALL})
    assert book.stopped(warning, "s-1")
    assert not book.stopped(warning.model_copy(update={"order": name(1)}), "s-1")
    assert len(book._stops) <= ledger.STOPS_LIMIT


def test_old_orders_whose_receipts_are_gone_are_not_taken_up() -> None:
    book = Ledger()
    records = cut(drill(), True).records
    book.restore([r for r in records if r.kind == "accept"] + [Record("alive", {"at": "2026-10-18T02:00:00.000Z"})])
    assert book.open() == []
    entry = book.get(name(1))
    assert isinstance(entry, Entry)
    assert entry.parts["s-1"].state is State.DONE


# Any order of events.


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
