"""What a line that talks nonsense costs: CPU time of the bus for 64 KiB of garbage.

The octets go to a real `Bus` at the rate of 115200 baud, which has a read out at all times, as a gateway on a bad line
has: so it looks for an answer in everything that comes. Kinds are chance, and what costs a search most: heads of long
frames that never come whole. Chunks are what one wake-up of the link reads. Time is this process's own CPU time, the
best of three, because the bench measures work and not the neighbours.

A chunk of one octet is 65,536 wake-ups; what those cost with nothing in them is printed beside it (`wake_ups_ms`), and
it is held to no bar. Nor are whole frames that nobody asked for: they are not garbage, and are there to compare with.

    .venv/bin/python -m bench.garbage [--quick]
"""

import argparse
import time
from collections.abc import Callable, Mapping
from random import Random

from bench import measure
from firmware_bridge.bus import Bus
from firmware_bridge.event import (
    BusEvent,
    Finished,
    LinkDown,
    LinkUp,
    Priority,
    Read,
    Received,
    Reopen,
    Submit,
    Table,
    Transaction,
)
from firmware_bridge.framing import Rtu, Tcp
from firmware_bridge.machine import S, Woken
from firmware_bridge.modbus import refusal_pdu, request_pdu, rtu_frame

OCTETS = 64 * 1024
BAR_MS = 50.0
CHUNKS = (1, 16, 256, 4096)
"""4096 is the most that the link takes from one wake-up; 16 is about what a UART's queue holds."""
JUDGED = CHUNKS[1:]
BAUD = 115200
OCTET_US = 10e6 / BAUD
ROUNDS = 3
SEED = 20261122
LONGEST = Read(Table.HOLDING, 0, 125)
"""The longest answer leaves most room for what might yet be one."""

Make = Callable[[], bytes]


def repeated(text: str) -> Make:
    """`01 03 FA` again and again."""
    octets = bytes.fromhex(text)
    return lambda: (octets * (OCTETS // len(octets) + 1))[:OCTETS]


def chance() -> bytes:
    return Random(SEED).randbytes(OCTETS)


def broken_answers() -> bytes:
    """Answers as long as the one that is waited for, each with one bit wrong."""
    chosen, out = Random(SEED), bytearray()
    while len(out) < OCTETS:
        frame = bytearray(rtu_frame(1, b"\x03\xfa" + chosen.randbytes(250)))
        frame[chosen.randrange(3, len(frame))] ^= 1 << chosen.randrange(8)
        out += frame
    return bytes(out[:OCTETS])


RTU: Mapping[str, Make] = {
    "chance": chance,
    "00": repeated("00"),
    "FF": repeated("FF"),
    "01": repeated("01"),
    "long answer's head, 01 03 FA": repeated("01 03 FA"),
    "long answer's head at every second octet, 03 FA": repeated("03 FA"),
    "refusal's head, 01 81": repeated("01 81"),
    "refusal's head at every octet, 81": repeated("81"),
    "empty answer's head, 01 03 00": repeated("01 03 00"),
    "write's head, 01 05": repeated("01 05"),
    "long request's head at every second octet, 10 FA": repeated("10 FA"),
    "answers with a wrong bit": broken_answers,
}
TCP: Mapping[str, Make] = {
    "chance": chance,
    "00": repeated("00"),
    "FF": repeated("FF"),
    "right header, empty refusals of nobody's requests": repeated("00 00 00 00 00 02 01 83"),
    "right header, long answers to nobody": repeated("00 00 00 00 00 FD 01 03 FA" + 250 * "00"),
    "header that never ends, 00 01 00 00 00 FE": lambda: bytes.fromhex("00 01 00 00 00 FE") + bytes(OCTETS - 6),
}
VALID: Mapping[str, Make] = {
    "whole refusals that nobody asked for": lambda: (rtu_frame(9, refusal_pdu(3, 2)) * OCTETS)[:OCTETS],
    "another master's requests": lambda: (rtu_frame(9, request_pdu(LONGEST)) * OCTETS)[:OCTETS],
}
"""Frames with a right check sum: not garbage, held to no bar."""


class Fed:
    """A bus that is fed octets as a line would bring them, and always has a read out."""

    def __init__(self, baud: int | None) -> None:
        self.bus = Bus("b", Tcp() if baud is None else Rtu(baud))
        self._now_us = S
        self._id = 0
        self._aside_ns = 0
        self._hear(LinkUp("b"))
        self._now_us += S
        self._ask()

    def feed(self, octets: bytes, chunk: int) -> float:
        """CPU milliseconds that it takes."""
        events = [Received("b", octets[n : n + chunk]) for n in range(0, len(octets), chunk)]
        return self._timed(events, chunk)

    def wake(self, times: int, chunk: int) -> float:
        """The same with nothing in it."""
        return self._timed([Woken()] * times, chunk)

    def _timed(self, events: list[Received] | list[Woken], chunk: int) -> float:
        step_us = max(1, round(chunk * OCTET_US))
        self._aside_ns = 0
        began = time.process_time_ns()
        for event in events:
            self._now_us += step_us
            due_us = self.bus.deadline
            if due_us is not None and due_us < self._now_us:
                self._hear(Woken())
            self._hear(event)
        return (time.process_time_ns() - began - self._aside_ns) / 1e6

    def _hear(self, event: BusEvent) -> None:
        for effect in self.bus.handle(self._now_us, event):
            if isinstance(effect, Finished):
                self._ask()
            elif isinstance(effect, Reopen):
                # As the link does it: the connection is another one, and the request goes out anew.
                began = time.process_time_ns()
                self._hear(LinkDown("b", "closed to be opened again"))
                self._hear(LinkUp("b"))
                self._ask()
                self._aside_ns += time.process_time_ns() - began

    def _ask(self) -> None:
        """A read, unless the link is down. A read-back: polls of a silent unit are left out, and this one is silent."""
        if self.bus.state is not self.bus.state.DOWN:
            self._id += 1
            self._hear(Submit("b", Transaction("bench", self._id, 1, LONGEST, Priority.READ_BACK)))


def cost_ms(baud: int | None, octets: bytes, chunk: int, rounds: int) -> float:
    return min(Fed(baud).feed(octets, chunk) for _ in range(rounds))


def run(rounds: int, chunks: tuple[int, ...]) -> dict[str, dict[str, dict[int, float]]]:
    """framing -> kind -> chunk -> CPU milliseconds."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for framing, baud, kinds in (("rtu", BAUD, RTU), ("tcp", None, TCP), ("rtu, whole frames", BAUD, VALID)):
        print(f"{framing}: CPU ms for 64 KiB in chunks of {', '.join(map(str, chunks))} octets", flush=True)
        found[framing] = {}
        for kind, make in kinds.items():
            octets = make()
            costs = {chunk: round(cost_ms(baud, octets, chunk, rounds), 1) for chunk in chunks}
            found[framing][kind] = costs
            print(f"  {kind:52}" + "".join(f"{ms:10.1f}" for ms in costs.values()), flush=True)
    return found


def worst(found: dict[str, dict[str, dict[int, float]]], framing: str, chunk: int) -> tuple[float, str]:
    return max((costs[chunk], kind) for kind, costs in found[framing].items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, and no chunks of one octet")
    quick = parser.parse_args().quick
    chunks = JUDGED if quick else CHUNKS
    found = run(1 if quick else ROUNDS, chunks)
    figures: dict[str, object] = {"octets": OCTETS, "ms": found}
    reached: dict[str, bool | None] = {}
    for framing in ("rtu", "tcp"):
        for chunk in chunks:
            ms, kind = worst(found, framing, chunk)
            print(f"worst, {framing}, chunks of {chunk}: {ms} ms, {kind}")
            if chunk in JUDGED:
                reached[f"{framing}, chunks of {chunk}: <= {BAR_MS:g} ms"] = ms <= BAR_MS
    if not quick:
        figures["wake_ups_ms"] = round(Fed(BAUD).wake(OCTETS, 1), 1)
        print(f"65,536 wake-ups with nothing in them: {figures['wake_ups_ms']} ms")
    measure.report(figures, reached)


if __name__ == "__main__":
    main()
