"""A listed probe is a whole command, argument by argument, in the containers that its rule names."""

import pytest

from parsers.probes import ProbeRule


@pytest.mark.parametrize(
    ("globs", "words", "fits"),
    [
        (["pg_isready", "-U", "*"], ["pg_isready", "-U", "app"], True),
        (["pg_isready", "-U", "*"], ["pg_isready", "-U"], False),
        (["pg_isready"], ["pg_isready", "-h", "x"], False),
        (["curl", "**"], ["curl", "-f", "http://127.0.0.1/"], True),
        (["curl", "**"], ["curl"], True),
        (["curl", "-f", "**"], ["curl"], False),
        (["**"], [], True),
        (["a*"], ["b"], False),
    ],
)
def test_every_argument_has_its_glob(globs: list[str], words: list[str], fits: bool) -> None:
    """None more and none less, but for a last `**`."""
    assert ProbeRule(globs).fits(words, "acme/web", "web") is fits


def test_a_probe_is_one_in_its_containers_only() -> None:
    """By image and name."""
    rule = ProbeRule(["true"], image="acme/*", name="web-*")

    assert rule.fits(["true"], "acme/web", "web-1")
    assert not rule.fits(["true"], "other/web", "web-1")
    assert not rule.fits(["true"], "acme/web", "shop")
