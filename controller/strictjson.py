"""JSON as strangers may send it: what is cheap to send is cheap to refuse, and what two readers could read in two ways
is no JSON here. It refuses to know what the members mean.
"""

import json
from typing import Any

from firmware_bridge.errors import Malformed

MAX_MEMBERS = 1_024
"""Of one JSON object: a trust list has a member for each of at most 512 keys."""
MAX_PARTS = 32_768
"""Objects, lists and items of JSON: a trust list of 512 keys with all their areas has 20,000."""


def load(data: bytes, limit: int) -> dict[str, Any]:
    """A JSON object, strictly: size, parts, UTF-8, no member twice, no NaN. Malformed says what was wrong."""
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

    def no_constant(name: str) -> Any:
        raise Malformed(f"{name} is no JSON number")

    try:
        out = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if not isinstance(out, dict):
        raise Malformed(f"a JSON {type(out).__name__}, not an object")
    return out
