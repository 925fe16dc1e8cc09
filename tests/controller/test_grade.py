"""What a head tells of its own drivers: a grade that is shown, told when it changes, and believed by a quiet test."""

from typing import Any

import pytest

from controller.event import QuietTest
from controller.wire import Stage
from firmware_bridge.machine import S
from firmware_bridge.profile import Profile, ProfileSpec
from firmware_bridge.reading import NoValue, Quality, Reading, Took
from tests.controller.bench_siren import COILS, HEAD, T0, Field


def graded(model: Profile, **more: Any) -> Profile:
    """The model with two bits of one status byte: all drivers work, at least one does."""
    data = model.spec.model_dump(by_alias=True, exclude_unset=True)
    data["points"]["full"] = {"at": "input:90", "bit": 0, "poll_ms": 1000}
    data["points"]["partial"] = {"at": "input:90", "bit": 1, "poll_ms": 1000}
    data["grade"] = {"good": {"point": "full", "is": True}, "degraded": {"point": "partial", "is": True}} | more
    return Profile("graded", "graded.toml", ProfileSpec.model_validate(data))


def tell(f: Field, full: bool | None, partial: bool | None, quality: Quality = Quality.GOOD) -> None:
    def one(point: str, value: bool | None) -> Reading:
        if value is None:
            return Reading("board", point, None, Quality.BAD, f.now, NoValue.SILENT)
        return Reading("board", point, value, quality, f.now)

    f.siren_told(Took("board", (one("full", full), one("partial", partial))))


def shown(f: Field) -> tuple[object, str]:
    points = f.shown[-1].points or {}
    return points.get("grade", "none"), f.shown[-1].why


def test_the_grade_is_shown_and_its_changes_are_told() -> None:
    f = Field(graded(HEAD)).run(T0)
    assert shown(f) == (None, "drivers not read")
    assert f.shown[-1].bad == {"grade": "not read"}
    for full, partial, grade, why in [(True, True, "good", ""), (False, True, "degraded", "drivers degraded"),
                                      (False, False, "dead", "drivers dead"), (True, True, "good", "")]:
        tell(f, full, partial)
        assert shown(f) == (grade, why)
    assert [(n.what, n.detail, n.urgent) for _, n in f.notices] == [
        ("drivers-degraded", "were good", False), ("drivers-dead", "were degraded", True),
        ("drivers-good", "were dead", False)]


def test_what_is_not_read_well_is_never_good() -> None:
    f = Field(graded(HEAD)).run(T0)
    tell(f, True, True, Quality.UNCERTAIN)
    assert shown(f)[0] is None
    tell(f, False, True)
    tell(f, None, True)
    assert shown(f) == (None, "drivers not read")
    tell(f, False, None)
    assert shown(f) == (None, "drivers not read")
    tell(f, False, True)
    assert [n.what for _, n in f.notices] == ["drivers-degraded"], "told once, and not again after a gap"


def test_a_head_that_cannot_tell_some_from_none_is_dead_when_it_is_not_good() -> None:
    f = Field(graded(HEAD, degraded=None)).run(T0)
    tell(f, False, True)
    assert shown(f) == ("dead", "drivers dead")


def test_a_head_without_grades_shows_none() -> None:
    f = Field(HEAD).run(T0)
    assert shown(f) == ("none", "")
    assert f.shown[-1].points is None


@pytest.mark.parametrize(("full", "partial", "stage", "reason"), [
    (True, True, Stage.FINISHED, ""), (False, True, Stage.FINISHED, "drivers degraded"),
    (False, False, Stage.FAILED, "drivers dead"), (None, None, Stage.FAILED, "drivers not read"),
])
def test_a_quiet_test_is_judged_by_the_grade_that_is_read_after_it(
    full: bool | None, partial: bool | None, stage: Stage, reason: str,
) -> None:
    f = Field(graded(HEAD)).run(T0)
    tell(f, True, True)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    f.run(T0 + S)
    assert [b.action for _, b in f.begins] == ["quiet_test"]
    assert f.stages("q") == [], "what was read before says nothing of this test"
    tell(f, full, partial)
    f.run(T0 + 10 * S)
    assert (f.end("q").stage, f.end("q").reason) == (stage, reason)


def test_a_stop_ends_a_quiet_test_that_waits_for_its_grade() -> None:
    f = Field(graded(HEAD)).run(T0)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    f.run(T0 + S)
    f.stop()
    assert f.end("q").stage is Stage.STOPPED


@pytest.mark.parametrize(("full", "partial", "stage", "reason"), [
    (True, True, Stage.FINISHED, "read only: no quiet test action"),
    (False, True, Stage.FINISHED, "drivers degraded; read only: no quiet test action"),
    (False, False, Stage.FAILED, "drivers dead"), (None, None, Stage.FAILED, "drivers not read"),
])
def test_a_quiet_test_that_only_reads_looks_at_the_grade(
    full: bool | None, partial: bool | None, stage: Stage, reason: str,
) -> None:
    f = Field(graded(COILS)).run(T0)
    tell(f, full, partial)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    assert (f.end("q").stage, f.end("q").reason) == (stage, reason)


def test_a_grade_moves_no_order() -> None:
    f = Field(graded(HEAD)).run(T0)
    tell(f, False, False)
    f.live("demo-air-raid")
    f.run(T0 + 60 * S)
    assert f.end().stage is Stage.FINISHED
