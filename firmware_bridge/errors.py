"""What can be wrong with a document that a person wrote, and with bytes that a wire brought.

    Malformed            bytes from a wire or a peer that are not what the protocol says (an outcome, never a crash)
    BadDocument          one or more Problems in files a person wrote; carries all of them, not the first

A failing transaction is not an exception: it is an `Outcome` in `event.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file, told so that the reader can mend it."""

    file: str
    key: str
    value: object
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key} = {self.value!r}: {self.remedy}"


class BadDocument(Exception):
    """Every problem found in the documents that were read; one line each when printed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class Malformed(ValueError):
    """Bytes that do not follow the protocol. The text says what was expected and what came."""
