"""A flood out of a journal: every sample and action of one spot, and nothing of another."""

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from controller import wire
from controller.ctl.__main__ import main
from controller.ctl.flood_sheet import Row, sheet
from controller.curve import Limit
from controller.event import Record
from controller.journal import Journal
from firmware_bridge.machine import S

T0 = 1_789_696_800_000_000


def event(at_s: float, what: str, subject: str = "nongye", samples: dict[str, Any] | None = None) -> Row:
    body = {"v": 1, "seq": 1, "gateway": "gw-1", "at": wire.to_text(T0 + round(at_s * S)), "what": what,
            "subject": subject, "detail": "red; 41 cm", "urgent": True} | ({"samples": samples} if samples else {})
    return T0 + round(at_s * S), "event", body


ROWS: list[Row] = [
    event(0, "flood-suspected", samples={"press": [[20.0, 3.0], [10.0, 9.0], [0.0, 16.0]], "sonar": []}),
    event(30, "link-down", "line-1"),
    (T0 + 60 * S, "level", {"spot": "nongye", "depths": {"yellow": 15, "red": 40}, "bad": ["sonar"],
                            "samples": {"press": [[50.0, 22.0], [0.0, 41.0]]}}),
    (T0 + 60 * S, "level", {"spot": "other", "depths": {"red": 99}, "samples": {"far": [[0.0, 1.0]]}}),
    (T0 + 70 * S, "accept", {"order": "f" * 32, "door": "rule"}),
    (T0 + 71 * S, "accept", {"order": "e" * 32, "door": "mqtt"}),
    event(70, "flood-siren"),
    (T0 + 80 * S, "receipt", {"order": "f" * 32, "siren": "s-1", "stage": "started", "at": wire.to_text(T0 + 80 * S)}),
    (T0 + 81 * S, "receipt", {"order": "e" * 32, "siren": "s-1", "stage": "started", "at": wire.to_text(T0 + 81 * S)}),
    event(90, "gauge-bad", "nongye.sonar"),
    event(91, "gauge-bad", "nongye-2.sonar"),
]


def test_the_sheet_has_what_is_of_the_spot_and_nothing_else() -> None:
    found = sheet("nongye", ROWS, T0 - 3600 * S, T0 + 3600 * S, 8.0)
    assert {line.name: [(at_us - T0) // S for at_us, _ in line.samples] for line in found.lines} == {
        "press": [-20, -10, 0, 10, 60], "sonar": [60]}
    assert found.lines[1].samples[0][1] is None, "it had no value"
    assert found.limits == (Limit("yellow", 15), Limit("red", 40))
    assert [(mark.what, mark.detail) for mark in found.marks] == [
        ("flood-suspected", "red; 41 cm"), ("flood-siren", "red; 41 cm"), ("siren-started", "s-1"),
        ("gauge-bad", "sonar  red; 41 cm")]


def test_a_time_cuts_samples_and_actions() -> None:
    found = sheet("nongye", ROWS, T0 + 5 * S, T0 + 75 * S, 8.0)
    assert [mark.what for mark in found.marks] == ["flood-siren"]
    assert [len(line.samples) for line in found.lines] == [2, 1]


def test_the_command_writes_both_from_a_journal_that_is_open(tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(tmp_path / "gw.db")
    journal.open()
    try:
        for _, kind, body in ROWS:
            journal.append(Record(kind, body), lambda why: None)
        # The writer answers in order.
        done: list[str | None] = []
        journal.append(Record("alive", {}), done.append)
        while not done:
            pass
        with pytest.raises(SystemExit) as ended:
            main(["flood", "export", "nongye", "--journal", str(tmp_path / "gw.db"), "--since", "2026-09-18T09:00",
                  "--until", "2100-01-01T00:00", "-o", str(tmp_path / "sheet")])
    finally:
        journal.close()
    assert ended.value.code == 0
    assert "4 项动作" in capsys.readouterr().out
    rows = list(csv.reader((tmp_path / "sheet.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row[3] for row in rows if row[2] == "action"] == ["flood-suspected", "flood-siren", "siren-started",
                                                              "gauge-bad"]
    ElementTree.fromstring((tmp_path / "sheet.svg").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("words", "code", "told"), [
    (["nongye", "--journal", "gone.db"], 2, "unable to open"), (["nongye", "--since", "then"], 2, "2026-07-20T16:00"),
])
def test_what_cannot_be_is_told(words: list[str], code: int, told: str, tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    if "--since" in words:
        words = [*words, "--journal", str(tmp_path / "x.db")]
    with pytest.raises(SystemExit) as ended:
        main(["flood", "export", *words])
    assert ended.value.code == code
    assert told in capsys.readouterr().err
