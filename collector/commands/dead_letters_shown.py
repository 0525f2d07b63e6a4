"""How dead letters are shown: by output and reason with what to do, one by one, and what became of a replay."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from collector.config_values import size_text
from collector.dead_letters import PIPELINE, Letter
from collector.logs import escaped
from collector.replays import Answer

GROUPS_LIMIT: Final = 1_000
"""Reasons of one output that are told apart; further ones are told together, as `other`."""

OTHER: Final = "other"

WORDS_LIMIT: Final = 300
"""Characters of a store's words in a list; `show` has them whole."""

BYTES_SHOWN: Final = 1_024
"""Bytes of what is no document that people are shown."""

LINE_LIMIT: Final = 4_096
"""Characters of a document's line that people are shown."""

LetterOf = tuple[str, Letter]
"""A letter and whose it is: an output's name, or `pipeline`."""

MAPPING: Final = (
    "a field has another type than its data stream says: mend what sets it, or the type in the component template "
    "tidewaiter@custom, roll the data stream over (POST /{stream}/_rollover), then replay"
)

CRASHES: Final = ("crash", "hang", "memory")
"""What a record did to a worker (`pipelines.condemned`)."""

ADVICE: Final = {
    "document_parsing_exception": MAPPING,
    "mapper_parsing_exception": MAPPING,
    "strict_dynamic_mapping_exception": "the data stream takes no fields but those that it knows: run `tidewaiter "
    "setup elasticsearch`, roll the data stream over (POST /{stream}/_rollover), then replay",
    "illegal_argument_exception": "often the data stream's limit of fields: raise index.mapping.total_fields.limit, or "
    "roll it over (POST /{stream}/_rollover), then replay",
    "too_large": "Elasticsearch, or a proxy before it, takes no request of this size: raise http.max_content_length "
    "(or client_max_body_size), then replay",
    **dict.fromkeys(CRASHES, "by a fault of ours: report it with this record (`show --raw`) and the log"),
}
"""What an operator does, by the store's type of the error."""

PIPELINE_ADVICE: Final = (
    "bytes that are no record: look at what {origin} sends. They hold no document, so a replay leaves them; "
    "`show --raw` gives the bytes"
)
OTHER_ADVICE: Final = "the words are the store's own: mend the cause there, then replay"


def advice(source: str, letter: Letter) -> str:
    """Return what an operator does about a letter."""
    if source == PIPELINE and letter.code not in ADVICE:
        return PIPELINE_ADVICE.format(origin=escaped(letter.origin))
    return ADVICE.get(letter.code, OTHER_ADVICE).format(stream=letter.target or "DATA-STREAM")


class Group:
    """The letters of one source and reason."""

    def __init__(self, source: str, code: str, first: Letter) -> None:
        self.source = source
        self.code = code
        self.letters = self.records = self.bytes = self.without_document = self.tries = 0
        self.oldest = first.time
        self.newest = first

    @property
    def shown_code(self) -> str:
        """The reason's type as a terminal may show it."""
        return escaped(self.code)

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.letters += 1
        self.records += letter.records
        self.bytes += len(letter.payload) * 3 // 4
        self.without_document += letter.document_id is None
        self.tries = max(self.tries, letter.tries)
        self.oldest = min(self.oldest, letter.time)
        if letter.time >= self.newest.time:
            self.newest = letter

    def object(self) -> dict[str, Any]:
        """Return what programs are told."""
        newest = self.newest
        return {
            "output": self.source,
            "reason": self.code,
            "letters": self.letters,
            "records": self.records,
            "bytes": self.bytes,
            "oldest": self.oldest,
            "newest": newest.time,
            "tries": self.tries,
            "example": {"id": newest.id, "stream": newest.target, "origin": newest.origin, "words": newest.reason},
            "advice": advice(self.source, newest),
        }


class Groups:
    """Letters by source and reason, the most frequent first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self.count = 0

    def add(self, source: str, letter: Letter) -> None:
        """Count a letter."""
        key = source, letter.code
        if key not in self._groups and len(self._groups) >= GROUPS_LIMIT:
            key = source, OTHER
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key, letter)
        group.add(letter)
        self.count += 1

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups."""
        return iter(sorted(self._groups.values(), key=lambda group: (group.source, -group.letters, group.code)))


def show_groups(groups: Groups) -> None:
    """Print the list for people."""
    from rich.console import Console  # for people only
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    if not groups.count:
        console.print("No dead letters.", style="dim")
        return
    source = ""
    for group in groups:
        if group.source != source:
            source = group.source
            all_of = [each for each in groups if each.source == source]
            size = size_text(sum(each.bytes for each in all_of))
            console.print(Text(f"{source}: {_counted(sum(each.letters for each in all_of), 'letter')}, {size}", "bold"))
        newest = group.newest
        line = Text("  ").append(f"{group.letters:,} of {group.shown_code}", style="red")
        line.append(
            f"  {_time(group.oldest)} to {_time(newest.time)}" if group.letters > 1 else f"  {_time(newest.time)}"
        )
        console.print(line.append(f", offered up to {group.tries} times" if group.tries > 1 else ""))
        target = f" for {escaped(newest.target)}" if newest.target else ""
        for name, text in (
            ("newest", escaped(newest.id) + target),
            ("words", escaped(newest.reason, limit=WORDS_LIMIT)),
            ("to do", advice(source, newest)),
        ):
            if text:
                console.print(Text(f"    {name:8}", style="dim").append(text, style="not dim"))
    console.print()
    console.print(
        "A letter whole: tidewaiter dead-letters show ID. The cause mended: tidewaiter dead-letters replay --help"
    )


def letter_object(source: str, letter: Letter) -> dict[str, Any]:
    """Return a letter as programs are shown it: with its document, or with its bytes in Base64."""
    shown: dict[str, Any] = {
        "id": letter.id,
        "output": source,
        "stream": letter.target,
        "reason": letter.code,
        "words": letter.reason,
        "time": letter.time,
        "tries": letter.tries,
        "tried": letter.tried,
        "stage": letter.stage,
        "origin": letter.origin,
        "position": letter.position._asdict(),
        "records": letter.records,
        "document_id": letter.document_id,
    }
    if letter.document_id is not None and _is_json(letter):
        return {**shown, "document": msgspec.Raw(letter.payload_bytes)}
    return {**shown, "payload": letter.payload}


def _is_json(letter: Letter) -> bool:
    try:
        msgspec.json.decode(letter.payload_bytes)
    except (ValueError, RecursionError):
        return False
    return True


def show_letters(letters: Iterable[LetterOf]) -> int:
    """Print letters for people; return how many."""
    from rich.console import Console  # for people only
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    count = 0
    for source, letter in letters:
        count += 1
        console.print(Text(escaped(letter.id), style="bold"))
        position = letter.position
        for name, text in (
            ("output", source),
            ("for", letter.target),
            ("reason", letter.code),
            ("words", letter.reason),
            ("arrived", letter.time),
            ("from", letter.origin if source == PIPELINE else ""),
            ("record", f"epoch {position.epoch}, sequence {position.sequence}, record {position.record}"),
            ("holds", f"{letter.records:,} records" if letter.records > 1 else ""),
            ("document", letter.document_id or ""),
            ("offered", f"{letter.tries} times, last {letter.tried}" if letter.tried else ""),
            ("to do", advice(source, letter)),
        ):
            if text:
                console.print(Text(f"  {name:9}", style="dim").append(escaped(text), style="not dim"))
        for line in _content_lines(letter):
            console.print(Text(f"    {line}"))
    return count


def _content_lines(letter: Letter) -> Iterator[str]:
    """Yield the document indented, or the beginning of the bytes, as a terminal may show it."""
    try:
        content = letter.payload_bytes
    except ValueError:
        yield "its bytes are damaged: no Base64"
        return
    if letter.document_id is not None and _is_json(letter):
        for line in msgspec.json.format(content, indent=2).decode(errors="replace").split("\n"):
            yield escaped(line, limit=LINE_LIMIT)
        return
    yield repr(content[:BYTES_SHOWN])[2:-1]
    if len(content) > BYTES_SHOWN:
        yield f"… {len(content) - BYTES_SHOWN:,} more bytes: show --raw"


def answer_lines(answer: Answer) -> Iterator[str]:
    """Yield what became of a replay, for people."""
    for group in answer.groups:
        told = [
            f"{count:,} {words}"
            for count, words in (
                (group.stored, "stored"),
                (group.refused, "refused again"),
                (group.waiting, "not delivered yet"),
                (group.unsent, "without a document that could be offered"),
            )
            if count
        ]
        yield f"{escaped(group.source)}: {escaped(group.code)}: {', '.join(told)}"
        if group.refused:
            yield f"    {escaped(group.reason, limit=WORDS_LIMIT)}"
    for problem in answer.problems:
        yield f"not all: {escaped(problem)}"
    stored = answer.total("stored")
    stay = "stays a dead letter" if answer.left == 1 else "stay dead letters"
    yield f"{stored:,} stored, {answer.left:,} {stay}" if answer.left else f"All are stored: {stored:,}."


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _time(text: str) -> str:
    return escaped(text[:19].replace("T", " ")) + "Z"
