"""What of a grown gateway changes no more is named at once and written later, and comes back to its place."""

import gzip
import io
import json
from pathlib import Path

import pytest

from controller import segment, snapshot
from controller.blackbox import Blackbox
from controller.event import BrokerUp, Clock, Record, Trust
from controller.gateway import Gateway
from controller.ledger import Accept
from controller.origin import Origin, told
from controller.outbox import Line, Stand
from controller.wire import Action, Mode
from firmware_bridge.errors import Malformed
from firmware_bridge.machine import S, Woken
from tests.controller.test_blackbox import CONFIG, PROFILES, TRUST, lived, restored

WALL = 1_789_696_800_000_000
SIRENS = tuple(s.id for s in CONFIG.spec.siren)
MADE = Origin(CONFIG, TRUST, "run-1", "test", chance="c")


def accept(n: int, action: Action = Action.SOUND) -> Record:
    one = Accept(order=f"{n:032x}", digest="d", action=action, mode=Mode.DRILL, rank=1, by="Li Wei",  # type: ignore[arg-type]
                 persons=("Li Wei",), door="mqtt", at="2026-09-18T02:00:00.000Z", issued_wall_us=WALL,
                 expires_wall_us=WALL + 300 * S, start_wall_us=WALL, scheduled=False, limit_us=190 * S, sirens=SIRENS,
                 sound="air-raid", sound_digest="s")
    return Record("accept", one.model_dump(mode="json", exclude_none=True))


def receipts(n: int, seq: int, delivered: bool = True) -> list[Record]:
    out: list[Record] = []
    for k, siren in enumerate(SIRENS):
        out.append(Record("receipt", {
            "v": 1, "seq": seq + k, "gateway": CONFIG.id, "at": "2026-09-18T02:00:00.000Z", "order": f"{n:032x}",
            "siren": siren, "stage": "finished", "mode": "drill", "reason": ""}))
        out += [Record("delivered", {"seq": seq + k})] * delivered
    return out


def grown(orders: int) -> Gateway:
    """It has orders that ended, one that is open between them, a stop, and lines that the broker does not have."""
    records: list[Record] = []
    for n in range(1, orders + 1):
        records.append(accept(n, Action.STOP if n == 3 else Action.SOUND))
        if n != 5:
            records += receipts(n, len(SIRENS) * n, delivered=n != 7)
    return MADE.gateway(records)


def parts_of(gateway: Gateway) -> tuple[object, ...]:
    outbox, ledger = gateway.session._outbox, gateway.orders._ledger
    return ([*outbox._lines.items()], [*outbox._delivered.items()], [*outbox._queue.items()],
            [*outbox._sent.items()], [*outbox._plain.items()], outbox._by_order,
            outbox.last_seq, [*ledger._entries.items()], [*ledger._open.items()], ledger._stops)


def test_it_comes_back_as_it_was_and_in_its_order() -> None:
    gateway = grown(100)
    again = snapshot.restore([*snapshot.take(gateway)], CONFIG)
    assert parts_of(again) == parts_of(gateway)
    outbox, ledger = again.session._outbox, again.orders._ledger
    assert len(outbox._lines) == 99 * len(SIRENS)
    assert [n for n, line in outbox._lines.items() if line.stand is Stand.READY] == [*outbox._queue]
    assert all(outbox._lines[n] is line for n, line in (*outbox._queue.items(), *outbox._delivered.items()))
    assert list(ledger._open) == [f"{5:032x}"]
    assert all(ledger._entries[order] is entry for order, entry in ledger._open.items())
    for now_us in range(S, 20 * S, S):
        for event in (Clock(WALL + now_us, 0, Trust.TRUSTED), BrokerUp(), Woken()):
            assert again.handle(now_us, event) == gateway.handle(now_us, event)
    assert parts_of(again) == parts_of(gateway)

    outbox = gateway.session._outbox
    for n in (1, 2):
        outbox.add(Line(outbox.last_seq + 1, "event", b"{}", plain=True))
        outbox.written(outbox.last_seq * (n == 1))
    assert {line.stand for line in outbox._lines.values()} == set(Stand)
    assert parts_of(snapshot.restore([*snapshot.take(gateway)], CONFIG)) == parts_of(gateway)


def test_what_the_loop_stands_still_for_does_not_grow_with_what_is_settled() -> None:
    few, many = snapshot.take(grown(10)), snapshot.take(grown(1000))
    # A number of four octets stands for each line: those that the broker has are not alike to those that it lacks.
    assert len(many.frame) < len(few.frame) + 990 * len(SIRENS) * 4
    assert len(few.settled) < len(many.settled) / 50


def test_the_gateway_goes_on_while_it_is_written() -> None:
    gateway = grown(100)
    at_once, later = [*snapshot.take(gateway)], snapshot.take(gateway)
    was = parts_of(snapshot.restore(at_once, CONFIG))
    seqs = [*gateway.session._outbox._queue]
    for now_us in range(S, 20 * S, S):
        for event in (Clock(WALL + now_us, 0, Trust.TRUSTED), BrokerUp(), Woken()):
            gateway.handle(now_us, event)
    for seq in seqs:
        gateway.session._outbox.confirmed(seq)
    gateway.orders._ledger.date(gateway.orders._ledger.stops()[0])
    assert gateway.session._outbox.repeat_order(f"{1:032x}")
    assert gateway.orders._ledger.open() == []
    assert parts_of(gateway) != was
    assert parts_of(snapshot.restore([*later], CONFIG)) == was


def test_a_file_that_begins_with_it_lives_again(tmp_path: Path) -> None:
    gateway = grown(100)
    box = Blackbox(tmp_path, 2**26, 0, told(MADE, PROFILES), [], lambda: snapshot.take(gateway), print)
    box._full = True
    for now_us in range(S, 20 * S, S):
        for event in (Clock(WALL + now_us, 0, Trust.TRUSTED), BrokerUp(), Woken()):
            box.note(now_us, event, gateway.handle(now_us, event))
    box.close()
    *_, one = segment.segments(tmp_path)
    assert one.header["settled"] == len(one.state or ()) - 1 > 5
    assert parts_of(restored(one)) != parts_of(gateway)
    saved = tmp_path / "saved.gz"
    assert segment.save(tmp_path, saved) == len(segment.files(tmp_path))
    *_, again = segment.segments(saved)
    assert again.state == one.state
    (*_, step) = (s for s in lived(tmp_path) if s.effects)
    assert step.same


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_file_torn_before_its_beginning_is_whole_is_passed_over(tmp_path: Path, kept: int) -> None:
    """The others are read all the same."""
    def write(n: int, state: list[str], torn: bool) -> None:
        header = {"blackbox": segment.FORMAT, "at_us": n, "wall_us": WALL, "code": "0", "records": 0,
                  "settled": 5, "snapshot": "", "origin": {}}
        packed = gzip.compress("".join(f"{line}\n" for line in [json.dumps(header), *state]
                                       ).replace(" ", "").encode())
        (tmp_path / f"{n:06}.jsonl.gz").write_bytes(packed[:-8] if torn else packed)

    write(1, [""] * 5, torn=False)
    write(2, [""] * kept, torn=True)
    write(3, [""] * 5, torn=False)
    assert [one.at_us for one in segment.segments(tmp_path)] == [1, 3]
    saved = tmp_path / "saved.gz"
    assert segment.save(tmp_path, saved) == 2
    assert [one.at_us for one in segment.segments(saved)] == [1, 3]
    write(4, [""] * kept, torn=False)
    with pytest.raises(Malformed, match="its beginning is missing"):
        list(segment.segments(tmp_path))


class Whole(snapshot._Writer):
    """As the first format had it."""

    def reducer_override(self, obj: object) -> object:
        return snapshot._Plain.reducer_override(self, obj)


def test_a_snapshot_of_the_first_format_is_read() -> None:
    gateway, out = grown(20), io.BytesIO()
    Whole(out, CONFIG).dump(gateway)
    assert parts_of(snapshot.restore([out.getvalue()], CONFIG)) == parts_of(gateway)
