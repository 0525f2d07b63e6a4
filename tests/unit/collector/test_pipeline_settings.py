"""What the pipeline hears of the configuration."""

from collector.config_file import parse
from collector.pipeline_settings import pipeline_settings
from pipelines.enrich.engines import Engine


def test_the_pipeline_hears_whose_containers_each_input_that_asks_knows() -> None:
    """Engines and clusters by their inputs' names; a cluster of which some namespaces are followed is a part."""
    config = parse(
        "inputs:\n"
        "  engine: {type: docker_events, peers: [192.0.2.1]}\n"
        "  all: {type: kubernetes, peers: [192.0.2.2]}\n"
        "  some: {type: kubernetes, peers: [192.0.2.3], namespaces: [shop]}\n"
        "  port: {type: forward}\n",
        "file",
    )

    assert pipeline_settings(config).engines == (
        Engine("engine", ("192.0.2.1/32",)),
        Engine("all", ("192.0.2.2/32",), "kubernetes"),
        Engine("some", ("192.0.2.3/32",), "kubernetes", part=True),
    )
