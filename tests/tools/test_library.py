"""The page of all models is that of the profiles, and names every one of them."""

from firmware_bridge.profile import load_all
from tools import library

PROFILES = load_all(library.ROOT / "configs" / "profiles")


def test_the_page_is_current():
    written = library.PAGE.read_text(encoding="utf-8")
    assert written == library.page(PROFILES), "run: python3 tools/dev.py library"


def test_every_model_has_its_row_its_source_and_its_traps():
    page = library.page(PROFILES)
    assert {p.spec.kind for p in PROFILES.values()} <= set(library.KINDS)
    for profile in PROFILES.values():
        assert page.count(f"| `{profile.id}` |") == 1
        assert profile.spec.source in page
        assert all(note in page for note in profile.spec.notes)


def test_a_new_note_makes_the_page_old():
    changed = PROFILES["qdy30a"].spec.model_copy(update={"notes": ("Somebody measured it.",)})
    other = {**PROFILES, "qdy30a": type(PROFILES["qdy30a"])("qdy30a", "x", changed)}
    assert library.page(other) != library.page(PROFILES)
