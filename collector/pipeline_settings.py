"""From the configuration to what the pipeline has to know of it: one place for the worker and for commands."""

from collector import __version__
from collector.config import Config, audited, clusters, engines
from pipelines.enrich.engines import Engine
from pipelines.enrich.lookups import Lookup
from pipelines.settings import Audit, Settings


def pipeline_settings(config: Config) -> Settings:
    """Return the settings under which documents are made."""
    return Settings(
        version=__version__,
        namespace=config.namespace,
        hosts=config.hosts,
        parsers=tuple(config.parsers),
        original=config.documents.original,
        silent_facts=config.documents.facts.silent,
        probes=tuple(config.documents.probes),
        audits={
            name: Audit(options.cluster or "", tuple(options.proxies)) for name, options in audited(config).items()
        },
        fields=tuple(config.fields),
        lookups={name: Lookup(lookup.match, lookup.add) for name, lookup in config.lookups.items()},
        engines=(
            *(Engine(name, tuple(options.peers)) for name, options in engines(config).items()),
            *(
                Engine(name, tuple(options.peers), "kubernetes", part=options.namespaces is not None)
                for name, options in clusters(config).items()
            ),
        ),
    )
