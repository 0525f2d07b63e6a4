"""The sources of our documents: log sources of Sigma's taxonomy, and the tables of their fields.

Field names are those of the taxonomy (Sigma specification 2.1, appendix taxonomy, "Fields"), of auditd's records and
of Kubernetes' audit events.
"""

from collections.abc import Iterable
from typing import Final

from pipelines.detect.expression import And, Exists, Expression, FieldTest, Or, Text
from pipelines.detect.rule import LogSource, Where
from pipelines.detect.sources import Source, Sources

LINUX: Final = "linux"

WEB_ACCESS: Final = (
    "apache.access", "caddy.access", "envoyproxy.log", "haproxy.log", "nginx.access",
    "nginx_ingress_controller.access", "traefik.access",
)  # fmt: skip
CONTAINER: Final = "tidewaiter.container"
"""Lines of containers that no product's dataset takes: access lines of frameworks, logs of applications."""

APPLICATIONS: Final = ("django", "jvm", "nodejs", "opencanary", "python", "ruby_on_rails", "spring", "sql", "velocity")
"""Applications whose rules run on containers' lines."""

_NOT_TEXT: Final = (
    *WEB_ACCESS, "docker.events", "elasticsearch.audit", "grype.report", "hashicorp_vault.audit", "hubble.agent",
    "hubble.flow", "kubernetes.audit_logs", "tidewaiter.alerts", "tidewaiter.audit", "trivy.report",
)  # fmt: skip
"""What is no log line of a Linux host or a program: requests, reports, trails, our own."""
_OURS: Final = ("tidewaiter.alerts", "tidewaiter.audit")


def only(*datasets: str) -> Where:
    """Return where the documents are of these datasets."""
    return Where(frozenset(datasets), but=False)


def but(*datasets: str) -> Where:
    """Return where the documents are of any but these."""
    return Where(frozenset(datasets), but=True)


def is_one(field: str, *values: str) -> Expression:
    """Return what holds where a field of ours is one of the values."""
    tests = tuple(FieldTest(field, (field,), Text((value,))) for value in values)
    return tests[0] if len(tests) == 1 else Or(tests)


def _all(*items: Expression) -> Expression:
    return And(items)


def _same(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


_PROCESS: Final = {
    "Image": ("process.executable",),
    "CommandLine": ("process.command_line",),
    "CurrentDirectory": ("process.working_directory",),
    "User": ("user.name",),
    "ProcessId": ("process.pid",),
    "ProcessGuid": ("process.entity_id",),
    "LogonId": ("tidewaiter.audit.session",),
    "TerminalSessionId": ("tidewaiter.audit.session",),
    "ParentImage": ("process.parent.executable",),
    "ParentCommandLine": ("process.parent.command_line",),
    "ParentProcessId": ("process.parent.pid",),
    "ParentProcessGuid": ("process.parent.entity_id",),
    "ParentUser": ("process.parent.user.name",),
    "md5": ("process.hash.md5",),
    "sha1": ("process.hash.sha1",),
    "sha256": ("process.hash.sha256",),
    "UtcTime": ("@timestamp",),
}
_FILE: Final = {"TargetFilename": ("file.path",), "CreationUtcTime": ("file.created",)}
_NETWORK: Final = {
    "DestinationHostname": ("destination.domain",),
    "DestinationIp": ("destination.ip",),
    "DestinationPort": ("destination.port",),
    "SourceHostname": ("source.domain",),
    "SourceIp": ("source.ip",),
    "SourcePort": ("source.port",),
    "Protocol": ("network.transport",),
}
_WEB: Final = {
    "date": ("@timestamp",),
    "time": ("@timestamp",),
    "c-ip": ("source.ip", "client.ip"),
    "src_ip": ("source.ip", "client.ip"),
    "dst_ip": ("destination.ip",),
    "cs-username": ("user.name",),
    "s-computername": ("host.name",),
    "s-sitename": ("url.domain",),
    "s-ip": ("server.ip", "destination.ip"),
    "s-port": ("server.port", "destination.port"),
    "cs-method": ("http.request.method",),
    "cs-uri": ("url.original",),
    "cs-uri-stem": ("url.path",),
    "cs-uri-query": ("url.query",),
    "c-uri": ("url.original",),
    "c-uri-stem": ("url.path",),
    "c-uri-query": ("url.query",),
    "c-uri-extension": ("url.extension",),
    "sc-status": ("http.response.status_code",),
    "sc-bytes": ("http.response.bytes", "http.response.body.bytes"),
    "cs-bytes": ("http.request.bytes", "http.request.body.bytes"),
    "time-taken": ("event.duration",),
    "cs-version": ("http.version",),
    "cs-host": ("url.domain", "destination.domain"),
    "r-dns": ("url.domain", "destination.domain"),
    "cs-user-agent": ("user_agent.original",),
    "c-useragent": ("user_agent.original",),
    "cs-referer": ("http.request.referrer",),
    "cs-referrer": ("http.request.referrer",),
}
_AUDITD: Final = {
    **{f"a{number}": (f"process.args.{number}",) for number in range(16)},
    "type": ("event.code",),
    "name": ("file.path",),
    "exe": ("process.executable",),
    "comm": ("process.name",),
    "proctitle": ("process.title",),
    "cwd": ("process.working_directory",),
    "key": ("tidewaiter.audit.keys",),
    "auid": ("tidewaiter.audit.login.id",),
    "ses": ("tidewaiter.audit.session",),
    "uid": ("user.id",),
    "euid": ("user.effective.id",),
    "pid": ("process.pid",),
    "ppid": ("process.parent.pid",),
    "acct": ("user.effective.name",),
    "unit": ("service.name",),
    "hostname": ("source.domain",),
    "addr": ("source.ip",),
    "saddr": ("destination.ip", "source.ip"),
    "mode": ("file.mode",),
    "res": ("event.outcome",),
    "success": ("event.outcome",),
}


def _record(name: str, *paths: str) -> tuple[tuple[str, str], FieldTest]:
    return ("type", name), FieldTest("type", paths, Exists(value=True))


_RECORDS: Final = dict(
    (
        _record("execve", "process.args"),
        _record("path", "file.path"),
        _record("cwd", "process.working_directory"),
        _record("proctitle", "process.title"),
    )
)
"""Records of one event are one document, whose `event.code` is the first's type: the others show by what they say."""

_OUTCOMES: Final = {
    (field, value): FieldTest(field, ("event.outcome",), Text((outcome,)))
    for field in ("res", "success")
    for value, outcome in (("success", "success"), ("yes", "success"), ("failed", "failure"), ("no", "failure"))
}

_POD_SPECS: Final = tuple(
    f"kubernetes.audit.requestObject.spec{below}" for below in ("", ".template.spec", ".jobTemplate.spec.template.spec")
)
"""Where a request's object says how pods are to run: a pod itself, what makes pods, what makes jobs."""


def _of_containers(field: str) -> tuple[str, ...]:
    """Return where the containers of such pods have a field."""
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return tuple(f"{spec}.{containers}.{field}" for spec in _POD_SPECS for containers in kinds)


_KUBERNETES: Final = {
    "apiGroup": ("kubernetes.audit.objectRef.apiGroup",),
    "namespace": ("kubernetes.audit.objectRef.namespace",),
    "resource": ("kubernetes.audit.objectRef.resource",),
    "subresource": ("kubernetes.audit.objectRef.subresource",),
    "username": ("kubernetes.audit.user.username",),
    "hostPath": tuple(f"{spec}.volumes.hostPath.path" for spec in _POD_SPECS),
    "capabilities": _of_containers("securityContext.capabilities.add"),
    "image": _of_containers("image"),
}
_DOCKER: Final = {
    "Action": ("event.action",),
    "Type": ("tidewaiter.docker.type",),
    "Actor.ID": ("tidewaiter.docker.actor", "container.id"),
    "Image": ("container.image.name",),
    "CommandLine": ("process.command_line",),
}
_FIREWALL: Final = {
    "src_ip": ("source.ip",),
    "src_port": ("source.port",),
    "dst_ip": ("destination.ip",),
    "dst_port": ("destination.port",),
    "username": ("user.name",),
    "action": ("event.action", "event.type"),
    "protocol": ("network.transport",),
}

_STARTED: Final = Or(
    (
        _all(is_one("event.category", "process"), is_one("event.type", "start")),
        is_one("event.action", "execve", "execveat"),
    )
)


def _linux(name: str, where: Where, *programs: str) -> Source:
    """Return a service of Linux that is told by its program's name; without programs, by the dataset alone."""
    condition = is_one("process.name", *programs) if programs else None
    return Source(f"linux-{name}", (LogSource(product=LINUX, service=name),), where, condition)


_AUTH: Final = "system.auth"
_SYSLOG: Final = "system.syslog"

SOURCES: Final = Sources(
    (
        Source(
            "process_creation",
            (LogSource(category="process_creation", product=LINUX),),
            but(*_OURS),
            _STARTED,
            _PROCESS,
        ),
        Source(
            "file_event",
            (LogSource(category="file_event", product=LINUX),),
            but(*_OURS),
            _all(is_one("event.category", "file"), is_one("event.type", "creation", "change")),
            _PROCESS | _FILE,
        ),
        Source(
            "network_connection",
            (LogSource(category="network_connection", product=LINUX),),
            but(*_OURS, *WEB_ACCESS),
            Or((is_one("event.category", "network"), is_one("event.action", "connect"))),
            _PROCESS | _NETWORK,
        ),
        Source("linux", (LogSource(product=LINUX),), but(*_NOT_TEXT)),
        Source(
            "linux-auditd",
            (LogSource(product=LINUX, service="auditd"),),
            only("auditd.log"),
            None,
            _AUDITD,
            stands_for=_RECORDS | _OUTCOMES,
        ),
        _linux("auth", only(_AUTH)),
        _linux("sshd", only(_AUTH), "sshd", "sshd-session"),
        _linux("sudo", only(_AUTH), "sudo"),
        _linux("cron", only(_SYSLOG, _AUTH), "cron", "crond", "anacron"),
        _linux("syslog", only(_SYSLOG, _AUTH)),
        *(_linux(name, only(_SYSLOG, CONTAINER)) for name in ("clamav", "guacamole", "vsftpd")),
        Source("webserver", (LogSource(category="webserver"),), but(*_OURS), is_one("event.category", "web"), _WEB),
        *(
            Source(
                name,
                (LogSource(service=name), LogSource(product=name), LogSource("webserver", name)),
                only(f"{name}.access", f"{name}.error"),
                None,
                _WEB,
            )
            for name in ("apache", "nginx")
        ),
        Source("proxy", (LogSource(category="proxy"),), but(*_OURS), is_one("event.category", "web"), _WEB),
        Source("firewall", (LogSource(category="firewall"),), only("iptables.log", "hubble.flow"), None, _FIREWALL),
        Source(
            "network",
            (LogSource(category="network", service="connection"),),
            but(*_OURS),
            is_one("event.category", "network"),
        ),
        Source(
            "database",
            (LogSource(category="database"),),
            only("mongodb.log", "mysql.error", "postgresql.log", "redis.log", CONTAINER),
        ),
        *(
            Source(name, (LogSource(product=name), LogSource("database", name)), only(dataset))
            for name, dataset in (
                ("mongodb", "mongodb.log"),
                ("mysql", "mysql.error"),
                ("postgresql", "postgresql.log"),
                ("redis", "redis.log"),
            )
        ),
        Source(
            "kubernetes-audit",
            (
                LogSource(product="kubernetes", service="audit"),
                LogSource("application", "kubernetes", "audit"),
                LogSource(product="kubernetes"),
            ),
            only("kubernetes.audit_logs"),
            None,
            _KUBERNETES,
            ("kubernetes.audit",),
        ),
        Source(
            "docker",
            (LogSource(product="docker"), LogSource(product="docker", service="events")),
            only("docker.events"),
            None,
            _DOCKER,
            ("tidewaiter.app.attributes",),
        ),
        Source(
            "container-exec",
            (LogSource(product="container", service="exec"),),
            only("docker.events", "kubernetes.audit_logs"),
            _all(
                is_one("event.type", "start"),
                is_one("event.category", "process"),
                FieldTest("CommandLine", ("process.command_line",), Exists(value=True)),
            ),
            _PROCESS,
        ),
        Source("docker-daemon", (LogSource(product="docker", service="daemon"),), only("docker.daemon")),
        *(
            Source(name, (LogSource(product=name),), only(dataset), None, fields, prefixes)
            for name, dataset, fields, prefixes in (
                ("falco", "falco.alerts", _same(("rule", "priority")), ("falco.output_fields", "falco")),
                ("tetragon", "cilium_tetragon.log", _PROCESS, ("tetragon",)),
                ("vault", "hashicorp_vault.audit", {}, ("tidewaiter.app",)),
                ("keycloak", "keycloak.log", {}, ()),
            )
        ),
        Source(
            "elasticsearch-audit",
            (LogSource(product="elasticsearch", service="audit"),),
            only("elasticsearch.audit"),
            None,
            {},
            ("tidewaiter.app",),
        ),
        Source(
            "container",
            (LogSource(category="application"), LogSource(product="container"), LogSource(category="container")),
            but(*_NOT_TEXT),
            None,
            {},
            ("tidewaiter.app", "tidewaiter.fields"),
        ),
        Source(
            "application",
            tuple(LogSource(category="application", product=name) for name in APPLICATIONS),
            but(*_NOT_TEXT),
            None,
            {},
            ("tidewaiter.app", "tidewaiter.fields"),
        ),
    )
)
"""All of them. A log source that is not here is in no document, and its rules are listed so."""
