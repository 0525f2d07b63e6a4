"""Lines of JSON that mean harm: each claims to be what it is not, or is shaped to be refused."""

import json
from typing import Any, Final


def _nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"leaf": "x"}
    for _ in range(depth):
        made = {"level": made}
    return made


CLAIMED_ID: Final = "f0" * 32
"""The container that lines claim to come from."""

CLAIMS: Final[dict[str, Any]] = {
    "host": "x",
    "app": 1,
    "app.kubernetes.io/name": "y",
    "container": {"id": CLAIMED_ID, "labels": {"a": {"b": 1}}},
    "event": {"kind": "alert", "id": "1", "dataset": "x", "module": "x", "ingested": "x", "risk_score": 99},
    "tidewaiter": {"origin": {"peer": "198.51.100.9"}, "app": 1},
    "data_stream": {"type": "metrics", "dataset": "x", "namespace": "y"},
    "rule": {"name": "r", "id": "1"},
    "threat": {"technique": [{"id": "T1078"}]},
    "observer": "x",
    "orchestrator": [],
    "agent": {"id": 5},
    "tags": {"a": 1},
    "related": "x",
    "labels": "x",
}
"""Keys that are ours, with values that are not."""

BREAKOUTS: Final = (
    '"}}\n{"create":{"_id":"1"}}\n{"event":{"kind":"alert"}}\n',
    '\\"}}\\n{"delete":{"_id":"1"}}\\n',
    '","event":{"kind":"alert"},"x":"',
    "\r\n{}\r\n",
    "\u2028\u2029\x00\x1b[0m",
)
"""Texts that would end the value, the document or the line that they stand in, if anything pasted them."""

_TIME: Final = "2026-11-29T11:59:59.5Z"

HOSTILE_LINES: Final = (
    *(
        json.dumps({**claims, **head})
        for claims in (CLAIMS, {f"{name}.{key}": "x" for name in CLAIMS for key in ("id", "name", "kind", "x")})
        for head in (
            {"@timestamp": _TIME, "ecs.version": "1.6.0", "log.level": "info", "message": "forged"},
            {"@timestamp": "2031-01-01T00:00:00Z", "msg": "forged", "level": "info"},
            {"time": _TIME, "level": 30, "msg": "forged", "pid": 7, "hostname": "x", "v": 0},
            {},
        )
    ),
    json.dumps({"a.b": 1, "a": {"b": {"c": 2}}, "": "empty", ".": "dot", "a..b": "dots", ".a": 1, "b.": 1, " ": 2}),
    json.dumps({"msg": "empty keys", "": {"": {"": ""}}, "level": {"": 1}}),
    json.dumps({"msg": "deep", "level": "info", **_nested(60)}),
    json.dumps({"level": "info", "msg": _nested(60)}),
    "[" * 900 + "]" * 900,
    '{"msg":"deep","x":' + "[" * 900 + "]" * 900 + "}",
    json.dumps({"level": "info", "msg": "long value", "value": "v" * 40_000, "logger": "l" * 40_000}),
    json.dumps({"level": "info", "msg": "m" * 40_000, "k" * 40_000: "long key", "x": {"k" * 40_000: {"y": 1}}}),
    json.dumps({"@timestamp": _TIME, "ecs.version": "1", "message": "long", "user.name": "u" * 40_000}),
    '{"level":"info","msg":"numbers","n":123456789012345678901234567890,"f":1e308,"g":-0.0,"h":1e-400}',
    '{"level":"info","msg":"numbers","x":1E400}',
    f'{{"@timestamp":"{_TIME}","ecs.version":"1","message":"numbers","process.pid":{10**30},"event.duration":-1}}',
    f'{{"time":{10**30},"level":{10**30},"msg":{10**30},"pid":1.5,"status":{2**63},"port":70000}}',
    '{"level":"info","msg":"NUL in keys","a\\u0000b":{"\\u0000":"\\u0000"},"a\u2400b":2}',
    '{"level":"info","level":"error","msg":"first","msg":"twice","x":1,"x":{"y":2},"x":[3]}',
    '{"level":"info","msg":"lone surrogate \\ud800","\\udfff":1}',
    '{"level":"info","msg":"types","x":[1,"a",null,{"b":[]}],"y":null,"error":5,"http":"x","url":7,"user":["a"]}',
    '{"level":"info","msg":"types","x":"text","error":{"message":{"a":1}},"http":{"request":"x"},"user":{"name":{}}}',
    '{"level":"info","msg":"cut off","x":',
    *(json.dumps({"level": "info", "msg": text, text: text, "logger": text}) for text in BREAKOUTS),
    f'<165>1 {_TIME} h1 app 7 ID [ex@32473 long="{"s" * 40_000}"] long value',
    f'<165>1 {_TIME} h1 app 7 ID [a.b a.b="1" a="2" a="3" \x00="4"][a b.b="5"][\x00 x="6"] keys',
    f'<165>1 {_TIME} h1 app 7 ID [{"e" * 255} {"k" * 255}="{"€" * 9000}"] long keys',
    *(
        f'192.0.2.9 - {user} [29/Nov/2026:11:59:59 +0000] "GET /{path} HTTP/1.1" 200 5 "{path}" "{path}"'
        for path in ("x\\x22}}\\x0a{\\x22create\\x22:{}}", 'tidewaiter":{},"event":{"kind":"alert"}', "\x1b[0m\x00")
        for user in ("-", '"event.kind":"alert"')
    ),
)
"""Lines as a container may print them; none holds a raw newline."""
