"""A file that is written whole or not at all, and what is said when it cannot be."""

from pathlib import Path

from firmware_bridge.errors import BadDocument, Problem


def write(path: Path, data: bytes, new: bool) -> None:
    """BadDocument where it cannot be written; `new`: where it is there already, too."""
    beside = path.with_name(path.name + ".new")
    try:
        if new and path.exists():
            raise FileExistsError(17, "is there already")
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        remedy = "name a new file in a folder there is"
        raise BadDocument([Problem(str(path), "--out", error.strerror, remedy)]) from None
