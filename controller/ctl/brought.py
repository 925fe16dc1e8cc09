"""A signed file that somebody brought to the cabinet, on a USB stick: its text, as it is. The gateway judges it."""

from pathlib import Path


def text(path: Path, limit: int) -> str:
    """One character more than `limit` at the most: the gateway says that it is too large. ValueError names the file."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(limit + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
