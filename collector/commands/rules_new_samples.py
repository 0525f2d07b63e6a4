"""What `tidewaiter rules new` begins a rule with: for each kind of logs a source, a condition, lines for both."""

from typing import Final, NamedTuple


class Sample(NamedTuple):
    """Parts of both files, as they stand there. `input` is where the lines come from."""

    about: str
    log_source: str
    detection: str
    fires: str
    does_not: str
    input: str = "forward"
    container: str = ""


_EVENT: Final = (
    '{"Type":"container","Action":"exec_create: COMMAND","Actor":{"ID":"'
    + "c1" * 32
    + '","Attributes":{"execID":"'
    + "e1" * 32
    + '","image":"nginx:1.27","name":"shop"}}}'
)
_AUDIT: Final = (
    '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7c1f0b1e-0d1a-4b7e-9a55-0f6f6a0d0001",'
    '"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets","verb":"VERB","user":{"username":"alice",'
    '"groups":["dev","system:authenticated"]},"sourceIPs":["203.0.113.9"],"objectRef":{"resource":"secrets",'
    '"namespace":"shop","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},'
    '"requestReceivedTimestamp":"2026-11-29T12:00:00.000000Z","stageTimestamp":"2026-11-29T12:00:00.010000Z"}'
)
_ACCESS: Final = '203.0.113.9 - - [29/Nov/2026:12:00:00 +0000] "GET PATH HTTP/1.1" 200 512 "-" "curl/8.5.0"'
_EXECVE: Final = 'type=EXECVE msg=audit(1795953600.123:501): argc=2 a0="PROGRAM" a1="ARGUMENT"'

SAMPLES: Final = {
    "container": Sample(
        about="lines that any container writes",
        log_source="category: application",
        detection="""\
  selection:
    message|contains: licence check failed
  filter_dry_run:
    message|startswith: dry run
""",
        fires="'licence check failed for customer 4711'",
        does_not="'dry run: licence check failed for customer 4711'",
        container='{name: shop, image: "shop:1.4"}',
    ),
    "docker": Sample(
        about="what is done to containers, as the Docker Engine tells it",
        log_source="product: docker\n  service: events",
        detection="""\
  selection:
    Action: exec_create
    CommandLine|startswith:
      - bash
      - /bin/bash
  filter_backup:
    CommandLine|contains: /opt/backup.sh
""",
        fires=f"'{_EVENT.replace('COMMAND', 'bash -l')}'",
        does_not=f"'{_EVENT.replace('COMMAND', 'bash /opt/backup.sh')}'",
        input="docker_events",
    ),
    "kubernetes": Sample(
        about="requests to an API server, as its audit log tells them",
        log_source="product: kubernetes\n  service: audit",
        detection="""\
  selection:
    resource: secrets
    verb:
      - list
      - watch
  filter_system:
    username|startswith: 'system:'
""",
        fires=f"'{_AUDIT.replace('VERB', 'list')}'",
        does_not=f"'{_AUDIT.replace('VERB', 'list').replace('alice', 'system:kube-controller-manager')}'",
        input="kubernetes_audit",
    ),
    "sshd": Sample(
        about="logins over SSH",
        log_source="product: linux\n  service: sshd",
        detection="""\
  selection:
    event.action: ssh_login
    event.outcome: success
    user.name: root
  filter_office:
    source.ip|cidr: 192.0.2.0/24
""",
        fires="'Nov 29 12:00:00 web1 sshd[501]: Accepted password for root from 203.0.113.9 port 40022 ssh2'",
        does_not="'Nov 29 12:00:00 web1 sshd[501]: Accepted password for root from 192.0.2.7 port 40022 ssh2'",
        input="file",
    ),
    "process": Sample(
        about="programs that are started: sudo, auditd, sensors",
        log_source="category: process_creation\n  product: linux",
        detection="""\
  selection:
    CommandLine|contains: /etc/shadow
  filter_editor:
    CommandLine|startswith: vipw
""",
        fires="'Nov 29 12:00:00 web1 sudo:    alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/cat /etc/shadow'",
        does_not="'Nov 29 12:00:00 web1 sudo:    alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls /etc'",
        input="file",
    ),
    "auditd": Sample(
        about="records of the kernel's audit, as auditd writes them",
        log_source="product: linux\n  service: auditd",
        detection="""\
  selection:
    type: EXECVE
    a0|endswith: insmod
  filter_known:
    a1|startswith: /usr/lib/modules/
""",
        fires=f"'{_EXECVE.replace('PROGRAM', 'insmod').replace('ARGUMENT', '/opt/rk.ko')}'",
        does_not=f"'{_EXECVE.replace('PROGRAM', 'insmod').replace('ARGUMENT', '/usr/lib/modules/6.1/nf.ko')}'",
        input="file",
    ),
    "web": Sample(
        about="requests in access logs of web servers",
        log_source="category: webserver",
        detection="""\
  selection:
    cs-uri-stem|contains: /.git/
  filter_refused:
    sc-status:
      - 403
      - 404
""",
        fires=f"'{_ACCESS.replace('PATH', '/.git/config')}'",
        does_not=f"'{_ACCESS.replace('PATH', '/.git/config').replace(' 200 ', ' 404 ')}'",
        container='{name: web, image: "nginx:1.27"}',
    ),
}
"""Samples by what is given as `--logsource`."""
