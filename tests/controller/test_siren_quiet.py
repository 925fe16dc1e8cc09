"""The quiet test of a siren: by the head itself, by reading a board, and giving way to every sounding."""

from controller.event import QuietTest
from controller.wire import Mode, Stage
from firmware_bridge.machine import S
from tests.controller.bench_siren import BOARD, HEAD, T0, Field


def test_a_quiet_test_by_the_head_itself() -> None:
    f = Field(HEAD).run(T0)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    f.run(T0 + S)
    assert [b.action for _, b in f.begins] == ["quiet_test"]
    assert (f.end("q").stage, f.end("q").mode, f.evidence("q").phases) == (Stage.FINISHED, Mode.SILENT, 0)
    f.deaf = lambda b: True
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    f.run(T0 + 3 * S)
    assert (f.end("r").stage, f.end("r").reason) == (Stage.FAILED, "no answer")
    assert f.edges == []


def test_a_quiet_test_of_a_board_only_reads() -> None:
    f = Field(BOARD).run(T0)
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    assert (f.end("q").stage, f.end("q").reason) == (Stage.FINISHED, "read only: no quiet test action")
    f.dead = True
    f.run(T0 + 20 * S)
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    assert f.end("r").stage is Stage.FAILED
    assert f.begins == []


def test_a_quiet_test_gives_way() -> None:
    f = Field(HEAD).run(T0)
    f.order("demo-air-raid", id="o-1")
    f.siren_told(QuietTest("s-1", "q/s-1", "q", "the technician"))
    assert (f.end("q").stage, f.end("q").reason) == (Stage.REJECTED, "busy")
    f.run(T0 + 100 * S)
    f.deaf = lambda b: b.action == "quiet_test"
    f.siren_told(QuietTest("s-1", "r/s-1", "r", "the technician"))
    f.live("demo-air-raid", id="o-2")
    f.run(T0 + 103 * S)
    assert (f.end("r").stage, f.end("r").reason) == (Stage.FAILED, "a sounding comes first")
    assert f.out.on
    f.stop()
    f.run(T0 + 110 * S)
    f.siren_told(QuietTest("s-1", "t/s-1", "t", "the technician"))
    f.stop()
    assert f.end("t").stage is Stage.STOPPED
    f.isolated = True
    f.run(T0 + 111 * S)
    f.siren_told(QuietTest("s-1", "u/s-1", "u", "the technician"))
    assert (f.end("u").stage, f.end("u").reason) == (Stage.REJECTED, "isolated")
