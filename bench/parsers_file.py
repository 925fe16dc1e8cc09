"""For the fuzzer: what parses files that a person wrote, or that an earlier process left.

Configurations, profiles and signals come as the text of a file and, more often because that is ten times as fast, as
what TOML is read into. Some of the cases are written to a folder and loaded from there, with all that they name.
"""

import gzip
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bench import office
from bench.mutate import LETTERS, NUMBERS, Mutator
from bench.office import DEMO
from bench.parsers_line import HERE, Feed, Parser, profiles
from bench.parsers_message import gateway_config, journalled, list_case, orders
from controller import admission, beside, config, crash, moment, scale, segment, signal
from controller.chain import Head
from controller.config import Config, GatewayFile
from controller.event import (
    AppendFailed,
    Arrived,
    Ask,
    Clock,
    Confirmed,
    Durable,
    Gone,
    Notice,
    Record,
    Trust,
)
from controller.gateway import Gateway
from firmware_bridge import document, profile
from firmware_bridge.errors import BadDocument, Malformed
from firmware_bridge.event import LinkDown, LinkUp, Received
from firmware_bridge.machine import S, Woken
from hub import account, acl, draft, keys
from hub import config as hub_config
from hub import trust as hub_trust
from simulators import storm
from simulators.world import WALL_US

FILE_BYTES = 16 * 1024
"""Larger than any of them but a whole city's. Time grows as they do, and persons write them, not attackers."""
SMALL = 4 * 1024
"""Of a text: TOML is read at a megabyte a second, and a person's file may be as long as it likes."""
TEXT_SHARE, LOADED_SHARE = 0.15, 0.03

Case = str | dict[str, Any]


@cache
def texts(kind: str) -> tuple[str, ...]:
    found = {
        "gateway": [*DEMO.glob("gateway*.toml"), HERE / "configs" / "gateway.toml"],
        "hub": [DEMO / "hub.toml", HERE / "configs" / "hub.toml"],
        "fleet": [HERE / "configs" / "fleet.toml"],
        "signals": [*(HERE / "configs" / "signals").glob("*.toml")],
        "scale": [*(HERE / "configs" / "flood").glob("scale*.toml")],
        "profile": [*(HERE / "configs" / "profiles").glob("*.toml")],
    }[kind]
    return tuple(path.read_text(encoding="utf-8") for path in sorted(found))


@cache
def trees(kind: str) -> tuple[dict[str, Any], ...]:
    return tuple(document.parse(text, kind) for text in texts(kind))


def _of(kind: str) -> Callable[[Mutator], Case]:
    def case(mutator: Mutator) -> Case:
        chance = mutator.chance
        if chance.random() < TEXT_SHARE:
            # Half of a file is a file as well, and read in half the time.
            text = chance.choice(texts(kind))
            cut = int(chance.random() * len(text))
            return mutator.text(chance.choice((text, text[cut:], text[:cut]))[:SMALL], chance.choice(texts(kind)))
        tree = mutator.tree(chance.choice(trees(kind)), chance.choice(trees(kind)))
        return tree if isinstance(tree, dict) else {"gateway": tree}

    return case


def _data(case: Case) -> dict[str, Any]:
    return document.parse(case, "fuzzed") if isinstance(case, str) else case


class _Folder:
    """A folder of a case's own, with what it may name."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="siren-fuzz-")
        self.path = Path(self._kept.name)
        (self.path / "p").mkdir()
        for model in {d.profile for d in gateway_config().spec.device}:
            text = (HERE / "configs" / "profiles" / f"{model}.toml").read_bytes()
            (self.path / "p" / f"{model}.toml").write_bytes(text)
        (self.path / "s.toml").write_bytes((HERE / "configs" / "signals" / "demo.toml").read_bytes())
        (self.path / "t.json").write_bytes(office.listed())
        self.file = self.path / "fuzzed"

    def holding(self, data: str | bytes) -> Path:
        self.file.write_bytes(data if isinstance(data, bytes) else data.encode(errors="surrogatepass"))
        return self.file


def _loaded(case: Case) -> bool:
    """Whether a case goes through a file: some of the texts."""
    return isinstance(case, str) and len(case) % 16 == 0


def gateway() -> Feed:
    folder, known = _Folder(), gateway_config()

    def feed(case: Case) -> object:
        if isinstance(case, str) and _loaded(case):
            text = case.replace("../profiles", "p").replace("../signals/demo.toml", "s.toml")
            return config.load(folder.holding(text))
        spec = document.check(GatewayFile, _data(case), "fuzzed")
        problems = config.problems(Config(Path("fuzzed"), spec, profiles(), known.signals))
        if problems:
            raise BadDocument(problems)
        return spec

    return feed


def hub() -> Feed:
    folder = _Folder()

    def feed(case: Case) -> object:
        if isinstance(case, str) and _loaded(case):
            text = case.replace("../signals/demo.toml", "s.toml").replace('"trust.json"', '"t.json"')
            return hub_config.load(folder.holding(text))
        return document.check(hub_config.HubFile, _data(case), "fuzzed")

    return feed


def fleet() -> Feed:
    folder = _Folder()

    def feed(case: Case) -> object:
        if isinstance(case, str):
            return acl.text(acl.load(folder.holding(case)))
        return acl.text(acl.made(case, "fuzzed"))

    return feed


def a_profile() -> Feed:
    return lambda case: profile.made(_data(case), "fuzzed", "fuzzed").points


def signals() -> Feed:
    def feed(case: Case) -> object:
        found = signal.made([("fuzzed", _data(case))], [])
        return [(found.digest(name), found.timeline(name).end_us) for name in (*found.signals, *found.programmes)][:8]

    return feed


def a_scale() -> Feed:
    folder = _Folder()

    def feed(case: Case) -> object:
        text = case if isinstance(case, str) else _toml(case)
        return scale.load(folder.holding(text))

    return feed


def _toml(tree: dict[str, Any]) -> str:
    """Near enough: a scale is a table of tables of numbers and texts."""
    lines, tables = [], []
    for key, value in tree.items():
        if isinstance(value, dict):
            tables += [f"[{key}]", *(f"{name} = {json.dumps(inner)}" for name, inner in value.items())]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, *tables])


# What is read as rows.


@cache
def storms() -> tuple[str, ...]:
    return tuple("\n".join(path.read_text(encoding="utf-8").splitlines()[:30])
                 for path in sorted((HERE / "configs" / "storms").glob("*.csv")))


def _storm_case(mutator: Mutator) -> tuple[str, bool]:
    chance = mutator.chance
    text = mutator.text(chance.choice(storms()), chance.choice(storms()))
    return text.replace("1", chance.choice(NUMBERS), 1) if chance.random() < 0.3 else text, chance.random() < 0.5


def a_storm() -> Feed:
    def feed(case: tuple[str, bool]) -> object:
        found, left_out = storm.parse(case[0], "fuzzed", storm.Columns(skip_bad=case[1]))
        return found.level_m(0.0), found.end_us, left_out[:9]

    return feed


# What is said on a command line.


def _words_case(mutator: Mutator) -> tuple[str, str]:
    chance = mutator.chance
    setting = chance.choice(("bus[line-1].link=tcp:127.0.0.1:502", "gateway.id=gw-1", "clock.source=kernel",
                             "siren[s-301].drive=x", "mqtt.port=1883", "trust.roots[0]=x", "a.b.c=1.5"))
    at = chance.choice(("10:00", "10:00:30", "+90", "2026-09-18T10:00", "2026-09-18T10:00:00.000Z",
                        "2026-09-18 10:00+08:00"))
    return mutator.text(setting, chance.choice(LETTERS)), mutator.text(at, chance.choice(LETTERS))


def _words() -> Feed:
    zone = ZoneInfo("Asia/Shanghai")

    def feed(case: tuple[str, str]) -> object:
        setting, at = case
        data = json.loads(json.dumps(trees("gateway")[0]))
        document.override(data, [setting], "fuzzed")
        return draft.instant(at, WALL_US, zone)

    return feed


# The black box.


@cache
def moments() -> tuple[str, ...]:
    data = orders()[0].data
    events: list[object] = [
        Woken(), Received("line-1", b"\x01\x03\x02\0\1"), Clock(WALL_US, 0, Trust.ASSUMED), LinkUp("a"),
        LinkDown("a", "why"), Arrived("siren/1/o/41/order", data), Durable(3, Head(7, b"x" * 32)),
        AppendFailed(1, "full"), Confirmed(9), Ask(1, 1000, "pi", "stop", {"siren": "s-1"}), Gone(1),
        Notice("a", "b", "c", True)]
    return tuple(moment.line(5, moment.Moment(10 + n, event, n)) for n, event in enumerate(events))


def _moment_case(mutator: Mutator) -> str:
    chance = mutator.chance
    if chance.random() < 0.2:
        return mutator.text(chance.choice(moments()), chance.choice(moments()))
    tree = mutator.tree(json.loads(chance.choice(moments())), json.loads(chance.choice(moments())))
    return mutator.written(tree).decode(errors="replace")


def a_moment() -> Feed:
    def feed(case: str) -> object:
        found = moment.read(0, case)
        return moment.words(found.event), moment.line(0, found)

    return feed


def _box_case(mutator: Mutator) -> bytes:
    chance = mutator.chance
    header = {"blackbox": segment.FORMAT, "at_us": 1, "wall_us": WALL_US, "code": "0", "records": 1, "origin": {},
              "snapshot": None, "settled": 0}
    lines = [mutator.written(mutator.tree(header, chance.choice(left())) if chance.random() < 0.5 else header),
             b'["receipt",{}]', *(one.encode() for one in chance.sample(moments(), 3))]
    packed = gzip.compress(b"\n".join(lines) + b"\n", 1)
    return mutator.octets(packed, packed[9:]) if chance.random() < 0.6 else packed


def a_box() -> Feed:
    folder = _Folder()
    return lambda case: [(one.header, len(one.lines)) for one in segment.segments(folder.holding(case))]


# What processes and people leave in files.


@cache
def left() -> tuple[Any, ...]:
    """Trees of JSON files: what the crash counter keeps, records, keys."""
    past = {"version": "1", "running": True, "ends_us": [1, 2], "strikes": {"ab": [1, 5]}, "safe_min": "", "last": "x"}
    record = {"version": 7, "digest": "0" * 32, "pins": "x", "list": "{}"}
    key = json.loads((DEMO / "keys" / "operator-1.jwk").read_text(encoding="utf-8"))
    root = json.loads((DEMO / "roots" / "root-1.jwk").read_text(encoding="utf-8"))
    signed = json.loads(office.listed())
    return past, record, key, root, signed, json.loads(office.unb64(signed["payload"]))


def _left_case(mutator: Mutator) -> tuple[int, bytes]:
    chance = mutator.chance
    index = chance.randrange(6)
    if index == 4:
        return index, list_case(mutator)
    return index, mutator.written(mutator.tree(left()[index], chance.choice(left())))


def _left() -> Feed:
    folder = _Folder()
    door = folder.path / "door.sock"

    def feed(case: tuple[int, bytes]) -> object:
        index, data = case
        match index:
            case 0:
                (folder.path / "door.crashes").write_bytes(data)
                return crash.Crashes(door, "1", 10 * S).safe_min
            case 1:
                text = data.decode(errors="replace")
                return beside.read(folder.holding(f"{beside._hash(text)} {text}"))
            case 2 | 3:
                return keys.load_key(folder.holding(data), root=index == 3)
            case 4 if len(data) % 2:
                return admission.load(folder.holding(data), None, None)
            case _:
                return hub_trust._read(folder.holding(data))

    return feed


def _records_case(mutator: Mutator) -> list[tuple[str, Any]]:
    chance, out = mutator.chance, []
    for _ in range(1 + int(chance.random() * 3)):
        one, two = chance.choice(journalled()), chance.choice(journalled())
        body = mutator.tree(one.body, two.body)
        out.append((chance.choice((one, one, one, two)).kind, body if isinstance(body, dict) else {"order": body}))
    return out


def _told() -> Feed:
    """An auditor reads what a gateway's journal tells of each order."""
    def feed(case: list[tuple[str, Any]]) -> object:
        return account.accounts(account.Row(n, WALL_US, kind, body) for n, (kind, body) in enumerate(case))

    return feed


def _restored() -> Feed:
    """A gateway starts with records that were altered, or that another version wrote."""
    def feed(case: list[tuple[str, Any]]) -> object:
        records = [Record(kind, body) for kind, body in case]
        return Gateway(gateway_config(), office.trusted(), records, "fuzzed", "0").ready

    return feed


FILE = (BadDocument,)
PARSERS = (
    Parser("gateway.toml", _of("gateway"), gateway, FILE, FILE_BYTES),
    Parser("hub.toml", _of("hub"), hub, FILE, FILE_BYTES),
    Parser("fleet.toml", _of("fleet"), fleet, FILE, FILE_BYTES),
    Parser("profile", _of("profile"), a_profile, FILE, FILE_BYTES),
    Parser("signals", _of("signals"), signals, FILE, FILE_BYTES),
    Parser("scale", _of("scale"), a_scale, FILE, FILE_BYTES),
    Parser("storm", _storm_case, a_storm, FILE, FILE_BYTES),
    Parser("black box line", _moment_case, a_moment, (Malformed,), FILE_BYTES),
    Parser("black box", _box_case, a_box, (Malformed,), FILE_BYTES),
    Parser("command words", _words_case, _words, (BadDocument, ValueError), SMALL),
    Parser("files left", _left_case, _left, FILE, admission.MAX_LIST_BYTES),
    Parser("journal told", _records_case, _told, (), FILE_BYTES),
    Parser("journal restored", _records_case, _restored, (), FILE_BYTES),
)
