"""A field that the mapping refuses is moved aside; nothing else of the document changes."""

import pytest

from collector.outputs.elasticsearch_conflicts import FIELDS_LIMIT, field_of, moved_aside

EVENT = b'{"event":{"id":"1","duration":"long"}'


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        (
            "[1:23] failed to parse field [http.response.status_code] of type [long] in document with id 'x'. "
            "Preview of field's value: 'failed to parse field [event.id] of type [long]'",
            "http.response.status_code",
        ),
        ("[1:2] object mapping for [host] tried to parse field [host] as object, but found a concrete value", "host"),
        ("mapper [a.b] cannot be changed from type [long] to [text]", "a.b"),
        ("failed to parse; Existing mapping for [a] must be of type object but found [keyword].", "a"),
        ('Document contains at least one immense term in field="message" (whose UTF8 encoding …)', "message"),
        ("Limit of total fields [1000] has been exceeded", None),
        ("", None),
    ],
)
def test_the_field_is_the_one_that_the_reason_names(reason: str, field: str | None) -> None:
    """Not one that a document's own words name."""
    assert field == field_of(reason)


@pytest.mark.parametrize(
    ("rest", "field", "after", "aside"),
    [
        (b',"n":"x"', "n", b"", b'"n":"x"'),
        (b',"n":{"a":[1,2.0]}', "n", b"", b'"n":"{\\"a\\":[1,2.0]}"'),
        (b',"a":{"b":1e5,"c":2}', "a.b", b',"a":{"c":2}', b'"a.b":"1e5"'),
        (b',"a":{"b.c":-0}', "a.b.c", b',"a":{}', b'"a.b.c":"-0"'),
        (b',"m":"x"', "m.text", b"", b'"m.text":"x"'),
        (b',"a":[{"b":1}]', "a.b", b"", b'"a.b":"[{\\"b\\":1}]"'),
        (b',"big":123456789012345678901234567890,"n":1', "n", b',"big":123456789012345678901234567890', b'"n":"1"'),
    ],
)
def test_a_value_is_moved_aside_as_text(rest: bytes, field: str, after: bytes, aside: bytes) -> None:
    """Numbers keep every digit, and all other bytes are as they were."""
    made = moved_aside(EVENT + rest + b"}", field)

    assert EVENT + after + b',"tidewaiter":{"invalid":{' + aside + b'}},"tags":["_mapping_conflict"]}' == made


def test_what_the_document_has_already_is_kept() -> None:
    """Its tags, its own fields, and what was moved aside before; it is tagged once."""
    document = EVENT + b',"n":1,"m":2,"tags":["x"],"tidewaiter":{"tag":"t"}}'
    first = moved_aside(document, "n")
    assert first is not None

    assert moved_aside(first, "m") == EVENT + (
        b',"tags":["x","_mapping_conflict"],"tidewaiter":{"tag":"t","invalid":{"n":"1","m":"2"}}}'
    )


@pytest.mark.parametrize(
    "field",
    ["event", "event.id", "@timestamp", "data_stream", "data_stream.type", "tidewaiter", "tidewaiter.invalid", "gone"],
)
def test_what_makes_the_document_ours_is_never_moved(field: str) -> None:
    """Nor what is not there: such a document is refused for good."""
    document = EVENT + b',"@timestamp":"t","data_stream":{"type":"logs"},"tidewaiter":{"invalid":{"n":"1"}}}'

    assert moved_aside(document, field) is None


def test_no_document_loses_field_after_field() -> None:
    """After a few it is refused."""
    names = [f"f{number}" for number in range(FIELDS_LIMIT + 1)]
    document = EVENT + "".join(f',"{name}":1' for name in names).encode() + b"}"
    for name in names[:-1]:
        made = moved_aside(document, name)
        assert made is not None
        document = made

    assert moved_aside(document, names[-1]) is None
