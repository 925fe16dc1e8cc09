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


KINDS = {"gateway": "gateway", "profiles": "profile", "flood": "scale", "signals": "signals", "hub": "hub",
         "fleet": "fleet", "site": "site"}
"""What a document is, by its folder or its name; the others are gateways."""
DOCUMENTS = sorted((ROOT / "configs").rglob("*.toml"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_document_names_its_schema_first(path: Path):
    """Where editors look: a header comment, a path relative to the document (taplo, tombi)."""
    found = re.match(r"#:schema (\S+)\n", path.read_text(encoding="utf-8"))
    assert found, f"{path}: the first line must be #:schema with the way to docs/schema"
    kind = KINDS.get(path.stem) or KINDS.get(path.parent.name, "gateway")
    assert (path.parent / found[1]).resolve() == schema.FOLDER / f"{kind}.schema.json"


def test_the_documents_are_of_every_kind():
    assert {KINDS.get(p.stem) or KINDS.get(p.parent.name, "gateway") for p in DOCUMENTS} == {
        name.partition(".")[0] for name in schema.texts()}


def test_the_pages_that_show_a_profile_begin_it_with_its_schema():
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    first = re.search(r"^```toml\n(.*)$", page, re.MULTILINE)
    assert first
    assert first[1] == "#:schema ../../docs/schema/profile.schema.json"


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
