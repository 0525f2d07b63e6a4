"""Which parser a stream's lines go through, and what becomes of them; by both paths, with states that live on."""

import json
import struct
from typing import Any, Final

import msgpack
import pytest

from pipelines import reference, state
from pipelines.chunk import ChunkPath
from pipelines.normalize.original import Original
from pipelines.parse import MISSES_TRIED, RETRIED_EVERY, Choice, ParserRule
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

ID: Final = "8f3a1c0b9d2e" + "0" * 52
SENT_S: Final = 1_795_917_600
"""2026-11-29T02:00:00Z, when the lines below were written."""

ACCESS: Final = '192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8.5.0"'
JSON: Final = '{"level":"warn","time":"2026-11-29T02:00:00.5Z","msg":"slow","user":{"tier":"gold"}}'
TEXT: Final = "2026-11-29 02:00:00,250 INFO  started"
PLAIN: Final = "nothing that any format knows"
KEY: Final = ("docker", "192.0.2.7", ID, "stdout")


class Streams:
    """A pipeline of both paths; each call is a frame."""

    def __init__(self, *rules: ParserRule, original: Original = "needed") -> None:
        self._settings = Settings(version="0", parsers=rules, original=original)
        self._chunk = ChunkPath(self._settings)
        self._states = State(), State()

    def __call__(self, *lines: str, image: str = "acme/web", **more: str) -> list[dict[str, Any]]:
        """Send lines of one container; return their documents, in order."""
        fields = {"container_id": ID, "container_name": "/web-1", "source": "stdout", **more}
        return self.records(*({**fields, "log": line} for line in lines), tag=f"{image}/web-1/{ID[:12]}")

    def records(self, *records: dict[str, Any], tag: str) -> list[dict[str, Any]]:
        """Send records under a tag; return their documents, in order."""
        time = msgpack.ExtType(0, struct.pack(">II", SENT_S, 0))
        entries = b"".join(msgpack.packb([time, record]) for record in records)
        frame = frame_of(("forward", [(entries, tag.encode(), len(records))]))
        plain, fast = self._states
        plain.mark()
        fast.mark()
        expected = list(reference.process(frame, self._settings, plain))

        assert expected == list(self._chunk.process(frame, fast))
        assert plain.encode() == fast.encode()
        documents = [
            json.loads(line) for batch in expected for part in batch.documents for line in part.ndjson.splitlines()
        ]
        return sorted(documents, key=lambda document: int(document["event"]["sequence"]))

    def choice(self, key: tuple[str, ...] = KEY) -> Choice | None:
        """What is kept of the stream."""
        return self._states[0].choices.get(key)


def datasets(documents: list[dict[str, Any]]) -> list[str]:
    """Where documents go."""
    return [document["event"]["dataset"] for document in documents]


def test_a_stream_shows_its_formats_line_by_line() -> None:
    """JSON with a stack trace between, then an access line: each is what it is, and nothing is tagged."""
    streams = Streams()
    made = streams(JSON, "Traceback (most recent call last):", '  File "/app/a.py", line 3, in f', ACCESS, JSON)

    assert datasets(made) == [*["tidewaiter.container"] * 2, "nginx.access", "tidewaiter.container"]
    assert [document["log"]["level"] for document in made if "log" in document] == ["warn", "error", "warn"]
    assert made[0]["tidewaiter"]["app"] == {"user": {"tier": "gold"}}
    assert made[1]["message"] == 'Traceback (most recent call last):\n  File "/app/a.py", line 3, in f'
    assert [document.get("tags") for document in made] == [None] * 4
    assert streams.choice() == Choice(("nginx", "json"), "lines", 1)


def test_a_general_format_hides_no_narrower_one() -> None:
    """A text with a level came first; the access line behind it is an access line all the same."""
    streams = Streams()

    assert datasets(streams(TEXT)) == ["tidewaiter.container"]
    assert datasets(streams(ACCESS)) == ["nginx.access"]


def test_a_label_asks_for_a_parser() -> None:
    """Nothing else is tried; a line that does not fit stays as it came, and is tagged."""
    streams = Streams(ParserRule("json"))
    fit, other = streams(JSON, ACCESS, **{"tidewaiter.parser": "json"})

    assert fit["log"]["level"] == "warn"
    assert (other["message"], other["event"]["dataset"]) == (ACCESS, "tidewaiter.container")
    assert other["tags"] == ["_parse_failure"]
    assert streams.choice() is None


def test_what_is_asked_for_needs_no_marks() -> None:
    """A line of Caddy's that any logger could have written is Caddy's where a label or a rule says so."""
    line = '{"level":"warn","ts":1795917600.5,"msg":"HTTP/2 skipped because it requires TLS","network":"tcp"}'

    assert datasets(Streams()(line)) == ["tidewaiter.container"]
    assert datasets(Streams()(line, **{"tidewaiter.parser": "caddy"})) == ["caddy.log"]
    assert datasets(Streams(ParserRule("caddy"))(line)) == ["caddy.log"]


def test_a_label_that_names_no_parser_is_seen() -> None:
    """Somebody asked for something: the lines stay as they came, and are tagged."""
    streams = Streams()
    (made,) = streams(JSON, **{"tidewaiter.parser": "jsno"})

    assert (made["message"], made["tags"]) == (JSON, ["_parse_failure"])
    assert streams.choice() is None


def test_the_operators_rule_comes_before_the_images_name() -> None:
    """The first that fits decides."""
    rules = ParserRule("none", image="*/other"), ParserRule("json", image="acme/*")
    made = Streams(*rules)(ACCESS, image="acme/nginx")

    assert made[0]["tags"] == ["_parse_failure"]


def test_none_keeps_lines_as_they_are() -> None:
    """They are plain, not failures."""
    (made,) = Streams(ParserRule("none", name="web-*"))(JSON)

    assert made["message"] == JSON
    assert "tags" not in made


def test_an_images_name_says_what_it_writes() -> None:
    """The choice stands before the first line, and other formats are found beside it."""
    streams = Streams()
    streams(PLAIN, JSON, image="registry.example.com/library/nginx")
    choice = streams.choice()

    assert choice is not None
    assert (choice.reason, set(choice.formats)) == ("image", {"nginx", "json"})


def test_a_stream_that_shows_nothing_is_looked_at_now_and_then() -> None:
    """Each of the first lines, then one of sixteen; what is found is held, and later lines of it are parsed at once."""
    streams = Streams()
    streams(*[PLAIN] * (MISSES_TRIED - 1))
    late = streams(PLAIN, *[JSON] * RETRIED_EVERY, JSON)
    levels = [document.get("log", {}).get("level") for document in late]

    assert levels == [*[None] * RETRIED_EVERY, "warn", "warn"]


def test_streams_of_a_container_are_told_apart() -> None:
    """What its standard output shows says nothing of its standard error."""
    streams = Streams()
    streams(JSON)
    streams(PLAIN, source="stderr")

    assert streams.choice((*KEY[:3], "stderr")) == Choice((), "lines", 1)


def test_a_lines_own_time_is_the_documents() -> None:
    """To the nanosecond where it says so."""
    (made,) = Streams()(JSON)

    assert made["@timestamp"] == "2026-11-29T02:00:00.500000000Z"


def test_a_time_that_is_far_off_is_a_claim() -> None:
    """More than a day from what the sender said: the sender's stands, the line's is kept beside it."""
    (made,) = Streams()(JSON.replace("2026-11-29", "2026-11-25"))

    assert made["@timestamp"] == "2026-11-29T02:00:00.000000000Z"
    assert made["tidewaiter"]["claimed"] == {"time": "2026-11-25T02:00:00.500000000Z"}
    assert made["tags"] == ["_time_far_off"]


def test_the_end_of_a_line_is_no_part_of_what_is_parsed() -> None:
    """Senders that keep it send the line as it came."""
    access, text = Streams()(ACCESS + "\n", JSON + "\r\n")

    assert access["message"] == ACCESS + "\n"
    assert access["http"]["response"]["status_code"] == 200
    assert text["message"] == "slow"


def test_colours_are_no_part_of_what_is_parsed() -> None:
    """What a parser takes is without them; where the line is the message it stays as it came."""
    text, pairs, found, access, plain = Streams()(
        "\x1b[2m2026-11-29T02:00:00Z\x1b[0m [\x1b[33mwarning  \x1b[0m] \x1b[1mslow\x1b[0m \x1b[36muser\x1b[0m=alice",
        '\x1b[36mlevel\x1b[0m=\x1b[31merror\x1b[0m \x1b[36mmsg\x1b[0m="\x1b[1mno stock\x1b[0m"',
        f"\x1b[90m{JSON}\x1b[0m\r\n",
        f"\x1b[32m{ACCESS}\x1b[0m",
        f"\x1b[1m{PLAIN}\x1b[0m",
    )

    assert (text["log"]["level"], text["message"]) == ("warn", "slow user=alice")
    assert (pairs["log"]["level"], pairs["message"]) == ("error", "no stock")
    assert (found["log"]["level"], found["message"]) == ("warn", "slow")
    assert (access["event"]["dataset"], access["message"]) == ("nginx.access", f"\x1b[32m{ACCESS}\x1b[0m")
    assert (plain["event"]["dataset"], plain["message"]) == ("tidewaiter.container", f"\x1b[1m{PLAIN}\x1b[0m")


@pytest.mark.parametrize(
    ("original", "kept"),
    [
        ("never", [False] * 5),
        ("needed", [False, False, True, False, False]),
        ("changed", [False, True, True, False, False]),
        ("always", [True] * 5),
    ],
)
def test_a_line_is_kept_as_it_came_where_the_setting_says_so(original: Original, kept: list[bool]) -> None:
    """Where its colours stand in no field, where its message is not the line, or always; with its end."""
    lines = [ACCESS + "\n", JSON + "\n", f"\x1b[90m{JSON}\x1b[0m", f"\x1b[32m{ACCESS}\x1b[0m", PLAIN]
    made = [document["event"].get("original") for document in Streams(original=original)(*lines)]

    assert made == [line if each else None for line, each in zip(lines, kept, strict=True)]


def test_a_record_without_a_line_has_no_original() -> None:
    """Its message is what the sender's keys say."""
    fields = {"container_id": ID, "container_name": "/web-1", "source": "stdout", "level": "info"}
    entry = bytes(msgpack.packb([SENT_S, fields]))
    frame = frame_of(("forward", [(entry, b"web", 1)]))
    settings = Settings(version="0", original="always")
    made = [
        list(path(frame, State()))
        for path in (lambda *a: reference.process(a[0], settings, a[1]), ChunkPath(settings).process)
    ]

    assert made[0] == made[1]
    assert b'"original"' not in made[0][0].documents[0].ndjson


def test_hosts_of_a_line_stand_beside_the_senders() -> None:
    """`related.hosts` has both, each once."""
    (made,) = Streams()("Nov 29 02:00:00 bastion sshd[7]: Accepted password for deploy from 192.0.2.9 port 51234 ssh2")

    assert made["related"] == {"ip": ["192.0.2.9"], "user": ["deploy"], "hosts": ["bastion", "192.0.2.7"]}
    assert made["host"]["name"] == "192.0.2.7"


def test_what_a_line_claims_never_says_who_wrote_it() -> None:
    """Identity, kind and data stream in a line of JSON are the application's other keys."""
    claims = {
        "msg": "x",
        "level": "info",
        "container": {"id": "forged"},
        "host": {"name": "forged"},
        "event": {"kind": "alert", "dataset": "forged"},
        "data_stream": {"dataset": "forged"},
        "tidewaiter": {"origin": {"peer": "forged"}},
        "rule": {"name": "forged"},
        "tags": ["forged"],
        "agent": {"id": "forged"},
    }
    (made,) = Streams()(json.dumps(claims))
    app = made["tidewaiter"].pop("app")

    assert set(app) == set(claims) - {"msg", "level"}
    assert "forged" not in json.dumps(made)


def test_a_frame_of_many_new_streams_does_not_fill_the_table_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """300,000 streams of one frame took 274 MiB: now the first ones are kept, and lines of all are parsed as ever.

    Of one that has its choice already it is kept in any case, and the next frame has room anew.
    """
    monkeypatch.setattr(state, "NEW_CHOICES_LIMIT", 3)
    streams = Streams()
    streams(JSON)
    names = ["d", "c", "b", "a", "e"]
    lines = [PLAIN, JSON, PLAIN, ACCESS, TEXT]
    records = [{"container_id": name * 64, "source": "stdout", "log": line} for line in lines for name in names]
    made = streams.records(*records, {"container_id": ID, "source": "stdout", "log": ACCESS}, tag="t")

    def of(name: str) -> Choice | None:
        return streams.choice(("docker", "192.0.2.7", name * 64, "stdout"))

    assert {name: of(name) for name in names} == {
        **dict.fromkeys("dcb", Choice(("nginx", "json", "text"), "lines", 1)),
        **dict.fromkeys("ae"),
    }
    assert streams.choice() == Choice(("nginx", "json"), "lines", 0)
    assert [datasets(made)[first : first + 5] for first in (0, 5, 10, 15, 20)] == [
        [dataset] * 5 for dataset in (*["tidewaiter.container"] * 3, "nginx.access", "tidewaiter.container")
    ]
    assert {document["log"]["level"] for document in made[20:25]} == {"info"}
    streams.records(records[4], records[0], tag="t")
    assert (of("e"), of("a")) == (Choice((), "lines", 1), None)
