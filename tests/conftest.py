"""The order of the tests: `make test` runs three files at a time, and nobody is to wait for the longest at the end."""

from pathlib import Path

import pytest

LONGEST_FIRST = ("system", "transport")
"""Folders whose files wait for real processes and real lines; a file of them takes up to three minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(folder in Path(item.path).parts for folder in LONGEST_FIRST))
