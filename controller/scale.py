"""A scale: the warning colours of one place, their depths and what the sign says at each, as a file of its own.

Places differ: Shanghai closes at 25 cm with three texts, Chengdu at 30; a sign's card knows the characters of GB2312.
It refuses to know gauges, and what else than a sign follows from a colour (`spot.py`).
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem

SIGN_OCTETS = 64
"""Octets of a sign's text, in GB2312: more do not fit a frame of a small card, nor a driver's glance."""


class Colour(IntEnum):
    """The four warning colours of a spot, and none."""

    DRY = 0
    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4


ColourName = Literal["blue", "yellow", "orange", "red"]
NAMES: Mapping[Colour, ColourName] = {
    Colour.BLUE: "blue", Colour.YELLOW: "yellow", Colour.ORANGE: "orange", Colour.RED: "red"}


def colour_of(name: str) -> Colour:
    return Colour[name.upper()]


class ColourSection(Document):
    """One colour of a scale."""

    at_cm: Annotated[float, Field(gt=0, le=500)]
    """From this depth on over the road's lowest place."""
    text: Annotated[str, Field(min_length=1, max_length=60)]
    """What the sign shows; `{depth}` is the depth in whole centimetres."""
    on_delay_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """The water is that deep for so long before the colour is raised."""


class ScaleFile(Document):
    """The colours of one place, as a file. A place that knows fewer than four leaves the others out."""

    name: str
    source: str
    """Where the depths and texts come from, or that they are only a default."""
    dry: Annotated[str, Field(min_length=1, max_length=60)]
    """What the sign shows while the road is dry."""
    blue: ColourSection | None = None
    yellow: ColourSection | None = None
    orange: ColourSection | None = None
    red: ColourSection | None = None

    @property
    def colours(self) -> dict[Colour, ColourSection]:
        """Those it has, from the lowest."""
        named = {colour: getattr(self, name) for colour, name in NAMES.items()}
        return {colour: section for colour, section in named.items() if section is not None}


def load(path: Path) -> ScaleFile:
    """The scale in a file; BadDocument with every problem in it."""
    file = str(path)
    scale = document.check(ScaleFile, document.parse(document.read_text(path), file), file)
    if problems := [*_problems(file, scale)]:
        raise BadDocument(problems)
    return scale


def _problems(file: str, scale: ScaleFile) -> Iterator[Problem]:
    """What is wrong with a scale by itself."""
    colours = scale.colours
    if not colours:
        yield Problem(file, "red", None, "没有任何等级 / a scale has at least one of blue, yellow, orange, red")
    before: tuple[Colour, float] | None = None
    for colour, section in colours.items():
        if before is not None and section.at_cm <= before[1]:
            yield Problem(file, f"{NAMES[colour]}.at_cm", section.at_cm,
                          f"必须高于 {NAMES[before[0]]} 的 {before[1]:g} 厘米 / must lie above {NAMES[before[0]]}"
                          f" ({before[1]:g} cm): blue < yellow < orange < red")
        before = colour, section.at_cm
    for key, text in [("dry", scale.dry)] + [(f"{NAMES[c]}.text", s.text) for c, s in colours.items()]:
        yield from _text(file, key, text)


def _text(file: str, key: str, text: str) -> Iterator[Problem]:
    try:
        octets = len(text.replace("{depth}", "999").encode("gb2312"))
    except UnicodeEncodeError as error:
        yield Problem(file, key, text, f"“{text[error.start]}” 不在 GB2312 字符集中，请换字 / the sign's card does not"
                                       " have this character (GB2312); write another")
        return
    if octets > SIGN_OCTETS:
        yield Problem(file, key, text, f"屏幕最多 {SIGN_OCTETS} 字节 / a sign shows {SIGN_OCTETS} octets, this has"
                                       f" {octets}; a Chinese character is two")
    if "{" in text.replace("{depth}", "") or "}" in text.replace("{depth}", ""):
        yield Problem(file, key, text, "只能用 {depth} / the only thing that is filled in is {depth}")
