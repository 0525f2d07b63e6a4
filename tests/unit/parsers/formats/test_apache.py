"""Lines of httpd that only its image or a label tells from nginx's."""

from parsers.formats import apache, nginx
from parsers.table import Payload

NOW_S = 1795953600


def test_a_combined_line_gives_the_same_fields_as_nginx_s() -> None:
    """Only the dataset differs, so a stream taken for the other's loses nothing."""
    line = '192.0.2.7 - alice [29/Nov/2026:02:00:00 +0000] "GET /a?b HTTP/1.1" 200 45 "https://www.example.com/" "curl"'

    ours, theirs = (each.FORMAT.parse(Payload(line), NOW_S) for each in (apache, nginx))

    assert ours is not None
    assert theirs is not None
    assert ours.dataset == "apache.access"
    assert (ours.event, ours.fields, ours.related) == (theirs.event, theirs.fields, theirs.related)
