"""A moment: one event as it came to a gateway, when, and a check of what the gateway did; as a line and back.

The lines of the black box (`blackbox.py`) are made of these. The forms are written out, one an event, so that a file
tells what it holds; a line that is none of them is Malformed. It refuses to know which machine an event is for, and
keeps of the effects no more than a check: they are what the same code does with the same events.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from controller.chain import Head
from controller.event import (
    Append,
    AppendFailed,
    Arrived,
    Ask,
    BrokerDown,
    BrokerUp,
    Clock,
    Confirmed,
    Durable,
    Gone,
    Notice,
    Poisonous,
    Publish,
    Trust,
)
from firmware_bridge.errors import Malformed
from firmware_bridge.event import LinkDown, LinkUp, Received, Reopen, Send, WrittenLate
from firmware_bridge.machine import Woken

CHECK_BITS = 0xFFFF
"""Of the check of a moment's effects. One in 65,536 differences is not seen at its moment; the next tell."""

Check = int | str
"""Of what the gateway did: 0 for nothing. A text: it died of the event, and of what."""


@dataclass(frozen=True, slots=True)
class Moment:
    at_us: int
    event: object
    check: Check


@dataclass(frozen=True, slots=True)
class _Form:
    """How a field stands in a line: `into` JSON, `out` of it (ValueError, TypeError, KeyError: it is not that)."""

    out: Callable[[Any], Any]
    into: Callable[[Any], Any] | None = None


def _exactly(kind: type) -> Callable[[Any], Any]:
    def out(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{kind.__name__} expected, not {value!r:.40}")
        return value
    return out


def _head(value: Any) -> Head:
    n, hash = value
    return Head(_exactly(int)(n), bytes.fromhex(hash))


def _maybe(form: _Form) -> _Form:
    into = form.into
    return _Form(lambda value: None if value is None else form.out(value),
                 into and (lambda value: None if value is None else into(value)))


_TEXT, _NUMBER, _FLAG = _Form(_exactly(str)), _Form(_exactly(int)), _Form(_exactly(bool))
_OCTETS = _Form(bytes.fromhex, bytes.hex)
_OBJECT = _Form(_exactly(dict), dict)
_HEAD = _Form(_head, lambda head: [head.n, head.hash.hex()])
_TRUST = _Form(Trust, str)

_FORMS: Mapping[str, tuple[type, tuple[_Form, ...]]] = {
    "woken": (Woken, ()),
    "received": (Received, (_TEXT, _OCTETS)),
    "clock": (Clock, (_NUMBER, _NUMBER, _TRUST)),
    "link-up": (LinkUp, (_TEXT,)),
    "link-down": (LinkDown, (_TEXT, _TEXT)),
    "written-late": (WrittenLate, (_TEXT, _NUMBER)),
    "arrived": (Arrived, (_TEXT, _OCTETS, _FLAG, _maybe(_NUMBER))),
    "broker-up": (BrokerUp, ()),
    "broker-down": (BrokerDown, (_TEXT,)),
    "confirmed": (Confirmed, (_NUMBER,)),
    "notice": (Notice, (_TEXT, _TEXT, _TEXT, _FLAG, _maybe(_OBJECT), _TEXT)),
    "durable": (Durable, (_NUMBER, _maybe(_HEAD))),
    "append-failed": (AppendFailed, (_NUMBER, _TEXT)),
    "head": (Head, (_NUMBER, _OCTETS)),
    "ask": (Ask, (_NUMBER, _NUMBER, _TEXT, _TEXT, _OBJECT)),
    "gone": (Gone, (_NUMBER,)),
    "poisonous": (Poisonous, (_TEXT, _TEXT, _maybe(_TEXT), _maybe(_NUMBER))),
}
"""Every event that comes from outside: a word, its class, and the forms of its fields in order."""

_Parts = tuple[str, tuple[tuple[str, Callable[[Any], Any] | None], ...]]
_INTO: Mapping[type, _Parts] = {
    kind: (word, tuple((field.name, form.into) for field, form in zip(fields(kind), forms, strict=True)))
    for word, (kind, forms) in _FORMS.items()
}

KINDS = tuple(kind for kind, _ in _FORMS.values())


def line(before_us: int, moment: Moment) -> str:
    """A moment as a line, its time as what passed since `before_us`. ValueError: its event has no form."""
    found = _INTO.get(type(moment.event))
    if found is None:
        raise ValueError(f"no form for {type(moment.event).__name__}")
    word, parts = found
    out = [moment.at_us - before_us, moment.check, word]
    for name, into in parts:
        value = getattr(moment.event, name)
        out.append(value if into is None else into(value))
    try:
        return json.dumps(out, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{word} cannot be written: {error}") from None


def read(before_us: int, text: str) -> Moment:
    """What `line` made, or Malformed."""
    try:
        passed_us, check, word, *rest = json.loads(text)
        kind, forms = _FORMS[word]
        values = [form.out(value) for form, value in zip(forms, rest, strict=True)]
        if type(check) not in (int, str):
            raise TypeError("a check is a number or a text")
        return Moment(before_us + _exactly(int)(passed_us), kind(*values), check)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Malformed(f"no moment: {text[:80]!r}: {error}") from None


def check(effects: Sequence[object]) -> int:
    """What the effects of a moment come to, in a few bits; 0 when there are none."""
    if not effects:
        return 0
    return zlib.crc32("\n".join(map(told, effects)).encode("utf-8", "surrogatepass")) & CHECK_BITS


def words(event: object) -> str:
    """An event as a person reads it: its word and its fields."""
    name, parts = _INTO[type(event)]
    shown = []
    for field, _ in parts:
        match getattr(event, field):
            case bytes(data) if name in ("received", "head"):
                shown.append(data.hex(" "))
            case bytes(data):
                shown.append(data.decode(errors="backslashreplace"))
            case None | "" | False:
                pass
            case value:
                shown.append(str(value))
    return " ".join([name, *shown])


def told(effect: object) -> str:
    """One effect in words: each of its fields, so that two that differ are told differently."""
    match effect:
        case Send(bus, data, at_us):
            return f"send {bus} {data.hex(' ')}" + ("" if at_us is None else f" at {at_us}")
        case Reopen(bus):
            return f"reopen {bus}"
        case Append(token, record):
            return f"append {token} {record.kind} {json.dumps(record.body, sort_keys=True, ensure_ascii=False)}"
        case Publish(topic, payload, qos, retain, token, client):
            where = f"{topic} qos {qos}{' retained' if retain else ''}" if client is None else f"to client {client}"
            return f"publish {'-' if token is None else token} {where} {payload.decode(errors='backslashreplace')}"
    raise AssertionError(f"no effect: {effect!r}")
