"""What a configuration names and this machine has, but cannot use: certificates, keys, tables and rules."""

import os
from collections.abc import Callable, Iterator
from functools import partial

from collector.certificates import CertificateError, client_context, engine_context, server_context
from collector.config import clusters, engines, listening
from collector.config_file import Loaded
from collector.config_outputs import ElasticsearchOutputConfig
from collector.errors import Problem
from collector.lookup_files import LookupFileError, read_table
from collector.rule_files import missing
from collector.watchers.kubernetes_access import unusable as unusable_access


def unusable(loaded: Loaded) -> Iterator[Problem]:
    """Yield the certificates, keys and tables that are there and cannot be used; those that are not are absences.

    Of rules it is told what is not there: where a folder is missing, all that it would detect is.
    """
    for name, options in listening(loaded.config).items():
        tls = options.tls
        if tls is not None and _readable(tls.certificate, tls.key, tls.client_ca):
            yield from _problem(loaded, ("inputs", name, "tls"), partial(server_context, tls))
    for name, engine in engines(loaded.config).items():
        client = engine.tls
        if client is not None and _readable(client.ca, client.certificate, client.key):
            yield from _problem(loaded, ("inputs", name, "tls"), partial(engine_context, client))
    for name, cluster in clusters(loaded.config).items():
        for problem in unusable_access(cluster):
            path = ("inputs", name, "kubeconfig")
            yield Problem(".".join(path), loaded.line_of(*path), problem)
    for name, output in loaded.config.outputs.items():
        if isinstance(output, ElasticsearchOutputConfig) and output.ca_file and _readable(output.ca_file):
            yield from _problem(loaded, ("outputs", name), partial(client_context, output.ca_file))
    for name, lookup in loaded.config.lookups.items():
        try:
            if _readable(lookup.file):
                read_table(name, lookup)
        except LookupFileError as error:
            yield Problem(f"lookups.{name}.file", loaded.line_of("lookups", name, "file"), str(error))
    for missed in missing(loaded.config.rules):
        option = ("rules", *missed.option)
        yield Problem(_dotted(option), loaded.line_of(*option), str(missed))


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path).removeprefix(".")


def _problem(loaded: Loaded, section: tuple[str, ...], use: Callable[[], object]) -> Iterator[Problem]:
    try:
        use()
    except CertificateError as error:
        path = (*section, error.option)
        yield Problem(".".join(path), loaded.line_of(*path), str(error))


def _readable(*files: str | None) -> bool:
    return all(os.access(file, os.R_OK) for file in files if file is not None)
