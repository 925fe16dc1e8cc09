"""What a bus learns of one unit: a gateway's word for a unit is not the unit's."""

import pytest

from firmware_bridge.event import Read, Table
from firmware_bridge.machine import MS, S
from firmware_bridge.unit import SILENT_LIMIT, Standing, Unit, silent_since_us

READ = Read(Table.HOLDING, 0, 1)
ASKED_MS = 800


def refused(unit: Unit, now_us: int, code: int) -> None:
    unit.answered(now_us, READ, 500 * MS, bytes([0x83, code]), True, 0)


@pytest.mark.parametrize("code", [10, 11])
def test_what_a_gateway_says_for_a_silent_unit_is_silence(code: int) -> None:
    unit = Unit(turnaround_us=20 * MS)
    for n in range(1, SILENT_LIMIT + 1):
        refused(unit, n * S, code)
        assert unit.silent == n
    assert unit.standing is Standing.DEMOTED
    assert unit.turnaround_us == 20 * MS, "that was the gateway's time, and not the unit's"
    assert unit.timeout_us(ASKED_MS * MS) >= ASKED_MS * MS, "before it has spoken the gateway serves nobody"
    assert silent_since_us([unit]) == SILENT_LIMIT * S, "the link is well: it is not to be opened anew"
    unit.answered(9 * S, READ, 15 * MS, b"\x03\x02\x00\x01", False, 0)
    assert (unit.standing, unit.silent) == (Standing.GOOD, 0)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 6])
def test_a_refusal_of_its_own_is_an_answer(code: int) -> None:
    unit = Unit(turnaround_us=20 * MS)
    for n in range(1, SILENT_LIMIT + 1):
        refused(unit, n * S, code)
    assert (unit.standing, unit.silent) == (Standing.GOOD, 0)
