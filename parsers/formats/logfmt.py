r"""logfmt: lines of `key=value` pairs, as Go's loggers and the tools written with them do.

    time=2026-11-29T02:00:00.123Z level=INFO msg="cart saved" user=alice duration=1.5ms
    time="2026-11-29T02:00:00Z" level=warning msg="disk nearly full" free=1024
    ts=2026-11-29T02:00:00.123Z caller=main.go:42 level=error component=tsdb err="no space left"
    at=info method=GET path="/cart?id=7" host=shop.example.com request_id=a1 fwd="192.0.2.7" status=200 bytes=512

Written by slog, logrus, go-kit (Prometheus, Loki, Grafana), hclog's kin, structlog's LogfmtRenderer, routers of platforms.
Keys are those of `json`. A line is logfmt when it is two or more pairs and nothing else, and has a level, a message
with a time, or is an access line. A key that stands twice keeps all its values under `tidewaiter.app`. Bare keys
without a value are not handled. Source: the loggers' own pages.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from parsers.format import Format
from parsers.json_keys import ACCESS, FIELDS, MESSAGE, TIME
from parsers.sign_in import SIGN_INS
from parsers.table import Table
from parsers.values import to_known_level

_LEVELS: Final = frozenset({"level", "lvl", "severity", "levelname", "@level", "log_level", "loglevel"})
_TIMES: Final = frozenset(TIME.sources)
_MESSAGES: Final = frozenset(MESSAGE.sources)


def _is_log(found: Mapping[str, Any]) -> bool:
    """Whether pairs are a log line, not a setting or a text of another kind."""
    if len(found) < 2:
        return False
    if to_known_level(found.get("at")):
        return True
    return not _LEVELS.isdisjoint(found) or not (_TIMES.isdisjoint(found) or _MESSAGES.isdisjoint(found))


_SIGN_INS: Final = tuple(msgspec.structs.replace(table, pairs=True) for table in SIGN_INS)
_ACCESS: Final = msgspec.structs.replace(ACCESS, pairs=True)
_GENERAL: Final = Table(pairs=True, accept=_is_log, time=TIME, message=MESSAGE, fields=FIELDS)


def _sniff(line: str) -> bool:
    key, mark, rest = line.partition("=")
    return bool(mark and key) and "=" in rest and len(key) <= 128 and not key.startswith(("{", "[")) and " " not in key


FORMAT = Format(title="logfmt", tables=(*_SIGN_INS, _ACCESS, _GENERAL), sniff=_sniff, rank=6)
