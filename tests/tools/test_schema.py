"""The published schemas are those of the models, and the page about profiles explains every key."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools import schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", schema.texts())
def test_a_schema_is_current(name: str):
    written = (schema.FOLDER / name).read_text(encoding="utf-8")
    assert written == schema.texts()[name], "run: python3 tools/dev.py schema"


def test_there_is_no_other_schema():
    assert {p.name for p in schema.FOLDER.iterdir()} == set(schema.texts())


def test_a_document_that_names_its_schema_names_one_that_is_there():
    named = 0
    for path in sorted((ROOT / "configs").rglob("*.toml")):
        found = re.match(r"#:schema (\S+)\n", path.read_text(encoding="utf-8"))
        if found:
            named += 1
            assert (path.parent / found[1]).resolve().is_file(), path
    assert named >= 12


def keys(part: Any) -> set[str]:
    if isinstance(part, list):
        return {k for one in part for k in keys(one)}
    if not isinstance(part, dict):
        return set()
    here = set(part["properties"]) if isinstance(part.get("properties"), dict) else set()
    return here.union(*(keys(one) for one in part.values()))


def test_the_page_about_profiles_explains_every_key():
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))
    wanted = keys(json.loads(schema.texts()["profile.schema.json"]))
    assert wanted - explained == set(), "explain it in docs/profiles.md"
    assert explained - wanted == set(), "there is no such key"
