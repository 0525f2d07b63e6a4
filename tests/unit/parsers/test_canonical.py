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
