"""Hosts of lines, and what stands beside them."""

import pytest

from parsers.values import to_address_of, to_domain, to_http_status, to_http_version


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


@pytest.mark.parametrize(
    ("raw", "first", "last"),
    [
        ("203.0.113.9, 192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("203.0.113.9,[2001:db8::7]:443", "203.0.113.9", "2001:db8::7"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, unknown", "192.0.2.7", None),
        (",192.0.2.7", None, "192.0.2.7"),
        ("-", None, None),
        (7, None, None),
    ],
)
def test_a_list_of_addresses_has_a_first_and_a_last(raw: object, first: str | None, last: str | None) -> None:
    """The last is the nearest proxy's word, the others may be a client's invention; no other place is looked at."""
    assert (to_address_of(raw, 0), to_address_of(raw, -1)) == (first, last)


@pytest.mark.parametrize(("raw", "version"), [("HTTP/1.1", "1.1"), ("HTTP/2.0", "2.0"), ("HTTP/", None), ("h2", None)])
def test_the_version_stands_behind_the_protocol(raw: str, version: str | None) -> None:
    """Of HTTP only."""
    assert to_http_version(raw) == version


@pytest.mark.parametrize(("raw", "status"), [("200", 200), (404, 404), ("-1", None), ("0", None), (1000, None)])
def test_a_status_has_three_digits(raw: object, status: int | None) -> None:
    """What proxies write where they sent none is no status."""
    assert to_http_status(raw) == status
