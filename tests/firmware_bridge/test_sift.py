"""The sieve finds what a search of everything would find, and looks at no place again without a reason."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.scan import KEPT
from firmware_bridge.sift import FORMS_LIMIT, Sieve
from firmware_bridge.text import Envelope, Template

FORMS = [
    Template("'(' {text:*} 0D"),
    Template("'U' {unit:2} {level:5} 0D"),
    Template("AA 07 <len8> ( {track:2} ) <sum8>"),
    Template("68 <len8> ( {kind:1} {rest:*} ) <xor8>"),
    Template("{a:1} 'ab' {b:*} 0D 0A"),
    Template("{code:1} '!'", Envelope(0xA5, 0xAE, ((0xAA, b"\xaa\x05"), (0xA5, b"\xaa\x15")))),
]
WHOLE = [b"(12.3 ok\r", b"U0100123\r",
         b"\xaa\x07\x02\x00\x08\xbb", b"\x68\x03\x01ab\x69", b"7ab anything\r\n", b"\xa5\xaa\x05!\xae"]


def naive(forms: Iterable[Template], pieces: list[bytes]) -> list[bytes]:
    """Everything that is kept, searched from its beginning whenever something comes."""
    found, kept = [], b""
    for piece in pieces:
        kept += piece
        start = end = 0
        while start < len(kept):
            here = next((m for form in reversed([*forms]) if (m := form.match(kept, start))), None)
            if here is None:
                start += 1
            else:
                found.append(kept[start : here[1]])
                start = end = here[1]
        kept = kept[end:][-KEPT:]
    return found


octets = st.one_of(st.sampled_from(WHOLE), st.binary(max_size=6),
                   st.sampled_from([b"(", b"U", b"\xaa\x07", b"\x68\x09", b"\xa5", b"\r", b"ab"]))


@given(st.lists(octets, max_size=30).map(b"".join), st.lists(st.integers(1, 9), min_size=1, max_size=8),
       st.lists(st.sampled_from(FORMS), min_size=1, max_size=6, unique=True))
def test_it_finds_what_a_search_of_everything_finds(data: bytes, sizes: list[int], forms: list[Template]) -> None:
    sieve, pieces = Sieve(), []
    for form in forms:
        sieve.expect(form)
    while data:
        pieces.append(data[: sizes[len(pieces) % len(sizes)]])
        data = data[len(pieces[-1]) :]
    assert [frame for piece in pieces for _, frame in sieve.feed(piece)] == naive(forms, pieces)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.source)
def test_a_form_is_found_octet_by_octet(form: Template) -> None:
    sieve = Sieve()
    sieve.expect(form)
    whole = WHOLE[FORMS.index(form)]
    found = [frame for n in range(len(whole)) for _, frame in sieve.feed(whole[n : n + 1])]
    assert found == [whole]
    assert len(sieve) == 0


@pytest.mark.parametrize("noise", [b"(", b"(\r", b"\xaa\x07\xff", b"\x68\xff", b"\xa5", b"\xa5\xae", b"Uab", b"0ab",
                                   b"\r"])
def test_noise_like_beginnings_is_looked_at_a_few_times(noise: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = Template.look

    def counted(form: Template, data: bytes, start: int = 0) -> object:
        nonlocal looks
        looks += 1
        return look(form, data, start)

    monkeypatch.setattr(Template, "look", counted)
    sieve = Sieve()
    for form in FORMS:
        sieve.expect(form)
    line = (noise * 4096)[:4096]
    for n in range(len(line)):
        sieve.feed(line[n : n + 1])
    assert looks <= 4 * len(FORMS) * len(line)
    assert len(sieve) <= KEPT
    assert len(sieve._due) + sum(map(len, sieve._until.values())) <= 4 * KEPT * len(FORMS)


def test_a_form_that_is_expected_late_is_found_in_what_is_here_already() -> None:
    sieve = Sieve()
    sieve.expect(FORMS[0])
    assert sieve.feed(WHOLE[1][:4]) == []
    sieve.expect(FORMS[1])
    assert [frame for _, frame in sieve.feed(WHOLE[1][4:])] == [WHOLE[1]]


def test_what_came_before_a_request_is_no_answer_to_it() -> None:
    sieve = Sieve()
    sieve.expect(FORMS[0])
    sieve.feed(WHOLE[0][:4])
    sieve.clear()
    assert sieve.feed(WHOLE[0][4:]) == []


def test_forms_are_forgotten_the_oldest_first() -> None:
    sieve = Sieve()
    for n in range(FORMS_LIMIT + 1):
        sieve.expect(Template(f"'<{n:02d}' {{a:1}}"))
    assert sieve.feed(b"<00x") == []
    assert [frame for _, frame in sieve.feed(b"<01x")] == [b"<01x"]
