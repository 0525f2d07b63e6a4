"""The page of the rules that come with Tidewaiter, made of the rules themselves: `deploy/rules-pack.md`."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from pipelines.detect.rule import Rule

HEAD: Final = """# The rules that come with Tidewaiter

Made from the rules by `make docs`; change it there. `rules: {pack: false}` switches them off. They are in the package
below `pipelines/rules/`, each with its tests beside it; `tidewaiter rules test` runs these, and
`tidewaiter rules explain FILE LINE` says what of a rule holds on a line. One that does not suit you is replaced or
narrowed by a Sigma filter of your own.

**What they need.** Rules of `container_exec` and `docker` need an input `docker_events` or `kubernetes_audit`; those on
how a container is started know of it what the Engine says ([metadata](metadata.md)). Rules of `kubernetes` are written
for the policy beside [its page](kubernetes-audit/README.md): what that does not record, a body above all, no rule sees.
Some hold where a fact is said ([facts](facts.md)): one that is switched off under `documents: facts:` silences them.

**What they cannot know.** What is typed into a shell, and whoever runs word for word the health check of a container.
A command that an API server tells has its arguments quoted (`sh -c 'id; ls'`), one that an Engine tells has not.
"""


def page(rules: Iterable[Rule]) -> str:
    """Return the page of rules, by the folders of their files."""
    lines = [HEAD]
    listed = sorted(rules, key=lambda rule: (_folder(rule), rule.title))
    for folder, each in groupby(listed, _folder):
        lines += [f"## {folder}", ""]
        for rule in each:
            lines += _section(rule)
    return "\n".join(lines)


def _folder(rule: Rule) -> str:
    """Return the name of the folder that a rule's file is in, wherever the package is installed."""
    return rule.place.file.rpartition("/")[0].rpartition("/")[2]


def _section(rule: Rule) -> Iterator[str]:
    name = rule.place.file.rpartition("/")[2]
    techniques = ", ".join(_technique(tag) for tag in rule.tags if tag[7:8] == "t" and tag[8:9].isdigit())
    yield f"### {rule.title}\n"
    yield " · ".join(filter(None, (f"`{name}`", rule.level, str(rule.log_source), techniques))) + "\n"
    if rule.description:
        yield f"{rule.description.strip()}\n"
    if rule.false_positives:
        yield "False positives: " + "; ".join(rule.false_positives) + "\n"


def _technique(tag: str) -> str:
    """Return a technique with a link to what it is; tags read `attack.t1059.004`."""
    name = tag.removeprefix("attack.").upper()
    return f"[{name}](https://attack.mitre.org/techniques/{name.replace('.', '/')}/)"
