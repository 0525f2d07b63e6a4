"""Who a client is, as far as resends are concerned."""

import pytest

from collector.journal.arrivals import client_of
from pipelines.frame import Origin


@pytest.mark.parametrize(
    ("auth", "is_same"),
    [
        ("", False),
        ("shared-key", False),
        ("certificate:web", True),
        ("key:web", True),
        ("shared-key+user:web", True),
        ("certificate:web+shared-key", True),
    ],
)
def test_hosts_that_have_one_shared_key_were_one_client(auth: str, is_same: bool) -> None:
    """What one host had sent last swallowed an equal message of another; only a proof that names somebody is who."""
    clients = {client_of(Origin("forward", "tls", peer, auth)) for peer in ("192.0.2.1", "192.0.2.2")}

    assert (len(clients) == 1) == is_same


def test_a_name_cannot_say_what_another_proof_would() -> None:
    """A user whose name looks like a certificate's is not who has that certificate; nor does an address matter."""
    origins = [
        Origin("forward", "tls", "192.0.2.1", auth)
        for auth in ("certificate:web", "user:certificate:web", "shared-key+user:web", "key:web", "shared-key", "")
    ]

    assert len({client_of(origin) for origin in origins}) == len(origins)
