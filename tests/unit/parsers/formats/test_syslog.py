"""Structured data of RFC 5424."""

from parsers.formats.syslog import to_structured


def test_structured_data_keeps_every_value() -> None:
    """A name that stands twice has both values, and only the three escapes of RFC 5424 are undone."""
    assert {"a@1": {"k": ["1", "2"]}, "b": {"x": '\\d"]\\'}} == to_structured(r'[a@1 k="1" k="2"][b x="\d\"\]\\"]')
