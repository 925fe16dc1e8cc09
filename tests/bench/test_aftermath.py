"""The judge of `bench kills`: every claim of it finds what it is for, and nothing else."""

from pathlib import Path

import pytest

from bench import aftermath
from controller import config, wire
from controller.event import Record
from controller.wire import Action, Evidence, Mode, OrderBody, Receipt, Sound, Stage
from firmware_bridge.machine import MS, S
from simulators.promises import History, Ordered, Sounding
from simulators.promises.word import honest

CONFIG = config.load(Path(__file__).parents[2] / "configs" / "demo" / "gateway.toml")
T0 = 1_789_696_800_000_000
NAME = next(name for name, signal in CONFIG.signals.signals.items() if signal.repeats > 1 and signal.family == "test")
PHASES = CONFIG.signals.timeline(NAME).phases


def order(n: int, mode: Mode = Mode.DRILL, action: Action = Action.SOUND, scheduled: bool = True,
          at_us: int = T0) -> Ordered:
    start = wire.to_text(at_us + S, 6) if scheduled else None
    sound = Sound(name=NAME, digest=CONFIG.signals.digest(NAME), start_at=start) if action is Action.SOUND else None
    body = OrderBody(v=1, id=f"{n:032x}", deployment="demo", issuer="test", issued_at=wire.to_text(at_us),
                     not_before=wire.to_text(at_us), expires_at=wire.to_text(at_us + 20 * S), area="41/01",
                     action=action, mode=mode, sound=sound, sequence=n, trust_version=1)
    return Ordered(body, ("s-101",))


def receipt(of: Ordered, seq: int, stage: Stage, at_us: int, siren: str = "s-101",
            gateway: str = CONFIG.id) -> Receipt:
    return Receipt(v=1, seq=seq, gateway=gateway, order=of.body.id, siren=siren, stage=stage, mode=of.body.mode,
                   at=wire.to_text(at_us))


def sounds(*pairs: tuple[int, int]) -> list[Sounding]:
    return [Sounding("s-101", T0 + S + on, T0 + S + off, "write") for on, off in pairs]


def history(orders: list[Ordered], soundings: list[Sounding], receipts: list[Receipt] | None = None) -> History:
    return History([CONFIG], orders, receipts or [], soundings, {CONFIG.id: []})


WHOLE = sounds(*((p.on_us, p.off_us) for p in PHASES))
FIRST = PHASES[0]
AGAIN = sounds((FIRST.on_us, FIRST.on_us + 300 * MS), (FIRST.on_us + 900 * MS, FIRST.off_us))
BETWEEN = T0 + S + FIRST.on_us + 400 * MS


def test_a_phase_that_sounds_once_is_right() -> None:
    assert [*aftermath.once(history([order(1)], WHOLE), [])] == []
    assert [*aftermath.once(history([order(1, scheduled=False)], WHOLE), [])] == []


@pytest.mark.parametrize(("mode", "kills", "wrong"), [
    (Mode.DRILL, [], True), (Mode.DRILL, [BETWEEN], True), (Mode.LIVE, [], True), (Mode.LIVE, [BETWEEN], False),
])
def test_a_second_start_of_a_phase_is_a_live_warning_that_goes_on(mode: Mode, kills: list[int], wrong: bool) -> None:
    found = [*aftermath.once(history([order(1, mode)], AGAIN), kills)]
    assert bool(found) is wrong
    if wrong:
        assert "s-101 began phase 1 twice" in found[0]


def test_a_drill_at_once_does_not_go_on_after_a_kill() -> None:
    lived = history([order(1, scheduled=False)], WHOLE)
    killed = [T0 + S + PHASES[1].on_us - 500 * MS]
    (found,) = aftermath.once(lived, killed)
    assert "went on with what a kill had cut" in found
    more = history([order(1, scheduled=False)], WHOLE + sounds((7 * S, 8 * S), (9 * S, 10 * S)) * len(PHASES))
    assert "more often than it has phases" in next(iter(aftermath.once(more, [])))


def test_nothing_begins_after_the_last_word() -> None:
    drill = order(1)
    early = receipt(drill, 1, Stage.FAILED, T0 + S + FIRST.on_us - 100 * MS)
    (found,) = aftermath.last_word(history([drill], WHOLE[:1], [early]), [])
    assert "after the last word" in found
    late = receipt(drill, 1, Stage.FINISHED, WHOLE[-1].off_wall_us or 0)
    assert [*aftermath.last_word(history([drill], WHOLE, [late]), [])] == []
    # What left before a kill is heard after it, and after the successor's word.
    assert [*aftermath.last_word(history([drill], WHOLE[:1], [early]), [WHOLE[0].on_wall_us - 100 * MS])] == []


def test_a_stop_that_had_its_last_word_ends_it() -> None:
    drill, stop = order(1), order(2, Mode.LIVE, Action.STOP, at_us=T0 + 500 * MS)
    word = receipt(stop, 1, Stage.FINISHED, T0 + 600 * MS)
    found = [*aftermath.last_word(history([drill, stop], WHOLE[:1], [word]), [])]
    assert len(found) == 1
    assert drill.body.id in found[0]


def test_each_order_has_one_last_word() -> None:
    drill = order(1)
    none = history([drill], [], [receipt(drill, 1, Stage.ACCEPTED, T0)])
    assert "0 last words" in next(iter(aftermath.answered(none)))
    two = history([drill], [], [receipt(drill, 1, Stage.FAILED, T0), receipt(drill, 2, Stage.FINISHED, T0)])
    assert "2 last words" in next(iter(aftermath.answered(two)))
    for one in (receipt(drill, 1, Stage.FAILED, T0), receipt(drill, 1, Stage.REJECTED, T0, siren="")):
        assert [*aftermath.answered(history([drill], [], [one, one]))] == []
    assert aftermath.unanswered([drill], []) == {drill.body.id}
    assert aftermath.unanswered([drill], [receipt(drill, 1, Stage.REJECTED, T0, siren="")]) == set()


def test_what_no_order_asked_for_is_found() -> None:
    assert [*aftermath.in_time(history([order(1)], WHOLE))] == []
    (found,) = aftermath.in_time(history([order(1)], sounds((-2 * S, -S))))
    assert "when no order asked for it" in found


TAGGED = aftermath.Tagged("s-101", T0, T0 + 20 * S)


@pytest.mark.parametrize(("pair", "kills", "wrong"), [
    ((0, 500 * MS), [], "began"), ((0, 500 * MS), [T0 + 500 * MS], "began"),
    ((-2 * S - 100 * MS, 2 * S), [], "sounded on"),
    # What left before it hung is heard after it, and ends; who was killed ends nothing before the next one stands.
    ((-S + 300 * MS, 500 * MS), [], ""), ((-2 * S - 100 * MS, 2 * S), [T0 + 500 * MS], ""),
    # It came off.
    ((20 * S, 21 * S), [], ""),
], ids=["begins", "begins after a kill", "goes on", "left before", "killed", "is off"])
def test_a_siren_that_bears_a_tag_is_silent(pair: tuple[int, int], kills: list[int], wrong: str) -> None:
    found = [*aftermath.isolation(history([order(1)], sounds(pair)), kills, [TAGGED])]
    assert len(found) == (1 if wrong else 0)
    assert wrong in "".join(found)


OTHER = order(2, scheduled=False, at_us=T0 - 5 * S)
"""For now, and issued five seconds before the drill: alone it would be a reason to sound for its first twenty."""
EARLY = receipt(order(1), 1, Stage.FAILED, T0 + S + FIRST.on_us - 100 * MS)


def breaches(*words: Receipt) -> list[int]:
    """Of what began twice in a phase, after its order's last word, and before any order's time, beside OTHER."""
    orders = [order(1), OTHER]
    return [len([*aftermath.once(history(orders, AGAIN, [*words]), [BETWEEN])]),
            len([*aftermath.last_word(history(orders, WHOLE[:1], [*words, EARLY]), [])]),
            len([*aftermath.in_time(history(orders, sounds((-2 * S, -S)), [*words]))])]


@pytest.mark.parametrize("word", [
    receipt(OTHER, 9, Stage.REJECTED, T0 - 4 * S), receipt(OTHER, 9, Stage.REJECTED, T0 - 4 * S, siren=""),
    # It is told of by the time that it was rejected, whenever that is.
    receipt(OTHER, 9, Stage.REJECTED, T0 + 30 * S), receipt(OTHER, 9, Stage.FINISHED, T0 - 2 * S),
    receipt(OTHER, 9, Stage.STOPPED, T0 - 4 * S),
], ids=["rejected", "rejected as a whole", "rejected late", "finished", "stopped"])
def test_what_was_rejected_or_has_ended_excuses_nothing(word: Receipt) -> None:
    assert breaches(word) == [1, 1, 1]


@pytest.mark.parametrize("words", [
    [], [receipt(OTHER, 9, Stage.ACCEPTED, T0 - 4 * S)], [receipt(OTHER, 9, Stage.FINISHED, T0 + 10 * S)],
    [receipt(OTHER, 9, Stage.REJECTED, T0 - 4 * S, siren="", gateway="gw-elsewhere")],
], ids=["no word", "accepted", "finished later", "rejected elsewhere"])
def test_what_may_still_sound_is_a_reason(words: list[Receipt]) -> None:
    assert breaches(*words) == [0, 0, 0]


def test_what_sounds_is_accepted_by_who_may_still_sound() -> None:
    lived = history([order(1), OTHER], WHOLE[:1], [receipt(OTHER, 9, Stage.FAILED, T0 - 4 * S)])
    lived.journals[CONFIG.id].append((T0 - 5 * S, Record("accept", {"order": OTHER.body.id})))  # type: ignore[attr-defined]
    (found,) = aftermath.journal_first(Quiet(), lived, CONFIG.id)  # type: ignore[arg-type]
    assert f"{WHOLE[0].on_wall_us}" in found


class Quiet:
    """A city of which nobody said that it had no journal."""

    def events(self) -> list[object]:
        return []


def test_a_phase_of_which_no_receipt_tells_the_edge_is_placed_by_its_sound() -> None:
    drill = order(1, scheduled=False)
    accepted = receipt(drill, 1, Stage.ACCEPTED, T0)
    seen = Evidence(phases=len(PHASES), commanded=0, sensed=1, heard=0, independent=True)
    stopped = receipt(drill, 2, Stage.STOPPED, T0 + 2 * S).model_copy(update={"evidence": seen})
    assert [*honest(history([drill], WHOLE[:1], [accepted, stopped]))] == []
    (found,) = honest(history([drill], [], [accepted, stopped]))
    assert "says 1 phases were sensed, 0 sounded" in found
