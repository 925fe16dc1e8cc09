"""What must outlive the journal: the newest record of a kind, as a small file of its own next to it (shell).

A journal may be put aside because it is broken, and may be restored from an older copy; what stands here is then still
what was true last. The file is written anew as a whole, synced and renamed, so it holds the one record or the other
and never half of one. Its hash tells a file that was altered or that the card lost. It refuses to know what the
record means.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SIZE_LIMIT = 1024 * 1024
"""Characters that are read back: more than the largest record has."""


def place(journal: Path, ending: str) -> Path:
    return journal.with_name(journal.name + ending)


def write(path: Path, body: str) -> str | None:
    """Put a record there; None when it is on the disk, else why it is not."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(f"{_hash(body)} {body}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None


def read(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The record, None where there is none; and what is wrong with the file, empty where nothing is."""
    try:
        with path.open(encoding="utf-8") as file:
            hash, _, body = file.read(SIZE_LIMIT).rstrip("\n").partition(" ")
        found = json.loads(body) if hash == _hash(body) else None
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{path} cannot be read: {error}"
    return (found, "") if isinstance(found, dict) else (None, f"{path} is not what was written")


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
