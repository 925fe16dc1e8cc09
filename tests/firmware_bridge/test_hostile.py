"""Hostile device behaviour never ends a bus task: whatever comes on a line, a bus raises nothing, every transaction
ends once and within a bound, and no wrong value is believed but by a collision of check sums, which is counted.

Here a script of octets is at the other end; `test_hostile_field.py` has the simulators there, with every fault at once.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from random import Random

import pytest

from firmware_bridge import modbus
from firmware_bridge.bus import Bus, State
from firmware_bridge.event import (
    Ask,
    BusEvent,
    Finished,
    LinkDown,
    LinkLost,
    LinkUp,
    Priority,
    Read,
    Received,
    Reopen,
    Reply,
    Request,
    Send,
    Sent,
    Silent,
    Submit,
    Table,
    Transaction,
    Withdraw,
    Write,
    WrittenLate,
)
from firmware_bridge.framing import Framing, Plain, Rtu, Tcp
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.text import Template

BAUD = 9600
CHAR_US = 11e6 / BAUD
UNIT = 3
ALONE_US = 5 * S
"""A transaction that nothing else waits for ends within this: a quarantine and a second of silence, a sentinel, its own
time-out of 0.3 s."""
ASKED = Read(Table.HOLDING, 4, 3)
VALUES = (7, 8, 9)
LEVEL = Template("'$' {unit:2} '=' {level:4} <xor8> 0D")
PLAIN = Ask("level", b"$03?\r", LEVEL, reads=True)
MAKERS: dict[str, Callable[[], Framing]] = {"rtu": lambda: Rtu(BAUD, 11), "tcp": Tcp, "plain": lambda: Plain(BAUD, 11)}
LOADED_US = 15 * S
"""One among others that may be begun within 5 s. More urgent ones go first, and that it has expired is found out when
its turn comes."""
Octets = list[tuple[int, bytes]]
"""What comes after a request, and how long after its first octet left."""


class Desk:
    """A bus, its time, and the other end: a script that is handed each frame. `ended` is every outcome."""

    def __init__(self, framing: Framing, said: Callable[[bytes], Octets] = lambda frame: []) -> None:
        self.bus = Bus("line", framing)
        self.now_us = S
        self.said = said
        self.sent: list[bytes] = []
        self.ended: dict[int, tuple[int, Finished]] = {}
        self.begun: dict[int, int] = {}
        self.reopened = 0
        self._n = count(1)
        self._prepared: tuple[int, bytes] | None = None
        self._coming: list[tuple[int, int, bytes]] = []
        self.tell(LinkUp("line"))

    def tell(self, event: BusEvent) -> None:
        for effect in self.bus.handle(self.now_us, event):
            match effect:
                case Send(_, data, at_us):
                    self._prepared = (max(at_us or 0, self.now_us), data) if data else None
                case Finished(_, txn):
                    assert txn.id not in self.ended, "one transaction, one outcome"
                    self.ended[txn.id] = self.now_us, effect
                case Reopen():
                    self.reopened += 1
                    self._coming.clear()
                    self.tell(LinkDown("line", "closed to be opened again"))
                    self.tell(LinkUp("line"))
        assert self.bus.deadline is None or self.bus.deadline > self.now_us

    def hear(self, delay_us: int, data: bytes) -> None:
        heapq.heappush(self._coming, (self.now_us + delay_us, next(self._n), data))

    def run(self, length_us: int, until: Callable[[], bool] = lambda: False) -> None:
        end_us = self.now_us + length_us
        while not until():
            coming_us = self._coming[0][0] if self._coming else None
            due_us = earliest(coming_us, self._prepared and self._prepared[0], self.bus.deadline)
            if due_us is None or due_us > end_us:
                self.now_us = end_us
                break
            self.now_us = due_us
            if self._prepared is not None and self._prepared[0] == due_us:
                (_, frame), self._prepared = self._prepared, None
                self.sent.append(frame)
                for delay_us, data in self.said(frame):
                    self.hear(delay_us, data)
            elif coming_us == due_us:
                self.tell(Received("line", heapq.heappop(self._coming)[2]))
            else:
                self.tell(Woken())

    def submit(self, request: Request = ASKED, priority: Priority = Priority.ORDER, unit: int = UNIT, *,
               repeatable: bool = True, at_us: int | None = None, expires_us: int | None = None) -> int:
        id = next(self._n)
        self.begun[id] = self.now_us
        self.tell(Submit("line", Transaction("test", id, unit, request, priority, repeatable, at_us, expires_us)))
        return id

    def ask(self, request: Request = ASKED, priority: Priority = Priority.ORDER) -> object:
        """The outcome of one transaction that nothing else waits for."""
        id = self.submit(request, priority)
        self.run(ALONE_US, until=lambda: id in self.ended)
        assert id in self.ended, "no outcome"
        return self.ended[id][1].outcome

    def settle(self) -> None:
        """Until the line is at rest and nothing is owed any more."""
        self.run(3 * S)


def request_of(kind: str) -> Request:
    return PLAIN if kind == "plain" else ASKED


def wire_us(octets: int) -> int:
    return round(octets * CHAR_US)


def answer(kind: str, sent: bytes, request: Request = ASKED, values: tuple[int, ...] = VALUES) -> bytes:
    """The right answer to a frame."""
    if kind == "plain":
        return LEVEL.fill({"unit": b"03", "level": b"1234"})
    assert isinstance(request, Read | Write)
    pdu = modbus.reply_pdu(request, values)
    if kind == "tcp":
        return modbus.mbap_frame(int.from_bytes(sent[:2], "big"), UNIT, pdu)
    return modbus.rtu_frame(UNIT, pdu)


def in_time(kind: str, sent: bytes, came: bytes) -> Octets:
    """Octets as they come from a unit that takes 20 ms."""
    return [(20 * MS if kind == "tcp" else wire_us(len(sent) + len(came)) + 20 * MS, came)] if came else []


# A script of octets.


@pytest.mark.parametrize("kind", MAKERS)
def test_the_right_answer_is_believed(kind: str) -> None:
    desk = Desk(MAKERS[kind](), lambda sent: in_time(kind, sent, answer(kind, sent)))
    outcome = desk.ask(request_of(kind))
    assert isinstance(outcome, Reply)
    assert kind == "plain" or outcome == Reply(VALUES)


@pytest.mark.parametrize("kind", MAKERS)
def test_every_beginning_of_an_answer_is_silence_and_the_next_one_is_heard(kind: str) -> None:
    whole = len(answer(kind, b"\0\0"))
    for length in range(whole):
        cut = [True]
        desk = Desk(MAKERS[kind](), lambda sent, n=length, cut=cut: in_time(
            kind, sent, answer(kind, sent)[: n if cut[0] else None]))
        assert isinstance(desk.ask(request_of(kind)), Silent), length
        # A TCP stream that was cut has lost its place: what comes next closes it, or is nonsense once.
        cut[0] = False
        outcomes = [desk.ask(request_of(kind)) for _ in range(3)]
        assert isinstance(outcomes[-1], Reply), (length, outcomes)
        assert all(isinstance(o, Silent | LinkLost | Reply) for o in outcomes)
        if kind != "plain":
            assert all(o.values == VALUES for o in outcomes if isinstance(o, Reply))


def beginnings() -> Iterator[bytes]:
    """All of one octet, all of two, and a thousand of each length up to eight."""
    rng = Random(8)
    yield from (bytes([a]) for a in range(256))
    yield from (bytes([a, b]) for a in range(256) for b in range(256))
    yield from (rng.randbytes(n) for n in range(3, 9) for _ in range(1000))


@pytest.mark.parametrize("with_answer", [False, True])
def test_whatever_stands_before_an_answer_makes_no_other_of_it(with_answer: bool) -> None:
    """Noise of every value: the answer behind it is found, or it is silence; nothing else is ever believed."""
    script = beginnings()
    seen: Counter[str] = Counter()
    desk = Desk(Rtu(115200, 11))
    right = modbus.rtu_frame(UNIT, modbus.reply_pdu(ASKED, VALUES))

    def said(sent: bytes) -> Octets:
        noise = next(script)
        return [(30 * MS, noise + right if with_answer else noise)]

    desk.said = said
    for _ in range(256 + 65536 + 6000):
        desk.run(2 * S)  # long enough for every doubt to pass
        outcome = desk.ask()
        seen[type(outcome).__name__] += 1
        assert not isinstance(outcome, Reply) or outcome.values == VALUES
    # A line on which nobody ever answers is opened anew now and then.
    assert set(seen) <= {"Silent", "Reply", "LinkLost"}
    assert seen["Reply" if with_answer else "Silent"] > 60_000, seen


def wrong_lengths(request: Read | Write) -> Iterator[bytes]:
    """PDUs that are like an answer to `request` and are none."""
    right = modbus.reply_pdu(request, VALUES)
    function = right[0]
    for n in range(len(right)):
        yield right[:n] or b"\0"
        yield right + bytes(n + 1)
    yield from (bytes([other]) + right[1:] for other in range(1, 17) if other != function)
    yield from (bytes([function | 0x80]), bytes([function | 0x80, 2, 0]))
    if isinstance(request, Read):
        for octets in set(range(250)) - {right[1]}:
            yield bytes([function, octets]) + bytes(octets)
            yield bytes([function, octets]) + right[2:]
    else:
        for place in range(1, 5):
            yield right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :]


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
@pytest.mark.parametrize("request_", [ASKED, Write(Table.HOLDING, 4, (7,)), Write(Table.COIL, 4, (1,)),
                                      Write(Table.HOLDING, 4, (7, 8, 9))], ids=str)
def test_a_valid_frame_of_another_length_or_content_is_no_answer(kind: str, request_: Read | Write) -> None:
    for pdu in wrong_lengths(request_):
        def said(sent: bytes, pdu: bytes = pdu) -> Octets:
            came = modbus.rtu_frame(UNIT, pdu)
            if kind == "tcp":
                came = modbus.mbap_frame(int.from_bytes(sent[:2], "big"), UNIT, pdu)
            return in_time(kind, sent, came)

        desk = Desk(MAKERS[kind](), said)
        outcome = desk.ask(request_)
        # A header of Modbus TCP that counts more than 254 octets is none, and ends the connection.
        assert isinstance(outcome, Silent) or (kind == "tcp" and isinstance(outcome, LinkLost)), pdu.hex()
        desk.said = lambda sent: in_time(kind, sent, answer(kind, sent, request_))
        desk.settle()
        assert isinstance(desk.ask(request_), Reply), pdu.hex()


STREAMS: dict[str, Callable[[Random], bytes]] = {
    "00": lambda rng: bytes(16),
    "01": lambda rng: b"\x01" * 16,
    "ff": lambda rng: b"\xff" * 16,
    "55": lambda rng: b"\x55" * 16,
    "chance": lambda rng: rng.randbytes(rng.randint(1, 40)),
    "text": lambda rng: bytes(rng.randint(32, 126) for _ in range(16)),
    "another unit": lambda rng: modbus.rtu_frame(9, modbus.reply_pdu(ASKED, (1, 2, 3))),
    "another length": lambda rng: modbus.rtu_frame(UNIT, modbus.reply_pdu(Read(Table.HOLDING, 4, 2), (1, 2))),
    "another master": lambda rng: modbus.rtu_frame(UNIT, modbus.request_pdu(ASKED)),
    "heads": lambda rng: bytes([UNIT, 3, 250]),
    "mbap": lambda rng: modbus.mbap_frame(rng.randrange(65536), 9, b"\x03\x02\x00\x00"),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_line_that_is_never_silent_holds_nothing_up(kind: str, stream: str) -> None:
    """A minute of octets without a pause, while orders and polls are asked; a stop in the midst of it as well."""
    rng = Random(f"{kind} {stream}")
    desk = Desk(MAKERS[kind]())
    at_us = 0
    while at_us < 60 * S:
        data = STREAMS[stream](rng)
        at_us += wire_us(len(data))
        desk.hear(at_us, data)
    request = request_of(kind)
    for n in range(60):
        priority = (Priority.POLL, Priority.READ_BACK, Priority.ORDER, Priority.STOP)[n % 4]
        desk.submit(request, priority, expires_us=desk.now_us + 5 * S)
        desk.run(S)
    desk.run(10 * S)
    assert set(desk.ended) == set(desk.begun)
    assert max(at - desk.begun[id] for id, (at, _) in desk.ended.items()) <= LOADED_US
    assert not [f for _, f in desk.ended.values() if isinstance(f.outcome, Reply | Sent)]
    # The line falls silent, and the unit is heard.
    desk.said = lambda sent: in_time(kind, sent, answer(kind, sent))
    desk.settle()
    desk.ask(request)
    assert isinstance(desk.ask(request), Reply)


@pytest.mark.parametrize("kind", MAKERS)
def test_an_answer_that_comes_without_end_is_believed_for_what_it_is(kind: str) -> None:
    """A unit that says the same again and again, and nothing else: right values for that question, none for another."""
    right = answer(kind, b"\0\1")
    desk = Desk(MAKERS[kind](), lambda sent: in_time(kind, sent, answer(kind, sent)))
    for n in range(3000):
        desk.hear(n * wire_us(len(right)), right)
    for n in range(30):
        desk.submit(request_of(kind), Priority.POLL, expires_us=desk.now_us + 5 * S)
        if kind != "plain":
            desk.submit(Read(Table.HOLDING, n, 2), Priority.ORDER, expires_us=desk.now_us + 5 * S)
        desk.run(S)
    desk.run(20 * S)
    assert set(desk.ended) == set(desk.begun)
    for _, finished in desk.ended.values():
        if isinstance(finished.outcome, Reply) and kind != "plain":
            assert finished.transaction.request == ASKED
            assert finished.outcome.values == VALUES


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", MAKERS)
def test_garbage_at_any_instant_and_everything_a_bus_may_be_told(kind: str, seed: int) -> None:
    rng = Random(f"{kind} {seed}")
    ours: list[bytes] = [b"\0" * 8]

    def said(sent: bytes) -> Octets:
        ours.append(sent)
        octets = rng.choice([b"", answer(kind, sent), sent, rng.choice(ours), rng.randbytes(rng.randint(1, 300))])
        bad = bytearray(octets)
        # TCP mends octets or breaks: no fault changes one.
        for _ in range(rng.randint(0, 2) if bad and kind != "tcp" else 0):
            bad[rng.randrange(len(bad))] ^= rng.randint(1, 255)
        cut = rng.randint(0, len(bad))
        return [(rng.randint(1, 900) * MS, part) for part in (bytes(bad[:cut]), bytes(bad[cut:])) if part]

    desk = Desk(MAKERS[kind](), said)
    request = request_of(kind)
    for _ in range(150):
        match rng.randrange(8):
            case 0:
                desk.tell(Received("line", rng.randbytes(rng.randint(0, 600))))
            case 1:
                desk.tell(WrittenLate("line", desk.now_us - rng.randint(0, 50) * MS))
            case 2 if desk.begun:
                desk.tell(Withdraw("line", "test", rng.choice(list(desk.begun))))
            case 3 if rng.random() < 0.3:
                desk.tell(LinkDown("line", "pulled"))
                desk.tell(Received("line", b"late"))
                desk.run(rng.randint(0, 500) * MS)
                desk.tell(LinkUp("line"))
            case _:
                at_us = desk.now_us + rng.randint(1, 900) * MS if rng.random() < 0.2 else None
                desk.submit(request, rng.choice(list(Priority)), rng.choice((UNIT, 9)), at_us=at_us,
                            repeatable=rng.random() < 0.8, expires_us=desk.now_us + 5 * S)
        desk.run(rng.randint(0, 400) * MS)
    desk.run(20 * S)
    assert set(desk.ended) == set(desk.begun)
    assert max(at - desk.begun[id] for id, (at, _) in desk.ended.items()) <= LOADED_US
    assert desk.bus.state is State.IDLE
    assert len(desk.bus.queue) == 0
    if kind != "plain":
        for _, finished in desk.ended.values():
            if isinstance(finished.outcome, Reply):
                assert finished.outcome.values == VALUES


@pytest.mark.parametrize("priority", [Priority.READ_BACK, Priority.ORDER, Priority.STOP])
def test_a_read_without_a_last_instant_ends_too_when_its_unit_has_died(priority: Priority) -> None:
    ten = Read(Table.HOLDING, 0, 10)
    dead: set[int] = set()

    def said(sent: bytes) -> Octets:
        request = modbus.parse_request(sent[1:-2])
        assert isinstance(request, Read)
        came = modbus.rtu_frame(sent[0], modbus.reply_pdu(request, (0,) * request.count))
        return [] if sent[0] in dead else in_time("rtu", sent, came)

    desk = Desk(Rtu(BAUD, 11), said)
    assert desk.ask(ten) == Reply((0,) * 10)
    desk.submit(ten, Priority.POLL, unit=9)
    desk.settle()
    dead.add(UNIT)
    assert isinstance(desk.ask(ten, priority), Silent)
    id = desk.submit(Read(Table.HOLDING, 0, 4), priority)
    polls = []
    for _ in range(60):
        polls.append(desk.submit(ten, Priority.POLL, unit=9))
        desk.run(S)
    assert id in desk.ended
    assert sum(isinstance(desk.ended[n][1].outcome, Reply) for n in polls if n in desk.ended) > 30


def test_a_transaction_that_may_no_longer_be_begun_is_told_so_on_a_busy_line_too() -> None:
    desk = Desk(Rtu(BAUD, 11))
    id = desk.submit(priority=Priority.POLL, expires_us=desk.now_us + S)
    for _ in range(300):
        desk.submit(Write(Table.COIL, 0, (0,)), Priority.STOP)
        desk.run(S // 10)
    assert id in desk.ended
    assert desk.ended[id][0] - desk.begun[id] <= 2 * S
