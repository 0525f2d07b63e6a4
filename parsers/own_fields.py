"""Fields that are not ECS's and that watchers fill: their types and meanings, once, for mappings, searches and pages.

Those of `kubernetes.` are named and typed as Elastic's agents do it, so that its dashboards and rules find them.
"""

from typing import Final, NamedTuple


class OwnField(NamedTuple):
    """What a field is, and how it is mapped and searched: `keyword`, `boolean`, `long`, `date`, `ip`, `labels`, ….

    `labels` is an object whose keys are free, hold no dots, and have keywords as values; `flattened` one that may hold
    anything. `is_list`: always a list.
    """

    type: str
    means: str
    is_list: bool = False


KUBERNETES: Final = "kubernetes"
"""The one root object that is neither ECS's nor ours."""

WATCHED_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.container.engine": OwnField("keyword", "the input that asks the container's Engine, by its name"),
    "tidewaiter.container.health": OwnField("keyword", "`starting`, `healthy` or `unhealthy`; nothing without a check"),
    "tidewaiter.container.restart_count": OwnField("long", "how often it was started again by its restart policy"),
    "tidewaiter.container.started_at": OwnField("date", "when it was started last"),
    "tidewaiter.container.user": OwnField("keyword", "the user it was told to run as; nothing means the image's, root"),
    "tidewaiter.container.privileged": OwnField("boolean", "whether it is privileged"),
    "tidewaiter.container.read_only_root": OwnField("boolean", "whether its root file system is read-only"),
    "tidewaiter.container.runtime": OwnField("keyword", "the OCI runtime (`runc`, `runsc`)"),
    "tidewaiter.container.network_mode": OwnField("keyword", "`bridge`, `host`, `none`, a network's name, …"),
    "tidewaiter.container.pid_mode": OwnField("keyword", "`host` where it sees the host's processes"),
    "tidewaiter.container.ipc_mode": OwnField("keyword", "`private`, `shareable`, `host`, …"),
    "tidewaiter.container.uts_mode": OwnField("keyword", "`host` where it has the host's name"),
    "tidewaiter.container.user_namespace": OwnField("keyword", "`host` where users are not mapped"),
    "tidewaiter.container.capabilities_added": OwnField("keyword", "capabilities beyond the Engine's default", True),
    "tidewaiter.container.capabilities_dropped": OwnField("keyword", "capabilities taken from the default", True),
    "tidewaiter.container.security_options": OwnField("keyword", "seccomp, AppArmor and SELinux options", True),
    "tidewaiter.container.mounts": OwnField(
        "keyword", "`TYPE:SOURCE:DESTINATION:rw` or `…:ro`, one for each mount", True
    ),
    "tidewaiter.container.ports": OwnField(
        "keyword", "`ADDRESS:PORT->PORT/PROTOCOL`; only exposed: `PORT/PROTOCOL`", True
    ),
    "tidewaiter.container.ip": OwnField("ip", "its addresses", True),
    "tidewaiter.container.image_id": OwnField(
        "keyword", "the image's local id; its registry digests are `container.image.hash`"
    ),
    "tidewaiter.container.compose.project": OwnField("keyword", "the Compose project"),
    "tidewaiter.container.compose.service": OwnField("keyword", "the Compose service"),
    "tidewaiter.container.service_account": OwnField("keyword", "the pod's service account"),
    "kubernetes.pod.name": OwnField("keyword", "the pod"),
    "kubernetes.pod.uid": OwnField("keyword", "its uid"),
    "kubernetes.pod.ip": OwnField("ip", "its first address"),
    "kubernetes.node.name": OwnField("keyword", "the node it runs on"),
    "kubernetes.namespace": OwnField("keyword", "its namespace"),
    "kubernetes.namespace_uid": OwnField("keyword", "the namespace's uid"),
    "kubernetes.namespace_labels": OwnField("labels", "the namespace's labels, dots as underscores"),
    "kubernetes.container.name": OwnField("keyword", "the container's name in the pod"),
    "kubernetes.labels": OwnField("labels", "the pod's labels, dots as underscores"),
    "kubernetes.annotations": OwnField(
        "labels", "those of the pod's annotations that the input's `annotations` allows"
    ),
    "kubernetes.deployment.name": OwnField("keyword", "the deployment of the pod's replica set"),
    "kubernetes.replicaset.name": OwnField("keyword", "the pod's replica set"),
    "kubernetes.statefulset.name": OwnField("keyword", "the pod's stateful set"),
    "kubernetes.daemonset.name": OwnField("keyword", "the pod's daemon set"),
    "kubernetes.job.name": OwnField("keyword", "the pod's job"),
    "kubernetes.cronjob.name": OwnField("keyword", "the cron job of the pod's job"),
}
"""What watchers say of containers, by name (`deploy/metadata.md`)."""

TRAIL_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.facts": OwnField("keyword", "what is worth knowing of the act, by short names", True),
    "tidewaiter.docker.type": OwnField("keyword", "what an Engine tells of: `container`, `image`, `volume`, …"),
    "tidewaiter.docker.actor": OwnField("keyword", "its id or name, as the Engine has it"),
    "tidewaiter.exec.id": OwnField("keyword", "the Engine's id of a process that was started in a running container"),
    "tidewaiter.exec.tty": OwnField("boolean", "whether it has a terminal"),
    "tidewaiter.exec.stdin": OwnField("boolean", "whether something can be typed or sent to it"),
    "tidewaiter.exec.privileged": OwnField("boolean", "whether it has all rights of the host"),
    "tidewaiter.exec.probe": OwnField(
        "keyword", "`healthcheck`: its container's own check; `listed`: a probe of the configuration"
    ),
    "tidewaiter.actor": OwnField(
        "keyword", "who asked an API server: `person`, `service_account`, `node`, `system` or `anonymous`"
    ),
    "tidewaiter.gap.appeared": OwnField("keyword", "containers that were there after a gap and not before it", True),
    "tidewaiter.gap.gone": OwnField("keyword", "containers that were there before a gap and not after it", True),
    "tidewaiter.gap.changed": OwnField("keyword", "containers that a gap found changed", True),
}
"""What trails say of acts, by name (`deploy/facts.md`)."""

REPORT_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.container.told_by": OwnField(
        "keyword", "the sensor or scanner whose word it is that the event is about this container"
    ),
    "tidewaiter.report.artifact": OwnField("keyword", "what was scanned, as it was named"),
    "tidewaiter.report.artifact_type": OwnField("keyword", "`container_image`, `filesystem`, `directory`, …"),
    "tidewaiter.report.findings": OwnField("long", "how many findings the report has"),
    "tidewaiter.report.critical": OwnField("long", "how many of them are critical; so are those that follow"),
    "tidewaiter.report.high": OwnField("long", "high"),
    "tidewaiter.report.medium": OwnField("long", "medium"),
    "tidewaiter.report.low": OwnField("long", "low"),
    "tidewaiter.report.negligible": OwnField("long", "negligible"),
    "tidewaiter.report.unknown": OwnField("long", "of a severity that is not known"),
    "tidewaiter.report.left_out": OwnField("long", "findings beyond the limits: counted, without documents"),
    "tidewaiter.finding.kind": OwnField("keyword", "`vulnerability`, `misconfiguration`, `secret` or `license`"),
    "tidewaiter.finding.cve": OwnField("keyword", "CVE ids of the finding, its own or those it is known by", True),
    "tidewaiter.finding.fixed_version": OwnField("keyword", "versions of the package that have a fix", True),
    "tidewaiter.finding.fix_state": OwnField("keyword", "`fixed`, `affected`, `will_not_fix`, `wont-fix`, …"),
    "tidewaiter.finding.purl": OwnField("keyword", "the package's URL (`pkg:deb/debian/…`)"),
    "tidewaiter.finding.target": OwnField("keyword", "the part of the artifact in which it was found"),
    "tidewaiter.finding.start_line": OwnField("long", "the first line of a secret or a misconfiguration"),
    "tidewaiter.finding.end_line": OwnField("long", "the last one"),
    "tidewaiter.finding.image.name": OwnField("keyword", "the image that was scanned, as it was named"),
    "tidewaiter.finding.image.id": OwnField("keyword", "its local id"),
    "tidewaiter.finding.image.digest": OwnField("keyword", "its digests in registries", True),
}
"""Fields of the documents of sensors and of scanners' reports, and of their findings."""

_USER: Final = {
    "username": OwnField("keyword", "the name"),
    "uid": OwnField("keyword", "the uid"),
    "groups": OwnField("keyword", "the groups", True),
    "extra": OwnField("flattened", "what the authenticator says beside that"),
}

AUDIT_FIELDS: Final[dict[str, OwnField]] = {
    f"kubernetes.audit.{name}": field
    for name, field in {
        "kind": OwnField("keyword", "`Event`, where the event came by itself"),
        "apiVersion": OwnField("keyword", "`audit.k8s.io/v1`, where the event came by itself"),
        "level": OwnField(
            "keyword", "how much of a request the policy keeps: `Metadata`, `Request`, `RequestResponse`"
        ),
        "auditID": OwnField("keyword", "the same for all events of a request"),
        "stage": OwnField("keyword", "`RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`"),
        "requestURI": OwnField("keyword", "path and query"),
        "verb": OwnField("keyword", "`get`, `list`, `watch`, `create`, …; without a resource the HTTP method"),
        **{f"user.{name}": field for name, field in _USER.items()},
        **{f"impersonatedUser.{name}": field for name, field in _USER.items()},
        "authenticationMetadata.impersonationConstraint": OwnField("keyword", "how impersonation was constrained"),
        "sourceIPs": OwnField("ip", "addresses; only the last is the API server's own word", True),
        "userAgent": OwnField("keyword", "what the client calls itself"),
        "objectRef.resource": OwnField("keyword", "what the request is about: `pods`, `secrets`, …"),
        "objectRef.namespace": OwnField("keyword", "its namespace"),
        "objectRef.name": OwnField("keyword", "its name"),
        "objectRef.uid": OwnField("keyword", "its uid"),
        "objectRef.apiGroup": OwnField("keyword", "the group of its API; nothing for the core's"),
        "objectRef.apiVersion": OwnField("keyword", "the version of its API"),
        "objectRef.resourceVersion": OwnField("keyword", "the version of the object"),
        "objectRef.subresource": OwnField("keyword", "`exec`, `attach`, `log`, `portforward`, …"),
        "responseStatus.status": OwnField("keyword", "`Success` or `Failure`"),
        "responseStatus.message": OwnField("keyword", "a sentence"),
        "responseStatus.reason": OwnField("keyword", "a word: `Forbidden`, `NotFound`, …"),
        "responseStatus.code": OwnField("long", "the HTTP status"),
        "requestObject": OwnField("flattened", "the object that was sent, without secrets"),
        "responseObject": OwnField("flattened", "the object that was answered, without secrets"),
        "requestReceivedTimestamp": OwnField("date", "when the request came"),
        "stageTimestamp": OwnField("date", "when it reached the stage"),
        "annotations": OwnField("labels", "what the API server notes, dots as underscores"),
    }.items()
}
"""A Kubernetes audit event, as Elastic's integration keeps it (`deploy/kubernetes-audit`)."""

AUTH_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.session.id": OwnField(
        "keyword", "the same for all lines of one act: of a process and its host, or of an auditd session"
    ),
    "tidewaiter.auth.method": OwnField("keyword", "how somebody proved who it is: `publickey`, `password`, `token`, …"),
    "tidewaiter.auth.key": OwnField("keyword", "the fingerprint of the key that was shown (`SHA256:…`)"),
    "tidewaiter.auth.terminal": OwnField("keyword", "the terminal it happened on (`pts/0`, `tty1`, `ssh`)"),
    "tidewaiter.auth.failures": OwnField("long", "how many failures stand before a login that succeeded"),
    "tidewaiter.audit.session": OwnField("keyword", "auditd's number of the login (`ses`)"),
    "tidewaiter.audit.login.id": OwnField("keyword", "the id of who once logged in (`auid`), whoever it is by now"),
    "tidewaiter.audit.login.name": OwnField("keyword", "the name that auditd found for that"),
    "tidewaiter.audit.keys": OwnField("keyword", "the keys of the rules by which it was recorded", True),
    "tidewaiter.audit.container_id": OwnField(
        "keyword", "the container that a record names in a cgroup, a unit or a command; a claim, not checked"
    ),
}
"""By name, of what parsers and `pipelines.normalize.logins` say of logins."""

LETTER_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.dead_letter.id": OwnField("keyword", "the letter's id, as `dead-letters list` shows it"),
    "tidewaiter.dead_letter.output": OwnField("keyword", "whose refusal it is: an output, or `pipeline`"),
    "tidewaiter.dead_letter.stream": OwnField("keyword", "the data stream of the document that was refused"),
    "tidewaiter.dead_letter.document_id": OwnField("keyword", "the id of that document"),
    "tidewaiter.dead_letter.sender": OwnField("keyword", "input and address of who sent what could not be decoded"),
    "tidewaiter.dead_letter.arrived": OwnField("date", "when the record arrived"),
    "tidewaiter.dead_letter.bytes": OwnField("long", "the size of document or record; `event.original` has 32 KiB"),
    "tidewaiter.dead_letter.records": OwnField("long", "how many records it stands for"),
}
"""Fields of the documents of dead letters (`deploy/dead-letters.md`)."""

BALANCE_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.balance.output": OwnField("keyword", "whose book it is"),
    "tidewaiter.balance.input": OwnField("keyword", "the input that took the records"),
    "tidewaiter.balance.peer": OwnField("keyword", "who sent them"),
    "tidewaiter.balance.received": OwnField("long", "records that the journal took: the sum of the next eight"),
    "tidewaiter.balance.delivered": OwnField("long", "of which the output has the document"),
    "tidewaiter.balance.joined": OwnField("long", "pieces of a document that stands with the first of them"),
    "tidewaiter.balance.control": OwnField("long", "what steers the collector"),
    "tidewaiter.balance.dead": OwnField("long", "dead letters"),
    "tidewaiter.balance.dropped": OwnField("long", "dropped by a rule of the operator"),
    "tidewaiter.balance.damaged": OwnField("long", "cannot be read any more"),
    "tidewaiter.balance.skipped": OwnField("long", "skipped by an optional output"),
    "tidewaiter.balance.in_flight": OwnField("long", "not settled: 0 in what is told"),
    "tidewaiter.balance.made": OwnField("long", "documents of records"),
    "tidewaiter.balance.derived": OwnField("long", "documents beside those"),
    "tidewaiter.balance.messages": OwnField("long", "messages that the input took"),
    "tidewaiter.balance.bytes": OwnField("long", "their size, decompressed"),
    "tidewaiter.balance.claimed": OwnField("long", "records that they claim"),
    "tidewaiter.balance.claimed_more": OwnField("long", "by how many messages claim more than they hold"),
    "tidewaiter.balance.claimed_fewer": OwnField("long", "by how many messages claim fewer"),
    "tidewaiter.balance.resends": OwnField("long", "messages that came again, kept once"),
}
"""Fields of the documents of the books (`deploy/balance.md`)."""

ALERT_FIELDS: Final[dict[str, OwnField]] = {
    "tidewaiter.alert.level": OwnField("keyword", "the rule's: `informational`, `low`, `medium`, `high`, `critical`"),
    "tidewaiter.alert.source.id": OwnField("keyword", "the documents that it is about, by `event.id`", True),
    "tidewaiter.alert.source.stream": OwnField("keyword", "the data stream in which they stand"),
    "tidewaiter.alert.source.action": OwnField("keyword", "their `event.action`"),
    "tidewaiter.alert.message": OwnField("keyword", "the source's `message`, as far as 1,000 characters go"),
    "tidewaiter.alert.suppressed": OwnField("long", "how many were not raised since the one before it"),
    "tidewaiter.alert.references": OwnField("keyword", "what the rule refers to", True),
    "tidewaiter.alert.false_positives": OwnField("keyword", "what the rule's author expects to be none", True),
    "tidewaiter.alert.rules": OwnField("keyword", "the hash of the rule set that held"),
}
"""Fields of alerts (`deploy/alerts.md`)."""

OWN_FIELDS: Final = (
    WATCHED_FIELDS
    | TRAIL_FIELDS
    | REPORT_FIELDS
    | AUTH_FIELDS
    | AUDIT_FIELDS
    | LETTER_FIELDS
    | BALANCE_FIELDS
    | ALERT_FIELDS
)
"""By name. What else is under `tidewaiter.` is a keyword."""
