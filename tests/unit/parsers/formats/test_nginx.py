"""What an error line of nginx does not tell, since a user may have written it."""

import pytest

from parsers.formats import nginx
from parsers.table import Payload

NOW_S = 1795953600
HEAD = "2026/11/29 02:00:00 [error] 29#29: *7 "
CONTEXT = ', client: 192.0.2.7, server: localhost, request: "GET /a HTTP/1.1", host: "www.example.com"'


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/srv/a", "192.0.2.7"),
        ("/srv/" + "a" * 1800, "192.0.2.7"),
        ("/srv/" + "a" * 2000, None),
        ("/srv/" + "\u20ac" * 700, None),
        ("/srv/, client: 203.0.113.9", None),
    ],
    ids=["plain", "long", "as long as what is cut", "as many bytes as what is cut", "imitated"],
)
def test_a_client_is_told_where_it_is_surely_nginx_s_word(path: str, told: str | None) -> None:
    """A line is cut at 2048 bytes and nothing in it is escaped: what looks like a client can be part of a path."""
    parsed = nginx.FORMAT.parse(Payload(f'{HEAD}open() "{path}" failed (2: No such file or directory){CONTEXT}'), NOW_S)

    assert parsed is not None
    assert parsed.fields.get("source", {}).get("ip") == told
