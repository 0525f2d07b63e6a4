"""Reading the configuration file: every problem at once, each with its path, its line and what was probably meant."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml

from collector.config import (
    DEAD_LETTERS_OUTPUT,
    OWN_INPUT,
    PIPELINE_SOURCE,
    Config,
    ConsoleConfig,
    ForwardInputConfig,
    clusters,
    default_inputs,
    engines,
    listening,
    watched,
)
from collector.config_fields import check_fields, check_lookups
from collector.config_http import HttpInputConfig, KubernetesAuditInputConfig, PostedInputConfig, exposures
from collector.config_kubernetes import same_cluster
from collector.config_nodes import Reader, is_null, members, unknown
from collector.config_outputs import ElasticsearchOutputConfig
from collector.config_secrets import Secret, SecretError
from collector.config_values import UNIX, Address, address_of
from collector.config_watchers import open_doors, out_of_reach, shared_peers
from collector.errors import ConfigError, Problem
from collector.watchers.kubernetes_access import absent
from parsers.format import formats
from pipelines.parse import NO_PARSER

FILES: Final = (Path("tidewaiter.yaml"), Path("/etc/tidewaiter/tidewaiter.yaml"))
"""Where a configuration is looked for when neither --config nor TIDEWAITER_CONFIG names one."""

BUILT_IN: Final = "built-in configuration"

FILE_LIMIT_BYTES: Final = 1 << 20
"""Largest configuration file."""

MESSAGES_IN_JOURNAL: Final = 8
"""The journal's limit holds at least so many of the largest messages: below that one message may never find room."""

RESERVED_OUTPUTS: Final = frozenset({DEAD_LETTERS_OUTPUT, PIPELINE_SOURCE})
"""Names that cursors and dead-letter files of our own have."""

RESERVED_INPUTS: Final = frozenset({OWN_INPUT})

PROTECTIONS: Final = ("tls", "shared_key")
"""Options of inputs that an empty line would switch off, which nobody means who writes it."""

_namespace = re.compile(r"[a-z0-9_.]{1,100}")
_quoted = re.compile(r"'((?:\\.|[^'])*)'")
_token = re.compile(r"<[a-z ]+>|\\?.", re.DOTALL)


class Loaded(msgspec.Struct, frozen=True):
    """A configuration with where it came from and what an operator should know about it."""

    config: Config
    source: str
    warnings: list[str]
    root: yaml.Node | None = None

    def line_of(self, *path: str | int) -> int | None:
        """Return the line of an option, or of an element of a list; None where the file does not have it."""
        node = self.root
        for name in path:
            if isinstance(name, str):
                node = members(node).get(name)
            else:
                node = node.value[name] if isinstance(node, yaml.SequenceNode) and name < len(node.value) else None
        return node.start_mark.line + 1 if node is not None else None


def load(file: str | None = None, data_dir: str | None = None) -> Loaded:
    """Load the file given, else the first that is found, else the built-in; raise ConfigError with every problem."""
    chosen = file or os.environ.get("TIDEWAITER_CONFIG") or next((str(path) for path in FILES if path.is_file()), None)
    root = _compose(_read(chosen), chosen) if chosen else None
    config = _parse(root, chosen) if chosen else Config()
    folder = data_dir or os.environ.get("TIDEWAITER_DATA_DIR") or config.data_dir
    try:
        folder = str(Path(folder).expanduser().absolute())
    except (OSError, RuntimeError) as error:
        raise ConfigError(chosen or BUILT_IN, [Problem("data_dir", None, f"{folder!r}: {error}")]) from error
    config = msgspec.structs.replace(config, data_dir=folder)
    return Loaded(config, chosen or BUILT_IN, list(_warnings(config)), root)


def folder_named(file: str | None = None, data_dir: str | None = None) -> str:
    """Return the data folder that `load` would find, also of a file that is wrong elsewhere; raise ConfigError."""
    folder = data_dir or os.environ.get("TIDEWAITER_DATA_DIR")
    chosen = file or os.environ.get("TIDEWAITER_CONFIG") or next((str(path) for path in FILES if path.is_file()), None)
    if folder is None and chosen is not None:
        named = members(_compose(_read(chosen), chosen)).get("data_dir")
        folder = named.value if isinstance(named, yaml.ScalarNode) else None
    return str(Path(folder or Config().data_dir).expanduser().absolute())


def parse(text: str, source: str) -> Config:
    """Make a configuration of YAML text; raise ConfigError with every problem."""
    return _parse(_compose(text, source), source)


def _parse(root: yaml.Node | None, source: str) -> Config:
    reader = Reader()
    config = Config() if root is None else reader.struct(root, Config, "")
    _check_names(reader, root)
    _check_listening(reader, root)
    _check_inputs(reader, root)
    _check_outputs(reader, root)
    _check_parsers(reader, root)
    check_fields(reader, root)
    check_lookups(reader, root)
    if isinstance(config, Config):
        _check_journal(reader, root, config)
        _check_watched(reader, root, config)
    if reader.problems or not isinstance(config, Config):
        raise ConfigError(source, sorted(reader.problems, key=lambda problem: problem.line or 0))
    return config


def _read(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(FILE_LIMIT_BYTES + 1)
        if len(content) <= FILE_LIMIT_BYTES:
            return content.decode()
    except OSError as error:
        raise ConfigError(file, [Problem("(file)", None, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(file, [Problem("(file)", line, "is not UTF-8 text")]) from error
    raise ConfigError(file, [Problem("(file)", None, f"is larger than {FILE_LIMIT_BYTES >> 20} MiB")])


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = Problem("(file)", line, f"not YAML: {_said(error.problem or '')}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem("(file)", line, f"not YAML: the character U+{int(error.character):04X} is not allowed")
    except RecursionError:
        problem = Problem("(file)", None, "nested too deeply")
    raise ConfigError(source, [problem])


def _said(problem: str) -> str:
    """Return what the YAML parser says, in a sentence where its own words would not help."""
    if "'\\t'" in problem:
        return "indent with spaces, never with a tab"
    if "another document" in problem:
        return "a second document begins here, and a configuration is one: take out the line ---"
    if problem == "second occurrence":
        return "an anchor (&) of this name is there already"
    # What it quotes may be a secret that begins like an alias or an anchor; a token or one character is none.
    return _quoted.sub(lambda found: found[0] if _token.fullmatch(found[1]) else "…", problem)


# What follows checks what no single value shows. It looks at nodes, so that it is told beside all other problems.


def _check_names(reader: Reader, root: yaml.Node | None) -> None:
    sections = members(root)
    namespace = sections.get("namespace")
    if isinstance(namespace, yaml.ScalarNode) and namespace.value and not _namespace.fullmatch(namespace.value):
        reader.problem(namespace, "namespace", "has at most 100 of a-z, 0-9, _ and .")
    for section, reserved in (("inputs", RESERVED_INPUTS), ("outputs", RESERVED_OUTPUTS)):
        for name, options in members(sections.get(section)).items():
            if name in reserved:
                reader.problem(options, f"{section}.{name}", f"{name} is a name of our own: take another")


_DEFAULT_LISTEN: Final = {
    "forward": ForwardInputConfig().listen,
    "http": HttpInputConfig().listen,
    "kubernetes_audit": KubernetesAuditInputConfig().listen,
}
"""Where inputs listen that senders reach, by type."""


class _Listening(NamedTuple):
    """Something that listens, with the node to blame, none for what is built in."""

    name: str
    path: str
    node: yaml.Node | None
    address: Address


def _check_listening(reader: Reader, root: yaml.Node | None) -> None:
    taken: list[_Listening] = []
    for each in _listening(root):
        first = next((other for other in taken if each.address.collides(other.address)), None)
        if first is not None:
            # Of two, at least one stands in the file: what is built in does not collide.
            blamed, other = (each, first) if each.node else (first, each)
            shown = blamed.node.value if isinstance(blamed.node, yaml.ScalarNode) else "the default address"
            reader.problem(blamed.node, blamed.path, f"{shown} is taken by {other.name}")
        taken.append(each)


def _listening(root: yaml.Node | None) -> Iterator[_Listening]:
    sections = members(root)
    yield from _listens("the console", "console", sections.get("console"), ConsoleConfig().listen)
    if "inputs" not in sections:
        for name in default_inputs():
            yield from _listens(f"input {name}", f"inputs.{name}", None, ForwardInputConfig().listen)
    for name, node in members(sections.get("inputs")).items():
        kind = members(node).get("type")
        default = _DEFAULT_LISTEN.get(kind.value) if isinstance(kind, yaml.ScalarNode) else None
        if default is not None:
            yield from _listens(f"input {name}", f"inputs.{name}", node, default)


def _listens(name: str, path: str, node: yaml.Node | None, default: str) -> Iterator[_Listening]:
    given = members(node).get("listen")
    if given is not None and not isinstance(given, yaml.ScalarNode):
        return
    try:
        yield _Listening(name, f"{path}.listen", given or node, address_of(given.value if given else default))
    except ValueError:
        return  # reported where its value was read


def _check_inputs(reader: Reader, root: yaml.Node | None) -> None:
    for name, options in members(members(root).get("inputs")).items():
        path, given = f"inputs.{name}", members(options)
        kind = given.get("type")
        is_forward = isinstance(kind, yaml.ScalarNode) and kind.value == "forward"
        if is_forward and "users" in given and not ("shared_key" in given or "client_keys" in given):
            reader.problem(
                given["users"], f"{path}.users", "needs shared_key or client_keys: without, no client is asked"
            )
        for option in PROTECTIONS:
            if option in given and is_null(given[option]):
                reader.problem(given[option], f"{path}.{option}", "must not be empty: leave it out, or fill it in")
        tls = members(given.get("tls"))
        if "client_ca" in tls and is_null(tls["client_ca"]):
            reader.problem(tls["client_ca"], f"{path}.tls.client_ca", "must not be empty: it would demand nothing")
        if "client_optional" in tls and "client_ca" not in tls:
            reader.problem(tls["client_optional"], f"{path}.tls.client_optional", "needs client_ca")


def _check_watched(reader: Reader, root: yaml.Node | None, config: Config) -> None:
    inputs = members(members(root).get("inputs"))
    for name, options in watched(config).items():
        given = members(inputs.get(name))
        for problem in list(shared_peers(name, watched(config), options))[:1]:
            reader.problem(given.get("peers") or given.get("type"), f"inputs.{name}.peers", problem)
    for name, engine in engines(config).items():
        path, given = f"inputs.{name}", members(inputs.get(name))
        if engine.tls is None:
            continue
        if engine.url.startswith(UNIX):
            reader.problem(given["tls"], f"{path}.tls", "there is none on a Unix socket")
        authority = members(given["tls"]).get("ca")
        if authority is not None and is_null(authority):
            reader.problem(authority, f"{path}.tls.ca", "must not be empty: it would trust the system's authorities")
        if (engine.tls.certificate is None) != (engine.tls.key is None):
            reader.problem(given["tls"], f"{path}.tls", "certificate and key go together")
    for name, cluster in clusters(config).items():
        for problem in same_cluster(name, clusters(config), cluster):
            reader.problem(inputs.get(name), f"inputs.{name}.cluster", problem)


def _check_outputs(reader: Reader, root: yaml.Node | None) -> None:
    outputs = members(root).get("outputs")
    if isinstance(outputs, yaml.MappingNode) and not outputs.value:
        reader.problem(outputs, "outputs", "must not be empty: what is acknowledged would go nowhere")
    store = ""
    for name, options in members(outputs).items():
        path, given = f"outputs.{name}", members(options)
        kind = given.get("type")
        if isinstance(kind, yaml.ScalarNode) and kind.value == "local":
            if store:
                reader.problem(options, path, f"there is one local store, and output {store} is it")
            store = store or name
        if ("username" in given) != ("password" in given):
            reader.problem(options, path, "username and password go together")
        if "api_key" in given and "username" in given:
            reader.problem(options, path, "give api_key, or username and password, not both")


def _check_parsers(reader: Reader, root: yaml.Node | None) -> None:
    rules = members(root).get("parsers")
    for place, rule in enumerate(rules.value if isinstance(rules, yaml.SequenceNode) else ()):
        given = members(rule).get("parser")
        known = [NO_PARSER, *formats()]
        if given is None and "multiline" not in members(rule):
            reader.problem(rule, f"parsers[{place}].parser", "is required where multiline is not given")
        if isinstance(given, yaml.ScalarNode) and given.value and given.value not in known:
            reader.problem(given, f"parsers[{place}].parser", unknown(given.value, known, what="parser"))


def _check_journal(reader: Reader, root: yaml.Node | None, config: Config) -> None:
    largest = max((options.message_limit for options in listening(config).values()), default=0)
    if config.journal.limit < MESSAGES_IN_JOURNAL * largest:
        sections = members(root)
        needed = -(-MESSAGES_IN_JOURNAL * largest // (1 << 20))
        reader.problem(
            members(sections.get("journal")).get("limit") or sections.get("inputs"),
            "journal.limit",
            f"must be at least {needed}MiB, {MESSAGES_IN_JOURNAL} times the largest message_limit of an input: "
            "below that a message may never find room",
        )


def _warnings(config: Config) -> Iterator[str]:
    for name, engine in engines(config).items():
        yield from open_doors(name, engine)
    for name, options in listening(config).items():
        if isinstance(options, PostedInputConfig):
            yield from exposures(name, options, options.listen)
            continue
        if options.tls is not None or address_of(options.listen).is_private():
            continue
        listens = f"input {name} listens on {options.listen}, beyond loopback"
        if options.shared_key is not None or options.client_keys:
            yield f"{listens}, with a key and without TLS: whoever is in between can read records and alter them"
        else:
            yield f"{listens}, without TLS or a shared key: whoever reaches the port can send records"
    if not address_of(config.console.listen).is_private():
        yield f"the console listens on {config.console.listen}, beyond loopback: whoever reaches it reads metrics"
    for name, output in config.outputs.items():
        if isinstance(output, ElasticsearchOutputConfig) and (output.api_key or output.password):
            for url in output.urls:
                if url.startswith("http:") and not _is_here(url):
                    yield f"output {name} sends its credentials to {url} without TLS: whoever listens can read them"


def absences(config: Config) -> Iterator[str]:
    """Yield what the configuration names and this user on this machine cannot read: secrets, authorities, tables.

    No mistake of the file: it may be meant for another machine, or be handed its secrets by the service manager.
    """
    yield from unreached(config)
    yield from unreadable(config)


def unreached(config: Config) -> Iterator[str]:
    """Yield which of those that are to be asked cannot be, from here and now."""
    for name, engine in engines(config).items():
        yield from out_of_reach(name, engine)
    for name, cluster in clusters(config).items():
        yield from (f"input {name}: from here, {problem}" for problem in absent(cluster))


def unreadable(config: Config) -> Iterator[str]:
    """Yield which secrets, certificates, authorities and tables cannot be read from here and now."""
    for name, options in listening(config).items():
        yield from _unreadable(f"input {name}", *options.secrets)
        tls = options.tls
        for file in (tls.certificate, tls.key, tls.client_ca) if tls is not None else ():
            if file is not None and not os.access(file, os.R_OK):
                yield f"input {name}: from here, cannot read {file}"
    for name, lookup in config.lookups.items():
        if not os.access(lookup.file, os.R_OK):
            yield f"lookup {name}: from here, cannot read {lookup.file}"
    for name, output in config.outputs.items():
        if not isinstance(output, ElasticsearchOutputConfig):
            continue
        yield from _unreadable(f"output {name}", output.api_key, output.password)
        if output.ca_file is not None and not os.access(output.ca_file, os.R_OK):
            yield f"output {name}: from here, cannot read the authority in {output.ca_file}"


def _unreadable(component: str, *secrets: Secret | None) -> Iterator[str]:
    for secret in secrets:
        try:
            if secret is not None:
                secret.read()
        except SecretError as error:
            yield f"{component}: from here, {error}"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return address_of(f"[{host}]:1" if ":" in host else f"{host}:1").is_private()
    except ValueError:
        return False
