r"""klog: messages of Kubernetes' own components and of controllers written in Go.

    I1129 02:00:00.123456       1 server.go:412] "Starting kubelet" version="v1.36.1"
    E1129 02:00:01.000001    4242 reflector.go:200] "Failed to watch" err="connection refused" type="*v1.Pod"

Level, month and day, time of day, process, file and line, then the text: free, or a quoted message with pairs behind it. The
pairs stay in `message`; `err` is `error.message` too. Times have neither year nor zone: the year is the nearest, the zone
UTC. JSON of these components is read as JSON of any logger. Source: k8s.io/klog/v2, and "System Logs" of Kubernetes'
documentation.
"""

from parsers.format import Format
from parsers.logfmt import unquoted
from parsers.table import Table
from parsers.times import klog
from parsers.values import integer, made, mapped, text

_HEAD = (
    r"(?P<level>[IWEF])(?P<time>\d{4} \d\d:\d\d:\d\d\.\d{1,9}) {1,7}(?P<pid>\d{1,10}) "
    r"(?P<file>[^\s:\]]{1,255}):(?P<line>\d{1,9})\] "
)
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FIELDS = {
    "log.level": mapped("level", {"I": "info", "W": "warn", "E": "error", "F": "fatal"}),
    "log.origin.file.name": text("file"),
    "log.origin.file.line": integer("line"),
    "process.pid": integer("pid"),
}

FAILED = Table(
    pattern=(
        rf"{_HEAD}(?P<text>{_QUOTED}(?: (?!err=)[^\s=\"]{{1,128}}=(?:{_QUOTED}|[^\s\"]*+))*+"
        r' err="(?P<error>[^"\\]*+(?:\\.[^"\\]*+)*+)".*)'
    ),
    time=klog("time"),
    message=text("text"),
    fields={"error.message": made(unquoted, "error"), **_FIELDS},
)

TEXT = Table(
    pattern=_HEAD + "(?P<text>.*)",
    time=klog("time"),
    message=text("text"),
    fields=_FIELDS,
)


def _sniff(line: str) -> bool:
    return line[:1] in "IWEF" and line[5:6] == " " and line[1:5].isdigit() and "] " in line[:320]


FORMAT = Format(
    title="klog (Kubernetes components)",
    tables=(FAILED, TEXT),
    sniff=_sniff,
    images=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"),
)
