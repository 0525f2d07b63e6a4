"""Whose containers an Engine runs is the configuration's word."""

import pytest

from pipelines.enrich.engines import Engine, Sources, sources_of

ENGINES = (
    Engine("local"),
    Engine("lan", ("192.0.2.0/24", "2001:db8::7")),
    Engine("second", ("192.0.2.7", "unix:uid=0")),
    Engine("prod", (), "kubernetes"),
)


@pytest.mark.parametrize(
    ("peer", "engine"),
    [
        ("127.0.0.1", "local"),
        ("127.8.0.1", "local"),
        ("::1", "local"),
        ("unix:uid=0", "local"),
        ("192.0.2.7", "lan"),
        ("2001:db8::7", "lan"),
        ("2001:db8::7%eth0", "lan"),
        ("2001:db8::8", ""),
        ("198.51.100.1", ""),
        ("watcher-engine", ""),
    ],
)
def test_a_sender_has_the_first_engine_that_speaks_for_it(peer: str, engine: str) -> None:
    """By address, network, or as a sender over a Unix socket; a cluster without peers speaks for all."""
    assert sources_of(ENGINES, peer) == Sources(engine, "prod")


def test_peers_may_be_named_as_documents_show_them() -> None:
    """A single user's Unix socket, for instance."""
    engines = (Engine("root", ("unix:uid=0",)),)

    assert sources_of(engines, "unix:uid=0") == Sources("root")
    assert sources_of(engines, "unix:uid=1") == Sources()
