"""What PostgreSQL's messages say beside their fields."""

from parsers.formats.postgresql import FORMAT, client_host, client_port, session_duration, statement_duration
from parsers.table import Payload


def test_durations_are_read_from_the_message() -> None:
    """Of a statement in milliseconds, of a session as a clock; other texts have none."""
    assert [1_139_000, 4_848_000, None, None] == [
        statement_duration(value)
        for value in ("duration: 1.139 ms  statement: select 1", "duration: 4.848 ms", "duration: long", 7)
    ]
    assert [3_723_456_000_000, None] == [
        session_duration(value) for value in ("disconnection: session time: 1:02:03.456 user=a", "session time: 1")
    ]


def test_a_client_is_a_host_and_perhaps_a_port() -> None:
    """A local socket is neither."""
    assert [("192.0.2.7", 51234), ("192.0.2.7", None), (None, None), (None, None)] == [
        (client_host(value), client_port(value)) for value in ("192.0.2.7(51234)", "192.0.2.7", "[local]", "")
    ]


def test_a_further_line_of_a_statement_is_no_parse_failure() -> None:
    """Where a rule or a label asks for PostgreSQL it is a line of its log; alone its tab says nothing."""
    asked, alone = (FORMAT.parse(Payload("\tFROM orders"), 0, asked=asked) for asked in (True, False))

    assert alone is None
    assert asked is not None
    assert (asked.dataset, asked.message) == ("postgresql.log", "\tFROM orders")
