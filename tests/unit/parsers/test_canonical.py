"""One encoder, one form."""

from hypothesis import given
from hypothesis import strategies as st

from parsers.canonical import encode, encode_texts


@given(st.lists(st.text()))
def test_many_texts_encode_as_each_alone(texts: list[str]) -> None:
    """Encoding by one call and splitting gives what encoding one by one gives, whatever the texts hold."""
    assert [encode(text) for text in texts] == encode_texts(texts)


@given(st.text())
def test_no_raw_newline_leaves_the_encoder(text: str) -> None:
    """No text can end a line of NDJSON."""
    assert b"\n" not in encode({"k": text, text: [text]})


def test_every_character_is_encoded_in_one_form() -> None:
    """Both encoders agree on every character there is: the common ones alone, all of them in rows of a thousand."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    rows = ["".join(characters[at : at + 1000]) for at in range(0, len(characters), 1000)]

    assert [encode(text) for text in characters[:3000]] == encode_texts(characters[:3000])
    assert [encode(row) for row in rows] == encode_texts(rows)
