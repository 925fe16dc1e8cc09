"""What feedback proves, sample by sample."""

from controller.evidence import Tally, Witness
from controller.wire import Stage
from firmware_bridge.machine import S
from firmware_bridge.reading import NoValue, Quality, Reading


def current(at_s: float, amps: float | None, quality: Quality = Quality.GOOD) -> Reading:
    why = None if amps is not None else NoValue.SILENT
    return Reading("meter", "current", amps, quality if amps is not None else Quality.BAD, round(at_s * S), why)


def hear(tally: Tally, witness: Witness, *readings: Reading) -> None:
    for reading in readings:
        says = witness.hear(reading)
        if says is not None:
            tally.took(witness, says, reading.at_us)


def test_one_reading_alone_confirms_nothing() -> None:
    """Of garbled frames one in 65,536 has a right CRC: the all-clear has one phase, and one such reading."""
    tally = Tally(phases=1, proofs={Stage.SENSED}, spool_up_us=0)
    meter = Witness("meter", "current", above=2.0)
    tally.open(0, 0, 180 * S)
    tally.commanded(0, 0)
    hear(tally, meter, current(5, 8.0), *(current(t, 0.1) for t in range(6, 180)))
    assert tally.evidence.sensed == 0
    assert tally.verdict("") == (Stage.FAILED, "not sensed: 1 of 1")
    hear(tally, meter, current(179, 8.0))
    assert tally.evidence.sensed == 1
    assert tally.evidence.sounded


def test_a_latched_bit_counts_once_it_is_read_again() -> None:
    tally = Tally(phases=1, proofs={Stage.SENSED}, spool_up_us=0)
    bit = Witness("head", "activation", on=(True,), latched=True)
    hear(tally, bit, Reading("head", "activation", False, Quality.GOOD, 0))
    tally.open(0, 1 * S, 7 * S)
    tally.commanded(0, 1 * S)
    hear(tally, bit, Reading("head", "activation", True, Quality.GOOD, 2 * S))
    assert tally.evidence.sensed == 0
    hear(tally, bit, Reading("head", "activation", True, Quality.GOOD, 3 * S))
    assert tally.evidence.sensed == 1


def test_what_is_not_good_proves_nothing() -> None:
    tally = Tally(phases=1, proofs={Stage.SENSED}, spool_up_us=0)
    meter = Witness("meter", "current", above=2.0)
    tally.open(0, 0, 6 * S)
    hear(tally, meter, current(1, None), current(2, 8.0, Quality.UNCERTAIN), current(3, 8.0, Quality.UNCERTAIN))
    assert tally.evidence.sensed == 0
