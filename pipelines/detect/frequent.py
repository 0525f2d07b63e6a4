"""How often a literal is to be expected in documents, so that the rarest is looked for.

A guess, not a measure: what stands in every document, or in most lines of web servers, is frequent; else the longer
the rarer. A wrong guess costs time and never a match.
"""

from functools import lru_cache
from typing import Final

EVERYWHERE: Final = 1.0
"""Weight of what most documents hold."""
COMMON: Final = 0.1
"""Weight of what many do."""

_SKELETON: Final = rb"""
{"event":{"created":"2026-11-29t02:00:00.000000000z","sequence":100000000,"id":"cl9v205bpnng000000000000","kind":"event",
"module":"tidewaiter","dataset":"tidewaiter.container","category":["web"],"type":["access","start","info"],
"outcome":"success","action":"~","original":"~","provider":"~","code":"~","duration":0},
"@timestamp":"2026-11-29t02:00:00z",
"message":"\"get / http/1.1\" 200 \"-\" \"mozilla/5.0 (x11; linux x86_64) applewebkit/537.36 (khtml, like gecko)
chrome/ safari/537.36\"~",
"log":{"level":"info","logger":"~","syslog":{"hostname":"~","priority":30,"facility":{"code":3},
"severity":{"code":6}},"origin":{"file":{"name":"~","line":1}}},"process":{"name":"~","pid":1,"thread":{"id":1,"name":"~"},
"args":["~"],"args_count":1,"command_line":"~","executable":"/usr/bin/","parent":{"pid":1}},
"user":{"name":"root","id":"0",
"effective":{"id":"0"}},"source":{"address":"~","ip":"~","port":1},"destination":{"address":"~","ip":"~","port":443},
"http":{"response":{"status_code":200,"body":{"bytes":1}},"version":"1.1","request":{"method":"get","referrer":"~"}},
"url":{"original":"/","path":"/","query":"~","domain":"~"},"user_agent":{"original":"mozilla/5.0"},"service":{"name":"~"},
"error":{"message":"~","type":"~","stack_trace":"~"},"network":{"transport":"tcp","direction":"~"},
"related":{"ip":["~"],"user":["~"],"hosts":["~"]},"labels":{},"file":{"path":"/"},"rule":{"name":"~"},
"tidewaiter":{"facts":["~"],"container":{"stream":"stdout","engine":"docker","image_id":"sha256:","compose":{"project":"~",
"service":"~"}},"origin":{"input":"docker","transport":"tcp","peer":"192.0.2.7","host":"192.0.2.7"},"tag":"~","app":{},
"fields":{},"session":{"id":"~"}},"container":{"id":"~","name":"~","runtime":"docker","image":{"name":"~","tag":["latest"],
"hash":{"all":["sha256:"]}},"labels":{},"security_context":{"privileged":false}},"kubernetes":{"pod":{"name":"~","uid":"~",
"ip":"~"},"node":{"name":"~"},"namespace":"default","labels":{},"container":{"name":"~"}},
"orchestrator":{"type":"kubernetes",
"namespace":"default","resource":{"name":"~","type":"pod"}},"host":{"name":"~",
"os":{"name":"debian gnu/linux","kernel":"~"},
"architecture":"x86_64"},"ecs":{"version":"9.4.0"},"data_stream":{"type":"logs","dataset":"~","namespace":"default"},
"agent":{"type":"tidewaiter","version":"0.1.0","name":"collector","id":"~","ephemeral_id":"~"},"observer":{"hostname":"~"}}
{"event":{"category":["process"],"type":["start"],"action":"execve"}}{"event":{"category":["file"],"type":["change"]}}
{"event":{"category":["network"],"type":["connection"],"action":"connect"}}{"process":{"name":"sshd"}}
{"event":{"category":["authentication","session"],"outcome":"failure"}}{"process":{"name":"sudo"},"a":".service"}
"""
"""What documents have beside what they tell: keys, constants, and the usual in lines of web servers; in lower case."""

_COMMON: Final = (
    b"get", b"post", b"http", b"https", b"error", b"failed", b"bash", b"sudo", b"sshd", b"cron", b"/bin/", b"/usr/",
    b"/etc/", b"/var/", b"/tmp/", b".com", b".exe", b".php", b"curl", b"python", b"java", b"null", b"404", b"401",
    b"403", b"500", b"execve", b"syscall", b"path", b"root", b"create", b"delete", b"list", b"pods",
)  # fmt: skip


@lru_cache(maxsize=1 << 17)
def weight_of(literal: bytes) -> float:
    """Return the weight of a literal in lower case: a share of documents, roughly."""
    if literal in _SKELETON:
        return EVERYWHERE
    bare = literal.strip(b'"')
    if any(bare in each for each in _COMMON):
        return COMMON
    return 0.3 ** min(len(literal), 2 * len(set(literal)), 24)
