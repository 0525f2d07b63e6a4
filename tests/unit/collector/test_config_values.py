"""Values of the configuration file: read exactly, or refused."""

import pytest

from collector.config_values import address_of, read_duration, read_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30.0), ("1.5m", 90.0), ("12h", 43_200.0), ("7d", 604_800.0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """It is kept in seconds."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("64B", 64), ("64KiB", 1 << 16), ("10GiB", 10 << 30), ("1TiB", 1 << 40)])
def test_a_size_is_a_number_and_a_binary_unit(text: str, count: int) -> None:
    """It is kept in bytes."""
    assert read_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "5S", "1e3s", "5s ", "inf", "0s", "9999999999d", "\u0665s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """Nothing is guessed, not even a missing unit."""
    with pytest.raises(ValueError):  # noqa: PT011 - the reader adds the example
        read_duration(text)


@pytest.mark.parametrize("text", ["", "5", "5GB", "5gib", "1.5GiB", "0KiB", "-1KiB", "9999999999B"])
def test_anything_else_is_no_size(text: str) -> None:
    """Nor is a decimal unit taken for a binary one."""
    with pytest.raises(ValueError):  # noqa: PT011 - the reader adds the example
        read_size(text)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", False),
        ("127.0.0.1:1", "127.0.0.1:2", True),
        ("127.0.0.1:0", "127.0.0.1:0", True),
        ("127.0.0.1:1", "192.0.2.1:1", True),
        ("localhost:1", "127.0.0.1:1", False),
        ("localhost:1", "[::1]:1", False),
        ("0.0.0.0:1", "192.0.2.1:1", False),
        ("0.0.0.0:1", "[::1]:1", True),
        ("[::]:1", "192.0.2.1:1", False),
        (":1", "[2001:db8::1]:1", False),
        ("[2001:db8:0::1]:1", "[2001:db8::1]:1", False),
        ("Edge.example:1", "edge.example:1", False),
        ("unix:///run/a", "unix:///run//a", False),
        ("unix:///run/a", "unix:///run/b", True),
        ("unix:///run/a", "127.0.0.1:1", True),
    ],
)
def test_two_addresses_collide_when_the_kernel_says_so(one: str, other: str, *, together: bool) -> None:
    """Both ways round; wildcards cover what they would take."""
    first, second = address_of(one), address_of(other)

    assert first.collides(second) is second.collides(first) is not together


@pytest.mark.parametrize(
    ("listen", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:///run/a", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        (":1", False),
        ("127.example:1", False),
        ("192.0.2.1:1", False),
    ],
)
def test_only_loopback_and_unix_sockets_are_private(listen: str, *, private: bool) -> None:
    """A host name is not taken for loopback."""
    assert address_of(listen).is_private() is private
