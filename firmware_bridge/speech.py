"""Whether the messages of a profile and the points in them fit each other: what a plain protocol can get wrong.

It refuses to know what the points are for: actions and outputs are `profile.py`'s.
"""

from collections.abc import Iterator, Mapping

from firmware_bridge.errors import Malformed, Problem
from firmware_bridge.message import FrameSpec, Message, MessageSpec
from firmware_bridge.octets import PRINTED, SIZES
from firmware_bridge.point import WORDS, PointSpec


def problems(file: str, protocol: str, messages: Mapping[str, MessageSpec], frame: FrameSpec | None,
             points: Mapping[str, PointSpec]) -> Iterator[Problem]:
    """Every one of them; where there is one, no point can be made."""
    plain = protocol == "plain"
    if not plain and (messages or frame):
        yield Problem(file, "messages", [*messages], 'Modbus has none; say protocol = "plain", or drop them')
    if plain and not messages:
        yield Problem(file, "messages", None, "a plain protocol needs its messages")
    known: dict[str, Message] = {}
    for name, spec in messages.items():
        try:
            known[name] = Message(name, spec, None if frame is None else frame.envelope)
        except Malformed as error:
            yield Problem(file, f"messages.{name}", spec.ask, str(error))
    for name, point in points.items():
        if plain == (":" in point.at):
            remedy = "say message.field, as the messages are named" if plain else "say table:address"
            yield Problem(file, f"points.{name}.at", point.at, remedy)
        elif not plain and point.type not in (None, "bool", *WORDS):
            yield Problem(file, f"points.{name}.type", point.type,
                          f"only a field of a message has that; say {', '.join(WORDS)} or bool")
        elif plain and len(known) == len(messages):
            yield from _point(file, f"points.{name}", point, known)
    given: dict[str, str] = {}
    for name, point in points.items():
        if plain and point.write and given.setdefault(point.at, name) != name:
            yield Problem(file, f"points.{name}.at", point.at,
                          f"{given[point.at]} writes it too; keep one of them, and name its codes in `values`")


def _point(file: str, key: str, point: PointSpec, known: Mapping[str, Message]) -> Iterator[Problem]:
    name, _, field = point.at.partition(".")
    message = known.get(name)
    if message is None:
        yield Problem(file, f"{key}.at", point.at, f"no such message; messages: {', '.join(known)}")
        return
    fields = {**message.ask.fields, **message.told}
    if field not in fields:
        yield Problem(file, f"{key}.at", point.at, f"no such field; fields: {', '.join(fields) or 'none'}")
        return
    if point.channels:
        yield Problem(file, f"{key}.channels", point.channels, "a field is one value; make a point of each")
    if point.write and message.given != (field,):
        yield Problem(file, f"{key}.write", point.write, f"{name} asks for {', '.join(message.given) or 'nothing'};"
                      " a written message has this one field, everything else in it is fixed")
    if point.readable and (message.given or field not in message.told):
        yield Problem(file, f"{key}.readable", True, "no answer tells it by itself; say readable = false")
    size, kind = fields[field], point.type or "u8"
    has = f"{field} has {size or 'any number of'} octets"
    if point.bit is not None:
        if size != 1 or kind != "u8":
            yield Problem(file, f"{key}.bit", point.bit, "bits are of a field of one octet; drop `type`")
        elif point.bit + point.bits > 8:
            yield Problem(file, f"{key}.bits", point.bits, "an octet has 8 bits")
    elif kind not in PRINTED and size != SIZES[kind]:
        yield Problem(file, f"{key}.type", kind, f"{has}; {kind} has {SIZES[kind]}")
    elif kind == "flag" and size != 1:
        yield Problem(file, f"{key}.type", kind, f"{has}; a flag is one")
