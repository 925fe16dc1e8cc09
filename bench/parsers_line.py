"""For the fuzzer: what parses octets of a line. Frames of RTU and TCP, plain protocols and templates, readings, tapes.

Valid examples are the captures of `tests/captures`, every request and answer there is, and each message of each
profile, filled. A parser is fed as its owner feeds it: in pieces, with a request out, through to the reading.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from bench.mutate import LETTERS, OCTETS, SCALARS, Mutator
from firmware_bridge import capture, document, modbus, profile
from firmware_bridge.belief import Belief
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Ask, Read, Reply, Table, Write
from firmware_bridge.framing import Plain, Rtu, Tcp
from firmware_bridge.machine import S
from firmware_bridge.plan import Block, Exchange, fetches
from firmware_bridge.profile import Profile
from firmware_bridge.scan import KEPT, Scanner, is_one_reply, replies
from firmware_bridge.text import UNIT, Envelope, Template

HERE = Path(__file__).parents[1]
PIECE = 4096
"""The most that a link takes from one wake-up."""

Feed = Callable[[Any], object]


@dataclass(frozen=True)
class Parser:
    """What is fed. `fresh` makes it anew for each batch of cases; `case` makes one; `named` is what it may raise."""

    name: str
    case: Callable[[Mutator], object]
    fresh: Callable[[], Feed]
    named: tuple[type[Exception], ...] = (Malformed,)
    limit: int = PIECE
    """The most octets that it lets in."""


# Examples.


@cache
def profiles() -> dict[str, Profile]:
    return profile.load_all(HERE / "configs" / "profiles")


@cache
def captured() -> tuple[bytes, ...]:
    """Every frame of the captures."""
    frames: list[bytes] = []
    for path in sorted((HERE / "tests" / "captures").glob("*.toml")):
        for exchange in tomllib.loads(path.read_text(encoding="utf-8"))["exchange"]:
            frames += [bytes.fromhex(exchange[side]) for side in ("request", "reply") if side in exchange]
    return tuple(frames)


@cache
def requests() -> tuple[modbus.Request, ...]:
    """One of each function and of the sizes at the edges."""
    most = {Table.COIL: 2000, Table.DISCRETE: 2000, Table.HOLDING: 125, Table.INPUT: 125}
    reads = [Read(table, address, count) for table in most
             for address, count in ((0, 1), (16, 3), (65535, 1), (0, most[table]))]
    return (*reads, Write(Table.COIL, 3, (1,)), Write(Table.COIL, 0, (1, 0, 1)), Write(Table.HOLDING, 7, (65535,)),
            Write(Table.HOLDING, 0, (1, 2)), Write(Table.PULSE, 1, (0x0123,)))


@cache
def asked() -> tuple[bytes, ...]:
    return tuple(modbus.request_pdu(one) for one in requests())


@cache
def answers() -> tuple[bytes, ...]:
    """The PDU that answers each request."""
    def pdu(one: modbus.Request) -> bytes:
        return modbus.reply_pdu(one, tuple(n & 1 for n in range(one.count)) if isinstance(one, Read) else ())

    return tuple(pdu(one) for one in requests())


@cache
def rtu_frames() -> tuple[bytes, ...]:
    whole = [modbus.rtu_frame(1, pdu) for pdu in (*answers(), *asked(), modbus.refusal_pdu(3, 2))]
    return (*whole, *(f for f in captured() if modbus.crc16(f) == 0), b"".join(whole[:4]))


@cache
def tcp_frames() -> tuple[bytes, ...]:
    whole = [modbus.mbap_frame(n + 1, 1, pdu) for n, pdu in enumerate((*answers(), *asked(), modbus.refusal_pdu(3, 2)))]
    return (*whole, b"".join(whole[:4]))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[n : n + size] for n in range(0, len(data), size)] if size else [data]


def _size(mutator: Mutator) -> int:
    """Of the pieces: all at once, or a few octets each."""
    return mutator.chance.choice((0, 0, 1, 3, 16))


def _hurt(mutator: Mutator, examples: tuple[bytes, ...], again: Callable[[bytes], bytes]) -> bytes:
    """An example made something else; in every third case its check sum fits again."""
    chance = mutator.chance
    if chance.random() < 0.03:
        return mutator.garbage()
    data = mutator.octets(chance.choice(examples), chance.choice(examples))
    return again(data) if chance.random() < 0.33 else data


def _summed(data: bytes) -> bytes:
    return data[:-2] + modbus.crc16(data[:-2]).to_bytes(2, "little")


def _measured(data: bytes) -> bytes:
    """With the length that it has in the header."""
    return data[:2] + b"\0\0" + (max(0, len(data) - 6) & 0xFFFF).to_bytes(2, "big") + data[6:]


# Modbus.


def slave() -> Feed:
    def feed(case: tuple[int, bytes]) -> object:
        found, rest = [], case[1]
        while (cut := modbus.rtu_split(rest)) is not None:
            unit, pdu, rest = cut
            found.append((unit, modbus.parse_request(pdu)))
        return found

    return feed


def pdu() -> Feed:
    def feed(case: tuple[int, bytes]) -> object:
        index, data = case
        request = modbus.parse_request(data)
        # What is understood is said again in the same octets, or a recorded request would not be the one that was sent.
        assert len(modbus.request_pdu(request)) <= 253, request
        return request, modbus.reply_of(requests()[index], data)

    return feed


def master() -> Feed:
    line = Rtu(9600)

    def feed(case: tuple[int, int, bytes]) -> object:
        index, size, data = case
        request = requests()[index]
        line.clear()
        line.frame(1, request)
        line.left()
        frames = [frame for piece in pieces(data, size) for frame in line.feed(piece)]
        return [line.answer(request, frame[2]) for frame in frames], line.garbled(request), line.foreign, line.begun

    return feed


def scanner() -> Feed:
    """One scanner for a whole batch: what a line left in it is there when the next octets come."""
    scan = Scanner()

    def feed(case: tuple[int, bytes]) -> object:
        size, data = case
        found = [frame for piece in pieces(data, size) for frame in scan.feed(piece)]
        assert len(scan) <= 2 * KEPT, len(scan)
        return found, replies(data), is_one_reply(data)

    return feed


def tcp() -> Feed:
    def feed(case: tuple[int, int, bytes]) -> object:
        index, size, data = case
        line, request = Tcp(), requests()[index]
        line.frame(1, request)
        frames = [frame for piece in pieces(data, size) for frame in line.feed(piece)]
        return [line.answer(request, frame[2]) for frame in frames], line.begun

    return feed


# Plain protocols.


@dataclass(frozen=True)
class Spoken:
    """A message of a profile, a request of it, and an answer; `points` are what the answer tells."""

    profile: Profile
    ask: Ask
    answer: bytes
    points: Exchange | None


@cache
def spoken() -> tuple[Spoken, ...]:
    chance, found = Random(1), []
    for one in profiles().values():
        told = {e.message.name: e for e in fetches(one.points.values(), one.line) if isinstance(e, Exchange)}
        for message in one.messages.values():
            ask = message.request(1, {name: _filled(chance, message.ask.fields[name]) for name in message.given})
            if message.answer is not None:
                fields = {name: _filled(chance, size) for name, size in message.answer.fields.items()}
                fields |= {name: said for name, said in ask.echo if name in fields}
                if UNIT in fields:
                    fields[UNIT] = dict(ask.echo).get(UNIT, fields[UNIT])
                found.append(Spoken(one, ask, message.answer.fill(fields), told.get(message.name)))
    return tuple(found)


def _filled(chance: Random, size: int | None) -> bytes:
    return bytes(chance.choice(b"0123456789") for _ in range(size or 5))


def _plain_case(mutator: Mutator) -> tuple[int, int, bytes]:
    index = mutator.chance.randrange(len(spoken()))
    other = mutator.chance.choice(spoken()).answer
    answer = spoken()[index].answer
    data = mutator.octets(answer, other) if mutator.chance.random() < 0.95 else mutator.garbage()
    return index, _size(mutator), data


def plain() -> Feed:
    lines = {one.profile.id: Plain(9600) for one in spoken()}
    beliefs = {one.profile.id: Belief("fuzzed", one.profile, S) for one in spoken()}

    def feed(case: tuple[int, int, bytes]) -> object:
        index, size, data = case
        one = spoken()[index]
        line = lines[one.profile.id]
        line.frame(1, one.ask)
        line.left()
        frames = [frame for piece in pieces(data, size) for frame in line.feed(piece)]
        outcomes = [line.answer(one.ask, frame[2]) for frame in frames]
        readings = [beliefs[one.profile.id].take(S, one.points, outcome.values, S)
                    for outcome in outcomes if isinstance(outcome, Reply) and one.points is not None]
        return outcomes, readings, line.garbled(one.ask)

    return feed


@cache
def templates() -> tuple[str, ...]:
    specs = [m for one in profiles().values() for m in one.spec.messages.values()]
    return tuple({text for spec in specs for text in (spec.ask, spec.answer, spec.refusal) if text is not None})


def _template_case(mutator: Mutator) -> tuple[str, bytes]:
    chance = mutator.chance
    source = sorted(templates())[chance.randrange(len(templates()))]
    return mutator.text(source, chance.choice(sorted(templates()))), mutator.octets(chance.choice(spoken()).answer)


def template() -> Feed:
    envelope = Envelope(0xA5, 0xAE, ((0xAA, b"\xaa\x05"), (0xA5, b"\xaa\x15")))

    def feed(case: tuple[str, bytes]) -> object:
        source, data = case
        found = Template(source, envelope if len(data) % 2 else None)
        frame = found.fill({name: bytes(3 if size is None else size) for name, size in found.fields.items()})
        return found.longest, found.match(frame), found.match(data)

    return feed


# Readings.


@cache
def blocks() -> tuple[tuple[Profile, Block], ...]:
    return tuple((one, block) for one in profiles().values() for block in fetches(one.points.values(), one.line)
                 if isinstance(block, Block))


WORDS = (0, 1, 2, 9, 10, 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7F80, 0xFF80, 0x7FC0)


def _readings_case(mutator: Mutator) -> tuple[int, tuple[int, ...]]:
    chance = mutator.chance
    index = chance.randrange(len(blocks()))
    block = blocks()[index][1]
    bits = block.table in (Table.COIL, Table.DISCRETE)
    return index, tuple(int(chance.random() * 2) if bits else chance.choice(WORDS) if chance.random() < 0.6
                        else int(chance.random() * 65536) for _ in range(block.count))


def readings() -> Feed:
    beliefs = {one.id: Belief("fuzzed", one, S) for one, _ in blocks()}

    def feed(case: tuple[int, tuple[int, ...]]) -> object:
        one, block = blocks()[case[0]]
        return beliefs[one.id].take(S, block, case[1], S)

    return feed


@cache
def written() -> tuple[tuple[str, str], ...]:
    return tuple((one.id, point.name) for one in profiles().values() for point in one.points.values())


def _values_case(mutator: Mutator) -> tuple[int, object]:
    chance = mutator.chance
    values = [v for v in SCALARS if isinstance(v, bool | int | float | str)]
    value = chance.choice(values) if chance.random() < 0.5 else chance.choice(LETTERS) * chance.randrange(9)
    return chance.randrange(len(written())), chance.choice((value, value, chance.uniform(-1e6, 1e6)))


def values() -> Feed:
    def feed(case: tuple[int, Any]) -> object:
        id, name = written()[case[0]]
        return profiles()[id].points[name].encode(case[1])

    return feed


# Tapes.


def _tape_case(mutator: Mutator) -> list[tuple[str, bytes]]:
    chance, said = mutator.chance, []
    tcp = chance.random() < 0.5
    for _ in range(1 + int(chance.random() * 4)):
        n = chance.randrange(len(requests()))
        if tcp:
            ask, answer = (modbus.mbap_frame(7, 1, pdu) for pdu in (asked()[n], answers()[n]))
        else:
            ask, answer = (modbus.rtu_frame(1, pdu) for pdu in (asked()[n], answers()[n]))
        said += [("sent", ask), ("heard", answer)]
    hurt = chance.randrange(len(said))
    said[hurt] = said[hurt][0], mutator.octets(said[hurt][1], chance.choice(OCTETS))
    return [("tcp" if tcp else "rtu", b""), *said]


def tape() -> Feed:
    models = list(profiles().values())

    def feed(case: list[tuple[str, bytes]]) -> object:
        tape = capture.Tape(case[0][0] == "tcp")
        for what, data in case[1:]:
            if what == "sent":
                tape.sent(data)
            else:
                tape.heard(data)
                for exchange in tape.exchanges[-1:]:
                    tape.believed(exchange.unit, _believed(models[len(data) % len(models)], exchange))
        model = models[len(case[-1][1]) % len(models)]
        text = capture.document(model, "fuzzed", capture.proofs(model, tape.exchanges))
        # What is recorded must be read again.
        document.parse(text, "tape")
        return text

    return feed


def _believed(model: Profile, exchange: capture.Exchange) -> Mapping[str, Any]:
    return capture.understood(model, exchange.request, exchange.reply) if isinstance(exchange.request, Read) else {}


def _asked(mutator: Mutator) -> int:
    return mutator.chance.randrange(len(requests()))


PARSERS = (
    Parser("rtu slave", lambda m: (0, _hurt(m, rtu_frames(), _summed)), slave, limit=2 * KEPT),
    Parser("modbus pdu", lambda m: (_asked(m), _hurt(m, (*asked(), *answers()), bytes)), pdu, limit=256),
    Parser("rtu master", lambda m: (_asked(m), _size(m), _hurt(m, rtu_frames(), _summed)), master, ()),
    Parser("rtu scanner", lambda m: (_size(m), _hurt(m, rtu_frames(), _summed)), scanner, ()),
    Parser("modbus tcp", lambda m: (_asked(m), _size(m), _hurt(m, tcp_frames(), _measured)), tcp),
    Parser("plain line", _plain_case, plain, ()),
    Parser("plain template", _template_case, template),
    Parser("readings", _readings_case, readings, ()),
    Parser("values to write", _values_case, values, (ValueError,)),
    Parser("tape", _tape_case, tape, ()),
)
