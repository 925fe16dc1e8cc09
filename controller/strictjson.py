"""JSON as strangers may send it: what is cheap to send is cheap to refuse, and what two readers could read in two ways
is no JSON here. It refuses to know what the members mean.
"""

import json
from math import isfinite
from typing import Any, TypeGuard

from firmware_bridge.errors import Malformed

MAX_MEMBERS = 1_024
"""Of one JSON object: a trust list has a member for each of at most 512 keys."""
MAX_PARTS = 32_768
"""Objects, lists and items of JSON: a trust list of 512 keys with all their areas has 20,000."""
MAX_DIGITS = 300
"""Of a whole number that is not looked at closer: below what a double has at most."""
SHOWN = 32
"""Characters of a number that are told of it."""


def load(data: bytes, limit: int) -> dict[str, Any]:
    """A JSON object, strictly: size, parts, UTF-8, no member twice, no number but a finite one. Malformed says what was
    wrong."""
    if len(data) > limit:
        raise Malformed(f"{len(data)} bytes, more than {limit}")

    # Counted before anything is built: what is cheap to send must be cheap to refuse.
    if sum(map(data.count, b"{[,")) > MAX_PARTS:
        raise Malformed(f"more than {MAX_PARTS} parts")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) != len(pairs):
            raise Malformed("a member stands twice")
        if len(out) > MAX_MEMBERS:
            raise Malformed(f"{len(out)} members, more than {MAX_MEMBERS}")
        return out

    try:
        out = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=_no_number,
                         parse_float=_float, parse_int=_int)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if not isinstance(out, dict):
        raise Malformed(f"a JSON {type(out).__name__}, not an object")
    return out


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number in JSON, where true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_number(text: str) -> Any:
    raise Malformed(f"{text if len(text) <= SHOWN else text[:SHOWN] + '...'} is no JSON number")


def _float(text: str) -> float:
    """One reader makes infinity of 1e999, and another an error of it."""
    value = float(text)
    return value if isfinite(value) else _no_number(text)


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        _float(text)
    return int(text)
