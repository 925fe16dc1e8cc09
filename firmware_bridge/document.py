"""A TOML document checked against a pydantic model; whatever is wrong comes out as Problems, all at once.

It knows nothing of profiles or gateways: only how to turn a person's text into a model, or into lines that
name the file, the key, the value and the remedy.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from firmware_bridge.errors import TOLD, BadDocument, Problem

TEXT_LIMIT = 1024 * 1024
"""Characters of a document: a thousand devices have a fifth of it, and a trust list the half."""

DOTS_LIMIT = 200
"""Dots of one line: tomllib takes the square of those of a key."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Document(BaseModel):
    """Base of every model of a document: frozen, and an unknown key is an error, not a wish."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, use_attribute_docstrings=True)


def read_text(path: Path) -> str:
    """The text of a document; a missing or unreadable one is a Problem like any other."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadDocument([Problem(str(path), "file", "missing", "create it, or mend the path")]) from None
    except IsADirectoryError:
        raise BadDocument([Problem(str(path), "file", "a folder", "name one file in it")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument([Problem(str(path), "file", str(error), "make it readable UTF-8 text")]) from None


def parse(text: str, file: str) -> dict[str, Any]:
    """TOML text as a dict; a syntax error names its line."""
    if len(text) > TEXT_LIMIT:
        raise BadDocument([Problem(file, "file", f"{len(text)} characters", f"at most {TEXT_LIMIT}; split it")])
    for n, line in enumerate(text.splitlines() if text.count(".") > DOTS_LIMIT else (), 1):
        if line.count(".") > DOTS_LIMIT:
            raise BadDocument([Problem(file, f"line {n}", f"{line.count('.')} dots", "no key is so deep; split it")])
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at (.*)\)", str(error))
        place = found[1] if found else "the file"
        raise BadDocument([Problem(file, place, str(error), "mend the TOML syntax (toml.io)")]) from None
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, lists in lists and dots in keys without end: tomllib has no error of its own.
        why, remedy = str(error).partition(";")[0], "write numbers of up to 18 digits, and nest as examples do"
        raise BadDocument([Problem(file, "the file", why, remedy)]) from None
    odd = next(_odd(data), None)
    if odd is not None:
        raise BadDocument([Problem(file, *odd)])
    return data


def _odd(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Keys under which a number does not fit 64 bits (hexadecimal ones may have any length), or a text has the one
    character that no path may have; with what it is, and the remedy."""
    left: list[tuple[str, object]] = list(data.items())
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += ((f"{key}.{name}", inner) for name, inner in value.items())
        elif isinstance(value, list):
            left += ((key, inner) for inner in value)
        elif isinstance(value, int) and not -2**63 <= value < 2**63:
            yield key, "a number of more than 64 bits", "TOML has none; lower it"
        elif isinstance(value, str) and "\0" in value:
            yield key, value, "take out the NUL character"


def override(data: dict[str, Any], settings: Sequence[str], file: str) -> None:
    """Apply `--set key.key=value` to a parsed document: a number, true or false where it reads as one, else text.

    A list item is named by its id: `bus[line-1].link=tcp:...`.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        here: Any = data
        parts = [p for p in re.split(r"\.|(\[[^\]]+\])", key) if p]
        if not equals or not parts:
            raise BadDocument([Problem(file, "--set", setting, "say key.key=value")])
        for part in parts[:-1]:
            if part.startswith("["):
                items = here if isinstance(here, list) else []
                here = next((i for i in items if isinstance(i, dict) and i.get("id") == part[1:-1]), None)
            else:
                here = here.setdefault(part, {}) if isinstance(here, dict) else None
            if here is None:
                raise BadDocument([Problem(file, f"--set {key}", part, "no such part of the file")])
        if not isinstance(here, dict) or parts[-1].startswith("["):
            raise BadDocument([Problem(file, f"--set {key}", parts[-1], "no key; name one inside it")])
        value: object = text
        if re.fullmatch(r"-?\d+", text):
            value = int(text)
        elif re.fullmatch(r"-?\d+\.\d+", text):
            value = float(text)
        elif text in ("true", "false"):
            value = text == "true"
        here[parts[-1]] = value


def check(model: type[ModelT], data: dict[str, Any], file: str) -> ModelT:
    """`data` as `model`, or BadDocument with one Problem for each thing wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # One more than is told, so that it is told that there are more.
        found = error.errors(include_url=False)[: TOLD + 1]
        raise BadDocument(_problems(model, data, file, found)) from None


def _problems(model: type[BaseModel], data: dict[str, Any], file: str, found: list[ErrorDetails]) -> Iterator[Problem]:
    places = [one["loc"] for one in found]
    for one in found:
        loc = one["loc"]
        key = _key(loc, data)
        kind, value = one["type"], one["input"]
        if kind == "too_short" and any(p != loc and p[: len(loc)] == loc for p in places):
            # pydantic leaves out the items that are wrong before it counts; they are told themselves.
            continue
        if kind == "missing":
            yield Problem(file, key, None, "required: add it")
        elif kind == "extra_forbidden":
            known = _fields_at(model, loc[:-1])
            yield Problem(file, key, value, f"unknown key; {meant(str(loc[-1]), known, 'known keys')}")
        else:
            yield Problem(file, key, value, one["msg"].removeprefix("Value error, "))


def meant(wanted: str, known: Iterable[str], what: str) -> str:
    """The known name that was meant, or all of them where none is near: a long list hides the one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{what}: {', '.join(names) or 'none'}"


def _key(loc: tuple[int | str, ...], data: Any) -> str:
    """`siren[2].drive`, with a list item told by its id where it has one: `siren[s-03].drive`."""
    out = ""
    here: Any = data
    for part in loc:
        if isinstance(part, int) and isinstance(here, list):
            here = here[part] if part < len(here) else None
            name = here.get("id", part) if isinstance(here, dict) else part
            out += f"[{name}]"
        elif isinstance(here, dict) and part in here:
            here = here[part]
            out += f".{part}" if out else str(part)
        else:
            # Names that pydantic adds for the arm of a union are no keys of the document.
            if here is None or isinstance(here, dict):
                out += "" if _is_arm(part) else (f".{part}" if out else str(part))
    return out or "(whole file)"


def _is_arm(part: int | str) -> bool:
    return isinstance(part, str) and (part[:1].isupper() or part in {"str", "int", "float", "bool"} or "[" in part)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys a document may have at `loc`, found by walking the models."""
    models: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        narrowed = [m for m in models if m.__name__ == part]
        if narrowed:
            models = narrowed
            continue
        found: list[type[BaseModel]] = []
        for m in models:
            for name, field in m.model_fields.items():
                if part in {name, field.alias}:
                    found.extend(_models_in(field.annotation))
        models = found or models
    return sorted({f.alias or n for m in models for n, f in m.model_fields.items()})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in get_args(annotation) for m in _models_in(arg)]
