"""Each fact has a switch, described where it is declared, and probes are listed as rules."""

import msgspec
import pytest

from collector.config_documents import FactsConfig
from collector.config_file import parse
from collector.errors import ConfigError
from collector.pipeline_settings import pipeline_settings
from parsers.facts import FACTS
from parsers.probes import ProbeRule


def test_every_fact_has_a_switch_that_is_on() -> None:
    """By its name, in the order of the list."""
    assert [field.name for field in msgspec.structs.fields(FactsConfig)] == list(FACTS)
    assert FactsConfig().silent == ()


def test_the_configuration_silences_facts_and_lists_probes() -> None:
    """The pipeline is told of both."""
    documents = """
documents:
  facts: {attach: false, probe: false}
  probes: [{image: 'acme/*', command: [pg_isready, '**']}]
"""
    settings = pipeline_settings(parse(documents, "tidewaiter.yaml"))

    assert settings.silent_facts == ("attach", "probe")
    assert settings.probes == (ProbeRule(["pg_isready", "**"], image="acme/*"),)


def test_a_fact_that_there_is_not_is_refused() -> None:
    """By its name."""
    with pytest.raises(ConfigError, match="atach"):
        parse("documents:\n  facts: {atach: false}\n", "tidewaiter.yaml")
