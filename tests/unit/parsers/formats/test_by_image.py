"""Lines without a mark of their product are its own where the image says so, and nobody's by themselves."""

import pytest

from parsers.format import formats, sniffed
from parsers.table import Payload

NOW_S = 1795953600


@pytest.mark.parametrize(
    ("name", "line", "dataset"),
    [
        ("caddy", '{"level":"info","ts":1795917600.25,"msg":"serving initial configuration"}', "caddy.log"),
        ("traefik", "2026-11-29T02:00:00Z INF Starting provider aggregator", "traefik.log"),
        ("traefik", '{"level":"info","time":"2026-11-29T02:00:00Z","message":"Stopping server"}', "traefik.log"),
        ("dockerd", 'time="2026-11-29T02:00:00Z" level=info msg="Starting up"', "docker.daemon"),
    ],
)
def test_an_image_tells_whose_a_line_is(name: str, line: str, dataset: str) -> None:
    """By itself such a line is of a general format, without a dataset."""
    by_image = formats()[name].parse(Payload(line), NOW_S)
    by_itself = sniffed(Payload(line), NOW_S)

    assert by_image is not None
    assert by_itself is not None
    assert (by_image.dataset, by_itself[1].dataset) == (dataset, None)
    assert (by_image.message, by_image.time) == (by_itself[1].message, by_itself[1].time)
