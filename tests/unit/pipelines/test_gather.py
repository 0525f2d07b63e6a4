"""Lines that belong together become one document: traces and audit events, by both paths, with books that balance."""

import json
from typing import Any, Final

import pytest

from pipelines import gather, reference
from pipelines.batch import Batch, Tally
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame, Origin
from pipelines.gather import CUT
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from pipelines.state import STEP_NS, State
from tests.kit.frames import ORIGIN
from tests.kit.metadata import Told, container_message, line_of, of_engine
from tests.kit.pieces import CONTAINERS, docker_pieces, frames_of, packed

THROWN: Final = "java.lang.IllegalStateException: none left"
FRAMES: Final = ["\tat a.B.c(B.java:1)", "\tat a.B.d(B.java:2)"]
TRACE: Final = [THROWN, *FRAMES]
CALL: Final = "type=SYSCALL msg=audit(1700000000.123:501): arch=c000003e syscall=59 success=yes pid=7 uid=0"
ARGUMENTS: Final = 'type=EXECVE msg=audit(1700000000.123:501): argc=2 a0="ls" a1="-l"'
TITLE: Final = 'type=PROCTITLE msg=audit(1700000000.123:501): proctitle="ls"'
END: Final = "type=EOE msg=audit(1700000000.123:501): "
OTHER_CALL: Final = CALL.replace(":501", ":502")
LOGIN: Final = (
    "type=USER_AUTH msg=audit(1700000000.125:503): pid=9 uid=0 auid=1000 msg='op=x acct=\"root\" res=success'"
)


def record(line: str, container: str = CONTAINERS[0], stream: str = "stdout", **more: str) -> dict[str, Any]:
    """What Docker's driver sends of a line."""
    return {"container_id": container, "container_name": "/web", "source": stream, "log": line, **more}


class Worker:
    """Both paths at once, with states that live on; `made` are the documents, `tally` what all frames counted."""

    def __init__(self, *rules: ParserRule) -> None:
        self.settings = Settings(version="0", parsers=rules)
        self.states = State(), State()
        self._chunk = ChunkPath(self.settings)
        self._frames = 0
        self.tallies: list[Tally] = []

    def __call__(self, *records: dict[str, Any], after_ns: int = 1_000_000, origin: Origin = ORIGIN) -> list[Any]:
        """Let a frame of these records come; return its documents in the order of the journal."""
        self._time = getattr(self, "_time", 0) + after_ns
        (frame,) = frames_of([[packed(each) for each in records]], origin=origin)
        self._frames += 1
        return self.take(_at(frame, self._frames, self._time))

    def take(self, frame: Frame) -> list[Any]:
        """Let a frame come."""
        plain, fast = self.states
        for state in self.states:
            state.mark()
        batches = list(reference.process(frame, self.settings, plain))
        assert batches == list(self._chunk.process(frame, fast))
        assert plain.encode() == fast.encode()
        for tally in (batch.tally for batch in batches):
            settled = tally.documents + tally.dead + tally.control + tally.joined
            assert tally.records + tally.taken_up == settled + tally.parked
            self.tallies.append(tally)
        return documents(batches)

    def wait(self) -> list[Any]:
        """Let nothing come for as long as anything waits."""
        made = []
        for _ in range(gather.WAIT_NS // STEP_NS + 1):
            made += self(after_ns=STEP_NS)
        assert not self.states[0].is_open
        return made

    def lines(self, *lines: str, **more: str) -> list[Any]:
        """Let lines of one stream come in one frame, and the messages of the documents be what is told."""
        return messages(self(*(record(line, **more) for line in lines)))


def _at(frame: Frame, sequence: int, after_ns: int) -> Frame:
    return Frame(
        frame.journal,
        frame.partition,
        frame.epoch,
        sequence,
        frame.journal_time + after_ns,
        frame.origins,
        frame.messages,
        frame.runs,
        frame.payload,
    )


def documents(batches: list[Batch]) -> list[Any]:
    """All documents, in the order of their lines."""
    made = [json.loads(line) for batch in batches for part in batch.documents for line in part.ndjson.splitlines()]
    return sorted(made, key=lambda document: int(document["event"]["sequence"]))


def messages(made: list[Any]) -> list[str]:
    """What documents say."""
    return [document["message"] for document in made]


@pytest.fixture
def worker() -> Worker:
    """One with nothing in its state."""
    return Worker()


def test_a_trace_is_one_document_of_its_first_line(worker: Worker) -> None:
    """Its position, id and time are those of the first line; what follows it ends it at once."""
    assert worker(record("started"), record(THROWN)) != []
    assert worker(*map(record, FRAMES)) == []
    made = worker(record("done"))

    assert ["\n".join(TRACE), "done"] == messages(made)
    assert (1, 2) == (int(made[0]["event"]["sequence"]) % 10**8, int(made[0]["event"]["sequence"]) // 10**8)
    assert {"message": "none left", "stack_trace": "\n".join(TRACE), "type": "java.lang.IllegalStateException"} == (
        made[0]["error"]
    )
    assert made[0]["log"] == {"level": "error"}
    assert (2, 3, 3) == tuple(sum(getattr(t, n) for t in worker.tallies) for n in ("joined", "parked", "taken_up"))


def test_a_trace_in_colours_is_kept_as_it_came(worker: Worker) -> None:
    """In its message, as a line in colours is; what is said of the error has none."""
    coloured = [f"\x1b[31m{line}\x1b[0m" for line in TRACE]

    made = worker(*[record(f"{line}\r\n") for line in coloured], record("done"))

    assert "\n".join(coloured) == made[0]["message"]
    assert "\n".join(TRACE) == made[0]["error"]["stack_trace"]
    assert "original" not in made[0]["event"]


def test_a_trace_without_an_end_goes_out_after_the_wait(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stated journal time after its last line; nothing that came is missing."""
    monkeypatch.setattr(gather, "WAIT_NS", 2 * STEP_NS)
    assert worker.lines(*TRACE) == []
    assert worker(after_ns=STEP_NS) == []
    assert worker.lines("\tat a.B.e(B.java:3)") == []
    assert worker(after_ns=STEP_NS) == []

    assert ["\n".join([*TRACE, "\tat a.B.e(B.java:3)"])] == messages(worker(after_ns=STEP_NS))
    assert not worker.states[0].is_open


def test_further_lines_of_a_message_belong_to_their_error(worker: Worker) -> None:
    """They look like any others, and made three documents of one error: the frames behind them tell."""
    lines = [THROWN, "customer is missing", "", "address is missing", *FRAMES]
    assert worker.lines(*lines[:3]) == []
    (made,) = worker(*map(record, [*lines[3:], '{"level":"info","msg":"done"}']))[:1]

    assert made["message"] == "\n".join(lines)
    assert made["error"]["message"] == "none left\ncustomer is missing\n\naddress is missing"
    assert [(tally.parked, tally.taken_up, tally.joined) for tally in worker.tallies] == [(3, 0, 0), (3, 6, 5)]


def test_lines_behind_an_error_without_frames_are_lines_by_themselves(worker: Worker) -> None:
    """Each has its own position; they go out after the wait, or before what shows that they are no message."""
    assert worker(*map(record, [THROWN, "one", "two"])) == []
    made = worker.wait()
    then = worker(*map(record, [THROWN, "three", '{"level":"info","msg":"done"}']))

    assert messages(made) == [THROWN, "one", "two"]
    assert [int(each["event"]["sequence"]) % 10**8 for each in made] == [0, 1, 2]
    assert messages(then) == [THROWN, "three", "done"]
    assert all("error" not in each for each in [*made, *then])
    assert not worker.states[0].is_open


@pytest.mark.parametrize("limit", ["HELD_LIMIT", "HELD_BYTES"])
def test_what_is_held_behind_an_error_is_bounded(worker: Worker, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """In lines and in bytes; with what has no room it is clear that it is no message."""
    monkeypatch.setattr(gather, limit, 2 if limit == "HELD_LIMIT" else 1500)
    text = "a line that looks like any other".ljust(400, ".")
    made = worker.lines(THROWN, text, text, text, *FRAMES)
    rest = messages(worker.wait())

    assert made == [THROWN, text, text, text]
    assert rest == ["\n".join(FRAMES)]


def test_a_line_that_waited_in_vain_is_as_if_it_had_not(worker: Worker) -> None:
    """A beginning without a trace behind it: the same document, in its place."""
    line = "2026-11-29 02:00:00,250 ERROR failed: SomeError: x"
    then = '{"level":"info","msg":"next"}'
    waited = worker(record(line), record(then))
    worker.wait()
    at_once = Worker(ParserRule(multiline=False))(record(line), record(then))

    assert at_once == waited
    assert "error" not in waited[0]


def test_a_log_line_before_a_trace_stays_a_document(worker: Worker) -> None:
    """The trace behind it is one of its own."""
    made = worker.lines("2026-11-29 02:00:00,250 ERROR failed", *TRACE, "done")

    assert ["failed", "\n".join(TRACE), "done"] == made


def test_a_log_line_that_begins_a_trace_keeps_its_fields(worker: Worker) -> None:
    """What stood before it is parsed as ever; level and logger are its own."""
    (made,) = worker(
        *map(record, [f"2026-11-29 02:00:00.250 [main] WARN  c.e.Cart - no: {THROWN}", *FRAMES]), record('{"a":1}')
    )[:1]

    assert made["message"] == "\n".join([f"no: {THROWN}", *FRAMES])
    assert made["error"]["stack_trace"] == "\n".join(TRACE)
    assert (made["log"], made["error"]["message"]) == ({"level": "warn", "logger": "c.e.Cart"}, "none left")


def test_streams_containers_senders_and_fields_are_apart(worker: Worker) -> None:
    """Lines in between end no trace, wherever they come from, and go on with none."""
    assert worker(record(THROWN)) == []
    other = Origin("docker", "tcp", "192.0.2.8")
    made = [
        *worker(record("\tat x.Y.z(Y.java:1)", container=CONTAINERS[1])),
        *worker(record("between", stream="stderr")),
        *worker(record("\tat x.Y.z(Y.java:1)", level="info")),
        *worker(record("between"), origin=other),
    ]
    assert ["between", "between"] == messages(made)
    assert worker(*map(record, FRAMES)) == []
    assert "\n".join(TRACE) in messages(worker.wait())


def test_fields_beside_the_line_may_come_in_any_order(worker: Worker) -> None:
    """Docker's driver shuffles them."""
    first, second = record(THROWN), record(FRAMES[0])
    assert worker(first, dict(reversed(second.items()))) == []

    assert ["\n".join(TRACE[:2]), "done"] == worker.lines("done")


def test_json_and_formats_with_marks_of_their_own_begin_no_trace(worker: Worker) -> None:
    """A client of nginx cannot make its line wait."""
    access = '192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET /?a=Error: HTTP/1.1" 200 5 "-" "SomeError: x"'
    made = worker.lines('{"level":"error","err":"SomeError: x"}', access)

    assert 2 == len(made)
    assert not worker.states[0].is_open


def test_a_trace_inside_one_line_is_not_touched(worker: Worker) -> None:
    """What a JSON logger says of a trace stays where it is."""
    (made,) = worker(record(json.dumps({"level": "error", "msg": "failed", "stack_trace": "\n".join(TRACE)})))

    assert ("failed", "\n".join(TRACE)) == (made["message"], made["error"]["stack_trace"])


def test_a_label_switches_it_off(worker: Worker) -> None:
    """Each line is a document of its own."""
    assert TRACE == worker.lines(*TRACE, **{"tidewaiter.multiline": "off"})
    assert [CALL, TITLE] == worker.lines(CALL, TITLE, **{"tidewaiter.multiline": "off"})


def test_a_rule_switches_it_off_and_a_label_on_again() -> None:
    """The first rule that says something of it decides, and says nothing of the parser."""
    worker = Worker(ParserRule("none", name="w*"), ParserRule(name="web", multiline=False), ParserRule(multiline=True))

    assert TRACE == worker.lines(*TRACE)
    assert [] == worker.lines(*TRACE, **{"tidewaiter.multiline": "on"})


def test_a_trace_is_no_failure_of_the_parser_that_was_asked_for() -> None:
    """A stream of JSON, by its label; what is no trace is tagged as ever."""
    worker = Worker(ParserRule("json"))
    made = worker(record('{"level":"info"}'), *map(record, TRACE), record("plain"))

    assert [None, None, ["_parse_failure"]] == [document.get("tags") for document in made]
    assert {("json", "parsed"): 1, ("stack_trace", "parsed"): 1, ("json", "failed"): 1} == worker.tallies[0].lines


def test_a_line_that_only_an_asked_parser_takes_begins_a_trace_on_both_paths(worker: Worker) -> None:
    """What a format takes by its marks begins none; one that was asked for takes lines without them."""
    line = f"2026-11-29T02:00:02Z WRN no caller {THROWN}"

    assert [] == worker(record(line, **{"tidewaiter.parser": "traefik"}))
    made = worker(
        record(FRAMES[0], **{"tidewaiter.parser": "traefik"}), record("done", **{"tidewaiter.parser": "none"})
    )
    made += worker(record("2026-11-29T02:00:03Z INF done", **{"tidewaiter.parser": "traefik"}))

    assert made[1]["error"]["stack_trace"] == f"{THROWN}\n{FRAMES[0]}"


def test_a_trace_that_is_too_long_goes_out_in_parts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them tagged; no line is lost."""
    monkeypatch.setattr(gather, "LINES_LIMIT", 2)
    made = worker(*map(record, [*TRACE, FRAMES[0], FRAMES[1], "done"]))

    assert ["\n".join(TRACE[:2]), "\n".join([FRAMES[1], FRAMES[0]]), FRAMES[1], "done"] == messages(made)
    assert [[CUT], [CUT], [CUT], None] == [document.get("tags") for document in made]


def test_a_trace_of_too_many_bytes_goes_out_in_parts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted with what joins the lines."""
    monkeypatch.setattr(gather, "TRACE_BYTES_LIMIT", len("\n".join(TRACE).encode()))
    assert worker.lines(*TRACE) == []

    assert ["\n".join(TRACE)] == worker.lines(FRAMES[0])
    assert [FRAMES[0]] == messages(worker.wait())


def test_what_has_no_room_goes_out_as_it_is(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that waited longest first."""
    for state in worker.states:
        monkeypatch.setattr(state.events, "_limit", 1)
    assert worker(*map(record, TRACE)) == []

    assert ["\n".join(TRACE)] == messages(worker(record(THROWN, container=CONTAINERS[1])))


def test_records_of_an_audit_event_are_one_document(worker: Worker) -> None:
    """Whatever comes in between: another event's, a line of another kind; the title ends it."""
    made = worker.lines(CALL, OTHER_CALL, ARGUMENTS, "plain", LOGIN, TITLE, END)

    assert ["\n".join([CALL, ARGUMENTS, TITLE]), "plain", LOGIN] == made
    assert [OTHER_CALL] == messages(worker.wait())
    assert 1 == worker.tallies[0].control


def test_an_audit_event_says_it_together(worker: Worker) -> None:
    """Who, what, with which arguments; its data stream is auditd's."""
    (made,) = worker(*map(record, [CALL, ARGUMENTS, TITLE]))

    assert ("auditd.log", "executed", "ls -l", "ls") == (
        made["data_stream"]["dataset"],
        made["event"]["action"],
        made["process"]["command_line"],
        made["process"]["title"],
    )
    assert ("2023-11-14T22:13:20.123000000Z", "SYSCALL") == (made["@timestamp"], made["event"]["code"])


def test_an_end_mark_that_says_something_is_kept(worker: Worker) -> None:
    """Only an empty one is settled by being read."""
    assert [END + "x=1"] == worker.lines(END, END + "x=1")


def test_an_audit_record_within_other_text_joins_no_event(worker: Worker) -> None:
    """A client's name for itself is not the kernel's word."""
    forged = f"Nov 29 02:00:00 web1 sshd[7]: Invalid user kernel: {ARGUMENTS} from 192.0.2.7 port 5"

    plain = f"a client of the name of kernel: {ARGUMENTS}"

    assert [forged.partition("]: ")[2], plain] == worker.lines(CALL, forged, plain)
    assert [CALL] == messages(worker.wait())


def test_what_waits_survives_the_worker() -> None:
    """A state that is written down and read again goes on with the same bytes."""
    whole, cut = Worker(), Worker()
    lines = [*TRACE, "between", CALL, OTHER_CALL, ARGUMENTS, *TRACE, TITLE, "done"]
    for line in lines:
        expected = whole(record(line))
        made = cut(record(line))
        assert expected == made
        for state in cut.states:
            encoded = state.encode()
            state.load(encoded, settings_changed=False)
            assert encoded == state.encode()


def test_what_is_open_ends_as_it_began_where_it_was_switched_off_meanwhile(worker: Worker) -> None:
    """No line that waits is torn from its trace by a reload; the next trace is not put together any more."""
    assert worker(record(THROWN)) == []
    changed = Worker(ParserRule(multiline=False))
    for state in changed.states:
        state.load(worker.states[0].encode(), settings_changed=True)

    assert ["\n".join(TRACE), THROWN, FRAMES[0]] == changed.lines(*FRAMES, THROWN, FRAMES[0])


def test_a_long_line_that_came_in_pieces_is_of_the_trace(worker: Worker) -> None:
    """The error of a Python trace with 40 KiB of text was a document of its own, and the trace had no error."""
    error = f"ValueError: {'x' * 40_000}"
    lines = ["Traceback (most recent call last):", '  File "/a.py", line 3, in f', error]
    pieces = docker_pieces(error.encode(), 16_384)
    assert worker(*map(record, lines[:2]), *pieces[:2]) == []
    trace, _ = worker(*pieces[2:], record('{"level":"info","msg":"done"}'))

    assert trace["message"] == "\n".join(lines)
    assert (trace["error"]["type"], len(trace["error"]["message"])) == ("ValueError", 40_000)
    assert [(tally.parked, tally.taken_up, tally.joined) for tally in worker.tallies] == [(4, 0, 0), (1, 5, 4)]
    assert not worker.states[0].is_open


def test_a_long_line_that_ends_a_trace_is_of_it(worker: Worker) -> None:
    """At once, and with those that were held: nothing of it waits any more."""
    end = f"note: run with {'x' * 40_000}"
    lines = ["thread 'main' panicked at src/main.rs:3:5:", "first", "second", end]
    (trace,) = worker(*map(record, lines[:3]), *docker_pieces(end.encode(), 16_384))

    assert trace["message"] == "\n".join(lines)
    assert [(tally.parked, tally.taken_up, tally.joined) for tally in worker.tallies] == [(5, 5, 5)]
    assert not worker.states[0].is_open


@pytest.mark.parametrize("size", [40_000, 300_000])
def test_a_long_line_that_is_of_no_trace_stands_alone(worker: Worker, size: int) -> None:
    """Since it does not go on with it, or is too long to."""
    line = ("an ordinary line " if size < 100_000 else "\tat a.B.c(").ljust(size, "x")
    made = worker(*map(record, TRACE), *docker_pieces(line.encode(), 16_384), record('{"level":"info","msg":"done"}'))

    assert sorted(messages(made), key=len) == ["done", "\n".join(TRACE), line]


def test_a_label_is_heeded_from_when_it_is_known_on() -> None:
    """Whether a container's lines are put together is not asked at each line, but anew when it is another container."""
    told = Told()
    begin = line_of(CONTAINERS[0], THROWN)
    labels = {"Labels": {"tidewaiter.multiline": "off"}, "Image": "acme/web:1.2"}
    told.frame(of_engine(container_message(CONTAINERS[0])))
    first = told.frame(begin), told.frame(begin)
    told.frame(of_engine(container_message(CONTAINERS[0], Config=labels)))
    then = told.frame(begin), told.frame(begin)

    assert [len(made) for made in first] == [0, 1]
    assert [len(made) for made in then] == [2, 1]
    assert not told.pipeline.state.is_open
    told.frame(of_engine(container_message(CONTAINERS[0])))
    assert told.frame(begin) == []
