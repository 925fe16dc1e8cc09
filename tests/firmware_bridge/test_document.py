"""A document a person wrote: whatever is wrong in it is told at once, with file, key, value and remedy."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from firmware_bridge.document import Document, check, parse, read_text
from firmware_bridge.errors import BadDocument, Problem


class Motor(Document):
    spool_up_s: Annotated[float, Field(ge=0, le=30)]
    phases: int = 3


class Horn(Document):
    id: str
    kind: Literal["motor", "electronic"] = "motor"
    motor: Motor | None = None
    tones: dict[str, int] = {}


class Site(Document):
    name: str
    limit_s: Annotated[int, Field(gt=0)] = 10
    horn: tuple[Horn, ...] = ()


def problems(text: str) -> list[Problem]:
    with pytest.raises(BadDocument) as caught:
        check(Site, parse(text, "site.toml"), "site.toml")
    return list(caught.value.problems)


def only(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].file == "site.toml"
    return found[0]


def test_a_good_document_is_its_model_and_frozen() -> None:
    site = check(Site, parse('name = " a "\n[[horn]]\nid = "h"\nmotor = { spool_up_s = 4 }', "f"), "f")
    assert site.name == "a"
    assert site.horn[0].motor == Motor(spool_up_s=4.0)
    with pytest.raises(ValueError, match="frozen"):
        site.name = "b"  # type: ignore[misc]


def test_an_unknown_key_is_told_with_the_key_that_was_meant() -> None:
    found = only('name = "a"\nlimits = 3')
    assert (found.key, found.value) == ("limits", 3)
    assert "did you mean 'limit_s'?" in found.remedy


def test_an_unknown_key_like_no_other_is_told_with_all_that_are_known() -> None:
    found = only('name = "a"\nzzz = 3')
    assert "known keys: horn, limit_s, name" in found.remedy


def test_an_unknown_key_deep_inside_is_told_with_its_way_and_its_own_hint() -> None:
    found = only('name = "a"\n[[horn]]\nid = "north"\n[horn.motor]\nspool_up_s = 1\nphase = 3')
    assert found.key == "horn[north].motor.phase"
    assert "did you mean 'phases'?" in found.remedy


def test_a_missing_key_is_told() -> None:
    found = only("limit_s = 3")
    assert (found.key, found.value) == ("name", None)
    assert "required" in found.remedy


def test_an_item_of_a_list_is_named_by_its_id_or_else_its_number() -> None:
    text = 'name = "a"\n[[horn]]\nid = "north"\nkind = "steam"\n[[horn]]\nkind = "motor"'
    named, numbered = problems(text)
    assert (named.key, named.value) == ("horn[north].kind", "steam")
    assert "'motor' or 'electronic'" in named.remedy
    assert numbered.key == "horn[1].id"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('limit_s = "many"', "limit_s", "many"),
        ("limit_s = 0", "limit_s", 0),
        ("limit_s = 1.5", "limit_s", 1.5),
        ("horn = 5", "horn", 5),
        ("horn = [5]", "horn[0]", 5),
        ('horn = [{ id = "n", tones = { low = "x" } }]', "horn[n].tones.low", "x"),
    ],
)
def test_a_wrong_type_or_value_is_told_with_what_stands_there(line: str, key: str, value: object) -> None:
    found = only(f'name = "a"\n{line}')
    assert (found.key, found.value) == (key, value)
    assert found.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = \nlimit_s = 1", "line 1"),
        ('name = "a"\nname = "b"\nlimit_s = 1', "line 2"),
        ('[horn\nid = "a"', "line 1"),
    ],
)
def test_broken_toml_is_told_with_its_line(text: str, line: str) -> None:
    found = only(text)
    assert line in found.key
    assert "TOML" in found.remedy


def test_everything_wrong_is_told_at_once_a_line_each() -> None:
    with pytest.raises(BadDocument) as caught:
        check(Site, parse("limit_s = -1\nnmae = 'x'\n[[horn]]\nid = 7", "etc/site.toml"), "etc/site.toml")
    lines = str(caught.value).splitlines()
    assert {p.key for p in caught.value.problems} == {"limit_s", "nmae", "name", "horn[7].id"}
    assert len(lines) == 4
    assert all(line.startswith("etc/site.toml: ") for line in lines)
    assert "etc/site.toml: nmae = 'x': unknown key; did you mean 'name'?" in lines


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("name = 'Zürich'".encode("latin-1"))
    for path, said in ((tmp_path / "none.toml", "missing"), (tmp_path, "folder"), (tmp_path / "latin.toml", "UTF-8")):
        with pytest.raises(BadDocument) as caught:
            read_text(path)
        (found,) = caught.value.problems
        assert found.file == str(path)
        assert said in str(found)
