"""Ways through the orders machine that ordinary days do not take, and that somebody may look for."""

import pytest

from bench import office
from controller import ledger, trust, wire
from controller.event import Activate, Append, Notice, SayAgain, Stop
from controller.intake import WINDOW_US
from controller.orders import STOP_PATIENCE_US
from controller.wire import Action, Mode, Stage
from firmware_bridge.machine import S, Woken
from tests.controller.bench_orders import LI, WALL, Desk, drill, lines, live, name, of, order, said, stop

DAY_S = 24 * 3600


def test_a_copy_that_waits_for_its_signatures_beside_the_first_is_done_once() -> None:
    """Both came before either was looked at, for other orders had used the window up."""
    desk = Desk(sirens=("s-1",))
    out = []
    for n in range(2, 6):
        out += desk.arrives(live(n, area="42"))
    for _ in range(3):
        assert of(Append, desk.arrives(live(1))) == []
    out = desk.do(Woken(), after_s=WINDOW_US / S)
    assert [a.record.body["order"] for a in of(Append, out)] == [name(1)]
    assert of(SayAgain, out) == [SayAgain(name(1))] * 2
    assert len(of(Activate, desk.written(out))) == 1


def test_a_true_order_that_does_not_fit_after_a_false_copy_of_it() -> None:
    """The hub has had its answer; who hands it in at the cabinet is told how it stands."""
    desk = Desk(sirens=("s-1",))
    true = live(1, digest="0" * 32)
    desk.arrives(order(LI, n=1, digest="0" * 32))
    out = desk.asks("order", text=true.decode())
    assert said(out) == []
    assert lines(out)[-1] == {"order": name(1), "stage": "rejected", "reason": "signal-mismatch", "last": True}
    # From the broker as well: remembered, and not answered a second time.
    other = Desk(sirens=("s-1",))
    other.arrives(order(LI, n=1, digest="0" * 32))
    out = other.arrives(true)
    assert (said(out), [a.record.kind for a in of(Append, out)]) == ([], ["refuse"])


def test_a_stop_waits_for_everything_that_it_ended_on_a_siren() -> None:
    """What sounds, and what is armed for later."""
    desk = Desk(sirens=("s-1",))
    (sounds,) = of(Activate, desk.sounds(live(1)))
    (armed,) = of(Activate, desk.written(desk.arrives(live(2, start_s=100))))
    out = desk.arrives(stop(), after_s=1)
    assert of(Stop, out) == [Stop("s-1", "Zhang Min", "stop")]
    first = desk.progress(armed, Stage.STOPPED)
    assert (name(99), "s-1") not in ended(first)
    assert ended(desk.progress(sounds, Stage.STOPPED)) >= {(name(99), "s-1")}


def ended(out: list[object]) -> set[tuple[str, str]]:
    return {(e.message.order, e.message.siren) for e in out  # type: ignore[attr-defined]
            if hasattr(e, "message") and e.message.stage.terminal}


def test_a_stop_that_one_siren_answers_and_the_other_does_not() -> None:
    desk = Desk()
    one, _ = of(Activate, desk.sounds(live(1)))
    desk.arrives(stop(), after_s=1)
    desk.progress(one, Stage.STOPPED)
    out = desk.do(Woken(), after_s=STOP_PATIENCE_US / S)
    assert said(out) == [("s-2", Stage.FAILED, "the siren did not say that it is off")]


def test_at_the_cabinet_of_a_gateway_that_remembers_all_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KNOWN_LIMIT", 1)
    desk = Desk(sirens=("s-1",))
    desk.written(desk.arrives(drill(1, start_s=100)))
    assert lines(desk.asks("activate", siren="s-1", seconds=1))[-1]["reason"] == "busy"
    assert of(Stop, desk.asks("stop", user="guest")) == [Stop("s-1", "guest", "stop")]


@pytest.mark.parametrize(("issued_days", "start_days", "refused"), [(0, 59, False), (0, 61, True), (-1, 59.5, True)])
def test_nobody_keeps_an_order_for_more_than_sixty_days(issued_days: float, start_days: float, refused: bool) -> None:
    desk = Desk(sirens=("s-1",))
    start_s = start_days * DAY_S
    window = {"not_before": at(start_s - 60), "expires_at": at(start_s + 100)}
    out = desk.arrives(live(1, issued_s=issued_days * DAY_S, start_s=start_s, **window))
    assert [reason for _, _, reason in said(out)] == (["too-long"] if refused else [""])


def test_a_key_for_quiet_tests_sounds_no_drill_and_one_for_drills_tests_quietly() -> None:
    """A ceiling lets through what lies below it, and nothing above."""
    ruling = office.trusted().list
    quiet, drills = (ruling.keys[one["kid"]].model_copy(update={"mode": mode})
                     for one, mode in ((office.LI, Mode.SILENT), (office.WANG, Mode.DRILL)))
    for signer, wrong in ((quiet, {Mode.DRILL, Mode.LIVE}), (drills, {Mode.LIVE})):
        for mode in Mode:
            action = Action.QUIET_TEST if mode is Mode.SILENT else Action.STOP if mode is Mode.LIVE else Action.SOUND
            refused = trust.permits([signer, ruling.keys[office.CHEN["kid"]]] if mode is Mode.LIVE else [signer],
                                    "41/01", action, mode)
            expected = None if mode is Mode.LIVE or mode not in wrong else trust.Reason.WRONG_MODE
            assert refused is expected
        alone = trust.permits([signer], "41/01", Action.STOP, Mode.LIVE)
        assert alone is trust.Reason.WRONG_MODE


def test_an_order_may_be_as_long_as_the_limit_and_no_longer() -> None:
    data = live(1)
    padded = data + b" " * (wire.MAX_ORDER_BYTES - len(data))
    assert said(Desk().arrives(padded)) == [("", Stage.RECEIVED, "")]
    desk = Desk()
    out = desk.arrives(padded + b" ")
    assert (said(out), [n.detail.partition(":")[0] for n in of(Notice, out)]) == ([], ["too-large"])


def at(seconds: float) -> str:
    return wire.to_text(WALL + round(seconds * S))

