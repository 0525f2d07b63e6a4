"""Hosts of lines: a name is no address."""

import pytest

from parsers.values import to_domain


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("client.example.net", "client.example.net"),
        ("db_1:5432", "db_1"),
        ("example.com.", "example.com."),
        ("face", "face"),
        ("192.0.2.7", None),
        ("192.0.2.7:443", None),
        ("[2001:db8::7]:443", None),
        ("fe80::7%eth0", None),
        ("unix:", "unix"),
        ("a b", None),
        ("-", None),
        ("", None),
        ("x" * 256, None),
        (7, None),
    ],
)
def test_a_domain_is_the_host_where_it_is_a_name(raw: object, name: str | None) -> None:
    """Without port; addresses and what is no name give nothing."""
    assert to_domain(raw) == name
