"""What sirend says of itself on standard error: a JSON line an event for journald, words for a terminal (shell).

Forty lines of our own, because structlog brings a terminal library into the process wherever one is installed: 5 MiB
and a sixth of the start-up, for a log that nobody reads in colour. It refuses to know what is worth a line.
"""

import json
import os
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime

_WORDS_FROM = 11
"""Where the time of day begins in a timestamp: who sits at a terminal knows the date."""


class Log:
    """One a process. A field that is no JSON is told as text, and a line that nobody takes is lost, not an error."""

    def __init__(self) -> None:
        self._words = os.isatty(2)

    def info(self, event: str, /, **fields: object) -> None:
        self._say("info", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._say("error", event, fields)

    def crash(self) -> None:
        """The exception that is being handled, whole in one line."""
        self._say("critical", "crash", {"exception": traceback.format_exc()})

    def _say(self, level: str, event: str, fields: dict[str, object]) -> None:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if self._words:
            words = " ".join(f"{key}={value}" for key, value in fields.items())
            line = f"{at[_WORDS_FROM:-4]} {event:<8} {words}"
        else:
            told = {**fields, "event": event, "level": level, "timestamp": at}
            line = json.dumps(told, ensure_ascii=False, default=str)
        with suppress(OSError, ValueError):
            # One write, so that lines of several threads do not run into each other.
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
