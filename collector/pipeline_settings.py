"""From the configuration to what the pipeline has to know of it: one place for the worker and for commands."""

from collector import __version__
from collector.config import Config
from pipelines.settings import Settings


def pipeline_settings(config: Config) -> Settings:
    """Return the settings under which documents are made."""
    return Settings(version=__version__, namespace=config.namespace, hosts=config.hosts, parsers=tuple(config.parsers))
