"""What can be wrong with a document that a person wrote, and with bytes that a wire brought.

    Malformed            bytes from a wire or a peer that are not what the protocol says (an outcome, never a crash)
    BadDocument          one or more Problems in files a person wrote; carries all of them, not the first

A failing transaction is not an exception: it is an `Outcome` in `event.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 200
"""Characters of a value, a key or a remedy that are shown: what is wrong may be as long as a file."""
TOLD = 100
"""Problems that are told at once: more than one sitting mends."""
SAID_LIMIT = 400
"""Characters of what is said of malformed bytes: some of them are the sender's, and a log has an end."""


def cut(text: str, limit: int = SHOWN) -> str:
    """The text, or its beginning."""
    return text if len(text) <= limit else f"{text[:limit]} ..."


def shown(value: object) -> str:
    """A value as a person may see it, of whatever length it is."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):
        # A number of more digits than python prints, or lists in lists without end.
        return f"({type(value).__name__}, too long to show)"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file, told so that the reader can mend it."""

    file: str
    key: str
    value: object
    remedy: str

    def __str__(self) -> str:
        file, remedy = cut(self.file, SAID_LIMIT), cut(self.remedy, 2 * SAID_LIMIT)
        return f"{file}: {cut(self.key)} = {shown(self.value)}: {remedy}"


class BadDocument(Exception):
    """Every problem found in the documents that were read, or the first TOLD; one line each when printed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        if found[TOLD:]:
            found = (*found[:TOLD], Problem(found[0].file, "(whole file)", None, "there are more; mend these first"))
        self.problems = found
        super().__init__("\n".join(str(p) for p in self.problems))


class Malformed(ValueError):
    """Bytes that do not follow the protocol. The text says what was expected and what came, in so many characters."""

    def __init__(self, text: str) -> None:
        # What JSON escapes may be half a character, which no message and no log can carry.
        super().__init__(cut(text, SAID_LIMIT).encode(errors="backslashreplace").decode())
