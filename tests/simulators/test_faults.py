"""The words of faults: one table, which the command, the page and every refusal tell."""

from pathlib import Path

import pytest

from simulators import faults
from simulators.__main__ import main
from simulators.faults import TABLE, Fault, NoSuch

PAGE = Path(__file__).parents[2] / "docs/simulators.md"


def test_every_fault_is_in_the_table_and_every_row_on_the_page() -> None:
    assert set(TABLE) == set(Fault)
    on_page = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert on_page == [f"| `{fault}` | {on} | {number} | {does} |" for fault, on, number, does in faults.rows()]


def test_the_command_tells_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fault", "--help"])
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for fault, on, number, does in faults.rows():
        assert f"{fault} on: {on}" in told
        assert does in told
        assert number in told


@pytest.mark.parametrize(("fault", "share", "seconds", "told"), [
    (Fault.DEAD, 0.5, None, "dead is on or off, and takes no share"),
    (Fault.REBOOT, 0.5, None, "reboot is on or off, and takes no share"),
    (Fault.LATE, 1, 5, "late takes no seconds"),
    (Fault.LATE, 1.5, None, "1.5 is no share; say 0 to 1"),
    (Fault.LATE, -1, None, "-1 is no share"),
    (Fault.LATE, float("nan"), None, "nan is no share"),
    (Fault.REBOOT, 1, 0, "0 s: say more than 0"),
    (Fault.REBOOT, 1, 1e9, "1e[+]09 s: .*an hour at most"),
    (Fault.REBOOT, 1, float("nan"), "nan s"),
])
def test_a_number_that_a_fault_does_not_take_is_refused(fault: Fault, share: float, seconds: float | None,
                                                        told: str) -> None:
    with pytest.raises(NoSuch, match=told):
        faults.number(fault, share, seconds)


@pytest.mark.parametrize(("fault", "share", "seconds"), [
    (Fault.DEAD, 1, None), (Fault.DEAD, 0, None), (Fault.LATE, 0.01, None), (Fault.BABBLE, 0.5, None),
    (Fault.REBOOT, 1, 0.5), (Fault.REBOOT, 1, None),
])
def test_a_number_that_a_fault_takes(fault: Fault, share: float, seconds: float | None) -> None:
    faults.number(fault, share, seconds)
