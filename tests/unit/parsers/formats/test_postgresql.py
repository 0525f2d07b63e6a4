"""What PostgreSQL's messages say beside their fields."""

from parsers.formats.postgresql import client_host, client_port, session_duration, statement_duration


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
