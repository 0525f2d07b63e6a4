"""What sudo ran, argument by argument."""

import pytest

from parsers.formats.sudo import to_arguments


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/id -u", ["/usr/bin/id", "-u"]),
        ("/usr/bin/sh -c 'echo hi; exit 3'", ["/usr/bin/sh", "-c", "echo hi; exit 3"]),
        (r"/bin/echo it\'s 'a b'c", ["/bin/echo", "it's", "a bc"]),
        (r"/bin/echo 'don\'t' ''", ["/bin/echo", r"don\'t", ""]),
        ("/bin/echo 'open", ["/bin/echo", "open"]),
        ("", None),
    ],
)
def test_a_command_is_split_as_sudo_joined_it(command: str, expected: list[str] | None) -> None:
    """At blanks, not within quotes; what is not closed stays as it is."""
    assert expected == to_arguments(command)
