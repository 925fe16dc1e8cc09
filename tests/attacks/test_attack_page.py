"""The page that lists the attacks names tests that there are, and leaves none out."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "incidents.md"


def test_the_page_names_every_attack_and_no_other() -> None:
    texts = [file.read_text("utf-8") for file in HERE.glob("test_*.py")]
    there = {name for text in texts for name in re.findall(r"^def test_(\w+)\(", text, re.M)}
    named = re.findall(r"`(\w+)`", PAGE.read_text("utf-8").partition("| attack |")[2].partition("|---|")[2])
    assert len(named) == len(set(named))
    assert set(named) <= there
    assert {name for name in there if name.startswith("attack_")} <= set(named)
