"""Cases of test files, from raw lines to alerts: what passes, what fails, and what a failure says."""

import textwrap
from typing import Any

import pytest

from pipelines.detect.cases import read_cases
from pipelines.detect.load import load
from pipelines.detect.rule import RuleSet
from pipelines.detect.told import told
from pipelines.detect.trial import Result, Trial
from pipelines.settings import Settings

CONTAINER = "c1" * 32

SHELL = """\
title: A shell
id: 00000000-0000-4000-8000-000000000001
name: shell
logsource: {product: docker, service: events}
detection:
  selection:
    Action|startswith: exec
    CommandLine|contains: [bash, sh]
  filter:
    CommandLine|contains: health
  condition: selection and not filter
"""

LOGIN = """\
title: A login
name: login
logsource: {product: linux, service: sshd}
detection:
  selection: {event.outcome: success}
  condition: selection
"""

TRACE = """\
title: A trace
logsource: {category: application}
detection:
  selection:
    message|contains|all: [Traceback, ZeroDivisionError]
  condition: selection
"""


def rules_of(*texts: str) -> RuleSet:
    """Load rules of one file."""
    made = load([("rule.yml", "---\n".join(texts))])
    assert [] == [str(problem) for problem in made.problems]
    return made


def ran(rules: str | RuleSet, cases: str, unable: dict[str, str] | None = None) -> list[Result]:
    """Run cases against rules."""
    placed, problems = read_cases("rule.test.yml", "cases:\n" + textwrap.indent(textwrap.dedent(cases), "  "))
    assert [] == [str(problem) for problem in problems]
    found = rules_of(rules) if isinstance(rules, str) else rules
    trial = Trial(found.rules, Settings(version="0"), unable)
    return [trial.run(each) for each in placed]


def one(rules: str | RuleSet, cases: str) -> Result:
    """Run one case."""
    (result,) = ran(rules, cases)
    return result


def event(command: str) -> str:
    """An Engine's event of an exec, as `docker events --format json` prints it."""
    attributes = f'{{"execID":"{"e1" * 32}","image":"nginx:1.27","name":"shop"}}'
    actor = f'{{"ID":"{CONTAINER}","Attributes":{attributes}}}'
    return f'{{"Type":"container","Action":"exec_create: {command}","Actor":{actor}}}'


def shell(*commands: str, expect: str) -> Result:
    """Run events against the rule of a shell."""
    lines = "".join(f"    - '{event(command)}'\n" for command in commands)
    return one(SHELL, f"- name: a\n  input: docker_events\n  lines:\n{lines}  expect: {expect}\n")


def test_an_alert_that_is_expected_passes() -> None:
    """From the Engine's event as it prints it; the document is that of Docker's trail."""
    result = shell("bash -l", expect="1")

    assert result.passed
    assert ["docker.events"] == [made.dataset for made in result.made]
    assert [("shell", "bash -l")] == [
        (alert.rule.name, alert.source["process"]["command_line"]) for alert in result.alerts
    ]


def test_a_missing_alert_fails_and_says_which_condition_failed_on_which_value() -> None:
    """The fields that the rule reads, as the document has them, and each part of the condition."""
    result = shell("sh /health", expect="1")

    assert [
        "expected 1 alert, got no alert",
        "document 1 of 1, docker.events",
        '  event.action          "exec_create"',
        '  process.command_line  "sh /health"',
        "  ✗ A shell",
        "    ✗ all of",
        "      ✓ selection: all of",
        "        ✓ Action (event.action) startswith 'exec': \"exec_create\"",
        "        ✓ CommandLine (process.command_line) contains one of 'bash', 'sh' (here 'sh'): \"sh /health\"",
        "      ✗ not filter: CommandLine (process.command_line) contains 'health': \"sh /health\"",
    ] == list(told(result))


def test_an_alert_that_is_not_expected_fails() -> None:
    """Shown is the document that it fires on, and not the others."""
    result = shell("id", "bash", expect="none")

    assert ["expected no alert, got 1 alert", "document 2 of 2, docker.events"] == list(told(result))[:2]


@pytest.mark.parametrize(
    ("expect", "fault"),
    [
        ("[{fields: {container.name: shop}}]", None),
        (f"[{{fields: {{container.id: {CONTAINER}, process.command_line: bash}}}}]", None),
        ("[{fields: {user.name: null}}]", None),
        ("[{fields: {event.category: [process]}}]", None),
        ("[{}]", None),
        ("[{fields: {container.name: web}}]", 'no alert has container.name: "web"; it has container.name: "shop"'),
        ("[{fields: {user.name: root}}]", 'no alert has user.name: "root"; it has user.name: nothing'),
        ("[{fields: {container.name: null}}]", 'no alert has container.name: null; it has container.name: "shop"'),
        ("[{}, {}]", "expected 2 alerts, got 1 alert"),
    ],
)  # fmt: skip
def test_an_expected_alert_has_its_fields(expect: str, fault: str | None) -> None:
    """A list is the whole list, nothing is no value, and what is there instead is told."""
    result = shell("bash", expect=expect)

    assert ([] if fault is None else [fault]) == list(result.faults)


def test_each_expected_alert_is_another_one() -> None:
    """The wider of two takes what the narrower leaves."""
    both = "[{fields: {container.name: shop}}, {fields: {process.command_line: sh}}]"
    twice = "[{count: 2, fields: {process.command_line: sh}}]"

    assert shell("sh", "bash", expect=both).passed
    assert shell("bash", "sh", expect=both).passed
    assert ['no alert has process.command_line: "sh"; it has process.command_line: "bash"'] == list(
        shell("sh", "bash", expect=twice).faults
    )


def test_fields_are_those_of_the_alert_as_well() -> None:
    """Severity and rule stand on the alert alone, the command on both; the action is the rule's, and the event's."""
    alert = "event.kind: alert, event.severity: 21, rule.name: A shell, event.action: shell"
    event_of_it = "event.kind: event, event.action: exec_create, process.command_line: bash"

    for fields in (alert, event_of_it):
        assert shell("bash", expect=f"[{{fields: {{{fields}}}}}]").passed


def test_every_alert_is_raised() -> None:
    """In production a rule's alerts of one container and user are limited; a test counts what the rule finds."""
    assert shell(*["bash"] * 50, expect="50").passed


def test_lines_of_a_container_are_read_as_its_own() -> None:
    """Its image chooses the parser, its labels and name stand in the document."""
    result = one(
        "title: t\nlogsource: {category: webserver}\n"
        "detection: {s: {cs-uri-stem: /x, container.labels.team: a}, condition: s}\n",
        """\
        - name: a
          container: {name: web, image: "nginx:1.27", labels: {team: a}}
          lines: ['192.0.2.1 - - [29/Nov/2026:12:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl"']
          expect: [{fields: {container.name: web, container.image.name: nginx, source.ip: 192.0.2.1}}]
        """,
    )

    assert [] == list(told(result))


def test_lines_of_a_host_have_no_container() -> None:
    """As an agent sends them that reads the log file."""
    result = one(
        LOGIN,
        """\
        - name: a
          input: file
          lines: ['Nov 29 12:00:00 web1 sshd[501]: Accepted password for root from 203.0.113.9 port 40022 ssh2']
          expect: [{fields: {user.name: root, container.id: null}}]
        """,
    )

    assert [] == list(told(result))


def test_a_mapping_is_posted_as_it_is() -> None:
    """A record of Fluent Bit's journal input, of which the rule finds user and source."""
    result = one(
        LOGIN,
        """\
        - name: a
          lines:
            - MESSAGE: Accepted password for root from 203.0.113.9 port 40022 ssh2
              SYSLOG_IDENTIFIER: sshd
              _PID: "501"
          expect: [{fields: {user.name: root, container.id: null}}]
        """,
    )

    assert [] == list(told(result))


KUBERNETES = (
    '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete",'
    '"requestURI":"/api/v1/secrets","verb":"list","user":{"username":"alice"},"objectRef":{"resource":"secrets"},'
    '"requestReceivedTimestamp":"2026-11-29T12:00:00.000000Z","stageTimestamp":"2026-11-29T12:00:00.000000Z"}'
)


def test_audit_events_are_posted_by_their_api_server() -> None:
    """They are documents of the audit trail, under Kubernetes' own names."""
    result = one(
        "title: t\nlogsource: {product: kubernetes, service: audit}\n"
        "detection: {s: {verb: list, resource: secrets}, condition: s}\n",
        f"- {{name: a, input: kubernetes_audit, lines: ['{KUBERNETES}'], expect: [{{fields: {{user.name: alice}}}}]}}",
    )

    assert [] == list(told(result))


def test_what_the_engine_answers_of_a_container_can_be_told_first() -> None:
    """A line `{"container": …}` is what the watcher learns by asking: the document knows the image's user."""
    about: dict[str, Any] = {"Id": CONTAINER, "Name": "/shop", "Config": {"Image": "shop:1", "User": "1000"}}
    result = one(
        SHELL,
        f"""\
        - name: a
          input: docker_events
          lines:
            - container: {about}
            - '{event("bash")}'
          expect: [{{fields: {{container.image.name: shop}}}}]
        """,
    )

    assert [] == list(told(result))
    assert ["docker.events"] == [made.dataset for made in result.made]


def test_lines_of_one_trace_are_one_document() -> None:
    """Journal time goes on behind the last line until it is known that none belongs to it."""
    result = one(
        TRACE,
        """\
        - name: a
          lines: |
            Traceback (most recent call last):
              File "/srv/shop.py", line 7, in <module>
                total / 0
            ZeroDivisionError: division by zero
          expect: 1
        """,
    )

    assert [] == list(told(result))
    assert 1 == len(result.made)


def test_what_depends_on_how_lines_travel_fails() -> None:
    """One frame or a frame a line: lines that come so late that they are no trace any more are not one rule's."""
    result = one(
        TRACE,
        """\
        - name: a
          lines:
            - 'Traceback (most recent call last):'
            - '@+60   File "/srv/shop.py", line 7, in <module>'
            - '@+120     total / 0'
            - '@+180 ZeroDivisionError: division by zero'
          expect: 1
        """,
    )

    assert [
        "the lines make 1 alert as one frame, and no alert line by line: "
        "what fires must not depend on how lines travel together"
    ] == list(result.faults)


def test_the_clock_is_the_case_s_own() -> None:
    """`@+N` is journal time behind its start, whatever the time is here."""
    result = one(
        TRACE,
        "- {name: a, start: 2026-02-03T04:05:06Z, lines: [x, '@+90 y'], expect: none}\n",
    )

    assert ["2026-02-03T04:05:06.000000000Z", "2026-02-03T04:06:36.000000000Z"] == [
        made.document["@timestamp"] for made in result.made
    ]


def test_a_refused_line_fails() -> None:
    """A line that becomes a dead letter is no test of a rule, whatever is expected."""
    result = one(SHELL, "- {name: a, input: docker_events, lines: ['no JSON'], expect: none}\n")

    (fault,) = result.faults
    assert fault.startswith("a line is refused: ")


def test_a_rule_of_other_logs_says_what_it_means() -> None:
    """No condition failed: the rule is not asked of such documents."""
    result = one(SHELL, "- {name: a, lines: [bash], expect: 1}\n")

    assert (
        "  ✗ A shell: its log source (product: docker, service: events) means documents of docker.events"
        == list(told(result))[-1]
    )


def test_a_rule_that_can_never_match_says_why() -> None:
    """The field that no document has."""
    text = LOGIN.replace("event.outcome", "no.such")
    result = one(text, "- {name: a, lines: [x], expect: 1}\n")

    assert "it can never match: no document of its log source has the field no.such" in list(told(result))[-1]


def test_of_several_rules_the_case_says_which() -> None:
    """By id, name or title; without that word it cannot be run."""
    lines = f"input: docker_events, lines: ['{event('bash')}']"
    named = [
        f"- {{name: {name}, rule: {name}, {lines}, expect: {count}}}\n" for name, count in (("shell", 1), ("login", 0))
    ]
    unnamed = f"- {{name: c, {lines}, expect: 1}}\n"
    unknown = f"- {{name: d, rule: other, {lines}, expect: 1}}\n"
    results = ran(rules_of(SHELL, LOGIN), "".join(named) + unnamed + unknown)

    keys = "00000000-0000-4000-8000-000000000001, login"
    assert [
        (),
        (),
        (f"the file has several rules: say by `rule:` which is meant ({keys})",),
        (f"the file beside it has no rule 'other'; it has {keys}",),
    ] == [each.faults for each in results]


def test_a_rule_that_loads_and_cannot_run_fails_its_cases() -> None:
    """Its condition has more levels than the journal carries; the fault says so, and no case passes."""
    rule = LOGIN.replace("condition: selection", f"condition: {'not (' * 102}selection{')' * 102}")
    result = one(rule, "- {name: a, lines: [x], expect: none}\n")

    assert (
        "the rules of the file cannot run: the condition of the rule 'A login' has more than 100 levels",
    ) == result.faults


def test_where_no_rule_loads_nothing_passes() -> None:
    """Also a case that expects no alert."""
    (result,) = ran(RuleSet(), "- {name: a, lines: [x], expect: none}\n")

    assert ("no rule of the file beside it loads",) == result.faults


def test_a_rule_that_cannot_be_run_fails_its_cases() -> None:
    """A correlation rule beside others: also where no alert is expected, for nothing was tried."""
    why = {"many": "many: a correlation rule is not evaluated by this version"}
    cases = "- {name: a, rule: many, lines: [x], expect: none}\n- {name: b, rule: login, lines: [x], expect: none}\n"
    results = ran(rules_of(LOGIN), cases, why)

    assert [(why["many"],), ()] == [each.faults for each in results]
