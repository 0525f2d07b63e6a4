"""Rule files become rules; what is wrong is told with its place, and stops only itself."""

import msgspec
import orjson
import pytest

from pipelines.detect.documents import SIZE_LIMIT
from pipelines.detect.load import load
from pipelines.detect.rule import LogSource, RuleSet
from pipelines.detect.tables import SOURCES
from tests.kit.rules import fires, loaded

GOOD = """\
title: Somebody asks who they are
id: 929a690e-bef0-4204-a928-ef5e620d6fcc
name: whoami
status: test
description: A sentence.
author: A. Author
date: 2026-01-02
references: ["https://example.com/"]
tags: [attack.t1033, attack.discovery]
falsepositives: [Administrators]
related: [{id: 08fbc97d-0a2f-491c-ae21-8ffcfd3174e9, type: derived}]
level: high
logsource: {category: process_creation, product: linux}
detection:
  selection:
    CommandLine|contains: whoami
  condition: selection
"""


def said(made: RuleSet) -> list[str]:
    """Return the sentences of problems, with their places."""
    return [str(problem) for problem in made.problems]


def test_a_rule_has_what_it_was_published_with() -> None:
    """Id, name, author, level, status, tags, references, relations: what an alert is to name."""
    (rule,) = loaded(GOOD, SOURCES).rules

    assert rule.key == "929a690e-bef0-4204-a928-ef5e620d6fcc"
    assert ("whoami", "high", "test", "A. Author", "2026-01-02") == (
        rule.name, rule.level, rule.status, rule.author, rule.date
    )  # fmt: skip
    assert ("attack.t1033", "attack.discovery") == rule.tags
    assert [("08fbc97d-0a2f-491c-ae21-8ffcfd3174e9", "derived")] == [(each.id, each.type) for each in rule.related]
    assert rule.never is None


def test_a_set_is_data_that_can_be_written_down() -> None:
    """What is encoded and decoded is the same set: it may be cached and loaded without pySigma."""
    made = loaded(GOOD, SOURCES)

    assert made == msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=RuleSet)


BROKEN = (
    ("title: [", "2:1", "no YAML"),
    ("a: \tb: c", "1:6", "no YAML"),
    ("- a list", "1:1", "a rule is a mapping"),
    (GOOD.replace("level: high", "level: hihg"), "12:1", "'hihg' is not a valid Sigma rule level"),
    (GOOD.replace("status: test", "status: tested"), "4:1", "status"),
    (GOOD.replace("id: 929a690e-bef0-4204-a928-ef5e620d6fcc", "id: seven"), "2:1", "must be an UUID"),
    (GOOD.replace("title: Somebody asks who they are", "level: low"), "12:1", "stands here twice"),
    (GOOD.replace("logsource: {category", "logsauce: {category"), "1:1", "must have a log source"),
    (GOOD.replace("CommandLine|contains: whoami", "CommandLine|contians: whoami"), "16:5", "is contains meant?"),
    (GOOD.replace("CommandLine|contains: whoami", "Image|cidr: 192.0.2.1/24"), "16:5", "CIDR"),
    (GOOD.replace("CommandLine|contains: whoami", "Image|re: '(a)\\1'"), "16:5", "is invalid"),
    (GOOD.replace("CommandLine|contains: whoami", "Image|re: '(?=a)'"), "16:5", "is invalid"),
    (GOOD.replace("CommandLine|contains: whoami", "Image: {a: b}"), "16:5", "Unsupported type"),
    (GOOD.replace("CommandLine|contains: whoami", "Image|gt: x"), "16:5", "incompatible"),
    (GOOD.replace("condition: selection", "condition: selektion"), "17:3", "'selektion'"),
    (GOOD.replace("condition: selection", "condition: selection and"), "17:27", "ends too early"),
    (GOOD.replace("condition: selection", "condition: 2 of selection*"), "17:16", "from 'of' on"),
    (GOOD.replace("condition: selection", "condition: 1 of filter*"), "17:3", "filter*"),
    (GOOD.replace("condition: selection", "condition: selection | count() > 5"), "17:3", "deprecated"),
    (GOOD.replace("  condition: selection\n", ""), "14:1", "condition"),
    (GOOD[: GOOD.index("detection:")], "1:1", "detection"),
    (GOOD.replace("CommandLine|contains: whoami", "{}"), "15:3", "empty"),
    (GOOD.replace("    CommandLine|contains: whoami", "    - ''"), "15:3", "keyword without any character"),
    (GOOD + "action: often\n", "18:1", "'often' is not known"),
    (GOOD + "action: 0x" + "f" * 5000 + "\n", "18:1", "an action is a word"),
    ("title: !!bool maybe\n", "1:1", "a value cannot be read: KeyError"),
    ("title: !!int ''\n", "1:1", "a value cannot be read: IndexError"),
    ("title: !!timestamp soon\n", "1:1", "a value cannot be read: AttributeError"),
    ("title: " + "1:" * 400 + "1.5\n", "1:1", "a value cannot be read: OverflowError"),
    (GOOD.replace("A sentence.", "A \udcff"), "5:16", "not valid UTF-8"),
    (GOOD.replace("A sentence.", r'"\ud800"'), "5:17", "no YAML"),
)


@pytest.mark.parametrize(("text", "place", "words"), BROKEN, ids=[words for _, _, words in BROKEN])
def test_a_mistake_is_told_with_its_place(text: str, place: str, words: str) -> None:
    """File, line and column, and a sentence; other files load."""
    good = GOOD.replace("929a", "829a").replace("name: whoami", "name: good")
    made = load([("bad.yml", text), ("good.yml", good)])

    (problem,) = said(made)
    assert problem.startswith(f"bad.yml:{place}: ")
    assert words in problem
    assert ["good"] == [rule.name for rule in made.rules]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("    f: 100000000000000000000", "16:5"),
        ("    f: -9223372036854775809", "16:5"),
        ("    f: 9007199254740993", "16:5"),
        ("    f: 1.0e+20", "16:5"),
        ("    f: [1, 100000000000000000000]", "16:5"),
        ("    f|minute: 100000000000000000000", "16:5"),
        ("    - 100000000000000000000", "15:3"),
    ],
)
def test_a_number_that_cannot_be_compared_exactly_is_refused(line: str, place: str) -> None:
    """Beyond 64 bits, or rounded by pySigma, it would equal none of the numbers that its author meant."""
    good = GOOD.replace("929a", "829a").replace("name: whoami", "name: good")
    made = load([("bad.yml", GOOD.replace("    CommandLine|contains: whoami", line)), ("good.yml", good)])

    (problem,) = said(made)
    assert problem.startswith(f"bad.yml:{place}: ")
    assert "is too large to be compared exactly" in problem
    assert ["good"] == [rule.name for rule in made.rules]


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775808", "9007199254740992", "0.5"])
def test_a_number_of_64_bits_is_compared(number: str) -> None:
    """As an integer to its last digit; a larger one in quotation marks, or as a limit, is no mistake."""
    (rule,) = loaded(GOOD.replace("CommandLine|contains: whoami", f"f: {number}")).rules

    assert fires(rule, {"f": orjson.loads(number)})
    assert fires(rule, {"f": number})


def test_a_limit_beyond_64_bits_is_compared_and_can_be_written_down() -> None:
    """As a float, which is what a document holds of such a number."""
    made = loaded(GOOD.replace("CommandLine|contains: whoami", "f|gt: 100000000000000000000"))

    assert made == msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=RuleSet)
    assert fires(made.rules[0], {"f": 1e21})
    assert not fires(made.rules[0], {"f": 1e19})


def test_one_broken_document_of_a_file_stops_only_itself() -> None:
    """What stands before and behind it in the same file is loaded."""
    other = GOOD.replace("929a690e", "929a690f").replace("name: whoami", "name: other")
    made = loaded("---\n".join((GOOD, GOOD.replace("high", "hihg").replace("929a", "829a"), other)))

    assert ["whoami", "other"] == [rule.name for rule in made.rules]
    assert ["rule.yml:30:1: 'hihg' is not a valid Sigma rule level"] == said(made)


def test_a_value_that_cannot_be_read_leaves_nothing_to_the_next_document() -> None:
    """What PyYAML had begun when it failed was gone on with in the document behind it, and failed that as well."""
    made = loaded("a: {b: !!bool maybe}\nc: !!bool perhaps\n---\n" + GOOD)

    assert ["whoami"] == [rule.name for rule in made.rules]
    assert ["rule.yml:1:1: a value cannot be read: KeyError: 'perhaps'"] == said(made)


def test_a_rule_that_is_there_twice_is_loaded_once() -> None:
    """The second one's place and the first one's are named."""
    made = load([("one.yml", GOOD), ("two.yml", GOOD)])

    assert ["two.yml:2:1: the rule 929a690e-bef0-4204-a928-ef5e620d6fcc is already at one.yml:1:1"] == said(made)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
        "a: &a\n  b: *a\n",
        "a: &a\n  <<: *a\n",
        "b0: &b0 {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}]}}\n" for n in range(1, 10)),
        "[" * 100_000,
        "a: " + "{a: " * 5000,
        "title: " + "x" * SIZE_LIMIT,
        "title: !!python/object/apply:os.system [id]\n",
        "title: \x00\n",
        "? [a]\n: b\n",
        "title: 2026-99-99\n",
        GOOD.replace("selection\n", "(" * 3000 + "selection" + ")" * 3000 + "\n", 2),
        GOOD.replace("condition: selection", "condition: {a: b}"),
        GOOD.replace("condition: selection", "condition: [selection, [selection]]"),
        GOOD.replace("logsource: {category: process_creation, product: linux}", "logsource: [linux]"),
        GOOD.replace("logsource: {category: process_creation, product: linux}", "logsource: {product: [linux]}"),
        GOOD.replace("tags: [attack.t1033, attack.discovery]", "tags: [{a: b}]"),
        GOOD.replace("detection:\n", "detection:\n  1: 2\n  null: x\n"),
    ],
    ids=range(18),
)
def test_no_file_stops_the_others(text: str) -> None:
    """Bombs, cycles, depth, tags of Python, shapes that pySigma does not expect: a problem, and the next file loads."""
    made = load([("bad.yml", text), ("good.yml", GOOD.replace("929a", "829a").replace("name: whoami", "name: good"))])

    assert "good" in [rule.name for rule in made.rules]


def test_a_few_merges_do_not_become_millions_of_keys() -> None:
    """They are counted before they are written out."""
    merged = "b0: &b0 {x: 1}\n" + "".join(
        f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}]}}\n" for n in range(1, 6)
    )

    wide = f"- &a {{{', '.join(f'k{n}: 1' for n in range(600))}}}\n" + "- {<<: *a}\n" * 20

    for text in (merged, wide):
        assert ["m.yml:1:1: merges (`<<`) make more than 10000 keys of this"] == said(load([("m.yml", text)]))


def test_what_no_document_has_is_said() -> None:
    """A rule for a log source that is not ours, or on fields of none of our documents, is loaded and never matches."""
    windows = loaded(GOOD.replace("product: linux", "product: windows"), SOURCES).rules[0]
    field = loaded(GOOD.replace("CommandLine", "OriginalFileName"), SOURCES).rules[0]
    near = loaded(GOOD.replace("CommandLine", "process.comand_line"), SOURCES).rules[0]

    assert windows.never == "no document is of the log source (category: process_creation, product: windows)"
    assert field.never == "no document of its log source has the field OriginalFileName"
    assert "is process.command_line meant?" in (near.never or "")
    assert () == windows.variants == field.variants


def test_a_part_that_can_never_hold_is_remarked_on() -> None:
    """The rule runs without it, and the field's place is told."""
    text = GOOD.replace("condition: selection", "filter:\n    Company: ACME\n  condition: selection and not filter")
    (rule,) = loaded(text, SOURCES).rules

    assert rule.never is None
    assert ["rule.yml:18:5: no document has the field Company"] == [str(each) for each in rule.remarks]


def test_fields_stand_where_our_documents_have_them() -> None:
    """A rule on Sigma's names fires on our document, of its source's datasets and condition alone."""
    (rule,) = loaded(GOOD, SOURCES).rules
    process = {"event": {"category": ["process"], "type": ["start"]}, "process": {"command_line": "sh -c whoami"}}

    assert fires(rule, process, "cilium_tetragon.log")
    assert not fires(rule, process | {"event": {"category": ["process"], "type": ["end"]}}, "cilium_tetragon.log")
    assert not fires(rule, process, "tidewaiter.audit")


def test_fields_of_ecs_stand_in_any_rule() -> None:
    """A rule's author may write our fields' names."""
    (rule,) = loaded(GOOD.replace("CommandLine|contains: whoami", "container.name|startswith: web"), SOURCES).rules
    document = {"event": {"category": ["process"], "type": ["start"]}, "container": {"name": "web-1"}}

    assert fires(rule, document, "docker.events")


FILTER = """\
title: Not the backup
logsource: {category: process_creation, product: linux}
filter:
  rules: [whoami]
  selection:
    User: backup
  condition: not selection
"""


def test_a_filter_takes_away_from_the_rules_that_it_names() -> None:
    """Filters specification: of whichever file, by id or name, within its log source."""
    rule, other = load(
        [("a.yml", FILTER), ("b.yml", GOOD), ("c.yml", GOOD.replace("929a", "829a").replace("name: whoami", "name: b"))]
    ).rules
    document = {"event": {"category": ["process"], "type": ["start"]}, "process": {"command_line": "whoami"}}

    assert ("Not the backup",) == rule.filters
    assert fires(rule, document | {"user": {"name": "bob"}})
    assert not fires(rule, document | {"user": {"name": "backup"}})
    assert fires(other, document | {"user": {"name": "backup"}})


def test_a_filter_for_any_rule_stays_within_its_log_source() -> None:
    """`rules: any` means all rules whose log source the filter's contains."""
    text = FILTER.replace("[whoami]", "any")
    elsewhere = FILTER.replace("[whoami]", "any").replace("process_creation", "file_event")

    assert ("Not the backup",) == load([("a.yml", text), ("b.yml", GOOD)]).rules[0].filters
    assert () == load([("a.yml", elsewhere), ("b.yml", GOOD)]).rules[0].filters


def test_a_filter_that_keeps_is_remarked_on() -> None:
    """As pySigma does, its condition is joined by `and`: without `not` the rule holds only where the filter does."""
    made = load([("a.yml", FILTER.replace("not selection", "selection")), ("b.yml", GOOD)])
    document = {"event": {"category": ["process"], "type": ["start"]}, "process": {"command_line": "whoami"}}

    assert fires(made.rules[0], document | {"user": {"name": "backup"}})
    assert not fires(made.rules[0], document)
    assert ["a.yml:7:3"] == [str(problem.place) for problem in made.problems]
    assert "has no `not`" in made.problems[0].message


def test_a_filter_without_rules_is_remarked_on() -> None:
    """A name that no rule has is not lost without a word."""
    made = load([("a.yml", FILTER.replace("whoami", "whomai")), ("b.yml", GOOD)])

    assert ["a.yml:4:3: no rule is meant by this filter"] == said(made)


def test_collections_share_what_is_global() -> None:
    """`action: global`, `reset` and `repeat` make several rules of one file."""
    text = """\
        action: global
        title: Shared
        logsource: {category: test}
        detection: {condition: s}
        ---
        name: one
        detection: {s: {f: 1}}
        ---
        action: repeat
        name: two
        detection: {s: {f: 2}}
        ---
        action: reset
        ---
        title: Alone
        name: three
        logsource: {category: test}
        detection: {s: {f: 3}, condition: s}
    """
    made = loaded(text)

    assert [("one", "Shared"), ("three", "Alone")] == [
        (rule.name, rule.title) for rule in made.rules if rule.name != "two"
    ]


def test_a_log_source_contains_what_says_more() -> None:
    """Rules specification, "LogSource": what a rule does not say may be anything."""
    assert LogSource("a").contains(LogSource("a", "b", "c"))
    assert not LogSource("a", "b").contains(LogSource("a"))


def test_sources_of_a_log_source() -> None:
    """Just this one where there is one, else all that it contains, else none."""
    assert ["linux"] == [source.name for source in SOURCES.of(LogSource(product="linux"))]
    assert ["process_creation"] == [source.name for source in SOURCES.of(LogSource("process_creation"))]
    assert () == SOURCES.of(LogSource(product="windows", service="security"))
