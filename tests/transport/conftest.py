"""The CA of the gateways, with the certificate of a broker on this machine."""

from pathlib import Path

import pytest

from tests.transport.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    out = Authority(tmp_path)
    out.issue("broker", host="127.0.0.1")
    return out
