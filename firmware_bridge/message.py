"""One message of a protocol that is not Modbus: the form of its request, and of what answers it.

A profile names its messages; a point is a field of one. It refuses to know what the octets of a field mean.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from firmware_bridge.document import Document
from firmware_bridge.errors import Malformed
from firmware_bridge.event import Ask
from firmware_bridge.text import UNIT, Envelope, Template, unit_octets

Hex = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{2}$")]


class FrameSpec(Document):
    """What lies around every message: its first and last octet, and what stands for octets that may not occur in it."""

    head: Hex
    tail: Hex
    escape: dict[Hex, Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{4}$")]] = {}

    @property
    def envelope(self) -> Envelope:
        escapes = tuple((int(octet, 16), bytes.fromhex(shown)) for octet, shown in self.escape.items())
        return Envelope(int(self.head, 16), int(self.tail, 16), escapes)


class MessageSpec(Document):
    """The forms as the datasheet prints them (`text.py` says how)."""

    ask: str
    answer: str | None = None
    """Absent: the unit says nothing to it."""
    refusal: str | None = None
    """A no; its field `code`, where it has one, says which."""


class Message:
    """A message of a profile. Raises Malformed when a form is none."""

    def __init__(self, name: str, spec: MessageSpec, envelope: Envelope | None) -> None:
        self.name = name
        self.ask = Template(spec.ask, envelope)
        self.answer = None if spec.answer is None else Template(spec.answer, envelope)
        self.refusal = None if spec.refusal is None else Template(spec.refusal, envelope)
        self.given = tuple(name for name in self.ask.fields if name != UNIT)
        """What a request has to be filled with."""
        self.told = {} if self.answer is None else {n: s for n, s in self.answer.fields.items() if n != UNIT}
        """What an answer tells, and in how many octets (None: as many as there are)."""

    def request(self, unit: int, fields: Mapping[str, bytes]) -> Ask:
        """The request to this unit. Malformed when a field does not fit, or would be read as something else."""
        values = dict(fields)
        size = self.ask.fields.get(UNIT)
        if size is not None:
            values[UNIT] = unit_octets(unit, size)
        data = self.ask.fill(values)
        if self.ask.match(data) != (values, len(data)):
            raise Malformed(f"{', '.join(fields) or 'unit'}: cannot be told from the frame around it")
        answered = {} if self.answer is None else self.answer.fields
        echo = tuple((name, octets) for name, octets in values.items() if name in answered)
        return Ask(self.name, data, self.answer, self.refusal, echo, reads=not self.given)
